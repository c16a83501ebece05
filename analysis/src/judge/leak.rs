//! Whether the canary's processes leak: their memory grows, does not slow down, and has outgrown stable's.
//!
//! No single sign of a leak is one. A good release may merely need more memory than the one before; it grows while it
//! warms up; what it needs goes up and down. So all of this must be there at once, since one and the same moment:
//!
//! - *records*: the growth of the canary's processes beyond that of stable's, averaged over ten seconds, sets one
//!   record after the other. Where memory only varies, the chance of a record after k others is 1/k whatever the
//!   distribution (Rényi), and betting on records is an e-process. Like that of errors it is mixed over when the leak
//!   began, so that `alpha` holds for the whole window.
//! - *no slowing down*: the later half of that time brought at least 85 % of what the earlier half did, from quarter to
//!   quarter on average. A cache or a heap that fills slows down; this also ends the growth that a load which rises for both
//!   arms brings.
//! - *size*: the canary's processes have grown to `moreThan` times what they had at that moment, and have as many times
//!   what stable's have.
//!
//! A process counts from a minute of age on. What this cannot tell from a leak is a release that fills
//! several times stable's memory at a steady pace and stops later. With twice instead of three times as `moreThan`, what
//! fills over half an hour has slowed down too little when it is large enough: 11 of 20 such releases were taken for leaks.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    finding::{Evidence, Finding, Verdict, Warning},
    judge::{Judge, Needs, Problem, Setting, Standing},
    poll::{Counts, Grown, Measured, Missing, Poll},
    stats::{log, mixture::Starts},
    written::{Fraction, Ratio},
};

/// Length of a batch.
const BATCH_MS: i64 = 10_000;

/// Batches kept: an hour. A leak that is slower than `moreThan` in so long is not seen.
const KEPT: usize = 360;

/// The chance of a record that is bet on.
const BET: f64 = 0.9;

/// What the later half of a growth brings at least, of what the earlier one did.
const STEADY: f64 = 0.85;

/// Batches that a growth lasts at least, so that both halves tell how fast it is.
const LEAST: usize = 12;

/// Growth between two batches that is none, as a share of the canary's memory: pages come and go.
const NOTHING: f64 = 0.001;

/// Batches before no leak was seen for long enough to say so.
const ENOUGH: u32 = 12;

/// Watches the memory of both arms' processes.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Leak {
    /// How many times the memory it began with, and how many times stable's, a growing canary may have. Default 3x.
    pub more_than: Ratio,
    /// Probability of rolling back a canary whose memory merely varies, over the whole window. Default 0.1%.
    pub alpha: Fraction,
}

impl Default for Leak {
    fn default() -> Self {
        let alpha = Fraction::new(0.001).unwrap_or_else(|why| unreachable!("default fraction: {why}"));
        let more_than = Ratio::new(3.0).unwrap_or_else(|why| unreachable!("default ratio: {why}"));
        Self { more_than, alpha }
    }
}

/// What is remembered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// What the processes of each arm have grown by since the window began, on average. Bytes.
    canary: f64,
    stable: f64,
    /// Memory of a process of each arm, on average. Bytes.
    levels: (f64, f64),
    /// The batch that is being filled, and the sum and number of differences in it.
    batch: Option<i64>,
    sum: f64,
    number: u32,
    /// How much more the canary's processes have grown than stable's, batch by batch.
    kept: VecDeque<f64>,
    /// Batches before those that are kept.
    dropped: u32,
    ln_e: f64,
    /// The leak, once it is shown.
    found: Option<Found>,
    missing: u64,
    last_missing: Option<Missing>,
}

/// A growth that may be a leak.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    /// How much more the canary's processes have grown than stable's. Bytes.
    grown: f64,
    /// For how long.
    seconds: i64,
    /// The levels then. Bytes.
    levels: (f64, f64),
}

impl Leak {
    fn needed(&self, setting: &Setting) -> f64 {
        -(self.alpha.get() * setting.share).ln()
    }

    /// A batch is over: weighs anew.
    fn weigh(&self, setting: &Setting, state: &mut State) {
        let planned = (setting.planned.as_millis() as i64 / BATCH_MS).clamp(1, i64::from(u32::MAX)) as u32;
        let starts = Starts::planned(planned);
        let nothing = NOTHING * state.levels.0;
        let kept: Vec<f64> = state.kept.iter().copied().collect();
        let of = |start: usize| {
            let number = state.dropped.saturating_add(u32::try_from(start).unwrap_or(u32::MAX));
            starts.share(number).ln() + ln_records(&kept[start..], nothing)
        };
        let each: Vec<f64> = (0..kept.len()).map(of).collect();
        state.ln_e = log::sum_exp(each.iter().copied());
        if state.found.is_some() || !setting.may_fail || state.ln_e < self.needed(setting) {
            return;
        }
        let most = (0..each.len()).max_by(|a, b| each[*a].total_cmp(&each[*b]));
        state.found = most.and_then(|start| self.large_and_steady(&kept[start..], state.levels));
    }

    /// The growth since the first of these batches, if it is one that matters and goes on.
    fn large_and_steady(&self, since: &[f64], levels: (f64, f64)) -> Option<Found> {
        let grown = since.last()? - since.first()?;
        // One batch is met while garbage waits to be collected, another right after: each point is a quarter's mean.
        let quarter = (since.len() / 4).max(1);
        let mean = |from: usize| since[from..from + quarter].iter().sum::<f64>() / quarter as f64;
        let end = since.len() - quarter;
        let (first, middle, last) = (mean(0), mean(end / 2), mean(end));
        let times = self.more_than.times();
        let began_with = (levels.0 - grown).max(0.0);
        let steady = STEADY * (middle - first) <= last - middle;
        let large = times * began_with <= levels.0 && times * levels.1 <= levels.0;
        let seconds = (since.len() as i64 - 1) * BATCH_MS / 1000;
        (LEAST <= since.len() && 0.0 < grown && steady && large).then_some(Found { grown, seconds, levels })
    }
}

/// The logarithm of what bets on records have come to since the first of these batches.
fn ln_records(since: &[f64], nothing: f64) -> f64 {
    let (mut most, mut ln_e) = (f64::NEG_INFINITY, 0.0);
    for (before, value) in since.iter().enumerate() {
        let record = most + nothing < *value;
        if before != 0 {
            let chance = 1.0 / (before as f64 + 1.0);
            ln_e += if record { (BET / chance).ln() } else { ((1.0 - BET) / (1.0 - chance)).ln() };
        }
        most = most.max(*value);
    }
    ln_e
}

impl Judge for Leak {
    type Tables = ();
    type State = State;

    fn check(&self) -> Vec<Problem> {
        let wrong = self.more_than.times() <= 1.0;
        let message = format!("`{}` is no growth: use more than 1x", self.more_than);
        wrong.then(|| Problem::new(&["moreThan"], message)).into_iter().collect()
    }

    /// Stable's processes are there at 100 % weight too.
    fn needs(&self) -> Needs {
        Needs::CanaryOnly
    }

    fn reads(&self, measured: &Measured) -> bool {
        matches!(measured, Measured::Memory { .. })
    }

    fn tables(&self, _setting: &Setting) {}

    fn begin(&self, _setting: &Setting) -> State {
        State::default()
    }

    fn observe(&self, setting: &Setting, _tables: &(), state: &mut State, poll: &Poll) {
        if poll.measured.calibrates() {
            return;
        }
        let Measured::Memory { canary, stable } = &poll.measured else {
            state.missing += 1;
            state.last_missing = Some(poll.measured.why_missing());
            return;
        };
        if !(canary.level.is_finite() && stable.level.is_finite()) {
            state.missing += 1;
            state.last_missing = Some(Missing::NotFinite);
            return;
        }
        // Without processes on both sides there is nothing to compare, and growth that nobody saw counts for neither.
        if canary.processes == 0 || stable.processes == 0 {
            return;
        }
        let batch = poll.at.as_millisecond().div_euclid(BATCH_MS);
        if state.batch.replace(batch).is_some_and(|last| last != batch) && state.number != 0 {
            if state.kept.len() == KEPT {
                state.kept.pop_front();
                state.dropped += 1;
            }
            state.kept.push_back(state.sum / f64::from(state.number));
            (state.sum, state.number) = (0.0, 0);
            self.weigh(setting, state);
        }
        let grown = |it: &Grown| if it.grown.is_finite() { it.grown } else { 0.0 };
        state.canary += grown(canary);
        state.stable += grown(stable);
        state.levels = (canary.level, stable.level);
        state.sum += state.canary - state.stable;
        state.number += 1;
    }

    fn verdict(&self, setting: &Setting, state: &State) -> Verdict {
        let batches = state.dropped.saturating_add(u32::try_from(state.kept.len()).unwrap_or(u32::MAX));
        match state.found {
            Some(_) => Verdict::Fail,
            None if ENOUGH <= batches && state.ln_e < self.needed(setting) / 2.0 => Verdict::Pass,
            None => Verdict::Pending,
        }
    }

    fn standing(&self, _state: &State) -> Standing {
        Standing::Latest
    }

    fn evidence(&self, setting: &Setting, _tables: &(), state: &State) -> Option<Evidence> {
        let (canary, stable) = state.found.map_or(state.levels, |it| it.levels);
        Some(Evidence {
            ln_e_bad: state.ln_e,
            ln_e_bad_needed: self.needed(setting),
            ln_e_good: 0.0,
            ln_e_good_needed: 0.0,
            canary: Counts::default(),
            baseline: Counts::default(),
            ratio: (stable != 0.0).then(|| canary / stable),
            interval: None,
            phi: 1.0,
            bound: None,
            seconds_to_fail: None,
            seconds_to_pass: None,
            probability_bad: None,
        })
    }

    fn finding(&self, setting: &Setting, tables: &(), state: &State) -> Finding {
        let mib = |it: f64| format!("{:.1} MiB", it / f64::from(1 << 20));
        let each = |levels: (f64, f64)| format!("a process of the canary has {}, one of stable {}", mib(levels.0), mib(levels.1));
        let because = match state.found {
            Some(it) => format!(
                "the canary leaks memory: {}; in {} s it grew by {} more than stable's, without slowing down",
                each(it.levels),
                it.seconds,
                mib(it.grown)
            ),
            None if state.kept.is_empty() => "no memory was compared yet".to_owned(),
            None => format!(
                "{}; growth beyond stable's {}; evidence of steady growth {:.1}, {:.1} needed",
                each(state.levels),
                mib(state.canary - state.stable),
                state.ln_e,
                self.needed(setting)
            ),
        };
        let mut finding = Finding::new(self.verdict(setting, state), because);
        finding.evidence = self.evidence(setting, tables, state);
        if let Some(last) = state.last_missing {
            finding.warnings.push(Warning::Missing { polls: state.missing, last });
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    const MIB: f64 = 1024.0 * 1024.0;

    /// After how many seconds a canary with this memory fails beside a stable with that; `None`: not within an hour.
    fn fails_after(canary: impl Fn(f64) -> f64, stable: impl Fn(f64) -> f64) -> Option<i64> {
        let judge = Leak::default();
        let setting = Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(3600));
        let mut state = judge.begin(&setting);
        (5..=3600).step_by(5).find(|second| {
            let t = *second as f64;
            let arm = |of: &dyn Fn(f64) -> f64| Grown { processes: 2, level: of(t), grown: of(t) - of(t - 5.0) };
            let measured = Measured::Memory { canary: arm(&canary), stable: arm(&stable) };
            let poll = Poll { at: Timestamp::from_second(*second).unwrap(), weight: None, measured };
            judge.observe(&setting, &(), &mut state, &poll);
            judge.verdict(&setting, &state) == Verdict::Fail
        })
    }

    fn wavy(level: f64) -> impl Fn(f64) -> f64 {
        move |t| MIB * level * (1.0 + 0.02 * (t / 7.0).sin() + 0.01 * (t * 1.7).sin())
    }

    #[test]
    fn a_leak_is_found_once_it_is_large() {
        let leak = |per_s: f64| move |t: f64| wavy(100.0)(t) + MIB * per_s * t;
        let after = |per_s| fails_after(leak(per_s), wavy(100.0)).unwrap();
        assert!((200..=250).contains(&after(1.0)), "{}", after(1.0));
        assert!((1900..=2200).contains(&after(0.1)), "{}", after(0.1));
    }

    #[test]
    fn a_leak_that_begins_late_is_found_too() {
        let late = |t: f64| wavy(100.0)(t) + MIB * (t - 1200.0).max(0.0);
        let after = fails_after(late, wavy(100.0)).unwrap();
        assert!((1390..=1600).contains(&after), "{after}");
    }

    #[test]
    fn another_level_and_a_warm_up_are_no_leak() {
        assert_eq!(fails_after(wavy(300.0), wavy(100.0)), None);
        for tau in [20.0, 120.0, 600.0] {
            for level in [50.0, 100.0, 300.0] {
                let warm = move |t: f64| wavy(level)(t) * (1.0 - 0.8 * (-t / tau).exp());
                assert_eq!(fails_after(warm, wavy(100.0)), None, "tau {tau}, level {level}");
            }
        }
    }

    #[test]
    fn growth_that_both_arms_share_blames_nobody() {
        let both = |t: f64| wavy(100.0)(t) + MIB * t;
        assert_eq!(fails_after(both, both), None);
    }

    #[test]
    fn records_of_what_only_varies_are_rare_and_bets_on_them_fair() {
        // All orders of five values: the mean of what the bets come to is one.
        let mut values = vec![1.0, 2.0, 3.0, 4.0, 5.0];
        let (mut sum, mut orders) = (0.0, 0);
        permute(&mut values, 0, &mut |it| {
            sum += ln_records(it, 0.0).exp();
            orders += 1;
        });
        assert!((sum / f64::from(orders) - 1.0).abs() < 1e-12, "{}", sum / f64::from(orders));
    }

    fn permute(values: &mut Vec<f64>, from: usize, each: &mut impl FnMut(&[f64])) {
        if from == values.len() {
            return each(values);
        }
        for other in from..values.len() {
            values.swap(from, other);
            permute(values, from + 1, each);
            values.swap(from, other);
        }
    }
}
