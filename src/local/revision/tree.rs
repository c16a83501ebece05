//! Copying files so that the copy is what was there at one moment, on the disk, and known by its content.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{clean, feed};

/// Most files and directories in one copy.
const MAX_ENTRIES: usize = 200_000;
/// Most bytes in one copy.
const MAX_BYTES: u64 = 8 << 30;

/// Why a file could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Not a path below the working directory.
    #[error("files: {} is not below the working directory; give a relative path without ..", .0.display())]
    Outside(PathBuf),
    /// It is not there.
    #[error("files: there is no {}", .0.display())]
    Missing(PathBuf),
    /// A socket, a pipe, a device.
    #[error("files: {} is neither a file nor a directory", .0.display())]
    Special(PathBuf),
    /// A link to somewhere that is not copied.
    #[error(
        "files: the link {} leads to {}, which is not copied with it; copy that too, or replace the link by the file",
        link.display(), target.display()
    )]
    LinkOut {
        /// The link.
        link: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// It was written while it was read.
    #[error("{} was changed while it was copied; apply again when the build is done", .0.display())]
    Changed(PathBuf),
    /// More than anybody wants copied.
    #[error("files: more than {MAX_ENTRIES} files or {MAX_BYTES} bytes; name less")]
    TooMuch,
    /// Reading.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Writing.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// One thing to be copied, by its path below the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Directory,
    File { executable: bool },
    Link(PathBuf),
}

/// Copies `files` of `from` into the new directory `to`, leaving out `except`; the digest of all paths and contents.
pub(super) fn copy_tree(
    from: &Path,
    files: &[PathBuf],
    to: &Path,
    except: &Path,
) -> Result<[u8; 32], TreeError> {
    let entries = list(from, files, except)?;
    let mut hash = Sha256::new();
    make_directory(to)?;
    for (path, entry) in &entries {
        let target = to.join(path);
        feed(&mut hash, path.as_os_str().as_encoded_bytes());
        match entry {
            Entry::Directory => {
                make_directory(&target)?;
                feed(&mut hash, b"directory");
            }
            Entry::File { executable } => {
                let digest = copy_file(&from.join(path), &target)?;
                feed(&mut hash, if *executable { b"program" } else { b"file" });
                feed(&mut hash, &digest);
            }
            Entry::Link(leads_to) => {
                let made = std::os::unix::fs::symlink(leads_to, &target);
                made.map_err(|source| TreeError::Write { path: target.clone(), source })?;
                feed(&mut hash, b"link");
                feed(&mut hash, leads_to.as_os_str().as_encoded_bytes());
            }
        }
    }
    for (path, _) in entries.iter().filter(|(_, entry)| **entry == Entry::Directory) {
        sync_directory(&to.join(path))?;
    }
    sync_directory(to)?;
    Ok(hash.finalize().into())
}

/// Everything to copy; parents before children, because paths sort so.
fn list(from: &Path, files: &[PathBuf], except: &Path) -> Result<BTreeMap<PathBuf, Entry>, TreeError> {
    let mut entries = BTreeMap::new();
    let mut bytes = 0;
    let mut todo = Vec::new();
    for file in files {
        let path = clean(file);
        if path.components().any(|c| !matches!(c, Component::Normal(_))) {
            return Err(TreeError::Outside(file.clone()));
        }
        for parent in path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
            entries.insert(parent.to_owned(), Entry::Directory);
        }
        todo.push(path);
    }
    let except = fs::canonicalize(except).unwrap_or_else(|_| except.to_owned());
    while let Some(path) = todo.pop() {
        let place = from.join(&path);
        let metadata = fs::symlink_metadata(&place).map_err(|source| missing_or(&place, source))?;
        if metadata.is_dir() {
            if fs::canonicalize(&place).is_ok_and(|real| real == except) {
                continue;
            }
            for child in
                fs::read_dir(&place).map_err(|source| TreeError::Read { path: place.clone(), source })?
            {
                let child = child.map_err(|source| TreeError::Read { path: place.clone(), source })?;
                todo.push(path.join(child.file_name()));
            }
            // `.` itself is the copy's root and is there already.
            if !path.as_os_str().is_empty() {
                entries.insert(path, Entry::Directory);
            }
        } else if metadata.is_symlink() {
            entries.insert(path.clone(), link(from, &path)?);
        } else if metadata.is_file() {
            bytes += metadata.len();
            entries.insert(path, Entry::File { executable: metadata.permissions().mode() & 0o111 != 0 });
        } else {
            return Err(TreeError::Special(place));
        }
        if entries.len() > MAX_ENTRIES || bytes > MAX_BYTES {
            return Err(TreeError::TooMuch);
        }
    }
    check_links(&entries)?;
    Ok(entries)
}

fn missing_or(path: &Path, source: io::Error) -> TreeError {
    if source.kind() == io::ErrorKind::NotFound {
        TreeError::Missing(path.to_owned())
    } else {
        TreeError::Read { path: path.to_owned(), source }
    }
}

/// A link is copied as one if it stays inside; one to a file outside becomes that file.
fn link(from: &Path, path: &Path) -> Result<Entry, TreeError> {
    let place = from.join(path);
    let target = fs::read_link(&place).map_err(|source| TreeError::Read { path: place.clone(), source })?;
    if resolve(path, &target).is_some() {
        return Ok(Entry::Link(target));
    }
    let metadata = fs::metadata(&place).map_err(|source| missing_or(&place, source))?;
    if metadata.is_file() {
        return Ok(Entry::File { executable: metadata.permissions().mode() & 0o111 != 0 });
    }
    Err(TreeError::LinkOut { link: place, target })
}

/// Where a link at `path` leads, below the same root; `None` if it leaves it.
fn resolve(path: &Path, target: &Path) -> Option<PathBuf> {
    if target.is_absolute() {
        return None;
    }
    let mut place: PathBuf = path.parent()?.to_owned();
    for component in target.components() {
        match component {
            Component::Normal(name) => place.push(name),
            Component::ParentDir => {
                if !place.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(place)
}

/// What a link leads to has to be in the copy too.
fn check_links(entries: &BTreeMap<PathBuf, Entry>) -> Result<(), TreeError> {
    for (path, entry) in entries {
        let Entry::Link(target) = entry else { continue };
        let leads_to = resolve(path, target).unwrap_or_default();
        // Through other links, or to the root itself: followed at run time, inside the copy.
        let through_link = leads_to.ancestors().any(|a| matches!(entries.get(a), Some(Entry::Link(_))));
        if !leads_to.as_os_str().is_empty() && !entries.contains_key(&leads_to) && !through_link {
            return Err(TreeError::LinkOut { link: path.clone(), target: target.clone() });
        }
    }
    Ok(())
}

/// Copies one file, to the disk; the digest of what was written.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<[u8; 32], TreeError> {
    let unreadable = |source| TreeError::Read { path: from.to_owned(), source };
    let unwritable = |source| TreeError::Write { path: to.to_owned(), source };
    let mut input = File::open(from).map_err(|source| missing_or(from, source))?;
    let before = input.metadata().map_err(unreadable)?;
    let mode = if before.permissions().mode() & 0o111 == 0 { 0o600 } else { 0o700 };
    let mut options = OpenOptions::new();
    let mut output = options.write(true).create_new(true).mode(mode).open(to).map_err(unwritable)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 128 << 10];
    let mut size = 0;
    loop {
        let read = input.read(&mut chunk).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        output.write_all(&chunk[..read]).map_err(unwritable)?;
        size += read as u64;
    }
    let after = input.metadata().map_err(unreadable)?;
    let stamp = |m: &fs::Metadata| (m.len(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    if stamp(&before) != stamp(&after) || size != before.len() {
        return Err(TreeError::Changed(from.to_owned()));
    }
    output.sync_all().map_err(unwritable)?;
    Ok(hash.finalize().into())
}

pub(super) fn make_directory(path: &Path) -> Result<(), TreeError> {
    let made = fs::DirBuilder::new().mode(0o700).create(path);
    made.map_err(|source| TreeError::Write { path: path.to_owned(), source })
}

pub(super) fn sync_directory(path: &Path) -> Result<(), TreeError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|source| TreeError::Write { path: path.to_owned(), source })
}
