//! The time of an instance, kept in its state directory, so that durations go on over restarts.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::clock::{self, Timeline};

/// Its file in the state directory.
const FILE: &str = "clock.json";

/// Takes the time of the instance up and follows it in this process. It is `at_least` this late: something that
/// happened then is stored.
///
/// What cannot be read begins anew with the time on the wall, and what cannot be written is written at the next look:
/// no process fails to start for want of a clock.
pub fn take_up(state: &Path, at_least: Timestamp) {
    let reading = clock::reading();
    let timeline = match read(&state.join(FILE)) {
        Ok(Some(before)) => before.go_on(&reading, at_least),
        Ok(None) => Timeline::new(&reading).go_on(&reading, at_least),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "durations begin anew");
            Timeline::new(&reading).go_on(&reading, at_least)
        }
    };
    keep(state, timeline);
}

/// Looks at the clocks, keeps what they say, and tells the log if the wall was set. True if it was.
#[must_use]
pub fn look(state: &Path) -> bool {
    let mut timeline = Timeline::clone(&clock::timeline());
    let step = timeline.look(&clock::reading());
    if let Some(step) = &step {
        tracing::warn!(by = %step.by, "the clock was set; no pause, deadline or measurement is affected");
    }
    keep(state, timeline);
    step.is_some()
}

fn keep(state: &Path, timeline: Timeline) {
    if let Err(error) = write(&state.join(FILE), &timeline) {
        tracing::warn!(error = &error as &dyn std::error::Error, "the time that has passed is not kept");
    }
    clock::follow(timeline);
}

#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", path.display())]
struct FileError {
    path: PathBuf,
    source: io::Error,
}

fn read(path: &Path) -> Result<Option<Timeline>, FileError> {
    let failed = |source| FileError { path: path.to_owned(), source };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Replaces the file. It is not synced: what a power failure takes away is time that does not count.
fn write(path: &Path, timeline: &Timeline) -> Result<(), FileError> {
    let failed = |source| FileError { path: path.to_owned(), source };
    let fresh = path.with_extension(format!("json.{}", std::process::id()));
    let text = serde_json::to_vec(timeline).map_err(|error| failed(error.into()))?;
    fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, path)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_no_timeline_and_what_was_written_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        assert!(read(&path).unwrap().is_none());
        let timeline = Timeline::new(&clock::reading());
        write(&path, &timeline).unwrap();
        assert_eq!(read(&path).unwrap(), Some(timeline));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        fs::write(&path, "{").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("clock.json"));
    }
}
