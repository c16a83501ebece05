//! A revision's own copy of what it runs.
//!
//! `apply` copies the executable and `files:` of a process into `<state>/revisions/<rollout>/<revision>/`; every start
//! uses that copy. So a rebuild in place changes nothing that runs, and stable can be restarted days after its sources
//! are gone. Copies are real ones: a hard link or a shared extent would follow a build that writes in place.
//!
//! # What is copied
//!
//! - A command given as a path (`./server`, `/home/me/bin/server`) is copied, scripts too.
//! - A bare name (`python3`, `node`) is looked up on `PATH` and stays where it is, as interpreters and launchers must;
//!   so do programs below the system's directories, which only the package manager changes, and the interpreter of a
//!   Python virtual environment, which works nowhere else. Name a path to have a program of your own copied.
//! - `files:` are copied with their directories. If there are any, the process runs in that copy, else in its working
//!   directory.
//!
//! The revision's name is a hash over command, environment and the content of everything copied: the same content is
//! the same revision, whenever and from wherever it is applied.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::failpoint;
use crate::local::process::EnvVar;

mod executable;
mod name;
mod script;
mod tree;

pub use executable::ExecutableError;
pub use name::short_hash;
pub use tree::TreeError;

use executable::Executable;

/// Directory of all copies in the state directory.
const DIRECTORY: &str = "revisions";
/// Written last into a copy: what it is.
const MANIFEST: &str = "manifest.json";
/// The copied `files:`, in a copy.
const FILES: &str = "files";
/// The copied executable, in a copy.
const BIN: &str = "bin";
/// Prefix of a copy not finished; such names are no revisions.
const UNFINISHED: &str = ".copy-";

/// What a user asks to be run.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Program and arguments as written.
    pub command: &'a [String],
    /// Environment as written.
    pub env: &'a [EnvVar],
    /// Directory that relative paths start from.
    pub directory: &'a Path,
    /// Files and directories to be copied, relative to `directory`.
    pub files: &'a [PathBuf],
    /// Whatever else makes a revision another one, as text.
    pub more: &'a str,
}

/// A revision's copy, ready to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// The revision's name: 10 characters.
    pub revision: String,
    /// Program and arguments to run.
    pub command: Vec<String>,
    /// Directory to run in.
    pub directory: PathBuf,
    /// The program stays where it is and is not part of the copy.
    pub in_place: bool,
    /// Arguments that name files beside the sources which are *not* copied: a change of theirs changes what runs.
    /// Worth a warning.
    pub uncopied: Vec<PathBuf>,
    /// The whole hash, of which the name is the beginning.
    digest: String,
}

/// Why a copy could not be made. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The program.
    #[error(transparent)]
    Executable(#[from] ExecutableError),
    /// A file.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The state directory.
    #[error("cannot write the copy {}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A copy is there and is not what its name says.
    #[error("{} is not the copy it should be ({what}); remove that directory and apply again", path.display())]
    Damaged {
        /// The copy.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Whether a copy is made to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is there afterwards.
    Keep,
    /// Only its name and what is wrong with it is to be known; nothing is left of it.
    Look,
}

/// Copies what `source` names, or finds the copy that is there already.
///
/// # Crash safety
/// A copy appears under its name complete and on the disk. What a killed process left is removed by [`collect`].
///
/// # Errors
/// [`CopyError`], in words for the user.
pub fn copy(state: &Path, rollout: &str, source: &Source<'_>, purpose: Purpose) -> Result<Copied, CopyError> {
    let unusable = |path: &Path, source| CopyError::Write { path: path.to_owned(), source };
    // Whoever runs the copy stands in another directory.
    let directory = std::path::absolute(source.directory).map_err(|e| unusable(source.directory, e))?;
    let source = &Source { directory: &directory, ..*source };
    let found = executable::find(source)?;
    fs::create_dir_all(state.join(DIRECTORY).join(rollout)).map_err(|e| unusable(state, e))?;
    let state = &fs::canonicalize(state).map_err(|e| unusable(state, e))?;
    let rollout_directory = state.join(DIRECTORY).join(rollout);
    let unfinished = tempdir(&rollout_directory)?;
    let result = fill(state, &unfinished, source, &found).and_then(|digest| {
        let revision = short_hash(&digest);
        let target = rollout_directory.join(&revision);
        let copied = describe(&target, revision, &digest, source, &found);
        if target.exists() {
            return load_checked(&target, &copied.digest);
        }
        if purpose == Purpose::Keep {
            finish(&unfinished, &target, &copied)?;
        }
        Ok(copied)
    });
    if unfinished.exists() {
        // What cannot be removed now is removed by the next `collect`.
        let _ = fs::remove_dir_all(&unfinished);
    }
    if purpose == Purpose::Look {
        // Of a rollout that is not there yet nothing stays; one that has copies keeps its directory.
        let _ = fs::remove_dir(&rollout_directory);
    }
    result
}

/// The copy of a revision made earlier.
///
/// # Errors
/// [`CopyError::Damaged`] when it is not there or not complete.
pub fn load(state: &Path, rollout: &str, revision: &str) -> Result<Copied, CopyError> {
    let path = state.join(DIRECTORY).join(rollout).join(revision);
    let damaged = |what: String| CopyError::Damaged { path: path.clone(), what };
    let text = fs::read(path.join(MANIFEST)).map_err(|e| damaged(e.to_string()))?;
    let copied: Copied = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    if copied.revision != revision {
        return Err(damaged(format!("it says that it is {}", copied.revision)));
    }
    Ok(copied)
}

/// Removes the copies of a rollout that are not in `keep`, and what was left unfinished; answers what was removed.
/// `keep` has to name every revision that the status or a running process refers to.
///
/// # Errors
/// When the directory cannot be read; a copy that cannot be removed is left for the next time.
pub fn collect(state: &Path, rollout: &str, keep: &BTreeSet<String>) -> io::Result<Vec<String>> {
    let directory = state.join(DIRECTORY).join(rollout);
    let mut removed = Vec::new();
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(removed),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if keep.contains(&name) {
            continue;
        }
        // Renamed first: a copy half removed must not be taken for a whole one.
        let mut gone = entry.path();
        if !name.starts_with(UNFINISHED) {
            gone = directory.join(format!("{UNFINISHED}gone-{name}"));
            if fs::rename(entry.path(), &gone).is_err() {
                continue;
            }
        }
        if fs::remove_dir_all(&gone).is_ok() && !name.starts_with(UNFINISHED) {
            removed.push(name);
        }
    }
    removed.sort();
    Ok(removed)
}

/// Copies everything into `unfinished`; the digest of what is there then.
fn fill(
    state: &Path,
    unfinished: &Path,
    source: &Source<'_>,
    found: &Executable,
) -> Result<[u8; 32], CopyError> {
    let mut hash = Sha256::new();
    feed(&mut hash, b"serinus revision 1");
    feed_list(&mut hash, source.command.iter().map(String::as_bytes));
    feed_list(&mut hash, source.env.iter().flat_map(|v| [v.name.as_bytes(), v.value.as_bytes()]));
    feed(&mut hash, source.more.as_bytes());
    match found {
        Executable::InPlace(path) => feed(&mut hash, path.as_os_str().as_encoded_bytes()),
        Executable::AmongFiles(_) => feed(&mut hash, b"among files"),
        Executable::Copy { path, name } => {
            let target = unfinished.join(BIN);
            tree::make_directory(&target)?;
            let digest = tree::copy_file(path, &target.join(name))?;
            tree::sync_directory(&target)?;
            feed(&mut hash, &digest);
        }
    }
    if !source.files.is_empty() {
        let target = unfinished.join(FILES);
        let digest = tree::copy_tree(source.directory, source.files, &target, state)?;
        feed(&mut hash, &digest);
    }
    Ok(hash.finalize().into())
}

fn describe(
    target: &Path,
    revision: String,
    digest: &[u8; 32],
    source: &Source<'_>,
    found: &Executable,
) -> Copied {
    let program = match found {
        Executable::InPlace(path) => path.clone(),
        Executable::AmongFiles(path) => target.join(FILES).join(path),
        Executable::Copy { name, .. } => target.join(BIN).join(name),
    };
    let directory = if source.files.is_empty() { source.directory.to_owned() } else { target.join(FILES) };
    let arguments = source.command.iter().skip(1).cloned();
    Copied {
        revision,
        command: [program.to_string_lossy().into_owned()].into_iter().chain(arguments).collect(),
        directory,
        in_place: matches!(found, Executable::InPlace(_)),
        uncopied: uncopied(source),
        digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// Arguments that are relative paths of existing files which no entry of `files:` covers.
fn uncopied(source: &Source<'_>) -> Vec<PathBuf> {
    let covered = |path: &Path| source.files.iter().any(|file| path.starts_with(clean(file)));
    let arguments =
        source.command.iter().skip(1).filter(|a| !a.starts_with('-')).map(|a| clean(Path::new(a)));
    arguments
        .filter(|path| path.is_relative() && source.directory.join(path).is_file() && !covered(path))
        .collect()
}

/// A path without `./`.
fn clean(path: &Path) -> PathBuf {
    path.components().filter(|c| !matches!(c, std::path::Component::CurDir)).collect()
}

fn finish(unfinished: &Path, target: &Path, copied: &Copied) -> Result<(), CopyError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CopyError::Write { path, source }
    };
    let manifest = unfinished.join(MANIFEST);
    let text = serde_json::to_vec_pretty(copied).map_err(|e| failed(&manifest)(e.into()))?;
    fs::write(&manifest, text).map_err(failed(&manifest))?;
    File::open(&manifest).and_then(|file| file.sync_all()).map_err(failed(&manifest))?;
    tree::sync_directory(unfinished)?;
    failpoint::reached("revision: before a copy appears");
    fs::rename(unfinished, target).map_err(failed(target))?;
    failpoint::reached("revision: after a copy appeared");
    tree::sync_directory(target.parent().unwrap_or(target))?;
    Ok(())
}

fn load_checked(target: &Path, digest: &str) -> Result<Copied, CopyError> {
    let damaged = |what: String| CopyError::Damaged { path: target.to_owned(), what };
    let text = fs::read(target.join(MANIFEST)).map_err(|e| damaged(e.to_string()))?;
    let there: Copied = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    if there.digest != digest {
        return Err(damaged("its content is another one".to_owned()));
    }
    Ok(there)
}

fn tempdir(parent: &Path) -> Result<PathBuf, CopyError> {
    // One process copies at a time, and it never copies twice at once for one rollout.
    let path = parent.join(format!("{UNFINISHED}{}", std::process::id()));
    let failed = |source| CopyError::Write { path: path.clone(), source };
    if path.exists() {
        fs::remove_dir_all(&path).map_err(failed)?;
    }
    fs::create_dir(&path).map_err(failed)?;
    Ok(path)
}

/// Adds a field, its length first, so that no two lists of fields run together.
fn feed(hash: &mut Sha256, field: &[u8]) {
    hash.update((field.len() as u64).to_be_bytes());
    hash.update(field);
}

fn feed_list<'a>(hash: &mut Sha256, fields: impl Iterator<Item = &'a [u8]>) {
    let fields: Vec<_> = fields.collect();
    hash.update((fields.len() as u64).to_be_bytes());
    fields.into_iter().for_each(|field| feed(hash, field));
}

#[cfg(test)]
mod tests;
