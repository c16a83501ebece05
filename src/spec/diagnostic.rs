//! What is said about a file: for people as text with the place underlined, for programs as records.

use std::{fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use super::Source;

/// The most mistakes of one file that are shown; the rest are counted.
pub const MOST_SHOWN: usize = 100;

/// Something to say about a file, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name for programs.
    pub code: Code,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// The text it is about, in bytes of [`Source::text`].
    pub span: Range<usize>,
    /// What is said at that text: most often what it should be.
    pub label: Option<String>,
    /// What to write at that text instead, where one thing is likely.
    pub instead: Option<String>,
    /// Other places that matter, and why.
    pub related: Vec<(Range<usize>, String)>,
    /// What to do.
    pub help: Vec<String>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// It cannot be run.
    Error,
    /// It can be run and is seldom meant.
    Warning,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $Code:ident = $text:literal,)*) => {
        /// Stable names of everything that can be said about a file.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub enum Code {
            $($(#[$doc])* $Code,)*
            /// A strategy that makes no sense.
            Recipe(&'static str),
        }

        impl Code {
            /// Every code but those of recipes.
            pub const ALL: &[Self] = &[$(Self::$Code,)*];

            /// The name that programs see.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$Code => $text,)* Self::Recipe(code) => code }
            }
        }
    };
}

codes! {
    /// The file is larger than what is read.
    TooLarge = "file-too-large",
    /// The file holds nothing.
    Empty = "file-empty",
    /// The file is not UTF-8.
    NotUtf8 = "file-not-utf8",
    /// The file could not be opened or read.
    Unreadable = "file-unreadable",
    /// The text is no YAML.
    Yaml = "yaml-syntax",
    /// A YAML feature that is not supported: tags, merge keys, keys that are no text.
    YamlFeature = "yaml-feature",
    /// Aliases that make a small file large.
    TooManyNodes = "yaml-too-many-values",
    /// A plain word that other readers take for true or false.
    YamlBoolean = "yaml-boolean",
    /// A number that is not finite.
    Number = "number-not-finite",
    /// A key that stands twice.
    DuplicateKey = "duplicate-key",
    /// A document of an unknown kind.
    UnknownKind = "unknown-kind",
    /// A field that does not exist.
    UnknownField = "unknown-field",
    /// A field kept free for a later version.
    Reserved = "reserved-field",
    /// A field that must be there.
    MissingField = "missing-field",
    /// A key without a value.
    NoValue = "no-value",
    /// A list where text is expected, and the like.
    WrongType = "wrong-type",
    /// A word that is none of those allowed.
    UnknownWord = "unknown-word",
    /// Text or a number that is not of the form or size that is allowed.
    BadValue = "bad-value",
    /// Not exactly one of several fields.
    NotOneOf = "not-exactly-one",
    /// Two things of one name.
    DuplicateName = "duplicate-name",
    /// A reference to something that is not there.
    NotFound = "not-found",
    /// A text parameter that does not exist.
    UnknownParameter = "unknown-parameter",
    /// An argument that a template does not have, or one that is not given.
    Argument = "argument",
    /// A router or workload that cannot do what the strategy asks.
    NotExpressible = "not-expressible",
    /// Nothing could ever stop a bad version.
    NothingGates = "nothing-gates",
    /// A comparison where nothing is left to compare with.
    NoBaseline = "no-baseline",
    /// Replicas that cannot be there.
    Capacity = "capacity",
    /// Fields that do not belong together.
    Mismatch = "mismatch",
    /// What only a shell would understand, in a command that none reads.
    NoShell = "no-shell",
    /// A condition that cannot be read.
    BadCondition = "bad-condition",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Diagnostic {
    /// A mistake.
    pub fn error(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            span,
            label: None,
            instead: None,
            related: vec![],
            help: vec![],
        }
    }

    /// Something seldom meant.
    pub fn warning(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// The same, with this said at the text.
    #[must_use]
    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..self }
    }

    /// The same, with one more advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// The same, with one more place that matters.
    #[must_use]
    pub fn related(mut self, span: Range<usize>, why: impl Into<String>) -> Self {
        self.related.push((span, why.into()));
        self
    }
}

/// What was said about one file, for people and for programs.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The file.
    pub source: &'a Source,
    /// What was said, in the order of the text.
    pub diagnostics: &'a [Diagnostic],
}

/// One diagnostic as programs see it. Stable.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// How bad it is.
    pub severity: Severity,
    /// Its stable name.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// The file.
    pub file: String,
    /// Line of the first character, from 1.
    pub line: usize,
    /// Column of the first character, from 1, in characters.
    pub column: usize,
    /// Line of the end.
    pub end_line: usize,
    /// Column just behind the last character.
    pub end_column: usize,
    /// What is said at the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What to do; several advices are several lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Report<'_> {
    /// The text for people, with colours if `styled`.
    #[must_use]
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let shown = self.diagnostics.iter().take(MOST_SHOWN);
        let mut parts: Vec<String> = shown.map(|it| self.render_one(it, &renderer)).collect();
        if let Some(more) = self.diagnostics.len().checked_sub(MOST_SHOWN).filter(|it| *it != 0) {
            parts.push(format!("and {more} more in {}", self.source.name()));
        }
        parts.join("\n\n")
    }

    fn render_one(&self, it: &Diagnostic, renderer: &Renderer) -> String {
        let level = match it.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let (window, first) = self.window(it);
        let shifted = |span: &Range<usize>| {
            let clamp = |at: usize| at.clamp(window.start, window.end) - window.start;
            clamp(span.start)..clamp(span.end)
        };
        let main = AnnotationKind::Primary.span(shifted(&it.span)).label(it.label.as_deref());
        let others = it
            .related
            .iter()
            .map(|(span, why)| AnnotationKind::Context.span(shifted(span)).label(why.as_str()));
        let snippet = Snippet::source(self.source.slice(&window))
            .path(self.source.name())
            .line_start(first + 1)
            .annotation(main)
            .annotations(others);
        let title = level.primary_title(it.message.as_str()).id(it.code.as_str());
        let help = it.help.iter().map(|it| Level::HELP.message(it.as_str()));
        let group: Group<'_> = title.element(snippet).elements(help);
        renderer.render(&[group])
    }

    /// The lines that are shown, and the index of the first: rendering must not walk a large file each time.
    fn window(&self, it: &Diagnostic) -> (Range<usize>, usize) {
        let spans = std::iter::once(&it.span).chain(it.related.iter().map(|(span, _)| span));
        let (start, end) =
            spans.fold((usize::MAX, 0), |(start, end), it| (start.min(it.start), end.max(it.end)));
        let first = self.source.line_of(start);
        (self.source.lines(first, self.source.line_of(end)), first)
    }

    /// The records for programs, all of them.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.diagnostics.iter().map(|it| self.record(it)).collect()
    }

    fn record(&self, it: &Diagnostic) -> Record {
        let (start, end) = (self.source.position(it.span.start), self.source.position(it.span.end));
        Record {
            severity: it.severity,
            code: it.code.as_str(),
            message: it.message.clone(),
            file: self.source.name().to_owned(),
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
            label: it.label.clone(),
            help: (!it.help.is_empty()).then(|| it.help.join("\n")),
        }
    }
}
