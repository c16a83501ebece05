//! What belongs together in a document, as an API server can check it, and the words for it.
//!
//! Each rule stands once: [`check`](super::check) says the same words of a file, with the place where it is wrong, and
//! the kinds of a cluster carry the expression. What an expression cannot say, `check` says alone, and in a cluster the
//! status of the object.

use serde_json::{Value, json};

use crate::written::list_of;

/// One rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// What must hold of the record, in the Common Expression Language of Kubernetes.
    pub cel: String,
    /// What is said where it does not hold.
    pub words: String,
}

impl Rule {
    fn new(cel: impl Into<String>, words: impl Into<String>) -> Self {
        Self { cel: cel.into(), words: words.into() }
    }

    /// As it stands in a kind's schema.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "rule": self.cel, "message": self.words })
    }
}

/// What is said of a choice: exactly one of these keys.
pub(super) fn one_of(keys: &[&str]) -> String {
    format!("exactly one of {} can be used", list_of(keys.iter().copied(), "or"))
}

/// Exactly one of `keys` is given; `here`: those that can be used in a cluster.
pub(super) fn exactly_one(keys: &[&str], here: &[&str]) -> Rule {
    Rule::new(format!("{} == 1", given(keys)), one_of(here))
}

/// How many of these fields are given.
fn given(keys: &[&str]) -> String {
    let each: Vec<String> = keys.iter().map(|it| format!("has(self.{it})")).collect();
    format!("[{}].filter(it, it).size()", each.join(", "))
}

/// The rules about records of this name.
pub(super) fn of(record: &str) -> Vec<Rule> {
    match record {
        "RolloutOrderSpec" => vec![Rule::new("self == oldSelf", "an order never changes: write another one")],
        _ => vec![],
    }
}
