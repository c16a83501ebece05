//! The engine's side of the interface, whoever accepts the connections.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State, connect_info::Connected},
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
    routing::{delete, get, post},
    serve::{IncomingStream, Listener},
};
use futures_util::{Stream, StreamExt};
use serde::{Serialize, de::DeserializeOwned};
use strategies::Name;

use super::{
    failure::{Refusal, failure},
    view::{
        Applied, Apply, CalibrationView, Edit, Health, History, JournalQuery, JournalRecord, LogQuery,
        LogView, NewOrder, OrderAnswer, RolloutEvent, RolloutList, RolloutView, Version,
    },
    wall::Told,
};
use crate::clock;

/// Version of this interface.
pub const API_VERSION: u32 = 1;
/// Longest body of a request, bytes: a document and its wrapping.
const MOST_BODY: usize = 8 << 20;
/// Longest time a call may take; streams are not bounded.
const WITHIN: Duration = Duration::from_secs(25);

/// What a runtime does for callers.
pub trait Engine: Clone + Send + Sync + 'static {
    /// Who calls, as far as whoever accepts connections knows.
    type Caller: Clone + std::fmt::Debug + Send + Sync + 'static;

    /// Every rollout, and how the engine is.
    fn rollouts(&self) -> impl Future<Output = Result<RolloutList, Refusal>> + Send;
    /// One rollout.
    fn rollout(&self, name: Name) -> impl Future<Output = Result<RolloutView, Refusal>> + Send;
    /// Its events, from now on.
    fn events(
        &self,
        name: Name,
    ) -> impl Future<Output = Result<impl Stream<Item = RolloutEvent> + Send + 'static, Refusal>> + Send;
    /// Applies a file.
    fn apply(
        &self,
        caller: Self::Caller,
        apply: Apply,
    ) -> impl Future<Output = Result<Applied, Refusal>> + Send;
    /// Deletes a rollout.
    fn delete(
        &self,
        caller: Self::Caller,
        name: Name,
    ) -> impl Future<Output = Result<RolloutView, Refusal>> + Send;
    /// Takes an order down.
    fn order(
        &self,
        caller: Self::Caller,
        name: Name,
        order: NewOrder,
    ) -> impl Future<Output = Result<OrderAnswer, Refusal>> + Send;
    /// Edits a document.
    fn edit(
        &self,
        caller: Self::Caller,
        name: Name,
        edit: Edit,
    ) -> impl Future<Output = Result<Applied, Refusal>> + Send;
    /// What was before.
    fn history(&self, name: Name) -> impl Future<Output = Result<History, Refusal>> + Send;
    /// Records of the journal.
    fn journal(
        &self,
        name: Name,
        query: JournalQuery,
    ) -> impl Future<Output = Result<Vec<JournalRecord>, Refusal>> + Send;
    /// What is remembered of stable's replicas.
    fn calibration(&self, name: Name) -> impl Future<Output = Result<CalibrationView, Refusal>> + Send;
    /// Last lines of the replicas.
    fn logs(&self, name: Name, query: LogQuery)
    -> impl Future<Output = Result<Vec<LogView>, Refusal>> + Send;
    /// How the engine is.
    fn health(&self) -> impl Future<Output = Health> + Send;
    /// Metrics as Prometheus reads them.
    fn metrics(&self) -> impl Future<Output = Result<String, Refusal>> + Send;
    /// Ends everything.
    fn shutdown(&self, caller: Self::Caller) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// Serves those that `listener` lets in, until `ended`, then lets calls under way finish.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve<E: Engine, L: Listener<Addr = E::Caller>>(
    listener: L,
    engine: E,
    ended: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let service = router(engine).into_make_service_with_connect_info::<Calling<E::Caller>>();
    axum::serve(Door(listener), service).with_graceful_shutdown(ended).await
}

fn router<E: Engine>(engine: E) -> Router {
    let bounded = Router::new()
        .route("/v1/rollouts", get(rollouts::<E>))
        .route("/v1/rollouts/{name}", get(rollout::<E>))
        .route("/v1/rollouts/{name}", delete(delete_rollout::<E>))
        .route("/v1/rollouts/{name}/orders", post(order::<E>))
        .route("/v1/rollouts/{name}/command", post(edit::<E>))
        .route("/v1/rollouts/{name}/history", get(history::<E>))
        .route("/v1/rollouts/{name}/journal", get(journal::<E>))
        .route("/v1/rollouts/{name}/calibration", get(calibration::<E>))
        .route("/v1/rollouts/{name}/logs", get(logs::<E>))
        .route("/v1/documents", post(apply::<E>))
        .route("/v1/health", get(health::<E>))
        .route("/v1/version", get(version))
        .route("/v1/shutdown", post(shutdown::<E>))
        .route("/metrics", get(metrics::<E>))
        .layer(from_fn(in_time));
    Router::new()
        .route("/v1/rollouts/{name}/events", get(events::<E>))
        .merge(bounded)
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .with_state(engine)
}

/// Whoever lets callers in, and a caller as it knows them on the way to a handler: the two make one of ours out of any
/// listener.
struct Door<L>(L);

#[derive(Clone, Debug)]
struct Calling<C>(C);

impl<L: Listener> Listener for Door<L> {
    type Io = L::Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (L::Io, L::Addr) {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.0.local_addr()
    }
}

impl<L> Connected<IncomingStream<'_, Door<L>>> for Calling<L::Addr>
where
    L: Listener,
    L::Addr: Clone + Sync + 'static,
{
    fn connect_info(stream: IncomingStream<'_, Door<L>>) -> Self {
        Self(stream.remote_addr().clone())
    }
}

async fn in_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(WITHIN, next.run(request)).await.unwrap_or_else(|_| {
        let message = format!("it took longer than {WITHIN:?}; what was asked may still happen");
        failure(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    })
}

async fn unknown(request: Request) -> Response {
    let message = format!("there is no {} {}", request.method(), request.uri().path());
    failure(StatusCode::NOT_FOUND, "notFound", message)
}

/// A body as it should be, or the answer that says what is wrong with it.
fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Box<Response>> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("the body is not what is expected: {error}");
        Box::new(failure(StatusCode::BAD_REQUEST, "invalid", message))
    })
}

fn answer<T: Serialize + Told>(result: Result<T, Refusal>) -> Response {
    match result {
        Ok(value) => Json(value.on_the_wall(&clock::timeline())).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

async fn rollouts<E: Engine>(State(engine): State<E>) -> Response {
    answer(engine.rollouts().await)
}

async fn rollout<E: Engine>(State(engine): State<E>, Path(name): Path<String>) -> Response {
    answer(engine.rollout(name.into()).await)
}

async fn delete_rollout<E: Engine>(
    State(engine): State<E>,
    ConnectInfo(Calling(caller)): ConnectInfo<Calling<E::Caller>>,
    Path(name): Path<String>,
) -> Response {
    answer(engine.delete(caller, name.into()).await)
}

async fn events<E: Engine>(State(engine): State<E>, Path(name): Path<String>) -> Response {
    match engine.events(name.into()).await {
        Ok(events) => {
            Sse::new(events.map(|it| Ok::<_, Infallible>(event(&it.on_the_wall(&clock::timeline())))))
                .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
                .into_response()
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn event(it: &RolloutEvent) -> Event {
    let (name, data) = match it {
        RolloutEvent::Status(view) => ("status", serde_json::to_string(view)),
        RolloutEvent::Decision(record) => ("decision", serde_json::to_string(record)),
        RolloutEvent::Gone => ("gone", Ok("{}".to_owned())),
    };
    // What cannot be said is left out: none of these types can fail.
    Event::default().event(name).data(data.unwrap_or_default())
}

async fn apply<E: Engine>(
    State(engine): State<E>,
    ConnectInfo(Calling(caller)): ConnectInfo<Calling<E::Caller>>,
    body: Bytes,
) -> Response {
    match read(&body) {
        Ok(it) => answer(engine.apply(caller, it).await),
        Err(wrong) => *wrong,
    }
}

async fn order<E: Engine>(
    State(engine): State<E>,
    ConnectInfo(Calling(caller)): ConnectInfo<Calling<E::Caller>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    match read(&body) {
        Ok(it) => answer(engine.order(caller, name.into(), it).await),
        Err(wrong) => *wrong,
    }
}

async fn edit<E: Engine>(
    State(engine): State<E>,
    ConnectInfo(Calling(caller)): ConnectInfo<Calling<E::Caller>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    match read(&body) {
        Ok(it) => answer(engine.edit(caller, name.into(), it).await),
        Err(wrong) => *wrong,
    }
}

async fn history<E: Engine>(State(engine): State<E>, Path(name): Path<String>) -> Response {
    answer(engine.history(name.into()).await)
}

async fn journal<E: Engine>(
    State(engine): State<E>,
    Path(name): Path<String>,
    Query(query): Query<JournalQuery>,
) -> Response {
    answer(engine.journal(name.into(), query).await)
}

async fn calibration<E: Engine>(State(engine): State<E>, Path(name): Path<String>) -> Response {
    answer(engine.calibration(name.into()).await)
}

async fn logs<E: Engine>(
    State(engine): State<E>,
    Path(name): Path<String>,
    Query(query): Query<LogQuery>,
) -> Response {
    answer(engine.logs(name.into(), query).await)
}

async fn health<E: Engine>(State(engine): State<E>) -> Response {
    Json(engine.health().await).into_response()
}

async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION").to_owned(), api: API_VERSION })
}

async fn shutdown<E: Engine>(
    State(engine): State<E>,
    ConnectInfo(Calling(caller)): ConnectInfo<Calling<E::Caller>>,
) -> Response {
    answer(engine.shutdown(caller).await)
}

async fn metrics<E: Engine>(State(engine): State<E>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match engine.metrics().await {
        Ok(text) => ([(axum::http::header::CONTENT_TYPE, kind)], text).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}
