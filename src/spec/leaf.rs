//! Single fields with a reader of their own: what that reader says about a text, before anything is deserialised.
//!
//! A test holds that every schema's text with a pattern of its own has a line here, and that both agree.

use std::str::FromStr;

use analysis::{
    condition::Condition,
    written::{Fraction, Ratio, Span},
};
use strategies::{Amount, HumanDuration, Weight, recipe::Factor};

use super::{diagnostic::Code, order::Moment};
use crate::written::{
    Address, ArgumentText, ByteSize, FieldPath, InvalidText, ListenAddress, MetricText, ProcessText, list_of,
};

/// One kind of field.
pub(super) struct Leaf {
    /// Whether a bare number is looked at too, to be refused with the right words or to be taken.
    pub(super) numbers: bool,
    /// What its mistakes are called.
    pub(super) code: Code,
    /// What is wrong with a text.
    pub(super) mistakes: fn(&str) -> Vec<Wrong>,
}

/// Something wrong with a text.
#[derive(Default)]
pub(super) struct Wrong {
    /// What.
    pub(super) message: String,
    /// The characters it is about; `None`: all of them.
    pub(super) part: Option<String>,
    /// What is said at the text.
    pub(super) label: Option<String>,
    /// What to do.
    pub(super) help: Vec<String>,
}

const NAMES: &[&str] = &[
    "Amount",
    "Weight",
    "Duration",
    "Factor",
    "ByteSize",
    "Address",
    "ListenAddress",
    "Moment",
    "Fraction",
    "FieldPath",
    "Ratio",
    "Span",
    "Condition",
    "ProcessText",
    "MetricText",
    "ArgumentText",
];

/// Whether a schema of this name has a reader of its own.
pub(super) fn is_leaf(name: &str) -> bool {
    NAMES.contains(&name)
}

/// The field whose schema has this name.
pub(super) fn named(name: &str) -> Option<Leaf> {
    let leaf = |mistakes, numbers| Leaf { numbers, code: Code::BadValue, mistakes };
    let text = |mistakes| Leaf { numbers: false, code: Code::UnknownParameter, mistakes };
    Some(match name {
        "Amount" => leaf(parsed::<Amount>, true),
        "Weight" => leaf(parsed::<Weight>, true),
        "Duration" => leaf(duration, true),
        "Span" => leaf(parsed::<Span>, true),
        "Factor" => leaf(parsed::<Factor>, true),
        "Ratio" => leaf(parsed::<Ratio>, true),
        "Fraction" => leaf(parsed::<Fraction>, true),
        "ByteSize" => leaf(parsed::<ByteSize>, true),
        "FieldPath" => leaf(parsed::<FieldPath>, false),
        "Address" => leaf(parsed::<Address>, true),
        "ListenAddress" => leaf(parsed::<ListenAddress>, true),
        "Moment" => leaf(parsed::<Moment>, true),
        "Condition" => Leaf { numbers: true, code: Code::BadCondition, mistakes: condition },
        "ProcessText" => text(|it| texts(ProcessText::mistakes(it), ProcessText::ALLOWED)),
        "MetricText" => text(|it| texts(MetricText::mistakes(it), MetricText::ALLOWED)),
        "ArgumentText" => text(|it| texts(ArgumentText::mistakes(it), ArgumentText::ALLOWED)),
        _ => return None,
    })
}

fn parsed<T: FromStr<Err: ToString>>(text: &str) -> Vec<Wrong> {
    match text.parse::<T>() {
        Ok(_) => vec![],
        Err(error) => {
            // `what is wrong: what to write` is shown as a sentence and an advice at the text.
            let said = error.to_string();
            let (message, label) = match said.split_once(": ") {
                Some((message, label)) => (message.to_owned(), Some(label.to_owned())),
                None => (said, None),
            };
            vec![Wrong { message, label, ..Wrong::default() }]
        }
    }
}

fn condition(text: &str) -> Vec<Wrong> {
    let said = Condition::parse(text).err();
    said.map(|message| Wrong { message, ..Wrong::default() }).into_iter().collect()
}

fn duration(text: &str) -> Vec<Wrong> {
    let mut wrong = parsed::<HumanDuration>(text);
    // The commonest slip: ten minutes written as ten months.
    let minutes =
        text.strip_suffix('M').filter(|it| it.bytes().all(|it| it.is_ascii_digit()) && !it.is_empty());
    if let (Some(first), Some(minutes)) = (wrong.first_mut(), minutes) {
        first.label = Some(format!("did you mean `{minutes}m`?"));
        first.help.push("`M` would be months, which are not accepted; minutes are `m`".into());
    }
    wrong
}

fn texts(mistakes: Vec<InvalidText>, allowed: &[&str]) -> Vec<Wrong> {
    let wrong = |it: InvalidText| Wrong {
        message: it.to_string(),
        part: Some(it.written()),
        label: it.nearest().map(|near| format!("did you mean `{near}`?")),
        help: vec![
            format!("known here: {}", list_of(allowed.iter().copied(), "and")),
            "write `$$(` where `$(` itself is meant".into(),
        ],
    };
    mistakes.into_iter().map(wrong).collect()
}
