//! Cases of confidence sequences and of other sequential tests.

use analysis::stats::sequence::{
    betting::{self, Hedged, Predictable},
    boundary::{self, DoubleStitching},
    mixture::{self, Mixture, Side},
    model, quantile,
};
use serde_json::Value;

use crate::harness::{Case, Check, Outcome};

/// The functions, by the name that cases use.
pub(crate) const FUNCTIONS: [(&str, Check); 13] = [
    ("normal_mixture_bound", normal_mixture_bound),
    ("log_mixtures", log_mixtures),
    ("mixture_bounds", mixture_bounds),
    ("bernoulli_confidence_sequence", bernoulli_confidence_sequence),
    ("empirical_process_lil_bound", empirical_process_lil_bound),
    ("double_stitching_bound", double_stitching_bound),
    ("quantile_ab_p_value", quantile_ab_p_value),
    ("predmix_cs", predmix_cs),
    ("hedged_capital", hedged_capital),
    ("conjmix_cs", conjmix_cs),
    ("dirichlet_multinomial_log_bf", dirichlet_multinomial_log_bf),
    ("msprt_log_bf", msprt_log_bf),
    ("histogram_quantile", histogram_quantile),
];

fn normal_mixture_bound(case: &Case) -> Outcome {
    let side = if case.input("one_sided").as_bool() == Some(true) { Side::One } else { Side::Both };
    let it = Mixture::normal(case.number("v_opt"), case.number("alpha_opt"), side);
    case.compare(|_| vec![it.bound(case.number("v"), case.number("alpha"))])
}

/// The mixture that a name of an expected value means.
fn named(case: &Case, name: &str) -> Mixture {
    let (v_opt, alpha_opt) = (case.number("v_opt"), case.number("alpha_opt"));
    match name {
        "normal_one" => Mixture::normal(v_opt, alpha_opt, Side::One),
        "normal_two" => Mixture::normal(v_opt, alpha_opt, Side::Both),
        "gamma_exponential" => Mixture::gamma_exponential(v_opt, alpha_opt, case.number("c")),
        "gamma_poisson" => Mixture::gamma_poisson(v_opt, alpha_opt, case.number("c")),
        "beta_binomial_one" => {
            Mixture::beta_binomial(v_opt, alpha_opt, case.number("g"), case.number("h"), Side::One)
        }
        "beta_binomial_two" => {
            Mixture::beta_binomial(v_opt, alpha_opt, case.number("g"), case.number("h"), Side::Both)
        }
        other => panic!("unknown {other}"),
    }
}

fn log_mixtures(case: &Case) -> Outcome {
    case.compare(|name| vec![named(case, name).ln_e(case.number("s"), case.number("v"))])
}

fn mixture_bounds(case: &Case) -> Outcome {
    let (v, alpha) = (case.number("v"), case.number("alpha"));
    let stitching = |c: f64| boundary::poly_stitching(v, alpha, 10.0, c, 1.4, 2.0);
    case.compare(|name| {
        vec![match name {
            "poly_stitching_c0" => stitching(0.0),
            "poly_stitching_c3" => stitching(3.0),
            name => named(case, name).bound(v, alpha),
        }]
    })
}

fn bernoulli_confidence_sequence(case: &Case) -> Outcome {
    let (low, high) = mixture::bernoulli_interval(
        case.count("successes"),
        case.count("trials"),
        case.number("alpha"),
        case.number("t_opt"),
        case.number("alpha_opt"),
    );
    case.compare(|name| vec![if name == "low" { low } else { high }])
}

fn empirical_process_lil_bound(case: &Case) -> Outcome {
    let (width, c) = boundary::empirical_process(
        case.number("t"),
        case.number("alpha"),
        case.number("t_min"),
        case.number("A"),
    );
    case.compare(|name| vec![if name == "C" { c } else { width }])
}

fn double_stitching_bound(case: &Case) -> Outcome {
    let tuning = DoubleStitching {
        t_opt: case.number("t_opt"),
        delta: case.number("delta"),
        s: case.number("s"),
        eta: case.number("eta"),
    };
    let (p, t, alpha) = (case.number("quantile_p"), case.number("t"), case.number("alpha"));
    case.compare(|_| vec![boundary::double_stitching(p, t, alpha, tuning)])
}

/// A list of numbers, or a range of whole ones: `1..1000`.
fn sample(case: &Case, name: &str) -> Vec<f64> {
    let Value::String(range) = case.input(name) else { return case.numbers(name) };
    let (from, to) = range.split_once("..").expect("a range");
    let end = |it: &str| it.parse::<i32>().expect("a whole number");
    (end(from)..=end(to)).map(f64::from).collect()
}

fn quantile_ab_p_value(case: &Case) -> Outcome {
    let (a, b) = (sample(case, "a"), sample(case, "b"));
    let (p, t_opt, alpha_opt) = (case.number("quantile_p"), case.number("t_opt"), case.number("alpha_opt"));
    case.compare(|_| vec![quantile::compare(&a, &b, p, t_opt, alpha_opt)])
}

/// The values at the indices that a case reports.
fn reported(case: &Case, all: &[f64]) -> Vec<f64> {
    case.counts("report_index").iter().map(|i| all[*i as usize]).collect()
}

fn predmix_cs(case: &Case) -> Outcome {
    let (x, alpha) = (case.numbers("x"), case.number("alpha"));
    let low = |kind| betting::predictable(&x, alpha, kind).iter().map(|it| it.0).collect::<Vec<f64>>();
    let high = |kind| betting::predictable(&x, alpha, kind).iter().map(|it| it.1).collect::<Vec<f64>>();
    case.compare(|name| {
        let all = match name {
            "empbern_low" => low(Predictable::EmpiricalBernstein),
            "empbern_high" => high(Predictable::EmpiricalBernstein),
            "hoeffding_low" => low(Predictable::Hoeffding),
            "hoeffding_high" => high(Predictable::Hoeffding),
            "lambda_eb" => betting::bets(&x, alpha),
            other => panic!("unknown {other}"),
        };
        reported(case, &all)
    })
}

fn hedged_capital(case: &Case) -> Outcome {
    let mut gambler = Hedged::against(case.number("m"));
    let after = |x: &f64| {
        gambler.add(*x);
        gambler.ln_e().exp()
    };
    let capital: Vec<f64> = case.numbers("x").iter().map(after).collect();
    case.compare(|_| reported(case, &capital))
}

fn conjmix_cs(case: &Case) -> Outcome {
    let (x, alpha) = (case.numbers("x"), case.number("alpha"));
    let hoeffding = betting::conjugate_hoeffding(&x, case.number("t_opt"), alpha);
    case.compare(|name| {
        let all: Vec<f64> = match name {
            "hoeffding_low" => hoeffding.iter().map(|it| it.0).collect(),
            "hoeffding_high" => hoeffding.iter().map(|it| it.1).collect(),
            "empbern_lower" => betting::conjugate_empirical_bernstein_lower(&x, case.number("v_opt"), alpha),
            other => panic!("unknown {other}"),
        };
        reported(case, &all)
    })
}

fn dirichlet_multinomial_log_bf(case: &Case) -> Outcome {
    let (counts, theta0) = (case.numbers("counts"), case.numbers("theta0"));
    case.compare(|_| vec![model::dirichlet_multinomial(&counts, &theta0, case.number("concentration"))])
}

fn msprt_log_bf(case: &Case) -> Outcome {
    let (difference, variance, tau) = (case.number("diff"), case.number("variance"), case.number("tau"));
    case.compare(|_| vec![model::mixture_sprt(difference, variance, tau)])
}

fn histogram_quantile(case: &Case) -> Outcome {
    let (bounds, cumulative) = (case.numbers("le"), case.numbers("cumulative"));
    case.compare(|_| vec![quantile::of_histogram(case.number("q"), &bounds, &cumulative)])
}
