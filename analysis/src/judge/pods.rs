//! The guard that needs no configuration: restarts, crash loops and lost readiness of the pods themselves,
//! compared with stable, so that a failing node or a common dependency does not blame the canary.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    finding::{Evidence, Finding, Verdict, Warning},
    judge::{Judge, Needs, Problem, Setting, Standing},
    poll::{Counts, Measured, Missing, PodsSeen, Poll},
    stats::{
        increment::{self, Stratum},
        mixture::Plain,
        prior::Prior,
    },
    written::Fraction,
};

/// Watches the pods of both arms.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Pods {
    /// Restarts per canary pod, on average, that are too many when stable has less than half as many. Default 3.
    pub restarts: u32,
    /// Polls in a row with a crash-looping canary pod, and fewer crash-looping among stable's, that are too many.
    /// Default 2.
    pub crash_loops: u32,
    /// Probability of a false alarm from restarts and lost readiness that merely happen, over the whole window.
    /// Default 0.1%.
    pub alpha: Fraction,
}

impl Default for Pods {
    fn default() -> Self {
        let alpha = Fraction::new(0.001).unwrap_or_else(|why| unreachable!("default fraction: {why}"));
        Self { restarts: 3, crash_loops: 2, alpha }
    }
}

/// What happened to the pods so far.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Logarithms of the likelihood ratios of "the canary's pods have more incidents" per alternative.
    more: Plain,
    canary: Sums,
    stable: Sums,
    crash_loops_in_a_row: u32,
    polls: u64,
    last: Option<(PodsSeen, PodsSeen)>,
    /// Whether the last poll could be read: what was seen before says nothing of now.
    #[serde(default)]
    read: bool,
    missing: u64,
    last_missing: Option<Missing>,
    failed: Option<Cause>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sums {
    restarts: u32,
    oom_kills: u32,
    readiness_lost: u32,
    /// Restarts divided by the pods that were there.
    restarts_per_pod: f64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Cause {
    CrashLoop,
    Restarts,
    Incidents,
}

impl Sums {
    fn add(&mut self, seen: PodsSeen) {
        self.restarts += seen.restarts;
        self.oom_kills += seen.oom_kills;
        self.readiness_lost += seen.readiness_lost;
        self.restarts_per_pod += f64::from(seen.restarts) / f64::from(seen.desired.max(1));
    }
}

fn incidents(seen: PodsSeen) -> u64 {
    u64::from(seen.restarts) + u64::from(seen.readiness_lost)
}

/// The share of pods that crash-loop.
fn looping(seen: PodsSeen) -> f64 {
    f64::from(seen.crash_looping) / f64::from(seen.desired.max(1))
}

impl Pods {
    fn cause(&self, setting: &Setting, tables: &Prior, state: &State) -> Option<Cause> {
        let needed = -(self.alpha.get() * setting.share).ln();
        if self.crash_loops <= state.crash_loops_in_a_row {
            Some(Cause::CrashLoop)
        } else if f64::from(self.restarts) <= state.canary.restarts_per_pod
            && 2.0 * state.stable.restarts_per_pod < state.canary.restarts_per_pod
        {
            Some(Cause::Restarts)
        } else if needed <= state.more.ln_e(&tables.ln_share) {
            Some(Cause::Incidents)
        } else {
            None
        }
    }
}

impl Judge for Pods {
    type Tables = Prior;
    type State = State;

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, limit) in [("restarts", self.restarts), ("crashLoops", self.crash_loops)] {
            if limit == 0 {
                problems.push(Problem::new(&[name], "must be at least 1: with 0 every canary fails"));
            }
        }
        problems
    }

    fn needs(&self) -> Needs {
        Needs::CanaryOnly
    }

    fn reads(&self, measured: &Measured) -> bool {
        matches!(measured, Measured::Pods { .. })
    }

    fn tables(&self, _setting: &Setting) -> Prior {
        Prior::errors()
    }

    fn begin(&self, _setting: &Setting) -> State {
        State {
            more: Plain::new(Prior::errors().psi.len()),
            canary: Sums::default(),
            stable: Sums::default(),
            crash_loops_in_a_row: 0,
            polls: 0,
            last: None,
            read: false,
            missing: 0,
            last_missing: None,
            failed: None,
        }
    }

    fn observe(&self, setting: &Setting, tables: &Prior, state: &mut State, poll: &Poll) {
        state.read = state.read && poll.measured.calibrates();
        let (canary, stable) = match &poll.measured {
            Measured::Pods { canary, baseline } => (*canary, *baseline),
            Measured::Before { .. } | Measured::Beside { .. } => return,
            Measured::Missing(why) => {
                state.missing += 1;
                state.last_missing = Some(*why);
                return;
            }
            Measured::Counts { .. }
            | Measured::Histogram(_)
            | Measured::Values { .. }
            | Measured::Answers { .. }
            | Measured::Memory { .. } => {
                state.missing += 1;
                state.last_missing = Some(Missing::NotOneNumber);
                return;
            }
        };
        state.polls += 1;
        state.canary.add(canary);
        state.stable.add(stable);
        let worse = looping(stable) < looping(canary);
        state.crash_loops_in_a_row = if worse { state.crash_loops_in_a_row + 1 } else { 0 };
        // Of all incidents, a pod should have its share: many "requests" per pod make incidents rare events.
        let stratum = Stratum {
            canary_total: u64::from(canary.desired) * RARE,
            canary_bad: incidents(canary),
            baseline_total: u64::from(stable.desired) * RARE,
            baseline_bad: incidents(stable),
        };
        increment::each(stratum, 1.0, &tables.psi, |i, it| state.more.add(i, it));
        state.last = Some((canary, stable));
        state.read = true;
        if state.failed.is_none() && setting.may_fail {
            state.failed = self.cause(setting, tables, state);
        }
    }

    fn verdict(&self, _setting: &Setting, state: &State) -> Verdict {
        let quiet = state.last.is_some_and(|(canary, _)| canary.desired != 0 && canary.desired <= canary.ready);
        match state.failed {
            Some(_) => Verdict::Fail,
            None if quiet && state.read && state.crash_loops_in_a_row == 0 => Verdict::Pass,
            None => Verdict::Pending,
        }
    }

    fn standing(&self, _state: &State) -> Standing {
        Standing::Latest
    }

    fn evidence(&self, setting: &Setting, tables: &Prior, state: &State) -> Option<Evidence> {
        let (canary, stable) = state.last?;
        let arm = |sums: Sums, seen: PodsSeen| {
            Counts::new(u64::from(seen.desired), u64::from(sums.restarts) + u64::from(sums.readiness_lost))
        };
        Some(Evidence {
            ln_e_bad: state.more.ln_e(&tables.ln_share),
            ln_e_bad_needed: -(self.alpha.get() * setting.share).ln(),
            ln_e_good: 0.0,
            ln_e_good_needed: 0.0,
            canary: arm(state.canary, canary),
            baseline: arm(state.stable, stable),
            ratio: None,
            interval: None,
            phi: 1.0,
            bound: None,
            seconds_to_fail: None,
            seconds_to_pass: None,
            probability_bad: None,
        })
    }

    fn finding(&self, setting: &Setting, tables: &Prior, state: &State) -> Finding {
        let Some((canary, stable)) = state.last else {
            return Finding::new(Verdict::Pending, "no pod was seen yet".to_owned());
        };
        let arm = |name: &str, sums: Sums, seen: PodsSeen| {
            format!(
                "{name} {} of {} ready, {} restarts ({} out of memory), readiness lost {} times, {} crash-looping",
                seen.ready, seen.desired, sums.restarts, sums.oom_kills, sums.readiness_lost, seen.crash_looping
            )
        };
        let cause = match state.failed {
            Some(Cause::CrashLoop) => "the canary crash-loops: ",
            Some(Cause::Restarts) => "the canary restarts too often: ",
            Some(Cause::Incidents) => "the canary's pods have more incidents than stable's: ",
            None => "",
        };
        let because = format!("{cause}{}; {}", arm("canary", state.canary, canary), arm("stable", state.stable, stable));
        let mut finding = Finding::new(self.verdict(setting, state), because);
        finding.evidence = self.evidence(setting, tables, state);
        if let Some(last) = state.last_missing {
            finding.warnings.push(Warning::Missing { polls: state.missing, last });
        }
        finding
    }
}

/// Incidents are compared as Poisson events; this many units per pod keep them below five per cent.
const RARE: u64 = 10_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    fn pods(desired: u32, restarts: u32, crash_looping: u32) -> PodsSeen {
        PodsSeen { desired, ready: desired - crash_looping, restarts, crash_looping, ..PodsSeen::default() }
    }

    #[track_caller]
    fn check(polls: &[(PodsSeen, PodsSeen)], expected: Verdict) {
        let setting = Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(600));
        let judge = Pods::default();
        let tables = judge.tables(&setting);
        let mut state = judge.begin(&setting);
        for (canary, baseline) in polls {
            let measured = Measured::Pods { canary: *canary, baseline: *baseline };
            judge.observe(&setting, &tables, &mut state, &Poll { at: Timestamp::UNIX_EPOCH, weight: None, measured });
        }
        assert_eq!(judge.verdict(&setting, &state), expected, "{}", judge.finding(&setting, &tables, &state).because);
    }

    #[test]
    fn a_crash_loop_of_the_canary_alone_fails_at_the_second_poll() {
        check(&[(pods(1, 0, 1), pods(9, 0, 0))], Verdict::Pending);
        check(&[(pods(1, 0, 1), pods(9, 0, 0)); 2], Verdict::Fail);
    }

    #[test]
    fn a_crash_loop_of_both_arms_blames_nobody() {
        check(&[(pods(1, 1, 1), pods(9, 9, 9)); 50], Verdict::Pending);
    }

    #[test]
    fn three_restarts_per_pod_fail_unless_stable_restarts_too() {
        check(&[(pods(2, 2, 0), pods(2, 0, 0)); 3], Verdict::Fail);
        check(&[(pods(2, 2, 0), pods(2, 2, 0)); 30], Verdict::Pass);
    }

    #[test]
    fn one_restart_is_an_accident() {
        check(&[(pods(10, 1, 0), pods(90, 0, 0)), (pods(10, 0, 0), pods(90, 0, 0))], Verdict::Pass);
    }

    #[test]
    fn many_restarts_in_a_large_canary_are_not() {
        check(&[(pods(10, 1, 0), pods(90, 0, 0)); 8], Verdict::Fail);
    }

    #[test]
    fn unread_pods_pass_nothing() {
        let setting = Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(600));
        let judge = Pods::default();
        let (tables, mut state) = (judge.tables(&setting), judge.begin(&setting));
        let seen = Measured::Pods { canary: pods(2, 0, 0), baseline: pods(2, 0, 0) };
        for (measured, expected) in [
            (seen.clone(), Verdict::Pass),
            (Measured::Missing(Missing::Error), Verdict::Pending),
            (seen, Verdict::Pass),
        ] {
            let poll = Poll { at: Timestamp::UNIX_EPOCH, weight: None, measured };
            judge.observe(&setting, &tables, &mut state, &poll);
            assert_eq!(judge.verdict(&setting, &state), expected, "{poll:?}");
        }
        check(&[], Verdict::Pending);
        check(&[(pods(0, 0, 0), pods(9, 0, 0))], Verdict::Pending);
    }
}
