//! What whoever runs an instance asks it: whether it is well, and what it does.

use std::{io, net::SocketAddr};

use axum::{Router, extract::State, http::StatusCode, routing::get};
use prometheus_client::{
    encoding::text::encode,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::controller::{Controller, Doing};

/// Answers `/healthz`, `/readyz` and `/metrics` until told to stop.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve_probes(
    listen: SocketAddr,
    controller: Controller,
    mut stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let listener = TcpListener::bind(listen).await?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(controller);
    Ok(tokio::spawn(async move {
        let stopped = async move { drop(stop.wait_for(|it| *it).await) };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "probes are not answered any more");
        }
    }))
}

/// Ready: everything that is always watched is known, so it could begin at once.
async fn ready(State(controller): State<Controller>) -> (StatusCode, &'static str) {
    match controller.doing().knows {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "what is watched is not known yet"),
    }
}

async fn metrics(State(controller): State<Controller>) -> Result<String, (StatusCode, String)> {
    let mut text = String::new();
    let broken = |error: std::fmt::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    encode(&mut text, &told(&controller.doing())).map_err(broken)?;
    Ok(text)
}

fn told(doing: &Doing) -> Registry {
    let mut registry = Registry::with_prefix("serinus");
    let count = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
    let leads = Gauge::<i64>::default();
    leads.set(i64::from(doing.leads));
    registry.register("leader", "Whether this instance acts", leads);
    let rollouts = Family::<Vec<(&'static str, &'static str)>, Gauge>::default();
    rollouts.get_or_create(&vec![("state", "attended")]).set(count(doing.at_work));
    rollouts.get_or_create(&vec![("state", "resting")]).set(count(doing.resting));
    registry.register("rollouts", "Rollouts by whether something is under way", rollouts);
    let objects = Family::<Vec<(&'static str, String)>, Gauge>::default();
    for (kind, known) in &doing.objects {
        objects.get_or_create(&vec![("kind", kind.kind.to_string())]).set(count(*known));
    }
    registry.register("known_objects", "Objects that are known from watches", objects);
    registry
}
