use analysis::provider::{self, AnyQuestion, Timed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::service::{ServiceRecord, plain, service_record, whole_seconds};
use crate::written::MetricText;

service_record! {
    /// Graphite. Give `value`, or `bad` and `total`: targets whose points are as far apart as `bucket` says.
    Graphite {}
}

impl ServiceRecord for Graphite {
    const DELAY: HumanDuration = HumanDuration::from_secs(60);

    fn question_of(&self, timed: Timed, _fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        AnyQuestion::Graphite(provider::Graphite(timed))
    }

    /// One part of a path, or a text in quotes: what would end it, fit other names, or begin another part becomes `_`.
    fn escape(value: &str) -> String {
        plain(value, "_-:/@+=~%#")
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        whole_seconds(bucket)
    }
}
