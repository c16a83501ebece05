use serde_json::Value;

use strategies::Decision;

/// Where two decisions differ first: the place as a JSON pointer, and what stands there in each.
pub(super) fn first_difference(then: &Decision, today: &Decision) -> Option<(String, Value, Value)> {
    if then == today {
        return None;
    }
    let parts = |it: &Decision| serde_json::to_value(it).unwrap_or_default();
    let (then, today) = (parts(then), parts(today));
    // Two that differ and are written alike: the whole is shown.
    Some(descend(String::new(), &then, &today).unwrap_or((String::from("/"), then, today)))
}

fn descend(path: String, then: &Value, today: &Value) -> Option<(String, Value, Value)> {
    match (then, today) {
        (Value::Object(a), Value::Object(b)) => {
            let names = a.keys().chain(b.keys().filter(|it| !a.contains_key(*it)));
            let nothing = Value::Null;
            names.into_iter().find_map(|name| {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                let of = |map: &'_ serde_json::Map<String, Value>| map.get(name).cloned();
                match (of(a), of(b)) {
                    (Some(a), Some(b)) => descend(format!("{path}/{escaped}"), &a, &b),
                    (a, b) => Some((
                        format!("{path}/{escaped}"),
                        a.unwrap_or(nothing.clone()),
                        b.unwrap_or(nothing.clone()),
                    )),
                }
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| descend(format!("{path}/{i}"), a, b))
        }
        (a, b) if a == b => None,
        (a, b) => Some((path, a.clone(), b.clone())),
    }
}
