//! The reference numbers: one test per case, calling the functions that the product calls.
//!
//! `vectors/reference.json` holds cases of scipy, statsmodels, confseq and of 50-digit evaluations of this
//! project's own formulas. A case is compared as `|got - expected| <= rtol max(1, |expected|)`.

#[path = "vectors/harness.rs"]
mod harness;
#[path = "vectors/sequential.rs"]
mod sequential;

use std::{collections::BTreeMap, process::ExitCode};

use serde_json::Value;

use harness::{Case, Outcome};

fn main() -> ExitCode {
    let file: Value =
        serde_json::from_str(include_str!("vectors/reference.json")).expect("reference.json is JSON");
    let cases = file["cases"].as_array().expect("cases");
    let mut functions: BTreeMap<&str, fn(&Case) -> Outcome> = BTreeMap::new();
    functions.extend(sequential::FUNCTIONS);
    let tests = cases.iter().filter_map(|case| {
        let case = Case::new(case);
        functions.get(case.function()).map(|check| (case.id().to_owned(), case, *check))
    });
    harness::run(tests.collect())
}
