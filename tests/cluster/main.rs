//! A real control plane: etcd, kube-apiserver, kube-controller-manager and kube-scheduler, in a network of its own.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod engine;
mod lab;
mod namespace;
mod pods;
#[path = "../conformance/splits.rs"]
#[allow(unreachable_pub, reason = "shared with the conformance suite")]
mod splits;

use std::{process::ExitCode, sync::Arc};

use lab::Lab;
use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let selected = |it: &&cases::Case| match (&arguments.filter, arguments.exact) {
        (None, _) => true,
        (Some(filter), true) => it.name == filter.as_str(),
        (Some(filter), false) => it.name.contains(filter.as_str()),
    };
    let none = cases::ALL.iter().filter(selected).count() == 0;
    if arguments.list || none {
        return libtest_mimic::run(&arguments, trials(None)).exit_code();
    }
    let Some(programs) = lab::programs() else { return ExitCode::SUCCESS };
    if let Some(code) = namespace::enter() {
        return code;
    }
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let lab = Arc::new(Lab::start(&programs));
    let conclusion = libtest_mimic::run(&arguments, trials(Some(&lab)));
    lab.nothing_was_forbidden();
    drop(lab);
    conclusion.exit_code()
}

fn trials(lab: Option<&Arc<Lab>>) -> Vec<Trial> {
    let one = |case: &'static cases::Case| {
        let lab = lab.cloned();
        Trial::test(case.name, move || {
            lab.unwrap().in_a_namespace(case);
            Ok(())
        })
    };
    cases::ALL.iter().map(one).collect()
}
