//! The guards that need no configuration: how a canary answers, and what its processes hold.

use std::time::Duration;

use analysis::{
    Answers, AnyJudge, Measured, Poll, Setting, Verdict, judge,
    poll::{Drawn, Grown},
};
use jiff::Timestamp;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::traffic::poisson;

const HOUR_S: u32 = 3600;

fn setting() -> Setting {
    Setting::alone(Timestamp::UNIX_EPOCH, Duration::from_secs(u64::from(HOUR_S)))
}

fn at(second: u32) -> Timestamp {
    Timestamp::from_second(i64::from(second)).unwrap_or(Timestamp::MAX)
}

/// Seconds until roll back within an hour, looked at every `every` seconds.
fn fails_after(judge: &AnyJudge, every: u32, mut reading: impl FnMut(u32) -> Measured) -> Option<f64> {
    let mut judging = judge.begin(setting());
    let mut looks = (every..=HOUR_S).step_by(every as usize);
    let failed = looks.find(|second| {
        judging.observe(&Poll { at: at(*second), weight: None, measured: reading(*second) });
        judging.verdict() == Verdict::Fail
    });
    failed.map(f64::from)
}

/// How a canary answers where it does not as stable does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Different {
    No,
    /// All answers are 404.
    NothingFound,
    /// One answer in ten is 404 more than of stable's.
    MoreNotFound,
    /// What stable refuses is a success.
    LetsIn,
}

/// Seconds until roll back in each run: `per_s` requests, of which the canary gets `share`. Of each hundred answers of
/// stable five are redirects, four 404 and one another refusal; all of these wander by a factor of two together, and
/// once in an hour a crawler makes three of ten answers 404 for five minutes.
pub(crate) fn answers(per_s: f64, share: f64, different: Different, runs: u64) -> Vec<Option<f64>> {
    let judge = AnyJudge::Answers(judge::Answers::default());
    let run = |seed: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut wander: f64 = 0.0;
        let crawler = rng.random_range(0..HOUR_S);
        fails_after(&judge, 1, |second| {
            wander = 0.999 * wander + rng.random_range(-0.05..0.05);
            let by = wander.clamp(-0.7, 0.7).exp();
            let crawled = if (crawler..crawler + 300).contains(&second) { 0.3 } else { 0.0 };
            let (redirect, not_found, refused) = (0.05 * by, 0.04 * by + crawled, 0.01 * by);
            let mut arm = |per_s: f64, shares: [f64; 3]| {
                let [redirect, not_found, client_error] = shares.map(|it| poisson(&mut rng, per_s * it));
                let rest = (1.0 - shares.iter().sum::<f64>()).max(0.0);
                let success = poisson(&mut rng, per_s * rest);
                Answers { success, redirect, not_found, client_error, ..Answers::default() }
            };
            let stable = arm(per_s * (1.0 - share), [redirect, not_found, refused]);
            let canary = arm(
                per_s * share,
                match different {
                    Different::No => [redirect, not_found, refused],
                    Different::NothingFound => [0.0, 1.0, 0.0],
                    Different::MoreNotFound => [redirect, not_found + 0.1, refused],
                    Different::LetsIn => [redirect, 0.0, 0.0],
                },
            );
            Measured::Answers { canary, baseline: Some(stable), drawn: Drawn::Alike }
        })
    };
    (0..runs).map(run).collect()
}

/// What a process holds over time, as a multiple of what one of stable's does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holds {
    /// In the end, without a leak.
    pub(crate) level: f64,
    /// Of it at the start.
    pub(crate) from: f64,
    /// How fast it fills: seconds until two thirds of the rest are there.
    pub(crate) tau_s: f64,
    /// Leaked per minute.
    pub(crate) leak: f64,
    /// When the leak begins.
    pub(crate) leaks_from_s: f64,
}

impl Holds {
    pub(crate) const AS_STABLE: Self =
        Self { level: 1.0, from: 1.0, tau_s: 1.0, leak: 0.0, leaks_from_s: 0.0 };
}

/// One process: it wanders, it frees what it has gathered every minute or so, and it follows the load.
struct Process {
    wander: f64,
    gathered: f64,
    last: f64,
}

impl Process {
    fn look(&mut self, rng: &mut ChaCha8Rng, holds: Holds, load: f64, second: f64) -> f64 {
        self.wander = 0.98 * self.wander + rng.random_range(-0.004..0.004);
        self.gathered += rng.random_range(0.0..0.03);
        if rng.random_range(0.0..1.0) < self.gathered {
            self.gathered = 0.0;
        }
        let filled = 1.0 - (1.0 - holds.from) * (-second / holds.tau_s).exp();
        let leaked = holds.leak * (second - holds.leaks_from_s).max(0.0) / 60.0;
        holds.level * filled * (1.0 + self.wander + self.gathered + 0.1 * load) + leaked
    }
}

/// Seconds until roll back in each run: two processes of stable, two of the canary, looked at every five seconds from
/// a minute of age on.
pub(crate) fn memory(holds: Holds, runs: u64) -> Vec<Option<f64>> {
    let judge = AnyJudge::Leak(judge::Leak::default());
    let run = |seed: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let new = |_: usize| Process { wander: 0.0, gathered: 0.0, last: f64::NAN };
        let mut stable: [Process; 2] = std::array::from_fn(new);
        let mut canary: [Process; 2] = std::array::from_fn(new);
        fails_after(&judge, 5, |second| {
            let t = f64::from(second);
            let load = (t / 600.0).sin();
            let mut arm = |processes: &mut [Process; 2], holds: Holds| {
                let (mut level, mut grown, mut number) = (0.0, 0.0, 0u32);
                for it in processes {
                    let bytes = 1e8 * it.look(&mut rng, holds, load, t);
                    let before = std::mem::replace(&mut it.last, bytes);
                    if 60 <= second && before.is_finite() {
                        (level, grown, number) = (level + bytes, grown + bytes - before, number + 1);
                    }
                }
                let of = f64::from(number.max(1));
                Grown { processes: number, level: level / of, grown: grown / of }
            };
            let stable = arm(&mut stable, Holds::AS_STABLE);
            Measured::Memory { canary: arm(&mut canary, holds), stable }
        })
    };
    (0..runs).map(run).collect()
}
