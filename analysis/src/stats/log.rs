//! Sums in log space.

/// `ln(exp(a) + exp(b))` without overflow; `-inf` is the logarithm of nothing.
#[inline]
pub fn add_exp(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

/// `ln(sum(exp(terms)))` without overflow; `-inf` for no terms.
pub fn sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + terms.map(|term| (term - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_overflow() {
        assert_eq!(add_exp(1000.0, 1000.0), 1000.0 + 2f64.ln());
        assert_eq!(sum_exp([1000.0, 1000.0].into_iter()), 1000.0 + 2f64.ln());
    }

    #[test]
    fn nothing_is_neutral() {
        assert_eq!(add_exp(f64::NEG_INFINITY, -3.0), -3.0);
        assert_eq!(add_exp(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(sum_exp(std::iter::empty::<f64>()), f64::NEG_INFINITY);
    }
}
