//! Texts with parameters, `$(…)`: parsed when they are read, filled in when they are used.
//!
//! The list of parameters is closed and each place has its own, so that a misspelt one is found by the reader
//! and not by the program that gets it. `$$(` stands for `$(` itself.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One parameter.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Parameter {
    /// `$(args.name)`: an argument of the template.
    Argument(String),
    /// `$(arm.pods)`, `$(stable.hash)`, `$(canary.service)`: something about one side.
    Side(Side, Fact),
    /// `$(namespace)`: where the Rollout lives; `default` in standalone mode.
    Namespace,
    /// `$(rollout)`: its name.
    Rollout,
    /// `$(weight)`: the canary's share of the requests, in percent without the sign.
    Weight,
    /// `$(window)`: the length of what is measured, such as `60s`.
    Window,
    /// `$(port)`: the port this process is to listen on.
    Port,
    /// `$(ordinal)`: which replica this process is, from 0.
    Ordinal,
    /// `$(revision)`: the version this process runs.
    Revision,
    /// `$(role)`: what the replica is there for: `main`, or `baseline`.
    Role,
}

/// Which side a parameter is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Side {
    /// Each in turn: the text is filled in once for stable and once for the canary.
    Arm,
    /// Stable.
    Stable,
    /// The canary.
    Canary,
}

/// What a parameter says about a side.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Fact {
    /// A regular expression that fits the names of its replicas.
    Pods,
    /// Its revision.
    Hash,
    /// Its Service.
    Service,
}

/// A piece of a text.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Words(String),
    Parameter(Parameter),
}

/// What is wrong with a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InvalidText {
    /// `$(` without its `)`.
    Unclosed,
    /// No such parameter, or not here.
    Unknown {
        /// As it was written, without `$(` and `)`.
        written: String,
        /// What is allowed in this place.
        allowed: &'static [&'static str],
    },
}

impl InvalidText {
    /// The characters it is about, as they stand in the text.
    #[must_use]
    pub fn written(&self) -> String {
        match self {
            Self::Unclosed => "$(".into(),
            Self::Unknown { written, .. } => format!("$({written})"),
        }
    }

    /// The parameter that may have been meant.
    #[must_use]
    pub fn nearest(&self) -> Option<String> {
        let Self::Unknown { written, allowed } = self else { return None };
        let near = super::nearest(written, allowed.iter().copied())?;
        Some(format!("$({near})"))
    }
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed => write!(f, "`$(` is never closed"),
            Self::Unknown { written, .. } => {
                write!(f, "`$({written})` is no parameter that can be used here")
            }
        }
    }
}

impl std::error::Error for InvalidText {}

impl Parameter {
    fn named(written: &str) -> Option<Self> {
        if let Some(name) = written.strip_prefix("args.") {
            let plain = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
            return (!name.is_empty() && name.chars().all(plain)).then(|| Self::Argument(name.to_owned()));
        }
        if let Some((side, fact)) = written.split_once('.') {
            let side = match side {
                "arm" => Side::Arm,
                "stable" => Side::Stable,
                "canary" => Side::Canary,
                _ => return None,
            };
            let fact = match fact {
                "pods" => Fact::Pods,
                "hash" => Fact::Hash,
                "service" => Fact::Service,
                _ => return None,
            };
            return Some(Self::Side(side, fact));
        }
        Some(match written {
            "namespace" => Self::Namespace,
            "rollout" => Self::Rollout,
            "weight" => Self::Weight,
            "window" => Self::Window,
            "port" => Self::Port,
            "ordinal" => Self::Ordinal,
            "revision" => Self::Revision,
            "role" => Self::Role,
            _ => return None,
        })
    }

    fn is_one_of(&self, allowed: &[&str]) -> bool {
        let shown = self.to_string();
        allowed.iter().any(|it| *it == shown || (*it == "args.…" && matches!(self, Self::Argument(_))))
    }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) => write!(f, "args.{name}"),
            Self::Side(side, fact) => {
                let side = match side {
                    Side::Arm => "arm",
                    Side::Stable => "stable",
                    Side::Canary => "canary",
                };
                let fact = match fact {
                    Fact::Pods => "pods",
                    Fact::Hash => "hash",
                    Fact::Service => "service",
                };
                write!(f, "{side}.{fact}")
            }
            Self::Namespace => f.write_str("namespace"),
            Self::Rollout => f.write_str("rollout"),
            Self::Weight => f.write_str("weight"),
            Self::Window => f.write_str("window"),
            Self::Port => f.write_str("port"),
            Self::Ordinal => f.write_str("ordinal"),
            Self::Revision => f.write_str("revision"),
            Self::Role => f.write_str("role"),
        }
    }
}

fn parse(text: &str, allowed: &'static [&'static str]) -> (Vec<Part>, Vec<InvalidText>) {
    let (mut parts, mut wrong) = (Vec::new(), Vec::new());
    let mut words = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("$(") {
        let (before, from) = rest.split_at(at);
        let inside = from.get(2..).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            words.push_str(before);
            words.push_str("$(");
            rest = inside;
            continue;
        }
        words.push_str(before);
        let Some((written, after)) = inside.split_once(')') else {
            wrong.push(InvalidText::Unclosed);
            return (parts, wrong);
        };
        match Parameter::named(written).filter(|it| it.is_one_of(allowed)) {
            Some(parameter) => {
                parts.push(Part::Words(std::mem::take(&mut words)));
                parts.push(Part::Parameter(parameter));
            }
            None => wrong.push(InvalidText::Unknown { written: written.to_owned(), allowed }),
        }
        rest = after;
    }
    words.push_str(rest);
    parts.push(Part::Words(words));
    parts.retain(|it| *it != Part::Words(String::new()));
    (parts, wrong)
}

macro_rules! texts {
    ($($(#[$doc:meta])* $Name:ident = $description:literal, [$($allowed:literal),*];)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, PartialEq)]
        pub struct $Name { written: String, parts: Vec<Part> }

        impl $Name {
            /// The parameters that can be used in it.
            pub const ALLOWED: &[&str] = &[$($allowed),*];

            /// Everything that is wrong with this text; nothing: it can be used.
            #[must_use]
            pub fn mistakes(text: &str) -> Vec<InvalidText> {
                parse(text, Self::ALLOWED).1
            }

            /// As it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.written
            }

            /// The parameters in it, in order.
            pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
                self.parts.iter().filter_map(|it| match it {
                    Part::Words(_) => None,
                    Part::Parameter(it) => Some(it),
                })
            }

            /// The text with every parameter replaced by what `value` says; those it does not know stay as they
            /// are written.
            #[must_use]
            pub fn fill(&self, value: impl Fn(&Parameter) -> Option<String>) -> String {
                self.parts.iter().fold(String::new(), |text, part| match part {
                    Part::Words(words) => text + words,
                    Part::Parameter(it) => text + &value(it).unwrap_or_else(|| format!("$({it})")),
                })
            }

            /// The text with some parameters replaced, to be filled in further later.
            #[must_use]
            pub fn fill_some(&self, value: impl Fn(&Parameter) -> Option<String>) -> Self {
                let parts = self.parts.iter().map(|part| match part {
                    Part::Words(words) => Part::Words(words.clone()),
                    Part::Parameter(it) => value(it).map_or_else(|| part.clone(), Part::Words),
                });
                let parts = parts.fold(vec![], |mut joined: Vec<Part>, part| {
                    match (joined.last_mut(), part) {
                        (Some(Part::Words(before)), Part::Words(words)) => before.push_str(&words),
                        (_, part) => joined.push(part),
                    }
                    joined
                });
                let written = parts.iter().fold(String::new(), |text, part| match part {
                    Part::Words(words) => text + &words.replace("$(", "$$("),
                    Part::Parameter(it) => text + &format!("$({it})"),
                });
                Self { written, parts }
            }
        }

        impl std::str::FromStr for $Name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, InvalidText> {
                let (parts, wrong) = parse(text, Self::ALLOWED);
                match wrong.into_iter().next() {
                    Some(wrong) => Err(wrong),
                    None => Ok(Self { written: text.to_owned(), parts }),
                }
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.written)
            }
        }

        impl Serialize for $Name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.written)
            }
        }

        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $Name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                let allowed: Vec<String> = Self::ALLOWED.iter().map(|it| format!("`$({it})`")).collect();
                json_schema!({
                    "type": "string",
                    "description": format!("{} Parameters: {}.", $description, allowed.join(", ")),
                })
            }
        }
    )* };
}

texts! {
    /// A text for a process on this machine: its command line, its environment.
    ProcessText = "A text for a process.", ["port", "ordinal", "revision", "role", "rollout"];

    /// A text for a metric: a query, a selector.
    MetricText = "A text for a metric.",
        ["args.…", "arm.pods", "arm.hash", "arm.service", "stable.pods", "stable.hash", "stable.service",
         "canary.pods", "canary.hash", "canary.service", "namespace", "rollout", "weight", "window"];

    /// A value for an argument of a template.
    ArgumentText = "A value for an argument.", ["namespace", "rollout"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_filled_and_everything_else_stays() {
        let text: ProcessText = "--port=$(port) $$(date) $HOME $(ordinal)$(port) $".parse().unwrap();
        let filled = text.fill(|it| (*it == Parameter::Port).then(|| "80".into()));
        assert_eq!(filled, "--port=80 $(date) $HOME $(ordinal)80 $");
        assert_eq!(text.parameters().count(), 3);
    }

    #[test]
    fn a_value_is_never_read_as_a_parameter() {
        let text: MetricText = "$(args.a)-$(weight)".parse().unwrap();
        let filled = text.fill_some(|it| matches!(it, Parameter::Argument(_)).then(|| "$(window)".into()));
        assert_eq!(filled.fill(|_| Some("5".into())), "$(window)-5");
        assert_eq!(filled.as_str().parse::<MetricText>().unwrap(), filled);
    }

    #[test]
    fn unknown_and_misplaced_parameters_are_refused_with_the_nearest() {
        let near = |text: &str| ProcessText::mistakes(text).first().and_then(InvalidText::nearest);
        assert_eq!(near("$(prot)").as_deref(), Some("$(port)"));
        assert_eq!(near("$(Port)").as_deref(), Some("$(port)"));
        assert_eq!(ProcessText::mistakes("$(weight) $(args.x) $(date)").len(), 3);
        assert_eq!(ProcessText::mistakes("$(port"), [InvalidText::Unclosed]);
        assert!(MetricText::mistakes("$(args.) $(args.a b) $(arm.) $()").len() == 4);
        assert!("$(arm.pods)".parse::<MetricText>().is_ok());
    }
}
