use analysis::provider::{self, AnyQuestion, Timed, cloud_monitoring::is_project};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::{
    Mistake,
    service::{ServiceRecord, quoted, service_record},
};
use crate::written::MetricText;

service_record! {
    /// Google Cloud Monitoring (Stackdriver), by filters of time series. Give `value`, or `bad` and `total`.
    CloudMonitoring {
        /// The project, by its name or number.
        project: String,
        /// How the points of a bucket become the one number of `value`. Default `mean`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        align: Option<Align>,
        /// How several series become the one number of `value`. Default `mean`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reduce: Option<Reduce>,
    }
}

/// How the points of a bucket become one number.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Align {
    /// Their mean.
    #[default]
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Their sum.
    Sum,
    /// What a counter grew by.
    Delta,
    /// The same per second.
    Rate,
    /// Half of a distribution is below it.
    P50,
    /// 95 % of a distribution are below it.
    P95,
    /// 99 % of a distribution are below it.
    P99,
}

/// How several series become one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reduce {
    /// Their mean.
    #[default]
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Their sum.
    Sum,
}

impl ServiceRecord for CloudMonitoring {
    /// What the service says of most of its own metrics: they are seen up to four minutes late.
    const DELAY: HumanDuration = HumanDuration::from_secs(240);

    fn question_of(&self, timed: Timed, _fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        let align = match self.align.unwrap_or_default() {
            Align::Mean => "ALIGN_MEAN",
            Align::Min => "ALIGN_MIN",
            Align::Max => "ALIGN_MAX",
            Align::Sum => "ALIGN_SUM",
            Align::Delta => "ALIGN_DELTA",
            Align::Rate => "ALIGN_RATE",
            Align::P50 => "ALIGN_PERCENTILE_50",
            Align::P95 => "ALIGN_PERCENTILE_95",
            Align::P99 => "ALIGN_PERCENTILE_99",
        };
        let reduce = match self.reduce.unwrap_or_default() {
            Reduce::Mean => "REDUCE_MEAN",
            Reduce::Min => "REDUCE_MIN",
            Reduce::Max => "REDUCE_MAX",
            Reduce::Sum => "REDUCE_SUM",
        };
        AnyQuestion::CloudMonitoring(provider::CloudMonitoring {
            project: self.project.clone(),
            align: align.to_owned(),
            reduce: reduce.to_owned(),
            timed,
        })
    }

    fn escape(value: &str) -> String {
        quoted(value)
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        super::dynatrace::whole_minutes(bucket)
    }

    fn wrong_besides(&self) -> Vec<Mistake> {
        let mut found = vec![];
        if !is_project(&self.project) {
            found.push(Mistake {
                key: Some("project"),
                message: "this is no name of a project".to_owned(),
                help: "lower-case letters, digits, `-`, `.` and `:`",
            });
        }
        for (key, given) in [("align", self.align.is_some()), ("reduce", self.reduce.is_some())] {
            if given && self.value.is_none() {
                let help = "leave it out: events are added up";
                found.push(Mistake { key: Some(key), message: format!("`{key}` is of `value` only"), help });
            }
        }
        found
    }
}
