//! Conditions of a split as matches of a route, each narrowed to what its rule matches anyway.

use serde_json::{Map, Value, json};
use strategies::{Field, Pattern, RequestMatch};

/// Most matches of one rule.
pub(super) const MOST: usize = 64;

/// Everything that meets one of the rule's own matches and one of these conditions.
///
/// # Errors
/// What cannot be said in a route, in words.
pub(super) fn both(own: Option<&Value>, any_of: &[RequestMatch]) -> Result<Vec<Value>, String> {
    let everything = vec![json!({})];
    let own = own.and_then(Value::as_array).filter(|it| !it.is_empty()).unwrap_or(&everything);
    let mut all = vec![];
    for base in own {
        for condition in any_of {
            all.extend(narrowed(base, condition)?);
        }
    }
    match all.len() {
        0..=MOST => Ok(all),
        many => Err(format!("{many} matches in one rule, where a route takes {MOST}")),
    }
}

/// `None`: no request can meet both.
fn narrowed(base: &Value, condition: &RequestMatch) -> Result<Option<Value>, String> {
    let mut both = base.clone();
    let headers = condition.headers.iter().map(field);
    let cookies = condition.cookies.iter().map(cookie);
    let query = condition.query.iter().map(field);
    let headers = headers.chain(cookies).collect::<Result<Vec<_>, String>>()?;
    let query = query.collect::<Result<Vec<_>, String>>()?;
    let fits = add(&mut both, "headers", headers, str::eq_ignore_ascii_case)?
        && add(&mut both, "queryParams", query, |a, b| a == b)?
        && condition.path.as_ref().map_or(Ok(true), |it| narrow_path(&mut both, it))?;
    Ok(fits.then_some(both))
}

/// Adds fields to those that the match asks for already; whether any request can still meet it.
fn add(
    both: &mut Value,
    key: &str,
    more: Vec<Value>,
    same: impl Fn(&str, &str) -> bool,
) -> Result<bool, String> {
    let name = |it: &Value| it["name"].as_str().unwrap_or_default().to_owned();
    let mut all = both.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    for it in more {
        let Some(there) = all.iter().find(|there| same(&name(there), &name(&it))) else {
            all.push(it);
            continue;
        };
        let exact = |it: &Value| it["type"].as_str().is_none_or(|it| it == "Exact");
        match (there["value"] == it["value"] && exact(there) == exact(&it), exact(there) && exact(&it)) {
            (true, _) => {}
            (false, true) => return Ok(false),
            (false, false) => {
                return Err(format!("two conditions on `{}`, of which a route takes one", name(&it)));
            }
        }
    }
    if let (Some(both), false) = (both.as_object_mut(), all.is_empty()) {
        both.insert(key.to_owned(), Value::Array(all));
    }
    Ok(true)
}

fn field(it: &Field) -> Result<Value, String> {
    let (kind, value) = match &it.value {
        Pattern::Exact(value) => ("Exact", value),
        Pattern::Regex(value) => ("RegularExpression", value),
        Pattern::Prefix(_) => return Err(format!("the beginning of `{}`", it.name)),
    };
    Ok(json!({ "type": kind, "name": it.name.as_str(), "value": value.as_str() }))
}

/// One cookie among those of a request.
fn cookie(it: &Field) -> Result<Value, String> {
    let value = match &it.value {
        Pattern::Exact(value) => regex::escape(value.as_str()),
        Pattern::Regex(value) => format!("(?:{value})"),
        Pattern::Prefix(_) => return Err(format!("the beginning of the cookie `{}`", it.name)),
    };
    let pattern = format!("(?:^|.*;\\s*){}={value}(?:;.*|$)", regex::escape(it.name.as_str()));
    Ok(json!({ "type": "RegularExpression", "name": "Cookie", "value": pattern }))
}

fn narrow_path(both: &mut Value, wanted: &Pattern) -> Result<bool, String> {
    let kind = |it: &Value| it["type"].as_str().unwrap_or("PathPrefix").to_owned();
    let text = |it: &Value| it["value"].as_str().unwrap_or("/").to_owned();
    let own = both.get("path").map(|it| (kind(it), text(it)));
    let all = own.as_ref().is_none_or(|(kind, text)| kind == "PathPrefix" && text == "/");
    let (kind, value) = match wanted {
        Pattern::Exact(it) => ("Exact", it.as_str()),
        Pattern::Prefix(it) if it.as_str().ends_with('/') => ("PathPrefix", it.as_str()),
        Pattern::Prefix(it) => {
            return Err(format!(
                "paths that begin with `{it}`: a route takes whole elements, such as `{it}/`"
            ));
        }
        Pattern::Regex(it) if all => ("RegularExpression", it.as_str()),
        Pattern::Regex(it) => return Err(format!("the path `{it}` beside the rule's own path")),
    };
    let inside = |path: &str, prefix: &str| {
        let prefix = prefix.trim_end_matches('/');
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let narrower = match &own {
        None => true,
        Some((it, own)) if it == "PathPrefix" && inside(value, own) => true,
        Some((it, own)) if it == "PathPrefix" && kind == "PathPrefix" && inside(own, value) => {
            return Ok(true);
        }
        Some((it, own)) if it == "Exact" && (own == value || kind == "PathPrefix" && inside(own, value)) => {
            return Ok(true);
        }
        Some((it, _)) if it == "RegularExpression" => {
            return Err(format!("the path `{value}` beside a regular expression of the rule"));
        }
        Some(_) => all,
    };
    if let (true, Some(both)) = (narrower, both.as_object_mut()) {
        let path: Map<String, Value> =
            [("type".to_owned(), json!(kind)), ("value".to_owned(), json!(value))].into_iter().collect();
        both.insert("path".to_owned(), Value::Object(path));
    }
    Ok(narrower)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(value: &str) -> RequestMatch {
        RequestMatch { path: Some(Pattern::Prefix(value.into())), ..RequestMatch::default() }
    }

    fn header(value: &str) -> RequestMatch {
        let value = Pattern::Exact(value.into());
        RequestMatch { headers: vec![Field { name: "X-Canary".into(), value }], ..RequestMatch::default() }
    }

    #[track_caller]
    fn check(own: Value, condition: &RequestMatch, expected: Value) {
        let all = both(Some(&json!([own])), std::slice::from_ref(condition)).unwrap();
        assert_eq!(Value::Array(all), expected);
    }

    #[test]
    fn a_condition_narrows_what_the_rule_matches_and_never_widens_it() {
        let prefix = |it: &str| json!({ "path": { "type": "PathPrefix", "value": it } });
        check(prefix("/"), &path("/a/"), json!([prefix("/a/")]));
        check(prefix("/a/b"), &path("/a/"), json!([prefix("/a/b")]));
        check(prefix("/b"), &path("/a/"), json!([]));
        check(prefix("/ab"), &path("/a/"), json!([]));
        let canary = json!({ "type": "Exact", "name": "X-Canary", "value": "1" });
        check(json!({}), &header("1"), json!([{ "headers": [canary.clone()] }]));
        let own = json!({ "headers": [{ "name": "x-canary", "value": "2" }] });
        check(own, &header("1"), json!([]));
        let own = json!({ "method": "GET", "headers": [{ "name": "a", "value": "2" }] });
        let both = json!({ "method": "GET", "headers": [{ "name": "a", "value": "2" }, canary] });
        check(own, &header("1"), json!([both]));
    }

    #[test]
    fn a_path_that_ends_in_the_middle_of_an_element_is_refused() {
        assert!(both(None, &[path("/a")]).unwrap_err().contains("/a/"));
    }

    #[test]
    fn a_cookie_is_found_among_others_and_not_inside_of_another() {
        let value = Pattern::Exact("1.5".into());
        let it = cookie(&Field { name: "v".into(), value }).unwrap();
        let pattern = regex::Regex::new(&format!("^(?:{})$", it["value"].as_str().unwrap())).unwrap();
        for (header, expected) in [
            ("v=1.5", true),
            ("a=b; v=1.5; c=d", true),
            ("av=1.5", false),
            ("v=1x5", false),
            ("v=1.55", false),
        ] {
            assert_eq!(pattern.is_match(header), expected, "{header}");
        }
    }
}
