//! A classical test with one declared look, for reports. It refuses to be looked at earlier: until then it is
//! pending whatever the data.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    finding::{Evidence, Finding, Verdict, Warning},
    judge::{Judge, Needs, Problem, Setting, Standing},
    poll::{Counts, Measured, Missing, Poll},
    stats::fixed::{Alternative, kolmogorov, proportion, rank, welch},
    written::{Fraction, Span},
};

/// Values kept per arm. Later ones are left out, and the verdict says so.
const VALUES_KEPT: usize = 5000;

/// Up to this many pairs the null distribution is counted, unless there are ties.
const EXACT_PAIRS: usize = 2500;

/// One test at one look.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FixedHorizon {
    /// Which test.
    pub test: Test,
    /// When the look is, from the start of the window.
    pub after: Span,
    /// Probability of failing a canary that is no different. Default 1%.
    #[serde(default = "one_per_cent")]
    pub alpha: Fraction,
    /// Which difference fails the canary. Default higher.
    #[serde(default)]
    pub fails_when: FailsWhen,
}

fn one_per_cent() -> Fraction {
    Fraction::new(0.01).unwrap_or_else(|why| unreachable!("default fraction: {why}"))
}

/// Which test. The first three compare values, the last two counts of bad requests.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Test {
    /// Mann–Whitney: which arm's values tend to be larger.
    MannWhitney,
    /// Welch's t test of means.
    Welch,
    /// Kolmogorov–Smirnov: any difference of the distributions.
    KolmogorovSmirnov,
    /// Ratio of rates, given how many bad requests there were together.
    RateRatio,
    /// Fisher's exact test.
    Fisher,
}

/// Which difference fails the canary.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FailsWhen {
    /// The canary has more.
    #[default]
    Higher,
    /// It has less.
    Lower,
    /// It differs.
    Different,
}

impl FailsWhen {
    fn alternative(self) -> Alternative {
        match self {
            Self::Higher => Alternative::Greater,
            Self::Lower => Alternative::Less,
            Self::Different => Alternative::TwoSided,
        }
    }
}

/// What was collected for the look.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    canary: Vec<f64>,
    baseline: Vec<f64>,
    canary_counts: Counts,
    baseline_counts: Counts,
    overflowed: bool,
    /// The p-value of the one look; `None` where the test could not be made.
    looked: Option<(Timestamp, Option<f64>)>,
    missing: u64,
    last_missing: Option<Missing>,
}

impl FixedHorizon {
    fn p_value(&self, state: &State) -> Option<f64> {
        let (x, y) = (state.canary.as_slice(), state.baseline.as_slice());
        let alternative = self.fails_when.alternative();
        let enough = 2 <= x.len() && 2 <= y.len();
        let one = |it: proportion::PValues| match alternative {
            Alternative::TwoSided => it.two_sided,
            Alternative::Greater => it.greater,
            Alternative::Less => it.less,
        };
        let (c, b) = (state.canary_counts, state.baseline_counts);
        let counted = c.total != 0 && b.total != 0;
        let p = match self.test {
            Test::MannWhitney if enough => {
                let tied = rank::ranked(x.iter().copied(), y).ties != 0.0;
                let null = if tied || EXACT_PAIRS < x.len() * y.len() {
                    rank::Null::Asymptotic { continuity: true }
                } else {
                    rank::Null::Exact
                };
                rank::mann_whitney(x, y, alternative, null).1
            }
            Test::Welch if enough => {
                let it = welch::welch(x, y)?;
                one(proportion::PValues { two_sided: it.two_sided, greater: it.greater, less: it.less })
            }
            Test::KolmogorovSmirnov if enough => {
                // A larger distribution function means smaller values.
                let mirrored = match alternative {
                    Alternative::Greater => Alternative::Less,
                    Alternative::Less => Alternative::Greater,
                    Alternative::TwoSided => Alternative::TwoSided,
                };
                let small = x.len() * y.len() <= EXACT_PAIRS;
                let null = if small { kolmogorov::Null::Exact } else { kolmogorov::Null::Asymptotic };
                kolmogorov::kolmogorov_smirnov(x, y, mirrored, null)?.p
            }
            Test::RateRatio if counted => {
                let arm = |it: Counts| (it.bad, it.total as f64);
                one(proportion::rate_ratio(arm(c), arm(b), 1.0).exact)
            }
            Test::Fisher if counted => one(proportion::fisher(c.bad, c.total - c.bad, b.bad, b.total - b.bad).1),
            Test::MannWhitney | Test::Welch | Test::KolmogorovSmirnov | Test::RateRatio | Test::Fisher => return None,
        };
        p.is_finite().then_some(p)
    }

    fn collect(&self, state: &mut State, measured: &Measured) {
        match (measured, self.test) {
            (Measured::Counts { canary, baseline: Some(baseline) }, Test::RateRatio | Test::Fisher)
                if canary.bad <= canary.total && baseline.bad <= baseline.total =>
            {
                state.canary_counts.add(*canary);
                state.baseline_counts.add(*baseline);
            }
            (Measured::Values { canary, baseline }, Test::MannWhitney | Test::Welch | Test::KolmogorovSmirnov)
                if canary.iter().chain(baseline).all(|it| it.is_finite()) =>
            {
                for (kept, more) in [(&mut state.canary, canary), (&mut state.baseline, baseline)] {
                    let room = VALUES_KEPT - kept.len();
                    state.overflowed |= room < more.len();
                    kept.extend(more.iter().take(room));
                }
            }
            (Measured::Before { .. } | Measured::Beside { .. }, _) => {}
            (Measured::Missing(why), _) => {
                state.missing += 1;
                state.last_missing = Some(*why);
            }
            (_, _) => {
                state.missing += 1;
                state.last_missing = Some(Missing::NotOneNumber);
            }
        }
    }
}

impl Judge for FixedHorizon {
    type Tables = ();
    type State = State;

    fn check(&self) -> Vec<Problem> {
        let zero = self.after == Span::seconds(0);
        zero.then(|| Problem::new(&["after"], "must be longer than 0s: the look needs data")).into_iter().collect()
    }

    fn needs(&self) -> Needs {
        Needs::Baseline
    }

    fn reads(&self, measured: &Measured) -> bool {
        match self.test {
            Test::MannWhitney | Test::Welch | Test::KolmogorovSmirnov => {
                matches!(measured, Measured::Values { .. })
            }
            Test::RateRatio | Test::Fisher => matches!(measured, Measured::Counts { .. }),
        }
    }

    fn tables(&self, _setting: &Setting) {}

    fn begin(&self, _setting: &Setting) -> State {
        State::default()
    }

    fn observe(&self, setting: &Setting, _tables: &(), state: &mut State, poll: &Poll) {
        if state.looked.is_some() {
            return;
        }
        self.collect(state, &poll.measured);
        let elapsed = i128::from(poll.at.as_millisecond() - setting.began.as_millisecond());
        if i128::try_from(self.after.0.as_millis()).is_ok_and(|after| after <= elapsed) {
            state.looked = Some((poll.at, self.p_value(state)));
            (state.canary, state.baseline) = (Vec::new(), Vec::new());
        }
    }

    fn verdict(&self, setting: &Setting, state: &State) -> Verdict {
        match state.looked {
            None => Verdict::Pending,
            Some((_, None)) => Verdict::Inconclusive,
            Some((_, Some(p))) if p < self.alpha.get() && setting.may_fail => Verdict::Fail,
            Some((_, Some(p))) if p < self.alpha.get() => Verdict::Inconclusive,
            Some((_, Some(_))) => Verdict::Pass,
        }
    }

    fn standing(&self, _state: &State) -> Standing {
        Standing::Final
    }

    fn evidence(&self, _setting: &Setting, _tables: &(), _state: &State) -> Option<Evidence> {
        None
    }

    fn finding(&self, setting: &Setting, _tables: &(), state: &State) -> Finding {
        let because = match state.looked {
            None => format!("the one look is after {}", self.after),
            Some((_, None)) => "too little data at the one look".to_owned(),
            Some((_, Some(p))) => {
                let kept = if state.overflowed { format!(", of the first {VALUES_KEPT} values") } else { String::new() };
                format!("p = {p:.4} at the one look{kept}, fails below {}", self.alpha)
            }
        };
        let mut finding = Finding::new(self.verdict(setting, state), because);
        if let Some(last) = state.last_missing {
            finding.warnings.push(Warning::Missing { polls: state.missing, last });
        }
        finding
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn play(judge: &str, seconds: i64, reading: impl Fn(i64) -> Measured) -> (Verdict, Option<i64>) {
        let judge: FixedHorizon = serde_json::from_str(judge).unwrap();
        let setting = Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(600));
        let mut state = judge.begin(&setting);
        for second in 1..=seconds {
            let at = Timestamp::from_second(second).unwrap();
            judge.observe(&setting, &(), &mut state, &Poll { at, weight: None, measured: reading(second) });
        }
        (judge.verdict(&setting, &state), state.looked.map(|it| it.0.as_second()))
    }

    fn values(canary: f64) -> impl Fn(i64) -> Measured {
        move |t| Measured::Values {
            canary: vec![canary + (t as f64 * 1.7).sin()],
            baseline: vec![(t as f64).sin()],
        }
    }

    #[test]
    fn it_is_pending_until_its_one_look_whatever_the_data() {
        for test in ["mannWhitney", "welch", "kolmogorovSmirnov"] {
            let judge = format!(r#"{{"test":"{test}","after":"1m"}}"#);
            assert_eq!(play(&judge, 59, values(9.0)), (Verdict::Pending, None));
            assert_eq!(play(&judge, 300, values(9.0)), (Verdict::Fail, Some(60)), "{test}");
            assert_eq!(play(&judge, 300, values(-9.0)), (Verdict::Pass, Some(60)), "{test}");
            assert_eq!(play(&judge, 300, values(0.0)), (Verdict::Pass, Some(60)), "{test}");
        }
    }

    #[test]
    fn counts_are_compared_by_rate_ratio_and_by_fisher() {
        let counts = |bad: u64| {
            move |_: i64| Measured::Counts { canary: Counts::new(50, bad), baseline: Some(Counts::new(450, 9)) }
        };
        for test in ["rateRatio", "fisher"] {
            let judge = format!(r#"{{"test":"{test}","after":"1m"}}"#);
            assert_eq!(play(&judge, 60, counts(5)).0, Verdict::Fail, "{test}");
            assert_eq!(play(&judge, 60, counts(1)).0, Verdict::Pass, "{test}");
        }
    }

    #[test]
    fn no_data_at_the_look_decides_nothing() {
        let judge = r#"{"test":"welch","after":"1m"}"#;
        assert_eq!(play(judge, 60, |_| Measured::Missing(Missing::NoData)).0, Verdict::Inconclusive);
        let nan = |_| Measured::Values { canary: vec![f64::NAN], baseline: vec![f64::NAN] };
        assert_eq!(play(judge, 60, nan).0, Verdict::Inconclusive);
    }
}
