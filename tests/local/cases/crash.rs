use std::time::Duration;

use libtest_mimic::Trial;

use super::case;
use crate::kills::{self, Figures, Killing};

pub(super) fn all() -> Vec<Trial> {
    vec![
        case("killing_the_control_process_fails_no_request_and_loses_nothing", control),
        case("killing_a_worker_fails_no_request_but_those_on_its_connections", worker),
        case("an_upgrade_under_load_fails_no_request", upgrade),
        case("a_killed_supervisor_is_started_again_and_the_rollout_goes_on", supervisor),
    ]
}

/// How late an answer is depends on the machine that runs the tests, and how many it can carry while it runs other
/// tests beside them: `benches/kills.rs` counts lateness, at four times the rate.
fn killing(times: u32, seed: u64) -> Killing {
    Killing { times, rate: 500.0, late_after: Duration::MAX, seed }
}

#[track_caller]
fn none_failed(figures: &Figures) {
    let report = &figures.report;
    assert_eq!(report.failed(), 0, "{:?} {:#?}", report.outcomes, report.bad);
    assert!(figures.rollouts > 1, "{} rollouts", figures.rollouts);
    assert!(figures.checked.saves > 10, "{:?}", figures.checked);
}

async fn control() {
    none_failed(&kills::control(&killing(50, 11), |_| {}).await);
}

async fn worker() {
    let figures = kills::worker(&killing(10, 12), |_| {}).await;
    let report = &figures.report;
    assert!(report.failed() <= figures.may_fail, "{:?}: {:#?}", figures.may_fail, report.bad);
    assert!(figures.rollouts > 1, "{} rollouts", figures.rollouts);
}

async fn upgrade() {
    none_failed(&kills::upgrade(&killing(5, 13), |_| {}).await);
}

async fn supervisor() {
    let figures = kills::supervisor(&Killing { rate: 100.0, ..killing(5, 14) }, |_| {}).await;
    assert!(figures.rollouts > 0 && figures.outages.len() == 5, "{} rollouts", figures.rollouts);
    assert!(figures.report.failed() > 0, "nobody can be served while nobody is there");
}
