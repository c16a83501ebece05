//! Every configuration of the model as far as a minute goes, and the traces that kill mutants.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods, reason = "tests")]

#[path = "model/checker.rs"]
mod checker;

use std::path::PathBuf;

use checker::{
    bridge::Model,
    config,
    coverage::Coverage,
    mutants::{Defect, Kill},
    search::{Bounds, first_states, narrate, search},
    state::St,
};

/// States per configuration; together they are more than [`LEAST`].
const STATES: usize = 12_000;
const LEAST: usize = 300_000;
/// More than any configuration has that is searched whole.
const WHOLE: usize = 100_000;

#[test]
fn every_state_is_safe_and_none_is_stuck() {
    let mut coverage = Coverage::default();
    let mut states = 0;
    for config in config::all() {
        let (live, most) = (config.live, if config.whole { WHOLE } else { STATES });
        let model = Model::new(config);
        let report = search(&model, Bounds { states: most, threads: 2, live });
        assert!(report.complete || !model.config.whole, "{} has grown", model.config.name);
        if let Some(failure) = &report.failure {
            let trace = narrate(&model, failure).join("\n  ");
            panic!("{} breaks {}\n  {trace}", model.config.name, failure.violation);
        }
        let whole = if report.complete { "whole" } else { "in part" };
        eprintln!(
            "{:<28} {:>7} states {:>8} transitions, {whole}",
            model.config.name, report.states, report.transitions
        );
        states += report.states;
        coverage.0.extend(report.coverage.0);
    }
    eprintln!("{states} states; reached: {:?}", coverage.0);
    let missing = coverage.missing();
    assert!(missing.is_empty(), "never reached: {missing:?}");
    assert!(states >= LEAST, "only {states} states");
}

fn trace_of(defect: Defect) -> PathBuf {
    let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/mutants");
    place.join(format!("{}.txt", defect.name()))
}

#[test]
fn every_mutant_is_killed_by_its_trace_and_only_with_its_defect() {
    let mut wrong = vec![];
    for defect in Defect::all() {
        let name = defect.name();
        let Ok(text) = std::fs::read_to_string(trace_of(defect)) else {
            wrong.push(format!("{name} has no trace: run the check command with --mutants"));
            continue;
        };
        let kill = Kill::read(&text).unwrap();
        let (with, without) = (kill.with(defect), kill.without());
        if with.as_ref() != Some(&kill.breaks) {
            wrong.push(format!("{name} survives: {with:?} instead of {}", kill.breaks));
        }
        if without.is_some() {
            wrong.push(format!("{name}: its trace breaks {without:?} without the defect"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(Defect::all().len() >= 30);
}

#[test]
fn states_fit_into_64_bytes_and_read_back() {
    for config in config::all() {
        let model = Model::new(config);
        for st in first_states(&model, 2_000) {
            assert_eq!(std::mem::size_of_val(&st.pack()), 64);
            assert_eq!(St::unpack(&st.pack()), st, "{}", model.config.name);
        }
    }
}
