//! What is told about a rollout where a cluster tells such things: twice or three times for a canary. PURE.

use jiff::Timestamp;
use serde_json::{Value, json};
use strategies::{Phase, Status};

use super::{lease::micro, record};
use crate::{
    object::{Kind, ObjectWrite, text},
    rollout::Standing,
};

/// Who tells it.
const CONTROLLER: &str = "serinus.dev/controller";

/// What a change of the status is worth telling; `None`: nothing.
pub(super) fn of(
    rollout: &Value,
    before: &Status,
    standing: &Standing,
    instance: &str,
    wall: Timestamp,
) -> Option<ObjectWrite> {
    let now = &standing.status;
    let (reason, kind, action) = match (&before.phase, &now.phase) {
        (Phase::Stepping { .. }, Phase::Stepping { .. }) if before.attempt == now.attempt => return None,
        (_, Phase::Stepping { .. }) => ("CanaryStarted", "Normal", "Start"),
        (Phase::Promoting, Phase::Promoting) | (Phase::Aborting { .. }, Phase::Aborting { .. }) => {
            return None;
        }
        (_, Phase::Promoting) => ("Promoted", "Normal", "Promote"),
        (_, Phase::Aborting { .. }) => ("RollingBack", "Warning", "RollBack"),
        (_, Phase::Adopting | Phase::Idle | Phase::RolledBack { .. } | Phase::Leaving | Phase::Left) => {
            return None;
        }
    };
    let name = text(rollout, "/metadata/name")?;
    let namespace = text(rollout, "/metadata/namespace")?;
    // One that is told twice, because nobody knows whether it was, is the same.
    let own = format!("{name}.{}.{}", reason.to_lowercase(), now.epoch.0);
    let note = record::sentence(standing);
    let body = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "name": own, "namespace": namespace },
        "eventTime": micro(wall), "reportingController": CONTROLLER, "reportingInstance": instance,
        "action": action, "reason": reason, "type": kind, "note": note,
        "regarding": { "apiVersion": text(rollout, "/apiVersion"), "kind": text(rollout, "/kind"),
            "name": name, "namespace": namespace, "uid": text(rollout, "/metadata/uid") },
    });
    Some(ObjectWrite::create(Kind::new("events.k8s.io/v1", "Event").named(&own), body))
}
