//! One Rollout at work: taken up when something concerns it, dropped when it rests.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
    time::{Duration, Instant},
};

use analysis::provider::Secret;
use serde_json::{Value, json};
use strategies::{Name, Phase, Steering};
use tokio::sync::{Notify, Semaphore};

use super::{
    Driven,
    api::Server as _,
    document::{self, Referred},
    interests::Key,
    kept::{self, Kept},
    order, record,
    site::Site,
    watches::{InUse, Watched, Watches},
};
use crate::{
    analyses::Definition,
    clock,
    measure::{Sources, sources},
    object::{Detail, Kind, Need, ObjectWrite, Verb, Which, text, version},
    port::{Outside as _, Unavailable},
    rollout::{Document, Providers, Pulse, Working},
    spec::{Compiled, Condition, ConditionStatus, Moment, SecretRef, compile::Facts},
    telemetry::Outlet,
};

/// Longest sleep without a reason to wake.
const LONG: Duration = Duration::from_hours(1);
/// How long a rollout that is taken up waits for what it needs to be known, before it says so.
const BLIND: Duration = Duration::from_secs(10);
/// Pause after something could not be read.
const AGAIN: Duration = Duration::from_secs(2);

/// What all Rollouts share.
pub(super) struct Common {
    pub(super) watches: Watches,
    /// Where Secrets of sources for every namespace are.
    pub(super) home: Name,
    pub(super) turns: Semaphore,
    pub(super) journal: Option<Outlet>,
    /// What this instance is called.
    pub(super) instance: String,
}

/// How it came that nobody attends any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Left {
    /// It rests, or cannot go on before something changes.
    Rests(Digest),
    /// There is no such Rollout.
    Gone,
}

/// What a Rollout at rest is about: while that is the same, no change concerns it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Digest(u64);

impl Digest {
    /// Of a Rollout, its workload and the orders that are open.
    pub(super) fn of(watches: &Watches, key: &Key) -> Option<Self> {
        let rollout = watches.get(&super::rollouts(), &key.namespace, &key.name)?;
        let mut hasher = DefaultHasher::new();
        for at in ["/metadata/uid", "/metadata/generation", "/metadata/deletionTimestamp"] {
            rollout.pointer(at).map(Value::to_string).hash(&mut hasher);
        }
        if let Some((kind, name)) = workload(&rollout) {
            let workload = watches.get(&kind, &key.namespace, &name);
            let spec = workload.as_ref().and_then(|it| it.get("spec")).cloned().map(|mut it| {
                // Whoever scales it makes no release.
                it.as_object_mut().map(|it| it.remove("replicas"));
                it.to_string()
            });
            let metadata = |at: &str| workload.as_ref().and_then(|it| it.pointer(at)).map(Value::to_string);
            (spec, metadata("/metadata/uid"), metadata("/metadata/deletionTimestamp")).hash(&mut hasher);
            metadata("/metadata/annotations/serinus.dev~1bypass").hash(&mut hasher);
        }
        for (of, object) in referred(watches, key, &rollout) {
            (of, version_of(&object)).hash(&mut hasher);
        }
        let told = kept::told(&rollout);
        for it in watches.all(&super::orders(), &key.namespace) {
            order::standing(&it, &key.name, &told.dealt).hash(&mut hasher);
        }
        Some(Self(hasher.finish()))
    }
}

/// The workload that a Rollout names.
pub(super) fn workload(rollout: &Value) -> Option<(Kind, Name)> {
    let of = |it: &str| text(rollout, &format!("/spec/workloadRef/{it}"));
    Some((Kind::new(of("apiVersion")?, of("kind")?), of("name")?.into()))
}

/// A document with what it was read from, so that what is the same is not read again.
#[derive(Clone)]
struct Understood {
    of: Vec<String>,
    compiled: Compiled,
    sources: Sources,
    generation: u64,
}

/// Attends to one Rollout until it rests.
pub(super) async fn attend(common: Arc<Common>, key: Key, mail: Arc<Notify>) -> Left {
    let mut at_work: Option<AtWork> = None;
    loop {
        // Taken before anything is looked at: what changes meanwhile is another digest.
        let Some(digest) = Digest::of(&common.watches, &key) else { return Left::Gone };
        let Some(rollout) = common.watches.get(&super::rollouts(), &key.namespace, &key.name) else {
            return Left::Gone;
        };
        let uid = Name::from(text(&rollout, "/metadata/uid").unwrap_or_default());
        if at_work.as_ref().is_some_and(|it| it.uid != uid) {
            at_work = None;
        }
        let before = at_work.as_ref().map(|it| it.understood.of.as_slice()).unwrap_or_default();
        let understood = match understand(&common, &key, &rollout, before).await {
            Ok(it) => it,
            Err(Cannot::Mistakes(mistakes)) => {
                let Some(it) = &mut at_work else {
                    common.watches.hear_of(&key, &references(&rollout), &uid);
                    if let Err(error) = refuse(&common, &key, &rollout, &mistakes).await {
                        tracing::warn!(rollout = %key, %error, "its mistakes could not be told");
                    }
                    return Left::Rests(digest);
                };
                it.working.environment().keep_to(mistakes);
                None
            }
            Err(Cannot::Unavailable(error)) => {
                tracing::warn!(rollout = %key, %error, "cannot be taken up");
                tokio::select! {
                    () = mail.notified() => {}
                    () = tokio::time::sleep(AGAIN) => {}
                }
                continue;
            }
        };
        let taken = match (at_work.take(), understood) {
            (Some(mut it), Some(understood)) => {
                it.handle(understood);
                Ok(it)
            }
            (Some(it), None) => Ok(it),
            (None, Some(understood)) => {
                AtWork::take_up(&common, &key, &rollout, uid.clone(), understood).await
            }
            (None, None) => return Left::Rests(digest),
        };
        let mut it = match taken {
            Ok(it) => it,
            Err(error) => {
                tracing::warn!(rollout = %key, %error, "cannot be taken up");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
        };
        let ended = it.until_something_happens(&common, &key, &mail).await;
        match ended {
            Ended::Gone => return Left::Gone,
            Ended::Rests => {
                common.watches.hear_of(&key, &it.at_rest, &uid);
                drop(it);
                return Left::Rests(digest);
            }
            Ended::News => at_work = Some(it),
        }
    }
}

enum Ended {
    Gone,
    Rests,
    News,
}

/// A rollout that was taken up.
struct AtWork {
    uid: Name,
    understood: Understood,
    /// What the plan was completed with.
    facts: Facts,
    working: Working<Site<Watched>, Kept, Providers>,
    needs: Vec<Need>,
    at_rest: Vec<Need>,
    /// When it was taken up.
    began: Instant,
    /// Whether a user's route leads to Services of ours also at rest.
    routed: bool,
    _watched: InUse,
}

impl AtWork {
    async fn take_up(
        common: &Common,
        key: &Key,
        rollout: &Value,
        uid: Name,
        understood: Understood,
    ) -> Result<Self, Unavailable> {
        let driven = driven(&understood.compiled, &uid)?;
        let (needs, at_rest) = (needs(&driven, rollout), driven.needs(false));
        let watched = common.watches.need(key, &needs, &uid);
        let at_rest = at_rest.into_iter().filter(|it| it.kind == driven.workload().kind);
        let at_rest = at_rest.chain(references(rollout)).collect();
        let workload = driven.workload();
        let server = Watched::new(&common.watches, &key.namespace);
        let mut site = Site::new(server.clone(), &key.name, uid.clone(), driven);
        let seen = site.seen_workload();
        let status = kept::remembered(&kept::told(rollout))?;
        // What is wanted stands in the workload.
        site.observe(&status).await?;
        let wanted = site.driven().look().map(|it| it.revision.clone());
        let wanted = wanted.or(status.canary.clone()).or(status.stable.clone()).unwrap_or_else(|| "".into());
        let kept = Kept::new(
            server,
            &key.name,
            uid.clone(),
            workload,
            seen,
            common.journal.clone(),
            common.instance.clone(),
        );
        let routed = matches!(understood.compiled.plan.steering, Steering::Routes(_));
        let facts = site.facts();
        let document = document(&understood, &facts, wanted);
        let working = Working::take_up(key.name.clone(), document, status, site, kept, Providers).await?;
        let began = clock::instant();
        Ok(Self { uid, understood, facts, working, needs, at_rest, began, routed, _watched: watched })
    }

    fn handle(&mut self, understood: Understood) {
        let Ok(driven) = driven(&understood.compiled, &self.uid) else { return };
        self.understood = understood;
        self.working.environment().drive(driven);
        self.handle_facts(self.facts.clone());
    }

    /// The workload says something else of itself, or the document is another.
    fn handle_facts(&mut self, facts: Facts) {
        let wanted = self.working.environment().driven().look().map(|it| it.revision.clone());
        let wanted = wanted.or(self.working.status().stable.clone()).unwrap_or_else(|| "".into());
        self.working.handle_document(document(&self.understood, &facts, wanted));
        self.facts = facts;
    }

    async fn until_something_happens(&mut self, common: &Common, key: &Key, mail: &Notify) -> Ended {
        let known = common.watches.knows_all(&key.namespace, &self.needs);
        if !known && self.began.elapsed() < BLIND {
            tracing::debug!(rollout = %key, "waits for what it needs to be known");
            // It will be told in a moment: nothing is decided, and nothing shown, on half of the world.
            tokio::select! {
                () = mail.notified() => {}
                () = tokio::time::sleep(BLIND.saturating_sub(self.began.elapsed())) => {}
            }
            return Ended::News;
        }
        if known && self.facts.workload.is_none() {
            // It was taken up before the workload was known: no step is taken by half a plan.
            let status = self.working.status().clone();
            if self.working.environment().observe(&status).await.is_ok() {
                let facts = self.working.environment().facts();
                self.handle_facts(facts);
            }
        }
        self.working.handle_orders();
        let turn = {
            let Ok(_permit) = common.turns.acquire().await else { return Ended::News };
            self.working.turn().await
        };
        if turn.pulse == Pulse::Gone {
            return Ended::Gone;
        }
        if let Some(wanted) = self.working.environment().driven().look().map(|it| it.revision.clone()) {
            self.working.handle_wanted(wanted);
        }
        let facts = self.working.environment().facts();
        if facts.workload.is_some() && facts != self.facts {
            self.handle_facts(facts);
            return Ended::News;
        }
        // Its selector may have been unknown before.
        common.watches.hear_of(key, &self.needs, &self.uid);
        if known && turn.pulse == Pulse::Rests && turn.again.is_none() && self.let_go().await {
            return Ended::Rests;
        }
        let pause = turn.again.map(|at| at.duration_since(clock::now()));
        let pause = pause.map(|it| Duration::try_from(it).unwrap_or_default()).unwrap_or(LONG);
        tokio::select! {
            biased;
            () = mail.notified() => {}
            () = self.working.changed() => {}
            () = tokio::time::sleep(pause.min(LONG)) => {}
        }
        Ended::News
    }

    /// At rest nothing has to be given back, so nothing keeps the Rollout; whether that is so.
    async fn let_go(&mut self) -> bool {
        if self.working.status().phase != Phase::Idle || self.routed {
            return true;
        }
        match self.working.environment().let_go().await {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "a Rollout at rest keeps its finalizer");
                true
            }
        }
    }
}

fn driven(compiled: &Compiled, uid: &Name) -> Result<Driven, Unavailable> {
    Driven::new(compiled, uid.clone()).map_err(|it| Unavailable::new("cannot drive it", &it))
}

fn needs(driven: &Driven, rollout: &Value) -> Vec<Need> {
    driven.needs(true).into_iter().chain(references(rollout)).collect()
}

/// A change of what a document refers to is a change of the document.
fn references(rollout: &Value) -> Vec<Need> {
    let named = |(kind, name): Referred| Need { kind, which: Which::Named(name), detail: Detail::Whole };
    let mut all: Vec<Need> = document::references(rollout).into_iter().map(named).collect();
    if !all.is_empty() {
        let sources = super::library().into_iter().filter(|it| it.kind.as_str().ends_with("MetricSource"));
        all.extend(sources.map(|kind| Need { kind, which: Which::All, detail: Detail::Whole }));
    }
    all
}

fn document(understood: &Understood, facts: &Facts, wanted: strategies::Revision) -> Document {
    let Understood { of: _, compiled, sources, generation } = understood;
    let definitions: BTreeMap<Name, Definition> =
        compiled.analyses.iter().map(|(name, it)| (name.clone(), Definition::from(it))).collect();
    Document {
        generation: *generation,
        wanted,
        plan: compiled.with_facts(facts),
        definitions,
        sources: sources.clone(),
    }
}

/// Why a Rollout has no document.
enum Cannot {
    Mistakes(Vec<String>),
    Unavailable(Unavailable),
}

/// What a Rollout means now; `None`: the same as `before`.
async fn understand(
    common: &Common,
    key: &Key,
    rollout: &Value,
    before: &[String],
) -> Result<Option<Understood>, Cannot> {
    let referred = referred(&common.watches, key, rollout);
    let generation = rollout.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or(0);
    let mut of = vec![format!("{generation}")];
    of.extend(referred.iter().map(|((kind, name), it)| format!("{}/{name}@{}", kind.kind, version_of(it))));
    if of == before {
        return Ok(None);
    }
    let qualified = |((kind, _), object): (&Referred, &Value)| {
        document::qualified(object, home(common, key, kind).as_str())
    };
    let objects: Vec<Value> = referred.iter().map(qualified).collect();
    let compiled = document::understand(rollout, &objects).map_err(Cannot::Mistakes)?;
    let secrets = secrets(common, key, &referred).await.map_err(Cannot::Unavailable)?;
    let secret = |it: &SecretRef| match it {
        SecretRef::Secret(it) => {
            let value = secrets.get(&(it.name.clone(), it.key.clone()));
            value.cloned().ok_or_else(|| {
                format!("there is no key `{}` in a Secret `{}` that the engine may read", it.key, it.name)
            })
        }
        SecretRef::File(_) | SecretRef::Env(_) => {
            Err("in a cluster a secret is kept in a Secret: write `secret: { name: …, key: … }`".to_owned())
        }
    };
    let sources = sources(&compiled.analyses, &secret);
    Ok(Some(Understood { of, compiled, sources, generation }))
}

/// What a Rollout refers to, and what that refers to, as far as it is there.
fn referred(watches: &Watches, key: &Key, rollout: &Value) -> BTreeMap<Referred, Value> {
    let mut referred: BTreeMap<Referred, Value> = BTreeMap::new();
    let mut open: Vec<Referred> = document::references(rollout).into_iter().collect();
    while let Some(it) = open.pop() {
        let (kind, name) = &it;
        let namespace = match kind.kind.as_str().starts_with("Cluster") {
            true => Name::from(""),
            false => key.namespace.clone(),
        };
        if let Some(object) = watches.get(kind, &namespace, name)
            && !referred.contains_key(&it)
        {
            open.extend(document::references(&object));
            referred.insert(it, object);
        }
    }
    referred
}

fn version_of(object: &Value) -> String {
    text(object, "/metadata/resourceVersion").unwrap_or_default().to_owned()
}

/// Where the Secrets of a source are.
fn home<'a>(common: &'a Common, key: &'a Key, kind: &Kind) -> &'a Name {
    if kind.kind.as_str().starts_with("Cluster") { &common.home } else { &key.namespace }
}

/// The Secrets that sources need, by namespace and name: of the engine's own namespace for those of every namespace, of the Rollout's for its
/// own. What is not there, or may not be read, is missing.
async fn secrets(
    common: &Common,
    key: &Key,
    referred: &BTreeMap<Referred, Value>,
) -> Result<BTreeMap<(Name, String), Secret>, Unavailable> {
    let mut all = BTreeMap::new();
    for ((kind, _), object) in referred {
        let home = home(common, key, kind);
        for name in document::secrets(object) {
            let mut api = common.watches.api().within(home.clone());
            let secret = match api.get(&Kind::new("v1", "Secret").named(name.as_str())).await {
                Ok(it) => it,
                Err(error) => {
                    tracing::warn!(rollout = %key, %error, "a Secret");
                    continue;
                }
            };
            let data = secret.as_ref().and_then(|it| it.get("data")).and_then(Value::as_object);
            for (key, value) in data.into_iter().flatten() {
                use base64::Engine as _;
                let bytes =
                    value.as_str().and_then(|it| base64::engine::general_purpose::STANDARD.decode(it).ok());
                if let Some(text) = bytes.and_then(|it| String::from_utf8(it).ok()) {
                    all.insert(
                        (document::secret_name(home.as_str(), name.as_str()), key.clone()),
                        Secret::new(text.strip_suffix('\n').unwrap_or(&text)),
                    );
                }
            }
        }
    }
    Ok(all)
}

/// Tells what is wrong with a document; nothing is done by it.
async fn refuse(common: &Common, key: &Key, rollout: &Value, mistakes: &[String]) -> Result<(), Unavailable> {
    let mut status = kept::told(rollout);
    let before = status.clone();
    let message = format!("the document has mistakes, and nothing is done by it: {}", mistakes.join("; "));
    let generation = rollout.pointer("/metadata/generation").and_then(Value::as_i64);
    status.observed_generation = generation;
    status.message = Some(message.clone());
    let now = Moment(clock::wall());
    for (kind, is) in [("Ready", ConditionStatus::False), ("Stalled", ConditionStatus::True)] {
        let known = before.condition(kind).filter(|it| it.status == is).map(|it| it.last_transition_time);
        status.conditions.retain(|it| it.kind != kind);
        status.conditions.push(Condition {
            kind: kind.to_owned(),
            status: is,
            reason: "Invalid".to_owned(),
            message: message.clone(),
            last_transition_time: known.unwrap_or(now),
            observed_generation: generation,
        });
    }
    if status == before || !record::fit(&mut status) {
        return Ok(());
    }
    let value =
        serde_json::to_value(&status).map_err(|it| Unavailable::new("cannot write the status", &it))?;
    let body = json!([{ "op": "add", "path": "/status", "value": value }]);
    let object = super::rollouts().named(key.name.as_str());
    let write = ObjectWrite { object, verb: Verb::PatchStatus, expected: version(rollout), body };
    let mut server = Watched::new(&common.watches, &key.namespace);
    server.write(&write).await.map_err(|it| Unavailable::new("cannot write the status", &it))
}
