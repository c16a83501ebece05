//! Synthetic traffic of one hour, seen in polls of ten seconds.
//!
//! Load and error rate drift together for both arms, as they do in life: a daily wave, noise with memory, a trend,
//! and on average one shared incident. What a canary adds is a factor on its own rate of bad requests, from some
//! moment on.

use analysis::{
    Counts, Histogram, Measured, Poll,
    poll::{OfPods, PodCounts},
};
use jiff::Timestamp;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::{
    distribution::{ContinuousCDF, Normal},
    function::gamma::ln_gamma,
};

/// Seconds per poll.
pub(crate) const POLL_S: f64 = 10.0;

/// Polls of a run.
pub(crate) const POLLS: usize = 360;

/// Pods of the baseline.
const PODS: usize = 10;

/// Bounds of Prometheus' default histogram, in seconds.
pub(crate) const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How the canary's share of requests develops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shares {
    /// The same all the time.
    Fixed(f64),
    /// 5, 10, 25, 50 %, a quarter of an hour each.
    Stepped,
}

impl Shares {
    pub(crate) fn at(self, poll: usize) -> f64 {
        match self {
            Self::Fixed(share) => share,
            Self::Stepped => [0.05, 0.10, 0.25, 0.50][(poll * 4 / POLLS).min(3)],
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Fixed(share) => format!("{} %", 100.0 * share),
            Self::Stepped => "stepped".to_owned(),
        }
    }
}

/// How the canary is slower.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Slower {
    /// It is not.
    No,
    /// All requests take this many times as long.
    All(f64),
    /// The slowest two per cent take this many times as long.
    Tail(f64),
}

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) per_s: f64,
    pub(crate) bad_rate: f64,
    pub(crate) shares: Shares,
    /// Factor on the canary's rate of bad requests.
    pub(crate) psi: f64,
    /// The poll from which on the factor holds.
    pub(crate) onset: usize,
    /// Whether load and rates drift.
    pub(crate) drift: bool,
    /// Mean size of clumps of bad requests within one pod; 1: they come one by one.
    pub(crate) clump: f64,
}

impl Cell {
    pub(crate) fn new(per_s: f64, bad_rate: f64) -> Self {
        let shares = Shares::Fixed(0.1);
        Self { per_s, bad_rate, shares, psi: 1.0, onset: 0, drift: false, clump: 1.0 }
    }

    pub(crate) fn psi(self, psi: f64) -> Self {
        Self { psi, ..self }
    }

    pub(crate) fn shares(self, shares: Shares) -> Self {
        Self { shares, ..self }
    }

    pub(crate) fn drifting(self) -> Self {
        Self { drift: true, ..self }
    }

    pub(crate) fn name(self) -> String {
        format!("{} /s, {} %", self.per_s, 100.0 * self.bad_rate)
    }
}

/// A run of one cell.
pub(crate) struct Run {
    cell: Cell,
    rng: ChaCha8Rng,
    poll: usize,
    load: f64,
    rate: f64,
    scale: f64,
    phase: f64,
    trend: f64,
    incident: std::ops::Range<usize>,
}

impl Run {
    /// Run number `seed` of `cell`; the same numbers give the same traffic.
    pub(crate) fn new(cell: Cell, seed: u64) -> Self {
        // Cells are independent of each other: each has its own stream of numbers.
        let stream = [cell.per_s, cell.bad_rate, cell.psi, cell.shares.at(POLLS / 2), cell.clump];
        let stream = stream.iter().fold(0u64, |sum, it| sum.rotate_left(13) ^ it.to_bits());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        let begin = rng.random_range(0..POLLS);
        let long = rng.random_range(6..18);
        // On average one incident: none in a third of the runs, a longer one stands for several.
        let happens = rng.random::<f64>() < 0.632;
        let incident = if happens { begin..begin + long } else { 0..0 };
        let (phase, trend) = (rng.random::<f64>(), rng.random_range(-1.0..1.0));
        Self { cell, poll: 0, load: 0.0, rate: 0.0, scale: 0.0, phase, trend, incident, rng }
    }

    /// Requests per second and rate of bad requests of this poll, for the baseline.
    fn drift(&mut self) -> (f64, f64) {
        let Cell { per_s, bad_rate, drift, .. } = self.cell;
        if !drift {
            return (per_s, bad_rate);
        }
        self.load = 0.9 * self.load + 0.15 * (1.0f64 - 0.81).sqrt() * normal(&mut self.rng);
        self.rate = 0.97 * self.rate + 0.30 * (1.0f64 - 0.97 * 0.97).sqrt() * normal(&mut self.rng);
        let progress = self.poll as f64 / POLLS as f64;
        let wave = 1.0 + 0.4 * (std::f64::consts::TAU * (progress + self.phase)).sin();
        let incident = if self.incident.contains(&self.poll) { 5.0 } else { 1.0 };
        let trend = 2f64.powf(self.trend * progress);
        (per_s * wave * self.load.exp(), bad_rate * trend * self.rate.exp() * incident)
    }

    fn psi(&self) -> f64 {
        if self.poll < self.cell.onset { 1.0 } else { self.cell.psi }
    }

    /// The next ten seconds of counts: canary, baseline.
    pub(crate) fn counts(&mut self) -> (f64, Counts, Counts) {
        let share = self.cell.shares.at(self.poll);
        let (per_s, rate) = self.drift();
        let psi = self.psi();
        self.poll += 1;
        let requests = per_s * POLL_S;
        let canary = self.arm(requests * share, (rate * psi).min(0.95));
        let baseline = self.arm(requests * (1.0 - share), rate.min(0.95));
        (share, canary, baseline)
    }

    fn arm(&mut self, requests: f64, rate: f64) -> Counts {
        let bad = clumped(&mut self.rng, requests * rate, self.cell.clump);
        Counts::new(bad + poisson(&mut self.rng, requests * (1.0 - rate)), bad)
    }

    /// An hour of the baseline's pods before the canary, a minute each.
    pub(crate) fn history(&mut self) -> Vec<Poll> {
        (0..60)
            .map(|minute| {
                let (per_s, rate) = self.drift();
                let each = per_s * 60.0 / PODS as f64;
                let pods = (0..PODS).map(|_| {
                    let it = self.arm(each, rate);
                    PodCounts { total: it.total, bad: it.bad }
                });
                let pods = OfPods::Counts(pods.collect());
                let at = Timestamp::from_second(60 * (minute - 60)).expect("a time");
                Poll { at, weight: None, measured: Measured::Before { seconds: 60.0, pods } }
            })
            .collect()
    }

    /// The next ten seconds of latencies.
    pub(crate) fn latencies(&mut self, slower: Slower) -> Poll {
        let share = self.cell.shares.at(self.poll);
        let (per_s, _) = self.drift();
        self.scale = 0.9 * self.scale + 0.1 * (1.0f64 - 0.81).sqrt() * normal(&mut self.rng);
        let scale = if self.cell.drift { self.scale.exp() } else { 1.0 };
        self.poll += 1;
        let requests = per_s * POLL_S;
        let canary = self.buckets(requests * share, scale, slower);
        let baseline = self.buckets(requests * (1.0 - share), scale, Slower::No);
        let measured = Measured::Histogram(Histogram { bounds: BOUNDS.to_vec(), canary, baseline });
        Poll { at: at(self.poll), weight: Some(share), measured }
    }

    fn buckets(&mut self, requests: f64, scale: f64, slower: Slower) -> Vec<u64> {
        let mut before = 1.0;
        let mut sum = 0;
        let mut cumulative = Vec::with_capacity(BOUNDS.len() + 1);
        for bound in BOUNDS {
            let beyond = beyond(bound / scale, slower);
            sum += poisson(&mut self.rng, requests * (before - beyond).max(0.0));
            before = beyond;
            cumulative.push(sum);
        }
        cumulative.push(sum + poisson(&mut self.rng, requests * before));
        cumulative
    }
}

/// When poll number `poll` (from 1) ends.
pub(crate) fn at(poll: usize) -> Timestamp {
    Timestamp::from_second(poll as i64 * POLL_S as i64).expect("a time")
}

/// The share of requests that take longer: lognormal with a median of 80 ms and a 99th percentile of 408 ms.
pub(crate) fn beyond(seconds: f64, slower: Slower) -> f64 {
    let plain = |seconds: f64| Normal::standard().sf((seconds / 0.080).ln() / 0.7);
    match slower {
        Slower::No => plain(seconds),
        Slower::All(factor) => plain(seconds / factor),
        Slower::Tail(factor) => plain(seconds).max(plain(seconds / factor).min(0.02)),
    }
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    Normal::standard().inverse_cdf(rng.random_range(1e-12..1.0))
}

/// Bad requests in clumps of geometric size with mean `clump`.
fn clumped(rng: &mut ChaCha8Rng, mean: f64, clump: f64) -> u64 {
    if clump <= 1.0 {
        return poisson(rng, mean);
    }
    let more = (1.0 - 1.0 / clump).ln();
    (0..poisson(rng, mean / clump)).map(|_| 1 + (rng.random_range(1e-12..1.0f64).ln() / more) as u64).sum()
}

/// A Poisson variate: by multiplication for small means, by Hörmann's transformed rejection for large ones.
pub(crate) fn poisson(rng: &mut ChaCha8Rng, mean: f64) -> u64 {
    if mean <= 0.0 {
        return 0;
    }
    if mean < 12.0 {
        let (limit, mut product, mut events) = ((-mean).exp(), rng.random::<f64>(), 0);
        while limit < product {
            product *= rng.random::<f64>();
            events += 1;
        }
        return events;
    }
    let (ln_mean, b) = (mean.ln(), 0.931 + 2.53 * mean.sqrt());
    let a = -0.059 + 0.02483 * b;
    let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    let quick = 0.9277 - 3.6224 / (b - 2.0);
    loop {
        let (u, v) = (rng.random::<f64>() - 0.5, rng.random::<f64>());
        let us = 0.5 - u.abs();
        let k = ((2.0 * a / us + b) * u + mean + 0.43).floor();
        if 0.07 <= us && v <= quick {
            return k as u64;
        }
        if k < 0.0 || (us < 0.013 && us < v) {
            continue;
        }
        if (v * inverse_alpha / (a / (us * us) + b)).ln() <= k * ln_mean - mean - ln_gamma(k + 1.0) {
            return k as u64;
        }
    }
}
