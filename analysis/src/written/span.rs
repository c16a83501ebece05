use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const ALLOWED: &str = "a duration in ms, s, m, h or d, such as 90s or 1h 30m";

/// A length of time as people write it: `90s`, `5m`, `1h 30m`.
///
/// Months (`M`) and years are refused: `10M` is nearly always meant to be ten minutes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Span(pub Duration);

impl Span {
    /// A whole number of seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut units = text.split(|it: char| !it.is_alphabetic()).filter(|it| !it.is_empty());
        let known = units.all(|it| matches!(it, "ms" | "s" | "m" | "h" | "d"));
        let parsed = if known { humantime::parse_duration(text).ok() } else { None };
        parsed.map(Self).ok_or_else(|| format!("`{text}` is not {ALLOWED}"))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ms = self.0.as_millis();
        let mut first = true;
        for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            let count = ms / length;
            ms %= length;
            if count != 0 {
                write!(f, "{}{count}{unit}", if first { "" } else { " " })?;
                first = false;
            }
        }
        if first { f.write_str("0s") } else { Ok(()) }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALLOWED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Span, E> {
        Err(E::custom(format!("`{number}` is not {ALLOWED}: write {number}s")))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A duration in ms, s, m, h or d.",
            "examples": ["90s", "5m", "1h 30m"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_they_are_written() {
        for (text, seconds) in [("90s", 90), ("1m", 60), ("1h 30m", 5400), ("1d", 86_400), ("0s", 0)] {
            assert_eq!(text.parse::<Span>(), Ok(Span::seconds(seconds)), "{text}");
        }
        assert_eq!(Span::seconds(90).to_string(), "1m 30s");
        assert_eq!("250ms".parse::<Span>().unwrap().to_string(), "250ms");
    }

    #[test]
    fn months_years_and_bare_numbers_are_refused() {
        for text in ["10M", "1y", "2 months", "10", "s", "-1s", "", "1min", "5 m m"] {
            assert!(text.parse::<Span>().unwrap_err().contains("such as 90s"), "{text}");
        }
        assert!(serde_json::from_str::<Span>("10").unwrap_err().to_string().contains("write 10s"));
    }
}
