//! Fisher's non-central hypergeometric distribution: of `m` bad requests, how many are the canary's?
//!
//! With `n_c` canary and `n_b` baseline requests and odds ratio `psi`, the weight of `k` is
//! `C(n_c, k) C(n_b, m - k) psi^k`. Only ratios of neighbouring weights are used, never a factorial, so the
//! result is exact to a few ulps for any size, and the cost is a few dozen standard deviations.

/// Terms smaller than this share of the largest, which is one, no longer change the sum.
const NEGLIGIBLE: f64 = 1e-18;

/// How many requests each arm had and how many of all of them were bad.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Margins {
    /// Requests of the canary.
    pub canary: u64,
    /// Requests of the baseline.
    pub baseline: u64,
    /// Bad requests of both, at most `canary + baseline`.
    pub bad: u64,
}

impl Margins {
    /// The fewest and the most bad requests the canary can have.
    pub fn support(self) -> (u64, u64) {
        (self.bad.saturating_sub(self.baseline), self.canary.min(self.bad))
    }

    /// The most probable number of bad canary requests when their odds are `psi`.
    pub fn mode(self, psi: f64) -> u64 {
        let (least, most) = self.support();
        let (n, m) = (self.canary as f64, self.bad as f64);
        let a = psi - 1.0;
        let b = (m + n + 2.0) * psi + self.baseline as f64 - m;
        let c = psi * (n + 1.0) * (m + 1.0);
        let root = 2.0 * c / (b + (b * b - 4.0 * a * c).max(0.0).sqrt());
        (root as u64).clamp(least, most)
    }

    /// Weight of `k + 1` divided by weight of `k` at `psi = 1`.
    #[inline]
    fn step(self, k: f64) -> f64 {
        let (n, m) = (self.canary as f64, self.bad as f64);
        (n - k) * (m - k) / ((k + 1.0) * (self.baseline as f64 - m + k + 1.0))
    }
}

/// Evaluates `ln Z(psi)` for several odds ratios of one stratum, `Z(psi) = sum_k h(k) psi^k / sum_k h(k)`.
///
/// Cheapest when asked for rising odds ratios: each answer starts where the last one ended.
#[derive(Clone, Debug)]
pub struct Partition {
    margins: Margins,
    /// The fewest bad requests the canary can have: the origin of the indices below.
    least: u64,
    /// Weight of `least + i + 1` divided by that of `least + i`, and its inverse: divisions are done once.
    up: Vec<f64>,
    down: Vec<f64>,
    /// Logarithm of `sum_k h(k) / h(origin)`, where `origin` is the mode at `psi = 1`.
    ln_whole: f64,
    /// Where the last answer was centred, and `ln h(at) - ln h(origin)`.
    at: usize,
    ln_weight: f64,
}

impl Partition {
    /// Prepares one stratum. Its memory is that of the support.
    pub fn new(margins: Margins) -> Self {
        let (least, most) = margins.support();
        let up: Vec<f64> = (least..most).map(|k| margins.step(k as f64)).collect();
        let down = up.iter().map(|it| 1.0 / it).collect();
        let at = (margins.mode(1.0) - least) as usize;
        let mut partition = Self { margins, least, up, down, ln_whole: 0.0, at, ln_weight: 0.0 };
        partition.ln_whole = partition.sum(1.0).ln();
        partition
    }

    /// `ln Z(psi)` for `psi > 0`; zero at `psi = 1`.
    pub fn ln_z(&mut self, psi: f64) -> f64 {
        self.move_to((self.margins.mode(psi) - self.least) as usize);
        let at = self.at as f64 + self.least as f64;
        at * psi.ln() + self.ln_weight + self.sum(psi).ln() - self.ln_whole
    }

    /// Carries `ln_weight` from one centre to another; products are folded into logarithms before they overflow.
    fn move_to(&mut self, to: usize) {
        if self.at == to {
            return;
        }
        let steps = if self.at < to { &self.up[self.at..to] } else { &self.down[to..self.at] };
        let mut product = 1.0f64;
        for step in steps {
            product *= step;
            if !(1e-200..1e200).contains(&product) {
                self.ln_weight += product.ln();
                product = 1.0;
            }
        }
        self.ln_weight += product.ln();
        self.at = to;
    }

    /// `sum_k h(k) psi^(k - at) / h(at)`, outwards from the centre.
    fn sum(&self, psi: f64) -> f64 {
        let inverse = 1.0 / psi;
        let upwards = tail(self.up[self.at..].iter().map(|step| step * psi));
        let downwards = tail(self.down[..self.at].iter().rev().map(|step| step * inverse));
        1.0 + upwards + downwards
    }
}

/// `r1 + r1 r2 + r1 r2 r3 + …` of falling ratios, until terms no longer matter.
fn tail(ratios: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut term) = (0.0, 1.0);
    for ratio in ratios {
        term *= ratio;
        sum += term;
        if term < NEGLIGIBLE {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_possible_split_weighs_its_power() {
        let mut only = Partition::new(Margins { canary: 5, baseline: 5, bad: 10 });
        assert!((only.ln_z(2.0) - 5.0 * 2f64.ln()).abs() < 1e-14);
    }

    #[test]
    fn a_single_bad_request_is_a_bernoulli_trial() {
        let mut one = Partition::new(Margins { canary: 50, baseline: 450, bad: 1 });
        assert!((one.ln_z(3.0) - (0.1f64 * 2.0).ln_1p()).abs() < 1e-14);
    }

    #[test]
    fn order_of_asking_does_not_matter() {
        let margins = Margins { canary: 900, baseline: 1100, bad: 700 };
        let mut rising = Partition::new(margins);
        let mut falling = Partition::new(margins);
        let up: Vec<f64> = [0.5, 1.0, 2.0, 30.0].map(|psi| rising.ln_z(psi)).to_vec();
        let mut down: Vec<f64> = [30.0, 2.0, 1.0, 0.5].map(|psi| falling.ln_z(psi)).to_vec();
        down.reverse();
        for (a, b) in up.iter().zip(&down) {
            assert!((a - b).abs() < 1e-10, "{a} {b}");
        }
    }

    #[test]
    fn the_mode_is_the_largest_weight() {
        for (canary, baseline, bad) in [(5, 5, 10), (50, 450, 210), (1, 9, 1), (500, 4500, 52), (3, 0, 2)] {
            let margins = Margins { canary, baseline, bad };
            for psi in [0.5, 1.0, 2.0, 30.0] {
                let mode = margins.mode(psi);
                let (least, most) = margins.support();
                assert!(mode == most || margins.step(mode as f64) * psi <= 1.0 + 1e-12);
                assert!(mode == least || 1.0 - 1e-12 <= margins.step(mode as f64 - 1.0) * psi);
            }
        }
    }
}
