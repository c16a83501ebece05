//! Cases of the sequential judge's own formulas.

use analysis::stats::{
    divergence,
    gauge::{one_sided_lower, rho_squared, two_sided_half_width},
    increment::{self, Form, Stratum},
    mixture::{Mixture, Plain, Starts},
    prior::Prior,
    sample_ratio,
};

use crate::harness::{Case, Check, Outcome};

/// The functions, by the name that cases use.
pub(crate) const FUNCTIONS: [(&str, Check); 5] = [
    ("sce_log_increment", sce_log_increment),
    ("sce_path", sce_path),
    ("kl_per_event", kl_per_event),
    ("srm_chi_square", srm_chi_square),
    ("asymptotic_cs", asymptotic_cs),
];

fn sce_log_increment(case: &Case) -> Outcome {
    let it = Stratum {
        canary_total: case.count("n_canary"),
        canary_bad: case.count("x_canary"),
        baseline_total: case.count("n_base"),
        baseline_bad: case.count("x_base"),
    };
    let (psi1, psi0) = (case.number("psi1"), case.number("psi0"));
    let exact = increment::exact(it, psi1, psi0);
    let mut differences = case.compare(|name| match name {
        "poisson" => vec![increment::poisson(it, psi1, psi0)],
        "exact_nchg" => vec![exact],
        "bound" => vec![increment::bound(it, psi1, psi0)],
        other => panic!("unknown {other}"),
    });
    if psi0 == 1.0 {
        for (name, got) in
            [("poisson", increment::poisson(it, psi1, psi0)), ("bound", increment::bound(it, psi1, psi0))]
        {
            if exact + 1e-10 * exact.abs().max(1.0) < got {
                differences.push(format!("{name} {got} exceeds exact {exact}"));
            }
        }
    }
    differences
}

fn sce_path(case: &Case) -> Outcome {
    let strata: Vec<Stratum> = (0..case.counts("n_canary").len())
        .map(|i| Stratum {
            canary_total: case.counts("n_canary")[i],
            canary_bad: case.counts("x_canary")[i],
            baseline_total: case.counts("n_base")[i],
            baseline_bad: case.counts("x_base")[i],
        })
        .collect();
    let prior = Prior::errors();
    let margin = case.number("promote_margin");
    let promotion = Prior::promotion(margin);
    let mut differences = Vec::new();
    for (name, got) in [("grid_psi", &prior.psi), ("promote_grid", &promotion.psi)] {
        let want = case.numbers(name);
        if want.iter().zip(got).any(|(a, b)| 1e-12 < (a - b).abs()) {
            differences.push(format!("{name}: {got:?}, expected {want:?}"));
        }
    }
    let mut worse = Mixture::new(Starts::planned(strata.len() as u32));
    let mut once = Mixture::new(Starts::once());
    let mut good = Plain::new(promotion.psi.len());
    let (mut restarting, mut plain, mut promote) = (Vec::new(), Vec::new(), Vec::new());
    for (i, it) in strata.iter().enumerate() {
        worse.begin(i as u32, prior.psi.len());
        once.begin(i as u32, prior.psi.len());
        increment::each(*it, 1.0, &prior.psi, |k, by| {
            worse.add(k, by);
            once.add(k, by);
        });
        // The cases were made with the Poisson form throughout; the product takes the exact one above 1 % bad.
        increment::each_as(Form::Poisson, *it, margin, &promotion.psi, |k, by| good.add(k, by));
        restarting.push(worse.ln_e(&prior.ln_share));
        plain.push(once.ln_e(&prior.ln_share));
        promote.push(good.ln_e(&promotion.ln_share));
    }
    differences.extend(case.compare(|name| match name {
        "log_e_rollback_restart" => restarting.clone(),
        "log_e_rollback" => plain.clone(),
        "log_e_promote" => promote.clone(),
        other => panic!("unknown {other}"),
    }));
    differences
}

fn kl_per_event(case: &Case) -> Outcome {
    let (share, psi) = (case.number("share"), case.number("psi"));
    case.compare(|name| match name {
        "q1" => vec![divergence::bad_share(share, psi)],
        "kl_nats" => vec![divergence::towards_roll_back(share, psi)],
        "kl_promote_margin" => vec![divergence::towards_promotion(share, psi)],
        other => panic!("unknown {other}"),
    })
}

fn srm_chi_square(case: &Case) -> Outcome {
    let observed = case.counts("observed");
    let (chi2, p) = sample_ratio::chi_square(observed[0], observed[1], case.number("weight"));
    case.compare(|name| vec![if name == "p" { p } else { chi2 }])
}

fn asymptotic_cs(case: &Case) -> Outcome {
    let (mean, variance) = (case.number("mean"), case.number("variance"));
    let (t, alpha) = (case.number("t"), case.number("alpha"));
    let rho2 = rho_squared(alpha, case.number("t_opt"));
    case.compare(|name| match name {
        "rho2" => vec![rho2],
        "one_sided_lower" => vec![one_sided_lower(mean, variance, t, alpha, rho2)],
        "two_sided_half_width" => vec![two_sided_half_width(variance, t, alpha, rho2)],
        other => panic!("unknown {other}"),
    })
}
