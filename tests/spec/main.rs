//! What users write: every kind of mistake and what is said about it, the steps that strategies stand for, the
//! schemas, the examples, and the commands that only read.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod commands;
mod crd;
mod examples;
mod mistakes;
mod presets;
mod property;
mod recipes;
mod schemas;
mod services;

use serinus::spec::{self, Read, Report};

/// A Rollout without mistakes: a text to put mistakes into.
const GOOD: &str = r#"apiVersion: serinus.dev/v1alpha1
kind: Rollout
metadata: { name: shop }
spec:
  workload: { process: { command: [ ./shop ] } }
  traffic: [ { proxy: { listen: [ { address: "127.0.0.1:8080" } ] } } ]
  strategy: { canary: {} }
"#;

/// The same with another strategy.
fn with_strategy(strategy: &str) -> String {
    GOOD.replace("{ canary: {} }", strategy)
}

/// The same with more fields below `spec`.
fn with_fields(fields: &str) -> String {
    format!("{GOOD}  {fields}\n")
}

fn rendered(bytes: &[u8]) -> String {
    let read = spec::read("rollout.yaml", bytes);
    report(&read)
}

fn report(read: &Read) -> String {
    Report { source: &read.source, diagnostics: &read.diagnostics }.render(false)
}
