use analysis::provider::{
    self, AnyQuestion, Timed,
    cloud_watch::{adds_up, queries},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::service::{ServiceRecord, service_record};
use crate::written::MetricText;

service_record! {
    /// Amazon CloudWatch; its source has `aws` credentials. Give `value`, or `bad` and `total`: each a `MetricStat`, or a list of
    /// `MetricDataQuery`, as JSON and without `Period`.
    CloudWatch {}
}

impl ServiceRecord for CloudWatch {
    const DELAY: HumanDuration = HumanDuration::from_secs(180);

    fn question_of(&self, timed: Timed, _fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        AnyQuestion::CloudWatch(provider::CloudWatch(timed))
    }

    /// A text in JSON, without its quotes.
    fn escape(value: &str) -> String {
        let quoted = serde_json::Value::from(value).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    }

    fn wrong_text(text: &MetricText, counts: bool) -> Option<(String, &'static str)> {
        let filled = text.fill(|_| Some("x".to_owned()));
        if let Err(why) = queries(&filled, 60) {
            let help = "write `{\"Metric\": {\"Namespace\": …, \"MetricName\": …, \"Dimensions\": […]}, \"Stat\": \"Sum\"}`, for example";
            return Some((why.to_owned(), help));
        }
        let averages = counts && adds_up(&filled) == Some(false);
        averages.then(|| ("its `Stat` does not add up events".to_owned(), "write `Sum` or `SampleCount`"))
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        let seconds = bucket.0.as_secs();
        let known = [1, 5, 10, 20, 30].contains(&seconds) || (seconds != 0 && seconds.is_multiple_of(60));
        let allowed = known && bucket.0.subsec_nanos() == 0;
        (!allowed).then_some("CloudWatch has 1s, 5s, 10s, 20s, 30s and whole minutes")
    }
}
