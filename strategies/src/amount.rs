use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{InvalidWeight, Weight};

/// So many replicas: a share of the wanted number (`25%`), or a number that stays what it is (`3`).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Amount {
    /// A share of the wanted number.
    Share(Weight),
    /// So many.
    Replicas(u32),
}

/// A text that is no amount of replicas.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidAmount(String);

impl Amount {
    /// None.
    pub const ZERO: Self = Self::Share(Weight::ZERO);
    /// As many as are wanted.
    pub const FULL: Self = Self::Share(Weight::FULL);

    /// So many of `total`; a share is rounded up, as replicas above the wanted number are.
    #[must_use]
    pub fn above(self, total: u32) -> u32 {
        match self {
            Self::Share(share) => share.replicas_of(total),
            Self::Replicas(count) => count,
        }
    }

    /// Replicas that have to be there for `share` of the requests while so many of `total` may be missing, rounded up.
    #[must_use]
    pub fn left_of(self, total: u32, share: Weight) -> u32 {
        match self {
            Self::Share(missing) => share.of_weight(missing.complement()).replicas_of(total),
            Self::Replicas(missing) => share.replicas_of(total.saturating_sub(missing)),
        }
    }

    /// Whether it is none of any number.
    #[must_use]
    pub fn is_none(self) -> bool {
        matches!(self, Self::Share(Weight::ZERO) | Self::Replicas(0))
    }
}

impl From<Weight> for Amount {
    fn from(share: Weight) -> Self {
        Self::Share(share)
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let invalid = |why: String| InvalidAmount(why);
        if !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit()) {
            let too_many = || invalid(format!("`{text}` is too many: write at most {} replicas", u32::MAX));
            return text.parse().map(Self::Replicas).map_err(|_| too_many());
        }
        if !text.ends_with('%') {
            return Err(invalid(format!(
                "`{text}` is no amount: write a share such as `25%`, or a number of replicas such as `3`"
            )));
        }
        text.parse().map(Self::Share).map_err(|error: InvalidWeight| invalid(error.to_string()))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => share.fmt(f),
            Self::Replicas(count) => count.fmt(f),
        }
    }
}

impl fmt::Display for InvalidAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidAmount {}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Share(share) => share.serialize(serializer),
            Self::Replicas(count) => serializer.serialize_u32(*count),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share such as `25%`, or a number of replicas such as `3`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share of the wanted replicas, `0%` to `100%`, or a number of replicas.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": u32::MAX },
                { "type": "string", "pattern": r"^((100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%|[0-9]{1,9})$" },
            ],
            "examples": ["25%", 3],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_numbers_read_back_and_nothing_else_is_read() {
        for (json, amount) in [
            (r#""25%""#, Amount::Share(Weight::from_percent(25))),
            ("3", Amount::Replicas(3)),
            ("0", Amount::Replicas(0)),
        ] {
            let read: Amount = serde_json::from_str(json).unwrap();
            assert_eq!((read, serde_json::to_string(&read).unwrap().as_str()), (amount, json));
        }
        for json in [r#""x""#, "-1", "1.5", "99999999999", r#""101%""#, "null", r#""""#] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
    }

    /// One of three that may be missing is one of thirty.
    #[test]
    fn a_number_stays_what_it_is_while_a_share_grows() {
        let (one, third) = (Amount::Replicas(1), Amount::Share(Weight::from_ppm(333_333)));
        let left = |amount: Amount, total| amount.left_of(total, Weight::FULL);
        assert_eq!((left(one, 3), left(one, 30), left(one, 0)), (2, 29, 0));
        assert_eq!((left(third, 3), left(third, 30)), (3, 21));
        assert_eq!((one.above(30), third.above(30)), (1, 10));
        assert_eq!(one.left_of(10, Weight::from_percent(50)), 5);
    }
}
