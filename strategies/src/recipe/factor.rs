use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Weight;

/// How many times as much, in thousandths: `1_000 ..= 100_000`. Users write `2x` or `1.5x`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Factor(u32);

/// A text that is no factor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidFactor(String);

impl Factor {
    /// Twice as much.
    pub const DOUBLE: Self = Self(2_000);
    /// As much.
    pub const ONE: Self = Self(1_000);

    /// So many times that share, rounded up, at most all.
    #[must_use]
    pub fn times(self, share: Weight) -> Weight {
        let ppm = (u64::from(self.0) * u64::from(share.ppm())).div_ceil(1_000);
        Weight::from_ppm(u32::try_from(ppm).unwrap_or(u32::MAX))
    }
}

impl FromStr for Factor {
    type Err = InvalidFactor;

    fn from_str(text: &str) -> Result<Self, InvalidFactor> {
        let invalid = || InvalidFactor(text.to_owned());
        let number = text.strip_suffix('x').ok_or_else(invalid)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |it: &str, most: usize| {
            (1..=most).contains(&it.len()) && it.bytes().all(|it| it.is_ascii_digit())
        };
        if !digits(whole, 3) || !digits(decimals, 3) {
            return Err(invalid());
        }
        let thousandths: u32 = format!("{whole}{decimals:0<3}").parse().map_err(|_| invalid())?;
        if (1_000..=100_000).contains(&thousandths) { Ok(Self(thousandths)) } else { Err(invalid()) }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000, self.0 % 1_000);
        match rest {
            0 => write!(f, "{whole}x"),
            _ => write!(f, "{whole}.{}x", format!("{rest:03}").trim_end_matches('0')),
        }
    }
}

impl fmt::Display for InvalidFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no factor: write a number from 1 to 100 and `x`, such as `2x` or `1.5x`", self.0)
    }
}

impl std::error::Error for InvalidFactor {}

impl Serialize for Factor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Factor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Factor {
    fn schema_name() -> Cow<'static, str> {
        "Factor".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "How many times as much, 1x to 100x.",
            "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3})?x$",
            "examples": ["2x", "1.5x"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_read_back_and_nothing_else_is_read() {
        for text in ["1x", "2x", "1.5x", "1.001x", "100x"] {
            assert_eq!(text.parse::<Factor>().unwrap().to_string(), text);
        }
        for text in ["", "x", "2", "0.5x", "101x", "-2x", "1.x", ".5x", "1.0001x", "2X", "2 x", "NaNx"] {
            assert!(text.parse::<Factor>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_multiple_is_rounded_up_and_never_above_all() {
        let share = Weight::from_ppm(3);
        assert_eq!("1.5x".parse::<Factor>().unwrap().times(share), Weight::from_ppm(5));
        assert_eq!(Factor::DOUBLE.times(Weight::from_percent(60)), Weight::FULL);
    }
}
