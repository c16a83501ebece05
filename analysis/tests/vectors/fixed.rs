//! Cases of the tests for one look.

use analysis::stats::fixed::{Alternative, kolmogorov, proportion, rank, welch};

use crate::harness::{Case, Check, Outcome};

/// The functions, by the name that cases use.
pub(crate) const FUNCTIONS: [(&str, Check); 8] = [
    ("mann_whitney_u", mann_whitney_u),
    ("hodges_lehmann_shift", hodges_lehmann_shift),
    ("welch_t", welch_t),
    ("ks_2samp", ks_2samp),
    ("binomial_interval", binomial_interval),
    ("binomial_test", binomial_test),
    ("poisson_rate_ratio", poisson_rate_ratio),
    ("fisher_exact_2x2", fisher_exact_2x2),
];

fn alternative(case: &Case) -> Alternative {
    match case.input("alternative").as_str() {
        Some("two-sided") => Alternative::TwoSided,
        Some("greater") => Alternative::Greater,
        Some("less") => Alternative::Less,
        other => panic!("unknown alternative {other:?}"),
    }
}

fn mann_whitney_u(case: &Case) -> Outcome {
    let null = match case.input("method").as_str() {
        Some("exact") => rank::Null::Exact,
        _ => rank::Null::Asymptotic { continuity: case.input("continuity").as_bool().unwrap_or(true) },
    };
    let (u, p) = rank::mann_whitney(&case.numbers("x"), &case.numbers("y"), alternative(case), null);
    case.compare(|name| vec![if name == "U" { u } else { p }])
}

fn hodges_lehmann_shift(case: &Case) -> Outcome {
    let shift =
        rank::hodges_lehmann(&case.numbers("x"), &case.numbers("y"), case.number("level")).expect("values");
    case.compare(|name| {
        vec![match name {
            "estimate" => shift.estimate,
            "k" => shift.k as f64,
            "ci_exact_low" => shift.exact.0,
            "ci_exact_high" => shift.exact.1,
            "k_asymptotic" => shift.k_asymptotic as f64,
            "ci_asym_low" => shift.asymptotic.0,
            "ci_asym_high" => shift.asymptotic.1,
            other => panic!("unknown {other}"),
        }]
    })
}

fn welch_t(case: &Case) -> Outcome {
    let it = welch::welch(&case.numbers("x"), &case.numbers("y")).expect("values");
    case.compare(|name| {
        vec![match name {
            "t" => it.t,
            "df" => it.freedom,
            "p_two_sided" => it.two_sided,
            "p_greater" => it.greater,
            "p_less" => it.less,
            "ci95_low" => it.interval.0,
            "ci95_high" => it.interval.1,
            other => panic!("unknown {other}"),
        }]
    })
}

fn ks_2samp(case: &Case) -> Outcome {
    let exact = case.input("method").as_str() == Some("exact");
    let null = if exact { kolmogorov::Null::Exact } else { kolmogorov::Null::Asymptotic };
    let (x, y) = (case.numbers("x"), case.numbers("y"));
    let it = kolmogorov::kolmogorov_smirnov(&x, &y, alternative(case), null).expect("values");
    case.compare(|name| {
        vec![match name {
            "D" => it.d,
            "location" => it.location,
            "sign" => it.sign,
            "p" => it.p,
            other => panic!("unknown {other}"),
        }]
    })
}

fn binomial_interval(case: &Case) -> Outcome {
    let (k, n, alpha) = (case.count("k"), case.count("n"), case.number("alpha"));
    case.compare(|name| {
        let interval = match name {
            "wilson" => proportion::wilson,
            "clopper_pearson" => proportion::clopper_pearson,
            "agresti_coull" => proportion::agresti_coull,
            "jeffreys" => proportion::jeffreys,
            other => panic!("unknown {other}"),
        };
        let (low, high) = interval(k, n, alpha);
        vec![low, high]
    })
}

fn p_value(name: &str, it: proportion::PValues) -> f64 {
    match name.rsplit_once("p_").map(|it| it.1).unwrap_or(name) {
        name if name.ends_with("two_sided") => it.two_sided,
        name if name.ends_with("greater") => it.greater,
        name if name.ends_with("less") => it.less,
        other => panic!("unknown {other}"),
    }
}

fn binomial_test(case: &Case) -> Outcome {
    let it = proportion::binomial_test(case.count("k"), case.count("n"), case.number("p"));
    case.compare(|name| vec![p_value(name, it)])
}

fn poisson_rate_ratio(case: &Case) -> Outcome {
    let canary = (case.count("count_canary"), case.number("exposure_canary"));
    let baseline = (case.count("count_base"), case.number("exposure_base"));
    let it = proportion::rate_ratio(canary, baseline, case.number("null_ratio"));
    case.compare(|name| {
        vec![match name {
            "rate_ratio" => it.ratio,
            "ci95_exact_low" => it.interval.0,
            "ci95_exact_high" => it.interval.1,
            name if name.contains("midp") => p_value(name, it.mid),
            name => p_value(name, it.exact),
        }]
    })
}

fn fisher_exact_2x2(case: &Case) -> Outcome {
    let row = |i: usize| {
        let cell = |j: usize| case.input("table")[i][j].as_u64().expect("count");
        (cell(0), cell(1))
    };
    let ((a, b), (c, d)) = (row(0), row(1));
    let (odds, it) = proportion::fisher(a, b, c, d);
    case.compare(|name| vec![if name == "odds_ratio" { odds } else { p_value(name, it) }])
}
