//! The shift between two samples by Mann and Whitney, as R's `wilcox.test` finds it, with one difference: the
//! continuity correction stays on for the estimate too.

use crate::stats::fixed::rank::{Ranked, deviation, normal_quantile, ranked};

/// Absolute tolerance of the root: the unit of the data matters.
const TOLERANCE: f64 = 1e-4;

/// Steps of the root finder at most.
const STEPS: u32 = 1001;

/// A shift with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shift {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Estimate.
    pub estimate: f64,
}

/// All values are tied: upstream throws.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AllTied;

/// The standardised rank sum of `x - mu` among `y`, minus `quantile`.
///
/// # Errors
///
/// [`AllTied`] when there is nothing to rank.
pub fn statistic(x: &[f64], y: &[f64], mu: f64, quantile: f64) -> Result<f64, AllTied> {
    let (m, n) = (x.len() as f64, y.len() as f64);
    let Ranked { rank_sum, ties } = ranked(x.iter().map(|it| it - mu), y);
    let dz = rank_sum - m * (m + 1.0) / 2.0 - m * n / 2.0;
    let correction = if dz == 0.0 { 0.0 } else { 0.5 * dz.signum() };
    let sigma = deviation(m, n, ties);
    if sigma == 0.0 || sigma.is_nan() {
        return Err(AllTied);
    }
    Ok((dz - correction) / sigma - quantile)
}

/// The smallest and the largest shift that leave the samples overlapping.
pub fn range(x: &[f64], y: &[f64]) -> (f64, f64) {
    let least = |it: &[f64]| it.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |it: &[f64]| it.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (least(x) - most(y), most(x) - least(y))
}

/// The shift of `x` against `y` with its interval at `confidence`.
///
/// # Errors
///
/// [`AllTied`] when there is nothing to rank.
pub fn shift(x: &[f64], y: &[f64], confidence: f64) -> Result<Shift, AllTied> {
    let z = normal_quantile((1.0 - confidence) / 2.0);
    Ok(Shift { low: end(x, y, -z)?, high: end(x, y, z)?, estimate: root(x, y, 0.0)? })
}

fn end(x: &[f64], y: &[f64], quantile: f64) -> Result<f64, AllTied> {
    let (least, most) = range(x, y);
    if statistic(x, y, least, quantile)? <= 0.0 {
        Ok(least)
    } else if 0.0 <= statistic(x, y, most, quantile)? {
        Ok(most)
    } else {
        root(x, y, quantile)
    }
}

/// Where the statistic crosses `quantile`: Brent's method as R has it, without a test that it crosses at all.
///
/// # Errors
///
/// [`AllTied`] when there is nothing to rank.
pub fn root(x: &[f64], y: &[f64], quantile: f64) -> Result<f64, AllTied> {
    let f = |mu: f64| statistic(x, y, mu, quantile);
    let (mut a, mut b) = range(x, y);
    let (mut fa, mut fb) = (f(a)?, f(b)?);
    if fa == 0.0 {
        return Ok(a);
    }
    if fb == 0.0 {
        return Ok(b);
    }
    let (mut c, mut fc) = (a, fa);
    for _ in 0..=STEPS {
        let previous = b - a;
        if fc.abs() < fb.abs() {
            (a, b, c) = (b, c, b);
            (fa, fb, fc) = (fb, fc, fb);
        }
        let enough = 2.0 * f64::EPSILON * b.abs() + TOLERANCE / 2.0;
        let half = (c - b) / 2.0;
        if half.abs() <= enough || fb == 0.0 {
            return Ok(b);
        }
        let mut step = half;
        if enough <= previous.abs() && fb.abs() < fa.abs() {
            let (p, q) = interpolated((a, fa), (b, fb), (c, fc));
            if p < 0.75 * (c - b) * q - (enough * q).abs() / 2.0 && p < (previous * q / 2.0).abs() {
                step = p / q;
            }
        }
        if step.abs() < enough {
            step = if 0.0 < step { enough } else { -enough };
        }
        (a, fa) = (b, fb);
        b += step;
        fb = f(b)?;
        if (0.0 < fb && 0.0 < fc) || (fb < 0.0 && fc < 0.0) {
            (c, fc) = (a, fa);
        }
    }
    Ok(b)
}

/// The step `p / q` by a line through two points or a parabola through three, with `p >= 0`.
fn interpolated((a, fa): (f64, f64), (b, fb): (f64, f64), (c, fc): (f64, f64)) -> (f64, f64) {
    let cb = c - b;
    let t1 = fb / fa;
    let (p, q) = if a == c {
        (cb * t1, 1.0 - t1)
    } else {
        let (q, t1, t2) = (fa / fc, fb / fc, fb / fa);
        (t2 * (cb * q * (q - t1) - (b - a) * (t1 - 1.0)), (q - 1.0) * (t1 - 1.0) * (t2 - 1.0))
    };
    if 0.0 < p { (p, -q) } else { (-p, q) }
}
