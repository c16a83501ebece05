//! What a word without quotes means: the core schema of YAML 1.2.

use serde_json::Number;

use super::yaml::{Quoting, Value};

/// What a plain word means; `None`: a number that is not finite.
pub(super) fn plain(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if !looks_numeric(text) => Value::Text(text.to_owned(), Quoting::Plain),
        _ => Value::Number(number(text)?),
    })
}

/// Words that YAML 1.1 readers, kubectl among them, take for true or false.
pub(super) fn is_boolean_elsewhere(text: &str) -> bool {
    let folded = text.to_ascii_lowercase();
    matches!(folded.as_str(), "y" | "n" | "yes" | "no" | "on" | "off")
        && (text == folded || text == folded.to_ascii_uppercase() || text.get(1..) == folded.get(1..))
}

fn looks_numeric(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.bytes().all(|it| matches!(it, b'0'..=b'7'));
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let digits = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let some = !whole.is_empty() || !decimals.is_empty();
    some && digits(whole) && digits(decimals) && exponent.is_none_or(|it| !it.is_empty() && digits(it))
}

fn number(text: &str) -> Option<Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Number::from);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return u64::from_str_radix(digits, 8).ok().map(Number::from);
    }
    let plain = text.strip_prefix('+').unwrap_or(text);
    if let Ok(it) = plain.parse::<u64>() {
        return Some(it.into());
    }
    if let Ok(it) = plain.parse::<i64>() {
        return Some(it.into());
    }
    plain.parse::<f64>().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_what_yaml_1_2_says() {
        for text in
            ["5%", "10m", "0x", "1e", "-", "+", ".", "1.2.3", "12e", "v1", "127.0.0.1:80", "no", "0b1"]
        {
            assert_eq!(plain(text), Some(Value::Text(text.into(), Quoting::Plain)), "{text}");
        }
        for text in ["0", "-1", "+7", "1.5", ".5", "1e3", "0x1F", "0o17", "18446744073709551616"] {
            assert!(matches!(plain(text), Some(Value::Number(_))), "{text}");
        }
        for text in ["1e400", "-1e999", ".inf", "-.inf", ".nan"] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn words_that_are_booleans_elsewhere_are_known() {
        for text in ["off", "Off", "OFF", "yes", "n", "Y"] {
            assert!(is_boolean_elsewhere(text), "{text}");
        }
        for text in ["oFF", "offf", "active", ""] {
            assert!(!is_boolean_elsewhere(text), "{text}");
        }
    }
}
