use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{HumanDuration, Name};

use crate::written::ByteSize;

/// Where metrics can be asked for, and as whom.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MetricSourceSpec {
    /// Its address.
    #[schemars(regex(pattern = r"^https?://"))]
    pub address: String,
    /// As whom it is asked. Default: as nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Headers that are sent along and are no secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub headers: BTreeMap<String, String>,
    /// Headers that are sent along, such as keys, each with where its value is kept.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub secret_headers: BTreeMap<String, SecretRef>,
    /// TLS. Default: the certificates that this machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClientTls>,
    /// Bounds.
    #[serde(default)]
    pub limits: SourceLimits,
}

/// As whom a source is asked.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Credentials {
    /// By a token.
    Bearer(SecretRef),
    /// By name and password.
    Basic(Basic),
    /// By a token after a word of the source's own: `Authorization: Api-Token …`.
    Authorization(Authorization),
    /// By keys of AWS, which sign each request. For `cloudWatch` only.
    Aws(Aws),
}

/// Keys of AWS.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aws {
    /// The region, such as `eu-central-1`.
    #[schemars(regex(pattern = r"^[a-z0-9-]+$"))]
    pub region: String,
    /// The access key's identifier.
    pub access_key: SecretRef,
    /// The access key.
    pub secret_key: SecretRef,
    /// The token of temporary keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<SecretRef>,
}

/// A token after a word.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authorization {
    /// The word before the token, such as `Api-Token`.
    #[schemars(regex(pattern = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"))]
    pub scheme: String,
    /// The token.
    pub token: SecretRef,
}

/// Name and password.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Basic {
    /// The name.
    pub username: SecretRef,
    /// The password.
    pub password: SecretRef,
}

/// Where a secret is kept; it never stands in a document. Exactly one.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretRef {
    /// In a cluster: in a Secret.
    Secret(SecretKey),
    /// In standalone mode: in a file, without its last line feed.
    File(String),
    /// In standalone mode: in a variable of Serinus' environment.
    Env(String),
}

/// A key of a Secret.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret.
    pub name: Name,
    /// The key.
    pub key: String,
}

/// How a source is trusted.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientTls {
    /// Its authority, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretRef>,
    /// The name on its certificate. Default: the one in the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Trust whoever answers. Default false.
    pub insecure_skip_verify: bool,
}

/// Bounds of asking.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceLimits {
    /// How long an answer may take. Default 10s.
    pub timeout: HumanDuration,
    /// The largest answer that is read. Default 1MiB.
    pub response: ByteSize,
    /// Questions at the same time. Default 8.
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: u32,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self { timeout: HumanDuration::from_secs(10), response: ByteSize::mebibytes(1), concurrency: 8 }
    }
}
