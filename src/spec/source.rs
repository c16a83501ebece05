use std::ops::Range;

use super::diagnostic::{Code, Diagnostic};

/// The largest file that is read, bytes. A Rollout is some kilobytes; Kubernetes stores at most 1.5 MiB.
pub const MOST_BYTES: usize = 4 << 20;

/// The text of one file and where its lines begin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    name: String,
    text: String,
    lines: Vec<usize>,
}

/// A place in a file as people count: from 1, columns in characters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Source {
    /// A file called `name` with this content, without its byte order mark and with plain line feeds.
    ///
    /// # Errors
    ///
    /// One diagnostic when there is nothing to read: too large, empty, or no UTF-8. The source then holds the
    /// part that can be shown.
    pub fn new(name: &str, bytes: &[u8]) -> (Self, Option<Diagnostic>) {
        if MOST_BYTES < bytes.len() {
            let message = format!(
                "this file has {:.1} MiB; at most {} MiB are read",
                bytes.len() as f64 / f64::from(1 << 20),
                MOST_BYTES >> 20
            );
            let wrong = Diagnostic::error(Code::TooLarge, 0..0, message)
                .help("a Rollout is some kilobytes: is this the right file? Otherwise split it");
            return (Self::of_text(name, String::new()), Some(wrong));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let source = Self::of_text(name, text.replace("\r\n", "\n"));
                let wrong = source.text.trim().is_empty().then(|| {
                    Diagnostic::error(Code::Empty, 0..0, "this file is empty")
                        .help("write at least `apiVersion: serinus.dev/v1alpha1` and `kind: Rollout`")
                });
                (source, wrong)
            }
            Err(error) => Self::not_utf8(name, bytes, error.valid_up_to()),
        }
    }

    fn not_utf8(name: &str, bytes: &[u8], valid: usize) -> (Self, Option<Diagnostic>) {
        let good = bytes.get(..valid).unwrap_or_default();
        let text = String::from_utf8_lossy(good).replace("\r\n", "\n");
        let byte = bytes.get(valid).copied().unwrap_or_default();
        let end = text.len();
        // What follows on the same line is shown as far as it can be.
        let rest = bytes.get(valid..).unwrap_or_default();
        let line = rest.split(|it| *it == b'\n').next().unwrap_or_default();
        let shown: String =
            String::from_utf8_lossy(line.get(..line.len().min(80)).unwrap_or_default()).into_owned();
        let width = shown.chars().next().map_or(0, char::len_utf8);
        let source = Self::of_text(name, text + &shown);
        let wrong = Diagnostic::error(Code::NotUtf8, end..end + width, "this file is not UTF-8")
            .label(format!("byte 0x{byte:02x} has no meaning here"))
            .help("save it as UTF-8; every editor can");
        (source, Some(wrong))
    }

    fn of_text(name: &str, text: String) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { name: name.to_owned(), text, lines }
    }

    /// What the file is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text of a span; empty where the span is none.
    #[must_use]
    pub fn slice(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// Where byte `at` stands.
    #[must_use]
    pub fn position(&self, at: usize) -> Position {
        let line = self.line_of(at);
        let start = self.lines.get(line).copied().unwrap_or_default();
        let before = self.text.get(start..at).unwrap_or_default();
        Position { line: line + 1, column: before.chars().count() + 1 }
    }

    /// Index of the line that byte `at` is on, from 0.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// The span of the lines `first ..= last`, counted from 0, without the last line feed.
    pub(super) fn lines(&self, first: usize, last: usize) -> Range<usize> {
        let start = self.lines.get(first).copied().unwrap_or(self.text.len());
        let end = self.lines.get(last + 1).map_or(self.text.len(), |it| it - 1);
        start..end.max(start)
    }

    /// The part of `span` that stands on its first line, never empty where the line is not.
    pub(super) fn first_line(&self, span: &Range<usize>) -> Range<usize> {
        let line = self.lines(self.line_of(span.start), self.line_of(span.start));
        let end = span.end.min(line.end).max(span.start);
        let shown = self.slice(&(span.start..end)).trim_end().len();
        span.start..span.start + shown
    }
}
