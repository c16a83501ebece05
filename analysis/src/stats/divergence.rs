//! Information per bad event: what one more bad request tells about whose fault it is.

/// The canary's expected share of bad requests when it gets `share` of all requests and its odds are `psi`
/// times the baseline's: `f psi / (1 - f + f psi)`.
pub fn bad_share(share: f64, psi: f64) -> f64 {
    share * psi / (1.0 - share + share * psi)
}

/// Kullback–Leibler divergence of two Bernoulli distributions in nats, `KL(q || p)`.
///
/// Infinite where `q` needs an outcome that `p` excludes.
pub fn bernoulli(q: f64, p: f64) -> f64 {
    part(q, p) + part(1.0 - q, 1.0 - p)
}

fn part(q: f64, p: f64) -> f64 {
    if q <= 0.0 { 0.0 } else { q * (q / p).ln() }
}

/// Nats per bad event towards "the canary is worse", against equality: `KL(q1 || f)`.
pub fn towards_roll_back(share: f64, psi: f64) -> f64 {
    bernoulli(bad_share(share, psi), share)
}

/// Nats per bad event towards "the canary is less than `margin` times as bad", for an equal canary:
/// `KL(f || q_M)`.
pub fn towards_promotion(share: f64, margin: f64) -> f64 {
    bernoulli(share, bad_share(share, margin))
}
