//! Experiments on synthetic traffic: each returns what a table or a test needs.

use std::time::Duration;

use analysis::{
    AnyJudge, Counts, Judging, Measured, Poll, Setting, Verdict,
    stats::divergence::{bad_share, bernoulli},
};
use jiff::Timestamp;

use super::traffic::{Cell, POLL_S, POLLS, Run, Slower, at};

/// The sequential judge against `worse_than`, without warm-up.
pub(crate) fn sequential(worse_than: &str, alpha: f64) -> AnyJudge {
    let text = format!(
        r#"{{"sequential":{{"rollBack":{{"worseThan":"{worse_than}","alpha":{alpha:e}}},"warmUp":"0s"}}}}"#
    );
    serde_json::from_str(&text).expect("a judge")
}

pub(crate) fn begin(judge: &AnyJudge) -> Judging {
    judge.begin(Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(POLLS as u64 * POLL_S as u64)))
}

pub(crate) fn poll(number: usize, (share, canary, baseline): (f64, Counts, Counts)) -> Poll {
    Poll {
        at: at(number),
        weight: Some(share),
        measured: Measured::Counts { canary, baseline: Some(baseline) },
    }
}

/// The largest evidence of harm in each run: what decides for every alpha at once.
pub(crate) fn largest_evidence(cell: Cell, worse_than: &str, runs: u64, history: bool) -> Vec<f64> {
    let judge = sequential(worse_than, 0.01);
    (0..runs)
        .map(|seed| {
            let mut run = Run::new(cell, seed);
            let mut judging = begin(&judge);
            if history {
                run.history().iter().for_each(|poll| judging.observe(poll));
            }
            let mut largest = 0.0f64;
            for number in 1..=POLLS {
                judging.observe(&poll(number, run.counts()));
                largest = largest.max(judging.evidence().expect("evidence").ln_e_bad);
            }
            largest
        })
        .collect()
}

/// The same for latency.
pub(crate) fn largest_latency_evidence(cell: Cell, runs: u64) -> Vec<f64> {
    let judge = sequential("1x", 0.01);
    (0..runs)
        .map(|seed| {
            let mut run = Run::new(cell, seed);
            let mut judging = begin(&judge);
            let mut largest = 0.0f64;
            for _ in 1..=POLLS {
                judging.observe(&run.latencies(Slower::No));
                largest = largest.max(judging.evidence().expect("evidence").ln_e_bad);
            }
            largest
        })
        .collect()
}

/// The share of runs whose evidence reached `1 / alpha`.
pub(crate) fn share_reaching(largest: &[f64], alpha: f64) -> f64 {
    largest.iter().filter(|it| -alpha.ln() <= **it).count() as f64 / largest.len() as f64
}

/// What `alpha` plus three standard errors allows.
pub(crate) fn allowed(alpha: f64, runs: u64) -> f64 {
    alpha + 3.0 * (alpha * (1.0 - alpha) / runs as f64).sqrt()
}

/// A run that was rolled back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped {
    /// Seconds from the onset of the regression.
    pub(crate) seconds: f64,
    /// Bad requests of both arms until then.
    pub(crate) bad: f64,
    /// Bad requests of the canary until then, from the onset on.
    pub(crate) damage: f64,
}

/// Runs until roll back, each at most `polls` long; runs that were rolled back before the onset are left out.
pub(crate) fn detections(cell: Cell, judge: &AnyJudge, runs: u64, polls: usize) -> Vec<Option<Stopped>> {
    let one = |seed| {
        let mut run = Run::new(cell, 1_000_000 + seed);
        let mut judging = begin(judge);
        let (mut bad, mut damage) = (0, 0);
        for number in 1..=polls {
            let counts = run.counts();
            bad += counts.1.bad + counts.2.bad;
            if cell.onset < number {
                damage += counts.1.bad;
            }
            judging.observe(&poll(number, counts));
            if judging.verdict() == Verdict::Fail {
                let seconds = (number as f64 - cell.onset as f64) * POLL_S;
                return Some(Stopped { seconds, bad: bad as f64, damage: damage as f64 });
            }
        }
        None
    };
    (0..runs).map(one).filter(|it| it.is_none_or(|it| 0.0 < it.seconds)).collect()
}

/// Detections of a slower canary, in seconds.
pub(crate) fn latency_detections(cell: Cell, slower: Slower, runs: u64) -> Vec<Option<f64>> {
    let judge = sequential("1x", 0.01);
    let one = |seed| {
        let mut run = Run::new(cell, 2_000_000 + seed);
        let mut judging = begin(&judge);
        for number in 1..=POLLS {
            judging.observe(&run.latencies(slower));
            if judging.verdict() == Verdict::Fail {
                return Some(number as f64 * POLL_S);
            }
        }
        None
    };
    (0..runs).map(one).collect()
}

/// Seconds until promotion; `None` where there was none within the hour, or a roll back first.
pub(crate) fn promotions(cell: Cell, margin: &str, runs: u64) -> Vec<Option<f64>> {
    let text = format!(
        r#"{{"sequential":{{"rollBack":{{"worseThan":"1x"}},"promote":{{"notWorseThan":"{margin}"}},"warmUp":"0s"}}}}"#
    );
    let judge: AnyJudge = serde_json::from_str(&text).expect("a judge");
    let one = |seed| {
        let mut run = Run::new(cell, 3_000_000 + seed);
        let mut judging = begin(&judge);
        for number in 1..=POLLS {
            judging.observe(&poll(number, run.counts()));
            match judging.verdict() {
                Verdict::Pass => return Some(number as f64 * POLL_S),
                Verdict::Fail => return None,
                Verdict::Pending | Verdict::Inconclusive | Verdict::Error => {}
            }
        }
        None
    };
    (0..runs).map(one).collect()
}

/// Nats per bad event of a regression, and Wald's time: `ln(1/alpha)` divided by the information per second.
pub(crate) fn wald(cell: Cell, alpha: f64) -> (f64, f64) {
    let share = cell.shares.at(0);
    let nats = bernoulli(bad_share(share, cell.psi), share);
    let events_per_s = cell.per_s * cell.bad_rate * (1.0 - share + share * cell.psi);
    (nats, -alpha.ln() / (events_per_s * nats))
}

/// The middle value; infinite where fewer than half came to an end.
pub(crate) fn median(values: impl Iterator<Item = Option<f64>>) -> f64 {
    let mut all: Vec<f64> = values.map(|it| it.unwrap_or(f64::INFINITY)).collect();
    all.sort_by(f64::total_cmp);
    if all.is_empty() { f64::NAN } else { all[all.len() / 2] }
}

/// The mean.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), it| (sum + it, count + 1.0));
    sum / count
}

/// How others decide on the same stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Decider {
    /// The default judge at 1 %.
    Sequential(&'static str),
    /// Success rate of the last minute, every minute; the fourth failure rolls back.
    Argo,
    /// Success rate of the last minute, every half minute; the fifth failure rolls back at the next tick.
    Flagger,
    /// Error percentage per minute, every five minutes.
    Kayenta,
}

impl Decider {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Sequential(worse_than) => format!("sequential, worseThan {worse_than}"),
            Self::Argo => "threshold as Argo Rollouts runs it".to_owned(),
            Self::Flagger => "threshold as Flagger runs it".to_owned(),
            Self::Kayenta => "Kayenta, every 5 minutes".to_owned(),
        }
    }

    fn judge(self) -> AnyJudge {
        let text = match self {
            Self::Sequential(worse_than) => return sequential(worse_than, 0.01),
            Self::Argo => r#"{"threshold":{"pass":"result <= 0.01","failureLimit":3,"noData":"ignore"}}"#,
            Self::Flagger => r#"{"threshold":{"pass":"result <= 0.01","failureLimit":4,"noData":"ignore"}}"#,
            Self::Kayenta => {
                r#"{"kayenta":{"canary":{"direction":"increase","critical":true},"interval":"5m"}}"#
            }
        };
        serde_json::from_str(text).expect("a judge")
    }

    /// Rolls back after how many seconds, with how many bad canary requests; `None`: not at all.
    pub(crate) fn decide(self, cell: Cell, seed: u64) -> Option<(f64, f64)> {
        let mut run = Run::new(cell, 4_000_000 + seed);
        let mut judging = begin(&self.judge());
        let mut minute: Vec<Counts> = Vec::new();
        let mut damage = 0;
        let mut acts_at = None;
        for number in 1..=POLLS {
            let counts = run.counts();
            damage += counts.1.bad;
            minute.push(counts.1);
            if 6 < minute.len() {
                minute.remove(0);
            }
            let window = || {
                let mut sum = Counts::default();
                minute.iter().for_each(|it| sum.add(*it));
                let measured = Measured::Counts { canary: sum, baseline: None };
                Poll { at: at(number), weight: None, measured }
            };
            match self {
                Self::Sequential(_) | Self::Kayenta => judging.observe(&poll(number, counts)),
                Self::Argo if number % 6 == 0 => judging.observe(&window()),
                Self::Flagger if number % 3 == 0 && 6 <= number => judging.observe(&window()),
                Self::Argo | Self::Flagger => {}
            }
            if judging.verdict() == Verdict::Fail && acts_at.is_none() {
                acts_at = Some(if self == Self::Flagger { number + 3 } else { number });
            }
            if acts_at == Some(number) {
                return Some((number as f64 * POLL_S, damage as f64));
            }
        }
        None
    }
}
