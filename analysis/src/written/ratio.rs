use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const ALLOWED: &str = "a factor from 0.01x to 1000x, such as 1.1x";

/// How many times as much, written `1.1x`; from 0.01 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// The factor `times`, if it is allowed.
    ///
    /// # Errors
    ///
    /// What is allowed, when `times` is not a number from 0.01 to 1000.
    pub fn new(times: f64) -> Result<Self, String> {
        if (0.01..=1000.0).contains(&times) {
            Ok(Self(times))
        } else {
            Err(format!("`{times}x` is not {ALLOWED}"))
        }
    }

    /// The factor.
    pub fn times(self) -> f64 {
        self.0
    }
}

impl FromStr for Ratio {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let times = text.strip_suffix('x').and_then(|it| it.parse().ok());
        times.map_or_else(|| Err(format!("`{text}` is not {ALLOWED}")), Self::new)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x", self.0)
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Ratio;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALLOWED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Ratio, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Ratio, E> {
        Err(E::custom(format!("`{number}` is not {ALLOWED}: write {number}x")))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Ratio, E> {
        Err(E::custom(format!("`{number}` is not {ALLOWED}: write {number}x")))
    }
}

impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> Cow<'static, str> {
        "Ratio".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?x$",
            "description": "A factor from 0.01x to 1000x.",
            "examples": ["1x", "1.1x", "2x"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_keeps_its_spelling() {
        for text in ["1x", "1.1x", "0.5x", "1000x"] {
            assert_eq!(text.parse::<Ratio>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_spellings_are_refused_with_what_is_allowed() {
        for text in ["1.1", "x", "-2x", "NaNx", "infx", "0x", "1001x", "110%", ""] {
            assert!(text.parse::<Ratio>().unwrap_err().contains("1.1x"), "{text}");
        }
        let number = serde_json::from_str::<Ratio>("1.1").unwrap_err().to_string();
        assert!(number.contains("write 1.1x"), "{number}");
    }
}
