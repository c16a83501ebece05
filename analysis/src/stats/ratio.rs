//! How much worse is it? An estimate of the ratio, and an interval that holds at every moment at once.

use serde::{Deserialize, Serialize};

use super::{
    increment::{self, Stratum},
    log,
    prior::Prior,
};

/// Strata kept for the interval. When there are more, neighbours of the same weight are merged.
const KEPT: usize = 192;

/// Ratios beyond this are reported as this.
pub const FARTHEST: f64 = 1e4;

/// What was counted in one stratum, compact because many are kept.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Kept(u64, u64, u64, u64);

impl Kept {
    fn stratum(self) -> Stratum {
        Stratum { canary_total: self.0, canary_bad: self.1, baseline_total: self.2, baseline_bad: self.3 }
    }

    fn merged(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1, self.2 + other.2, self.3 + other.3)
    }

    /// Whether merging loses nothing: the canary had the same share of requests, give or take a tenth.
    fn alike(self, other: Self) -> bool {
        let (a, b) = (self.stratum().share(), other.stratum().share());
        (a - b).abs() <= 0.1 * a.max(b)
    }
}

/// What is remembered of all strata, bounded in size.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Strata {
    kept: Vec<Kept>,
    /// The grid index of the newest entry, and how many grid strata one entry may span.
    newest: u32,
    span: u32,
    /// The share asked for in the newest entry.
    asked: Option<f64>,
    /// Mantel–Haenszel sums: `x_c n_b / N` and `x_b n_c / N`.
    canary_weighted: f64,
    baseline_weighted: f64,
}

impl Strata {
    /// Adds a poll that belongs to grid stratum `index`, which never falls; `asked` is the share of requests asked
    /// for the canary. Polls of one grid stratum are kept as one, unless the share changed.
    pub fn add(&mut self, index: u32, poll: Stratum, asked: Option<f64>) {
        if poll.total() == 0 {
            return;
        }
        let whole = poll.total() as f64;
        self.canary_weighted += poll.canary_bad as f64 * poll.baseline_total as f64 / whole;
        self.baseline_weighted += poll.baseline_bad as f64 * poll.canary_total as f64 / whole;
        let span = self.span.max(1);
        let entry = Kept(poll.canary_total, poll.canary_bad, poll.baseline_total, poll.baseline_bad);
        if let Some(last) = self.kept.last_mut()
            && index / span == self.newest / span
            && self.asked == asked
        {
            *last = last.merged(entry);
        } else {
            self.kept.push(entry);
        }
        self.newest = index;
        self.asked = asked;
        if KEPT < self.kept.len() {
            self.coarsen();
        }
    }

    fn coarsen(&mut self) {
        self.span = 2 * self.span.max(1);
        let before = self.kept.len();
        merge_pairs(&mut self.kept, Kept::alike);
        if before - before / 8 < self.kept.len() {
            merge_pairs(&mut self.kept, |_, _| true);
        }
    }

    /// The Mantel–Haenszel ratio of the rates of bad requests, canary to baseline. `None` before any bad request;
    /// at most 10,000, which also stands for a baseline without bad requests.
    pub fn estimate(&self) -> Option<f64> {
        let (canary, baseline) = (self.canary_weighted, self.baseline_weighted);
        if canary == 0.0 && baseline == 0.0 {
            return None;
        }
        Some(if baseline == 0.0 { FARTHEST } else { (canary / baseline).min(FARTHEST) })
    }

    /// An interval that covers the true odds ratio at every moment with probability `1 - alpha`; each side has
    /// half of it. `0` and 10,000 stand for "no limit found".
    pub fn interval(&self, alpha: f64, tempering: f64) -> (f64, f64) {
        let needed = (2.0 / alpha).ln();
        let worse = Prior::errors_of_any_size();
        let better = Prior::new(
            worse.psi.iter().rev().map(|psi| 1.0 / psi).collect(),
            &worse.ln_share.iter().rev().map(|share| share.exp()).collect::<Vec<f64>>(),
        );
        // Against a small ratio the evidence for "worse" is large, against a large one it is small.
        let refuted_below = |psi: f64| needed <= self.ln_e(psi, &worse, tempering);
        let refuted_above = |psi: f64| needed <= self.ln_e(psi, &better, tempering);
        let low = if refuted_below(1.0 / FARTHEST) { bisect(|psi| !refuted_below(psi)) } else { 0.0 };
        let high = if refuted_above(FARTHEST) { bisect(refuted_above) } else { FARTHEST };
        (low, high)
    }

    fn ln_e(&self, psi0: f64, prior: &Prior, tempering: f64) -> f64 {
        let psi: Vec<f64> = prior.psi.iter().map(|it| it * psi0).collect();
        let mut sums = vec![0.0; psi.len()];
        for kept in &self.kept {
            increment::each(kept.stratum(), psi0, &psi, |i, it| sums[i] += tempering * it);
        }
        log::sum_exp(sums.iter().zip(&prior.ln_share).map(|(sum, share)| sum + share))
    }
}

/// The ratio at which `upper` becomes true, which it is for all larger ones, within 0.1 %.
fn bisect(upper: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = ((1.0 / FARTHEST).ln(), FARTHEST.ln());
    while 1e-3 < high - low {
        let middle = f64::midpoint(low, high);
        if upper(middle.exp()) { high = middle } else { low = middle }
    }
    f64::midpoint(low, high).exp()
}

fn merge_pairs(kept: &mut Vec<Kept>, may: impl Fn(Kept, Kept) -> bool) {
    let mut merged: Vec<Kept> = Vec::with_capacity(kept.len());
    let mut pair_open = false;
    for it in kept.drain(..) {
        match merged.last_mut() {
            Some(last) if pair_open && may(*last, it) => {
                *last = last.merged(it);
                pair_open = false;
            }
            Some(_) | None => {
                merged.push(it);
                pair_open = true;
            }
        }
    }
    *kept = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(strata: u32, canary_bad: u64, baseline_bad: u64) -> Strata {
        let mut it = Strata::default();
        for index in 0..strata {
            it.add(
                index,
                Stratum { canary_total: 500, canary_bad, baseline_total: 4500, baseline_bad },
                None,
            );
        }
        it
    }

    #[test]
    fn the_estimate_is_the_ratio_of_rates() {
        assert!((steady(60, 5, 9).estimate().unwrap() - 5.0).abs() < 1e-9);
        assert_eq!(steady(60, 0, 9).estimate(), Some(0.0));
        assert_eq!(steady(60, 5, 0).estimate(), Some(FARTHEST));
        assert_eq!(steady(60, 0, 0).estimate(), None);
    }

    #[test]
    fn the_interval_holds_the_truth_and_narrows() {
        let (short, long) = (steady(10, 5, 9), steady(600, 5, 9));
        let (a, b) = (short.interval(0.05, 1.0), long.interval(0.05, 1.0));
        assert!(a.0 < 5.0 && 5.0 < a.1, "{a:?}");
        assert!(a.0 < b.0 && b.0 < 5.0 && 5.0 < b.1 && b.1 < a.1, "{b:?}");
    }

    #[test]
    fn memory_is_bounded_and_forgets_no_count() {
        let mut it = Strata::default();
        for index in 0..100_000u32 {
            let canary_total = if index % 3 == 0 { 500 } else { 50 };
            it.add(
                index,
                Stratum { canary_total, canary_bad: 1, baseline_total: 4500, baseline_bad: 1 },
                None,
            );
        }
        assert!(it.kept.len() <= KEPT);
        assert_eq!(it.kept.iter().map(|kept| kept.1).sum::<u64>(), 100_000);
    }
}
