//! What a person's commands ask and order of a cluster: its objects, with the person's own rights. No engine is asked.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt as _};
use kube::{
    core::DynamicObject,
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use strategies::{Name, Order};

use super::{
    api::{Api, Failed, Server as _},
    attend::workload,
    kept, order, record, template,
};
use crate::{
    api::{
        client::ClientError,
        remote::{Followed, Remote},
        view::{
            Applied, AppliedRollout, CalibrationView, DocumentChange, Edit, Health, History, JournalQuery,
            JournalRecord, NewOrder, OrderAnswer, PhaseName, RevisionView, RolloutEvent, RolloutList,
            RolloutView, Trouble, WeightView,
        },
    },
    clock,
    object::{Kind, ObjectRef, ObjectWrite, Verb, text, version},
    port::Unavailable,
    rollout::{complete, former, next_attempt, promoted, random, refused, state_of, view, why_not},
};

/// How long it is waited until an order takes effect.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(200);
/// Letters that are added to the name of an order.
const SUFFIX: usize = 8;

/// The Rollouts of one namespace, as one person may see and order them.
#[derive(Clone)]
pub struct Cluster {
    api: Api,
    scope: Namespaces,
}

/// Which namespaces are asked about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Namespaces {
    /// The one of the connection.
    One,
    /// Every one.
    All,
}

impl Cluster {
    /// Asks through this connection.
    #[must_use]
    pub fn new(api: Api, scope: Namespaces) -> Self {
        Self { api, scope }
    }

    /// The namespace that is asked about.
    #[must_use]
    pub fn namespace(&self) -> &Name {
        self.api.namespace()
    }

    async fn own(&self, name: &Name) -> Result<Value, ClientError> {
        let of = super::rollouts().named(name.as_str());
        let own = self.api.clone().get(&of).await.map_err(ClientError::Cluster)?;
        own.ok_or_else(|| ClientError::Refused {
            status: 404,
            code: "notFound".to_owned(),
            message: format!("there is no Rollout {name} in namespace {}", self.api.namespace()),
        })
    }

    /// What the server takes the person for.
    async fn by(&self) -> Result<Name, ClientError> {
        let kind = Kind::new("authentication.k8s.io/v1", "SelfSubjectReview");
        let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
        let asked = self.api.send(&ObjectWrite::create(kind.named("me"), body)).await;
        let said = asked.map_err(|it| refused_by(it, "cannot ask who you are"))?;
        let name = said.as_ref().and_then(|it| text(it, "/status/userInfo/username"));
        Ok(name.unwrap_or("(unknown)").into())
    }

    async fn workload(&self, rollout: &Value) -> Result<(ObjectRef, Value), ClientError> {
        let (kind, name) = workload(rollout).ok_or_else(|| conflict("the Rollout names no workload"))?;
        let of = kind.named(name.as_str());
        let found = self.api.clone().get(&of).await.map_err(ClientError::Cluster)?;
        let found = found.ok_or_else(|| conflict(&format!("{of} is not there")))?;
        Ok((of, found))
    }
}

/// How a Rollout stands.
fn view_of(rollout: &Value) -> RolloutView {
    let told = kept::told(rollout);
    let name = Name::from(text(rollout, "/metadata/name").unwrap_or_default());
    let invalid = told.condition("Stalled").filter(|it| it.reason == "Invalid");
    let mut view = match (record::standing(&told), invalid) {
        (Some(standing), _) => view(&standing),
        (None, None) => unseen(name),
        (None, Some(_)) => RolloutView { troubles: vec![], ..unseen(name) },
    };
    view.namespace = text(rollout, "/metadata/namespace").map(Name::from);
    if let Some(it) = invalid {
        view.troubles.insert(0, Trouble { text: it.message.clone(), since: it.last_transition_time.0 });
    }
    view
}

/// A Rollout that no engine has looked at.
fn unseen(name: Name) -> RolloutView {
    let now = clock::wall();
    let text = "no engine has looked at it yet: is `serinus controller` running, and for this namespace?";
    RolloutView {
        name,
        namespace: None,
        at: now,
        mode: strategies::Mode::Active,
        phase: PhaseName::Adopting,
        cause: None,
        since: now,
        stable: None,
        canary: None,
        wanted: None,
        generation: 0,
        attempt: 0,
        started: None,
        epoch: 0,
        step: None,
        weight: WeightView::default(),
        arms: vec![],
        waiting: vec![],
        hold: None,
        analyses: vec![],
        sight: None,
        traffic: vec![],
        last_traffic: vec![],
        recent: vec![],
        last: None,
        orders: vec![],
        addresses: vec![],
        troubles: vec![Trouble { text: text.to_owned(), since: now }],
        failure: None,
        given: vec![],
    }
}

impl Remote for Cluster {
    type Events = Events;

    async fn rollouts(&self) -> Result<RolloutList, ClientError> {
        let kind = super::rollouts();
        let all = match self.scope {
            Namespaces::One => self.api.list(&kind, None).await,
            Namespaces::All => self.api.list_everywhere(&kind).await,
        };
        let all = all.map_err(ClientError::Cluster)?;
        Ok(RolloutList { rollouts: all.iter().map(view_of).collect(), health: Health::default() })
    }

    async fn rollout(&self, name: &Name) -> Result<RolloutView, ClientError> {
        Ok(view_of(&self.own(name).await?))
    }

    async fn events(&self, name: &Name) -> Result<Events, ClientError> {
        self.own(name).await?;
        let served = self.api.served().resource(&super::rollouts()).await.map_err(ClientError::Cluster)?;
        let Some(served) = served else { return Err(conflict("the cluster serves no Rollouts")) };
        let namespace = self.api.namespace().as_str();
        let api: kube::Api<DynamicObject> =
            kube::Api::namespaced_with(self.api.client().clone(), namespace, &served.resource);
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let events = kube::runtime::watcher(api, config).default_backoff();
        Ok(Events { events: events.boxed(), listed: false, ended: false })
    }

    async fn history(&self, name: &Name) -> Result<History, ClientError> {
        let own = self.own(name).await?;
        let Some(standing) = record::standing(&kept::told(&own)) else { return Ok(History::default()) };
        let status = standing.status;
        let (_, workload) = self.workload(&own).await?;
        let sets = {
            let selector = workload.pointer("/spec/selector").and_then(super::Selector::of);
            self.api.list(&Kind::new("apps/v1", "ReplicaSet"), selector.as_ref()).await
        };
        let mut revisions: Vec<RevisionView> = sets
            .map_err(ClientError::Cluster)?
            .iter()
            .filter_map(|it| {
                let revision = template::named(it)?;
                Some(RevisionView {
                    at: text(it, "/metadata/creationTimestamp")?.parse().ok()?,
                    state: state_of(&revision, Some(&status)),
                    runs: order::images(it),
                    promoted: promoted(&revision, Some(&status)),
                    refused: refused(&revision, Some(&status)),
                    available: true,
                    revision,
                })
            })
            .collect();
        revisions.sort_by_key(|it| std::cmp::Reverse(it.at));
        Ok(History { revisions, attempts: status.last.into_iter().collect() })
    }

    async fn journal(&self, _: &Name, _: JournalQuery) -> Result<Vec<JournalRecord>, ClientError> {
        Err(conflict("in a cluster decisions are in the engine's journal: `kubectl logs` of the controller"))
    }

    async fn calibration(&self, _: &Name) -> Result<CalibrationView, ClientError> {
        Err(conflict("what stable's replicas have shown is not kept in a cluster: give `--history FILE`"))
    }

    async fn order(&self, name: &Name, new: &NewOrder) -> Result<OrderAnswer, ClientError> {
        let own = self.own(name).await?;
        let status = kept::remembered(&kept::told(&own)).map_err(ClientError::Cluster)?;
        let by = self.by().await?;
        let mut order = complete(new.clone(), Some(&status), by).map_err(|it| conflict(&it.to_string()))?;
        if new.id.is_none() {
            let random = random().map_err(|it| conflict(&it.to_string()))?;
            let suffix = random.get(..SUFFIX).unwrap_or_default();
            order.id = format!("{name}-{}-{suffix}", order.action).as_str().into();
        }
        let object = written(name, &order);
        let write = ObjectWrite::create(super::orders().named(order.id.as_str()), object);
        self.api.send(&write).await.map_err(|it| refused_by(it, "the order was not taken"))?;
        let began = clock::instant();
        loop {
            let own = self.own(name).await?;
            let told = kept::told(&own);
            let view = view_of(&own);
            let status = kept::remembered(&told).map_err(ClientError::Cluster)?;
            let accepted = status.accepted.iter().any(|it| it.id == order.id && it.had_effect());
            let dealt = told.dealt.iter().any(|it| it == order.id.as_str());
            if accepted || dealt || began.elapsed() > PATIENCE {
                let because = (!accepted).then(|| match dealt {
                    true => why_not(&order, &view),
                    false => "no engine has taken it up yet; it stands until one does".to_owned(),
                });
                return Ok(OrderAnswer { order, accepted, because, view });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn edit(&self, name: &Name, edit: &Edit) -> Result<Applied, ClientError> {
        let own = self.own(name).await?;
        let (of, workload) = self.workload(&own).await?;
        let standing = record::standing(&kept::told(&own));
        let status = standing.as_ref().map(|it| &it.status);
        let body = match edit {
            Edit::SetCommand { .. } => {
                return Err(conflict("in a cluster the workload says what runs: `kubectl set image`"));
            }
            Edit::Restart => {
                return Err(conflict(&format!(
                    "a restart is no release in a cluster: `kubectl rollout restart {}/{}`",
                    of.kind.kind.as_str().to_lowercase(),
                    of.name
                )));
            }
            Edit::Undo { to } => {
                let wanted = standing.as_ref().map(|it| it.wanted.clone()).unwrap_or_else(|| "".into());
                let known = to.clone().or_else(|| former(status?, &wanted));
                let to = known.ok_or_else(|| conflict("there is no revision to go back to"))?;
                let template = template::of(&mut self.api.clone(), &own, &to).await;
                let lost = || {
                    conflict(&format!(
                        "no ReplicaSet of revision {to} is left (revisionHistoryLimit); apply its manifest again"
                    ))
                };
                let template = template.map_err(ClientError::Cluster)?.ok_or_else(lost)?;
                (to, json!([{ "op": "add", "path": "/spec/template", "value": template }]))
            }
        };
        let (revision, body) = body;
        let write = ObjectWrite { object: of, verb: Verb::Patch, expected: version(&workload), body };
        self.api.send(&write).await.map_err(|it| refused_by(it, "the workload was not changed"))?;
        let change = DocumentChange::NewRevision;
        let applied = AppliedRollout {
            name: name.clone(),
            change,
            refused: refused(&revision, status),
            before: None,
            next_attempt: next_attempt(status, change, &revision),
            generation: standing.as_ref().map_or(0, |it| it.generation),
            addresses: vec![],
            revision,
        };
        Ok(Applied { findings: vec![], rollouts: vec![applied] })
    }

    async fn delete(&self, name: &Name) -> Result<RolloutView, ClientError> {
        let own = self.own(name).await?;
        let of = super::rollouts().named(name.as_str());
        let write = ObjectWrite { expected: None, ..ObjectWrite::delete(of, &own) };
        self.api.send(&write).await.map_err(|it| refused_by(it, "it was not deleted"))?;
        Ok(view_of(&own))
    }
}

/// An order as an object.
fn written(rollout: &Name, order: &Order) -> Value {
    let mut spec = json!({ "rollout": rollout.as_str(), "action": order.action,
        "revision": { "attempt": order.attempt }, "by": order.by.as_str() });
    for (key, value) in [("step", &order.step), ("reason", &order.reason)] {
        if let Some(value) = value {
            spec[key] = json!(value.as_str());
        }
    }
    if let Some(until) = order.not_after {
        spec["notAfter"] = json!(until.to_string());
    }
    let Kind { api_version, kind } = super::orders();
    json!({ "apiVersion": api_version.as_str(), "kind": kind.as_str(),
        "metadata": { "name": order.id.as_str() }, "spec": spec })
}

fn conflict(message: &str) -> ClientError {
    ClientError::Refused { status: 409, code: "conflict".to_owned(), message: message.to_owned() }
}

fn refused_by(failed: Failed, what: &str) -> ClientError {
    match failed {
        Failed::Status(status, why) => ClientError::Refused {
            status,
            code: if status == 403 { "forbidden" } else { "refused" }.to_owned(),
            message: format!("{what}: {why}"),
        },
        failed @ (Failed::NoAuthority | Failed::Other(_)) => ClientError::Cluster(failed.unavailable(what)),
    }
}

/// The events of one Rollout, from a watch.
pub struct Events {
    events: Pin<Box<dyn Stream<Item = Result<watcher::Event<DynamicObject>, watcher::Error>> + Send>>,
    /// Whether it was in the list that is being told.
    listed: bool,
    ended: bool,
}

impl Followed for Events {
    async fn next(&mut self) -> Result<Option<RolloutEvent>, ClientError> {
        use watcher::Event;
        loop {
            if self.ended {
                return Ok(None);
            }
            let Some(event) = self.events.next().await else { return Ok(None) };
            match event {
                Ok(Event::Init) => self.listed = false,
                Ok(Event::InitApply(it) | Event::Apply(it)) => {
                    self.listed = true;
                    let object = serde_json::to_value(it).unwrap_or_default();
                    return Ok(Some(RolloutEvent::Status(Box::new(view_of(&object)))));
                }
                Ok(Event::InitDone) if self.listed => {}
                Ok(Event::InitDone | Event::Delete(_)) => {
                    self.ended = true;
                    return Ok(Some(RolloutEvent::Gone));
                }
                Err(error) => {
                    let error = Unavailable::new("cannot watch the Rollout", &error);
                    tracing::warn!(%error, "following");
                }
            }
        }
    }
}
