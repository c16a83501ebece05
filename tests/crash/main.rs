//! A rollout ends the same way wherever the engine is killed, and what it decided can be decided again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod working;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use jiff::Timestamp;
use serinus::{
    engine::{DecisionRecord, Ports, Recorder, Replayer, TickError, tick},
    port::{Activities, Clock, Durable, Outside, Saved, Saving, Unavailable, WriteError},
};
use strategies::{
    Acknowledged, Action, Activity, ActivityId, Amount, Arm, ArmSeen, Capacity, Change, Deadlines, Dest, End,
    Fence, Guard, HumanDuration, Leave, Mode, OnVerdict, Order, Orders, Outcome, Phase, Plan, Ready,
    RouteKind, RoutePlan, RouteRest, RouteSeen, Seen, Sizing, StableCapacity, Status, Steering, Step,
    Verdict, Wanted, Watches, Weight, Window, World, Write,
    step::{Bake, Until},
};

/// When a call of a port is cut off.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    /// Before it did anything.
    Before,
    /// After it was done and before anybody heard of it.
    After,
}

/// Everything outside of the engine. It survives the engine's deaths.
struct Machine {
    world: World,
    saved: Saved,
    records: Vec<String>,
    now: Timestamp,
    verdict: Verdict,
    /// Writes that were accepted, in order.
    writes: Vec<Write>,
    /// Calls until the engine is killed.
    left: Option<(usize, Cut)>,
    calls: usize,
    dead: bool,
}

#[derive(Clone)]
struct Hand(Arc<Mutex<Machine>>);

fn killed() -> Unavailable {
    Unavailable { what: "killed".into(), why: "killed".into() }
}

impl Hand {
    /// One call of a port, during which the engine may be killed.
    fn call<T>(&self, work: impl FnOnce(&mut Machine) -> T) -> Result<T, Unavailable> {
        let mut machine = self.0.lock().unwrap();
        if machine.dead {
            return Err(killed());
        }
        machine.calls += 1;
        let cut = machine.left.and_then(|(left, cut)| (left == machine.calls).then_some(cut));
        machine.dead = cut.is_some();
        if cut == Some(Cut::Before) {
            return Err(killed());
        }
        let done = work(&mut machine);
        if cut == Some(Cut::After) { Err(killed()) } else { Ok(done) }
    }
}

impl Outside for Hand {
    async fn observe(&mut self, _status: &Status) -> Result<World, Unavailable> {
        self.call(|machine| machine.world.clone())
    }

    async fn write(&mut self, write: &Write) -> Result<(), WriteError> {
        self.call(|machine| machine.obey(write))?
    }
}

impl Durable for Hand {
    type Shown = ();

    async fn load(&mut self) -> Result<Saved, Unavailable> {
        self.call(|machine| machine.saved.clone())
    }

    async fn save(&mut self, seen: &Saved, saving: Saving<'_, ()>) -> Result<(), WriteError> {
        let Saving { status, record, .. } = saving;
        self.call(|machine| {
            if machine.saved.fence != seen.fence {
                return Err(WriteError::Conflict);
            }
            machine.saved.status = status.clone();
            machine.saved.fence += 1;
            machine.records.extend(record.map(str::to_owned));
            Ok(())
        })?
    }

    async fn record(&mut self, _at: Timestamp, record: &str) -> Result<(), WriteError> {
        self.call(|machine| machine.records.push(record.to_owned()))?;
        Ok(())
    }
}

/// Every analysis says the same at once.
struct Judges {
    hand: Hand,
    run: Vec<Activity>,
}

impl Activities for Judges {
    fn reconcile(&mut self, run: &[Activity], _now: Timestamp) {
        self.run = run.to_vec();
    }

    fn outcomes(&self) -> BTreeMap<ActivityId, Outcome> {
        let verdict = self.hand.0.lock().unwrap().verdict;
        let says = |it: &&Activity| verdict != Verdict::Pass || !matches!(it.id().window, Window::From(_));
        let outcome = Outcome { verdict, because: None };
        self.run.iter().filter(says).map(|it| (it.id().clone(), outcome.clone())).collect()
    }

    fn wake(&self) -> Option<Timestamp> {
        None
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().now
    }
}

impl Machine {
    fn obey(&mut self, write: &Write) -> Result<(), WriteError> {
        if self.fence_of(&write.change) != write.fence {
            return Err(WriteError::Conflict);
        }
        let at = Fence::At(self.writes.len() as u64 + 1);
        let size = |world: &mut World, arm: &Arm, replicas: u32| {
            let ready = Some(Ready::Replicas(replicas));
            let seen = ArmSeen { desired: replicas, ready, epoch: Some(write.epoch), fence: at };
            world.arms.insert(arm.clone(), Seen::Is(seen));
        };
        match &write.change {
            Change::Create(arm, replicas) => size(&mut self.world, arm, *replicas),
            Change::Size(sizes) => {
                sizes.iter().for_each(|(arm, replicas)| size(&mut self.world, arm, *replicas))
            }
            Change::Claim(arm) => {
                let replicas = self.world.arm(arm).get().unwrap().desired;
                size(&mut self.world, arm, replicas);
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
        self.writes.push(write.clone());
        Ok(())
    }

    fn fence_of(&self, change: &Change) -> Fence {
        let arm = |arm: &Arm| self.world.arm(arm).get().map_or(Fence::Absent, |it| it.fence);
        match change {
            Change::Create(it, _) | Change::Claim(it) | Change::Remove(it) => arm(it),
            Change::Size(sizes) => sizes.keys().next().map_or(Fence::Absent, arm),
            Change::Split(route, _) | Change::Restore(route) => {
                self.world.route(route).get().map_or(Fence::Absent, |it| it.fence)
            }
            Change::Own(_) => Fence::Absent,
        }
    }

    fn weight_of(&self, revision: &str) -> Weight {
        let dest = Dest::Arm(Arm::main(revision.into()));
        self.world.route(&"web".into()).get().map_or(Weight::ZERO, |it| it.asked.weight_of(&dest))
    }
}

fn step(name: &str, percent: u32, leave: Leave) -> Step {
    let weight = Some(Weight::from_percent(percent));
    Step { name: name.into(), weight, matches: vec![], mirror: None, sticky: None, scale: None, leave }
}

fn plan() -> Plan {
    let (min, max) = (HumanDuration::from_mins(1), HumanDuration::from_mins(30));
    let until = Leave::Until(Until { analyses: vec!["golden".into()], min, max });
    let kind = RouteKind::Weighted { stable: None, canary: None };
    let (settle, finest, rest) = (HumanDuration::from_secs(1), Weight::from_ppm(1), RouteRest::OnStable);
    Plan {
        mode: Mode::Active,
        steps: vec![
            step("ten", 10, until),
            step("full", 100, Leave::Bake(Bake { length: HumanDuration::from_mins(5) })),
        ],
        guards: vec![Guard { name: "golden".into(), from: "ten".into(), watches: Watches::Traffic }],
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
        steering: Steering::Routes([("web".into(), RoutePlan { kind, settle, finest, rest })].into()),
        missing: vec![],
    }
}

fn machine(verdict: Verdict) -> Hand {
    let now = Timestamp::UNIX_EPOCH;
    let wanted = Wanted { revision: "v1".into(), replicas: 4, scaler: None };
    let world = World {
        leaving: false,
        wanted: Seen::Is(wanted),
        arms: BTreeMap::new(),
        routes: [("web".into(), Seen::Absent)].into(),
        owner: Seen::Absent,
        ran: BTreeMap::new(),
    };
    let saved =
        Saved { status: Status::new(now), orders: Orders::default(), reasons: BTreeMap::new(), fence: 0 };
    let (records, writes, left, calls, dead) = (vec![], vec![], None, 0, false);
    Hand(Arc::new(Mutex::new(Machine { world, saved, records, now, verdict, writes, left, calls, dead })))
}

/// Lets engines work one after the other until the world rests; a killed one is replaced.
async fn settle(hand: &Hand, plan: &Plan) {
    for _ in 0..20 {
        let judges = Judges { hand: hand.clone(), run: vec![] };
        let mut ports =
            Ports { outside: hand.clone(), durable: hand.clone(), activities: judges, clock: hand.clone() };
        let mut recorder = Recorder::default();
        if work(hand, plan, &mut ports, &mut recorder).await {
            return;
        }
        let mut machine = hand.0.lock().unwrap();
        (machine.dead, machine.left) = (false, None);
    }
    panic!("it never rests: {:?}", hand.0.lock().unwrap().saved.status);
}

/// One engine's life; whether it ended in rest.
async fn work(
    hand: &Hand,
    plan: &Plan,
    ports: &mut Ports<Hand, Hand, Judges, Hand>,
    recorder: &mut Recorder,
) -> bool {
    for _ in 0..1_000 {
        match tick(plan, ports, recorder, &|_| ()).await {
            Ok(ticked) if ticked.again() => {}
            Ok(ticked) => {
                let ran = ports.activities.outcomes();
                let mut machine = hand.0.lock().unwrap();
                let news = ran.keys().any(|it| !machine.saved.status.verdicts.contains_key(it));
                match ticked.decided.wake().filter(|at| *at > machine.now) {
                    _ if news => {}
                    Some(at) => machine.now = at,
                    None => return true,
                }
            }
            Err(TickError::Conflict) => {}
            Err(TickError::Unavailable(_)) => return false,
            Err(TickError::Refused(why)) => panic!("{why}"),
        }
    }
    panic!("it never rests: {:?}", hand.0.lock().unwrap().saved.status);
}

/// A whole rollout: the first revision, then another, then whatever people order.
async fn story(hand: &Hand, order: Option<Action>) {
    settle(hand, &plan()).await;
    if let Seen::Is(wanted) = &mut hand.0.lock().unwrap().world.wanted {
        wanted.revision = "v2".into();
    }
    settle(hand, &plan()).await;
    let Some(action) = order else { return };
    {
        let mut machine = hand.0.lock().unwrap();
        let status = machine.saved.status.clone();
        machine.saved.orders.0.push(Order {
            id: "order".into(),
            action,
            revision: status.canary.unwrap(),
            attempt: status.attempt,
            step: None,
            by: "someone".into(),
            reason: None,
            not_after: None,
        });
    }
    settle(hand, &plan()).await;
}

/// Phase, stable, replicas, weight of stable, and how the last attempt ended.
type Ended = (Phase, Option<String>, Vec<(String, u32)>, Weight, Option<End>);

/// How it ended, times left out: they depend on when somebody was killed.
fn end(hand: &Hand) -> Ended {
    let machine = hand.0.lock().unwrap();
    let status = &machine.saved.status;
    let arms =
        machine.world.arms.iter().map(|(arm, it)| (arm.to_string(), it.get().unwrap().desired)).collect();
    let stable = status.stable.as_ref().map(ToString::to_string);
    let weight = machine.weight_of(stable.as_deref().unwrap_or_default());
    (status.phase.clone(), stable, arms, weight, status.last.as_ref().map(|it| it.end.clone()))
}

async fn ends_the_same_wherever_it_is_killed(
    verdict: Verdict,
    order: Option<Action>,
    expected: fn(&Phase) -> bool,
) {
    let clean = machine(verdict);
    story(&clean, order).await;
    assert!(expected(&end(&clean).0), "{:?}", end(&clean));
    let calls = clean.0.lock().unwrap().calls;
    assert!(calls > 50, "{calls} calls are no rollout");
    for cut in [Cut::Before, Cut::After] {
        for n in 1..=calls {
            let hand = machine(verdict);
            hand.0.lock().unwrap().left = Some((n, cut));
            story(&hand, order).await;
            assert_eq!(end(&hand), end(&clean), "killed {cut:?} call {n}");
            decides_the_same_again(&hand, &format!("killed {cut:?} call {n}"));
        }
    }
}

/// Every record that stands by itself, or follows one that does, is decided again in the same way.
fn decides_the_same_again(hand: &Hand, story: &str) {
    let mut replayer = Replayer::default();
    let machine = hand.0.lock().unwrap();
    assert!(machine.records.len() > 10, "{story}: {} records", machine.records.len());
    for record in &machine.records {
        let record: DecisionRecord = serde_json::from_str(record).unwrap();
        let replayed = replayer.take(&record).unwrap_or_else(|error| panic!("{story}: {error}"));
        assert_eq!(replayed.today(), replayed.decided, "{story}");
    }
}

#[tokio::test]
async fn a_promotion_survives_a_kill_at_every_call() {
    ends_the_same_wherever_it_is_killed(Verdict::Pass, None, |it| *it == Phase::Idle).await;
}

#[tokio::test]
async fn a_roll_back_survives_a_kill_at_every_call() {
    ends_the_same_wherever_it_is_killed(Verdict::Fail, None, |it| matches!(it, Phase::RolledBack { .. }))
        .await;
}

#[tokio::test]
async fn an_abort_survives_a_kill_at_every_call() {
    let expected = |it: &Phase| matches!(it, Phase::RolledBack { .. });
    ends_the_same_wherever_it_is_killed(Verdict::Inconclusive, Some(Action::Abort), expected).await;
}

#[tokio::test]
async fn an_altered_record_is_noticed() {
    let hand = machine(Verdict::Pass);
    story(&hand, None).await;
    let first: DecisionRecord = serde_json::from_str(&hand.0.lock().unwrap().records[0]).unwrap();
    let mut altered = first.clone();
    altered.inputs.insert("orders".into(), serde_json::json!([{ "id": "forged" }]));
    assert!(Replayer::default().take(&altered).is_err());
    let mut later = first;
    later.whole = false;
    assert!(Replayer::default().take(&later).is_err(), "what came before it is not there");
}
