//! Dispersion: do bad requests come one by one, or in clumps?
//!
//! Retry storms and a single bad pod make errors arrive in clumps within one arm, which a test of single
//! requests takes for evidence. How clumped they are is measured on the baseline's pods before the canary, and
//! the evidence is divided by it (`E^(1/phi)` is again an e-process by Jensen's inequality; for clumped counts
//! the division is approximate, hence the safety factor).

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// A window is closed once it is this long and its pods have enough bad requests on average.
const WINDOW_S: f64 = 60.0;

/// Bad requests per pod that a window needs on average.
const ENOUGH_PER_POD: f64 = 5.0;

/// The longest window: one that never gets enough bad requests says so by being ignored.
const LONGEST_WINDOW_S: f64 = 3600.0;

/// History from which on the estimate is taken as it is; below it, its upper 90 % limit.
pub(super) const LONG_HISTORY_S: f64 = 3600.0;

/// Up to this value evidence is not divided.
const NEGLIGIBLE: f64 = 1.15;

/// How much more than the estimate evidence is divided by.
const SAFETY: f64 = 1.2;

/// Above this value single requests say nothing; polls are compared as wholes instead.
pub const TOO_CLUMPED: f64 = 20.0;

/// Requests and bad requests of one pod.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct PodCounts {
    /// Requests.
    pub total: u64,
    /// Bad requests.
    pub bad: u64,
}

/// `sum (x - e)^2 / e` over pods of windows, divided by the degrees of freedom, where `e` is what the pod would
/// have at the window's common rate.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Dispersion {
    squares: f64,
    freedom: f64,
    history_s: f64,
    window_s: f64,
    window: Vec<PodCounts>,
}

impl Dispersion {
    /// Adds `seconds` of counts, one entry per pod of the baseline, always in the same order. A window in which
    /// the number of pods changes is dropped.
    pub fn add(&mut self, seconds: f64, pods: &[PodCounts]) {
        self.history_s += seconds;
        if self.window.len() != pods.len() {
            self.window = vec![PodCounts::default(); pods.len()];
            self.window_s = 0.0;
        }
        self.window_s += seconds;
        for (sum, pod) in self.window.iter_mut().zip(pods) {
            sum.total += pod.total;
            sum.bad += pod.bad;
        }
        let bad: u64 = self.window.iter().map(|pod| pod.bad).sum();
        let enough = ENOUGH_PER_POD * self.window.len() as f64 <= bad as f64;
        if (WINDOW_S <= self.window_s && enough) || LONGEST_WINDOW_S <= self.window_s {
            self.close_window();
        }
    }

    fn close_window(&mut self) {
        let (squares, freedom) = squares(&self.window);
        self.squares += squares;
        self.freedom += freedom;
        self.window_s = 0.0;
        self.window.fill(PodCounts::default());
    }

    /// The estimate by itself, however little it rests on. `None`: nothing is known.
    pub fn estimate(&self) -> Option<f64> {
        let (squares, freedom) = self.so_far();
        (1.0 <= freedom).then(|| squares / freedom)
    }

    /// The dispersion to reckon with: the estimate after an hour of history, its upper 90 % limit before.
    /// `None`: nothing is known, because there is no history or it had too few bad requests.
    pub fn phi(&self) -> Option<f64> {
        let (squares, freedom) = self.so_far();
        if freedom < 1.0 {
            return None;
        }
        if LONG_HISTORY_S <= self.history_s {
            return Some(squares / freedom);
        }
        let tenth = ChiSquared::new(freedom).ok()?.inverse_cdf(0.1);
        Some(squares / tenth)
    }
}

impl Dispersion {
    /// The sum of squares and its degrees of freedom. A last window that is too short to close still counts while
    /// there is no other.
    fn so_far(&self) -> (f64, f64) {
        if self.freedom != 0.0 {
            return (self.squares, self.freedom);
        }
        let bad: u64 = self.window.iter().map(|pod| pod.bad).sum();
        if (bad as f64) < ENOUGH_PER_POD * self.window.len() as f64 {
            (0.0, 0.0)
        } else {
            squares(&self.window)
        }
    }
}

fn squares(pods: &[PodCounts]) -> (f64, f64) {
    let total: u64 = pods.iter().map(|pod| pod.total).sum();
    let bad: u64 = pods.iter().map(|pod| pod.bad).sum();
    let busy = pods.iter().filter(|pod| pod.total != 0).count();
    if bad == 0 || busy < 2 {
        return (0.0, 0.0);
    }
    let rate = bad as f64 / total as f64;
    let squares = pods.iter().filter(|pod| pod.total != 0).map(|pod| {
        let expected = pod.total as f64 * rate;
        (pod.bad as f64 - expected).powi(2) / expected
    });
    (squares.sum(), busy as f64 - 1.0)
}

/// What an increment is multiplied with for the dispersion `phi`: 1 while it is negligible, else `1 / (1.2 phi)`.
pub fn tempering(phi: f64) -> f64 {
    if phi <= NEGLIGIBLE { 1.0 } else { 1.0 / (SAFETY * phi) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(bad: [u64; 4]) -> Vec<PodCounts> {
        bad.map(|bad| PodCounts { total: 1000, bad }).to_vec()
    }

    #[test]
    fn no_history_is_unknown() {
        assert_eq!(Dispersion::default().phi(), None);
        let mut quiet = Dispersion::default();
        quiet.add(60.0, &pods([0, 0, 1, 0]));
        assert_eq!(quiet.phi(), None);
    }

    #[test]
    fn even_pods_are_not_dispersed_and_one_bad_pod_is() {
        let mut even = Dispersion::default();
        let mut uneven = Dispersion::default();
        for _ in 0..60 {
            even.add(60.0, &pods([9, 11, 12, 8]));
            uneven.add(60.0, &pods([0, 40, 0, 0]));
        }
        assert!(even.phi().unwrap() < 1.0);
        assert_eq!(uneven.phi().unwrap(), 40.0);
    }

    #[test]
    fn short_history_takes_the_upper_limit() {
        let mut short = Dispersion::default();
        short.add(60.0, &pods([9, 11, 15, 5]));
        let estimate = squares(&pods([9, 11, 15, 5])).0 / 3.0;
        assert!(estimate * 2.0 < short.phi().unwrap());
    }

    #[test]
    fn windows_grow_until_they_have_enough_bad_requests() {
        let mut sparse = Dispersion::default();
        for _ in 0..12 {
            sparse.add(60.0, &pods([1, 1, 1, 1]));
        }
        assert_eq!(sparse.freedom, 6.0);
    }

    #[test]
    fn tempering_starts_above_fifteen_per_cent() {
        assert_eq!(tempering(1.15), 1.0);
        assert!((tempering(2.0) - 1.0 / 2.4).abs() < 1e-12);
    }
}
