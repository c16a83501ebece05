//! One rollout at work: it ticks when something has happened, and sleeps otherwise.

mod ask;
mod failing;
mod keep;
mod show;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use strategies::{Arm, Name, Phase, Plan, Revision, Role, Status};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use self::ask::{Answer, Questions};
pub(super) use self::keep::shown;
use self::keep::{Remembered, StatusKeep};
use super::document::Understood;
use crate::{
    analyses::{self, Analyses, ArmsNow, Counted, Feed, PodHealth, Usage, planned_length},
    api::view::{AddressView, CalibrationView, FailureView, RolloutView},
    clock,
    engine::{self, Ports, Recorder, TickError, Ticked},
    local::{
        adapter::{
            fleet::socket_name,
            site::{Asked, Machine, Replica, Site},
        },
        counted::counted,
        supervisor::protocol::ProcessState,
        usage,
    },
    port::{Activities, Unavailable, WallClock},
    rollout::{Told, Traffic},
};

/// How often counts are read while something moves or somebody watches.
const EVERY: Duration = Duration::from_secs(1);
/// How often it is read what processes use while a canary is on trial.
const USAGE_EVERY: Duration = Duration::from_secs(5);
/// Least time between two readings.
const LEAST_EVERY: Duration = Duration::from_millis(50);
/// How often evidence is stored.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// Ticks in a row that may change something before others get their turn.
const MOST_IN_A_ROW: u32 = 64;
/// First pause after a tick that failed; later ones are twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest pause.
const RETRY_MOST: Duration = Duration::from_secs(5);

/// What a rollout is told.
pub(super) enum Message {
    /// Its document was applied again.
    Document(Box<(Understood, Asked, u64)>),
    /// Where users reach it.
    Addresses(Vec<AddressView>),
    /// An order was taken down; answered when it has taken effect or has not.
    Order(Name, oneshot::Sender<Answered>),
    /// How does it stand now?
    Look(oneshot::Sender<Arc<RolloutView>>),
    /// What is remembered of stable's replicas?
    Calibration(oneshot::Sender<CalibrationView>),
    /// Something happened to its processes.
    Processes,
    /// The clock on the wall was set.
    ClockSet,
}

/// What became of an order.
#[derive(Clone, Debug)]
pub(super) struct Answered {
    /// Whether it took effect.
    pub accepted: bool,
    /// Where the rollout stands now.
    pub view: Arc<RolloutView>,
}

/// What a rollout begins with.
pub(super) struct Begin {
    /// Its document.
    pub understood: Understood,
    /// What that asks for.
    pub asked: Asked,
    /// Version of the document.
    pub generation: u64,
    /// Signs sticky cookies.
    pub sticky_key: String,
    /// Where users reach it.
    pub addresses: Vec<AddressView>,
}

/// One rollout at work.
pub(super) struct Rollout {
    name: Name,
    machine: Machine,
    plan: Plan,
    generation: u64,
    wanted: Revision,
    ports: Ports<Site, StatusKeep, Analyses, WallClock>,
    recorder: Recorder,
    traffic: Traffic,
    addresses: Vec<AddressView>,
    inbox: mpsc::Receiver<Message>,
    told: Told,
    last: Option<Ticked>,
    status: Status,
    polled: Option<Timestamp>,
    used: Option<Timestamp>,
    stored: Option<Timestamp>,
    failing: Option<Failing>,
    waiting: Vec<(Name, oneshot::Sender<Answered>)>,
    questions: Questions,
    failure: Option<FailureView>,
}

/// Ticks that fail.
struct Failing {
    text: String,
    since: Timestamp,
    pause: Duration,
}

/// What ends a sleep.
enum Woken {
    Message(Option<Message>),
    Time,
    News,
    Streak,
    Answer(Box<Answer>),
}

impl Rollout {
    /// Takes up what was stored; the proxy serves as it was asked before this returns.
    ///
    /// # Errors
    /// When store, supervisor or proxy cannot be reached; to be tried again.
    pub(super) async fn open(
        machine: Machine,
        begin: Begin,
        inbox: mpsc::Receiver<Message>,
        told: Told,
    ) -> Result<Self, Unavailable> {
        let Begin { understood, asked, generation, sticky_key, addresses } = begin;
        let name = understood.name.clone();
        let mut keep = StatusKeep::new(&name, machine.clone(), told.decisions.clone());
        let status = keep.open().await?;
        let Remembered { evidence: checkpoint, traffic, failure } = keep.checkpoints().await?;
        let planned = planned_length(&understood.plan);
        let definitions = understood.definitions;
        let analyses = match checkpoint {
            Some(it) => Analyses::restore(definitions, planned, it),
            None => Analyses::new(definitions, planned),
        };
        let wanted = asked.revision.clone();
        let site =
            Site::open(name.as_str(), machine.clone(), asked, sticky_key, Some(status.clone())).await?;
        Ok(Self {
            name,
            machine,
            plan: understood.plan,
            generation,
            wanted,
            ports: Ports { outside: site, keep, activities: analyses, clock: WallClock },
            recorder: Recorder::default(),
            traffic: traffic.unwrap_or_default(),
            addresses,
            inbox,
            told,
            last: None,
            status,
            polled: None,
            used: None,
            stored: None,
            failing: None,
            waiting: vec![],
            questions: Questions::new(understood.asked),
            failure,
        })
    }

    /// Works until nothing of the rollout is left, or nobody holds it any more; answers whether the former.
    pub(super) async fn run(mut self) -> bool {
        let mut news = self.machine.fleet.news();
        let mut streaks = self.machine.fleet.streaks();
        loop {
            self.work().await;
            if self.status.phase == Phase::Left && self.dissolve().await {
                return true;
            }
            let until = self.until();
            let woken = tokio::select! {
                biased;
                message = self.inbox.recv() => Woken::Message(message),
                seen = streaks.recv() => match seen {
                    Ok(seen) if self.is_own(&seen.listener) => Woken::Streak,
                    Ok(_) | Err(_) => Woken::News,
                },
                _ = news.changed() => Woken::News,
                () = self.ports.outside.changed() => Woken::News,
                answer = self.questions.next() => Woken::Answer(Box::new(answer)),
                () = sleep(until.unwrap_or(Duration::from_hours(1))) => Woken::Time,
            };
            match woken {
                Woken::Message(None) => return false,
                Woken::Message(Some(message)) => self.take(message).await,
                Woken::Streak => self.poll(true).await,
                Woken::Answer(answer) => self.answered(*answer),
                Woken::Time | Woken::News => {}
            }
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message).await;
            }
        }
    }

    /// Ticks until the world rests, reads counts when they are due, and says how it stands. What was ordered goes
    /// before what is measured.
    async fn work(&mut self) {
        for _ in 0..MOST_IN_A_ROW {
            let ticked = engine::tick(&self.plan, &mut self.ports, &mut self.recorder).await;
            match ticked {
                Ok(ticked) => self.ticked(ticked),
                Err(TickError::Conflict) => {
                    self.ports.keep.forget();
                    continue;
                }
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
            self.traffic.follow(&self.status);
            if self.last.as_ref().is_none_or(|it| !it.again()) {
                if !self.poll_due() {
                    break;
                }
                self.poll(false).await;
            }
            // The others' turn.
            tokio::task::yield_now().await;
        }
        self.ask();
        self.note_failure();
        self.store_evidence().await;
        self.publish();
        self.answer();
    }

    fn ticked(&mut self, ticked: Ticked) {
        self.failing = None;
        let before = self.status.phase.clone();
        self.status = match &ticked.decided.next {
            strategies::Next::Save(next) => (**next).clone(),
            strategies::Next::Rest | strategies::Next::Write(_) => ticked.saved.status.clone(),
        };
        if before != self.status.phase {
            let (rollout, phase) = (&self.name, &self.status.phase);
            tracing::info!(%rollout, ?phase, attempt = self.status.attempt, "the rollout has moved");
        }
        self.last = Some(ticked);
    }

    fn failed(&mut self, error: &TickError) {
        let text = error.to_string();
        match &mut self.failing {
            Some(failing) => {
                failing.pause = (failing.pause * 2).min(RETRY_MOST);
                failing.text = text;
            }
            None => {
                tracing::warn!(rollout = %self.name, error = text, "the engine cannot act");
                self.failing = Some(Failing { text, since: clock::now(), pause: RETRY_FIRST });
            }
        }
        self.ports.keep.forget();
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Document(it) => {
                let (understood, asked, generation) = *it;
                self.plan = understood.plan;
                self.wanted = asked.revision.clone();
                self.generation = generation;
                let (planned, known) = (planned_length(&self.plan), self.ports.activities.checkpoint());
                self.ports.activities = Analyses::restore(understood.definitions, planned, known);
                self.questions.replace(understood.asked);
                if let Err(error) = self.ports.outside.ask(asked).await {
                    self.failed(&error.into());
                }
            }
            Message::Addresses(addresses) => self.addresses = addresses,
            Message::Order(id, answer) => {
                self.ports.keep.forget();
                self.waiting.push((id, answer));
            }
            Message::Look(answer) => {
                if !self.is_followed() {
                    self.poll(false).await;
                }
                // Whoever asked may be gone.
                let _ = answer.send(Arc::new(self.view()));
            }
            Message::Calibration(answer) => {
                let metrics = self.ports.activities.history(clock::now());
                // Whoever asked may be gone.
                let _ = answer.send(CalibrationView { metrics });
            }
            Message::ClockSet => self.ports.keep.forget(),
            Message::Processes => {}
        }
    }

    /// Tells those who gave an order what became of it.
    fn answer(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let view = Arc::new(self.view());
        for (id, answer) in std::mem::take(&mut self.waiting) {
            let accepted = self.status.accepted.iter().any(|it| it.id == id && it.had_effect());
            // Whoever asked may be gone.
            let _ = answer.send(Answered { accepted, view: Arc::clone(&view) });
        }
    }

    /// How long to sleep; `None`: until something happens.
    fn until(&self) -> Option<Duration> {
        let now = clock::now();
        let left = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let decided = self.last.as_ref().and_then(|it| it.decided.wake()).map(left);
        let measured = self.ports.activities.wake().map(|at| left(at.max(self.earliest_poll())));
        let counts = self.is_followed().then(|| self.polled.map_or(Duration::ZERO, |at| left(at + EVERY)));
        let outside = self.ports.outside.look_again();
        let again = self.failing.as_ref().map(|it| it.pause);
        let next = [decided, measured, counts, outside].into_iter().flatten().min();
        // What is overdue and could not be done is not tried faster than failures are.
        match (next, again) {
            (Some(next), Some(again)) => Some(next.max(again)),
            (None, again) => again,
            (Some(next), None) => Some(next),
        }
    }

    fn is_followed(&self) -> bool {
        self.told.view.receiver_count() > 0 || self.is_moving()
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

    fn is_own(&self, listener: &str) -> bool {
        listener.strip_prefix(self.name.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Counts are not read faster than this, whoever asks.
    fn earliest_poll(&self) -> Timestamp {
        self.polled.map_or(Timestamp::UNIX_EPOCH, |at| at + LEAST_EVERY)
    }

    fn poll_due(&self) -> bool {
        let now = clock::now();
        let measured = self.ports.activities.wake().is_some_and(|at| at.max(self.earliest_poll()) <= now);
        measured || (self.is_followed() && self.polled.is_none_or(|at| at + EVERY <= now))
    }

    /// Reads what the workers counted and lets the judges look.
    async fn poll(&mut self, urgent: bool) {
        let asked = clock::now();
        self.polled = Some(asked);
        let snapshots = self.machine.fleet.counts().await;
        let replicas = self.ports.outside.replicas();
        let listening =
            replicas.iter().flat_map(|(arm, all)| all.iter().map(|it| (it.address, arm.revision.clone())));
        let revisions: BTreeMap<SocketAddr, Revision> =
            listening.filter_map(|(address, revision)| Some((address?, revision))).collect();
        let own: Vec<Counted> = snapshots.iter().map(|it| self.own_only(counted(it, &revisions))).collect();
        let Some(world) = self.last.as_ref().map(|it| &it.world) else { return };
        let mut arms = ArmsNow::seen(&self.plan, &self.status, world);
        arms.fresh = self.ports.outside.fresh_now();
        let usage = self.usage(&replicas, asked).await;
        let pods: Vec<PodHealth> =
            replicas.iter().flat_map(|(arm, all)| all.iter().map(|it| pod(arm, it, &usage))).collect();
        let known = replicas.values().flatten().all(|it| it.known);
        let pods = known.then_some(pods.as_slice());
        let analyses = &mut self.ports.activities;
        let intervals = analyses.feed(&Feed { counted: &own, pods, arms: &arms, urgent }, asked);
        self.traffic.take(&intervals, analyses.bounds(), asked);
    }

    /// What the processes use; nothing where it was read just now, or nobody would judge it.
    async fn usage(
        &mut self,
        replicas: &BTreeMap<Arm, Vec<Replica>>,
        now: Timestamp,
    ) -> BTreeMap<u32, Usage> {
        if self.status.phase.step().is_none() || self.used.is_some_and(|at| now < at + USAGE_EVERY) {
            return BTreeMap::new();
        }
        self.used = Some(now);
        let leaders: BTreeSet<u32> =
            replicas.values().flatten().filter_map(|it| it.process.as_ref()?.pid).collect();
        // Files of the kernel, but many of them. If it fails nobody knows what they use.
        tokio::task::spawn_blocking(move || usage::of_groups(&leaders)).await.unwrap_or_default()
    }

    fn own_only(&self, mut counted: Counted) -> Counted {
        counted.series.retain(|it| self.is_own(it.entry.as_str()));
        counted
    }

    /// Evidence of the last seconds may be lost in a crash, what was concluded from it may not: that is in the status.
    async fn store_evidence(&mut self) {
        let now = clock::now();
        let due = self.stored.is_none_or(|at| at + CHECKPOINT_EVERY <= now);
        if self.polled.is_none_or(|at| self.stored.is_some_and(|stored| at <= stored)) || !due {
            return;
        }
        let checkpoint: analyses::Checkpoint = self.ports.activities.checkpoint();
        if self.ports.keep.store(checkpoint, self.traffic.clone(), self.failure.clone()).await.is_ok() {
            self.stored = Some(now);
        }
    }

    /// Ends what is left when the rollout has left; answers whether that is all.
    async fn dissolve(&mut self) -> bool {
        match self.ports.outside.dissolve().await {
            Ok(true) => true,
            Ok(false) => {
                sleep(Duration::from_millis(50)).await;
                false
            }
            Err(error) => {
                self.failed(&error.into());
                sleep(RETRY_FIRST).await;
                false
            }
        }
    }
}

fn pod(arm: &Arm, it: &Replica, usage: &BTreeMap<u32, Usage>) -> PodHealth {
    let process = it.process.as_ref();
    let pid = process.and_then(|it| it.pid);
    let state = process.map(|it| it.state);
    PodHealth {
        revision: arm.revision.clone(),
        pod: match &arm.role {
            Role::Main => it.ordinal.to_string().into(),
            Role::Baseline => format!("baseline/{}", it.ordinal).into(),
            Role::Trial(name) => format!("{name}/{}", it.ordinal).into(),
        },
        ready: it.ready,
        leaving: state == Some(ProcessState::Stopping),
        restarts: process.map_or(0, |it| it.restarts),
        oom_kills: 0,
        crash_looping: state == Some(ProcessState::BackingOff) && process.is_some_and(|it| it.restarts >= 2),
        usage: pid.and_then(|it| usage.get(&it)).copied(),
    }
}

/// The addresses of a rollout's sockets, in the order of its document.
#[must_use]
pub(super) fn addresses(
    name: &str,
    proxy: &crate::router::Proxy,
    listening: &BTreeMap<String, SocketAddr>,
) -> Vec<AddressView> {
    let one = |(index, listen): (usize, &crate::router::Listen)| {
        let socket = socket_name(name, index);
        let address = *listening.get(&socket)?;
        let scheme = if listen.tls.is_some() { "https" } else { "http" };
        Some(AddressView { name: socket, address, scheme: scheme.to_owned() })
    };
    proxy.listen.iter().enumerate().filter_map(one).collect()
}
