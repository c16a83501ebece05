//! What a Deployment says of its own updates.

use std::time::Duration;

use serde_json::Value;
use strategies::{Amount, HumanDuration, Name, Weight};

use super::super::codec::{OwnUpdate, WorkloadFacts};
use crate::object::{Misshapen, text};

/// What both amounts are where it says nothing.
const DEFAULT: Amount = Amount::Share(Weight::from_percent(25));

pub(super) fn declared(name: &Name, deployment: &Value) -> Result<WorkloadFacts, Misshapen> {
    let amount = |field: &str| {
        let at = format!("/spec/strategy/rollingUpdate/{field}");
        let read = match deployment.pointer(&at) {
            None | Some(Value::Null) => Some(DEFAULT),
            Some(Value::String(it)) => share(it),
            Some(it) => it.as_u64().and_then(|it| u32::try_from(it).ok()).map(Amount::Replicas),
        };
        let object: Name = format!("Deployment/{name}").into();
        read.ok_or(Misshapen { object, at, why: "a number of replicas or a share such as 25%" })
    };
    let update = match text(deployment, "/spec/strategy/type") {
        Some("Recreate") => OwnUpdate::Recreate,
        Some(_) | None => {
            OwnUpdate::Rolling { surge: amount("maxSurge")?, unavailable: amount("maxUnavailable")? }
        }
    };
    let min_ready = deployment.pointer("/spec/minReadySeconds").and_then(Value::as_u64).unwrap_or(0);
    Ok(WorkloadFacts { update, min_ready: HumanDuration(Duration::from_secs(min_ready)) })
}

/// A share as the API server takes it: whole percents, which may be more than all.
fn share(text: &str) -> Option<Amount> {
    let percent: u32 = text.strip_suffix('%')?.parse().ok()?;
    Some(Amount::Share(Weight::from_percent(percent.min(100))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(spec: Value, expected: Option<OwnUpdate>) {
        let found = declared(&"shop".into(), &json!({ "spec": spec }));
        assert_eq!(found.ok().map(|it| it.update), expected, "{spec}");
    }

    #[test]
    fn amounts_stay_what_they_are_and_what_is_not_said_is_a_quarter() {
        let rolling = |surge, unavailable| Some(OwnUpdate::Rolling { surge, unavailable });
        let half = Amount::Share(Weight::from_percent(50));
        let with = |surge: Value, unavailable: Value| {
            json!({ "strategy": { "type": "RollingUpdate",
                "rollingUpdate": { "maxSurge": surge, "maxUnavailable": unavailable } } })
        };
        check(json!({}), rolling(DEFAULT, DEFAULT));
        check(json!({ "strategy": { "type": "Recreate" } }), Some(OwnUpdate::Recreate));
        check(with(json!(1), json!("50%")), rolling(Amount::Replicas(1), half));
        check(with(json!("200%"), json!(0)), rolling(Amount::FULL, Amount::Replicas(0)));
        check(with(json!("many"), json!(0)), None);
        check(with(json!(-1), json!(0)), None);
    }

    #[test]
    fn the_time_that_a_replica_must_have_been_ready_is_read() {
        let read = declared(&"shop".into(), &json!({ "spec": { "minReadySeconds": 45 } })).unwrap();
        assert_eq!(read.min_ready, HumanDuration::from_secs(45));
    }
}
