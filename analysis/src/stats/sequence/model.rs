//! Other sequential tests of counts, for comparison with the default judge.

use statrs::function::gamma::ln_gamma;

/// Lindon & Malek (arXiv 2011.03567): evidence that categories do not have the shares `theta0`, with a Dirichlet
/// prior of `concentration` around them.
pub fn dirichlet_multinomial(counts: &[f64], theta0: &[f64], concentration: f64) -> f64 {
    let n: f64 = counts.iter().sum();
    let each = counts.iter().zip(theta0).map(|(count, theta)| {
        let prior = concentration * theta;
        ln_gamma(prior + count) - ln_gamma(prior) - count * theta.ln()
    });
    ln_gamma(concentration) - ln_gamma(concentration + n) + each.sum::<f64>()
}

/// Johari et al. (arXiv 1512.04922): a normal mixture of standard deviation `tau` for an estimated difference with
/// the given variance. Invalid where the share of requests changes while rates drift.
pub fn mixture_sprt(difference: f64, variance: f64, tau: f64) -> f64 {
    let prior = tau * tau;
    0.5 * (variance / (variance + prior)).ln()
        + difference * difference * prior / (2.0 * variance * (variance + prior))
}
