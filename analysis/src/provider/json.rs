//! JSON that must mean one thing: a key that comes twice is a mistake, and a number is looked at before it is one.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::Failure;

/// Reads a whole document.
pub(super) fn read(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice::<Strict>(bytes).map(|it| it.0).map_err(|_| Failure::NotThis("JSON"))
}

/// Reads a record; `what` it is said to be.
pub(super) fn shaped<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, Failure> {
    serde_json::from_value(read(bytes)?).map_err(|_| Failure::NotThis(what))
}

/// One finite number, also one that is written in quotes.
pub(super) fn number(value: &Value) -> Result<f64, Failure> {
    let number = match value {
        Value::Number(it) => it.as_f64().ok_or(Failure::NotThis("a number"))?,
        Value::String(it) => it.parse().map_err(|_| Failure::NotThis("a number"))?,
        Value::Null => return Err(Failure::NotThis("a number")),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            return Err(Failure::NotOneNumber("something else"));
        }
    };
    if number.is_finite() { Ok(number) } else { Err(Failure::NotFinite) }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, it: bool) -> Result<Value, E> {
        Ok(Value::Bool(it))
    }

    fn visit_i64<E>(self, it: i64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_u64<E>(self, it: u64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_f64<E>(self, it: f64) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_str<E>(self, it: &str) -> Result<Value, E> {
        Ok(it.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut all = vec![];
        while let Some(Strict(it)) = seq.next_element()? {
            all.push(it);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((key, Strict(it))) = map.next_entry::<String, Strict>()? {
            if all.insert(key, it).is_some() {
                return Err(A::Error::custom("a key twice"));
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_one_thing_is_read_as_it_is() {
        let text = br#"{"a":[1,-2,3.5,"x",null,true],"b":{"c":{}}}"#;
        assert_eq!(read(text).unwrap(), serde_json::from_slice::<Value>(text).unwrap());
    }

    #[test]
    fn a_key_twice_at_any_depth_is_refused() {
        for text in [r#"{"a":1,"a":2}"#, r#"[{"b":{"a":1,"a":1}}]"#, "", "{", "1 2", "nul", "NaN"] {
            assert_eq!(read(text.as_bytes()), Err(Failure::NotThis("JSON")), "{text}");
        }
    }

    #[test]
    fn only_finite_numbers_are_numbers() {
        let of = |text: &str| number(&read(text.as_bytes()).unwrap());
        assert_eq!((of("5"), of("\"5\""), of("-0.5e1")), (Ok(5.0), Ok(5.0), Ok(-5.0)));
        for text in ["\"NaN\"", "\"+Inf\"", "\"-inf\"", "\"1e400\""] {
            assert_eq!(of(text), Err(Failure::NotFinite), "{text}");
        }
        for text in ["null", "\"\"", "\"5 \"", "\"five\"", "\"0x5\""] {
            assert_eq!(of(text), Err(Failure::NotThis("a number")), "{text}");
        }
        for text in ["true", "[5]", "{}"] {
            assert_eq!(of(text), Err(Failure::NotOneNumber("something else")), "{text}");
        }
    }
}
