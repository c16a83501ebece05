//! How many files and connections this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, for a part that holds connections; answers what it was. The usual
/// soft limit of 1,024 is for programs that use `select`, and such a one may be among the users' own, so they get it back.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, "the limit of open files cannot be raised");
    }
    current
}

/// Sets the soft limit, and leaves the hard one.
///
/// # Errors
/// What the kernel said.
pub fn set_soft(files: u64) -> std::io::Result<()> {
    let Rlimit { current: _, maximum } = getrlimit(Resource::Nofile);
    let current = Some(maximum.map_or(files, |most| files.min(most)));
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum })?)
}
