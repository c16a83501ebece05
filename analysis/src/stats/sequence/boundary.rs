//! Closed boundaries: stitching, and the band around a whole empirical distribution.

use super::mixture::bisect;

/// Riemann's zeta function for `s > 1`, by Euler and Maclaurin.
pub fn zeta(s: f64) -> f64 {
    const N: i32 = 20;
    /// Bernoulli numbers of even index, divided by the factorial of the index.
    const BERNOULLI: [f64; 6] = [
        1.0 / 12.0,
        -1.0 / 720.0,
        1.0 / 30_240.0,
        -1.0 / 1_209_600.0,
        1.0 / 47_900_160.0,
        -691.0 / 1_307_674_368_000.0,
    ];
    let n = f64::from(N);
    let head: f64 = (1..N).map(|k| f64::from(k).powf(-s)).sum();
    let mut sum = head + n.powf(1.0 - s) / (s - 1.0) + 0.5 * n.powf(-s);
    let mut rising = s;
    for (j, it) in BERNOULLI.iter().enumerate() {
        let j = j as f64;
        sum += it * rising * n.powf(-s - 2.0 * j - 1.0);
        rising *= (s + 2.0 * j + 1.0) * (s + 2.0 * j + 2.0);
    }
    sum
}

/// Polynomial stitching with crossing probability `alpha`: for sub-gamma sums of scale `c`, from `v_min` on.
pub fn poly_stitching(v: f64, alpha: f64, v_min: f64, c: f64, s: f64, eta: f64) -> f64 {
    let v = v.max(v_min);
    let k1 = (eta.powf(0.25) + eta.powf(-0.25)) / 2f64.sqrt();
    let k2 = f64::midpoint(eta.sqrt(), 1.0);
    let ell = s * (eta * v / v_min).ln().ln() + (zeta(s) / eta.ln().powf(s)).ln() - alpha.ln();
    let linear = k2 * c * ell;
    (k1 * k1 * v * ell + linear * linear).sqrt() + linear
}

/// The width of a band around an empirical distribution that holds at every moment from `t_min` on, and the
/// constant in it: `A sqrt((ln(1 + ln(t / t_min)) + C) / t)`. Infinite before `t_min`.
pub fn empirical_process(t: f64, alpha: f64, t_min: f64, a: f64) -> (f64, f64) {
    let c = empirical_process_constant(alpha, a);
    let width = if t < t_min { f64::INFINITY } else { a * (((t / t_min).ln().ln_1p() + c) / t).sqrt() };
    (width, c)
}

/// `C` at which `min over eta of 4 exp(-g C) (1 + 1 / ((g - 1) ln eta))` is `alpha`, with
/// `g = 2/eta (A - sqrt(2 (eta - 1) / C))^2`.
fn empirical_process_constant(alpha: f64, a: f64) -> f64 {
    let error = |c: f64, eta: f64| {
        let g = 2.0 / eta * (a - (2.0 * (eta - 1.0) / c).sqrt()).powi(2);
        if g <= 1.0 { f64::INFINITY } else { 4.0 * (-g * c).exp() * (1.0 + 1.0 / ((g - 1.0) * eta.ln())) }
    };
    let least = |c: f64| {
        let upper = bisect(1.0, 2.0 * a * a, |eta| a <= (eta / 2.0).sqrt() + (2.0 * (eta - 1.0) / c).sqrt());
        minimum(1.0, upper, |eta| error(c, eta)).1
    };
    bisect(0.5, 200.0, |c| least(c) <= alpha)
}

/// The minimum of a function with one, by golden section: `(where, value)`.
pub(super) fn minimum(low: f64, high: f64, f: impl Fn(f64) -> f64) -> (f64, f64) {
    let golden = f64::midpoint(5f64.sqrt(), -1.0);
    let (mut low, mut high) = (low, high);
    let (mut left, mut right) = (high - golden * (high - low), low + golden * (high - low));
    let (mut at_left, mut at_right) = (f(left), f(right));
    for _ in 0..100 {
        if at_left < at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - golden * (high - low);
            at_left = f(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + golden * (high - low);
            at_right = f(right);
        }
    }
    if at_left < at_right { (left, at_left) } else { (right, at_right) }
}

/// Tuning of [`double_stitching`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DoubleStitching {
    /// When it is tightest.
    pub t_opt: f64,
    /// Fineness of the grid of quantiles.
    pub delta: f64,
    /// Decay of the allowance over epochs.
    pub s: f64,
    /// Growth of epochs.
    pub eta: f64,
}

/// A boundary for all quantiles at all times: how far the number of values below the `p` quantile can be off.
pub fn double_stitching(p: f64, t: f64, alpha: f64, tuning: DoubleStitching) -> f64 {
    let DoubleStitching { t_opt, delta, s, eta } = tuning;
    let logit = (p / (1.0 - p)).ln();
    let t = t.max(t_opt);
    let r = if 0.5 <= p {
        p
    } else {
        (1.0 / (1.0 + (-logit - 2.0 * delta * (t_opt * eta / t).sqrt()).exp())).min(0.5)
    };
    let variance = r * (1.0 - r);
    let j = (t / t_opt).sqrt() * logit.abs() / (2.0 * delta) + 1.0;
    let k1 = (eta.powf(0.25) + eta.powf(-0.25)) / 2f64.sqrt();
    let k2 = f64::midpoint(eta.sqrt(), 1.0);
    let zeta = zeta(s);
    let ell = s * (eta * t / t_opt).ln().ln()
        + s * j.ln()
        + (2.0 * zeta * (2.0 * zeta + 1.0) / (alpha * eta.ln().powf(s))).ln();
    let linear = k2 * (1.0 - 2.0 * p) / 3.0 * ell;
    delta * (eta * t * variance / t_opt).sqrt()
        + (k1 * k1 * variance * t * ell + linear * linear).sqrt()
        + linear
}
