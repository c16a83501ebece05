//! A service under simulated requests in virtual time: `decide` and `Analyses` as they are, in a world that obeys at
//! once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use analysis::{Answers, AnyJudge};
use jiff::{SignedDuration, Timestamp};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serinus::analyses::{
    Analyses, ArmsNow, Counted, Definition, Feed, MetricDefinition, PODS, PodHealth, Reads, ReplicaCounts,
    Routed, Series, planned_length,
};
use serinus::port::Activities as _;
use strategies::{
    Acknowledged, Amount, Arm, ArmSeen, Capacity, Change, Deadlines, Dest, Fence, Guard, HumanDuration,
    Leave, Mode, Name, Next, OnVerdict, Orders, Phase, Plan, Ready, RouteKind, RoutePlan, RouteRest,
    RouteSeen, Seen, Sizing, StableCapacity, Status, Steering, Step, Wanted, Watches, Weight, World, Write,
    decide,
    recipe::{Context, Strategy},
    step::{AtOnce, Until},
};

const WORKERS: usize = 2;
const REPLICAS: u32 = 4;
const STREAK: usize = 5;
const STREAK_WITHIN_S: f64 = 0.5;

/// Upper bounds of latency buckets, in seconds.
pub(crate) const BOUNDS: [f64; 28] = [
    0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.015, 0.02, 0.025, 0.035, 0.05, 0.075,
    0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// How the service and its users behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// Requests per second, a Poisson process.
    pub(crate) per_s: f64,
    /// Stable's share of failed requests.
    pub(crate) base: f64,
    /// The canary's share of failed requests.
    pub(crate) canary: f64,
    /// How many times as long the canary takes.
    pub(crate) slower: f64,
}

/// How a simulated rollout ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// In which phase.
    pub(crate) phase: Phase,
    /// Seconds from the new revision's appearance to the commit or to the end of the abort.
    pub(crate) seconds: f64,
    /// Requests of the canary.
    pub(crate) canary: u64,
    /// Of these, failed ones.
    pub(crate) canary_failed: u64,
    /// Of these, before the first reading from which on anything counted.
    pub(crate) failed_before_first_poll: u64,
}

impl Ended {
    pub(crate) fn promoted(&self) -> bool {
        matches!(self.phase, Phase::Idle | Phase::Promoting)
    }

    pub(crate) fn rolled_back(&self) -> bool {
        matches!(self.phase, Phase::RolledBack { .. })
    }
}

/// The default canary with the default analyses.
pub(crate) fn default_canary() -> (Plan, BTreeMap<Name, Definition>) {
    let golden: Name = "golden".into();
    let steps = Strategy::default().steps(Context { analyses: std::slice::from_ref(&golden) }).steps;
    let definitions =
        BTreeMap::from([(golden.clone(), Definition::golden()), (PODS.into(), Definition::pods())]);
    (plan(steps, &[golden, PODS.into()]), definitions)
}

/// One step at `percent`, judged by errors alone: `worse_than` is what may be rolled back.
pub(crate) fn errors_alone(percent: u32, worse_than: f64) -> (Plan, BTreeMap<Name, Definition>) {
    let errors: Name = "errors".into();
    let written = format!(r#"{{"sequential":{{"rollBack":{{"worseThan":"{worse_than}x"}}}}}}"#);
    let judge: AnyJudge = serde_json::from_str(&written).expect("a judge");
    let definition = Definition { metrics: vec![MetricDefinition::plain("errors", judge, Reads::Errors)] };
    let (min, max) = (HumanDuration::from_mins(1), HumanDuration::from_mins(60));
    let until = Leave::Until(Until { analyses: vec![errors.clone()], min, max });
    let at_once = Leave::AtOnce(AtOnce {});
    let step = |name: &str, weight, leave| Step {
        name: name.into(),
        weight: Some(weight),
        matches: vec![],
        mirror: None,
        sticky: None,
        scale: None,
        leave,
    };
    let steps = vec![step("look", Weight::from_percent(percent), until), step("all", Weight::FULL, at_once)];
    (plan(steps, std::slice::from_ref(&errors)), BTreeMap::from([(errors, definition)]))
}

fn plan(steps: Vec<Step>, guards: &[Name]) -> Plan {
    let from = steps[0].name.clone();
    let route = RoutePlan {
        kind: RouteKind::Weighted { stable: None, canary: None },
        settle: HumanDuration::default(),
        finest: Weight::from_ppm(1),
        rest: RouteRest::OnStable,
    };
    Plan {
        mode: Mode::Active,
        guards: guards
            .iter()
            .map(|name| Guard { name: name.clone(), from: from.clone(), watches: Watches::Traffic })
            .collect(),
        steps,
        on_verdict: OnVerdict::default(),
        capacity: Capacity {
            stable: StableCapacity::Keep,
            surge: Amount::FULL,
            max_unavailable: Amount::ZERO,
            keep_canary: HumanDuration::from_secs(30),
        },
        deadlines: Deadlines::default(),
        rollback_window: None,
        sizing: Sizing::PerArm,
        steering: Steering::Routes([("web".into(), route)].into()),
        missing: vec![],
    }
}

/// What one worker has counted of one arm.
#[derive(Clone, Default)]
struct Count {
    ended: u64,
    failed: u64,
    latency: Vec<u64>,
    replicas: Vec<(u64, u64)>,
    streak: Vec<f64>,
}

/// A service under simulated requests.
pub(crate) struct Service {
    plan: Plan,
    status: Status,
    world: World,
    analyses: Analyses,
    traffic: Traffic,
    rng: ChaCha8Rng,
    now: Timestamp,
    began: Timestamp,
    counts: Vec<BTreeMap<Name, Count>>,
    next_request: f64,
    writes: u64,
    saved_and_taken_up: bool,
    canary_failed_at_first_poll: Option<u64>,
}

impl Service {
    /// Version `v1` serves everybody.
    pub(crate) fn new(
        plan: Plan,
        definitions: BTreeMap<Name, Definition>,
        traffic: Traffic,
        seed: u64,
    ) -> Self {
        let now = Timestamp::UNIX_EPOCH;
        let routes = plan.routes().map(|(id, _)| (id.clone(), Seen::Absent)).collect();
        let wanted = Wanted { revision: "v1".into(), replicas: REPLICAS, scaler: None };
        let world = World {
            leaving: false,
            wanted: Seen::Is(wanted),
            arms: BTreeMap::new(),
            routes,
            owner: Seen::Absent,
            ran: BTreeMap::new(),
        };
        let analyses = Analyses::new(definitions, planned_length(&plan));
        let mut service = Self {
            plan,
            status: Status::new(now),
            world,
            analyses,
            traffic,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now,
            began: now,
            counts: vec![BTreeMap::new(); WORKERS],
            next_request: 0.0,
            writes: 0,
            saved_and_taken_up: false,
            canary_failed_at_first_poll: None,
        };
        while !service.decide_once() {}
        service
    }

    /// Stores and takes up the analyses after every feed.
    pub(crate) fn taken_up_after_every_feed(mut self, definitions: BTreeMap<Name, Definition>) -> Self {
        self.saved_and_taken_up = true;
        self.analyses =
            Analyses::restore(definitions, planned_length(&self.plan), self.analyses.checkpoint());
        self
    }

    /// Serves for so long without a canary, so that the dispersion gets known.
    pub(crate) fn idle(&mut self, length: Duration) {
        let end = self.now.checked_add(length).expect("in range");
        while self.now < end {
            self.feed(false);
            let next =
                self.analyses.wake().unwrap_or(end).max(self.now + SignedDuration::from_secs(1)).min(end);
            self.serve_until(next);
        }
    }

    /// Releases `v2` and waits for the end, or for `at_most`.
    pub(crate) fn release(&mut self, at_most: Duration) -> Ended {
        if let Seen::Is(wanted) = &mut self.world.wanted {
            wanted.revision = "v2".into();
        }
        self.began = self.now;
        let deadline = self.now.checked_add(at_most).expect("in range");
        while self.now < deadline {
            let rests = self.decide_once();
            let over = match &self.status.phase {
                Phase::Promoting | Phase::RolledBack { .. } => true,
                Phase::Idle => self.status.stable == Some("v2".into()),
                Phase::Adopting
                | Phase::Stepping { .. }
                | Phase::Aborting { .. }
                | Phase::Leaving
                | Phase::Left => false,
            };
            if over {
                break;
            }
            if rests {
                self.wait();
            }
        }
        let canary = |field: fn(&Count) -> u64| -> u64 {
            self.counts.iter().filter_map(|it| it.get("v2")).map(field).sum()
        };
        Ended {
            phase: self.status.phase.clone(),
            seconds: self.now.duration_since(self.began).as_secs_f64(),
            canary: canary(|it| it.ended),
            canary_failed: canary(|it| it.failed),
            failed_before_first_poll: self.canary_failed_at_first_poll.unwrap_or(0),
        }
    }

    /// One decision, obeyed at once. True: it rests.
    fn decide_once(&mut self) -> bool {
        let decision = decide(&self.plan, &self.status, &Orders::default(), &self.world, self.now);
        self.analyses.reconcile(&decision.run, self.now);
        match decision.next {
            Next::Save(next) => self.status = *next,
            Next::Write(write) => self.obey(*write),
            Next::Rest => return true,
        }
        false
    }

    /// Feeds the judges when they want it, and lets time pass where nothing came of it.
    fn wait(&mut self) {
        if self.analyses.wake().is_some_and(|it| it <= self.now) {
            self.feed(false);
        }
        if self.heard() {
            return;
        }
        let decision = decide(&self.plan, &self.status, &Orders::default(), &self.world, self.now);
        let wakes = [decision.wake(), self.analyses.wake()].into_iter().flatten().filter(|it| self.now < *it);
        let next = wakes.min().unwrap_or(self.now + SignedDuration::from_secs(1));
        let streak = self.serve_until(next);
        if streak || self.analyses.wake().is_some_and(|it| it <= self.now) {
            self.feed(streak);
        }
        self.heard();
    }

    /// Whether the judges said something new.
    fn heard(&mut self) -> bool {
        let said = self.analyses.outcomes();
        let news = said != self.world.ran;
        self.world.ran = said;
        news
    }

    fn feed(&mut self, urgent: bool) {
        if self.canary_failed_at_first_poll.is_none() && self.share_of_canary() > 0.0 {
            let failed = self.counts.iter().filter_map(|it| it.get("v2")).map(|it| it.failed).sum();
            self.canary_failed_at_first_poll = Some(failed);
        }
        let counted = self.counted();
        let arms = ArmsNow::seen(&self.plan, &self.status, &self.world);
        let pods = self.pods();
        self.analyses.feed(&Feed { counted: &counted, pods: Some(&pods), arms: &arms, urgent }, self.now);
        if self.saved_and_taken_up {
            let stored = serde_json::to_string(&self.analyses.checkpoint()).expect("a checkpoint");
            let definitions = self.analyses.definitions().clone();
            let checkpoint = serde_json::from_str(&stored).expect("the same checkpoint");
            self.analyses = Analyses::restore(definitions, planned_length(&self.plan), checkpoint);
        }
    }

    fn counted(&self) -> Vec<Counted> {
        let up = Duration::try_from(self.now.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
        let worker = |(number, counts): (usize, &BTreeMap<Name, Count>)| Counted {
            source: format!("worker-{number}").into(),
            start: "first".into(),
            up: up + Duration::from_secs(100),
            bounds: Arc::from(BOUNDS),
            series: counts
                .iter()
                .map(|(revision, it)| Series {
                    entry: "web".into(),
                    arm: Arm::main(revision.as_str().into()),
                    routed: Routed::Weight,
                    begun: it.ended,
                    ended: it.ended,
                    failed: it.failed,
                    latency: it.latency.clone(),
                    answers: Answers {
                        success: it.ended - it.failed,
                        server_error: it.failed,
                        ..Answers::default()
                    },
                })
                .collect(),
            replicas: counts
                .iter()
                .flat_map(|(revision, it)| {
                    it.replicas.iter().enumerate().map(move |(replica, (ended, failed))| ReplicaCounts {
                        replica: format!("{revision}-{replica}").into(),
                        revision: revision.as_str().into(),
                        ended: *ended,
                        failed: *failed,
                        latency: vec![],
                    })
                })
                .collect(),
        };
        self.counts.iter().enumerate().map(worker).collect()
    }

    fn pods(&self) -> Vec<PodHealth> {
        let of = |(arm, seen): (&Arm, &Seen<ArmSeen>)| {
            let desired = seen.get().map_or(0, |it| it.desired);
            (0..desired)
                .map(|ordinal| PodHealth {
                    revision: arm.revision.clone(),
                    pod: ordinal.to_string().into(),
                    ready: true,
                    leaving: false,
                    restarts: 0,
                    oom_kills: 0,
                    crash_looping: false,
                    usage: None,
                })
                .collect::<Vec<_>>()
        };
        self.world.arms.iter().flat_map(of).collect()
    }

    fn share_of_canary(&self) -> f64 {
        let arm = Dest::Arm(Arm::main("v2".into()));
        self.world.route(&"web".into()).get().map_or(0.0, |it| it.asked.weight_of(&arm).fraction())
    }

    /// Serves requests until `end`, or until some fail close together: then true.
    fn serve_until(&mut self, end: Timestamp) -> bool {
        let end_s = end.as_nanosecond() as f64 / 1e9;
        let share = self.share_of_canary();
        while self.next_request <= end_s {
            let at = self.next_request;
            self.next_request += -(1.0 - self.rng.random::<f64>()).ln() / self.traffic.per_s;
            if self.serve(at, share) {
                self.now = Timestamp::from_nanosecond((at * 1e9) as i128).expect("in range").max(self.now);
                return true;
            }
        }
        self.now = end;
        false
    }

    /// One request. True: it completes a streak of failures.
    fn serve(&mut self, at: f64, share: f64) -> bool {
        let to_canary = self.rng.random_bool(share);
        let traffic = self.traffic;
        let (revision, rate) = if to_canary { ("v2", traffic.canary) } else { ("v1", traffic.base) };
        let failed = self.rng.random_bool(rate);
        let took = lognormal(&mut self.rng) * if to_canary { traffic.slower } else { 1.0 };
        let replica = self.rng.random_range(0..REPLICAS as usize);
        let worker = self.rng.random_range(0..WORKERS);
        let count = self.counts[worker].entry(revision.into()).or_insert_with(|| Count {
            latency: vec![0; BOUNDS.len() + 1],
            replicas: vec![(0, 0); REPLICAS as usize],
            ..Count::default()
        });
        count.ended += 1;
        count.latency[BOUNDS.partition_point(|it| *it < took)] += 1;
        count.replicas[replica].0 += 1;
        if !failed {
            return false;
        }
        count.failed += 1;
        count.replicas[replica].1 += 1;
        count.streak.retain(|it| at - *it <= STREAK_WITHIN_S);
        count.streak.push(at);
        let complete = STREAK <= count.streak.len();
        if complete {
            count.streak.clear();
        }
        complete
    }

    fn obey(&mut self, write: Write) {
        self.writes += 1;
        let at = Fence::At(self.writes);
        let mut size = |arm: &Arm, replicas: u32| {
            let ready = Some(Ready::Replicas(replicas));
            let seen = ArmSeen { desired: replicas, ready, epoch: Some(write.epoch), fence: at };
            self.world.arms.insert(arm.clone(), Seen::Is(seen));
        };
        match &write.change {
            Change::Create(arm, replicas) => size(arm, *replicas),
            Change::Size(sizes) => sizes.iter().for_each(|(arm, replicas)| size(arm, *replicas)),
            Change::Claim(arm) => {
                if let Some(Seen::Is(seen)) = self.world.arms.get_mut(arm) {
                    (seen.epoch, seen.fence) = (Some(write.epoch), at);
                }
            }
            Change::Remove(arm) => drop(self.world.arms.remove(arm)),
            Change::Split(route, split) => {
                let acknowledged = Some(Acknowledged { split: split.clone(), since: self.now });
                let (asked, epoch) = (split.clone(), Some(write.epoch));
                let seen = RouteSeen { asked, epoch, acknowledged, manager: None, fence: at };
                self.world.routes.insert(route.clone(), Seen::Is(seen));
            }
            Change::Restore(_) | Change::Own(_) => panic!("nothing to restore and nobody to hand over to"),
        }
    }
}

/// Median 80 ms, sigma 0.7: the 99th percentile is 408 ms.
fn lognormal(rng: &mut ChaCha8Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    0.08 * (0.7 * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).exp()
}
