use analysis::provider::{self, AnyQuestion, Timed, flux::NEEDED};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::service::{ServiceRecord, quoted, service_record, whole_seconds};
use crate::written::MetricText;

service_record! {
    /// InfluxDB, in Flux. Give `value`, or `bad` and `total`: each a script about `v.timeRangeStart` to `v.timeRangeStop` by
    /// `v.windowPeriod`, as in InfluxDB's user interface, that yields one table.
    Flux {
        /// The organization that is asked, by its name.
        org: String,
    }
}

impl ServiceRecord for Flux {
    const DELAY: HumanDuration = HumanDuration::from_secs(30);

    fn question_of(&self, timed: Timed, _fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        AnyQuestion::Flux(provider::Flux { org: self.org.clone(), timed })
    }

    /// A text in quotes, or between slashes. `${` would begin an expression.
    fn escape(value: &str) -> String {
        quoted(value).replace("\\'", "'").replace('/', "\\x2f").replace('$', "\\x24")
    }

    fn wrong_text(text: &MetricText, _counts: bool) -> Option<(String, &'static str)> {
        if let Some(missing) = NEEDED.iter().find(|it| !text.as_str().contains(**it)) {
            let help = "write `from(…) |> range(start: v.timeRangeStart, stop: v.timeRangeStop) |> … |> aggregateWindow(every: v.windowPeriod, fn: sum, createEmpty: false, timeSrc: \"_start\")`";
            return Some((format!("it does not use `{missing}`"), help));
        }
        let by_end =
            text.as_str().contains("aggregateWindow") && !text.as_str().contains("timeSrc: \"_start\"");
        let help = "write `timeSrc: \"_start\"` into `aggregateWindow`";
        by_end.then(|| ("its buckets are named by their end".to_owned(), help))
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        whole_seconds(bucket)
    }
}
