use serde_json::Value;

use strategies::Decision;

/// Where two decisions differ first: the place as a JSON pointer, and what stands there in each.
pub(super) fn first_difference(then: &Decision, today: &Decision) -> Option<(String, Value, Value)> {
    let today = &with_ends_of(then, today);
    if then == today {
        return None;
    }
    let parts = |it: &Decision| serde_json::to_value(it).unwrap_or_default();
    let (then, today) = (parts(then), parts(today));
    // Two that differ and are written alike: the whole is shown.
    Some(descend(String::new(), &then, &today).unwrap_or((String::from("/"), then, today)))
}

/// Earlier versions gave no end to some waits that nothing but a person ends. That there is one today changes what is done by
/// nothing; an end that is another one than then is a difference.
fn with_ends_of(then: &Decision, today: &Decision) -> Decision {
    let mut today = today.clone();
    for (then, today) in then.waiting.iter().zip(&mut today.waiting) {
        if then.what == today.what && then.until.is_none() {
            today.until = None;
        }
    }
    today
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use strategies::{Next, Waiting, WaitingFor};

    use super::*;

    fn waits(until: Option<i64>) -> Decision {
        let until = until.map(|it| Timestamp::from_second(it).unwrap());
        let waiting = vec![Waiting { what: WaitingFor::Workload, since: Timestamp::UNIX_EPOCH, until }];
        Decision { next: Next::Rest, run: vec![], waiting }
    }

    #[test]
    fn an_end_where_there_was_none_is_no_difference_and_another_one_is() {
        assert_eq!(first_difference(&waits(None), &waits(Some(9))), None);
        let place = |then, today| first_difference(&waits(then), &waits(today)).map(|it| it.0);
        assert_eq!(place(Some(8), Some(9)).as_deref(), Some("/waiting/0/until"));
        assert_eq!(place(Some(8), None).as_deref(), Some("/waiting/0/until"));
    }
}
