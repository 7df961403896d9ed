//! Plain HTTP: metrics for Prometheus, and health for whoever starts and stops servers.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;
use tonic::Status;

use super::door::{Caller, Rules};
use super::{blocking, metrics};
use lanner::Database;

/// What the answers are made from.
#[derive(Clone)]
pub struct State {
    pub database: Arc<Database>,
    pub rules: Arc<Rules>,
    /// Whether the server takes no more requests.
    pub stopping: watch::Receiver<bool>,
}

/// Adds the routes to those of the services.
pub fn routes(router: axum::Router, state: State) -> axum::Router {
    let stopping = state.stopping.clone();
    router
        .route("/metrics", get(move |caller| show_metrics(state.clone(), caller)))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || ready(*stopping.borrow())))
}

/// Metrics are about all collections: a key that reaches some of them gets none.
async fn show_metrics(state: State, caller: axum::Extension<Caller>) -> Response {
    if caller.access().collections.is_some() {
        let refused = "metrics need a key that reaches all collections\n";
        return (StatusCode::FORBIDDEN, refused).into_response();
    }
    let text = blocking(move || Ok(metrics::text(&state.database, &state.rules)));
    match text.await {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(status) => failed(status),
    }
}

fn failed(status: Status) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, status.message().to_owned()).into_response()
}

fn ready(stopping: bool) -> Response {
    match stopping {
        false => "ready\n".into_response(),
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response(),
    }
}
