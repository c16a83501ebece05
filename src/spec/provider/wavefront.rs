use analysis::provider::{self, AnyQuestion, Timed, wavefront::LENGTHS};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::service::{ServiceRecord, quoted, service_record};
use crate::written::MetricText;

service_record! {
    /// Wavefront (Aria Operations for Applications), by queries in its own language. Give `value`, or `bad` and `total`.
    Wavefront {}
}

impl ServiceRecord for Wavefront {
    const DELAY: HumanDuration = HumanDuration::from_secs(60);

    fn question_of(&self, timed: Timed, _fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        AnyQuestion::Wavefront(provider::Wavefront(timed))
    }

    fn escape(value: &str) -> String {
        quoted(value)
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        let known = LENGTHS.iter().any(|it| u128::try_from(it.0) == Ok(bucket.0.as_millis()));
        (!known).then_some("it has `1s`, `1m`, `1h` and `1d`")
    }
}
