//! Mixtures of e-processes: over how much worse the canary is, and over when it began to be.

use serde::{Deserialize, Serialize};

use super::log;

/// The share of the bet placed on "worse from the start".
const AT_START: f64 = 0.8;

/// How the bet on *when* is divided: 0.8 on the first stratum, the rest evenly on the other planned ones.
///
/// The more strata are planned, the less each late start gets: the price of a late onset is the logarithm of
/// their number.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Starts {
    planned: u32,
}

impl Starts {
    /// Restarts at each of `planned` strata.
    pub fn planned(planned: u32) -> Self {
        Self { planned: planned.max(1) }
    }

    /// One start, at the beginning.
    pub fn once() -> Self {
        Self { planned: 1 }
    }

    /// The bet placed when `stratum` (from 0) begins; zero beyond the plan.
    pub fn share(self, stratum: u32) -> f64 {
        match (stratum, self.planned) {
            (0, 1) => 1.0,
            (0, _) => AT_START,
            (at, planned) if at < planned => (1.0 - AT_START) / f64::from(planned - 1),
            (_, _) => 0.0,
        }
    }

    fn share_between(self, after: Option<u32>, upto: u32) -> f64 {
        match after {
            None => self.share(0) + f64::from(upto.min(self.planned - 1)) * self.late(),
            Some(after) => f64::from(upto.min(self.planned - 1).saturating_sub(after)) * self.late(),
        }
    }

    fn late(self) -> f64 {
        if self.planned < 2 { 0.0 } else { (1.0 - AT_START) / f64::from(self.planned - 1) }
    }
}

/// The bets on each alternative, started at one stratum after the other (the e-detector idea of Shin, Ramdas,
/// Rinaldo, arXiv 2203.03532, as one e-process over the whole run).
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Mixture {
    starts: Starts,
    /// The stratum the last poll belonged to.
    stratum: Option<u32>,
    /// The bet on starts that are still to come.
    unspent: f64,
    /// Per alternative: logarithm of the sum over starts of share × likelihood ratio since that start. Empty
    /// before the first poll.
    ln_started: Box<[f64]>,
}

impl Mixture {
    /// Nothing observed.
    pub fn new(starts: Starts) -> Self {
        Self { starts, stratum: None, unspent: 1.0, ln_started: Box::default() }
    }

    /// Begins `stratum` (from 0) if it has not begun: places the bets that start with it, and those of strata
    /// that were skipped, on each of `alternatives`.
    pub fn begin(&mut self, stratum: u32, alternatives: usize) {
        if self.stratum.is_some_and(|last| stratum <= last) {
            return;
        }
        let share = self.starts.share_between(self.stratum, stratum);
        self.stratum = Some(stratum);
        if self.ln_started.is_empty() {
            self.ln_started = vec![share.ln(); alternatives].into();
        } else if 0.0 < share {
            let share_ln = share.ln();
            for it in &mut self.ln_started {
                *it = log::add_exp(*it, share_ln);
            }
        }
        self.unspent = (self.unspent - share).max(0.0);
    }

    /// Adds `increment` to alternative `i`. The stratum must have begun.
    #[inline]
    pub fn add(&mut self, i: usize, increment: f64) {
        self.ln_started[i] += increment;
    }

    /// The logarithm of the evidence, given the logarithms of the alternatives' shares. Zero before the first poll.
    pub fn ln_e(&self, ln_share: &[f64]) -> f64 {
        if self.ln_started.is_empty() {
            return 0.0;
        }
        let started =
            log::sum_exp(self.ln_started.iter().zip(ln_share).map(|(started, share)| started + share));
        log::add_exp(started, self.unspent.ln())
    }
}

/// The bets on each alternative from the beginning on, without restarts: for promotion.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Plain {
    ln_ratio: Box<[f64]>,
}

impl Plain {
    /// Nothing observed of `alternatives` alternatives.
    pub fn new(alternatives: usize) -> Self {
        Self { ln_ratio: vec![0.0; alternatives].into() }
    }

    /// Adds `increment` to alternative `i`.
    #[inline]
    pub fn add(&mut self, i: usize, increment: f64) {
        self.ln_ratio[i] += increment;
    }

    /// The logarithm of the evidence, given the logarithms of the alternatives' shares.
    pub fn ln_e(&self, ln_share: &[f64]) -> f64 {
        log::sum_exp(self.ln_ratio.iter().zip(ln_share).map(|(ratio, share)| ratio + share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_shares_sum_to_one() {
        for planned in [1, 2, 7, 360] {
            let whole: f64 = (0..planned + 5).map(|at| Starts::planned(planned).share(at)).sum();
            assert!((whole - 1.0).abs() < 1e-12, "{planned}: {whole}");
        }
    }

    #[test]
    fn skipped_strata_place_their_bets_late() {
        let starts = Starts::planned(10);
        let mut skipping = Mixture::new(starts);
        skipping.begin(0, 1);
        skipping.begin(4, 1);
        let mut steady = Mixture::new(starts);
        (0..=4).for_each(|at| steady.begin(at, 1));
        assert!((skipping.ln_e(&[0.0]) - steady.ln_e(&[0.0])).abs() < 1e-12);
        assert!(skipping.ln_e(&[0.0]).abs() < 1e-12);
    }

    #[test]
    fn one_start_spends_everything() {
        let mut once = Mixture::new(Starts::once());
        once.begin(0, 2);
        once.add(0, 3.0);
        once.add(1, 3.0);
        assert!((once.ln_e(&[0.5f64.ln(), 0.5f64.ln()]) - 3.0).abs() < 1e-12);
    }
}
