//! What one stratum adds to the evidence: the log likelihood ratio of two odds ratios, given how many requests
//! of both arms together were bad. Whatever made *all* requests worse cancels.
//!
//! Ingredients: safe logrank test (ter Schure, Pérez-Ortiz, Ly, Grünwald, arXiv 2011.06931); Lindon & Malek,
//! arXiv 2011.03567; Turner, Ly, Grünwald, arXiv 2106.02693; Hoeffding 1963, theorem 4.

use super::hypergeometric::{Margins, Partition};

/// Above this number of canary or bad requests the bound replaces the exact sum, which would cost too much.
const EXACT_UP_TO: u64 = 4096;

/// Largest share of bad requests at which the Poisson form is used against `psi0 = 1`, where it is valid for any
/// counts and keeps at least 92 % of the evidence.
const POISSON_UP_TO: f64 = 0.05;

/// The same against another `psi0`, where it is valid for Poisson counts only.
const POISSON_UP_TO_OFF_ONE: f64 = 0.01;

/// One poll of both arms: the smallest unit inside which requests were assigned at random.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stratum {
    /// Requests of the canary.
    pub canary_total: u64,
    /// Bad requests of the canary.
    pub canary_bad: u64,
    /// Requests of the baseline.
    pub baseline_total: u64,
    /// Bad requests of the baseline.
    pub baseline_bad: u64,
}

impl Stratum {
    /// Requests of both arms.
    pub fn total(self) -> u64 {
        self.canary_total + self.baseline_total
    }

    /// Bad requests of both arms.
    pub fn bad(self) -> u64 {
        self.canary_bad + self.baseline_bad
    }

    /// The canary's share of requests; zero if there were none.
    pub fn share(self) -> f64 {
        if self.total() == 0 { 0.0 } else { self.canary_total as f64 / self.total() as f64 }
    }

    /// Whether the stratum can tell anything: some request was bad, some was not, and both arms had some.
    pub fn informative(self) -> bool {
        self.canary_total != 0 && self.baseline_total != 0 && self.bad() != 0 && self.bad() < self.total()
    }

    fn margins(self) -> Margins {
        Margins { canary: self.canary_total, baseline: self.baseline_total, bad: self.bad() }
    }
}

/// Which form of the increment is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// The likelihood ratio itself.
    Exact,
    /// Bad requests as a Poisson process: cheap, and close while few requests are bad.
    Poisson,
    /// Never more than the exact one: valid for any counts of any size.
    Bound,
}

/// The form for `stratum` when the hypothesis is `psi0`.
pub fn form(stratum: Stratum, psi0: f64) -> Form {
    let limit = if psi0 == 1.0 { POISSON_UP_TO } else { POISSON_UP_TO_OFF_ONE };
    let bad = stratum.bad();
    if bad as f64 <= limit * stratum.total() as f64 {
        Form::Poisson
    } else if stratum.canary_total.min(bad) <= EXACT_UP_TO {
        Form::Exact
    } else {
        Form::Bound
    }
}

/// Calls `add(i, increment)` for each alternative `psi1s[i]` against `psi0`, both odds ratios, in the form
/// [`form`] chooses. Alternatives are cheapest in rising order.
#[inline]
pub fn each(stratum: Stratum, psi0: f64, psi1s: &[f64], add: impl FnMut(usize, f64)) {
    each_as(form(stratum, psi0), stratum, psi0, psi1s, add);
}

/// The same in a given form.
#[inline]
pub fn each_as(form: Form, stratum: Stratum, psi0: f64, psi1s: &[f64], mut add: impl FnMut(usize, f64)) {
    if !stratum.informative() {
        return;
    }
    match form {
        Form::Poisson => {
            let (x, m, f) = (stratum.canary_bad as f64, stratum.bad() as f64, stratum.share());
            let base = m * (f * (psi0 - 1.0)).ln_1p() - x * psi0.ln();
            for (i, psi1) in psi1s.iter().enumerate() {
                add(i, x * psi1.ln() - m * (f * (psi1 - 1.0)).ln_1p() + base);
            }
        }
        Form::Exact => {
            let mut partition = Partition::new(stratum.margins());
            let x = stratum.canary_bad as f64;
            let base = partition.ln_z(psi0) - x * psi0.ln();
            for (i, psi1) in psi1s.iter().enumerate() {
                add(i, x * psi1.ln() - partition.ln_z(*psi1) + base);
            }
        }
        Form::Bound => {
            for (i, psi1) in psi1s.iter().enumerate() {
                add(i, bound(stratum, *psi1, psi0));
            }
        }
    }
}

/// `x ln(psi1/psi0) - ln Z(psi1) + ln Z(psi0)`: exact for every `psi0`.
pub fn exact(stratum: Stratum, psi1: f64, psi0: f64) -> f64 {
    let mut partition = Partition::new(stratum.margins());
    let z0 = partition.ln_z(psi0);
    let z1 = partition.ln_z(psi1);
    stratum.canary_bad as f64 * (psi1 / psi0).ln() - z1 + z0
}

/// `x ln(psi1/psi0) - m [ln1p(f (psi1 - 1)) - ln1p(f (psi0 - 1))]`: exact for Poisson counts, and at
/// `psi0 = 1` valid for any counts, because the hypergeometric is smaller than the binomial in convex order.
pub fn poisson(stratum: Stratum, psi1: f64, psi0: f64) -> f64 {
    let (x, m, f) = (stratum.canary_bad as f64, stratum.bad() as f64, stratum.share());
    x * (psi1 / psi0).ln() - m * ((f * (psi1 - 1.0)).ln_1p() - (f * (psi0 - 1.0)).ln_1p())
}

/// `x ln(psi1/psi0) - min{ m ln1p(f (psi1 - 1)), n_c ln1p((m/N)(psi1 - 1)) } + m f ln psi0`.
///
/// The convex-order argument used twice (the hypergeometric is symmetric in canary and bad requests) bounds
/// `ln Z(psi1)` from above, Jensen's inequality `ln Z(psi0)` from below. At `psi0 = 1` the last term is zero.
pub fn bound(stratum: Stratum, psi1: f64, psi0: f64) -> f64 {
    let (x, m, f) = (stratum.canary_bad as f64, stratum.bad() as f64, stratum.share());
    let n = stratum.canary_total as f64;
    let by_bad = m * (f * (psi1 - 1.0)).ln_1p();
    let by_canary = n * (m / stratum.total().max(1) as f64 * (psi1 - 1.0)).ln_1p();
    x * (psi1 / psi0).ln() - by_bad.min(by_canary) + m * f * psi0.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stratum(canary_total: u64, canary_bad: u64, baseline_total: u64, baseline_bad: u64) -> Stratum {
        Stratum { canary_total, canary_bad, baseline_total, baseline_bad }
    }

    #[test]
    fn the_form_follows_the_share_of_bad_requests() {
        assert_eq!(form(stratum(50, 1, 450, 4), 1.0), Form::Poisson);
        assert_eq!(form(stratum(50, 5, 450, 45), 1.0), Form::Exact);
        assert_eq!(form(stratum(50, 3, 450, 10), 1.1), Form::Exact);
        assert_eq!(form(stratum(50, 1, 450, 4), 1.1), Form::Poisson);
        assert_eq!(form(stratum(50_000, 20_000, 450_000, 100_000), 1.0), Form::Bound);
    }

    #[test]
    fn every_form_agrees_with_its_function() {
        for (it, psi0) in [(stratum(50, 1, 450, 4), 1.0), (stratum(50, 30, 450, 180), 1.3)] {
            each(it, psi0, &[0.5, 2.0, 5.0], |i, got| {
                let psi1 = [0.5, 2.0, 5.0][i];
                let want = if form(it, psi0) == Form::Exact {
                    exact(it, psi1, psi0)
                } else {
                    poisson(it, psi1, psi0)
                };
                assert!((got - want).abs() < 1e-11, "{got} {want}");
            });
        }
    }

    #[test]
    fn the_bound_never_exceeds_the_exact_increment() {
        for (it, psi0) in
            [(stratum(50, 30, 450, 180), 1.0), (stratum(50, 30, 450, 180), 1.1), (stratum(9, 0, 9, 9), 2.0)]
        {
            for psi1 in [0.5, 1.3, 2.0, 30.0] {
                assert!(bound(it, psi1, psi0) <= exact(it, psi1, psi0) + 1e-12);
            }
        }
    }

    #[test]
    fn a_stratum_of_one_arm_tells_nothing() {
        for it in [
            stratum(4, 4, 0, 0),
            stratum(0, 0, 9, 1),
            stratum(5, 5, 5, 5),
            stratum(5, 0, 5, 0),
            Stratum::default(),
        ] {
            each(it, 1.0, &[2.0], |_, _| panic!("{it:?} is not informative"));
        }
    }
}
