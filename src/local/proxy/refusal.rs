//! Statuses the application did not send. Each carries `serinus-proxy: <reason>`, so that nobody mistakes it for
//! the application's.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CACHE_CONTROL, header::CONTENT_TYPE};

/// Header of every response that the proxy made itself.
pub const PROXY_HEADER: HeaderName = HeaderName::from_static("serinus-proxy");

/// Why the proxy answers by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Not HTTP as the standard has it; the text names what.
    Malformed(&'static str),
    /// `CONNECT`: this is no forward proxy.
    Connect,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// An upgrade to a backend that speaks HTTP/2 only.
    Upgrade,
    /// The socket has no configuration yet.
    Unconfigured,
    /// No process of any arm that may serve takes connections.
    NoBackend,
    /// The client's body broke off or is not framed as HTTP has it.
    BrokenBody,
    /// The client fell silent in the middle of its body.
    SilentBody,
    /// The backend broke the connection.
    BackendReset,
    /// The backend sent what is not HTTP, or could be read in two ways; the text names what.
    BadAnswer(&'static str),
    /// The backend was too slow.
    BackendTimeout,
}

impl Refusal {
    /// Whether the client is to blame.
    pub(super) fn is_clients(self) -> bool {
        match self {
            Self::Malformed(_)
            | Self::Connect
            | Self::Expectation
            | Self::Upgrade
            | Self::BrokenBody
            | Self::SilentBody => true,
            Self::Unconfigured
            | Self::NoBackend
            | Self::BackendReset
            | Self::BadAnswer(_)
            | Self::BackendTimeout => false,
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::BrokenBody => StatusCode::BAD_REQUEST,
            Self::SilentBody => StatusCode::REQUEST_TIMEOUT,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Upgrade => StatusCode::NOT_IMPLEMENTED,
            Self::Unconfigured | Self::NoBackend => StatusCode::SERVICE_UNAVAILABLE,
            Self::BackendReset | Self::BadAnswer(_) => StatusCode::BAD_GATEWAY,
            Self::BackendTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::BrokenBody => "malformed request",
            Self::SilentBody => "request timed out",
            Self::Connect => "method not allowed",
            Self::Expectation => "unknown expectation",
            Self::Upgrade => "upgrade not possible",
            Self::Unconfigured => "no configuration",
            Self::NoBackend => "no ready backend",
            Self::BackendReset => "backend broke the connection",
            Self::BadAnswer(_) => "malformed answer of the backend",
            Self::BackendTimeout => "backend timed out",
        }
    }

    fn text(self) -> String {
        match self {
            Self::Malformed(what) => format!("serinus: the request is malformed: {what}\n"),
            Self::BrokenBody => "serinus: the request is malformed: its body\n".to_owned(),
            Self::SilentBody => "serinus: the rest of the request did not come in time\n".to_owned(),
            Self::BadAnswer(what) => format!("serinus: the backend's answer is malformed: {what}\n"),
            Self::Connect => "serinus: CONNECT is not served, this is a reverse proxy\n".to_owned(),
            Self::Expectation => "serinus: the only expectation that can be met is 100-continue\n".to_owned(),
            Self::Upgrade => "serinus: the backend speaks HTTP/2, connections can't be upgraded\n".to_owned(),
            Self::Unconfigured => "serinus: this socket has no configuration yet\n".to_owned(),
            Self::NoBackend => "serinus: no ready backend: no process takes connections\n".to_owned(),
            Self::BackendReset => {
                "serinus: the backend broke the connection before it had answered\n".to_owned()
            }
            Self::BackendTimeout => "serinus: the backend did not answer in time\n".to_owned(),
        }
    }

    /// The response, its body apart.
    pub(super) fn response(self) -> (Response<()>, Bytes) {
        let mut response = Response::new(());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(PROXY_HEADER, HeaderValue::from_static(self.reason()));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        (response, Bytes::from(self.text()))
    }
}
