//! Finding the program of a command, and whether it is copied.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Source, clean, script};

/// Directories that only the package manager changes. `/usr/local` and `/opt` are people's own.
const SYSTEM: [&str; 6] = ["/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/nix/store/"];
/// Where people put their own programs, although it is below one of [`SYSTEM`].
const PEOPLES: &str = "/usr/local/";

/// Where the program is, and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Executable {
    /// It stays there.
    InPlace(PathBuf),
    /// It is one of `files:`; relative.
    AmongFiles(PathBuf),
    /// It is copied.
    Copy {
        /// Where it is.
        path: PathBuf,
        /// Its name in the copy.
        name: PathBuf,
    },
}

/// Why a command has no program.
#[derive(Debug, thiserror::Error)]
pub enum ExecutableError {
    /// There is no command.
    #[error("the command is empty: name a program")]
    Empty,
    /// A bare name is not on `PATH`.
    #[error("{name} is not on PATH{hint}")]
    NotOnPath {
        /// The name.
        name: String,
        /// What else the user may have meant.
        hint: String,
    },
    /// A path leads nowhere.
    #[error("there is no program {}{hint}", path.display())]
    Missing {
        /// The path, made absolute.
        path: PathBuf,
        /// What else the user may have meant.
        hint: &'static str,
    },
    /// It is a directory or a device.
    #[error("{} is not a file", .0.display())]
    NotAFile(PathBuf),
    /// A start script whose application is beside it.
    #[error(
        "{} looks for its application beside itself (line {line}: `{text}`), and only what `files:` lists is copied with \
         it: write {cure}", path.display()
    )]
    BesideItself {
        /// The script.
        path: PathBuf,
        /// The line that tells, from 1.
        line: usize,
        /// That line.
        text: String,
        /// What to write.
        cure: String,
    },
    /// It may not be executed.
    #[error("{} is not executable: chmod +x {}, or name its interpreter first", .0.display(), .0.display())]
    NotExecutable(PathBuf),
    /// It cannot be looked at.
    #[error("cannot look at {}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

pub(super) fn find(source: &Source<'_>) -> Result<Executable, ExecutableError> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    find_on(source, &search_path)
}

pub(super) fn find_on(source: &Source<'_>, search_path: &OsStr) -> Result<Executable, ExecutableError> {
    let written = source.command.first().filter(|name| !name.is_empty()).ok_or(ExecutableError::Empty)?;
    if !written.contains('/') {
        return on_path(written, source.directory, search_path).map(Executable::InPlace);
    }
    let relative = clean(Path::new(written));
    let path = source.directory.join(&relative);
    check(&path)?;
    if relative.is_relative() && source.files.iter().any(|file| relative.starts_with(clean(file))) {
        return Ok(Executable::AmongFiles(relative));
    }
    let text = path.to_string_lossy();
    let of_the_system = SYSTEM.iter().any(|s| text.starts_with(s)) && !text.starts_with(PEOPLES);
    if of_the_system || is_in_virtual_environment(&path) {
        return Ok(Executable::InPlace(path));
    }
    if let Some((line, text)) = script::finds_beside_itself(&path) {
        let cure = home(&relative, &text);
        return Err(ExecutableError::BesideItself { path, line, text, cure });
    }
    let name = path.file_name().map(PathBuf::from).ok_or_else(|| ExecutableError::NotAFile(path.clone()))?;
    Ok(Executable::Copy { path, name })
}

/// The fields by which a script is copied with what is beside it: with the directory above its own where it goes up.
fn home(script: &Path, line: &str) -> String {
    let own = script.parent().unwrap_or(Path::new(""));
    let home = if line.contains("..") { own.parent().unwrap_or(own) } else { own };
    if script.is_absolute() {
        let below = script.strip_prefix(home).unwrap_or(script);
        return format!(
            "`workingDir: {}`, `command: [ ./{}, … ]` and `files: [ . ]`",
            home.display(),
            below.display()
        );
    }
    let home = if home.as_os_str().is_empty() { Path::new(".") } else { home };
    format!("`files: [ {} ]`", home.display())
}

fn on_path(name: &str, directory: &Path, search_path: &OsStr) -> Result<PathBuf, ExecutableError> {
    let candidates = std::env::split_paths(search_path).map(|place| place.join(name));
    for candidate in candidates.filter(|path| path.is_absolute()) {
        if check(&candidate).is_ok() {
            return Ok(candidate);
        }
    }
    let beside = directory.join(name).is_file();
    let hint = if beside { format!("; a file of that name is here: write ./{name}") } else { String::new() };
    Err(ExecutableError::NotOnPath { name: name.to_owned(), hint })
}

fn check(path: &Path) -> Result<(), ExecutableError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = path.to_string_lossy();
            let hint = if text.contains("/target/") {
                ": build it first"
            } else if text.contains(char::is_whitespace) {
                ": each word of a command is written by itself, `[ ./program, --option ]`"
            } else {
                ""
            };
            return Err(ExecutableError::Missing { path: path.to_owned(), hint });
        }
        Err(source) => return Err(ExecutableError::Io { path: path.to_owned(), source }),
    };
    if !metadata.is_file() {
        return Err(ExecutableError::NotAFile(path.to_owned()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(ExecutableError::NotExecutable(path.to_owned()));
    }
    Ok(())
}

/// Such an interpreter finds its environment beside itself.
fn is_in_virtual_environment(path: &Path) -> bool {
    path.parent().and_then(Path::parent).is_some_and(|root| root.join("pyvenv.cfg").is_file())
}
