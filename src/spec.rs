//! What users write, read whole or not at all: documents, what is wrong with them, and the plan they stand for.
//!
//! The way of a file: text → [`yaml`] (a tree that remembers places) → [`shape`] (against the schema of its kind) →
//! [`Document`] → [`check`] (what no schema can say) → [`compile`]. Every stage reports all it finds.

mod analysis_run;
mod check;
pub mod compile;
pub mod crd;
pub mod diagnostic;
pub mod forecast;
pub mod golden;
mod hint;
pub mod kind;
mod leaf;
mod mend;
mod meta;
mod metric_source;
mod order;
pub mod provider;
pub mod ratio;
mod rollout;
mod rules;
mod scalar;
pub mod schema;
mod shape;
mod source;
pub mod status;
mod template;
pub mod yaml;

use std::ops::Range;

pub use self::{
    analysis_run::AnalysisRunSpec,
    compile::{Compiled, CompiledAnalysis, CompiledMetric, Runtime},
    diagnostic::{Code, Diagnostic, Record, Report, Severity},
    kind::{
        AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate, ClusterMetricSource, Document, Kind,
        MetricSource, Rollout, RolloutOrder,
    },
    meta::{ApiVersion, Metadata},
    metric_source::{
        Authorization, Aws, Basic, ClientTls, Credentials, MetricSourceSpec, SecretKey, SecretRef,
        SourceLimits,
    },
    order::{Moment, RevisionRef, RolloutOrderSpec},
    rollout::{
        AfterAbort, CapacitySpec, Direct, GuardSpec, RolloutSpec, ServiceEntry, ServiceName, TemplateRef,
    },
    source::{MOST_BYTES, Position, Source},
    status::{Condition, ConditionStatus, OrderStatus, RolloutStatus, RunStatus, WorkloadStatus},
    template::{AnalysisTemplateSpec, ArgumentSpec, Metric},
};
use crate::written::{list_of, nearest};
use yaml::{Node, Value};

/// The version of the documents.
pub const API_VERSION: &str = "serinus.dev/v1alpha1";

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// Its text.
    pub source: Source,
    /// The documents that could be read, in order.
    pub documents: Vec<Placed>,
    /// Documents of other tools, which were not looked at.
    pub foreign: Vec<Foreign>,
    /// Everything to say about the file, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// A document and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// The document.
    pub document: Document,
    /// Where everything in it stands.
    pub node: Node,
}

/// A document of another tool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Foreign {
    /// Its kind, such as `Deployment`.
    pub kind: String,
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// Reads a file and checks all of it.
///
/// # Guarantees
///
/// Total: any bytes give documents, or at least one diagnostic whose span lies in the text. Where there is no
/// diagnostic of severity error, every Rollout among the documents compiles.
#[must_use]
pub fn read(name: &str, bytes: &[u8]) -> Read {
    let (source, wrong) = Source::new(name, bytes);
    if let Some(wrong) = wrong {
        return Read { source, documents: vec![], foreign: vec![], diagnostics: vec![wrong] };
    }
    let (trees, mut diagnostics) = yaml::read(&source);
    let is_error = |it: &Diagnostic| it.severity == Severity::Error;
    let broken = diagnostics.iter().any(is_error);
    let (mut documents, mut foreign, mut mended) = (Vec::new(), Vec::new(), Vec::new());
    for tree in &trees {
        match kind_of(&tree.root, &source) {
            Known::Ours(kind) => {
                let (document, said) = document(kind, tree, &source);
                match document {
                    Some(document) => documents.push(Placed { document, node: tree.root.clone() }),
                    None => mended.push(as_meant(kind, &tree.root, &said).filter(|_| tree.whole)),
                }
                diagnostics.extend(said);
            }
            Known::Foreign(it) => foreign.push(it),
            Known::Unclear(said) => diagnostics.extend(said),
        }
    }
    if !diagnostics.iter().any(is_error) && documents.is_empty() {
        let span = source.first_line(&(0..source.text().len()));
        let wrong = Diagnostic::error(Code::Empty, span, "this file holds no document of Serinus");
        diagnostics.push(wrong.help(format!("documents begin with `apiVersion: {API_VERSION}`")));
    }
    let whole = documents.len();
    // What is referred to is known where every document could be read, at least as it may be meant.
    let complete = !broken && mended.iter().all(Option::is_some);
    let (mends, meant): (Vec<_>, Vec<_>) = mended.into_iter().flatten().unzip();
    documents.extend(meant);
    let found = check::all(&documents, &source, complete);
    diagnostics.extend(found.into_iter().filter(|it| mends.iter().all(|mended| mended.is_own(it))));
    documents.truncate(whole);
    diagnostics
        .sort_by(|a, b| (a.span.start, a.span.end, &a.message).cmp(&(b.span.start, b.span.end, &b.message)));
    diagnostics.dedup();
    Read { source, documents, foreign, diagnostics }
}

enum Known {
    Ours(Kind),
    Foreign(Foreign),
    Unclear(Vec<Diagnostic>),
}

fn kind_of(root: &Node, source: &Source) -> Known {
    let Value::Record(_) = &root.value else {
        let wrong =
            Diagnostic::error(Code::WrongType, source.first_line(&root.span), "a document is a record");
        let help = format!("begin with `apiVersion: {API_VERSION}` and `kind: Rollout`");
        return Known::Unclear(vec![wrong.help(help)]);
    };
    let text =
        |key: &str| root.field(key).and_then(|it| it.value.text().map(|text| (text, it.value.span.clone())));
    let head = || source.first_line(&root.span);
    let kinds = || list_of(Kind::ALL.iter().map(|it| it.name()), "and");
    match (text("apiVersion"), text("kind")) {
        (Some((API_VERSION, _)), Some((name, span))) => match Kind::named(name) {
            Some(kind) => Known::Ours(kind),
            None => Known::Unclear(vec![unknown(name, span, Kind::ALL.iter().map(|it| it.name()), &kinds())]),
        },
        (Some((version, span)), _) if version != API_VERSION && nearest(version, [API_VERSION]).is_some() => {
            let wrong =
                Diagnostic::error(Code::UnknownKind, span, format!("there is no version `{version}`"));
            Known::Unclear(vec![wrong.label(format!("write `{API_VERSION}`"))])
        }
        (Some((version, span)), Some(_)) if version.starts_with("serinus.dev/") => {
            let wrong =
                Diagnostic::error(Code::UnknownKind, span, format!("there is no version `{version}`"));
            Known::Unclear(vec![wrong.label(format!("write `{API_VERSION}`"))])
        }
        (Some(_), Some((kind, _))) => {
            let name =
                root.field("metadata").and_then(|it| it.value.field("name")).and_then(|it| it.value.text());
            Known::Foreign(Foreign { kind: kind.to_owned(), name: name.map(str::to_owned) })
        }
        (version, kind) => {
            let missing =
                [("apiVersion", version.is_none(), API_VERSION), ("kind", kind.is_none(), "Rollout")];
            let wrong = missing.into_iter().filter(|(_, missing, _)| *missing).map(|(key, _, value)| {
                let message = format!("`{key}` is missing in this document");
                let span = root.field(key).map_or_else(head, |it| it.key_span.clone());
                Diagnostic::error(Code::MissingField, span, message).help(format!("write `{key}: {value}`"))
            });
            Known::Unclear(wrong.collect())
        }
    }
}

fn unknown<'a>(
    name: &str,
    span: Range<usize>,
    known: impl IntoIterator<Item = &'a str>,
    all: &str,
) -> Diagnostic {
    let wrong = Diagnostic::error(Code::UnknownKind, span, format!("there is no kind `{name}`"));
    let wrong = wrong.help(format!("known are {all}"));
    match nearest(name, known) {
        Some(near) => wrong.label(format!("did you mean `{near}`?")),
        None => wrong,
    }
}

fn document(kind: Kind, tree: &yaml::Tree, source: &Source) -> (Option<Document>, Vec<Diagnostic>) {
    let mut said = shape::check(schema::of(kind), &tree.root, source);
    // Where the text itself was broken, what is missing in the tree may stand in the text.
    if !tree.whole {
        said.retain(|it| it.code != Code::MissingField && it.code != Code::NoValue);
        return (None, said);
    }
    if said.iter().any(|it| it.severity == Severity::Error) {
        return (None, said);
    }
    match kind.document(tree.root.to_json()) {
        Ok(document) => (Some(document), said),
        Err(error) => {
            let span = source.first_line(&at_path(&tree.root, error.path()));
            said.push(Diagnostic::error(Code::BadValue, span, error.inner().to_string()));
            (None, said)
        }
    }
}

/// The document as it may be meant, where it can be read then.
fn as_meant(kind: Kind, root: &Node, said: &[Diagnostic]) -> Option<(mend::Mended, Placed)> {
    let mended = mend::Mended::new(root, said);
    let document = kind.document(mended.root.to_json()).ok()?;
    let node = mended.root.clone();
    Some((mended, Placed { document, node }))
}

fn at_path(root: &Node, path: &serde_path_to_error::Path) -> Range<usize> {
    use serde_path_to_error::Segment;
    let mut node = root;
    for segment in path {
        let next = match segment {
            Segment::Seq { index } => node.entry(*index),
            Segment::Map { key } | Segment::Enum { variant: key } => node.field(key).map(|it| &it.value),
            Segment::Unknown => None,
        };
        match next {
            Some(next) => node = next,
            None => break,
        }
    }
    node.span.clone()
}
