use analysis::provider::{self, AnyQuestion, Timed, new_relic::forbidden_word};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::service::{ServiceRecord, quoted, service_record, whole_seconds};
use crate::written::MetricText;

service_record! {
    /// New Relic, by NRQL that selects one number; its key is a `secretHeaders` of the source. Give `value`, or `bad` and
    /// `total`.
    NewRelic {
        /// The account that is asked.
        account: u64,
    }
}

impl ServiceRecord for NewRelic {
    const DELAY: HumanDuration = HumanDuration::from_secs(60);

    fn question_of(&self, timed: Timed, _fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        AnyQuestion::NewRelic(provider::NewRelic { account: self.account, timed })
    }

    fn escape(value: &str) -> String {
        quoted(value)
    }

    fn wrong_text(text: &MetricText, _counts: bool) -> Option<(String, &'static str)> {
        let word = forbidden_word(text.as_str())?;
        let help =
            "write `SELECT count(*) FROM Transaction WHERE …`: the time and its buckets are added to it";
        Some((format!("`{word}` cannot stand in it"), help))
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        whole_seconds(bucket)
    }
}
