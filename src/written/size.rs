//! Amounts of bytes as people write them: `10MiB`, `64KiB`, `500kB`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of bytes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ByteSize(u64);

/// A text that is no amount of bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InvalidByteSize(String);

const UNITS: [(&str, u64); 10] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// So many bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// So many times 2²⁰ bytes.
    #[must_use]
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// So many times 2¹⁰ bytes.
    #[must_use]
    pub const fn kibibytes(count: u64) -> Self {
        Self(count << 10)
    }
}

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, InvalidByteSize> {
        let invalid = || InvalidByteSize(text.to_owned());
        let (number, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| text.strip_suffix(name).map(|it| (it, *unit)))
            .ok_or_else(invalid)?;
        let number = number.trim_end();
        if !number.bytes().all(|it| it.is_ascii_digit()) {
            return Err(invalid());
        }
        number.parse::<u64>().ok().and_then(|it| it.checked_mul(unit)).map(Self).ok_or_else(invalid)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |it: &&(&str, u64)| self.0 != 0 && self.0.is_multiple_of(it.1);
        let (name, unit) = UNITS.iter().find(fits).copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl fmt::Display for InvalidByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no amount of bytes: write a whole number and KiB, MiB, GiB, kB, MB, GB or B",
            self.0
        )
    }
}

impl std::error::Error for InvalidByteSize {}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ByteSize {
    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An amount of bytes: a whole number and KiB, MiB, GiB, kB, MB, GB or B.",
            "pattern": r"^[0-9]+ ?(KiB|MiB|GiB|Ki|Mi|Gi|kB|MB|GB|B)$",
            "examples": ["10MiB", "64KiB"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_back_and_nothing_else_is_read() {
        for (text, bytes) in
            [("10MiB", 10 << 20), ("64 KiB", 64 << 10), ("500kB", 500_000), ("1Gi", 1 << 30), ("7B", 7)]
        {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        for text in ["", "10", "MiB", "-1MiB", "1.5MiB", "10mb", "99999999999999GiB", "1e3B"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
