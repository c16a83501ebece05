//! What the sequential judge remembers, and how one poll changes it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Tables,
    clumping::Clumping,
    errors::{At, Both, Errors},
    gauge::Gauge,
    latency::Latency,
};
use crate::{
    finding::{Evidence, Verdict, Warning},
    judge::Setting,
    poll::{Counts, Histogram, Measured, Missing, Poll},
    stats::{
        dispersion::tempering,
        divergence::{bad_share, bernoulli},
        mixture::Starts,
    },
    written::Span,
};

/// Restarts lie on a grid of this length, however often one polls.
const STRATUM_MS: i64 = 10_000;

/// Gauges change slowly: their values are averaged over batches of this length.
const BATCH_MS: i64 = 60_000;

/// All that is remembered: bounded in size.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    began: Timestamp,
    warm_until: Timestamp,
    starts: Starts,
    pub(super) last: Option<Timestamp>,
    /// What evidence is divided by. What it is for a poll may not depend on that poll.
    clumping: Clumping,
    pub(super) signal: Signal,
    pub(super) now: BothNow,
    failed: bool,
    passed: bool,
    stable_violates: bool,
    missing: u64,
    last_missing: Option<Missing>,
    wrong_kind: bool,
}

/// Evidence after the last poll.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct BothNow {
    pub(super) bad: f64,
    pub(super) good: f64,
    pub(super) largest_good: f64,
}

/// What kind of readings come.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Signal {
    /// None came yet.
    Unread,
    Errors(Box<Errors>),
    Latency(Box<Latency>),
    Gauge(Box<Gauge>),
}

impl State {
    pub(super) fn new(setting: &Setting, warm_up: Span) -> Self {
        let planned = setting.planned.as_millis() as i64 / STRATUM_MS;
        let warm = jiff::SignedDuration::try_from(warm_up.0).unwrap_or(jiff::SignedDuration::MAX);
        Self {
            began: setting.began,
            warm_until: setting.warm_from.saturating_add(warm).unwrap_or(Timestamp::MAX),
            starts: Starts::planned(planned.clamp(1, i64::from(u32::MAX)) as u32),
            last: None,
            clumping: Clumping::default(),
            signal: Signal::Unread,
            now: BothNow::default(),
            failed: false,
            passed: false,
            stable_violates: false,
            missing: 0,
            last_missing: None,
            wrong_kind: false,
        }
    }

    pub(super) fn observe(&mut self, setting: &Setting, tables: &Tables, poll: &Poll) {
        match &poll.measured {
            Measured::Before { seconds, pods } => self.clumping.before(*seconds, pods),
            Measured::Beside { seconds, pods } => self.clumping.beside(poll.at, self.last.unwrap_or(self.began), *seconds, pods),
            Measured::Missing(why) => self.miss(*why),
            Measured::Counts { canary, baseline } => {
                let usable = canary.bad <= canary.total && baseline.is_none_or(|it| it.bad <= it.total);
                if usable { self.count(setting, tables, poll, *canary, *baseline) } else { self.miss(Missing::Partial) }
            }
            Measured::Histogram(histogram) => {
                if histogram.check().is_err() || histogram.baseline.is_empty() {
                    self.miss(Missing::Partial);
                } else if self.warm_until <= poll.at {
                    self.compare(setting, tables, poll, histogram);
                }
            }
            Measured::Values { canary, baseline } => self.values(setting, tables, poll, canary, baseline),
            Measured::Pods { .. } | Measured::Answers { .. } | Measured::Memory { .. } => self.wrong_kind = true,
        }
        if !poll.measured.calibrates() && !matches!(poll.measured, Measured::Missing(_)) {
            self.clumping.taken();
        }
    }

    fn miss(&mut self, why: Missing) {
        self.missing += 1;
        self.last_missing = Some(why);
    }

    fn count(&mut self, setting: &Setting, tables: &Tables, poll: &Poll, canary: Counts, baseline: Option<Counts>) {
        let at = self.place(poll);
        if self.signal == Signal::Unread {
            let phi = self.clumping.of_counts();
            self.signal = Signal::Errors(Box::new(Errors::new(self.starts, tables, phi)));
        }
        let Signal::Errors(errors) = &mut self.signal else {
            self.wrong_kind = true;
            return;
        };
        errors.add(tables, at, canary, baseline);
        let both = errors.evidence(tables);
        self.stable_violates = errors.stable_violates(tables);
        self.weigh(setting, tables, poll.at, both);
    }

    fn compare(&mut self, setting: &Setting, tables: &Tables, poll: &Poll, histogram: &Histogram) {
        let at = self.place(poll);
        if self.signal == Signal::Unread {
            self.signal = Signal::Latency(Box::new(Latency::new(&histogram.bounds, self.starts, tables)));
        }
        let (Signal::Latency(latency), clumping) = (&mut self.signal, &self.clumping) else {
            self.wrong_kind = true;
            return;
        };
        latency.add(tables, at, histogram, |i| clumping.at_bound(&histogram.bounds, i));
        let both = latency.evidence(tables);
        self.weigh(setting, tables, poll.at, both);
    }

    fn values(&mut self, setting: &Setting, tables: &Tables, poll: &Poll, canary: &[f64], baseline: &[f64]) {
        if !canary.iter().chain(baseline).all(|it| it.is_finite()) {
            return self.miss(Missing::NotFinite);
        }
        if canary.is_empty() || baseline.is_empty() {
            return self.miss(Missing::NoData);
        }
        let batch = (self.elapsed_ms(poll.at) / BATCH_MS) as u32;
        self.place(poll);
        if self.signal == Signal::Unread {
            self.signal = Signal::Gauge(Box::default());
        }
        let Signal::Gauge(gauge) = &mut self.signal else {
            self.wrong_kind = true;
            return;
        };
        let sums = |it: &[f64]| (it.iter().sum::<f64>(), it.len() as f64);
        gauge.add(batch, sums(canary), sums(baseline), tables);
        let both = gauge.evidence(tables);
        self.weigh(setting, tables, poll.at, both);
    }

    /// Milliseconds since the window began, of the moment just before `at`: a poll belongs to the stratum that it
    /// ends in.
    fn elapsed_ms(&self, at: Timestamp) -> i64 {
        (at.as_millisecond() - self.began.as_millisecond() - 1).max(0)
    }

    fn place(&mut self, poll: &Poll) -> At {
        self.clumping.begin();
        self.last = Some(poll.at);
        let stratum = u32::try_from(self.elapsed_ms(poll.at) / STRATUM_MS).unwrap_or(u32::MAX);
        At { stratum, asked: poll.weight, tempering: self.tempered_by() }
    }

    /// What increments of counts are multiplied with.
    fn tempered_by(&self) -> f64 {
        self.clumping.of_counts().map_or(1.0, tempering)
    }

    fn weigh(&mut self, setting: &Setting, tables: &Tables, at: Timestamp, both: Both) {
        self.now.bad = both.bad;
        self.now.good = both.good;
        self.now.largest_good = self.now.largest_good.max(both.good);
        let bad = tables.needed_bad <= both.bad;
        self.failed |= bad && setting.may_fail;
        let warm = self.warm_until <= at;
        let enough = tables.needed_good <= self.now.largest_good;
        self.passed |= warm && enough && !bad && !self.withheld();
    }

    /// Whether something forbids promotion whatever the evidence.
    fn withheld(&self) -> bool {
        let mismatch = matches!(&self.signal, Signal::Errors(it) if it.assignment.mismatch());
        mismatch || self.stable_violates
    }

    pub(super) fn verdict(&self) -> Verdict {
        if self.failed {
            Verdict::Fail
        } else if self.passed {
            Verdict::Pass
        } else {
            Verdict::Pending
        }
    }

    /// Whether there is a warm-up, and an end to it.
    pub(super) fn warms_up(&self) -> bool {
        self.began < self.warm_until && self.warm_until < Timestamp::MAX
    }

    pub(super) fn warm_until(&self) -> Timestamp {
        self.warm_until
    }

    pub(super) fn evidence(&self, setting: &Setting, tables: &Tables) -> Evidence {
        let mut evidence = Evidence {
            ln_e_bad: self.now.bad,
            ln_e_bad_needed: tables.needed_bad,
            ln_e_good: self.now.good,
            ln_e_good_needed: tables.needed_good,
            canary: Counts::default(),
            baseline: Counts::default(),
            ratio: None,
            interval: None,
            phi: 1.0,
            bound: None,
            seconds_to_fail: None,
            seconds_to_pass: None,
            probability_bad: None,
        };
        match &self.signal {
            Signal::Unread => {}
            Signal::Errors(errors) => {
                (evidence.canary, evidence.baseline) = (errors.canary, errors.baseline);
                evidence.ratio = errors.strata.estimate();
                evidence.phi = dividing(self.clumping.of_counts().unwrap_or(1.0));
                self.forecast(setting, tables, errors.asked, &mut evidence);
            }
            Signal::Latency(latency) => {
                if let Some(worst) = latency.worst(tables) {
                    (evidence.canary, evidence.baseline) = (worst.canary, worst.baseline);
                    (evidence.ratio, evidence.bound) = (worst.ratio, Some(worst.bound));
                    evidence.phi = dividing(self.clumping.at_bound(&latency.bounds, worst.number));
                    self.forecast(setting, tables, None, &mut evidence);
                }
            }
            Signal::Gauge(gauge) => {
                let (canary, baseline) = gauge.means();
                evidence.ratio = (baseline != 0.0).then(|| canary / baseline);
                evidence.canary.total = gauge.batches();
                evidence.baseline.total = gauge.batches();
            }
        }
        evidence
    }

    /// Seconds to each verdict if what was seen so far goes on: what is missing, divided by the information per
    /// second at the estimated ratio.
    fn forecast(&self, setting: &Setting, tables: &Tables, asked: Option<f64>, into: &mut Evidence) {
        let (Some(last), Some(ratio)) = (self.last, into.ratio) else { return };
        let seconds = (last.as_millisecond() - setting.began.as_millisecond()) as f64 / 1000.0;
        let total = into.canary.total + into.baseline.total;
        if seconds <= 0.0 || total == 0 {
            return;
        }
        let share = asked.unwrap_or(into.canary.total as f64 / total as f64).clamp(0.0, 1.0);
        let events_per_s = (into.canary.bad + into.baseline.bad) as f64 / seconds;
        let seen = bad_share(share, ratio);
        let time = |missing: f64, psi0: f64| {
            let rate = tempering(into.phi) * events_per_s * bernoulli(seen, bad_share(share, psi0));
            (0.0 < rate && rate.is_finite()).then(|| missing.max(0.0) / rate)
        };
        if tables.psi0 < ratio {
            into.seconds_to_fail = time(into.ln_e_bad_needed - into.ln_e_bad, tables.psi0);
        }
        if ratio < tables.margin {
            into.seconds_to_pass = time(into.ln_e_good_needed - into.ln_e_good, tables.margin);
        }
    }

    pub(super) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        warnings.extend(self.clumped());
        if let Signal::Errors(errors) = &self.signal {
            if errors.assignment.mismatch() {
                let total = errors.canary.total + errors.baseline.total;
                let got = errors.canary.total as f64 / total.max(1) as f64;
                warnings.push(Warning::SampleRatioMismatch { asked: errors.asked.unwrap_or(f64::NAN), got });
            }
            if self.stable_violates {
                let rate = errors.baseline.rate().unwrap_or(0.0);
                warnings.push(Warning::StableViolatesObjective { rate });
            }
        }
        if matches!(&self.signal, Signal::Latency(it) if it.bounds_changed) {
            warnings.push(Warning::BoundsChanged);
        }
        if let Some(last) = self.last_missing {
            warnings.push(Warning::Missing { polls: self.missing, last });
        }
        if self.wrong_kind {
            warnings.push(Warning::WrongKind);
        }
        warnings
    }

    fn clumped(&self) -> Option<Warning> {
        match &self.signal {
            Signal::Errors(errors) => match self.clumping.of_counts() {
                Some(phi) if errors.as_wholes() => Some(Warning::TooClumped { phi }),
                Some(phi) => (tempering(phi) < 1.0).then_some(Warning::Dispersed { phi }),
                None => Some(Warning::DispersionUnknown),
            },
            Signal::Latency(it) if !self.clumping.knows(&it.bounds) => Some(Warning::DispersionUnknown),
            Signal::Latency(_) => self.clumping.worst().map(|(bound, phi)| Warning::SlowOnesClump { bound, phi }),
            Signal::Unread | Signal::Gauge(_) => None,
        }
    }

    pub(super) fn interval(&self) -> Option<(f64, f64)> {
        match &self.signal {
            Signal::Errors(errors) => {
                errors.strata.estimate()?;
                Some(errors.strata.interval(0.05, self.tempered_by()))
            }
            Signal::Unread | Signal::Latency(_) | Signal::Gauge(_) => None,
        }
    }
}

/// A dispersion that evidence is divided for; 1 where it is not.
fn dividing(phi: f64) -> f64 {
    if tempering(phi) < 1.0 { phi } else { 1.0 }
}
