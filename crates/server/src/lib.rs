//! The gRPC service `lanner.v1`: a thin layer over the database.
//!
//! Every request passes the `door`, which checks its caller and form. `lanner_client` decodes
//! messages and converts them to the engine's types and back; `collections`, `jobs`, `points` and
//! `query` implement one service each. The engine is synchronous and its work is heavy, so every
//! call runs off tokio's worker threads.

// Input from users, files or the network must never cause a panic.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod collections;
mod door;
mod jobs;
mod metrics;
mod plain;
mod points;
mod query;
mod server;
mod slow;
mod status;
mod traffic;

pub use door::{KeyError, KeyRing, NewKey, Role, ServerLimits, Tls, TlsError, TlsFiles};
pub use server::{ServeError, ServerConfig, serve, shutdown_signal};

use std::sync::Arc;

use tonic::Status;

use self::door::Caller;
use lanner::{Collection, Database, Error};

/// Copies of a response's points in memory: as points, messages and bytes.
const ANSWER_COPIES: u64 = 3;

/// Runs engine work off tokio's worker threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| status::from_error(&error)),
        Err(error) => {
            tracing::error!(%error, "a request panicked");
            Err(Status::internal("the request failed; the server's log says why"))
        }
    }
}

/// Runs engine work off tokio's worker threads, once the caller has a thread permit, which is held
/// until the work is done, even if the client disconnects before.
async fn in_turn<T: Send + 'static>(
    caller: &Caller,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Status> {
    let turn = caller.turn().await?;
    blocking(move || {
        let _turn = turn;
        work()
    })
    .await
}

/// Runs engine work, with a permit, on a collection that the caller can access.
async fn on_collection<T: Send + 'static>(
    database: &Arc<Database>,
    caller: &Caller,
    name: String,
    work: impl FnOnce(Collection) -> Result<T, Error> + Send + 'static,
) -> Result<T, Status> {
    caller.access().check_collection(&name)?;
    let database = database.clone();
    in_turn(caller, move || work(database.collection(&name)?)).await
}
