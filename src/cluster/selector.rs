//! Label selectors: as a query to the server, and as a test of labels.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::text;

/// Labels of an object.
pub(super) type Labels = BTreeMap<String, String>;

/// What labels have to be. All of it holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// A `LabelSelector` (Kubernetes API, `meta/v1`); `None`: it selects nothing, or says what is not known here.
    pub(super) fn of(selector: &Value) -> Option<Self> {
        let mut all = vec![];
        for (key, value) in selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            all.push(Requirement::In(key.clone(), vec![value.as_str()?.to_owned()]));
        }
        for it in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let key = text(it, "/key")?.to_owned();
            let values = it["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let values = values.map(str::to_owned).collect();
            all.push(match text(it, "/operator")? {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::Absent(key),
                _ => return None,
            });
        }
        (!all.is_empty()).then_some(Self(all))
    }

    /// Those that carry this label, with this value.
    pub(super) fn label(key: &str, value: &str) -> Self {
        Self(vec![Requirement::In(key.to_owned(), vec![value.to_owned()])])
    }

    /// As the server takes it.
    pub(super) fn query(&self) -> String {
        let one = |it: &Requirement| match it {
            Requirement::In(key, values) => match values.as_slice() {
                [one] => format!("{key}={one}"),
                all => format!("{key} in ({})", all.join(",")),
            },
            Requirement::NotIn(key, values) => format!("{key} notin ({})", values.join(",")),
            Requirement::Exists(key) => key.clone(),
            Requirement::Absent(key) => format!("!{key}"),
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// Whether these labels are such.
    pub(super) fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|it| match it {
            Requirement::In(key, values) => labels.get(key).is_some_and(|it| values.contains(it)),
            Requirement::NotIn(key, values) => labels.get(key).is_none_or(|it| !values.contains(it)),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }
}

/// The labels of an object.
pub(super) fn labels(object: &Value) -> Labels {
    let all = object.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given() -> Selector {
        let expressions = json!({ "matchLabels": { "app": "shop" }, "matchExpressions": [
            { "key": "tier", "operator": "In", "values": ["web", "api"] },
            { "key": "old", "operator": "DoesNotExist" },
        ] });
        Selector::of(&expressions).unwrap()
    }

    #[test]
    fn a_selector_of_labels_and_expressions_is_one_query() {
        assert_eq!(given().query(), "app=shop,tier in (web,api),!old");
        assert_eq!(Selector::of(&json!({})), None, "nothing is not everything");
    }

    #[test]
    fn labels_are_selected_as_the_server_selects_them() {
        let labels = |all: &[(&str, &str)]| {
            let object = json!({ "metadata": { "labels": all.iter().copied().collect::<BTreeMap<_, _>>() } });
            super::labels(&object)
        };
        assert!(given().matches(&labels(&[("app", "shop"), ("tier", "api"), ("more", "x")])));
        assert!(!given().matches(&labels(&[("app", "shop"), ("tier", "db")])));
        assert!(!given().matches(&labels(&[("app", "shop"), ("tier", "web"), ("old", "")])));
        assert!(!given().matches(&labels(&[("tier", "web")])));
    }
}
