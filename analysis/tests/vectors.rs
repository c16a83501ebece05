//! The reference numbers: one test per case, calling the functions that the product calls.
//!
//! `vectors/reference.json` holds cases of scipy, statsmodels, confseq and of 50-digit evaluations of this
//! project's own formulas. A case is compared as `|got - expected| <= rtol max(1, |expected|)`.

#![allow(clippy::expect_used, reason = "a test")]

#[path = "vectors/fixed.rs"]
mod fixed;
#[path = "vectors/harness.rs"]
mod harness;
#[path = "vectors/sequence.rs"]
mod sequence;
#[path = "vectors/sequential.rs"]
mod sequential;

use std::{collections::BTreeMap, process::ExitCode};

use serde_json::Value;

use harness::{Case, Check, Test};

fn main() -> ExitCode {
    let file: Value =
        serde_json::from_str(include_str!("vectors/reference.json")).expect("reference.json is JSON");
    let cases = file["cases"].as_array().expect("cases");
    let mut functions: BTreeMap<&str, Check> = BTreeMap::new();
    functions.extend(sequential::FUNCTIONS);
    functions.extend(fixed::FUNCTIONS);
    functions.extend(sequence::FUNCTIONS);
    let tests = cases.iter().map(|case| {
        let case = Case::new(case);
        let check =
            *functions.get(case.function()).unwrap_or_else(|| panic!("nobody checks {}", case.function()));
        Test { name: case.id().to_owned(), check: Box::new(move || check(&case)) }
    });
    harness::run(tests.collect())
}
