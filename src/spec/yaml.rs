//! YAML to a tree that remembers where everything stands.
//!
//! Deliberately absent: tags, merge keys and keys that are no text. They have no place in these documents, and
//! readers of other languages disagree about them.

use std::{collections::BTreeMap, ops::Range};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::{
    Source,
    diagnostic::{Code, Diagnostic},
    scalar,
};

/// The most values of one file, aliases counted as what they stand for.
pub const MOST_NODES: usize = 100_000;

/// How deep values may be nested.
const DEEPEST: usize = 48;

/// One value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its text.
    pub span: Range<usize>,
    /// What it is.
    pub value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: `~`, `null`, or nothing at all behind a key.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A finite number.
    Number(serde_json::Number),
    /// Text; whether it stands without quotes.
    Text(String, Quoting),
    /// A list.
    List(Vec<Node>),
    /// A record: its fields in the order written, each name once.
    Record(Vec<Entry>),
}

/// How a text was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quoting {
    /// As it is, so that other readers may take it for something else.
    Plain,
    /// In quotes or as a block.
    Quoted,
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Where the name stands.
    pub key_span: Range<usize>,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Entry> {
        match &self.value {
            Value::Record(entries) => entries.iter().find(|it| it.key == name),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(..) | Value::List(_) => None,
        }
    }

    /// The entry of that index.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<&Self> {
        match &self.value {
            Value::List(items) => items.get(index),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(..) | Value::Record(_) => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text, _) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Record(_) => None,
        }
    }

    /// The same value without places.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(it) => (*it).into(),
            Value::Number(it) => it.clone().into(),
            Value::Text(it, _) => it.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Record(entries) => entries.iter().map(|it| (it.key.clone(), it.value.to_json())).collect(),
        }
    }
}

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// Its root.
    pub root: Node,
    /// Whether everything in it could be read.
    pub whole: bool,
}

/// Reads every document; one that is broken does not hide the others.
#[must_use]
pub fn read(source: &Source) -> (Vec<Tree>, Vec<Diagnostic>) {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    let mut parser = Parser::new_from_str_with_options(source.text(), options);
    let mut reader = Reader::new(source);
    loop {
        match parser.next_event() {
            None => break,
            Some(Ok((event, span))) => {
                if !reader.take(event, &span) {
                    break;
                }
            }
            Some(Err(error)) => {
                reader.broken(&error);
                // A source that cannot be resumed has been reported already.
                if !parser.proceed_next_document().unwrap_or(false) {
                    break;
                }
            }
        }
    }
    (reader.trees, reader.diagnostics)
}

struct Reader<'a> {
    source: &'a Source,
    trees: Vec<Tree>,
    diagnostics: Vec<Diagnostic>,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    root: Option<Node>,
    whole: bool,
    nodes: usize,
}

struct Open {
    start: usize,
    anchor: usize,
    holds: Holds,
}

enum Holds {
    List(Vec<Node>),
    Record { entries: Vec<Entry>, key: Option<(String, Range<usize>)> },
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source) -> Self {
        Self {
            source,
            trees: vec![],
            diagnostics: vec![],
            open: vec![],
            anchors: BTreeMap::new(),
            root: None,
            whole: true,
            nodes: 0,
        }
    }

    fn wrong(&mut self, diagnostic: Diagnostic) {
        self.whole = false;
        self.diagnostics.push(diagnostic);
    }

    /// Takes one event up; `false`: no more may be read.
    fn take(&mut self, event: Event<'_>, span: &Span) -> bool {
        let at = span.byte_range().unwrap_or(0..0);
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "a foreign list that may grow; all nodes are named"
        )]
        match event {
            Event::DocumentStart(..) => self.begin(),
            Event::DocumentEnd => self.end(),
            Event::Scalar(text, style, anchor, tag) => {
                if let Some(tag) = tag {
                    self.tagged(span, &tag.original());
                }
                let value = self.scalar(&text, style, &at);
                self.add(Node { span: at, value }, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                if let Some(tag) = tag {
                    self.tagged(span, &tag.original());
                }
                self.open.push(Open { start: at.start, anchor, holds: Holds::List(vec![]) });
            }
            Event::MappingStart(_, anchor, tag) => {
                if let Some(tag) = tag {
                    self.tagged(span, &tag.original());
                }
                let holds = Holds::Record { entries: vec![], key: None };
                self.open.push(Open { start: at.start, anchor, holds });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at.end),
            Event::Alias(id) => self.alias(id, at),
            Event::UnresolvedAlias(name) => {
                let message = format!("there is no anchor `&{name}` before this alias");
                self.wrong(Diagnostic::error(Code::NotFound, at.clone(), message));
                self.add(Node { span: at, value: Value::Null }, 0);
            }
            _ => {}
        }
        self.nodes <= MOST_NODES
    }

    fn begin(&mut self) {
        self.open.clear();
        self.anchors.clear();
        self.root = None;
        self.whole = true;
    }

    fn end(&mut self) {
        if let Some(root) = self.root.take().filter(|it| it.value != Value::Null) {
            self.trees.push(Tree { root, whole: self.whole });
        }
        self.begin();
    }

    fn broken(&mut self, error: &ScanError) {
        let marker = error.marker();
        let text = self.source.text();
        let at = marker.byte_offset().unwrap_or(text.len()).min(text.len());
        let at = (0..=at).rev().find(|it| text.is_char_boundary(*it)).unwrap_or_default();
        let width = text
            .get(at..)
            .and_then(|it| it.chars().next())
            .filter(|it| *it != '\n')
            .map_or(0, char::len_utf8);
        let said = error.kind().to_string();
        let wrong = Diagnostic::error(Code::Yaml, at..at + width, format!("this is no YAML: {said}"));
        self.diagnostics.push(match advice(error.kind()) {
            Some(advice) => wrong.help(advice),
            None => wrong,
        });
        self.begin();
    }

    fn tagged(&mut self, span: &Span, tag: &str) {
        let at = span.tag_span().and_then(|it| it.byte_range()).or(span.byte_range()).unwrap_or(0..0);
        let message = format!("YAML tags such as `{tag}` are not supported");
        self.wrong(
            Diagnostic::error(Code::YamlFeature, at, message)
                .help("remove the tag and write the value itself"),
        );
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: &Range<usize>) -> Value {
        if !matches!(style, ScalarStyle::Plain) {
            return Value::Text(text.to_owned(), Quoting::Quoted);
        }
        scalar::plain(text).unwrap_or_else(|| {
            let message = format!("`{text}` is no finite number");
            let help = "write a smaller number, or put it in quotes if it is text";
            self.wrong(Diagnostic::error(Code::Number, at.clone(), message).help(help));
            Value::Null
        })
    }

    fn alias(&mut self, id: usize, at: Range<usize>) {
        match self.anchors.get(&id) {
            Some(node) => {
                let node = node.clone();
                self.nodes = self.nodes.saturating_add(size(&node));
                self.add(node, 0);
            }
            None => {
                self.wrong(Diagnostic::error(
                    Code::YamlFeature,
                    at.clone(),
                    "this alias stands inside what it names",
                ));
                self.add(Node { span: at, value: Value::Null }, 0);
            }
        }
    }

    fn close(&mut self, end: usize) {
        let Some(Open { start, anchor, holds }) = self.open.pop() else { return };
        // The end event of a block stands where the next token begins.
        let text = self.source.slice(&(start..end.max(start))).trim_end();
        let span = start..start + text.len();
        let value = match holds {
            Holds::List(items) => Value::List(items),
            Holds::Record { entries, key: _ } => Value::Record(entries),
        };
        self.add(Node { span, value }, anchor);
    }

    fn add(&mut self, node: Node, anchor: usize) {
        self.nodes = self.nodes.saturating_add(1);
        if MOST_NODES < self.nodes {
            let message = format!("this file stands for more than {MOST_NODES} values");
            let help = "write fewer aliases, or split the file";
            let span = self.source.first_line(&node.span);
            self.wrong(Diagnostic::error(Code::TooManyNodes, span, message).help(help));
            return;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.holds {
            Holds::List(items) => items.push(node),
            Holds::Record { entries, key } => match key.take() {
                Some((key, key_span)) => {
                    let first = entries.iter().find(|it| it.key == key).map(|it| it.key_span.clone());
                    match first {
                        None => entries.push(Entry { key, key_span, value: node }),
                        Some(first) => {
                            let message = format!("`{key}` stands twice in this record");
                            let wrong = Diagnostic::error(Code::DuplicateKey, key_span, message)
                                .label("which one counts?")
                                .related(first, "first here");
                            self.wrong(wrong);
                        }
                    }
                }
                None => {
                    let (name, wrong) = self.key(&node);
                    if let Some(Open { holds: Holds::Record { key, .. }, .. }) = self.open.last_mut() {
                        *key = Some((name, node.span));
                    }
                    if let Some(wrong) = wrong {
                        self.wrong(wrong);
                    }
                }
            },
        }
    }

    fn key(&self, node: &Node) -> (String, Option<Diagnostic>) {
        match &node.value {
            Value::Text(text, Quoting::Plain) if text == "<<" => {
                let wrong = Diagnostic::error(
                    Code::YamlFeature,
                    node.span.clone(),
                    "YAML merge keys (`<<`) are not supported",
                );
                (text.clone(), Some(wrong.help("write the fields out")))
            }
            Value::Text(text, _) => (text.clone(), None),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                (self.source.slice(&node.span).to_owned(), None)
            }
            Value::List(_) | Value::Record(_) => {
                let span = self.source.first_line(&node.span);
                let wrong = Diagnostic::error(Code::YamlFeature, span, "the name of a field must be text");
                (String::new(), Some(wrong))
            }
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => items.iter().map(size).fold(1, usize::saturating_add),
        Value::Record(entries) => entries.iter().map(|it| size(&it.value)).fold(1, usize::saturating_add),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(..) => 1,
    }
}

fn advice(kind: &granit_parser::ErrorKind) -> Option<&'static str> {
    use granit_parser::ErrorKind as Kind;
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "a foreign list of a hundred; most speak for themselves"
    )]
    match kind {
        Kind::TabNotAllowed
        | Kind::TabInBlockIndentation
        | Kind::TabInIndentation
        | Kind::TabAtBlockScalarStart => Some("indent with spaces; YAML allows no tabs"),
        Kind::UnclosedQuotedScalar => Some("close the quote"),
        Kind::RecursionLimitExceeded => Some("values may be nested 48 deep; nothing here needs more than 15"),
        Kind::InvalidIndentation | Kind::MappingValueNotAllowed | Kind::ExpectedBlockMappingKey => {
            Some("look at the indentation of this line and of the one before; text with `: ` needs quotes")
        }
        _ => None,
    }
}
