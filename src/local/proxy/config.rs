//! What a worker is told to do: the wire types of one configuration. They are the proxy's own, so that the
//! data plane depends on nothing that decides.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// Name of a listening socket, as the supervisor hands it over.
pub type ListenerName = String;

/// Name of an arm within one listener, for example `stable` or `canary`.
pub type ArmName = String;

/// The whole of a weight: weights are parts per million, `0 ..= 1_000_000`.
pub const WHOLE: u32 = 1_000_000;

/// Everything a worker needs to serve, replaced as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyConfig {
    /// Chosen by the sender, echoed in `Applied`, counts and health. The last applied wins, whatever its number.
    pub generation: u64,
    /// By socket name. A socket without an entry answers 503.
    pub listeners: BTreeMap<ListenerName, ListenerConfig>,
}

/// How the requests of one listening socket are served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// What clients speak. Default plain HTTP (HTTP/1.1, and HTTP/2 with prior knowledge).
    #[serde(default)]
    pub protocol: Protocol,
    /// Destinations.
    pub arms: BTreeMap<ArmName, ArmConfig>,
    /// Parts per million by arm; must sum to 1,000,000, or be empty when nothing can serve yet.
    #[serde(default)]
    pub split: BTreeMap<ArmName, u32>,
    /// The first that fits decides, before stickiness and weights.
    #[serde(default)]
    pub matches: Vec<MatchConfig>,
    /// Parts per million of all requests that are copied to an arm, whose answers are dropped.
    #[serde(default)]
    pub mirrors: BTreeMap<ArmName, u32>,
    /// Keeps a client on its arm. Default none: every request is drawn anew.
    #[serde(default)]
    pub sticky: Option<StickyConfig>,
    /// Arm that takes a request which its own arm was never sent, because no connection could be made. The
    /// failure still counts against the arm that was drawn. Default none.
    #[serde(default)]
    pub fallback: Option<ArmName>,
    /// Deadlines.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// Whether what a client says of the clients before it (`Forwarded`, `X-Forwarded-*`, `X-Real-IP` and the like) is
    /// kept, because a trusted proxy stands in front, or replaced. Default false.
    #[serde(default)]
    pub trust_forwarded: bool,
}

/// What clients speak on a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// HTTP/1.1, and HTTP/2 with prior knowledge (h2c), told apart by the first bytes.
    #[default]
    Http,
    /// TLS, HTTP/2 or HTTP/1.1 by ALPN.
    #[serde(rename_all = "camelCase")]
    Tls {
        /// PEM chain, leaf first. Read again when the file changes; a bad file keeps the last good one.
        certificate: PathBuf,
        /// PEM private key.
        key: PathBuf,
    },
}

/// One destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmConfig {
    /// What counts are kept by.
    pub revision: String,
    /// Where its processes listen; may be empty.
    #[serde(default)]
    pub endpoints: Vec<SocketAddr>,
    /// Takes no new requests; those in flight end on their own. Needs weight 0.
    #[serde(default)]
    pub draining: bool,
    /// What its processes speak. Default `auto`.
    #[serde(default)]
    pub upstream: Upstream,
}

/// What the processes of an arm speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Upstream {
    /// HTTP/2 without TLS for gRPC (`content-type: application/grpc`, with or without `+format`), HTTP/1.1 for everything else.
    #[default]
    Auto,
    /// HTTP/1.1 always.
    Http1,
    /// HTTP/2 without TLS, prior knowledge, always; upgrades are then refused.
    Http2,
}

/// Sends the requests that fit to one arm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatchConfig {
    /// Name, for people.
    pub id: String,
    /// Fits when one of these fits, each of which fits when all its conditions do. An empty list never fits; an
    /// empty inner list always does.
    pub any_of: Vec<Vec<Condition>>,
    /// Where to.
    pub to: ArmName,
}

/// One condition on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// On any value of a header; names are case-insensitive.
    Header(Named),
    /// On any cookie of that name; names are case-sensitive.
    Cookie(Named),
    /// On any query parameter of that name; names and values are compared percent-decoded.
    Query(Named),
    /// On the path as it was sent, without the query.
    Path(Text),
}

/// A text condition on something with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// The name.
    pub name: String,
    /// What its value must be.
    pub value: Text,
}

/// What a text must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Text {
    /// Equal, byte by byte.
    Exact(String),
    /// Starts with, byte by byte (`/shop` also fits `/shopping`).
    Prefix(String),
    /// Fits as a whole; syntax of the `regex` crate, linear time.
    Regex(String),
    /// Anything, as long as it is there.
    Present,
}

/// Keeps a client on its arm by a signed cookie.
///
/// The cookie holds the revision and the client's random position among all clients. As the canary's weight
/// rises, only the clients between the old and the new weight move; nobody is ever moved back and forth.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StickyConfig {
    /// Name of the cookie.
    pub cookie: String,
    /// Seconds an assignment holds, counted from when it was made.
    pub ttl_s: u64,
    /// Signs the cookie; at least 16 bytes. Assignments signed with another key are ignored.
    pub key: String,
    /// What the assignment is for; one made for another attempt is ignored and made anew. Default 0.
    #[serde(default)]
    pub attempt: u64,
}

impl std::fmt::Debug for StickyConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cookie, ttl_s, key: _, attempt } = self;
        write!(f, "StickyConfig {{ cookie: {cookie:?}, ttl_s: {ttl_s}, key: (hidden), attempt: {attempt} }}")
    }
}

/// Deadlines of one listener, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// From the first byte of a request's head (or the TLS handshake) to its last. Default 10 s.
    pub header_read_ms: u64,
    /// To make a connection to a backend. Default 1 s.
    pub connect_ms: u64,
    /// From the last byte of a request sent to the head of its response. Default 60 s.
    pub response_head_ms: u64,
    /// Longest silence in the middle of a body or a tunnel, in either direction. Default 5 min.
    pub stream_idle_ms: u64,
    /// How long a client connection may rest between requests. Default 75 s.
    pub client_idle_ms: u64,
    /// How long a backend connection is kept for reuse; shorter than what backends themselves keep, so that a
    /// request rarely meets a connection that is being closed. Default 1.5 s.
    pub backend_idle_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            header_read_ms: 10_000,
            connect_ms: 1_000,
            response_head_ms: 60_000,
            stream_idle_ms: 300_000,
            client_idle_ms: 75_000,
            backend_idle_ms: 1_500,
        }
    }
}

impl Timeouts {
    pub(super) fn connect(&self) -> Duration {
        Duration::from_millis(self.connect_ms)
    }

    pub(super) fn response_head(&self) -> Duration {
        Duration::from_millis(self.response_head_ms)
    }

    pub(super) fn stream_idle(&self) -> Duration {
        Duration::from_millis(self.stream_idle_ms)
    }

    pub(super) fn backend_idle(&self) -> Duration {
        Duration::from_millis(self.backend_idle_ms)
    }
}

/// Bounds of one listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a head: of a request's, beyond it 431, and of an answer's, beyond it 502. Default 64 KiB, least 8 KiB.
    pub header_bytes: usize,
    /// Header fields of a request; beyond it 431. Default 100.
    pub headers: usize,
    /// Header fields of an answer; beyond it 502. Default 256.
    pub answer_headers: usize,
    /// Client connections per worker; further ones wait in the accept queue. Default 20,000.
    pub connections: usize,
    /// Client connections per worker of one address; further ones are closed at once and counted. Default 10,000, half of
    /// `connections`, so that nobody takes all of them.
    pub connections_per_address: usize,
    /// Streams a client may have open on one HTTP/2 connection. Default 200.
    pub streams: u32,
    /// Mirrored requests in flight or waiting, per worker; further ones are skipped and counted. Default 100.
    pub mirrors: usize,
    /// Bytes of the largest body that is mirrored; a request with a larger one is not mirrored. Default 64 KiB.
    pub mirror_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            headers: 100,
            answer_headers: 256,
            connections: 20_000,
            connections_per_address: 10_000,
            streams: 200,
            mirrors: 100,
            mirror_body: 64 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_configuration_gets_every_default() {
        let config: ProxyConfig = serde_json::from_str(
            r#"{"generation":7,"listeners":{"web":{"arms":{"stable":{"revision":"v1","endpoints":["127.0.0.1:80"]}},
                "split":{"stable":1000000}}}}"#,
        )
        .unwrap();
        let web = &config.listeners["web"];
        assert_eq!(web.timeouts, Timeouts::default());
        assert_eq!(web.limits, Limits::default());
        assert_eq!(web.protocol, Protocol::Http);
        assert_eq!(web.arms["stable"].upstream, Upstream::Auto);
        let again: ProxyConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let error = serde_json::from_str::<ProxyConfig>(r#"{"generation":1,"listeners":{},"wieght":1}"#);
        assert!(error.unwrap_err().to_string().contains("wieght"));
    }

    #[test]
    fn the_signing_key_is_never_printed() {
        let sticky =
            StickyConfig { cookie: "c".into(), ttl_s: 1, key: "very secret text".into(), attempt: 0 };
        assert!(!format!("{sticky:?}").contains("secret"));
    }
}
