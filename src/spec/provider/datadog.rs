use analysis::provider::{self, AnyQuestion, Timed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::service::{ServiceRecord, plain, service_record, whole_seconds};
use crate::written::MetricText;

service_record! {
    /// Datadog, by metric queries; its keys are `secretHeaders` of the source. Give `value`, or `bad` and `total`.
    Datadog {}
}

impl ServiceRecord for Datadog {
    const DELAY: HumanDuration = HumanDuration::from_secs(60);

    fn question_of(&self, timed: Timed, _fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        AnyQuestion::Datadog(provider::Datadog(timed))
    }

    /// As Datadog itself writes tags: letters, digits and a few more, everything else `_`. An asterisk fits any text.
    fn escape(value: &str) -> String {
        plain(value, "_-.:/*")
    }

    fn wrong_text(text: &MetricText, counts: bool) -> Option<(String, &'static str)> {
        let counted = text.as_str().contains(".as_count()");
        let help = "write `sum:trace.http.request.hits{…}.as_count()`, for example";
        (counts && !counted)
            .then(|| ("without `.as_count()` Datadog answers with rates or averages".to_owned(), help))
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        whole_seconds(bucket)
    }
}
