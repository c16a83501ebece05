//! What a process prints, in files that cannot fill the disk and a few last lines in memory.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::LogLimits;

/// Longest line held in memory, bytes; the file gets all of it.
const MAX_LINE: usize = 2 << 10;

/// The log of one kept process, over all its runs.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    limits: LogLimits,
    file: Option<(File, u64)>,
    last: VecDeque<String>,
    /// How many of `last` were printed since the last line of our own.
    printed: usize,
    partial: Vec<u8>,
    /// Bytes that could not be written to the file (disk full, directory gone).
    pub lost_bytes: u64,
}

impl Log {
    /// A log at `path`; rotated files are `path.1`, `path.2` and so on. Nothing is opened before the first byte.
    #[must_use]
    pub fn new(path: PathBuf, limits: LogLimits) -> Self {
        let limits = LogLimits {
            file_bytes: limits.file_bytes.max(4 << 10),
            files: limits.files.clamp(1, 100),
            lines: limits.lines.min(1_000),
        };
        Self {
            path,
            limits,
            file: None,
            last: VecDeque::new(),
            printed: 0,
            partial: Vec::new(),
            lost_bytes: 0,
        }
    }

    /// Where it is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes what the process printed. A disk that cannot take it loses output, never the process.
    pub fn take(&mut self, bytes: &[u8]) {
        self.remember(bytes);
        if self.append(bytes).is_err() {
            self.lost_bytes = self.lost_bytes.saturating_add(bytes.len() as u64);
        }
    }

    /// Writes to the file and holds nothing in memory.
    ///
    /// # Errors
    /// The disk did not take all of it. The file is opened again for what comes next.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes).inspect_err(|_| self.file = None)
    }

    /// A line of the supervisor's own about this process.
    pub fn note(&mut self, text: &str) {
        let separator = if self.partial.is_empty() { "" } else { "\n" };
        self.take(format!("{separator}serinus: {text}\n").as_bytes());
        self.printed = 0;
    }

    /// The last lines that the process printed since the last [`Log::note`], oldest first, at most `count`.
    #[must_use]
    pub fn said(&self, count: usize) -> Vec<String> {
        let unfinished = usize::from(!self.partial.is_empty());
        self.last(count.min(self.printed + unfinished))
    }

    /// The last lines, oldest first, at most `count`; a line not ended yet is the last one.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<String> {
        let unfinished = (!self.partial.is_empty()).then(|| readable(&self.partial));
        let all = self.last.len() + usize::from(unfinished.is_some());
        self.last.iter().cloned().chain(unfinished).skip(all.saturating_sub(count)).collect()
    }

    fn remember(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                Some(_) | None => (piece, false),
            };
            let room = MAX_LINE.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                self.last.push_back(readable(&self.partial));
                self.printed = self.printed.saturating_add(1);
                self.partial.clear();
                while self.last.len() > self.limits.lines as usize {
                    self.last.pop_front();
                }
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (mut file, size) = match self.file.take() {
                Some(open) => open,
                None => self.open()?,
            };
            if size >= self.limits.file_bytes {
                drop(file);
                self.rotate()?;
                continue;
            }
            let room = usize::try_from(self.limits.file_bytes - size).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            file.write_all(now)?;
            self.file = Some((file, size + now.len() as u64));
            bytes = later;
        }
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }

    fn rotate(&self) -> io::Result<()> {
        if self.limits.files == 1 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.limits.files - 1).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

fn readable(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches('\r').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(directory: &Path) -> Vec<(String, u64)> {
        let mut sizes: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|e| e.unwrap())
            .map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len()))
            .collect();
        sizes.sort();
        sizes
    }

    #[test]
    fn the_files_never_exceed_their_bound_and_the_newest_bytes_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let limits = LogLimits { file_bytes: 4096, files: 3, lines: 2 };
        let mut log = Log::new(directory.path().join("a.log"), limits);
        for n in 0..5_000 {
            log.take(format!("line {n}\n").as_bytes());
        }
        let sizes = sizes(directory.path());
        assert_eq!(
            sizes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["a.log", "a.log.1", "a.log.2"]
        );
        assert!(sizes.iter().all(|(_, size)| *size <= 4096), "{sizes:?}");
        let text = fs::read_to_string(directory.path().join("a.log")).unwrap();
        assert!(text.ends_with("line 4999\n"));
        assert_eq!(log.last(10), ["line 4998", "line 4999"]);
    }

    #[test]
    fn one_write_larger_than_a_file_is_split() {
        let directory = tempfile::tempdir().unwrap();
        let mut log =
            Log::new(directory.path().join("a.log"), LogLimits { file_bytes: 4096, files: 2, lines: 5 });
        log.take(&[b'x'; 10_000]);
        assert_eq!(sizes(directory.path()), [("a.log".into(), 1808), ("a.log.1".into(), 4096)]);
        assert_eq!(log.last(1)[0].len(), MAX_LINE);
    }

    #[test]
    fn a_log_that_cannot_be_written_is_counted_and_still_remembered() {
        let mut log = Log::new(PathBuf::from("/dev/null/a.log"), LogLimits::default());
        log.take(b"first\npart");
        assert_eq!(log.lost_bytes, 10);
        assert_eq!(log.last(9), ["first", "part"]);
        assert_eq!(log.said(9), ["first", "part"]);
        log.note("restarted");
        assert_eq!(log.last(1), ["serinus: restarted"]);
        assert_eq!(log.said(9), [""; 0]);
        log.take(b"one\ntwo\nthree\n");
        assert_eq!(log.said(2), ["two", "three"]);
    }

    #[test]
    fn a_reopened_log_goes_on_where_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        Log::new(path.clone(), LogLimits::default()).take(b"one\n");
        Log::new(path.clone(), LogLimits::default()).take(b"two\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "one\ntwo\n");
    }
}
