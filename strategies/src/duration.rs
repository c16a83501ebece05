use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A length of time as people write it: `90s`, `5m`, `1h 30m`. Months (`M`) and years (`y`) are refused:
/// `10M` would be ten months where ten minutes were meant.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HumanDuration(pub Duration);

/// A text that is no duration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidDuration {
    text: String,
    why: String,
}

impl HumanDuration {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many minutes.
    #[must_use]
    pub const fn from_mins(minutes: u64) -> Self {
        Self(Duration::from_secs(minutes * 60))
    }
}

impl FromStr for HumanDuration {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = |why: &str| InvalidDuration { text: text.to_owned(), why: why.to_owned() };
        let units = text.split(|it: char| !it.is_ascii_alphabetic()).filter(|it| !it.is_empty());
        for unit in units {
            match unit {
                "M" | "month" | "months" => {
                    return Err(invalid("`M` would be months; minutes are `m`"));
                }
                "y" | "year" | "years" => {
                    return Err(invalid("years are not accepted; the largest unit is `w`"));
                }
                _ => {}
            }
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid("it has no unit; write for example `90s`, `5m` or `1h 30m`"));
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| invalid(&format!("{error}; write for example `90s`, `5m` or `1h 30m`")))
    }
}

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no duration: {}", self.text, self.why)
    }
}

impl std::error::Error for InvalidDuration {}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = HumanDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as `90s`, `5m` or `1h 30m`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<HumanDuration, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<HumanDuration, E> {
                number.to_string().parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time: units ns, us, ms, s, m, h, d, w.",
            "pattern": r"^([0-9]+ ?(ns|us|ms|s|sec|m|min|h|hr|d|w) ?)+$",
            "examples": ["90s", "5m", "1h 30m"],
        })
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, part: &str) {
        let message = text.parse::<HumanDuration>().unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }

    #[test]
    fn months_years_and_bare_numbers_are_refused() {
        refused("10M", "minutes are `m`");
        refused("1y", "years are not accepted");
        refused("10", "no unit");
        refused("", "no duration");
        refused("-5m", "no duration");
        refused("5 minits", "no duration");
        assert_eq!("1h 30m".parse(), Ok(HumanDuration::from_mins(90)));
    }
}
