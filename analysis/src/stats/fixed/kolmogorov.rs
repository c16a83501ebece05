//! Two-sample Kolmogorov–Smirnov.

use super::Alternative;

/// How the p-value is computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Null {
    /// By counting lattice paths.
    Exact,
    /// By the distribution of one sample of the effective size (two-sided), or Hodges' approximation.
    Asymptotic,
}

/// The largest distance of two empirical distributions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// The distance.
    pub d: f64,
    /// Where it is reached.
    pub location: f64,
    /// 1 where `x` has the larger distribution function (tends to be smaller), else -1.
    pub sign: f64,
    /// The p-value.
    pub p: f64,
}

/// Compares the distributions of `x` and `y`. `Greater` looks for a larger distribution function of `x`, that is
/// for smaller values. `None` for an empty sample.
pub fn kolmogorov_smirnov(x: &[f64], y: &[f64], alternative: Alternative, null: Null) -> Option<Distance> {
    if x.is_empty() || y.is_empty() {
        return None;
    }
    let (mut x, mut y) = (x.to_vec(), y.to_vec());
    x.sort_by(f64::total_cmp);
    y.sort_by(f64::total_cmp);
    let share = |sorted: &[f64], at: f64| sorted.partition_point(|it| *it <= at) as f64 / sorted.len() as f64;
    let (mut above, mut below) = ((f64::NEG_INFINITY, 0.0), (f64::INFINITY, 0.0));
    for &at in x.iter().chain(&y) {
        let difference = share(&x, at) - share(&y, at);
        if above.0 < difference {
            above = (difference, at);
        }
        if difference < below.0 {
            below = (difference, at);
        }
    }
    let down = (-below.0).clamp(0.0, 1.0);
    let (d, location, sign) = match alternative {
        Alternative::Greater => (above.0, above.1, 1.0),
        Alternative::Less => (down, below.1, -1.0),
        Alternative::TwoSided if above.0 < down => (down, below.1, -1.0),
        Alternative::TwoSided => (above.0, above.1, 1.0),
    };
    let p = match null {
        Null::Exact => exact(x.len(), y.len(), d, alternative),
        Null::Asymptotic => asymptotic(x.len() as f64, y.len() as f64, d, alternative),
    };
    Some(Distance { d, location, sign, p: p.clamp(0.0, 1.0) })
}

/// The share of lattice paths from the origin to `(m, n)` that leave the band `|i/m - j/n| < d`.
fn exact(m: usize, n: usize, d: f64, alternative: Alternative) -> f64 {
    let cell = (m * n) as f64;
    // Distances are multiples of 1/lcm(m, n); rounding undoes the rounding errors of shares.
    let limit = (d * cell).round() as i64;
    if limit == 0 {
        return 1.0;
    }
    let outside = |i: usize, j: usize| {
        let difference = (i * n) as i64 - (j * m) as i64;
        match alternative {
            Alternative::TwoSided => limit <= difference.abs(),
            Alternative::Greater | Alternative::Less => limit <= difference,
        }
    };
    // left[j]: probability that a random path to (i, j) has been outside.
    let mut left = vec![0.0f64; n + 1];
    for i in 0..=m {
        for j in 0..=n {
            left[j] = if outside(i, j) {
                1.0
            } else if i + j == 0 {
                0.0
            } else {
                let came_up = if j == 0 { 0.0 } else { j as f64 * left[j - 1] };
                let came_right = if i == 0 { 0.0 } else { i as f64 * left[j] };
                (came_right + came_up) / (i + j) as f64
            };
        }
    }
    left[n]
}

fn asymptotic(n1: f64, n2: f64, d: f64, alternative: Alternative) -> f64 {
    let (m, n) = (n1.max(n2), n1.min(n2));
    let effective = m * n / (m + n);
    match alternative {
        Alternative::TwoSided => one_sample(effective.round_ties_even() as usize, d),
        Alternative::Greater | Alternative::Less => {
            let z = effective.sqrt() * d;
            (-2.0 * z * z - 2.0 * z * (m + 2.0 * n) / (m * n * (m + n)).sqrt() / 3.0).exp()
        }
    }
}

/// `P(D_n >= d)` of one sample of `n`: the matrix of Marsaglia, Tsang and Wang up to a thousand values, the
/// limiting series beyond.
fn one_sample(n: usize, d: f64) -> f64 {
    if d <= 0.0 {
        return 1.0;
    }
    if 1.0 <= d {
        return 0.0;
    }
    if 1000 < n {
        let z = d * (n as f64).sqrt();
        let term = |k: i32| f64::from(1 - 2 * (k % 2 - 1).abs()) * (-2.0 * f64::from(k * k) * z * z).exp();
        return 2.0 * (1..100).map(term).sum::<f64>();
    }
    let nd = n as f64 * d;
    let k = nd.floor() as usize + 1;
    let h = k as f64 - nd;
    let size = 2 * k - 1;
    let mut matrix = vec![vec![0.0; size]; size];
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, it) in row.iter_mut().enumerate() {
            *it = if j <= i + 1 { 1.0 } else { 0.0 };
        }
    }
    for (i, row) in matrix.iter_mut().enumerate() {
        row[0] -= h.powi(i as i32 + 1);
    }
    for (i, it) in matrix[size - 1].iter_mut().enumerate() {
        *it -= h.powi((size - i) as i32);
    }
    matrix[size - 1][0] += if 0.0 < 2.0 * h - 1.0 { (2.0 * h - 1.0).powi(size as i32) } else { 0.0 };
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, it) in row.iter_mut().enumerate() {
            for g in 1..=(i + 1).saturating_sub(j) {
                *it /= g as f64;
            }
        }
    }
    let (power, exponent) = power(&matrix, n);
    let mut inside = power[k - 1][k - 1];
    let mut exponent = exponent;
    for i in 1..=n {
        inside *= i as f64 / n as f64;
        if inside < 1e-140 {
            inside *= 1e140;
            exponent -= 140;
        }
    }
    1.0 - inside * 10f64.powi(exponent)
}

/// The matrix to the power `n`, as a matrix and a decimal exponent.
fn power(matrix: &[Vec<f64>], n: usize) -> (Vec<Vec<f64>>, i32) {
    if n == 1 {
        return (matrix.to_vec(), 0);
    }
    let (half, exponent) = power(matrix, n / 2);
    let mut square = product(&half, &half);
    let mut exponent = 2 * exponent;
    if n % 2 == 1 {
        square = product(matrix, &square);
    }
    let middle = square.len() / 2;
    if 1e140 < square[middle][middle] {
        square.iter_mut().flatten().for_each(|it| *it *= 1e-140);
        exponent += 140;
    }
    (square, exponent)
}

fn product(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let cell = |row: &[f64], j: usize| row.iter().zip(b).map(|(it, other)| it * other[j]).sum();
    a.iter().map(|row| (0..b.len()).map(|j| cell(row, j)).collect()).collect()
}
