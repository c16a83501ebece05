//! Which alternatives a mixture bets on, and how much on each.

/// Odds ratios, rising, with the logarithm of each one's share; the shares sum to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Prior {
    /// Odds ratios, in rising order.
    pub psi: Vec<f64>,
    /// Logarithms of the shares.
    pub ln_share: Vec<f64>,
}

impl Prior {
    /// `points` odds ratios between `low` and `high`, evenly spaced in logarithm, with shares proportional to
    /// `psi^exponent`.
    pub fn log_spaced(points: usize, low: f64, high: f64, exponent: f64) -> Self {
        let last = points.saturating_sub(1).max(1) as f64;
        let psi: Vec<f64> =
            (0..points).map(|i| (low.ln() + (high / low).ln() * i as f64 / last).exp()).collect();
        let shares = psi.iter().map(|psi| psi.powf(exponent)).collect::<Vec<f64>>();
        Self::new(psi, &shares)
    }

    /// The given odds ratios with shares proportional to `shares`.
    pub fn new(psi: Vec<f64>, shares: &[f64]) -> Self {
        let whole: f64 = shares.iter().sum();
        Self { psi, ln_share: shares.iter().map(|share| (share / whole).ln()).collect() }
    }

    /// Errors: 12 points from 1.3 to 30, shares `psi^-0.3`, the minimax choice of the measurements.
    pub fn errors() -> Self {
        Self::log_spaced(12, 1.3, 30.0, -0.3)
    }

    /// [`Prior::errors`] with two per cent of the bet on small differences, which only a huge service can see: 1.06
    /// and 1.14. It costs 0.02 nats.
    pub fn errors_of_any_size() -> Self {
        let Self { psi, ln_share } = Self::errors();
        let shares: Vec<f64> = ln_share.iter().map(|it| 0.98 * it.exp()).collect();
        Self::new([vec![1.06, 1.14], psi].concat(), &[vec![0.01, 0.01], shares].concat())
    }

    /// Latency: 16 points from 1.05 to 20, shares `psi^-0.5`; slowness is rarely as sharp as failure.
    pub fn latency() -> Self {
        Self::log_spaced(16, 1.05, 20.0, -0.5)
    }

    /// Promotion against a margin: a canary that is better, equal, or half way to the margin.
    pub fn promotion(margin: f64) -> Self {
        Self::new(vec![0.5, 0.7, 0.85, 1.0, margin.sqrt()], &[0.08, 0.16, 0.24, 0.32, 0.20])
    }

    /// Every odds ratio multiplied by `by`: the same bets against another hypothesis.
    #[must_use]
    pub fn scaled(mut self, by: f64) -> Self {
        for psi in &mut self.psi {
            *psi *= by;
        }
        self
    }
}
