use analysis::provider::{self, AnyQuestion, Timed, sky_walking::Entity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::HumanDuration;

use super::{
    Mistake,
    service::{BUCKET, ServiceRecord, plain, service_record},
};
use crate::written::MetricText;

service_record! {
    /// Apache SkyWalking, by metrics query expressions about one entity. Give `value`, or `bad` and `total`.
    SkyWalking {
        /// The service that is asked about.
        service: MetricText,
        /// One of its instances. Default: all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<MetricText>,
        /// One of its endpoints. Default: all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<MetricText>,
        /// Whether an agent reports the service; false: only its callers do. Default true.
        #[serde(default = "yes")]
        normal: bool,
        /// The server's time zone, such as `+08:00`: its durations are written in it. Default `+00:00`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(regex(pattern = r"^[+-][0-9]{2}:[0-9]{2}$"))]
        utc_offset: Option<String>,
    }
}

fn yes() -> bool {
    true
}

impl SkyWalking {
    /// How far its clock is ahead of UTC, in minutes.
    fn offset_minutes(&self) -> Option<i32> {
        let Some(written) = &self.utc_offset else { return Some(0) };
        let (hours, minutes) = written.get(1..)?.split_once(':')?;
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        let ahead = (hours < 19 && minutes < 60).then_some(hours * 60 + minutes)?;
        match written.as_bytes().first() {
            Some(b'+') => Some(ahead),
            Some(b'-') => Some(-ahead),
            _ => None,
        }
    }
}

impl ServiceRecord for SkyWalking {
    const DELAY: HumanDuration = HumanDuration::from_secs(60);

    fn question_of(&self, timed: Timed, fill: &dyn Fn(&MetricText) -> String) -> AnyQuestion {
        let entity = Entity {
            service_name: fill(&self.service),
            service_instance_name: self.instance.as_ref().map(fill),
            endpoint_name: self.endpoint.as_ref().map(fill),
            normal: self.normal,
        };
        let offset_minutes = self.offset_minutes().unwrap_or_default();
        AnyQuestion::SkyWalking(provider::SkyWalking { entity, offset_minutes, timed })
    }

    /// An expression has no escapes: what could end a label's value becomes `_`.
    fn escape(value: &str) -> String {
        plain(value, "_-.:/|,*@# ")
    }

    fn own_texts(&self) -> Vec<(&'static str, &MetricText)> {
        let given = [("instance", &self.instance), ("endpoint", &self.endpoint)];
        let given = given.into_iter().filter_map(|(key, text)| Some((key, text.as_ref()?)));
        [("service", &self.service)].into_iter().chain(given).collect()
    }

    fn fill_own(&mut self, fill: &dyn Fn(&MetricText) -> MetricText) {
        self.service = fill(&self.service);
        self.instance = self.instance.as_ref().map(fill);
        self.endpoint = self.endpoint.as_ref().map(fill);
    }

    fn wrong_bucket(bucket: HumanDuration) -> Option<&'static str> {
        (bucket != BUCKET).then_some("it keeps minutes: leave `bucket` out")
    }

    fn wrong_besides(&self) -> Vec<Mistake> {
        let wrong = Mistake {
            key: Some("utcOffset"),
            message: "this is no time zone".to_owned(),
            help: "write hours and minutes, `+08:00` for example",
        };
        if self.offset_minutes().is_none() { vec![wrong] } else { vec![] }
    }
}
