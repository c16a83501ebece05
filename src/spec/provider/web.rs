use analysis::provider::{
    self, AnyQuestion,
    web::{Pick, check_path},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ProviderKind, SourceRef, Whom, Yields};
use crate::written::MetricText;

/// Anything that answers a GET with JSON. Give `value`, or `bad` and `total`: JSONPaths (RFC 9535) that lead to one
/// number each.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Web {
    /// A source that an operator has set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ref: Option<SourceRef>,
    /// Its address; in a cluster only where the operator's policy allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https?://"))]
    pub address: Option<String>,
    /// Path and query, appended to the address; begins with `/`. Parameters are escaped for it.
    pub path: MetricText,
    /// One number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A counter of the events that are bad, which only rises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<String>,
    /// A counter of all events, which only rises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// The answer's own time: seconds or milliseconds since 1970, or RFC 3339. Without it every answer counts as of
    /// now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

impl Web {
    /// JSONPaths that are none, each with its key and what is wrong.
    #[must_use]
    pub fn wrong_paths(&self) -> Vec<(&'static str, String)> {
        let paths =
            [("value", &self.value), ("bad", &self.bad), ("total", &self.total), ("time", &self.time)];
        let wrong =
            |(key, path): (&'static str, &Option<String>)| Some((key, check_path(path.as_ref()?).err()?));
        paths.into_iter().filter_map(wrong).collect()
    }
}

impl ProviderKind for Web {
    fn texts(&self) -> Vec<(&'static str, &MetricText)> {
        vec![("path", &self.path)]
    }

    fn filled(&self, fill: &dyn Fn(&MetricText) -> MetricText) -> Self {
        Self { path: fill(&self.path), ..self.clone() }
    }

    fn yields(&self) -> Yields {
        match (&self.value, &self.bad, &self.total) {
            (Some(_), None, None) => Yields::Value,
            (None, Some(_), Some(_)) => Yields::Counts,
            _ => Yields::Unclear,
        }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Source { source_ref: self.source_ref.as_ref(), address: self.address.as_deref() }
    }

    fn question(&self, fill: &dyn Fn(&MetricText) -> String) -> Option<AnyQuestion> {
        let pick = match (self.value.clone(), self.bad.clone(), self.total.clone()) {
            (Some(it), None, None) => Pick::Value(it),
            (None, Some(bad), Some(total)) => Pick::Counts { bad, total },
            _ => return None,
        };
        Some(AnyQuestion::Web(provider::Web { path: fill(&self.path), pick, time: self.time.clone() }))
    }

    /// One part of a path, or one value of a query, whatever is in it.
    fn escape(value: &str) -> String {
        let plain = |it: u8| it.is_ascii_alphanumeric() || b"-._~".contains(&it);
        value.bytes().fold(String::new(), |text, it| match plain(it) {
            true => text + char::from(it).encode_utf8(&mut [0; 4]),
            false => text + &format!("%{it:02X}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_one_part_of_a_path() {
        for (value, escaped) in
            [("shop", "shop"), ("a/../b?c=d&e", "a%2F..%2Fb%3Fc%3Dd%26e"), ("ü\r\n", "%C3%BC%0D%0A")]
        {
            assert_eq!(Web::escape(value), escaped);
        }
    }
}
