use analysis::provider::{
    self, AnyQuestion, Timed,
    influxql::{SLASH, parts},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::service::{ServiceRecord, quoted, service_record, whole_seconds};
use crate::written::MetricText;

service_record! {
    /// InfluxDB, in InfluxQL. Give `value`, or `bad` and `total`: each one SELECT up to its conditions.
    Influxql {
        /// The database that is asked.
        database: String,
    }
}

impl ServiceRecord for Influxql {
    const DELAY: HumanDuration = HumanDuration::from_secs(30);

    fn question_of(&self, timed: Timed, _fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        AnyQuestion::Influxql(provider::Influxql { database: self.database.clone(), timed })
    }

    /// A text in quotes of either kind, or between slashes.
    fn escape(value: &str) -> String {
        quoted(value).replace('/', &SLASH.to_string())
    }

    fn wrong_text(text: &MetricText, _counts: bool) -> Option<(String, &'static str)> {
        let why = parts(&text.fill(|_| Some("x".to_owned()))).err()?;
        let help = "write `SELECT sum(\"count\") FROM \"requests\" WHERE …`, for example";
        Some((why.to_owned(), help))
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        whole_seconds(bucket)
    }
}
