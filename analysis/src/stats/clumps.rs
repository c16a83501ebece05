//! How clumped slow (or bad) requests are on single pods, learned before the canary and beside it.
//!
//! A process that gets no processor for a tenth of a second makes all requests slow that are in it: they come in
//! clumps, and a test of single requests takes a clump for as many witnesses. Only the baseline's own pods are
//! looked at, and what they show divides the evidence of later polls only: a divisor that is known before the poll
//! it is used for keeps `E` an e-process.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::dispersion::{LONG_HISTORY_S, PodCounts};

/// A window is closed once it is this long and its pods have enough requests of both kinds on average.
const WINDOW_S: f64 = 10.0;

/// Bad requests, and others, that a window needs per pod on average.
const ENOUGH_PER_POD: f64 = 5.0;

/// Pods that are looked at beside the canary: as many as a few minutes need for a good estimate.
const PODS: usize = 8;

/// The probability of calling even pods uneven.
const BY_CHANCE: f64 = 0.05;

/// `sum (x - e)^2 / (e (1 - rate))` over pods of closed windows, where `e` is what the pod would have at the
/// window's common rate, with the degrees of freedom.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Windows {
    squares: f64,
    freedom: f64,
    /// Length of everything added.
    seconds: f64,
    /// The window that is open: its length, and total and bad requests per pod.
    #[serde(default, skip_serializing_if = "is_zero")]
    open_s: f64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    open: Vec<(u64, u64)>,
}

fn is_zero(it: &f64) -> bool {
    *it == 0.0
}

impl Windows {
    /// Adds `seconds` of counts, one entry per pod, always in the same order, and says whether a window closed.
    /// One in which the number of pods changes is dropped.
    pub fn add(&mut self, seconds: f64, pods: impl ExactSizeIterator<Item = PodCounts>) -> bool {
        self.seconds += seconds;
        if self.open.len() != pods.len() {
            self.open = vec![(0, 0); pods.len()];
            self.open_s = 0.0;
        }
        self.open_s += seconds;
        let (mut total, mut bad) = (0, 0);
        for (sum, pod) in self.open.iter_mut().zip(pods) {
            *sum = (sum.0 + pod.total, sum.1 + pod.bad);
            (total, bad) = (total + sum.0, bad + sum.1);
        }
        let closes = WINDOW_S <= self.open_s && self.enough(total, bad);
        if closes {
            self.close(total, bad);
        }
        closes
    }

    /// The same, of the first few pods only.
    pub fn add_some(&mut self, seconds: f64, pods: impl ExactSizeIterator<Item = PodCounts>) -> bool {
        self.add(seconds, pods.take(PODS))
    }

    fn enough(&self, total: u64, bad: u64) -> bool {
        let rarer = bad.min(total.saturating_sub(bad));
        !self.open.is_empty() && ENOUGH_PER_POD * self.open.len() as f64 <= rarer as f64
    }

    fn close(&mut self, total: u64, bad: u64) {
        let rate = bad as f64 / total as f64;
        let busy = self.open.iter().filter(|it| it.0 != 0);
        let mut pods = 0.0;
        for (total, bad) in busy {
            let expected = *total as f64 * rate;
            self.squares += (*bad as f64 - expected).powi(2) / (expected * (1.0 - rate));
            pods += 1.0;
        }
        self.freedom += pods - 1.0;
        self.open_s = 0.0;
        self.open.fill((0, 0));
    }

    /// Nothing more comes: a last window counts although it is short, if it has enough; else it is dropped.
    fn finish(&mut self) {
        let sum = |of: fn(&(u64, u64)) -> u64| self.open.iter().map(of).sum::<u64>();
        let (total, bad) = (sum(|it| it.0), sum(|it| it.1));
        if self.freedom == 0.0 && self.enough(total, bad) {
            self.close(total, bad);
        }
        (self.open_s, self.open) = (0.0, Vec::new());
    }

    /// The plain estimate, where chance alone would hardly make pods so uneven; 1 where it would. `None`: nothing
    /// is known yet.
    pub fn shown(&self) -> Option<f64> {
        shown(self.squares, self.freedom).map(|uneven| if uneven { self.squares / self.freedom } else { 1.0 })
    }
}

/// Whether chance alone would hardly make pods so uneven.
fn shown(squares: f64, freedom: f64) -> Option<bool> {
    let even = ChiSquared::new(freedom).ok().filter(|_| 1.0 <= freedom)?;
    Some(freedom < squares && even.sf(squares) <= BY_CHANCE)
}

/// What the baseline's pods showed before the canary, and beside it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Clumps {
    before: Windows,
    beside: Windows,
}

impl Clumps {
    /// Adds counts from before the canary.
    pub fn before(&mut self, seconds: f64, pods: impl ExactSizeIterator<Item = PodCounts>) {
        self.before.add(seconds, pods);
    }

    /// The canary gets requests from now on.
    pub fn begin(&mut self) {
        self.before.finish();
    }

    /// Adds counts from beside the canary; says whether more is known now.
    pub fn beside(&mut self, seconds: f64, pods: impl ExactSizeIterator<Item = PodCounts>) -> bool {
        self.beside.add_some(seconds, pods)
    }

    /// The dispersion to reckon with; `None`: nothing is known.
    ///
    /// An hour before the canary gives an estimate, which the pods beside it may raise. Less than that is taken
    /// together with what is seen beside: the upper 90 % limit of both if pods are more uneven than by chance. Even
    /// pods cost nothing.
    pub fn phi(&self) -> Option<f64> {
        let (before, beside) = (&self.before, &self.beside);
        if LONG_HISTORY_S <= before.seconds && 1.0 <= before.freedom {
            let estimate = before.squares / before.freedom;
            return Some(beside.shown().map_or(estimate, |it| it.max(estimate)));
        }
        let (squares, freedom) = (before.squares + beside.squares, before.freedom + beside.freedom);
        match shown(squares, freedom)? {
            false => Some(1.0),
            true if LONG_HISTORY_S <= before.seconds + beside.seconds => Some(squares / freedom),
            true => Some(squares / ChiSquared::new(freedom).ok()?.inverse_cdf(0.1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(bad: &[u64]) -> impl ExactSizeIterator<Item = PodCounts> {
        bad.iter().map(|bad| PodCounts { total: 1000, bad: *bad })
    }

    /// Even pods, as far as Poisson counts are even.
    const EVEN: [[u64; 2]; 4] = [[55, 45], [48, 52], [60, 45], [50, 47]];

    #[test]
    fn nothing_is_known_without_windows_or_of_one_pod_alone() {
        assert_eq!(Clumps::default().phi(), None);
        let mut alone = Clumps::default();
        (0..60).for_each(|_| alone.before(60.0, pods(&[100])));
        alone.begin();
        assert_eq!(alone.phi(), None);
    }

    #[test]
    fn even_pods_cost_nothing_however_short_they_were_watched() {
        let mut it = Clumps::default();
        it.before(5.0, pods(&EVEN[0]));
        it.begin();
        assert_eq!(it.phi(), Some(1.0));
        for _ in 0..9 {
            for bad in &EVEN {
                it.beside(10.0, pods(bad));
            }
            assert_eq!(it.phi(), Some(1.0));
        }
    }

    #[test]
    fn uneven_pods_count_with_what_a_short_look_may_have_missed() {
        let mut it = Clumps::default();
        it.before(5.0, pods(&[100, 10]));
        it.begin();
        let squares = 2.0 * 45.0f64.powi(2) / (55.0 * (1.0 - 0.055));
        assert!(30.0 * squares < it.phi().unwrap());
        for _ in 0..60 {
            it.beside(10.0, pods(&[100, 10]));
        }
        let phi = it.phi().unwrap();
        assert!(squares < phi && phi < 1.35 * squares, "{phi} {squares}");
    }

    #[test]
    fn a_long_history_is_an_estimate_that_the_pods_beside_may_raise_and_never_lower() {
        let mut it = Clumps::default();
        (0..60).for_each(|_| it.before(60.0, pods(&[70, 40])));
        it.begin();
        let estimate = 2.0 * 15.0f64.powi(2) / (55.0 * (1.0 - 0.055));
        assert!((it.phi().unwrap() - estimate).abs() < 1e-9);
        it.beside(10.0, pods(&EVEN[0]));
        assert!((it.phi().unwrap() - estimate).abs() < 1e-9);
        it.beside(10.0, pods(&[150, 10]));
        assert!(2.0 * estimate < it.phi().unwrap());
    }

    #[test]
    fn windows_grow_until_they_have_enough_of_both_kinds() {
        let mut rare = Windows::default();
        let closed = |it: &mut Windows, bad: &[u64]| (0..6).filter(|_| it.add(10.0, pods(bad))).count();
        assert_eq!(closed(&mut rare, &[1, 2]), 1);
        assert_eq!(closed(&mut Windows::default(), &[999, 998]), 1);
        assert_eq!(closed(&mut Windows::default(), &[5, 5]), 6);
    }

    #[test]
    fn a_window_in_which_pods_come_or_go_is_dropped() {
        let mut it = Windows::default();
        it.add(9.0, pods(&[100, 0]));
        assert!(!it.add(9.0, pods(&[10, 10, 10])));
        assert!(it.add(1.0, pods(&[10, 10, 10])));
        assert_eq!(it.shown(), Some(1.0));
    }

    #[test]
    fn a_share_near_one_is_judged_as_one_near_zero() {
        let (mut few, mut most) = (Windows::default(), Windows::default());
        few.add(10.0, pods(&[20, 50]));
        most.add(10.0, pods(&[980, 950]));
        assert!((few.squares - most.squares).abs() < 1e-9);
    }
}
