//! Which files the patterns of a document name: `*` and `?` within one name, `**` any number of directories.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Most directories that are looked into.
const MOST: usize = 20_000;

/// Why patterns could not be followed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    /// Nothing fits a pattern: it is misspelt, or the build has not run.
    #[error("files: nothing below {} fits {pattern:?}", below.display())]
    Nothing {
        /// The pattern.
        pattern: String,
        /// Where was looked.
        below: PathBuf,
    },
    /// Too many directories.
    #[error("files: {0:?} leads through more than {MOST} directories; name less")]
    TooMany(String),
    /// A directory that cannot be read.
    #[error("files: cannot read {}", path.display())]
    Read {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The paths that these patterns name below `directory`, in order, each once. What is no pattern is taken as it is.
pub(super) fn named(directory: &Path, patterns: &[String]) -> Result<Vec<PathBuf>, FilesError> {
    let mut found = vec![];
    for pattern in patterns {
        if !pattern.contains(['*', '?']) {
            found.push(PathBuf::from(pattern));
            continue;
        }
        let parts: Vec<&str> = pattern.split('/').filter(|it| !it.is_empty() && *it != ".").collect();
        let mut walk = Walk { directory, pattern, left: MOST, found: vec![] };
        walk.down(&PathBuf::new(), &parts)?;
        if walk.found.is_empty() {
            return Err(FilesError::Nothing { pattern: pattern.clone(), below: directory.to_owned() });
        }
        found.extend(walk.found);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

struct Walk<'a> {
    directory: &'a Path,
    pattern: &'a str,
    left: usize,
    found: Vec<PathBuf>,
}

impl Walk<'_> {
    fn down(&mut self, at: &Path, parts: &[&str]) -> Result<(), FilesError> {
        match parts {
            [] => self.found.push(at.to_owned()),
            ["**"] => self.every(at, |walk, path, _| {
                walk.found.push(path);
                Ok(())
            })?,
            ["**", rest @ ..] => {
                self.down(at, rest)?;
                self.every(
                    at,
                    |walk, path, is_directory| if is_directory { walk.down(&path, parts) } else { Ok(()) },
                )?;
            }
            [part, rest @ ..] if !part.contains(['*', '?']) => {
                let path = at.join(part);
                if self.directory.join(&path).symlink_metadata().is_ok() {
                    self.down(&path, rest)?;
                }
            }
            [part, rest @ ..] => self.every(at, |walk, path, is_directory| {
                let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
                let hidden = name.starts_with('.') && !part.starts_with('.');
                let goes_on = rest.is_empty() || is_directory;
                if !hidden && goes_on && fits(part.as_bytes(), name.as_bytes()) {
                    walk.down(&path, rest)
                } else {
                    Ok(())
                }
            })?,
        }
        Ok(())
    }

    /// Calls `each` for every entry of a directory; none if it is no directory.
    fn every(
        &mut self,
        at: &Path,
        mut each: impl FnMut(&mut Self, PathBuf, bool) -> Result<(), FilesError>,
    ) -> Result<(), FilesError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| FilesError::TooMany(self.pattern.to_owned()))?;
        let path = self.directory.join(at);
        let read = |source| FilesError::Read { path: path.clone(), source };
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(()),
            Err(error) => return Err(read(error)),
        };
        for entry in entries {
            let entry = entry.map_err(read)?;
            // A link to a directory is not followed: it could lead round in a circle.
            let is_directory = entry.file_type().map_err(read)?.is_dir();
            each(self, at.join(entry.file_name()), is_directory)?;
        }
        Ok(())
    }
}

/// Whether a name fits a pattern of `*` and `?`.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skipped| fits(rest, &name[skipped..])),
        ([b'?', rest @ ..], [_, left @ ..]) => fits(rest, left),
        ([first, rest @ ..], [it, left @ ..]) if first == it => fits(rest, left),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(directory: &Path, patterns: &[&str], expected: Result<&[&str], &str>) {
        let patterns: Vec<String> = patterns.iter().map(|it| (*it).to_owned()).collect();
        let found = named(directory, &patterns).map_err(|it| it.to_string());
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(found, expected.iter().map(PathBuf::from).collect::<Vec<_>>());
            }
            (Err(said), Err(part)) => assert!(said.contains(part), "{said}"),
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn patterns_name_what_a_shell_would() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        for path in ["a.py", "b.py", "c.txt", ".hidden.py", "src/d.py", "src/deep/e.py"] {
            fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
            fs::write(at.join(path), "").unwrap();
        }
        check(at, &["*.py"], Ok(&["a.py", "b.py"]));
        check(at, &["?.txt", "a.py"], Ok(&["a.py", "c.txt"]));
        check(at, &["**/*.py"], Ok(&["a.py", "b.py", "src/d.py", "src/deep/e.py"]));
        check(at, &["src/**"], Ok(&["src/d.py", "src/deep"]));
        check(at, &["s*/deep/*"], Ok(&["src/deep/e.py"]));
        check(at, &["gone"], Ok(&["gone"]));
        check(at, &["*.rs"], Err("nothing below"));
        check(at, &["src/*/nothing"], Err("nothing below"));
    }
}
