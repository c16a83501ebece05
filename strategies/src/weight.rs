use std::{fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A share of requests in parts per million: `0 ..= 1_000_000`. Users write percentages (`5%`, `0.5%`).
///
/// Integers, because a weight is compared for equality with what a router reports back.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Weight(u32);

/// A text or number that is no weight.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InvalidWeight {
    /// A bare number: `5` could mean 5 %, 5 ‰ or five requests.
    NoPercentSign(String),
    /// Not a decimal number, or negative.
    NotANumber(String),
    /// Above 100 %.
    AboveFull(String),
    /// More than four decimals: finer than one request in a million.
    TooFine(String),
}

impl Weight {
    /// No request.
    pub const ZERO: Self = Self(0);
    /// One request in a hundred.
    pub const ONE_PERCENT: Self = Self(10_000);
    /// Every request.
    pub const FULL: Self = Self(1_000_000);

    /// A weight of so many parts per million; above a million is [`Weight::FULL`].
    #[must_use]
    pub const fn from_ppm(ppm: u32) -> Self {
        if ppm > Self::FULL.0 { Self::FULL } else { Self(ppm) }
    }

    /// A weight of so many percent; above a hundred is [`Weight::FULL`].
    #[must_use]
    pub const fn from_percent(percent: u32) -> Self {
        Self::from_ppm(percent.saturating_mul(10_000))
    }

    /// Parts per million, `0 ..= 1_000_000`.
    #[must_use]
    pub const fn ppm(self) -> u32 {
        self.0
    }

    /// As a fraction, `0.0 ..= 1.0`.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 1e6
    }

    /// What all others receive.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(Self::FULL.0 - self.0)
    }

    /// The sum, at most [`Weight::FULL`].
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self::from_ppm(self.0.saturating_add(other.0))
    }

    /// The difference, at least [`Weight::ZERO`].
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// This share of that share, rounded up: a request counted twice is safer than one not counted.
    #[must_use]
    pub fn of_weight(self, other: Self) -> Self {
        let ppm = (u64::from(self.0) * u64::from(other.0)).div_ceil(u64::from(Self::FULL.0));
        Self(u32::try_from(ppm).unwrap_or(Self::FULL.0))
    }

    /// The smallest number of replicas, out of `total`, that is at least this share.
    #[must_use]
    pub fn replicas_of(self, total: u32) -> u32 {
        let replicas = (u64::from(self.0) * u64::from(total)).div_ceil(u64::from(Self::FULL.0));
        u32::try_from(replicas).unwrap_or(total)
    }

    /// The largest number of replicas, out of `total`, that is at most this share.
    #[must_use]
    pub fn replicas_within(self, total: u32) -> u32 {
        let replicas = u64::from(self.0) * u64::from(total) / u64::from(Self::FULL.0);
        u32::try_from(replicas).unwrap_or(total)
    }

    /// The largest share that `ready` replicas carry where `total` carry everything.
    #[must_use]
    pub fn carried_by(ready: u32, total: u32) -> Self {
        match total {
            0 => Self::FULL,
            _ => {
                let ppm = u64::from(ready.min(total)) * u64::from(Self::FULL.0) / u64::from(total);
                Self(u32::try_from(ppm).unwrap_or(Self::FULL.0))
            }
        }
    }
}

impl FromStr for Weight {
    type Err = InvalidWeight;

    fn from_str(text: &str) -> Result<Self, InvalidWeight> {
        let owned = || text.to_owned();
        let Some(number) = text.strip_suffix('%') else {
            return Err(InvalidWeight::NoPercentSign(owned()));
        };
        let number = number.trim_end();
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(decimals) || number.ends_with('.') {
            return Err(InvalidWeight::NotANumber(owned()));
        }
        if decimals.trim_end_matches('0').len() > 4 {
            return Err(InvalidWeight::TooFine(owned()));
        }
        let ppm = format!("{whole}{:0<4.4}", decimals).parse::<u64>().ok().filter(|ppm| *ppm <= 1_000_000);
        match ppm.and_then(|ppm| u32::try_from(ppm).ok()) {
            Some(ppm) => Ok(Self(ppm)),
            None => Err(InvalidWeight::AboveFull(owned())),
        }
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 10_000, self.0 % 10_000);
        let text = match rest {
            0 => format!("{whole}%"),
            _ => format!("{whole}.{}%", format!("{rest:04}").trim_end_matches('0')),
        };
        f.pad(&text)
    }
}

impl fmt::Display for InvalidWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPercentSign(text) => write!(f, "`{text}` has no unit: write a percentage such as `5%`"),
            Self::NotANumber(text) => {
                write!(f, "`{text}` is no percentage: write a number from 0 to 100 and `%`")
            }
            Self::AboveFull(text) => write!(f, "`{text}` is above 100%"),
            Self::TooFine(text) => write!(f, "`{text}` is finer than 0.0001%, one request in a million"),
        }
    }
}

impl std::error::Error for InvalidWeight {}

impl Serialize for Weight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Weight;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a percentage such as `5%` or `0.5%`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Weight, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Weight, E> {
                Err(E::custom(InvalidWeight::NoPercentSign(number.to_string())))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Weight, E> {
                Err(E::custom(InvalidWeight::NoPercentSign(number.to_string())))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Weight, E> {
                Err(E::custom(InvalidWeight::NoPercentSign(number.to_string())))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Weight {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Weight".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A share of requests, 0% to 100%, at most four decimals.",
            "pattern": r"^(100(\.0+)?|[0-9]{1,2}(\.[0-9]+)?)%$",
            "examples": ["5%", "0.5%", "100%"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<u32, &str>) {
        let got = text.parse::<Weight>().map(Weight::ppm).map_err(|it| it.to_string());
        match (&got, expected) {
            (Ok(ppm), Ok(wanted)) => assert_eq!(*ppm, wanted, "{text}"),
            (Err(message), Err(part)) => assert!(message.contains(part), "{text}: {message}"),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn percentages_are_parsed_exactly_and_nothing_else_is() {
        check("5%", Ok(50_000));
        check("0.5%", Ok(5_000));
        check("0.0001%", Ok(1));
        check("33.3333%", Ok(333_333));
        check("100%", Ok(1_000_000));
        check("100.0000%", Ok(1_000_000));
        check("5", Err("no unit"));
        check("101%", Err("above 100%"));
        check("99999999999999999999999%", Err("above 100%"));
        check("-1%", Err("no percentage"));
        check("%", Err("no percentage"));
        check("1.%", Err("no percentage"));
        check("1e1%", Err("no percentage"));
        check("0.00001%", Err("finer than"));
    }

    #[test]
    fn what_is_shown_reads_back() {
        for ppm in [0, 1, 10, 9_999, 10_000, 125_000, 333_333, 1_000_000] {
            let weight = Weight::from_ppm(ppm);
            assert_eq!(weight.to_string().parse(), Ok(weight));
        }
    }

    #[test]
    fn replicas_round_up_and_carry_what_they_say() {
        assert_eq!(Weight::from_ppm(1).replicas_of(10), 1);
        assert_eq!(Weight::from_percent(25).replicas_of(10), 3);
        assert_eq!(Weight::FULL.replicas_of(u32::MAX), u32::MAX);
        assert_eq!(Weight::carried_by(1, 4), Weight::from_percent(25));
    }
}
