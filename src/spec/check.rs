//! What no schema can say: references, what belongs together, what a router can do, whether anything gates.

mod cluster;
mod command;
mod metric_source;
mod ratio;
mod references;
mod rollout;
mod shared;
mod steps;
mod template;

use std::ops::Range;

use strategies::recipe::Key;

use super::{Code, Diagnostic, Document, Placed, Source, compile::Library, rules::Rule, yaml::Node};

/// Everything about all documents of a file. `complete`: nothing in the file was unreadable, so that what is not
/// found is not there.
pub(super) fn all(documents: &[Placed], source: &Source, complete: bool) -> Vec<Diagnostic> {
    let mut found = same_names(documents);
    for placed in documents {
        let mut check = Check { placed, source, library: Library(documents), complete, found: vec![] };
        match &placed.document {
            Document::Rollout(it) => rollout::check(it, &mut check),
            Document::AnalysisTemplate(it) => template::check(&it.spec, &mut check),
            Document::ClusterAnalysisTemplate(it) => template::check(&it.spec, &mut check),
            Document::AnalysisRun(it) => references::run(&it.spec, &mut check),
            Document::MetricSource(it) => metric_source::check(&it.spec, &mut check),
            Document::ClusterMetricSource(it) => metric_source::check(&it.spec, &mut check),
            Document::RolloutOrder(_) => {}
        }
        found.append(&mut check.found);
    }
    found.extend(rollout::shared_addresses(documents));
    found
}

struct Check<'a> {
    placed: &'a Placed,
    source: &'a Source,
    library: Library<'a>,
    complete: bool,
    found: Vec<Diagnostic>,
}

impl Check<'_> {
    /// The text at the end of this way, or of as much of it as was written.
    fn at(&self, way: &[Key]) -> Range<usize> {
        let mut node: &Node = &self.placed.node;
        let mut span = node.span.clone();
        for key in way {
            match key {
                Key::Field(name) => {
                    let Some(entry) = node.field(name) else { return self.source.first_line(&span) };
                    node = &entry.value;
                    let single =
                        !matches!(node.value, super::yaml::Value::List(_) | super::yaml::Value::Record(_));
                    span = if single { node.span.clone() } else { entry.key_span.clone() };
                }
                Key::Index(index) => {
                    let Some(item) = node.entry(*index) else { return self.source.first_line(&span) };
                    node = item;
                    span = node.span.clone();
                }
            }
        }
        self.source.first_line(&span)
    }

    /// The entry of that name at the end of this way, in a record whose keys users choose.
    fn at_named(&self, way: &[Key], name: &str) -> Range<usize> {
        let mut node = Some(&self.placed.node);
        for key in way {
            node = node.and_then(|it| match key {
                Key::Field(name) => it.field(name).map(|it| &it.value),
                Key::Index(index) => it.entry(*index),
            });
        }
        let entry = node.and_then(|it| it.field(name));
        entry.map_or_else(|| self.at(way), |it| self.source.first_line(&it.key_span))
    }

    /// What is said of this rule where it does not hold.
    fn broken(&mut self, code: Code, way: &[Key], rule: &Rule) {
        self.error(code, way, rule.words, rule.cure);
    }

    fn error(&mut self, code: Code, way: &[Key], message: impl Into<String>, help: impl Into<String>) {
        let wrong = Diagnostic::error(code, self.at(way), message).help(help);
        self.found.push(wrong);
    }
}

fn same_names(documents: &[Placed]) -> Vec<Diagnostic> {
    let span = |it: &Placed| {
        let name = it.node.field("metadata").and_then(|it| it.value.field("name"));
        name.map_or(0..0, |it| it.value.span.clone())
    };
    let id = |it: &Placed| {
        let metadata = it.document.metadata();
        (it.document.kind(), metadata.namespace.clone(), metadata.name.clone())
    };
    let mut found = Vec::new();
    for (index, placed) in documents.iter().enumerate() {
        let before = documents.iter().take(index).find(|it| id(it) == id(placed));
        if let Some(before) = before {
            let (kind, name) = (placed.document.kind().name(), placed.document.name());
            let message = format!("there already is a {kind} `{name}` in this file");
            let wrong = Diagnostic::error(Code::DuplicateName, span(placed), message);
            found.push(wrong.related(span(before), "the first one"));
        }
    }
    found
}
