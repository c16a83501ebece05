//! How a supervisor becomes its next version without closing a socket or losing a child.
//!
//! `exec` keeps the process id, so children stay children. Open files are put into the queue of a socket pair whose
//! other end becomes standard input, with what has to be known about them; the next image takes them out again.
//! Nothing else survives, and no descriptor number has to be believed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{MemfdFlags, memfd_create};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::channel::{self, MAX_FILES};

/// Version of the state handed over. A later one reads an earlier one's.
pub(super) const FORMAT: u32 = 1;

/// Files after the state itself, and standard input as it was.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope<S> {
    format: u32,
    files: usize,
    state: S,
}

/// Becomes `program`, which is to call [`receive`].
///
/// # Errors
/// Returns only if that failed; then everything is as it was.
pub(super) fn exec<S: Serialize>(
    program: &Path,
    arguments: &[String],
    state: &S,
    files: &[BorrowedFd<'_>],
) -> io::Error {
    let attempt = || -> io::Result<io::Error> {
        let envelope = Envelope { format: FORMAT, files: files.len(), state };
        let mut text = File::from(memfd_create("handover", MemfdFlags::CLOEXEC)?);
        text.write_all(&serde_json::to_vec(&envelope)?)?;
        text.seek(SeekFrom::Start(0))?;
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let stdin = io::stdin();
        let stdin_was = stdin.as_fd().try_clone_to_owned()?;
        channel::send(ours.as_fd(), b"h", &[text.as_fd(), stdin_was.as_fd()])?;
        for some in files.chunks(MAX_FILES) {
            channel::send(ours.as_fd(), b"f", some)?;
        }
        drop(ours);
        rustix::stdio::dup2_stdin(&theirs)?;
        drop(theirs);
        let error = Command::new(program).args(arguments).exec();
        rustix::stdio::dup2_stdin(&stdin_was)?;
        Ok(error)
    };
    attempt().unwrap_or_else(|error| error)
}

/// Takes what the earlier image of this process left, and gives standard input back.
pub(super) fn receive<S: DeserializeOwned>() -> Result<(S, Vec<OwnedFd>), String> {
    let stdin = io::stdin();
    let said = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
    let mut byte = [0; 1];
    let (_, first) =
        channel::receive(stdin.as_fd(), &mut byte).map_err(|e| said("standard input brings nothing", &e))?;
    let [text, stdin_was]: [OwnedFd; 2] =
        first.try_into().map_err(|_| "two files were expected".to_owned())?;
    let mut json = Vec::new();
    File::from(text).read_to_end(&mut json).map_err(|e| said("the state cannot be read", &e))?;
    let envelope: Envelope<S> =
        serde_json::from_slice(&json).map_err(|e| said("the state is not readable", &e))?;
    if envelope.format > FORMAT {
        return Err(format!("the state is of format {}, this version reads up to {FORMAT}", envelope.format));
    }
    let mut files = Vec::new();
    while files.len() < envelope.files {
        let (read, some) =
            channel::receive(stdin.as_fd(), &mut byte).map_err(|e| said("files are missing", &e))?;
        if read == 0 {
            return Err(format!("{} files were announced, {} came", envelope.files, files.len()));
        }
        files.extend(some);
    }
    rustix::stdio::dup2_stdin(stdin_was).map_err(|e| said("standard input cannot be given back", &e))?;
    Ok((envelope.state, files))
}
