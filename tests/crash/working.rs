//! A rollout at work under a runtime that is none of the product's: it tells what happens, polls nothing, and keeps what
//! is shown beside the status.

use std::time::Duration;

use analysis::judge::Baseline;
use serde_json::Value;
use serinus::{
    analyses::{Counted, FreshNow, PodHealth},
    api::view::{AddressView, PhaseName, Trouble},
    clock,
    port::{Notes, Show},
    rollout::{
        ArmNow, Depth, Document, Environment, News, Pace, Providers, Pulse, Standing, Trial, Turn, Working,
        view,
    },
    written::Fact,
};
use strategies::{Revision, step::Pause};

use super::*;

impl Environment for Hand {
    async fn counted(&mut self) -> Vec<Counted> {
        vec![]
    }

    async fn pods(&mut self, _depth: Depth) -> Option<Vec<PodHealth>> {
        let machine = self.0.lock().unwrap();
        let of = |(arm, seen): (&Arm, &Seen<ArmSeen>)| {
            let desired = seen.get().map_or(0, |it| it.desired);
            let pod = |ordinal: u32| PodHealth {
                revision: arm.revision.clone(),
                pod: ordinal.to_string().into(),
                ready: true,
                leaving: false,
                restarts: 0,
                oom_kills: 0,
                crash_looping: false,
                usage: None,
            };
            (0..desired).map(pod).collect::<Vec<_>>()
        };
        Some(machine.world.arms.iter().flat_map(of).collect())
    }

    fn facts(&self, _revision: &Revision, _of: Baseline) -> BTreeMap<Fact, String> {
        BTreeMap::new()
    }

    fn arms(&self) -> Vec<ArmNow> {
        vec![]
    }

    fn fresh(&self) -> Option<FreshNow> {
        None
    }

    fn trial(&self, _arm: &Arm) -> Trial {
        Trial::Well { ready: true }
    }

    fn addresses(&self) -> Vec<AddressView> {
        vec![]
    }

    fn troubles(&self) -> Vec<Trouble> {
        vec![]
    }

    fn pace(&self) -> Pace {
        Pace { counts: None, pods: Duration::from_hours(1) }
    }

    fn look_again(&self) -> Option<Duration> {
        None
    }

    async fn changed(&mut self) -> News {
        std::future::pending().await
    }

    async fn dissolve(&mut self) -> Result<bool, Unavailable> {
        Ok(true)
    }
}

/// What is kept of a rollout, all in one place.
#[derive(Clone)]
struct Shelf {
    hand: Hand,
    /// What was saved together with a status, in order.
    saved: Arc<Mutex<Vec<(Status, Standing)>>>,
    checkpoints: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Durable for Shelf {
    type Shown = Standing;

    async fn load(&mut self) -> Result<Saved, Unavailable> {
        self.hand.load().await
    }

    async fn save(&mut self, seen: &Saved, saving: Saving<'_, Standing>) -> Result<(), WriteError> {
        let Saving { status, record, closed, shown } = saving;
        self.hand.save(seen, Saving { status, record, closed, shown: &|| () }).await?;
        self.saved.lock().unwrap().push((status.clone(), shown()));
        Ok(())
    }

    async fn record(&mut self, at: Timestamp, record: &str) -> Result<(), WriteError> {
        self.hand.record(at, record).await
    }
}

impl Notes for Shelf {
    fn forget(&mut self) {}

    async fn show(&mut self, _shown: Show<'_, Standing>) -> Option<Timestamp> {
        None
    }

    fn is_watched(&self) -> bool {
        false
    }

    async fn checkpoints(&mut self) -> Result<BTreeMap<String, Value>, Unavailable> {
        Ok(self.checkpoints.lock().unwrap().clone())
    }

    async fn checkpoint(&mut self, parts: Vec<(&'static str, Option<Value>)>) -> Result<(), WriteError> {
        let mut all = self.checkpoints.lock().unwrap();
        for (name, part) in parts {
            match part {
                Some(part) => drop(all.insert(name.to_owned(), part)),
                None => drop(all.remove(name)),
            }
        }
        Ok(())
    }

    fn checkpoint_every(&self) -> Duration {
        Duration::ZERO
    }
}

type Rollout = Working<Hand, Shelf, Providers>;

struct Rig {
    shelf: Shelf,
    document: Document,
}

impl Rig {
    /// Two steps that are left after a moment, on a real clock.
    fn new() -> Self {
        let hand = machine(Verdict::Pass);
        hand.0.lock().unwrap().now = clock::now();
        hand.0.lock().unwrap().saved.status = Status::new(clock::now());
        let moment = || Leave::Pause(Pause { length: Some(HumanDuration(Duration::from_millis(5))) });
        let bake = Leave::Bake(Bake { length: HumanDuration(Duration::from_millis(5)) });
        let mut plan = plan();
        plan.steps = vec![step("ten", 10, moment()), step("full", 100, bake)];
        plan.guards = vec![Guard { name: "pods".into(), from: "ten".into(), watches: Watches::Replicas }];
        plan.capacity.keep_canary = HumanDuration(Duration::ZERO);
        if let Steering::Routes(routes) = &mut plan.steering {
            routes.values_mut().for_each(|it| it.settle = HumanDuration(Duration::from_millis(1)));
        }
        let document = Document {
            generation: 1,
            wanted: "v1".into(),
            plan,
            definitions: BTreeMap::new(),
            sources: BTreeMap::new(),
        };
        Self { shelf: Shelf { hand, saved: Arc::default(), checkpoints: Arc::default() }, document }
    }

    fn want(&mut self, revision: &str) {
        self.document.wanted = revision.into();
        if let Seen::Is(wanted) = &mut self.shelf.hand.0.lock().unwrap().world.wanted {
            wanted.revision = revision.into();
        }
    }

    async fn take_up(&self) -> Rollout {
        let status = self.shelf.hand.0.lock().unwrap().saved.status.clone();
        let (hand, shelf) = (self.shelf.hand.clone(), self.shelf.clone());
        Working::take_up("shop".into(), self.document.clone(), status, hand, shelf, Providers).await.unwrap()
    }

    /// One turn once its time has come.
    async fn turn(&self, rollout: &mut Rollout) -> Turn {
        self.shelf.hand.0.lock().unwrap().now = clock::now();
        let turn = rollout.turn().await;
        if let Some(again) =
            turn.again.filter(|_| turn.pulse == Pulse::Works || rollout.view().phase.is_moving())
        {
            let left = Duration::try_from(again.duration_since(clock::now())).unwrap_or_default();
            tokio::time::sleep(left).await;
        }
        turn
    }

    fn phases(&self) -> Vec<Phase> {
        self.shelf.saved.lock().unwrap().iter().map(|(status, _)| status.phase.clone()).collect()
    }

    fn is_done(&self, revision: &str) -> bool {
        let machine = self.shelf.hand.0.lock().unwrap();
        let status = &machine.saved.status;
        status.phase == Phase::Idle && status.stable.as_ref().is_some_and(|it| it.as_str() == revision)
    }
}

/// Turns until a revision is stable, each by one that `next` gives.
async fn work(rig: &Rig, revision: &str, mut rollout: Rollout, dropped: bool) -> Rollout {
    for _ in 0..1_000 {
        rig.turn(&mut rollout).await;
        if rig.is_done(revision) {
            return rollout;
        }
        if dropped {
            rollout = rig.take_up().await;
        }
    }
    panic!("{revision} is never stable: {:?}", rig.phases());
}

#[tokio::test]
async fn a_rollout_may_be_dropped_after_every_turn_and_ends_the_same() {
    let mut ends = vec![];
    for dropped in [false, true] {
        let mut rig = Rig::new();
        let rollout = work(&rig, "v1", rig.take_up().await, dropped).await;
        drop(rollout);
        rig.want("v2");
        let mut rollout = work(&rig, "v2", rig.take_up().await, dropped).await;
        let turn = rig.turn(&mut rollout).await;
        assert_eq!(turn, Turn { pulse: Pulse::Rests, again: None }, "nothing is polled at rest");
        let mut phases = rig.phases();
        phases.dedup();
        ends.push((end(&rig.shelf.hand), phases));
    }
    assert_eq!(ends[0], ends[1]);
}

#[tokio::test]
async fn what_is_shown_stands_beside_every_status_and_needs_no_engine_to_be_read() {
    let mut rig = Rig::new();
    let rollout = work(&rig, "v1", rig.take_up().await, false).await;
    drop(rollout);
    rig.want("v2");
    work(&rig, "v2", rig.take_up().await, false).await;
    let saved = rig.shelf.saved.lock().unwrap();
    for (status, standing) in saved.iter() {
        assert_eq!(standing.status, *status);
        let stored = serde_json::to_string(standing).unwrap();
        let again: Standing = serde_json::from_str(&stored).unwrap();
        assert_eq!(view(&again), view(standing));
        assert_eq!(view(&again).phase, PhaseName::from(&status.phase));
        assert_eq!(view(&again).epoch, status.epoch.0);
    }
    let (_, last) = saved.last().unwrap();
    assert!(last.decided.len() > 5, "{:?}", last.decided);
    assert!(saved.iter().any(|(_, it)| it.orders.contains(&Action::Abort)), "what can be ordered is shown");
    let asked: Vec<Weight> = saved.iter().map(|(_, it)| it.weight.asked).collect();
    assert!(asked.contains(&Weight::from_percent(10)), "{asked:?}");
}
