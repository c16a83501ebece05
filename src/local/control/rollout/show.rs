//! How a rollout stands, for callers.

use std::sync::Arc;

use analysis::AnyJudge;
use strategies::{
    Action, Arm, Dest, Next, Order, Orders, Phase, Role, RouteSeen, Status, Weight, World, decide, settled,
};

use super::{Replica, Rollout};
use crate::{
    analyses::{Definition, EvidenceView as Evidence, MetricView as Metric, Reads},
    api::view::{
        AnalysisView, ArmRole, ArmView, Combined, Counts, EvidenceView, MetricView, PhaseName, ReplicaView,
        RolloutView, SightView, StepView, Trouble, WaitView, WeightView, words,
    },
    clock,
    local::supervisor::protocol::ProcessState,
    spec::forecast::{Expected, Judged, sight_of_step},
};

/// How many times as many errors the view tells about, as `plan` does by default.
const MATTERS: f64 = 2.0;

impl Rollout {
    /// Says how it stands to those who follow.
    pub(super) fn publish(&mut self) {
        let view = Arc::new(self.view());
        self.told.view.send_replace(Some(view));
    }

    /// How it stands now.
    pub(super) fn view(&self) -> RolloutView {
        let status = &self.status;
        RolloutView {
            name: self.name.clone(),
            at: clock::now(),
            mode: self.plan.mode,
            phase: PhaseName::from(&status.phase),
            cause: match &status.phase {
                Phase::Aborting { cause } | Phase::RolledBack { cause } => Some(cause.clone()),
                Phase::Adopting
                | Phase::Idle
                | Phase::Stepping { .. }
                | Phase::Promoting
                | Phase::Leaving
                | Phase::Left => None,
            },
            since: status.since,
            stable: status.stable.clone(),
            canary: status.canary.clone(),
            wanted: Some(self.wanted.clone()),
            generation: self.generation,
            attempt: status.attempt,
            started: self.traffic.began(),
            epoch: status.epoch.0,
            step: self.step(),
            weight: self.weight(),
            arms: self.arms(),
            waiting: self.waits(),
            hold: status.hold.clone(),
            // Evidence of the attempt before is kept until this one has its own, and says nothing about it.
            analyses: (self.ports.activities.evidence().into_iter())
                .filter(|it| it.id.attempt == status.attempt)
                .map(analysis)
                .collect(),
            sight: self.sight(),
            traffic: self.traffic.now(status),
            last_traffic: self.traffic.last().to_vec(),
            recent: self.traffic.recent(),
            last: status.last.clone(),
            orders: self.open_orders(),
            addresses: self.addresses.clone(),
            troubles: self.troubles(),
            failure: self.failure.clone(),
            given: self.ports.keep.given(status),
        }
    }

    fn step(&self) -> Option<StepView> {
        let name = self.status.phase.step()?.clone();
        let index = self.status.place(&self.plan).unwrap_or(self.status.passed.len());
        Some(StepView {
            name,
            index,
            count: self.plan.steps.len(),
            weights: (0..self.plan.steps.len()).map(|it| self.plan.goal_at(it).weight).collect(),
            held: self.status.held,
        })
    }

    /// What the present step can see at the traffic of this attempt.
    fn sight(&self) -> Option<SightView> {
        let index = self.status.place(&self.plan)?;
        let traffic = self.traffic.now(&self.status);
        let seconds = clock::now().duration_since(self.traffic.began()?).as_secs_f64();
        let stable = traffic.iter().find(|it| it.role == ArmRole::Stable).filter(|it| 0 < it.failed)?;
        let expected = Expected {
            requests_per_s: traffic.iter().map(|it| it.requests as f64).sum::<f64>() / seconds,
            error_rate: stable.failed as f64 / stable.requests as f64,
            matters: MATTERS,
        };
        let guards = self.plan.guards.iter().map(|it| &it.name);
        let definitions = self.ports.activities.definitions();
        let judged = guards.filter_map(|it| definitions.get(it)).find_map(judged)?;
        let sight = sight_of_step(&self.plan, index, expected, judged)?;
        Some(SightView {
            requests_per_s: expected.requests_per_s,
            error_rate: expected.error_rate,
            matters: MATTERS,
            detect_s: sight.detect.map(|it| it.as_secs_f64()),
            damage: sight.damage,
            smallest: sight.smallest,
        })
    }

    fn world(&self) -> Option<&World> {
        self.last.as_ref().map(|it| &it.world)
    }

    fn route(&self) -> Option<&RouteSeen> {
        let (id, _) = self.plan.routes().next()?;
        self.world()?.route(id).get()
    }

    fn weight(&self) -> WeightView {
        let canary = self.status.canary.clone().filter(|it| Some(it) != self.status.stable.as_ref());
        let goal = self.status.phase.step().map(|_| self.status.goal().weight);
        let (Some(canary), Some(route)) = (canary, self.route()) else {
            return WeightView { goal, settled: Some(Weight::ZERO), ..WeightView::default() };
        };
        let dest = Dest::Arm(Arm::main(canary));
        let now = clock::now();
        let holds = self.plan.routes().all(|(_, plan)| settled(plan, route, now));
        WeightView {
            asked: route.asked.weight_of(&dest),
            settled: holds.then(|| route.asked.weight_of(&dest)),
            goal,
            matches: route.asked.matches.iter().filter(|it| it.to == dest).map(|it| it.id.clone()).collect(),
            mirror: route.asked.mirrors.get(&dest).copied().unwrap_or_default(),
            baseline: self.ports.outside.fresh_now().map_or(Weight::ZERO, |it| it.weight),
        }
    }

    fn arms(&self) -> Vec<ArmView> {
        let status = &self.status;
        let role = |arm: &Arm| {
            if arm.role == Role::Baseline {
                ArmRole::Baseline
            } else if Some(&arm.revision) == status.stable.as_ref() || status.stable.is_none() {
                ArmRole::Stable
            } else if Some(&arm.revision) == status.canary.as_ref() {
                ArmRole::Canary
            } else {
                ArmRole::Former
            }
        };
        let mut arms: Vec<ArmView> = self
            .ports
            .outside
            .replicas()
            .into_iter()
            .map(|(arm, replicas)| ArmView {
                role: role(&arm),
                desired: u32::try_from(replicas.len()).unwrap_or(u32::MAX),
                ready: replicas.iter().all(|it| it.known).then(|| {
                    u32::try_from(replicas.iter().filter(|it| it.ready).count()).unwrap_or(u32::MAX)
                }),
                replicas: replicas.into_iter().map(replica).collect(),
                revision: arm.revision,
            })
            .collect();
        arms.sort_by(|a, b| (a.role, &a.revision).cmp(&(b.role, &b.revision)));
        arms
    }

    fn waits(&self) -> Vec<WaitView> {
        let waiting = self.last.iter().flat_map(|it| &it.decided.waiting);
        let one = |it: &strategies::Waiting| WaitView {
            what: it.what.clone(),
            text: words(&it.what),
            since: it.since,
            until: it.until,
        };
        waiting.map(one).collect()
    }

    /// The orders that would take effect if they were given now: asked of the machine itself.
    fn open_orders(&self) -> Vec<Action> {
        let (Some(last), Some(canary)) = (&self.last, &self.status.canary) else { return vec![] };
        let would = |action: &Action| {
            let order = Order {
                id: "(would it?)".into(),
                action: *action,
                revision: canary.clone(),
                attempt: self.status.attempt,
                step: None,
                by: "(nobody)".into(),
                reason: None,
                not_after: None,
            };
            let decision = decide(&self.plan, &self.status, &Orders(vec![order]), &last.world, clock::now());
            match decision.next {
                Next::Save(next) => took(&next),
                Next::Rest | Next::Write(_) => false,
            }
        };
        Action::ALL.into_iter().filter(would).collect()
    }

    fn troubles(&self) -> Vec<Trouble> {
        let failing = self.failing.iter().map(|it| Trouble { text: it.text.clone(), since: it.since });
        let outside = self.ports.outside.troubles();
        let outside = outside.map(|(text, since)| Trouble { text: text.to_owned(), since });
        let sockets = self.machine.fleet.troubles(self.name.as_str());
        failing
            .chain(outside)
            .chain(sockets.into_iter().map(|(text, since)| Trouble { text, since }))
            .collect()
    }
}

fn took(next: &Status) -> bool {
    next.accepted.iter().any(|it| it.id.as_str() == "(would it?)" && it.had_effect())
}

fn replica(it: Replica) -> ReplicaView {
    let state = match it.process.as_ref().map(|it| it.state) {
        None if it.runs => "running",
        None => "missing",
        Some(ProcessState::Starting) => "starting",
        Some(ProcessState::Running) => "running",
        Some(ProcessState::BackingOff) => "backing off",
        Some(ProcessState::Stopping) => "stopping",
        Some(ProcessState::Exited) => "exited",
    };
    ReplicaView {
        ordinal: it.ordinal,
        address: it.address,
        ready: it.ready,
        state: state.to_owned(),
        pid: it.process.as_ref().and_then(|it| it.pid),
        restarts: it.process.as_ref().map_or(0, |it| it.restarts),
        because: it.because.filter(|_| !it.ready),
        log: it.process.map(|it| it.log),
    }
}

fn finite(it: f64) -> Option<f64> {
    it.is_finite().then_some(it)
}

fn analysis(it: Evidence) -> AnalysisView {
    AnalysisView {
        id: it.id,
        purpose: it.purpose,
        verdict: it.verdict,
        because: Some(it.because),
        since: Some(it.began),
        counting: it.counting,
        combined: it.combined.map(|it| Combined {
            ln_e_bad: finite(it.ln_e_bad).unwrap_or(0.0),
            ln_e_bad_needed: finite(it.ln_e_bad_needed),
            ln_e_good: finite(it.ln_e_good).unwrap_or(0.0),
            ln_e_good_needed: finite(it.ln_e_good_needed),
        }),
        metrics: it.metrics.into_iter().map(metric).collect(),
    }
}

fn metric(it: Metric) -> MetricView {
    MetricView {
        name: it.name.into(),
        verdict: it.verdict,
        because: it.because,
        dry_run: it.dry_run,
        polls: it.polls,
        missing: it.missing,
        evidence: it.evidence.as_ref().map(evidence),
        warnings: it.warnings,
    }
}

/// The judge of errors, as the planner wants to know it: the first that compares counts.
fn judged(it: &Definition) -> Option<Judged<'_>> {
    let counted = || it.metrics.iter().filter(|it| !it.dry_run);
    let total: f64 = counted().map(|it| it.weight).sum();
    counted().filter(|it| it.reads == Reads::Errors).find_map(|it| match &it.judge {
        AnyJudge::Sequential(judge) => {
            Some(Judged { judge, part: it.weight / total, poll_s: it.every.as_secs_f64() })
        }
        AnyJudge::Threshold(_)
        | AnyJudge::Pods(_)
        | AnyJudge::Answers(_)
        | AnyJudge::Leak(_)
        | AnyJudge::Kayenta(_)
        | AnyJudge::FixedHorizon(_) => None,
    })
}

fn evidence(it: &analysis::Evidence) -> EvidenceView {
    let counts = |it: &analysis::Counts| Counts { total: it.total, bad: it.bad };
    EvidenceView {
        ln_e_bad: finite(it.ln_e_bad).unwrap_or(0.0),
        ln_e_bad_needed: finite(it.ln_e_bad_needed),
        ln_e_good: finite(it.ln_e_good).unwrap_or(0.0),
        ln_e_good_needed: finite(it.ln_e_good_needed),
        canary: counts(&it.canary),
        baseline: counts(&it.baseline),
        ratio: it.ratio_found().and_then(finite),
        interval: it.interval.filter(|(low, high)| low.is_finite() && high.is_finite()),
        bound: it.bound.and_then(finite),
        seconds_to_fail: it.seconds_to_fail.and_then(finite),
        seconds_to_pass: it.seconds_to_pass.and_then(finite),
        probability_bad: it.probability_bad.and_then(finite),
    }
}
