//! Whether a tree has the shape that the schema of its kind says: every mistake at once, each where it stands.
//!
//! The schema is made from the very types that read the document, so there is one source of truth. Only the words
//! of JSON Schema that those types make are understood; a test walks every schema and fails on any other.

use std::ops::Range;

use serde_json::{Map, Value as Json};

use super::{
    Source,
    diagnostic::{Code, Diagnostic},
    hint, leaf, rules, scalar,
    yaml::{Node, Quoting, Value},
};
use crate::written::{list_of, nearest};

/// Everything about `root` that does not fit `schema`.
pub(super) fn check(schema: &Json, root: &Node, source: &Source) -> Vec<Diagnostic> {
    let mut walk = Walk { defs: schema.get("$defs").and_then(Json::as_object), source, found: vec![] };
    walk.value(schema, root, None);
    walk.found
}

struct Walk<'a> {
    defs: Option<&'a Map<String, Json>>,
    source: &'a Source,
    found: Vec<Diagnostic>,
}

/// What an externally tagged enum allows.
#[derive(Default)]
struct Choices<'a> {
    words: Vec<&'a str>,
    records: Vec<(&'a str, &'a Json)>,
}

/// The field whose value is looked at, where there is one.
#[derive(Clone, Copy)]
struct Place<'a> {
    key: &'a str,
    span: &'a Range<usize>,
}

impl<'a> Walk<'a> {
    /// The text of a value, as far as it stands on its first line.
    fn head(&self, node: &Node) -> Range<usize> {
        self.source.first_line(&node.span)
    }

    /// Follows references, looking each time whether the name is that of a single field with its own reader.
    fn resolve(&self, mut schema: &'a Json) -> (&'a Json, Option<&'a str>) {
        let mut name = None;
        while let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
            let last = reference.rsplit('/').next().unwrap_or_default();
            let Some((known, next)) = self.defs.and_then(|it| it.get_key_value(last)) else { break };
            name = name.or(Some(known.as_str())).filter(|it| leaf::is_leaf(it)).or(Some(known.as_str()));
            schema = next;
        }
        (schema, name)
    }

    fn value(&mut self, schema: &'a Json, node: &Node, place: Option<Place<'_>>) {
        let (target, name) = self.resolve(schema);
        let anything = target.as_object().is_none_or(|it| {
            ["type", "$ref", "oneOf", "anyOf", "enum", "const", "properties"]
                .iter()
                .all(|word| !it.contains_key(*word))
        });
        if anything {
            return;
        }
        if node.value == Value::Null {
            return self.no_value(target, node, place);
        }
        if let Some(leaf) = name.and_then(leaf::named) {
            return self.leaf(&leaf, node);
        }
        if let Some(choices) = self.choices(target) {
            return self.choice(&choices, node);
        }
        if let Some(branches) = target.get("anyOf").and_then(Json::as_array) {
            return self.any_of(branches, node, place);
        }
        match (target.get("type").and_then(Json::as_str), &node.value) {
            (Some("object"), Value::Record(_)) => self.record(target, node),
            (Some("array"), Value::List(items)) => self.list(target, node, items),
            (Some("string"), Value::Text(text, quoting)) => self.text(schema, target, node, text, *quoting),
            (Some("integer" | "number"), Value::Number(number)) => self.number(schema, target, node, number),
            (Some("boolean"), Value::Bool(_)) => {}
            (wanted, _) => self.wrong_type(wanted.unwrap_or("object"), node),
        }
    }

    fn no_value(&mut self, target: &Json, node: &Node, place: Option<Place<'_>>) {
        let wanted = kind_wanted(target);
        let required = target.get("required").and_then(Json::as_array).into_iter().flatten();
        let needed: Vec<&str> = required.filter_map(Json::as_str).collect();
        let (message, span) = match place {
            Some(Place { key, span }) => (format!("`{key}` has no value"), span.clone()),
            None => ("there is nothing here".to_owned(), self.head(node)),
        };
        let help = match (wanted, place) {
            ("object", Some(Place { key, .. })) if !needed.is_empty() => {
                format!("write {} below `{key}`, or leave it out", list_of(needed.iter().copied(), "and"))
            }
            ("object", Some(Place { key, .. })) => {
                format!("write `{key}: {{}}` for the defaults, or leave it out")
            }
            ("array", Some(Place { key, .. })) => format!("write `{key}: []` for none, or leave it out"),
            (_, Some(Place { key, .. })) => {
                format!("write {} behind `{key}:`, or leave it out", spoken(wanted))
            }
            (_, None) => format!("write {}", spoken(wanted)),
        };
        self.found.push(Diagnostic::error(Code::NoValue, span, message).help(help));
    }

    fn wrong_type(&mut self, wanted: &str, node: &Node) {
        let given = match &node.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(..) => "text",
            Value::List(_) => "a list",
            Value::Record(_) => "a record",
        };
        let span = self.head(node);
        let written = self.source.slice(&span);
        let help = match (wanted, &node.value) {
            ("string", Value::Bool(_) | Value::Number(_)) => {
                Some(format!("put it in quotes: `\"{written}\"`"))
            }
            ("array", Value::Text(..)) if !written.contains('\n') => Some(format!("write `[ {written} ]`")),
            ("array", Value::Record(_)) => Some("begin each entry with `- `".to_owned()),
            ("integer" | "number", Value::Text(_, Quoting::Quoted)) => {
                Some("write it without quotes".to_owned())
            }
            _ => None,
        };
        let message = format!("{} is needed here, this is {given}", spoken(wanted));
        let wrong = Diagnostic::error(Code::WrongType, span, message);
        self.found.push(match help {
            Some(help) => wrong.help(help),
            None => wrong,
        });
    }

    fn leaf(&mut self, leaf: &leaf::Leaf, node: &Node) {
        let text = match &node.value {
            Value::Text(text, _) => text.as_str(),
            Value::Number(_) if leaf.numbers => self.source.slice(&node.span),
            Value::Number(_) | Value::Bool(_) | Value::Null | Value::List(_) | Value::Record(_) => {
                return self.wrong_type("string", node);
            }
        };
        for wrong in (leaf.mistakes)(text) {
            let inside = wrong.part.as_deref().and_then(|part| {
                let at = self.source.slice(&node.span).find(part)?;
                Some(node.span.start + at..node.span.start + at + part.len())
            });
            let span = inside.unwrap_or_else(|| self.head(node));
            let mut diagnostic = Diagnostic::error(leaf.code, span, wrong.message);
            diagnostic.label = wrong.label;
            diagnostic.help = wrong.help;
            self.found.push(diagnostic);
        }
    }

    /// The choices of an enum; `None`: it is none.
    fn choices(&self, target: &'a Json) -> Option<Choices<'a>> {
        let mut choices = Choices::default();
        if let Some(words) = target.get("enum").and_then(Json::as_array) {
            choices.words = words.iter().filter_map(Json::as_str).collect();
            return Some(choices);
        }
        if let Some(word) = target.get("const").and_then(Json::as_str) {
            choices.words.push(word);
            return Some(choices);
        }
        if target.get("properties").is_some() {
            return None;
        }
        for branch in target.get("oneOf").and_then(Json::as_array)? {
            let more = branch.get("enum").and_then(Json::as_array).into_iter().flatten();
            choices.words.extend(branch.get("const").into_iter().chain(more).filter_map(Json::as_str));
            let fields = branch.get("properties").and_then(Json::as_object).into_iter().flatten();
            choices.records.extend(fields.map(|(key, schema)| (key.as_str(), schema)));
        }
        Some(choices)
    }

    fn choice(&mut self, choices: &Choices<'a>, node: &Node) {
        match &node.value {
            Value::Text(word, quoting) if !choices.words.is_empty() => {
                if !choices.words.contains(&word.as_str()) {
                    return self.unknown_word(choices, node, word);
                }
                self.boolean_elsewhere(node, word, *quoting);
            }
            Value::Record(entries) if !choices.records.is_empty() => {
                let mut known = Vec::new();
                for entry in entries {
                    match choices.records.iter().find(|(key, _)| *key == entry.key) {
                        Some((key, schema)) => {
                            known.push((*key, entry.key_span.clone()));
                            self.value(schema, &entry.value, Some(Place { key, span: &entry.key_span }));
                        }
                        None => {
                            let keys: Vec<&str> = choices.records.iter().map(|(key, _)| *key).collect();
                            self.unknown_field(&entry.key, &entry.key_span, &keys, &[]);
                        }
                    }
                }
                self.exactly_one(choices, node, &known, entries.is_empty());
            }
            Value::Bool(_) if !choices.words.is_empty() => {
                let written = self.source.slice(&node.span).to_owned();
                self.unknown_word(choices, node, &written);
            }
            Value::Text(word, _) if choices.records.iter().any(|(key, _)| key == word) => {
                let message = format!("`{word}` needs a value");
                let help = format!("write `{word}: {{}}` for the defaults");
                self.found.push(Diagnostic::error(Code::WrongType, self.head(node), message).help(help));
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Text(..)
            | Value::List(_)
            | Value::Record(_) => {
                self.wrong_type(if choices.words.is_empty() { "object" } else { "string" }, node);
            }
        }
    }

    fn exactly_one(
        &mut self,
        choices: &Choices<'_>,
        node: &Node,
        known: &[(&str, Range<usize>)],
        empty: bool,
    ) {
        let all = || list_of(choices.records.iter().map(|(key, _)| *key), "or");
        match known {
            [] if empty => {
                let message = "one of several fields is needed here";
                let wrong = Diagnostic::error(Code::NotOneOf, self.head(node), message);
                self.found.push(wrong.help(format!("write exactly one of {}", all())));
            }
            [] | [_] => {}
            [(first, first_span), (second, second_span), ..] => {
                let message = format!("`{first}` and `{second}` exclude each other");
                let wrong = Diagnostic::error(Code::NotOneOf, second_span.clone(), message)
                    .label("remove one of them")
                    .related(first_span.clone(), "the other one")
                    .help(rules::one_of(choices.records.iter().map(|(key, _)| *key)));
                self.found.push(wrong);
            }
        }
    }

    fn unknown_word(&mut self, choices: &Choices<'_>, node: &Node, word: &str) {
        let span = self.head(node);
        let wrong = match (choices.words.as_slice(), choices.records.is_empty()) {
            ([only], true) => {
                Diagnostic::error(Code::UnknownWord, span, format!("`{only}` is needed here, not `{word}`"))
            }
            (words, _) => {
                let wrong = Diagnostic::error(Code::UnknownWord, span, format!("`{word}` is not known here"));
                wrong.help(format!("write one of {}", list_of(words.iter().copied(), "or")))
            }
        };
        self.found.push(match nearest(word, choices.words.iter().copied()) {
            Some(near) if 1 < choices.words.len() => wrong.label(format!("did you mean `{near}`?")),
            Some(_) | None => wrong,
        });
    }

    fn any_of(&mut self, branches: &'a [Json], node: &Node, place: Option<Place<'_>>) {
        let before = self.found.len();
        let mut first = None;
        for branch in branches {
            self.value(branch, node, place);
            let said = self.found.split_off(before);
            if said.is_empty() {
                return;
            }
            first.get_or_insert(said);
        }
        self.found.extend(first.unwrap_or_default());
    }

    fn record(&mut self, target: &'a Json, node: &Node) {
        let Value::Record(entries) = &node.value else { return };
        let most = target.get("maxProperties").and_then(Json::as_u64).and_then(|it| usize::try_from(it).ok());
        if let Some(most) = most.filter(|most| *most < entries.len()) {
            let message = format!("{} entries are too many: at most {most}", entries.len());
            return self.found.push(Diagnostic::error(Code::BadValue, self.head(node), message));
        }
        let own = target.get("properties").and_then(Json::as_object);
        // A field of a record may itself be a choice: `{ name: a, exact: b }`.
        let mut choices = Choices::default();
        for branch in target.get("oneOf").and_then(Json::as_array).into_iter().flatten() {
            let fields = branch.get("properties").and_then(Json::as_object).into_iter().flatten();
            choices.records.extend(fields.map(|(key, schema)| (key.as_str(), schema)));
        }
        let of_choice =
            |key: &str| choices.records.iter().find(|(it, _)| *it == key).map(|(_, schema)| *schema);
        let more = target.get("additionalProperties").or_else(|| target.get("unevaluatedProperties"));
        let mut chosen = Vec::new();
        for entry in entries {
            let place = Some(Place { key: &entry.key, span: &entry.key_span });
            if let Some(schema) = own.and_then(|it| it.get(&entry.key)) {
                self.value(schema, &entry.value, place);
            } else if let Some(schema) = of_choice(&entry.key) {
                chosen.push((entry.key.as_str(), entry.key_span.clone()));
                self.value(schema, &entry.value, place);
            } else if let Some(schema) = more.filter(|it| it.is_object() || **it == Json::Bool(true)) {
                self.value(schema, &entry.value, place);
            } else {
                let keys = own.into_iter().flatten().map(|(key, _)| key.as_str());
                let keys: Vec<&str> = keys.chain(choices.records.iter().map(|(key, _)| *key)).collect();
                let given: Vec<&str> = entries.iter().map(|it| it.key.as_str()).collect();
                self.unknown_field(&entry.key, &entry.key_span, &keys, &given);
            }
        }
        if !choices.records.is_empty() {
            self.exactly_one(&choices, node, &chosen, chosen.is_empty());
        }
        self.missing(target, node);
    }

    fn missing(&mut self, target: &Json, node: &Node) {
        for key in
            target.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
        {
            if node.field(key).is_some() {
                continue;
            }
            let schema = target.get("properties").and_then(|it| it.get(key));
            let wrong =
                Diagnostic::error(Code::MissingField, self.head(node), format!("`{key}` is missing here"));
            self.found.push(match schema.and_then(first_sentence) {
                Some(sentence) => wrong.help(format!("`{key}`: {sentence}")),
                None => wrong,
            });
        }
    }

    fn unknown_field(&mut self, key: &str, span: &Range<usize>, known: &[&str], given: &[&str]) {
        if let Some(sentence) = hint::reserved(key) {
            let message = format!("`{key}` is reserved for a later version");
            self.found.push(Diagnostic::error(Code::Reserved, span.clone(), message).help(sentence));
            return;
        }
        let mut wrong =
            Diagnostic::error(Code::UnknownField, span.clone(), format!("there is no field `{key}` here"));
        // What stands there already can hardly be meant again.
        if let Some(near) = nearest(key, known.iter().copied().filter(|it| !given.contains(it))) {
            wrong = wrong.label(format!("did you mean `{near}`?"));
            wrong.instead = Some(near.to_owned());
        } else if let Some(sentence) = hint::elsewhere(key) {
            wrong = wrong.help(sentence);
        }
        if !known.is_empty() {
            wrong = wrong.help(format!("known here: {}", list_of(known.iter().copied(), "and")));
        }
        self.found.push(wrong);
    }

    fn list(&mut self, target: &'a Json, node: &Node, items: &[Node]) {
        let bound =
            |word: &str| target.get(word).and_then(Json::as_u64).and_then(|it| usize::try_from(it).ok());
        if bound("minItems").is_some_and(|least| items.len() < least) {
            let message = "at least one entry is needed here";
            self.found.push(Diagnostic::error(Code::BadValue, self.head(node), message));
        }
        if let Some(most) = bound("maxItems").filter(|most| *most < items.len()) {
            let message = format!("{} entries are too many: at most {most}", items.len());
            self.found.push(Diagnostic::error(Code::BadValue, self.head(node), message));
            return;
        }
        let Some(schema) = target.get("items") else { return };
        for item in items {
            self.value(schema, item, None);
        }
    }

    fn text(&mut self, schema: &Json, target: &Json, node: &Node, text: &str, quoting: Quoting) {
        self.boolean_elsewhere(node, text, quoting);
        // A constraint may stand beside a reference as well as behind it.
        for rules in [schema, target] {
            let bound =
                |word: &str| rules.get(word).and_then(Json::as_u64).and_then(|it| usize::try_from(it).ok());
            if bound("minLength").is_some_and(|least| text.chars().count() < least) {
                let message = "there must be some text here";
                self.found.push(Diagnostic::error(Code::BadValue, self.head(node), message));
                return;
            }
            if let Some(most) = bound("maxLength").filter(|most| *most < text.chars().count()) {
                let message = format!("{} characters are too many: at most {most}", text.chars().count());
                self.found.push(Diagnostic::error(Code::BadValue, self.head(node), message));
                return;
            }
            if let Some(pattern) = rules.get("pattern").and_then(Json::as_str)
                && !regex::Regex::new(pattern).is_ok_and(|it| it.is_match(text))
            {
                let message = format!("`{}` cannot be used here", shortened(text));
                let wrong = Diagnostic::error(Code::BadValue, self.head(node), message);
                self.found.push(wrong.label(hint::pattern(pattern)));
                return;
            }
            if std::ptr::eq(schema, target) {
                return;
            }
        }
    }

    fn boolean_elsewhere(&mut self, node: &Node, text: &str, quoting: Quoting) {
        if quoting == Quoting::Plain && scalar::is_boolean_elsewhere(text) {
            let message = format!("`{text}` without quotes is true or false for other readers of YAML");
            let wrong = Diagnostic::warning(Code::YamlBoolean, self.head(node), message);
            self.found.push(wrong.help(format!("write `\"{text}\"`: kubectl would send `true` or `false`")));
        }
    }

    fn number(&mut self, schema: &Json, target: &Json, node: &Node, number: &serde_json::Number) {
        let whole = number.is_i64() || number.is_u64();
        if target.get("type").and_then(Json::as_str) == Some("integer") && !whole {
            return self.wrong_type("integer", node);
        }
        let given = number.as_f64().unwrap_or(f64::NAN);
        let bound =
            |word: &str| [schema, target].iter().find_map(|rules| rules.get(word)).and_then(Json::as_f64);
        let (least, most) = (bound("minimum"), bound("maximum"));
        if least.is_none_or(|it| it <= given) && most.is_none_or(|it| given <= it) {
            return;
        }
        let label = match (least, most) {
            (Some(least), Some(most)) => format!("from {least} to {most}"),
            (Some(least), None) => format!("{least} or more"),
            (None, Some(most)) => format!("at most {most}"),
            (None, None) => String::new(),
        };
        let message = format!("{number} is out of bounds");
        self.found.push(Diagnostic::error(Code::BadValue, self.head(node), message).label(label));
    }
}

fn kind_wanted(target: &Json) -> &str {
    target.get("type").and_then(Json::as_str).unwrap_or_else(|| {
        let branch = target.get("oneOf").or_else(|| target.get("anyOf")).and_then(|it| it.get(0));
        branch.and_then(|it| it.get("type")).and_then(Json::as_str).unwrap_or("object")
    })
}

fn spoken(wanted: &str) -> &'static str {
    match wanted {
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a record",
    }
}

fn first_sentence(schema: &Json) -> Option<String> {
    let text = schema.get("description").and_then(Json::as_str)?;
    let text = text.split("\n\n").next().unwrap_or(text).replace('\n', " ");
    let end = text.find(". ").unwrap_or(text.trim_end_matches('.').len());
    let sentence: String = text.chars().take(text.get(..end)?.chars().count()).collect();
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect())
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
