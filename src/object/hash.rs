use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Letters that spell no word and are not taken for one another.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Ten letters that stand for a value, whatever the order of its keys. Recorded where it is first used and never
/// computed again for the same object: a later version may compute another one.
#[must_use]
pub fn short_hash(value: &Value) -> String {
    let digest = Sha256::digest(canonical(value).as_bytes());
    digest.iter().take(10).map(|it| char::from(LETTERS[usize::from(*it) % LETTERS.len()])).collect()
}

/// The value with sorted keys, in one line.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<(&String, &Value)> = map.iter().collect();
            keys.sort_by_key(|it| it.0);
            let all: Vec<String> =
                keys.into_iter().map(|(key, it)| format!("{key:?}:{}", canonical(it))).collect();
            format!("{{{}}}", all.join(","))
        }
        Value::Array(all) => format!("[{}]", all.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hash_has_ten_letters_of_ours_whatever_the_order_of_keys() {
        let hash = short_hash(&json!({ "a": 1, "b": { "c": [1, 2], "d": null } }));
        assert_eq!(hash, short_hash(&json!({ "b": { "d": null, "c": [1, 2] }, "a": 1 })));
        assert_ne!(hash, short_hash(&json!({ "b": { "d": null, "c": [2, 1] }, "a": 1 })));
        assert!(hash.len() == 10 && hash.bytes().all(|it| LETTERS.contains(&it)), "{hash}");
    }
}
