//! Plain HTTP: metrics for Prometheus, and health checks for orchestrators.

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

/// Shared state of the handlers.
#[derive(Clone)]
pub struct State {
    pub database: Arc<Database>,
    pub rules: Arc<Rules>,
    /// True once the server accepts no more requests.
    pub stopping: watch::Receiver<bool>,
}

/// Adds the plain routes to those of the services.
pub fn routes(router: axum::Router, state: State) -> axum::Router {
    let (healthy, ready) = (state.clone(), state.clone());
    router
        .route("/metrics", get(move |caller| show_metrics(state.clone(), caller)))
        .route("/healthz", get(move |caller| show_health(healthy.clone(), caller, "ok")))
        .route("/readyz", get(move |caller| show_readiness(ready.clone(), caller)))
}

/// Metrics cover all collections, so keys that are limited to some get none.
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

async fn show_readiness(state: State, caller: axum::Extension<Caller>) -> Response {
    if *state.stopping.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    show_health(state, caller, "ready").await
}

/// Reports health, with one line per problem. Problems do not change the status code, because
/// restarting the server or routing requests elsewhere would not help. They name collections, so
/// they are only shown to keys for all collections.
async fn show_health(
    state: State,
    caller: axum::Extension<Caller>,
    well: &'static str,
) -> Response {
    let problems = blocking(move || Ok(state.database.problems()));
    match problems.await {
        Ok(problems) if problems.is_empty() => format!("{well}\n").into_response(),
        Ok(_) if caller.access().collections.is_some() => {
            format!("{well}, degraded\n").into_response()
        }
        Ok(problems) => format!("{well}, degraded\n{}\n", problems.join("\n")).into_response(),
        Err(status) => failed(status),
    }
}
