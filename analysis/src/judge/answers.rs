//! Whether the canary answers *differently*: a release that answers 404, 401 or a redirect to everybody fails no
//! request, and no count of errors sees it.
//!
//! For each class of answers it asks what the sequential judge asks of errors: given how many answers of both arms
//! were of that class, how many of them are the canary's? Against a canary stand two claims, and both must be shown:
//! that its odds of such an answer are more than `moreThan` times stable's, and that such answers are more than a
//! `negligible` share of its own. The smaller of two e-processes is one for "either claim is false", and the mean over
//! the classes is one for all of them, so it may be looked at after every poll and `alpha` holds for the whole window.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    answers::{Answers as Counted, Class},
    finding::{Evidence, Finding, Verdict, Warning},
    judge::{Judge, Needs, Problem, Setting, Standing},
    poll::{Counts, Drawn, Measured, Missing, Poll},
    stats::{
        absolute::Objective,
        increment::{self, Stratum},
        log,
        mixture::{Mixture, Starts},
        prior::Prior,
    },
    written::{Fraction, Ratio},
};

/// Restarts lie on a grid of this length, however often one polls.
const STRATUM_MS: i64 = 10_000;

/// Answers of either arm before their distribution can be called alike.
const ENOUGH: u64 = 100;

/// Compares how canary and stable answer.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Answers {
    /// How many times stable's the canary's odds of an answer of one class may be. Default 3x.
    pub more_than: Ratio,
    /// The share of the canary's answers up to which a class does not matter. Default 2%.
    pub negligible: Fraction,
    /// Probability of rolling back a canary that answers no more differently, over the whole window. Default 0.1%.
    pub alpha: Fraction,
}

impl Default for Answers {
    fn default() -> Self {
        let fraction = |it| Fraction::new(it).unwrap_or_else(|why| unreachable!("default fraction: {why}"));
        let more_than = Ratio::new(3.0).unwrap_or_else(|why| unreachable!("default ratio: {why}"));
        Self { more_than, negligible: fraction(0.02), alpha: fraction(0.001) }
    }
}

/// What is derived from the configuration once.
#[derive(Clone, Debug)]
pub struct Tables {
    psi0: f64,
    prior: Prior,
    share: Objective,
}

/// What is remembered.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// One per class, in the order of [`Class::ALL`].
    classes: Vec<OfClass>,
    canary: Counted,
    stable: Counted,
    /// The logarithm of the evidence after the last poll.
    ln_e: f64,
    failed: Option<Class>,
    missing: u64,
    last_missing: Option<Missing>,
}

/// Evidence of one class, both claims.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfClass {
    more: Mixture,
    not_negligible: Mixture,
}

impl OfClass {
    fn add(&mut self, tables: &Tables, number: u32, stratum: Stratum) {
        self.more.begin(number, tables.prior.psi.len());
        self.not_negligible.begin(number, tables.share.alternatives().0);
        let (more, not_negligible) = (&mut self.more, &mut self.not_negligible);
        increment::each(stratum, tables.psi0, &tables.prior.psi, |i, it| more.add(i, it));
        let (total, bad) = (stratum.canary_total, stratum.canary_bad);
        tables.share.each_worse(total, bad, |i, it| not_negligible.add(i, it));
    }

    fn ln_e(&self, tables: &Tables) -> f64 {
        let ln_share = &tables.prior.ln_share;
        self.more.ln_e(ln_share).min(self.not_negligible.ln_e(ln_share))
    }
}

impl Answers {
    fn needed(&self, setting: &Setting) -> f64 {
        -(self.alpha.get() * setting.share).ln()
    }
}

fn number(setting: &Setting, at: Timestamp) -> u32 {
    let elapsed = (at.as_millisecond() - setting.began.as_millisecond() - 1).max(0);
    u32::try_from(elapsed / STRATUM_MS).unwrap_or(u32::MAX)
}

/// The class with the most evidence.
fn worst(state: &State, tables: &Tables) -> Class {
    let each = Class::ALL.into_iter().zip(&state.classes).map(|(class, it)| (class, it.ln_e(tables)));
    each.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(Class::Success, |it| it.0)
}

impl Judge for Answers {
    type Tables = Tables;
    type State = State;

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.more_than.times() < 1.0 {
            let message = format!("`{}` would roll back a canary that answers as stable does: use 1x or more", self.more_than);
            problems.push(Problem::new(&["moreThan"], message));
        }
        if 0.5 < self.negligible.get() {
            problems.push(Problem::new(&["negligible"], "half of all answers are not negligible: 50% or less"));
        }
        problems
    }

    fn needs(&self) -> Needs {
        Needs::Baseline
    }

    fn reads(&self, measured: &Measured) -> bool {
        matches!(measured, Measured::Answers { .. })
    }

    fn tables(&self, _setting: &Setting) -> Tables {
        let prior = Prior::errors_of_any_size();
        Tables {
            psi0: self.more_than.times(),
            share: Objective::new(self.negligible.get(), &prior.psi, &[]),
            prior: prior.scaled(self.more_than.times()),
        }
    }

    fn begin(&self, setting: &Setting) -> State {
        let planned = setting.planned.as_millis() as i64 / STRATUM_MS;
        let starts = Starts::planned(planned.clamp(1, i64::from(u32::MAX)) as u32);
        let one = OfClass { more: Mixture::new(starts), not_negligible: Mixture::new(starts) };
        State {
            classes: vec![one; Class::ALL.len()],
            canary: Counted::default(),
            stable: Counted::default(),
            ln_e: 0.0,
            failed: None,
            missing: 0,
            last_missing: None,
        }
    }

    fn observe(&self, setting: &Setting, tables: &Tables, state: &mut State, poll: &Poll) {
        if poll.measured.calibrates() {
            return;
        }
        let Measured::Answers { canary, baseline: Some(stable), drawn } = &poll.measured else {
            state.missing += 1;
            state.last_missing = Some(poll.measured.why_missing());
            return;
        };
        state.canary.add(canary);
        state.stable.add(stable);
        let number = number(setting, poll.at);
        for (class, it) in Class::ALL.into_iter().zip(&mut state.classes) {
            // Another population may well ask for other things; that its requests fail is no matter of what it asks.
            if *drawn == Drawn::Apart && !class.is_failure() {
                continue;
            }
            let stratum = Stratum {
                canary_total: canary.total(),
                canary_bad: canary.of(class),
                baseline_total: stable.total(),
                baseline_bad: stable.of(class),
            };
            it.add(tables, number, stratum);
        }
        let classes = state.classes.len() as f64;
        state.ln_e = log::sum_exp(state.classes.iter().map(|it| it.ln_e(tables))) - classes.ln();
        if state.failed.is_none() && setting.may_fail && self.needed(setting) <= state.ln_e {
            state.failed = Some(worst(state, tables));
        }
    }

    fn verdict(&self, setting: &Setting, state: &State) -> Verdict {
        let enough = ENOUGH <= state.canary.total().min(state.stable.total());
        match state.failed {
            Some(_) => Verdict::Fail,
            None if enough && state.ln_e < self.needed(setting) / 2.0 => Verdict::Pass,
            None => Verdict::Pending,
        }
    }

    fn standing(&self, _state: &State) -> Standing {
        Standing::Latest
    }

    fn evidence(&self, setting: &Setting, tables: &Tables, state: &State) -> Option<Evidence> {
        let class = state.failed.unwrap_or_else(|| worst(state, tables));
        let (canary, baseline) = (of(&state.canary, class), of(&state.stable, class));
        let ratio = canary.rate().zip(baseline.rate()).filter(|it| it.1 != 0.0).map(|(c, b)| c / b);
        Some(Evidence {
            ln_e_bad: state.ln_e,
            ln_e_bad_needed: self.needed(setting),
            ln_e_good: 0.0,
            ln_e_good_needed: 0.0,
            canary,
            baseline,
            ratio,
            interval: None,
            phi: 1.0,
            bound: None,
            seconds_to_fail: None,
            seconds_to_pass: None,
            probability_bad: None,
        })
    }

    fn finding(&self, setting: &Setting, tables: &Tables, state: &State) -> Finding {
        let evidence = self.evidence(setting, tables, state);
        let class = state.failed.unwrap_or_else(|| worst(state, tables));
        let arm = |it: &Counted| match of(it, class).rate() {
            Some(rate) => format!("{:.1} % of {}", 100.0 * rate, it.total()),
            None => "none".to_owned(),
        };
        let because = format!(
            "{}{}: canary {}, stable {}; evidence that it answers differently {:.1}, {:.1} needed",
            if state.failed.is_some() { "the canary answers differently, " } else { "" },
            class.describe(),
            arm(&state.canary),
            arm(&state.stable),
            state.ln_e,
            self.needed(setting)
        );
        let mut finding = Finding::new(self.verdict(setting, state), because);
        finding.evidence = evidence;
        if let Some(last) = state.last_missing {
            finding.warnings.push(Warning::Missing { polls: state.missing, last });
        }
        finding
    }
}

fn of(it: &Counted, class: Class) -> Counts {
    Counts::new(it.total(), it.of(class))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// After how many polls of one second it fails; `None`: not within ten minutes.
    fn fails_after(canary: Counted, stable: Counted, drawn: Drawn) -> Option<i64> {
        let judge = Answers::default();
        let setting = Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(600));
        let (tables, mut state) = (judge.tables(&setting), judge.begin(&setting));
        (1..=600).find(|second| {
            let at = Timestamp::from_second(*second).unwrap();
            let measured = Measured::Answers { canary, baseline: Some(stable), drawn };
            judge.observe(&setting, &tables, &mut state, &Poll { at, weight: None, measured });
            judge.verdict(&setting, &state) == Verdict::Fail
        })
    }

    fn good(total: u64) -> Counted {
        Counted { success: total, ..Counted::default() }
    }

    #[test]
    fn a_canary_that_answers_one_thing_to_everybody_fails_within_seconds() {
        let each = |it: Counted| fails_after(it, good(90), Drawn::Alike).unwrap();
        assert!(each(Counted { not_found: 10, ..Counted::default() }) <= 3);
        assert!(each(Counted { client_error: 10, ..Counted::default() }) <= 3);
        assert!(each(Counted { redirect: 10, ..Counted::default() }) <= 3);
        assert!(each(Counted { unanswered: 10, ..Counted::default() }) <= 3);
    }

    #[test]
    fn a_canary_that_lets_in_what_stable_refuses_fails() {
        let refused = Counted { success: 5, client_error: 85, ..Counted::default() };
        assert!(fails_after(good(10), refused, Drawn::Alike).unwrap() <= 10);
    }

    #[test]
    fn what_is_alike_negligible_or_not_much_more_is_left_alone() {
        let of = |not_found: u64, of: u64| Counted { success: of - not_found, not_found, ..Counted::default() };
        assert_eq!(fails_after(of(50, 100), of(450, 900), Drawn::Alike), None);
        assert_eq!(fails_after(of(2, 100), of(9, 900), Drawn::Alike), None, "twice as many");
        assert_eq!(fails_after(of(1, 100), of(0, 900), Drawn::Alike), None, "1 % matters to nobody");
        assert!(fails_after(of(10, 100), of(9, 900), Drawn::Alike).is_some());
    }

    #[test]
    fn another_population_is_judged_by_its_failures_alone() {
        let lost = Counted { not_found: 10, ..Counted::default() };
        assert_eq!(fails_after(lost, good(90), Drawn::Apart), None);
        let failing = Counted { server_error: 10, ..Counted::default() };
        assert!(fails_after(failing, good(90), Drawn::Apart).unwrap() <= 3);
    }

    #[test]
    fn silence_of_one_side_fails_and_passes_nothing() {
        let nobody = Counted::default();
        assert_eq!(fails_after(Counted { not_found: 10, ..nobody }, nobody, Drawn::Alike), None);
        assert_eq!(fails_after(nobody, good(90), Drawn::Alike), None);
    }
}
