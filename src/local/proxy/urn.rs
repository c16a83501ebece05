//! Draws arms so that every block of requests has its exact share, at random positions.
//!
//! A counter ("every 100th") aliases with periodic clients, independent draws leave the share to chance. An urn
//! does neither: each block is filled with the exact number of balls per arm and drawn empty without
//! replacement. Source: urn (permuted-block) randomisation.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::config::WHOLE;

/// Smallest block: with fewer, the last draws of each block could be guessed.
const LEAST_BLOCK: u32 = 100;
/// Largest block: weights finer than this are exact over several blocks.
const MOST_BLOCK: u32 = 1000;

/// Draws indices `0 .. weights.len()` in proportion to weights.
pub(super) struct Urn {
    weights: Vec<u32>,
    block: u32,
    left: Vec<u32>,
    total_left: u32,
    /// Parts per million of a ball that each arm is still owed from earlier blocks.
    owed: Vec<i64>,
    random: ChaCha8Rng,
}

impl Urn {
    /// An urn over parts per million that sum to 1,000,000; the same seed draws the same sequence.
    pub(super) fn new(weights: Vec<u32>, seed: u64) -> Self {
        let block = block_size(&weights);
        let owed = vec![0; weights.len()];
        let left = vec![0; weights.len()];
        Self { weights, block, left, total_left: 0, owed, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Whether the first of two was drawn: a coin with an exact share.
    pub(super) fn flip(&mut self) -> bool {
        self.draw() == Some(0)
    }

    /// What it draws from.
    pub(super) fn weights(&self) -> &[u32] {
        &self.weights
    }

    /// The next arm; `None` only when no arm has weight.
    pub(super) fn draw(&mut self) -> Option<usize> {
        if self.total_left == 0 {
            self.fill();
            if self.total_left == 0 {
                return None;
            }
        }
        let mut ball = self.random.random_range(0..self.total_left);
        for (arm, left) in self.left.iter_mut().enumerate() {
            if ball < *left {
                *left -= 1;
                self.total_left -= 1;
                return Some(arm);
            }
            ball -= *left;
        }
        None
    }

    /// A number `0 .. below`, from the same source; 0 when `below` is 0.
    pub(super) fn random_below(&mut self, below: u32) -> u32 {
        if below == 0 { 0 } else { self.random.random_range(0..below) }
    }

    /// Fills one block: whole balls first, then one each to those owed most, until the block is full.
    fn fill(&mut self) {
        let whole = i64::from(WHOLE);
        let mut filled = 0;
        for ((left, owed), weight) in self.left.iter_mut().zip(&mut self.owed).zip(&self.weights) {
            *owed += i64::from(self.block) * i64::from(*weight);
            let balls = (*owed / whole).max(0);
            *owed -= balls * whole;
            *left = u32::try_from(balls).unwrap_or(0);
            filled += *left;
        }
        while filled < self.block {
            let most = (0..self.weights.len())
                .filter(|&arm| self.weights[arm] > 0)
                .max_by_key(|&arm| self.owed[arm]);
            let Some(arm) = most else { break };
            self.left[arm] += 1;
            self.owed[arm] -= whole;
            filled += 1;
        }
        self.total_left = filled;
    }
}

/// The least multiple of the smallest exact block that is not too small, or [`MOST_BLOCK`] if that is too fine.
fn block_size(weights: &[u32]) -> u32 {
    let gcd = weights.iter().fold(WHOLE, |a, &b| gcd(a, b));
    let exact = WHOLE / gcd.max(1);
    if exact > MOST_BLOCK { MOST_BLOCK } else { exact * LEAST_BLOCK.div_ceil(exact) }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draws(weights: &[u32], seed: u64, n: usize) -> Vec<usize> {
        let mut urn = Urn::new(weights.to_vec(), seed);
        (0..n).map(|_| urn.draw().unwrap()).collect()
    }

    #[test]
    fn one_percent_of_ten_thousand_is_one_hundred() {
        for seed in 0..50 {
            let canary = draws(&[10_000, 990_000], seed, 10_000).iter().filter(|&&arm| arm == 0).count();
            assert_eq!(canary, 100);
        }
    }

    #[test]
    fn it_is_never_every_hundredth() {
        let positions: Vec<usize> = draws(&[10_000, 990_000], 1, 10_000)
            .iter()
            .enumerate()
            .filter(|&(_, &arm)| arm == 0)
            .map(|(at, _)| at % 100)
            .collect();
        let distinct: std::collections::BTreeSet<_> = positions.iter().collect();
        assert!(distinct.len() > 50, "positions within the block repeat: {distinct:?}");
    }

    #[test]
    fn every_position_of_a_block_is_equally_likely() {
        let mut seen = [0u32; 100];
        for (at, arm) in draws(&[10_000, 990_000], 3, 2_000_000).into_iter().enumerate() {
            if arm == 0 {
                seen[at % 100] += 1;
            }
        }
        let chi2: f64 = seen.iter().map(|&n| (f64::from(n) - 200.0).powi(2) / 200.0).sum();
        assert!(chi2 < 160.0, "chi-squared with 99 degrees of freedom: {chi2}");
    }

    #[test]
    fn the_same_seed_draws_the_same_sequence_and_another_does_not() {
        assert_eq!(draws(&[500_000, 500_000], 9, 500), draws(&[500_000, 500_000], 9, 500));
        assert_ne!(draws(&[500_000, 500_000], 9, 500), draws(&[500_000, 500_000], 10, 500));
    }

    #[test]
    fn no_weight_draws_nothing() {
        assert_eq!(Urn::new(vec![0, 0], 1).draw(), None);
        assert_eq!(Urn::new(vec![], 1).draw(), None);
    }

    proptest! {
        #[test]
        fn any_share_is_exact_to_one_per_block(canary in 0..=WHOLE, third in 0..=WHOLE, seed: u64) {
            let third = third.min(WHOLE - canary);
            let weights = [canary, third, WHOLE - canary - third];
            // Whole blocks: within one the order is random, and so is what has been drawn of it.
            let block = usize::try_from(block_size(&weights)).unwrap();
            let n = block * 20_000_usize.div_ceil(block);
            let drawn = draws(&weights, seed, n);
            for (arm, &weight) in weights.iter().enumerate() {
                let got = drawn.iter().filter(|&&a| a == arm).count() as f64;
                let want = n as f64 * f64::from(weight) / f64::from(WHOLE);
                prop_assert!((got - want).abs() <= 2.0, "arm {arm}: {got} of {want}");
                prop_assert!(weight > 0 || got == 0.0);
            }
        }
    }
}
