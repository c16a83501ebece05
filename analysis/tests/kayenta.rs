//! Kayenta's own test suites and what its users reported, as numbers: one test per vector.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "vectors/harness.rs"]
#[allow(dead_code, reason = "shared with the reference cases")]
mod harness;

use std::{collections::BTreeMap, process::ExitCode};

use analysis::stats::{
    fixed::rank::normal_quantile,
    kayenta::{
        classify::{Class, Direction, Measure, NanStrategy, Settings, by_means, classify, clean},
        outlier::{interquartile, k_sigma, without},
        score::{Scored, passes, score},
        shift::{range, root, shift, statistic},
        summary::{cles, cohen_d, deviation, mean, mean_ratio, percentile},
    },
};
use serde_json::Value;

use harness::{Outcome, Test, number, numbers};

/// How one vector is checked.
type CheckVector = fn(&Value) -> Outcome;

fn main() -> ExitCode {
    let file: Value =
        serde_json::from_str(include_str!("vectors/kayenta.json")).expect("kayenta.json is JSON");
    let families: [(&str, CheckVector); 9] = [
        ("classifier", classifier),
        ("mann_whitney", mann_whitney),
        ("wilcoxon_diff", wilcoxon_diff),
        ("detector", detector),
        ("transform", transform),
        ("scorer", scorer),
        ("statistic", summary),
        ("aggregate", aggregate),
        ("issue_reports", reported),
    ];
    let mut tests = Vec::new();
    for (family, check) in families {
        for (i, vector) in file[family].as_array().expect("a family").iter().enumerate() {
            let vector = vector.clone();
            let title = vector["name"].as_str().or_else(|| vector["url"].as_str()).unwrap_or("final score");
            let name = format!("{family}-{i:02} {title}");
            tests.push(Test { name, check: Box::new(move || check(&vector)) });
        }
    }
    harness::run(tests)
}

fn differs(what: &str, want: impl std::fmt::Debug, got: impl std::fmt::Debug) -> Option<String> {
    let (want, got) = (format!("{want:?}"), format!("{got:?}"));
    (want != got).then(|| format!("{what}: {want} expected, {got} computed"))
}

fn near(what: &str, want: f64, got: f64, tolerance: f64) -> Option<String> {
    let same = (want.is_nan() && got.is_nan()) || (got - want).abs() <= tolerance;
    (!same).then(|| format!("{what}: {want} expected, {got} computed"))
}

fn settings(params: &Value) -> Settings {
    let pair = |name: &str| {
        let it = params.get(name).map_or_else(|| vec![1.0, 1.0], numbers);
        (it[0], it[1])
    };
    let text = |name: &str| params[name].as_str().unwrap_or_default();
    Settings {
        tolerance: number(&params["tolerance"]).unwrap_or(0.25),
        confidence: number(&params["confLevel"]).unwrap_or(0.98),
        direction: match text("direction") {
            "increase" => Direction::Increase,
            "decrease" => Direction::Decrease,
            _ => Direction::Either,
        },
        nan: if text("nanStrategy") == "replace" { NanStrategy::Replace } else { NanStrategy::Remove },
        outliers: None,
        measure: if text("effectSizeMeasure") == "cles" { Measure::Cles } else { Measure::MeanRatio },
        allowed: pair("effectSizeThresholds"),
        critical_effect: pair("criticalThresholds"),
        critical: params["isCriticalMetric"].as_bool().unwrap_or(false),
        must_have_data: params["isDataRequired"].as_bool().unwrap_or(false),
    }
}

fn arms(vector: &Value) -> (Vec<f64>, Vec<f64>) {
    (numbers(&vector["experiment"]), numbers(&vector["control"]))
}

fn class(name: &str) -> Class {
    serde_json::from_value(Value::String(name.to_owned())).expect("a class")
}

fn classifier(vector: &Value) -> Outcome {
    let (experiment, control) = arms(vector);
    let asserted = &vector["asserted"];
    if vector["params"]["classifier"] == "MeanInequality" {
        let want = class(asserted["classification"].as_str().expect("a class"));
        return differs("class", want, by_means(&experiment, &control)).into_iter().collect();
    }
    let got = classify(&experiment, &control, &settings(&vector["params"]));
    let mut differences = Vec::new();
    let want = asserted["classification"].as_str().or_else(|| vector["computed"]["classification"].as_str());
    differences.extend(differs("class", class(want.expect("a class")), got.class));
    if let Some(critical) = asserted["critical"].as_bool() {
        differences.extend(differs("critical", critical, got.critical));
    }
    if let Some(deviation) = number(&asserted["deviation"]) {
        differences.extend(near("deviation", deviation, got.deviation, 1e-12));
    }
    if asserted["reason_non_empty"].as_bool() == Some(true) && got.reason().is_empty() {
        differences.push("no reason given".to_owned());
    }
    differences
}

fn mann_whitney(vector: &Value) -> Outcome {
    let (x, y) = arms(vector);
    let asserted = &vector["asserted"];
    let confidence = number(&vector["confLevel"]).expect("a level");
    if vector["mode"] == "raw_brent_without_endpoint_check" {
        let z = normal_quantile((1.0 - confidence) / 2.0);
        let (least, most) = range(&x, &y);
        let at = |mu, quantile| statistic(&x, &y, mu, quantile).expect("not all tied");
        let crossing = |quantile| root(&x, &y, quantile).expect("not all tied");
        let tolerance = number(&asserted["tol"]).expect("a tolerance");
        return [
            ("muMin", least),
            ("muMax", most),
            ("zLower", -z),
            ("zUpper", z),
            ("fLower_at_zLower", at(least, -z)),
            ("fUpper_at_zLower", at(most, -z)),
            ("fLower_at_zUpper", at(least, z)),
            ("fUpper_at_zUpper", at(most, z)),
            ("ciLow", crossing(-z)),
            ("ciHigh", crossing(z)),
            ("estimate", crossing(0.0)),
        ]
        .into_iter()
        .filter_map(|(name, got)| near(name, number(&asserted[name]).expect("a number"), got, tolerance))
        .collect();
    }
    let got = shift(&x, &y, confidence).expect("not all tied");
    let mut differences = Vec::new();
    for (name, got, tolerance) in [
        ("ciLow", got.low, "tol_ci"),
        ("ciHigh", got.high, "tol_ci"),
        ("estimate", got.estimate, "tol_estimate"),
    ] {
        let want = number(&asserted[name]).expect("a number");
        differences.extend(near(name, want, got, number(&asserted[tolerance]).expect("a tolerance")));
        let computed = number(&vector["computed"][name]).expect("a number");
        differences.extend(near(&format!("{name}, all digits"), computed, got, 1e-12));
    }
    differences
}

fn wilcoxon_diff(vector: &Value) -> Outcome {
    let (x, y) = (numbers(&vector["x"]), numbers(&vector["y"]));
    let argument = |name: &str| number(&vector[name]).expect("a number");
    let got = statistic(&x, &y, argument("mu"), argument("quantile")).expect("not all tied");
    let asserted = |name: &str| number(&vector["asserted"][name]).expect("a number");
    near("value", asserted("value"), got, asserted("tol")).into_iter().collect()
}

fn detector(vector: &Value) -> Outcome {
    let (data, params) = (numbers(&vector["data"]), &vector["params"]);
    let got = if params["detector"] == "ksigma" {
        k_sigma(&data, number(&params["k"]).expect("k"))
    } else {
        let reduced = params["reduceSensitivity"].as_bool().expect("a flag");
        interquartile(&data, number(&params["factor"]).expect("a factor"), reduced)
    };
    let want: Vec<bool> = serde_json::from_value(vector["asserted"]["outlier"].clone()).expect("flags");
    differs("outliers", want, got).into_iter().collect()
}

fn transform(vector: &Value) -> Outcome {
    let data = numbers(&vector["data"]);
    let got = match vector["fn"].as_str() {
        Some("remove_nans") => clean(&data, NanStrategy::Remove),
        Some("replace_nans_0") => clean(&data, NanStrategy::Replace),
        Some("iqr_remove_1.5") => without(&data, &interquartile(&data, 1.5, false)),
        Some("ksigma_remove_3") => without(&data, &k_sigma(&data, 3.0)),
        other => panic!("unknown {other:?}"),
    };
    differs("out", numbers(&vector["asserted"]["out"]), got).into_iter().collect()
}

fn scorer(vector: &Value) -> Outcome {
    let weights: BTreeMap<String, f64> =
        serde_json::from_value(vector["groupWeights"].clone()).expect("weights");
    let metrics: Vec<Scored> = vector["metrics"]
        .as_array()
        .expect("metrics")
        .iter()
        .map(|it| Scored {
            groups: serde_json::from_value(it["groups"].clone()).expect("groups"),
            class: class(it["classification"].as_str().expect("a class")),
            critical: it["critical"].as_bool().expect("a flag"),
        })
        .collect();
    let want = number(&vector["asserted"]["summaryScore"]).expect("a score");
    near("score", want, score(&metrics, &weights), 1e-9).into_iter().collect()
}

fn summary(vector: &Value) -> Outcome {
    let data = || numbers(&vector["data"]);
    let asserted = &vector["asserted"];
    if vector["fn"] == "summary" {
        let data = data();
        let least = data.iter().copied().reduce(f64::min).unwrap_or(0.0);
        let most = data.iter().copied().reduce(f64::max).unwrap_or(0.0);
        let all = [("min", least), ("max", most), ("mean", mean(&data)), ("std", deviation(&data))];
        let tolerance = number(&asserted["tol_std"]).unwrap_or(1e-12);
        let check = |(name, got)| near(name, number(&asserted[name]).expect("a number"), got, tolerance);
        return all.into_iter().filter_map(check).collect();
    }
    let p = number(&vector["p"]).unwrap_or(f64::NAN);
    let got = match vector["fn"].as_str() {
        Some("percentile_r7") => percentile(&data(), p),
        Some("normal_quantile") => normal_quantile(p),
        Some(effect) => {
            let (experiment, control) = arms(vector);
            match effect {
                "meanRatio" => mean_ratio(&experiment, &control),
                "cohenD" => cohen_d(&experiment, &control),
                "cles" => cles(&experiment, &control),
                other => panic!("unknown {other}"),
            }
        }
        None => panic!("no function"),
    };
    let tolerance = number(&asserted["tol"]).unwrap_or(1e-12);
    let mut differences: Outcome =
        near("value", number(&asserted["value"]).expect("a number"), got, tolerance).into_iter().collect();
    if let Some(computed) = number(&vector["computed"]) {
        differences.extend(near("all digits", computed, got, 1e-12));
    }
    differences
}

fn aggregate(vector: &Value) -> Outcome {
    let score = number(&vector["finalScore"]).expect("a score");
    let got = passes(score, number(&vector["pass"]), number(&vector["marginal"]));
    differs("passes", vector["asserted"]["didPass"].as_bool().expect("a flag"), got).into_iter().collect()
}

fn reported(vector: &Value) -> Outcome {
    let (experiment, control) = arms(vector);
    let got = classify(&experiment, &control, &settings(&vector["params"]));
    let computed = &vector["computed"];
    let it = shift(&experiment, &control, 0.98).expect("not all tied");
    let want = class(vector["reported"]["classification"].as_str().expect("a class"));
    let mut differences: Outcome = differs("class", want, got.class).into_iter().collect();
    for (name, got) in
        [("deviation", got.deviation), ("ci_low", it.low), ("ci_high", it.high), ("estimate", it.estimate)]
    {
        differences.extend(near(name, number(&computed[name]).expect("a number"), got, 1e-12));
    }
    differences
}
