//! Fields of an object as people name them: `metadata.annotations["kubectl.kubernetes.io/restartedAt"]`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A field below some object: names with dots between them, names that hold other characters in `["…"]`, places in lists
/// in `[…]`.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FieldPath(Vec<Part>);

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Part {
    Name(String),
    Index(usize),
}

/// A text that names no field.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidFieldPath(String);

impl FieldPath {
    /// The same as a JSON pointer (RFC 6901).
    #[must_use]
    pub fn pointer(&self) -> String {
        let part = |it: &Part| match it {
            Part::Name(name) => format!("/{}", name.replace('~', "~0").replace('/', "~1")),
            Part::Index(index) => format!("/{index}"),
        };
        self.0.iter().map(part).collect()
    }
}

fn is_plain(name: &str) -> bool {
    let mut characters = name.chars();
    let first = |it: char| it.is_ascii_alphabetic() || it == '_';
    characters.next().is_some_and(first) && characters.all(|it| it.is_ascii_alphanumeric() || it == '_')
}

/// One part and what is left behind it.
fn part(text: &str, is_first: bool) -> Option<(Part, &str)> {
    let Some(inside) = text.strip_prefix('[') else {
        let text = if is_first { text } else { text.strip_prefix('.')? };
        let end = text.find(['.', '[']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        return is_plain(name).then(|| (Part::Name(name.to_owned()), rest));
    };
    let Some(quoted) = inside.strip_prefix('"') else {
        let (index, rest) = inside.split_once(']')?;
        return Some((Part::Index(index.parse().ok()?), rest));
    };
    let (name, rest) = quoted.split_once("\"]")?;
    (!name.is_empty() && !name.contains('"')).then(|| (Part::Name(name.to_owned()), rest))
}

impl FromStr for FieldPath {
    type Err = InvalidFieldPath;

    fn from_str(text: &str) -> Result<Self, InvalidFieldPath> {
        let (mut parts, mut rest) = (vec![], text);
        while !rest.is_empty() || parts.is_empty() {
            let (next, behind) =
                part(rest, parts.is_empty()).ok_or_else(|| InvalidFieldPath(text.to_owned()))?;
            parts.push(next);
            rest = behind;
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.0.iter().enumerate() {
            match part {
                Part::Index(at) => write!(f, "[{at}]")?,
                Part::Name(name) if !is_plain(name) => write!(f, "[\"{name}\"]")?,
                Part::Name(name) if index == 0 => write!(f, "{name}")?,
                Part::Name(name) => write!(f, ".{name}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for InvalidFieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` names no field: write `metadata.annotations[\"example.com/name\"]` or `spec.priority`",
            self.0
        )
    }
}

impl std::error::Error for InvalidFieldPath {}

impl Serialize for FieldPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FieldPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for FieldPath {
    fn schema_name() -> Cow<'static, str> {
        "FieldPath".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A field: names with dots between them, and `[\"…\"]` around names with other characters.",
            "pattern": r#"^([A-Za-z_][A-Za-z0-9_]*|\["[^"]+"\])(\.[A-Za-z_][A-Za-z0-9_]*|\["[^"]+"\]|\[[0-9]+\])*$"#,
            "examples": ["metadata.annotations[\"kubectl.kubernetes.io/restartedAt\"]"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_reads_back_and_is_a_pointer() {
        for (text, pointer) in [
            ("spec", "/spec"),
            ("spec.priority", "/spec/priority"),
            (r#"metadata.annotations["a.b/c~d"]"#, "/metadata/annotations/a.b~1c~0d"),
            (r#"spec.containers[0].image"#, "/spec/containers/0/image"),
            (r#"["x-y"].z"#, "/x-y/z"),
        ] {
            let path: FieldPath = text.parse().unwrap();
            assert_eq!((path.pointer().as_str(), path.to_string().as_str()), (pointer, text));
        }
        for text in ["", ".", "a.", "a..b", "a[", "a[x]", "a[\"\"]", "a[\"b]", "/a/b", "a-b", "a.[0]", "a b"]
        {
            assert!(text.parse::<FieldPath>().is_err(), "{text}");
        }
    }
}
