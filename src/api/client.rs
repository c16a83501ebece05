//! The caller's side of the control socket.
//!
//! One connection per call: they cost 0.1 ms on a unix socket, and an answer is never mixed up with another's.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use strategies::Name;
use tokio::{net::UnixStream, time::timeout};

use super::view::{
    Applied, Apply, CalibrationView, Edit, Failure, Health, History, JournalQuery, JournalRecord, LogQuery,
    LogView, NewOrder, OrderAnswer, RolloutEvent, RolloutList, RolloutView, Version,
};

/// Name of the control socket in the state directory.
pub const SOCKET: &str = "control.sock";

/// Longest answer that is read, bytes.
const MOST: usize = 256 << 20;

/// Why a call brought no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no engine answers at {}: start one with `serinus run FILE`, or name its directory with --state", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The engine answered that it won't or can't.
    #[error("{message}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// A stable word for programs, see [`Failure::code`].
        code: String,
        /// What happened and what to do.
        message: String,
    },
    /// The connection broke in the middle: the engine may be restarting, and may or may not have acted.
    #[error("the connection to the engine broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer in time.
    #[error("the engine did not answer within {0:?}")]
    TimedOut(Duration),
    /// A cluster did not answer.
    #[error(transparent)]
    Cluster(crate::port::Unavailable),
    /// An answer of another form.
    #[error("the engine's answer is not understood; it is of another version")]
    NotUnderstood(#[source] serde_json::Error),
}

impl ClientError {
    /// Whether the same call may succeed in a moment: the engine restarts by itself within a second.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::NotRunning { .. } | Self::Broken(_) | Self::TimedOut(_) | Self::Cluster(_) => true,
            Self::Refused { status, .. } => *status == StatusCode::SERVICE_UNAVAILABLE.as_u16(),
            Self::NotUnderstood(_) => false,
        }
    }
}

/// A caller of one engine. Holds no connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    patience: Duration,
}

impl Client {
    /// A caller of the engine that works in this state directory. Every call waits at most 30 s.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { socket: state.join(SOCKET), patience: Duration::from_secs(30) }
    }

    /// The same with another bound on each call; streams are not bounded.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Every rollout, and how the engine is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn rollouts(&self) -> Result<RolloutList, ClientError> {
        self.get("/v1/rollouts").await
    }

    /// One rollout.
    ///
    /// # Errors
    /// [`ClientError`]; status 404 when there is none of that name.
    pub async fn rollout(&self, name: &Name) -> Result<RolloutView, ClientError> {
        self.get(&of(name, "")).await
    }

    /// Follows one rollout until it is gone.
    ///
    /// # Errors
    /// [`ClientError`]; status 404 when there is none of that name.
    pub async fn events(&self, name: &Name) -> Result<Events, ClientError> {
        let answer = self.send(Method::GET, &of(name, "/events"), None).await?;
        Ok(Events { body: answer.into_body(), text: BytesMut::new() })
    }

    /// Applies a file; findings come in the answer, also those that forbid it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn apply(&self, apply: &Apply) -> Result<Applied, ClientError> {
        self.post("/v1/documents", apply).await
    }

    /// Deletes a rollout: traffic ends, then its processes. Answers at once; [`Self::events`] ends when it is gone.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(&self, name: &Name) -> Result<RolloutView, ClientError> {
        self.call(Method::DELETE, &of(name, ""), None).await
    }

    /// Gives an order. Answers when it has taken effect, or after a moment in which it has not.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn order(&self, name: &Name, order: &NewOrder) -> Result<OrderAnswer, ClientError> {
        self.post(&of(name, "/orders"), order).await
    }

    /// Edits the document: another command, the same once more, a former revision.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn edit(&self, name: &Name, edit: &Edit) -> Result<Applied, ClientError> {
        self.post(&of(name, "/command"), edit).await
    }

    /// What was before.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn history(&self, name: &Name) -> Result<History, ClientError> {
        self.get(&of(name, "/history")).await
    }

    /// Records of the journal, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn journal(&self, name: &Name, query: JournalQuery) -> Result<Vec<JournalRecord>, ClientError> {
        let after = query.after.map(|it| format!("after={it}"));
        let limit = query.limit.map(|it| format!("limit={it}"));
        self.get(&of(name, &with_query("/journal", [after, limit]))).await
    }

    /// What is remembered of stable's replicas.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn calibration(&self, name: &Name) -> Result<CalibrationView, ClientError> {
        self.get(&of(name, "/calibration")).await
    }

    /// The last lines its replicas printed.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn logs(&self, name: &Name, query: &LogQuery) -> Result<Vec<LogView>, ClientError> {
        let revision = query.revision.as_ref().map(|it| format!("revision={}", escaped(it.as_str())));
        let lines = query.lines.map(|it| format!("lines={it}"));
        self.get(&of(name, &with_query("/logs", [revision, lines]))).await
    }

    /// How the engine itself is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.get("/v1/health").await
    }

    /// Which version answers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn version(&self) -> Result<Version, ClientError> {
        self.get("/v1/version").await
    }

    /// Metrics of the engine and of the proxy, as Prometheus reads them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let body = self.bytes(Method::GET, "/metrics", None).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Ends everything: requests under way are finished, then processes, workers and engine end. Answers at once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn shutdown(&self) -> Result<(), ClientError> {
        self.bytes(Method::POST, "/v1/shutdown", None).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, None).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::NotUnderstood)?;
        self.call(Method::POST, path, Some(body.into())).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<T, ClientError> {
        let body = self.bytes(method, path, body).await?;
        serde_json::from_slice(&body).map_err(ClientError::NotUnderstood)
    }

    async fn bytes(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Bytes, ClientError> {
        let whole = async { read(self.send(method, path, body).await?.into_body()).await };
        timeout(self.patience, whole).await.map_err(|_| ClientError::TimedOut(self.patience))?
    }

    /// Sends one request; an answer that is no success is an error.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<http::Response<Incoming>, ClientError> {
        let head = async {
            let stream = UnixStream::connect(&self.socket)
                .await
                .map_err(|source| ClientError::NotRunning { socket: self.socket.clone(), source })?;
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
            // Ends with the answer; what goes wrong with it shows there.
            tokio::spawn(connection);
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::HOST, "serinus")
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(body.unwrap_or_default()))
                .map_err(broken)?;
            sender.send_request(request).await.map_err(broken)
        };
        let answer =
            timeout(self.patience, head).await.map_err(|_| ClientError::TimedOut(self.patience))??;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = timeout(self.patience, read(answer.into_body()))
            .await
            .map_err(|_| ClientError::TimedOut(self.patience))??;
        let failure = serde_json::from_slice(&body).unwrap_or_else(|_| Failure {
            code: "unknown".into(),
            message: format!("the engine answered {status}"),
        });
        Err(ClientError::Refused { status: status.as_u16(), code: failure.code, message: failure.message })
    }
}

/// The events of one rollout, in order.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    text: BytesMut,
}

impl Events {
    /// The next event; `None` when the stream ended without [`RolloutEvent::Gone`]: the engine was restarted, ask again.
    /// Cancel safe.
    ///
    /// # Errors
    /// [`ClientError::Broken`] when the connection broke, [`ClientError::NotUnderstood`] for an event of another form.
    pub async fn next(&mut self) -> Result<Option<RolloutEvent>, ClientError> {
        loop {
            while let Some(block) = first_block(&mut self.text) {
                if let Some(event) = parse(&block)? {
                    return Ok(Some(event));
                }
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.map_err(broken)?.into_data() {
                        self.text.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

/// Takes the text up to the first empty line off the front.
fn first_block(text: &mut BytesMut) -> Option<BytesMut> {
    let end = text.windows(2).position(|it| it == b"\n\n")?;
    Some(text.split_to(end + 2))
}

/// One event of a stream; `None`: a comment, or an event of a later version.
fn parse(block: &[u8]) -> Result<Option<RolloutEvent>, ClientError> {
    let (mut name, mut data) = (vec![], vec![]);
    for line in block.split(|it| *it == b'\n') {
        if let Some(value) = line.strip_prefix(b"event:") {
            name = value.trim_ascii().to_vec();
        } else if let Some(value) = line.strip_prefix(b"data:") {
            data.extend_from_slice(value.trim_ascii());
        }
    }
    let event = match name.as_slice() {
        b"status" => serde_json::from_slice(&data).map(|it| RolloutEvent::Status(Box::new(it))),
        b"decision" => serde_json::from_slice(&data).map(|it| RolloutEvent::Decision(Box::new(it))),
        b"gone" => Ok(RolloutEvent::Gone),
        _ => return Ok(None),
    };
    event.map(Some).map_err(ClientError::NotUnderstood)
}

async fn read(body: Incoming) -> Result<Bytes, ClientError> {
    Ok(Limited::new(body, MOST).collect().await.map_err(ClientError::Broken)?.to_bytes())
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> ClientError {
    ClientError::Broken(Box::new(error))
}

fn of(name: &Name, rest: &str) -> String {
    format!("/v1/rollouts/{}{rest}", escaped(name.as_str()))
}

fn with_query<const N: usize>(path: &str, pairs: [Option<String>; N]) -> String {
    let pairs: Vec<String> = pairs.into_iter().flatten().collect();
    match pairs.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", pairs.join("&")),
    }
}

/// Percent-encodes what has a meaning in a path or query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_cut_at_empty_lines_and_comments_are_skipped() {
        let mut text = BytesMut::from(&b": still here\n\nevent: gone\ndata: {}\n\nevent: la"[..]);
        let first = first_block(&mut text).unwrap();
        assert_eq!(parse(&first).unwrap(), None);
        let second = first_block(&mut text).unwrap();
        assert_eq!(parse(&second).unwrap(), Some(RolloutEvent::Gone));
        assert_eq!(first_block(&mut text), None, "the rest is not complete");
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        assert_eq!(of(&"a/b?c".into(), "/events"), "/v1/rollouts/a%2Fb%3Fc/events");
        assert_eq!(with_query("/journal", [None, Some("limit=5".into())]), "/journal?limit=5");
    }
}
