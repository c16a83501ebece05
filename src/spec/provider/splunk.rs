use analysis::provider::{self, AnyQuestion, Timed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::service::{ServiceRecord, quoted, service_record, whole_seconds};
use crate::written::MetricText;

service_record! {
    /// Splunk Observability Cloud, by SignalFlow; its token is a `secretHeaders` of the source. Give `value`, or `bad` and
    /// `total`: each a stream that is not published.
    Splunk {}
}

impl ServiceRecord for Splunk {
    const DELAY: HumanDuration = HumanDuration::from_secs(60);

    fn question_of(&self, timed: Timed, _fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        AnyQuestion::Splunk(provider::Splunk(timed))
    }

    fn escape(value: &str) -> String {
        quoted(value)
    }

    fn wrong_text(text: &MetricText, _counts: bool) -> Option<(String, &'static str)> {
        let published = text.as_str().contains("publish(");
        let help =
            "write `data('requests', rollup='sum').sum()`, for example: it is published under a name of ours";
        published.then(|| ("`publish()` cannot stand in it".to_owned(), help))
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        whole_seconds(bucket)
    }
}
