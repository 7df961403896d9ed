//! The gRPC service `lanner.v1`: a thin skin over the database.
//!
//! Every request comes by the `door`, which checks who and what it is, and `codec` reads it.
//! `convert` turns messages into the engine's types and back, `status` turns its errors into gRPC
//! codes, and `collections`, `jobs`, `points` and `query` are one service each. The engine is synchronous
//! and its work is heavy, so every call runs off tokio's worker threads.

mod codec;
mod collections;
pub(crate) mod compression;
mod convert;
mod door;
mod encoding;
mod filter;
mod fusion;
pub(crate) mod index;
pub(crate) mod jobs;
pub(crate) mod memory;
mod metrics;
mod plain;
mod points;
mod query;
mod search;
mod server;
mod slow;
mod status;
mod traffic;

pub use convert::{from_model, to_model};
pub use door::{KeyError, KeyRing, NewKey, Role, ServerLimits, Tls, TlsError, TlsFiles};
pub use server::{ServeError, ServerConfig, serve, shutdown_signal};

/// Messages, clients and servers generated from `proto/lanner/v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated; the documentation is in the .proto files"
)]
pub mod proto {
    tonic::include_proto!("lanner.v1");

    /// The compiled definition, for reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("lanner_descriptor");
}

use std::sync::Arc;

use tonic::Status;

use self::door::Caller;
use crate::{Collection, Database, Error};

/// Times that a point of an answer is in memory: as a point, a message and bytes.
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

/// Runs engine work off tokio's worker threads when it is the caller's turn. The turn is over when
/// the work is, also if the client is gone before.
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

/// Runs engine work on a collection that the caller reaches, in a turn.
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
