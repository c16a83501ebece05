use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use analysis::calibrate::MetricHistory;
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use strategies::{Name, Next, Phase, Plan, Revision, Status};

use super::{
    ask::{Answer, Asker, Questions},
    environment::{Depth, Environment, News},
    failing::{self, Learnt},
    standing::{Decided, Known, Standing},
};
use crate::{
    analyses::{Analyses, ArmsNow, Checkpoint, Definition, Feed, Reads, planned_length},
    api::view::{RolloutView, Trouble},
    clock,
    engine::{self, Moment, Ports, Recorder, TickError, Ticked},
    measure::Sources,
    port::{Activities, Notes, Unavailable, WallClock},
};

/// Least time between two readings.
const LEAST_EVERY: Duration = Duration::from_millis(50);
/// Ticks in a row that may change something before others get their turn.
const MOST_IN_A_ROW: u32 = 64;
/// Conflicts in a row after which it is waited: whoever observes is behind its own writes.
const MOST_CONFLICTS: u32 = 4;
/// First pause after a tick that failed; later ones are twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest pause.
const RETRY_MOST: Duration = Duration::from_secs(5);
/// Pause between two looks at what is left of a rollout that has left.
const DISSOLVING: Duration = Duration::from_millis(50);

/// Names of what is kept beside the status.
const EVIDENCE: &str = "analyses";
const TRAFFIC: &str = "traffic";
const FAILURE: &str = "failure";

/// A document as a rollout works by it.
#[derive(Clone, Debug)]
pub struct Document {
    /// Version of the document.
    pub generation: u64,
    /// The revision that is wanted.
    pub wanted: Revision,
    /// The steps.
    pub plan: Plan,
    /// What is judged, by name.
    pub definitions: BTreeMap<Name, Definition>,
    /// What others are asked for.
    pub sources: Sources,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Turn {
    /// How it goes on.
    pub pulse: Pulse,
    /// When the next turn is due at the latest; `None`: when something happens.
    pub again: Option<Timestamp>,
}

/// How a rollout goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pulse {
    /// Something is under way.
    Works,
    /// Nothing is: it may be dropped and taken up again when something happens.
    Rests,
    /// Nothing of it is left.
    Gone,
}

/// Why it cannot act, and how long it waits before it tries again.
#[derive(Debug)]
struct Failing {
    pause: Duration,
}

/// One rollout at work.
pub struct Working<E, K, Q> {
    plan: Plan,
    ports: Ports<E, K, Analyses, WallClock>,
    recorder: Recorder,
    known: Known,
    last: Option<Ticked>,
    status: Status,
    polled: Option<Timestamp>,
    stored: Option<Timestamp>,
    failing: Option<Failing>,
    questions: Questions<Q>,
    heard: Option<News>,
    show_again: Option<Timestamp>,
}

impl<E: Environment, K: Notes<Shown = Standing>, Q: Asker> Working<E, K, Q> {
    /// Takes up what was kept. `status`: as it was loaded.
    ///
    /// # Errors
    /// When what was kept cannot be read; to be tried again.
    pub async fn take_up(
        name: Name,
        document: Document,
        status: Status,
        environment: E,
        mut durable: K,
        asker: Q,
    ) -> Result<Self, Unavailable> {
        let kept = durable.checkpoints().await?;
        let evidence: Option<Checkpoint> = part(&kept, EVIDENCE);
        // Sums and evidence go on from the same readings. What another version has kept and is not understood begins anew.
        let traffic = part(&kept, TRAFFIC).filter(|_| evidence.is_some());
        let Document { generation, wanted, plan, definitions, sources } = document;
        let definitions = paced(definitions, &environment);
        let planned = planned_length(&plan);
        let analyses = match evidence {
            Some(it) => Analyses::restore(definitions, planned, it),
            None => Analyses::new(definitions, planned),
        };
        let known = Known {
            name,
            generation,
            wanted,
            traffic: traffic.unwrap_or_default(),
            failing: None,
            failure: part(&kept, FAILURE),
            decided: VecDeque::new(),
        };
        Ok(Self {
            plan,
            ports: Ports { outside: environment, durable, activities: analyses, clock: WallClock },
            recorder: Recorder::default(),
            known,
            last: None,
            status,
            polled: None,
            stored: None,
            failing: None,
            questions: Questions::new(sources, asker),
            heard: None,
            show_again: None,
        })
    }

    /// What runs it.
    pub fn environment(&mut self) -> &mut E {
        &mut self.ports.outside
    }

    /// What is remembered.
    #[must_use]
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The document was changed.
    pub fn handle_document(&mut self, document: Document) {
        let Document { generation, wanted, plan, definitions, sources } = document;
        (self.known.generation, self.known.wanted, self.plan) = (generation, wanted, plan);
        let definitions = paced(definitions, &self.ports.outside);
        let (planned, evidence) = (planned_length(&self.plan), self.ports.activities.checkpoint());
        self.ports.activities = Analyses::restore(definitions, planned, evidence);
        self.questions.replace(sources);
    }

    /// Another revision is wanted, by the same document.
    pub fn handle_wanted(&mut self, wanted: Revision) {
        self.known.wanted = wanted;
    }

    /// An order was taken down, or until when one stands is another time now.
    pub fn handle_orders(&mut self) {
        self.ports.durable.forget();
    }

    /// Something could not be done for it; the next turn tries again a while later.
    pub fn handle_failure(&mut self, error: &Unavailable) {
        self.failed(error.to_string());
    }

    /// Whether this order took effect.
    #[must_use]
    pub fn had_effect(&self, order: &Name) -> bool {
        self.status.accepted.iter().any(|it| it.id == *order && it.had_effect())
    }

    /// Waits until something has happened that asks for a turn. Cancel safe.
    pub async fn changed(&mut self) {
        tokio::select! {
            biased;
            news = self.ports.outside.changed() => self.heard = self.heard.filter(|it| *it == News::Fails).or(Some(news)),
            answer = self.questions.next() => self.answered(answer),
        }
    }

    /// Works until the world rests: ticks, reads counts when they are due, asks whoever is to be asked, and shows how it
    /// stands. What was ordered goes before what is measured.
    pub async fn turn(&mut self) -> Turn {
        if self.heard.take() == Some(News::Fails) {
            self.poll(Urgency::Urgent).await;
        }
        self.work().await;
        let now = clock::now();
        self.questions.begin_due(&self.ports.activities, &self.status, &self.ports.outside, now);
        let Known { failure, wanted, .. } = &mut self.known;
        if failing::note(failure, &self.status, wanted, &self.ports.outside) == Learnt::Another {
            // It is worth more than the next few seconds of evidence.
            self.stored = None;
        }
        self.store().await;
        self.show().await;
        if self.status.phase == Phase::Left {
            return self.dissolve().await;
        }
        Turn { pulse: self.pulse(), again: self.again() }
    }

    async fn work(&mut self) {
        let mut conflicts = 0;
        for _ in 0..MOST_IN_A_ROW {
            match self.tick().await {
                Ok(ticked) => self.ticked(ticked),
                Err(TickError::Conflict) if conflicts < MOST_CONFLICTS => {
                    conflicts += 1;
                    self.ports.durable.forget();
                    continue;
                }
                Err(error) => {
                    self.failed(error.to_string());
                    break;
                }
            }
            conflicts = 0;
            self.known.traffic.follow(&self.status);
            if self.last.as_ref().is_none_or(|it| !it.again()) {
                if !self.poll_due() {
                    break;
                }
                self.poll(Urgency::Due).await;
            }
            // The others' turn.
            tokio::task::yield_now().await;
        }
    }

    async fn tick(&mut self) -> Result<Ticked, TickError> {
        let Self { plan, ports, recorder, known, .. } = self;
        let (plan, known) = (&*plan, &*known);
        let shown = |moment: &Moment<'_, E, Analyses>| known.standing(plan, moment, clock::now());
        engine::tick(plan, ports, recorder, &shown).await
    }

    fn ticked(&mut self, ticked: Ticked) {
        (self.failing, self.known.failing) = (None, None);
        let before = self.status.phase.clone();
        self.status = match &ticked.decided.next {
            Next::Save(next) => (**next).clone(),
            Next::Rest | Next::Write(_) => ticked.saved.status.clone(),
        };
        if before != self.status.phase {
            let (rollout, phase) = (&self.known.name, &self.status.phase);
            tracing::info!(%rollout, ?phase, attempt = self.status.attempt, "the rollout has moved");
        }
        Decided::note(&mut self.known.decided, ticked.at, &ticked.decided.next);
        self.last = Some(ticked);
    }

    fn failed(&mut self, text: String) {
        match (&mut self.failing, &mut self.known.failing) {
            (Some(failing), Some(known)) => {
                failing.pause = (failing.pause * 2).min(RETRY_MOST);
                known.text = text;
            }
            (failing, known) => {
                tracing::warn!(rollout = %self.known.name, error = text, "the engine cannot act");
                *known = Some(Trouble { text, since: clock::now() });
                *failing = Some(Failing { pause: RETRY_FIRST });
            }
        }
        self.ports.durable.forget();
    }

    fn answered(&mut self, answer: Answer) {
        let now = clock::now();
        self.questions.answered(answer, &mut self.ports.activities, now);
        // There is something new to store.
        self.polled = Some(now);
    }

    /// When the next turn is due.
    fn again(&self) -> Option<Timestamp> {
        let now = clock::now();
        let decided = self.last.as_ref().and_then(|it| it.decided.wake());
        let measured = self.ports.activities.wake().map(|at| at.max(self.earliest_poll()));
        let counts = self.next_count().map(|at| at.unwrap_or(now));
        let outside = self.ports.outside.look_again().map(|it| now + it);
        let next = [decided, measured, counts, outside, self.show_again].into_iter().flatten().min();
        // What is overdue and could not be done is not tried faster than failures are.
        let failing = self.failing.as_ref().map(|it| now + it.pause);
        match (next, failing) {
            (Some(next), Some(failing)) => Some(next.max(failing)),
            (next, failing) => next.or(failing),
        }
    }

    fn pulse(&self) -> Pulse {
        let rests = self.failing.is_none()
            && self.show_again.is_none()
            && self.questions.is_idle()
            && !self.is_followed()
            && self.ports.outside.look_again().is_none()
            && self.last.as_ref().is_some_and(|it| !it.again());
        if rests { Pulse::Rests } else { Pulse::Works }
    }

    fn is_followed(&self) -> bool {
        self.ports.durable.is_watched() || self.is_moving()
    }

    fn is_moving(&self) -> bool {
        match self.status.phase {
            Phase::Idle | Phase::RolledBack { .. } | Phase::Left => false,
            Phase::Adopting
            | Phase::Stepping { .. }
            | Phase::Promoting
            | Phase::Aborting { .. }
            | Phase::Leaving => true,
        }
    }

    /// When the counters are to be read although no judge wants it; `Some(None)`: at once.
    fn next_count(&self) -> Option<Option<Timestamp>> {
        let every = self.ports.outside.pace().counts.filter(|_| self.is_followed())?;
        Some(self.polled.map(|at| at + every))
    }

    /// Counts are not read faster than this, whoever asks.
    fn earliest_poll(&self) -> Timestamp {
        self.polled.map_or(Timestamp::UNIX_EPOCH, |at| at + LEAST_EVERY)
    }

    fn poll_due(&self) -> bool {
        let now = clock::now();
        let measured = self.ports.activities.wake().is_some_and(|at| at.max(self.earliest_poll()) <= now);
        measured || self.next_count().is_some_and(|at| at.is_none_or(|at| at <= now))
    }

    /// Reads what was counted and lets the judges look.
    async fn poll(&mut self, urgency: Urgency) {
        let asked = clock::now();
        self.polled = Some(asked);
        let Some(world) = self.last.as_ref().map(|it| &it.world) else { return };
        let mut arms = ArmsNow::seen(&self.plan, &self.status, world);
        let counted = self.ports.outside.counted().await;
        arms.fresh = self.ports.outside.fresh();
        let depth = match self.status.phase.step() {
            Some(_) => Depth::Usage,
            None => Depth::Health,
        };
        let pods = self.ports.outside.pods(depth).await;
        let urgent = urgency == Urgency::Urgent;
        let feed = Feed { counted: &counted, pods: pods.as_deref(), arms: &arms, urgent };
        let analyses = &mut self.ports.activities;
        let intervals = analyses.feed(&feed, asked);
        self.known.traffic.take(&intervals, analyses.bounds(), asked);
    }

    /// Evidence of the last seconds may be lost in a crash, what was concluded from it may not: that is in the status.
    async fn store(&mut self) {
        let (now, every) = (clock::now(), self.ports.durable.checkpoint_every());
        let due = self.stored.is_none_or(|at| at + every <= now);
        if self.polled.is_none_or(|at| self.stored.is_some_and(|stored| at <= stored)) || !due {
            return;
        }
        let parts = vec![
            (EVIDENCE, value(&self.ports.activities.checkpoint())),
            (TRAFFIC, value(&self.known.traffic)),
            (FAILURE, self.known.failure.as_ref().and_then(value)),
        ];
        if self.ports.durable.checkpoint(parts).await.is_ok() {
            self.stored = Some(now);
        }
    }

    /// How it stands now.
    #[must_use]
    pub fn view(&self) -> RolloutView {
        super::view(&standing(
            &self.known,
            &self.plan,
            self.last.as_ref(),
            &self.status,
            &self.ports.outside,
            &self.ports.activities,
        ))
    }

    /// How it stands now, counted a moment ago.
    pub async fn look(&mut self) -> RolloutView {
        if !self.is_followed() {
            self.poll(Urgency::Due).await;
        }
        self.view()
    }

    /// What is remembered of stable's replicas.
    #[must_use]
    pub fn calibration(&self) -> Vec<MetricHistory> {
        self.ports.activities.history(clock::now())
    }

    async fn show(&mut self) {
        let Self { plan, ports, known, last, status, .. } = self;
        let Ports { outside, durable, activities, clock: _ } = ports;
        let (outside, activities) = (&*outside, &*activities);
        let shown = || standing(known, plan, last.as_ref(), status, outside, activities);
        self.show_again = durable.show(&shown).await;
    }

    /// Ends what is left when the rollout has left.
    async fn dissolve(&mut self) -> Turn {
        let pause = match self.ports.outside.dissolve().await {
            Ok(true) => return Turn { pulse: Pulse::Gone, again: None },
            Ok(false) => DISSOLVING,
            Err(error) => {
                self.failed(error.to_string());
                self.failing.as_ref().map_or(RETRY_FIRST, |it| it.pause)
            }
        };
        Turn { pulse: Pulse::Works, again: Some(clock::now() + pause) }
    }
}

/// Whether somebody saw failures close together, so that what is there is judged at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Urgency {
    Due,
    Urgent,
}

fn standing<E: Environment>(
    known: &Known,
    plan: &Plan,
    last: Option<&Ticked>,
    status: &Status,
    outside: &E,
    activities: &Analyses,
) -> Standing {
    let none = BTreeMap::new();
    let moment = Moment {
        status,
        world: last.map(|it| &it.world),
        waiting: last.map(|it| it.decided.waiting.as_slice()).unwrap_or_default(),
        reasons: last.map_or(&none, |it| &it.saved.reasons),
        outside,
        activities,
    };
    known.standing(plan, &moment, clock::now())
}

/// A runtime that tells when a pod changes need not be asked every second.
fn paced(mut definitions: BTreeMap<Name, Definition>, of: &impl Environment) -> BTreeMap<Name, Definition> {
    let least = of.pace().pods;
    definitions.entry(crate::analyses::PODS.into()).or_insert_with(Definition::pods);
    let metrics = definitions.values_mut().flat_map(|it| &mut it.metrics);
    for it in metrics.filter(|it| it.reads == Reads::Pods) {
        it.every = it.every.max(least);
    }
    definitions
}

fn part<T: DeserializeOwned>(kept: &BTreeMap<String, serde_json::Value>, name: &str) -> Option<T> {
    kept.get(name).cloned().and_then(|it| serde_json::from_value(it).ok())
}

fn value(it: &impl Serialize) -> Option<serde_json::Value> {
    serde_json::to_value(it).ok()
}
