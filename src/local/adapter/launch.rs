//! From a process as a document describes it to one that the supervisor can start. Pure.

use std::collections::BTreeMap;

use strategies::{Arm, HumanDuration, Role};

use crate::{
    local::{
        process::{EnvVar, Limit, LogLimits, ProcessSpec, Restart, RestartWhen, Stop, StopSignal},
        revision::Copied,
        supervisor::protocol::ProcessId,
    },
    workload::{self, Process},
    written::{Parameter, ProcessText},
};

/// How the supervisor calls a replica.
#[must_use]
pub fn process_id(rollout: &str, arm: &Arm, ordinal: u32) -> ProcessId {
    let role = match &arm.role {
        Role::Main => "main".to_owned(),
        Role::Baseline => "baseline".to_owned(),
        Role::Trial(name) => name.to_string(),
    };
    ProcessId { rollout: rollout.to_owned(), revision: arm.revision.to_string(), role, ordinal }
}

/// The environment as the supervisor fills it in.
#[must_use]
pub fn environment(process: &Process) -> Vec<EnvVar> {
    process.env.iter().map(|it| EnvVar { name: it.name.clone(), value: filled(&it.value) }).collect()
}

/// The text with what the supervisor does not know filled in; it fills in port, ordinal and the like for each replica.
#[must_use]
pub fn filled(text: &ProcessText) -> String {
    text.fill(|it| match it {
        Parameter::Namespace => Some("default".to_owned()),
        Parameter::Argument(_)
        | Parameter::Side(..)
        | Parameter::Rollout
        | Parameter::Weight
        | Parameter::Window
        | Parameter::Port
        | Parameter::Ordinal
        | Parameter::Revision
        | Parameter::Role => None,
    })
}

/// What is started: the revision's own copy, with the document's present settings.
#[must_use]
pub fn spec(process: &Process, copied: &Copied) -> ProcessSpec {
    ProcessSpec {
        command: copied.command.clone(),
        env: environment(process),
        directory: copied.directory.clone(),
        log: LogLimits {
            file_bytes: process.logs.size.bytes(),
            files: process.logs.keep,
            ..LogLimits::default()
        },
        restart: Restart {
            when: match process.restart.when {
                workload::RestartWhen::Always => RestartWhen::Always,
                workload::RestartWhen::OnFailure => RestartWhen::OnFailure,
                workload::RestartWhen::Never => RestartWhen::Never,
            },
            initial_ms: ms(process.restart.first),
            max_ms: ms(process.restart.max),
            reset_after_ms: ms(process.restart.reset_after),
        },
        stop: Stop { signal: signal(process.stop.signal), grace_ms: ms(process.stop.grace) },
        limits: process.limits.as_ref().map(limits).unwrap_or_default(),
    }
}

fn ms(it: HumanDuration) -> u64 {
    u64::try_from(it.0.as_millis()).unwrap_or(u64::MAX)
}

fn signal(it: workload::Signal) -> StopSignal {
    match it {
        workload::Signal::Term => StopSignal::Term,
        workload::Signal::Int => StopSignal::Int,
        workload::Signal::Quit => StopSignal::Quit,
        workload::Signal::Hup => StopSignal::Hup,
        workload::Signal::Usr1 => StopSignal::Usr1,
        workload::Signal::Usr2 => StopSignal::Usr2,
        workload::Signal::Kill => StopSignal::Kill,
    }
}

fn limits(it: &workload::ResourceLimits) -> BTreeMap<Limit, u64> {
    let all = [
        (Limit::AddressSpace, it.address_space.map(|it| it.bytes())),
        (Limit::CoreFile, it.core_file.map(|it| it.bytes())),
        (Limit::OpenFiles, it.open_files),
    ];
    all.into_iter().filter_map(|(limit, value)| Some((limit, value?))).collect()
}
