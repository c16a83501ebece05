//! Latency of single processes, some of which get no processor for a moment: all requests in them wait.

use analysis::{AnyJudge, Histogram, Measured, Poll, Setting, Verdict, poll::OfPods};
use jiff::Timestamp;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::traffic::{BOUNDS, POLL_S, POLLS, Shares, Slower, at, beyond, poisson};

/// Traffic of a few processes of stable and one of the canary.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) per_s: f64,
    pub(crate) shares: Shares,
    /// Processes of stable.
    pub(crate) replicas: usize,
    /// The median latency in seconds.
    pub(crate) median_s: f64,
    /// Mean time between two stalls of one process, each 50 to 200 ms long; infinite: there are none.
    pub(crate) stalls_every_s: f64,
    pub(crate) slower: Slower,
}

/// What the judge is told of stable's processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Seconds of history before the canary.
    pub(crate) before_s: f64,
    pub(crate) beside: bool,
}

impl Told {
    pub(crate) const NOTHING: Self = Self { before_s: 0.0, beside: false };
    pub(crate) const BESIDE: Self = Self { before_s: 0.0, beside: true };

    pub(crate) fn both(before_s: f64) -> Self {
        Self { before_s, beside: true }
    }
}

struct Processes {
    service: Service,
    rng: ChaCha8Rng,
}

impl Processes {
    fn stable(&mut self, per_s: f64, seconds: f64) -> Vec<Vec<u64>> {
        let each = per_s / self.service.replicas as f64;
        (0..self.service.replicas).map(|_| self.process(each, seconds, Slower::No)).collect()
    }

    /// Cumulative buckets of one process.
    fn process(&mut self, per_s: f64, seconds: f64, slower: Slower) -> Vec<u64> {
        // The curve of `beyond` has a median of 80 ms.
        let scale = self.service.median_s / 0.080;
        let mut buckets = vec![0; BOUNDS.len() + 1];
        let mut stalled_s = 0.0;
        for _ in 0..poisson(&mut self.rng, seconds / self.service.stalls_every_s) {
            let length = self.rng.random_range(0.050..0.200);
            stalled_s += length;
            for _ in 0..poisson(&mut self.rng, per_s * length) {
                let took = self.rng.random_range(0.0..length) + self.quantile(scale, slower);
                buckets[BOUNDS.iter().filter(|it| **it < took).count()] += 1;
            }
        }
        let mut before = 1.0;
        for (i, bound) in BOUNDS.iter().enumerate() {
            let beyond = beyond(bound / scale, slower);
            let share = (before - beyond).max(0.0);
            buckets[i] += poisson(&mut self.rng, per_s * (seconds - stalled_s).max(0.0) * share);
            before = beyond;
        }
        buckets[BOUNDS.len()] += poisson(&mut self.rng, per_s * seconds * before);
        let running = |sum: &mut u64, it: u64| {
            *sum += it;
            Some(*sum)
        };
        buckets.into_iter().scan(0, running).collect()
    }

    /// How long a request takes besides the wait, to the nearest bound below.
    fn quantile(&mut self, scale: f64, slower: Slower) -> f64 {
        let level = self.rng.random::<f64>();
        BOUNDS.iter().rev().copied().find(|bound| level < beyond(bound / scale, slower)).unwrap_or(0.0)
    }
}

/// Seconds until roll back in each run; `None` where there was none.
pub(crate) fn roll_backs(service: Service, told: Told, judge: &AnyJudge, runs: u64) -> Vec<Option<f64>> {
    (0..runs).map(|seed| roll_back(service, told, judge, seed)).collect()
}

fn roll_back(service: Service, told: Told, judge: &AnyJudge, seed: u64) -> Option<f64> {
    let setting =
        Setting::alone(Timestamp::UNIX_EPOCH, std::time::Duration::from_secs(POLLS as u64 * POLL_S as u64));
    let mut judging = judge.begin(setting);
    let mut run = Processes { service, rng: ChaCha8Rng::seed_from_u64(seed) };
    let of_pods = |each| OfPods::Histograms { bounds: BOUNDS.to_vec(), each };
    let window_s = if told.before_s < 600.0 { POLL_S.min(told.before_s) } else { 60.0 };
    let windows = if told.before_s == 0.0 { 0 } else { (told.before_s / window_s) as usize };
    for _ in 0..windows {
        let pods = of_pods(run.stable(service.per_s, window_s));
        let measured = Measured::Before { seconds: window_s, pods };
        judging.observe(&Poll { at: Timestamp::UNIX_EPOCH, weight: None, measured });
    }
    for number in 1..=POLLS {
        let share = service.shares.at(number - 1);
        let canary = run.process(service.per_s * share, POLL_S, service.slower);
        let each = run.stable(service.per_s * (1.0 - share), POLL_S);
        let baseline = (0..=BOUNDS.len()).map(|i| each.iter().map(|it| it[i]).sum()).collect();
        let measured = Measured::Histogram(Histogram { bounds: BOUNDS.to_vec(), canary, baseline });
        judging.observe(&Poll { at: at(number), weight: Some(share), measured });
        if judging.verdict() == Verdict::Fail {
            return Some(number as f64 * POLL_S);
        }
        if told.beside {
            let measured = Measured::Beside { seconds: POLL_S, pods: of_pods(each) };
            judging.observe(&Poll { at: at(number), weight: None, measured });
        }
    }
    None
}
