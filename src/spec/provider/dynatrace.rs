use analysis::provider::{self, AnyQuestion, Timed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::service::{ServiceRecord, service_record};
use crate::written::MetricText;

service_record! {
    /// Dynatrace, by metric selectors; its token is sent by `credentials: { authorization: { scheme: Api-Token, … } }` of the
    /// source. Give `value`, or `bad` and `total`.
    Dynatrace {
        /// Whose metrics, as an entity selector. Default: all that the metric selector leaves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        entities: Option<MetricText>,
    }
}

impl ServiceRecord for Dynatrace {
    const DELAY: HumanDuration = HumanDuration::from_secs(120);

    fn question_of(&self, timed: Timed, fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        AnyQuestion::Dynatrace(provider::Dynatrace { entities: self.entities.as_ref().map(fill), timed })
    }

    /// A selector's quotes are escaped by a tilde.
    fn escape(value: &str) -> String {
        value.replace('~', "~~").replace('"', "~\"")
    }

    fn own_texts(&self) -> Vec<(&'static str, &MetricText)> {
        self.entities.iter().map(|it| ("entities", it)).collect()
    }

    fn fill_own(&mut self, fill: &dyn Fn(&MetricText) -> MetricText) {
        self.entities = self.entities.as_ref().map(fill);
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        whole_minutes(bucket)
    }
}

/// What is wrong with a length that must be whole minutes.
pub(super) fn whole_minutes(bucket: HumanDuration) -> Option<&'static str> {
    let millis = bucket.0.as_millis();
    (millis == 0 || !millis.is_multiple_of(60_000)).then_some("write whole minutes, `1m` for example")
}
