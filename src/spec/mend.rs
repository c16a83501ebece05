//! A document as it may be meant where its text has mistakes, so that what no schema can say is said in the same run.
//!
//! What is wrong is left out, or renamed where a name is near. What is then found near a mended place may only be a
//! consequence of the mending, so it is not said.

use std::ops::Range;

use super::{
    diagnostic::{Code, Diagnostic, Severity},
    yaml::{Entry, Node, Value},
};

/// A tree without what `wrong` is about.
pub(super) struct Mended {
    /// The tree.
    pub(super) root: Node,
    /// Records in which something was mended, as they stand in the text, with their keys.
    regions: Vec<Range<usize>>,
}

impl Mended {
    /// Leaves out, or renames, what the errors among `wrong` are about.
    pub(super) fn new(root: &Node, wrong: &[Diagnostic]) -> Self {
        let errors: Vec<&Diagnostic> = wrong.iter().filter(|it| it.severity == Severity::Error).collect();
        let mut regions = vec![];
        let root = mend(root, &root.span, &errors, &mut regions);
        Self { root, regions }
    }

    /// Whether this, found in the mended tree, is a mistake of the text itself.
    pub(super) fn is_own(&self, found: &Diagnostic) -> bool {
        let near = || self.regions.iter().any(|it| it.start <= found.span.start && found.span.end <= it.end);
        // What is written stays written, whatever else of it is wrong.
        let whatever_is_near = matches!(
            found.code,
            Code::NotFound | Code::DuplicateName | Code::Recipe("step-with-several-ends")
        );
        found.severity == Severity::Error && (whatever_is_near || !near())
    }
}

/// `whole`: the text of the node, with its key where it has one.
fn mend(node: &Node, whole: &Range<usize>, wrong: &[&Diagnostic], regions: &mut Vec<Range<usize>>) -> Node {
    let inside: Vec<&Diagnostic> = wrong.iter().copied().filter(|it| within(&it.span, &node.span)).collect();
    if inside.is_empty() {
        return node.clone();
    }
    let value = match &node.value {
        Value::Record(entries) => {
            let kept: Vec<Entry> =
                entries.iter().filter_map(|it| entry(it, entries, &inside, regions)).collect();
            let same = kept.iter().map(|it| &it.key).eq(entries.iter().map(|it| &it.key));
            let missing =
                inside.iter().any(|it| it.code == Code::MissingField && it.span.start == node.span.start);
            if !same || missing {
                regions.push(whole.clone());
            }
            Value::Record(kept)
        }
        Value::List(items) => {
            let kept = items
                .iter()
                .filter(|it| !is_wrong(it, &inside))
                .map(|it| mend(it, &it.span, &inside, regions));
            Value::List(kept.collect())
        }
        leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(..)) => leaf.clone(),
    };
    Node { value, span: node.span.clone() }
}

/// The field as it may be meant; `None`: it is left out.
fn entry(
    it: &Entry,
    beside: &[Entry],
    wrong: &[&Diagnostic],
    regions: &mut Vec<Range<usize>>,
) -> Option<Entry> {
    let of_key = wrong.iter().find(|wrong| wrong.span == it.key_span);
    let key = match of_key {
        None if is_wrong(&it.value, wrong) => return None,
        None => it.key.clone(),
        Some(wrong) => {
            let near = wrong.instead.as_ref().filter(|near| !beside.iter().any(|it| it.key == **near))?;
            near.clone()
        }
    };
    let whole = it.key_span.start..it.value.span.end;
    Some(Entry { key, value: mend(&it.value, &whole, wrong, regions), ..it.clone() })
}

/// Whether the value itself is wrong, and not only something in it.
fn is_wrong(node: &Node, wrong: &[&Diagnostic]) -> bool {
    match &node.value {
        Value::List(_) | Value::Record(_) => wrong.iter().any(|it| {
            let whole = matches!(it.code, Code::WrongType | Code::NotOneOf | Code::BadValue);
            whole && it.span.start == node.span.start
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(..) => {
            wrong.iter().any(|it| within(&it.span, &node.span))
        }
    }
}

fn within(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}
