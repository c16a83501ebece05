//! `serinus logs`: what the processes of a rollout printed, from their files.
//!
//! The files are there whether or not anything runs, so nobody is asked for them; of a revision that was turned back
//! they tell why.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Exit, Failure, block_on, color,
    instance::Instance,
    watch::{Unseen, asked_to_end},
};

/// How often files are looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Most of a file that is read at its end, bytes.
const MOST_OF_THE_END: u64 = 4 << 20;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Lines of several processes begin with the revision and the number of the replica. What Serinus adds itself begins with \
`serinus:`: how a run ended, for example.

Examples:
  serinus logs shop --follow
  serinus logs shop --revision vgzs64tjx8 --replica 0 --lines 1000")]
pub(super) struct Args {
    /// Which rollout [default: the only one]
    #[arg(value_name = "ROLLOUT")]
    rollout: Option<String>,

    #[command(flatten)]
    instance: Instance,

    /// Only of this revision; its first characters suffice
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,

    /// Only of this replica, by its number
    #[arg(long, value_name = "N")]
    replica: Option<u32>,

    /// Last lines of each process
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    lines: usize,

    /// Stay and print what comes
    #[arg(long, short)]
    follow: bool,
}

/// The log of one replica.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Source {
    revision: String,
    role: String,
    replica: u32,
}

impl Args {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let directory = self.directory()?;
        let mut tails = BTreeMap::new();
        let mut found = self.sources(&directory)?;
        if found.is_empty() && !self.follow {
            return Err(Failure::NothingToDo {
                what: format!(
                    "no process that was asked for has printed anything into {}",
                    directory.display()
                ),
                help: "`serinus history` lists the revisions; leave out --revision and --replica".to_owned(),
            });
        }
        // The one that printed last comes last.
        found.sort_by_key(|(_, path)| path.metadata().and_then(|it| it.modified()).ok());
        let named = 1 < found.len() || self.follow;
        for (source, path) in found {
            let (last, tail) = Tail::open(&path, self.lines).map_err(cannot_read(&path))?;
            show(&source, &last, named)?;
            tails.insert(source, tail);
        }
        if !self.follow {
            return Ok(Exit::Done);
        }
        block_on(async {
            loop {
                tokio::select! {
                    asked = asked_to_end(Unseen::Ends) => return asked.map(|()| Exit::Done),
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                for (source, path) in self.sources(&directory)? {
                    // One that comes now is read from its beginning.
                    let tail = tails.entry(source.clone()).or_insert_with(|| Tail::new(path.clone()));
                    show(&source, &tail.more().map_err(cannot_read(&path))?, named)?;
                }
            }
        })
    }

    /// Where the logs of the rollout are.
    fn directory(&self) -> Result<PathBuf, Failure> {
        let logs = self.instance.locate()?.join("logs");
        if let Some(name) = &self.rollout {
            let known = rollouts(&logs);
            return match known.contains(name) || self.follow {
                true => Ok(logs.join(name)),
                false => Err(Failure::NoSuchRollout { name: name.clone(), known }),
            };
        }
        match rollouts(&logs).as_slice() {
            [one] => Ok(logs.join(one)),
            [] => Err(Failure::NoRollouts),
            known => Err(Failure::WhichRollout { known: known.to_vec() }),
        }
    }

    fn sources(&self, directory: &Path) -> Result<Vec<(Source, PathBuf)>, Failure> {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(cannot_read(directory)(error)),
        };
        let all = entries.flatten().filter_map(|it| Some((source(it.file_name().to_str()?)?, it.path())));
        let wanted = |(source, _): &(Source, PathBuf)| {
            self.revision.as_ref().is_none_or(|it| source.revision.starts_with(it.as_str()))
                && self.replica.is_none_or(|it| source.replica == it)
        };
        let mut all: Vec<_> = all.filter(wanted).collect();
        all.sort();
        Ok(all)
    }
}

fn cannot_read(path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::File { act: "read", path, source }
}

fn rollouts(logs: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(logs).into_iter().flatten().flatten();
    let folders = entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir()));
    let mut names: Vec<String> = folders.filter_map(|it| it.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The replica whose log is called so; `None`: an older one, or another file.
fn source(name: &str) -> Option<Source> {
    let (revision, rest) = name.strip_suffix(".log")?.split_once('-')?;
    let (role, replica) = rest.rsplit_once('-')?;
    Some(Source { revision: revision.to_owned(), role: role.to_owned(), replica: replica.parse().ok()? })
}

fn show(source: &Source, lines: &[String], named: bool) -> Result<(), Failure> {
    let role = if source.role == "main" { String::new() } else { format!("/{}", source.role) };
    let prefix = match named {
        true => color::paint(color::DIM, format!("{}{role}/{} | ", source.revision, source.replica)),
        false => String::new(),
    };
    let mut out = anstream::stdout().lock();
    let written =
        lines.iter().try_for_each(|line| writeln!(out, "{prefix}{line}")).and_then(|()| out.flush());
    written.map_err(|source| Failure::System { act: "write to standard output", source })
}

/// A file that is read as it grows, also when another takes its place.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    open: Option<(File, u64)>,
    partial: Vec<u8>,
}

impl Tail {
    fn new(path: PathBuf) -> Self {
        Self { path, open: None, partial: vec![] }
    }

    /// The last lines of a file, and what comes after them. A file shorter than that is preceded by the one before.
    fn open(path: &Path, count: usize) -> io::Result<(Vec<String>, Self)> {
        let mut tail = Self::new(path.to_owned());
        let size = path.metadata()?.len();
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(size.saturating_sub(MOST_OF_THE_END)))?;
        tail.open = Some((file, path.metadata()?.ino()));
        let mut lines = tail.more()?;
        if lines.len() < count {
            let mut before = path.as_os_str().to_owned();
            before.push(".1");
            let older = std::fs::read(PathBuf::from(before)).unwrap_or_default();
            let older = String::from_utf8_lossy(&older).lines().map(str::to_owned).collect::<Vec<_>>();
            lines.splice(0..0, older);
        }
        lines.drain(..lines.len().saturating_sub(count));
        Ok((lines, tail))
    }

    /// The lines that have come since.
    fn more(&mut self) -> io::Result<Vec<String>> {
        let mut bytes = std::mem::take(&mut self.partial);
        if let Some((file, _)) = &mut self.open {
            file.read_to_end(&mut bytes)?;
        }
        let now = self.path.metadata().ok().map(|it| it.ino());
        if now.is_some() && now != self.open.as_ref().map(|(_, inode)| *inode) {
            let mut file = File::open(&self.path)?;
            file.read_to_end(&mut bytes)?;
            let inode = file.metadata()?.ino();
            self.open = Some((file, inode));
        }
        let whole = bytes.iter().rposition(|it| *it == b'\n').map_or(0, |it| it + 1);
        self.partial = bytes.split_off(whole);
        Ok(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_known_by_its_name() {
        let expected = Source { revision: "abc".into(), role: "main".into(), replica: 3 };
        assert_eq!(source("abc-main-3.log"), Some(expected));
        assert_eq!(source("abc-trial-b-0.log").map(|it| it.role), Some("trial-b".into()));
        for other in ["abc-main-3.log.1", "supervisor.log", "abc-main.log", "x"] {
            assert_eq!(source(other), None, "{other}");
        }
    }

    #[test]
    fn no_line_is_lost_when_another_file_takes_the_place_of_one_that_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a-main-0.log");
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        let (last, mut tail) = Tail::open(&path, 1).unwrap();
        assert_eq!(last, ["two"]);
        let append = |text: &str| {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append("ee\n");
        assert_eq!(tail.more().unwrap(), ["three"]);
        append("four\n");
        std::fs::rename(&path, directory.path().join("a-main-0.log.1")).unwrap();
        append("five\n");
        assert_eq!(tail.more().unwrap(), ["four", "five"]);
        assert_eq!(tail.more().unwrap(), [""; 0]);
        assert_eq!(Tail::open(&path, 2).unwrap().0, ["four", "five"]);
    }
}
