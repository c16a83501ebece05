use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strategies::{HumanDuration, Weight};

use super::{Ack, Capabilities, Example, Matching, Mirroring, Reach, RouterKind};
use crate::written::{ByteSize, ListenAddress};

/// The proxy that is built in.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proxy {
    /// Where users' requests come in.
    #[schemars(length(min = 1, max = 16))]
    pub listen: Vec<Listen>,
    /// Processes that carry the traffic. Default: one per core, at most 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub workers: Option<u32>,
    /// What the service speaks. Default `auto`.
    #[serde(default)]
    pub protocol: Protocol,
    /// Whether headers in which clients say who the client is (`Forwarded`, `X-Forwarded-*`, `X-Real-IP` and the like)
    /// are kept, because a trusted proxy stands in front. Default false: they are replaced.
    #[serde(default)]
    pub trust_forwarded: bool,
    /// Deadlines.
    #[serde(default)]
    pub timeouts: ProxyTimeouts,
    /// Bounds.
    #[serde(default)]
    pub limits: ProxyLimits,
}

/// One socket.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listen {
    /// IP address and port.
    pub address: ListenAddress,
    /// TLS. Default: plain HTTP/1.1, and HTTP/2 with prior knowledge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// Certificate and key, in PEM files that are read again when they change.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// The chain, the server's own certificate first.
    #[schemars(length(min = 1))]
    pub certificate: String,
    /// Its private key.
    #[schemars(length(min = 1))]
    pub key: String,
}

/// What a service speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// HTTP/2 without TLS for gRPC, HTTP/1.1 for everything else.
    #[default]
    Auto,
    /// HTTP/1.1 always.
    Http1,
    /// HTTP/2 without TLS always; WebSockets are then refused.
    Http2,
}

/// Deadlines of the proxy.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProxyTimeouts {
    /// From the first byte of a request's head to its last. Default 10s.
    pub header: HumanDuration,
    /// To make a connection to the service. Default 1s.
    pub connect: HumanDuration,
    /// From the last byte of a request to the head of its response. Default 1m.
    pub response: HumanDuration,
    /// The longest silence in the middle of a body or a WebSocket. Default 5m.
    pub stream: HumanDuration,
    /// How long a client's connection may rest between requests. Default 75s.
    pub idle: HumanDuration,
}

impl Default for ProxyTimeouts {
    fn default() -> Self {
        Self {
            header: HumanDuration::from_secs(10),
            connect: HumanDuration::from_secs(1),
            response: HumanDuration::from_mins(1),
            stream: HumanDuration::from_mins(5),
            idle: HumanDuration::from_secs(75),
        }
    }
}

/// Bounds of the proxy.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ProxyLimits {
    /// The head of a request, beyond it 431, and of an answer, beyond it 502. Default 64KiB, at least 8KiB.
    pub header_size: ByteSize,
    /// Header fields of a request; beyond it 431. Default 100.
    #[schemars(range(min = 1, max = 10_000))]
    pub headers: u32,
    /// Header fields of an answer; beyond it 502. Default 256.
    #[schemars(range(min = 1, max = 10_000))]
    pub answer_headers: u32,
    /// Client connections of each worker; further ones wait. Default 20000.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: u32,
    /// Client connections of each worker from one address; further ones are closed at once. Default: half of
    /// `connections`, and all of them behind a trusted proxy (`trustForwarded`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_address: Option<u32>,
    /// The largest body that is mirrored; a request with a larger one is not. Default 64KiB.
    pub mirror_body: ByteSize,
    /// Copies in flight of each worker; further ones are skipped and counted. Default 100.
    #[schemars(range(min = 1, max = 100_000))]
    pub mirrors: u32,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self {
            header_size: ByteSize::kibibytes(64),
            headers: 100,
            answer_headers: 256,
            connections: 20_000,
            connections_per_address: None,
            mirror_body: ByteSize::kibibytes(64),
            mirrors: 100,
        }
    }
}

impl RouterKind for Proxy {
    fn can(&self) -> Capabilities {
        Capabilities {
            finest: Weight::from_ppm(1),
            matches: Matching {
                headers: true,
                cookies: true,
                query: true,
                path: true,
                prefix: true,
                regex: true,
            },
            mirror: Mirroring::Share,
            sticky: true,
            // A worker answers once it serves by the new split, so nothing lags behind.
            ack: Ack::Applied,
            settle: HumanDuration::default(),
        }
    }

    fn reach(&self) -> Reach {
        Reach::Machine
    }

    fn examples() -> Vec<Example<Self>> {
        vec![Example { name: "no object of a cluster", router: Self::default(), objects: vec![] }]
    }
}
