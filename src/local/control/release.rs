//! From what a document delivers to a revision that can be run, now and after days.

use std::path::{Path, PathBuf};

use strategies::Revision;

use crate::{
    api::Refusal,
    local::{
        adapter::{
            launch,
            release::{Runs, StoredRelease, listed},
        },
        control::files,
        revision::{self, Purpose, Source},
    },
    workload::{Process, Upstream, Workload},
};

/// A revision that was made, or found.
#[derive(Debug)]
pub(super) struct Made {
    /// Its name.
    pub(super) revision: Revision,
    /// What is stored of it.
    pub(super) release: StoredRelease,
    /// Files that it names and that are not part of its copy.
    pub(super) uncopied: Vec<PathBuf>,
}

/// Makes a revision of what a document delivers. Reads and copies files: call it where that may block.
pub(super) fn make(
    state: &Path,
    rollout: &str,
    workload: &Workload,
    base: &Path,
    text: &str,
    restarts: u64,
    purpose: Purpose,
) -> Result<Made, Refusal> {
    match workload {
        Workload::Process(process) => of_process(state, rollout, process, base, text, restarts, purpose),
        Workload::Upstream(upstream) => of_upstream(upstream, text),
    }
}

fn of_process(
    state: &Path,
    rollout: &str,
    process: &Process,
    base: &Path,
    text: &str,
    restarts: u64,
    purpose: Purpose,
) -> Result<Made, Refusal> {
    let command: Vec<String> = process.command.iter().map(launch::filled).collect();
    let env = launch::environment(process);
    let directory = process.working_dir.as_ref().map_or_else(|| base.to_owned(), |it| base.join(it));
    let files = files::named(&directory, &process.files).map_err(|error| Refusal::Invalid(chain(&error)))?;
    let more = more(process, restarts)?;
    let source = Source { command: &command, env: &env, directory: &directory, files: &files, more: &more };
    let copied =
        revision::copy(state, rollout, &source, purpose).map_err(|error| Refusal::Invalid(chain(&error)))?;
    let runs = Runs::Process {
        spec: Box::new(launch::spec(process, &copied)),
        readiness: process.readiness.clone(),
        command,
    };
    let revision = Revision::from(copied.revision.as_str());
    Ok(Made { revision, release: StoredRelease { runs, text: text.to_owned() }, uncopied: copied.uncopied })
}

/// Settings that can only be changed by starting a process anew are part of its revision.
fn more(process: &Process, restarts: u64) -> Result<String, Refusal> {
    let settings = (&process.logs, &process.restart, &process.stop, &process.limits, restarts);
    serde_json::to_string(&settings).map_err(|error| Refusal::Invalid(error.to_string()))
}

fn of_upstream(upstream: &Upstream, text: &str) -> Result<Made, Refusal> {
    let addresses = listed(upstream, upstream.current.as_str());
    let addresses = addresses.ok_or_else(|| {
        Refusal::Invalid(format!("`current: {}` is none of the releases of this upstream", upstream.current))
    })?;
    let runs = Runs::Upstream { addresses: addresses.to_vec() };
    let release = StoredRelease { runs, text: text.to_owned() };
    Ok(Made { revision: upstream.current.as_str().into(), release, uncopied: vec![] })
}

/// An error with everything behind it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(it) = source {
        text.push_str(": ");
        text.push_str(&it.to_string());
        source = it.source();
    }
    text
}
