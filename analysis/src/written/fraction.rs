use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const ALLOWED: &str = "a fraction between 0 and 1 (both excluded), such as 1%, 0.01 or 1e-6";

/// A part of a whole, strictly between 0 and 1, written as a percentage or as a number.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Fraction(f64);

impl Fraction {
    /// The fraction `of_one`, if it is strictly between 0 and 1.
    ///
    /// # Errors
    ///
    /// What is allowed, when it is not.
    pub fn new(of_one: f64) -> Result<Self, String> {
        if 0.0 < of_one && of_one < 1.0 {
            Ok(Self(of_one))
        } else {
            Err(format!("`{of_one}` is not {ALLOWED}"))
        }
    }

    /// The fraction as a number between 0 and 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl FromStr for Fraction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let plain = text.bytes().all(|it| it.is_ascii_digit() || b".eE+-".contains(&it));
            if plain { text.parse::<f64>().ok() } else { None }
        };
        let of_one = match text.strip_suffix('%') {
            Some(percent) => number(percent.trim_end()).map(|it| it / 100.0),
            None => number(text),
        };
        match of_one {
            Some(it) if 0.0 < it && it < 1.0 => Ok(Self(it)),
            Some(_) | None => Err(format!("`{text}` is not {ALLOWED}")),
        }
    }
}

impl fmt::Display for Fraction {
    /// A percentage, unless that would need an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        if 1e-4 <= percent && (percent / 100.0).to_bits() == self.0.to_bits() {
            // Of two spellings of the same number the rounded one is shown: 99.5, not 99.50000000000001.
            let rounded = (percent * 1e9).round() / 1e9;
            let shown = if (rounded / 100.0).to_bits() == self.0.to_bits() { rounded } else { percent };
            write!(f, "{shown}%")
        } else {
            write!(f, "{:?}", self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Fraction;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALLOWED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Fraction, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Fraction, E> {
        Fraction::new(number).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Fraction, E> {
        Err(E::custom(format!("`{number}` is not {ALLOWED}")))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Fraction, E> {
        Err(E::custom(format!("`{number}` is not {ALLOWED}")))
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Fraction {
    fn schema_name() -> Cow<'static, str> {
        "Fraction".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A fraction between 0 and 1, both excluded, as a number or as a percentage.",
            "anyOf": [
                { "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 },
                { "type": "string" }
            ],
            "examples": ["1%", 0.01]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_and_numbers_mean_the_same() {
        for (text, of_one) in
            [("1%", 0.01), ("0.01", 0.01), ("99.5%", 0.995), ("1e-300", 1e-300), ("0.1 %", 0.001)]
        {
            assert_eq!(text.parse::<Fraction>().unwrap().get(), of_one, "{text}");
        }
        assert_eq!(serde_json::from_str::<Fraction>("0.05").unwrap().get(), 0.05);
    }

    #[test]
    fn the_spelling_reads_back_as_the_same_number() {
        for of_one in [0.01, 0.995, 0.001, 1e-300, 1.0 / 3.0, 1e-7, 0.05] {
            let it = Fraction::new(of_one).unwrap();
            assert_eq!(it.to_string().parse::<Fraction>(), Ok(it));
        }
        assert_eq!(Fraction::new(0.995).unwrap().to_string(), "99.5%");
    }

    #[test]
    fn what_is_not_strictly_between_is_refused() {
        for text in ["0", "1", "0%", "100%", "-1%", "5", "NaN", "inf", "1%%", "%", "", "one"] {
            assert!(text.parse::<Fraction>().unwrap_err().contains("such as 1%"), "{text}");
        }
        assert!(serde_json::from_str::<Fraction>("1").is_err());
    }
}
