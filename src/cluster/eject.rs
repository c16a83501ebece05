//! Gives a workload back where no engine does: with the rights of whoever asks, from their own machine.
//!
//! `mode: off` goes first, so that neither the hold nor an engine that comes back works against it. Then the machine itself
//! decides as it does when a Rollout is deleted, over objects that are asked for each time. What was remembered of the
//! rollout goes last: with `mode: active` it begins anew.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use strategies::{Action, Activity, ActivityId, Name, Order, Orders, Outcome, Phase, Plan, Status};

use super::{
    Driven, Site,
    api::{Api, Server},
    document, kept,
    site::Purpose,
    template,
};
use crate::{
    engine::{Ports, Recorder, TickError, tick},
    object::{ObjectRef, ObjectWrite, Verb, text, version},
    port::{Activities, Durable, Saved, Saving, Unavailable, WallClock, WriteError},
};

/// Pause between two looks while others have to act.
const LOOK: Duration = Duration::from_millis(250);

/// Whom a workload is given back with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Keep {
    /// The revision that serves users.
    Stable,
    /// The revision on trial.
    Canary,
}

/// Gives the workload of a Rollout back. `said` hears of every phase.
///
/// # Errors
/// When something cannot be read or written, and why; what was done so far stays, and the same again goes on from there.
pub async fn eject(
    mut api: Api,
    name: &Name,
    keep: Keep,
    mut said: impl FnMut(&Phase),
) -> Result<(), Unavailable> {
    let of = super::rollouts().named(name.as_str());
    let rollout = off(&mut api, &of).await?;
    let mut active = rollout.clone();
    active["spec"]["mode"] = json!("active");
    let compiled = document::understand(&active, &[]);
    let compiled = compiled.map_err(|it| cannot("the document is not understood", &it.join("; ")))?;
    let uid = Name::from(text(&rollout, "/metadata/uid").unwrap_or_default());
    let driven =
        Driven::new(&compiled, uid.clone()).map_err(|it| Unavailable::new("cannot drive it", &it))?;
    let status = kept::remembered(&kept::told(&rollout))?;
    if keep == Keep::Stable {
        back(&mut api, &driven.workload(), &rollout, &status).await?;
    }
    let mut site = Site::new(api.clone(), name, uid, driven);
    crate::port::Outside::observe(&mut site, &status).await?;
    let plan = Plan { missing: vec![], ..compiled.with_facts(&site.facts()) };
    let memory = Memory::new(status, keep);
    let mut ports = Ports { outside: site, durable: memory, activities: Nothing, clock: WallClock };
    let mut recorder = Recorder::default();
    loop {
        let status = &ports.durable.0.status;
        let waits = keep == Keep::Canary && matches!(status.phase, Phase::Stepping { .. } | Phase::Promoting);
        if !waits {
            ports.outside.serve(Purpose::GiveBack);
        }
        if status.phase == Phase::Left {
            break;
        }
        let before = status.phase.clone();
        match tick(&plan, &mut ports, &mut recorder, &|_| ()).await {
            Ok(it) if it.again() => {}
            Ok(_) | Err(TickError::Conflict) => tokio::time::sleep(LOOK).await,
            Err(error) => return Err(Unavailable::new("cannot go on", &error)),
        }
        if ports.durable.0.status.phase != before {
            said(&ports.durable.0.status.phase);
        }
    }
    forget(&mut api, &of).await?;
    while !ports.outside.let_go().await? {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Says `mode: off`; the Rollout as it is then.
async fn off(api: &mut Api, of: &ObjectRef) -> Result<Value, Unavailable> {
    let found = api.get(of).await?;
    let rollout =
        found.ok_or_else(|| cannot(&format!("there is no {of}"), "its name and namespace are asked for"))?;
    if text(&rollout, "/spec/mode") == Some("off") {
        return Ok(rollout);
    }
    let body = json!([{ "op": "add", "path": "/spec/mode", "value": "off" }]);
    let write = ObjectWrite { object: of.clone(), verb: Verb::Patch, expected: None, body };
    let written = api.send(&write).await.map_err(|it| it.unavailable("cannot say `mode: off`"))?;
    Ok(written.unwrap_or(rollout))
}

/// Lets the workload ask for stable again, or it would roll out by itself what was on trial.
async fn back(api: &mut Api, of: &ObjectRef, rollout: &Value, status: &Status) -> Result<(), Unavailable> {
    let (Some(stable), Some(_)) = (&status.stable, &status.canary) else { return Ok(()) };
    let Some(workload) = api.get(of).await? else { return Ok(()) };
    let template = template::of(api, rollout, stable).await?;
    let lost = || {
        cannot(
            &format!("the template of {stable} is not there any more"),
            "eject --to canary, or apply the old manifest",
        )
    };
    let body = json!([{ "op": "add", "path": "/spec/template", "value": template.ok_or_else(lost)? }]);
    let write = ObjectWrite { object: of.clone(), verb: Verb::Patch, expected: version(&workload), body };
    api.send(&write).await.map(drop).map_err(|it| it.unavailable("cannot put stable's template back"))
}

/// Nothing of the rollout is remembered any more.
async fn forget(api: &mut Api, of: &ObjectRef) -> Result<(), Unavailable> {
    let Some(rollout) = api.get(of).await? else { return Ok(()) };
    let message = "given back by eject; `mode: active` begins anew";
    let body = json!([{ "op": "add", "path": "/status", "value": { "phase": "Left", "message": message } }]);
    let write =
        ObjectWrite { object: of.clone(), verb: Verb::PatchStatus, expected: version(&rollout), body };
    api.send(&write).await.map(drop).map_err(|it| it.unavailable("cannot write the status"))
}

fn cannot(what: &str, why: &str) -> Unavailable {
    Unavailable { what: what.to_owned(), why: why.to_owned() }
}

/// What is remembered, for as long as it takes.
struct Memory(Saved);

impl Memory {
    fn new(status: Status, keep: Keep) -> Self {
        let order = status.canary.clone().filter(|_| keep == Keep::Canary).map(|revision| Order {
            id: "eject".into(),
            action: Action::PromoteFull,
            revision,
            attempt: status.attempt,
            step: None,
            by: "eject".into(),
            reason: None,
            not_after: None,
        });
        let orders = Orders(order.into_iter().collect());
        Self(Saved { status, orders, reasons: BTreeMap::new(), fence: 0 })
    }
}

impl Durable for Memory {
    type Shown = ();

    async fn load(&mut self) -> Result<Saved, Unavailable> {
        Ok(self.0.clone())
    }

    async fn save(&mut self, _: &Saved, saving: Saving<'_, ()>) -> Result<(), WriteError> {
        self.0.status = saving.status.clone();
        self.0.orders.0.retain(|order| saving.closed.iter().all(|it| it.order != order.id));
        self.0.fence += 1;
        Ok(())
    }

    async fn record(&mut self, _: Timestamp, _: &str) -> Result<(), WriteError> {
        Ok(())
    }
}

/// A person decided: nothing is measured.
struct Nothing;

impl Activities for Nothing {
    fn reconcile(&mut self, _: &[Activity], _: Timestamp) {}

    fn outcomes(&self) -> BTreeMap<ActivityId, Outcome> {
        BTreeMap::new()
    }

    fn wake(&self) -> Option<Timestamp> {
        None
    }
}
