//! The state directory: private to its user, and to one supervisor at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Longest path of a state directory, bytes: SQLite opens no file of more than 512, its longest name included.
pub const LONGEST: usize = 480;

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process works in it.
    #[error("{} is in use by process {pid}: stop that one, or name another directory with --state", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that has it; `?` if it did not say.
        pid: String,
    },
    /// It belongs to somebody else.
    #[error("{} belongs to user {owner}: name another directory with --state", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// User id of its owner.
        owner: u32,
    },
    /// Its path is longer than the store can open.
    #[error(
        "the path of the state directory is {length} bytes long, and no database can be opened below more than \
         {LONGEST}: name a shorter one with --state"
    )]
    TooLong {
        /// Its length, bytes.
        length: usize,
    },
    /// It could not be made or read.
    #[error("cannot use {} as state directory", path.display())]
    Io {
        /// The directory or a file in it.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Makes the directory if it is missing and closes it to everybody else.
///
/// # Errors
/// [`StateDirError`].
pub fn prepare(path: &Path) -> Result<PathBuf, StateDirError> {
    let failed = |source| StateDirError::Io { path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let metadata = fs::metadata(path).map_err(failed)?;
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own {
        return Err(StateDirError::NotOurs { path: path.to_owned(), owner: metadata.uid() });
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    let path = fs::canonicalize(path).map_err(failed)?;
    match path.as_os_str().len() {
        length if LONGEST < length => Err(StateDirError::TooLong { length }),
        _ => Ok(path),
    }
}

/// A lock file that holds the process id of its owner, if there is room for it. The lock lasts as long as the open file, also over an exec.
///
/// # Errors
/// [`StateDirError::InUse`] names the process that has it.
pub fn lock(path: &Path) -> Result<File, StateDirError> {
    let failed = |source| StateDirError::Io { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path).map_err(failed)?;
    match try_lock(&file) {
        Ok(()) => {}
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "?".to_owned() } else { pid.trim().to_owned() };
            let path = path.parent().unwrap_or(path).to_owned();
            return Err(StateDirError::InUse { path, pid });
        }
        Err(error) => return Err(failed(error.into())),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{}", std::process::id())
    };
    // It is for people: a full disk must not keep anybody from starting.
    let _ = write(&mut file);
    Ok(file)
}

/// Tries for a moment: an owner that died just now, or a child of it between `fork` and `exec`, still holds the lock.
fn try_lock(file: &File) -> rustix::io::Result<()> {
    let mut result = flock(file, FlockOperation::NonBlockingLockExclusive);
    for _ in 0..20 {
        if result != Err(rustix::io::Errno::WOULDBLOCK) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        result = flock(file, FlockOperation::NonBlockingLockExclusive);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_no_store_can_be_opened_in_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut path = directory.path().to_owned();
        while path.as_os_str().len() <= LONGEST {
            prepare(&path).unwrap();
            path.push("d".repeat(50));
        }
        let error = prepare(&path).unwrap_err().to_string();
        assert!(error.contains("name a shorter one with --state"), "{error}");
    }

    #[test]
    fn a_second_owner_is_told_who_has_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = prepare(&directory.path().join("deep/state")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let held = lock(&path.join("lock")).unwrap();
        let error = lock(&path.join("lock")).unwrap_err().to_string();
        assert!(error.contains(&format!("in use by process {}", std::process::id())), "{error}");
        drop(held);
        lock(&path.join("lock")).unwrap();
    }
}
