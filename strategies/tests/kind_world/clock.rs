//! The time that is handed in goes back: another machine goes on whose clock is behind.

use std::time::Duration;

use strategies::{
    Consequence, HumanDuration, Leave, Phase, Plan, RouteSeen, Seen, Verdict,
    step::{Analyze, Approve, Bake, Pause, Until},
};

use super::{Kind, plan, step};

fn ways() -> Vec<Leave> {
    let (minute, analyses) = (HumanDuration::from_mins(1), || vec!["golden".into()]);
    vec![
        Leave::Pause(Pause { length: Some(minute) }),
        Leave::Approve(Approve { within: Some(minute), on_timeout: Consequence::RollBack }),
        Leave::Until(Until { analyses: analyses(), min: minute, max: minute }),
        Leave::Analyze(Analyze { analyses: analyses(), length: Some(minute) }),
        Leave::Bake(Bake { length: minute }),
    ]
}

impl Kind {
    /// What a data plane follows is known since whoever looks has seen it.
    fn acknowledge_anew(&mut self) {
        for seen in self.world.routes.values_mut() {
            if let Seen::Is(RouteSeen { acknowledged: Some(it), .. }) = seen {
                it.since = self.now;
            }
        }
    }
}

#[test]
fn a_time_that_goes_back_ends_nothing_and_is_waited_out() {
    for leave in ways() {
        let steps =
            vec![step("look", 10, leave.clone()), step("full", 100, Leave::Pause(Pause { length: None }))];
        let mut guard = plan().guards;
        guard.iter_mut().for_each(|it| it.from = "look".into());
        let mut kind = Kind::new(Plan { steps, guards: guard, ..plan() });
        kind.now += Duration::from_secs(86_400);
        kind.settle(Verdict::Pass);
        kind.want("v2");
        kind.rest();
        let at_look = Phase::Stepping { step: "look".into() };
        assert_eq!(kind.status.phase, at_look, "{leave:?}");
        let before = kind.status.clone();
        for back in [1, 59, 3_600, 80_000] {
            kind.now -= Duration::from_secs(back);
            kind.acknowledge_anew();
            let decision = kind.decide();
            assert!(decision.wake().is_none_or(|at| kind.now < at), "{leave:?}: {:?}", decision.waiting);
            kind.rest();
            assert_eq!(kind.status, before, "{leave:?}: {back} s back");
        }
        kind.now += Duration::from_secs(83_660 + 59);
        kind.rest();
        assert_eq!(kind.status.phase, at_look, "{leave:?}: not a second too early");
    }
}
