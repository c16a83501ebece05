use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{Action, Name};

/// What a person asks of a rollout. It never changes once it is written, and means the same however often it is read.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolloutOrderSpec {
    /// The Rollout, in the same namespace.
    pub rollout: Name,
    /// What to do.
    pub action: Action,
    /// The version on trial that it is about; for any other one it is void.
    pub revision: RevisionRef,
    /// The step it is about. Default: whichever is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Name>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1000))]
    pub reason: Option<Name>,
    /// After this it is void.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
    /// Who asks. Written by the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Name>,
}

/// A version, by what identifies it: exactly one.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RevisionRef {
    /// The image of its containers.
    Image(Name),
    /// Its hash, as the status shows it.
    Hash(Name),
    /// The attempt that tries it, as the status shows it.
    Attempt(u32),
}

/// A moment, as RFC 3339: `2026-01-31T12:00:00Z`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment(pub jiff::Timestamp);

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let moment = text.parse().map(Self);
        moment.map_err(|_| format!("`{text}` is no moment: write RFC 3339, such as `2026-01-31T12:00:00Z`"))
    }
}

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Moment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "A moment, as RFC 3339.",
            "examples": ["2026-01-31T12:00:00Z"],
        })
    }
}
