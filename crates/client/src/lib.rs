//! One interface to a Lanner database, in this process or behind a server.
//!
//! [`Backend`] is the interface programs use, wherever the database is: [`Embedded`] opens a
//! folder, [`Remote`] talks to a server. Programs that use gRPC directly use the generated clients
//! in [`proto`], with [`from_model`] and [`to_model`] to convert between messages and the engine's
//! types.

// Input from users, files or the network must never cause a panic.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod asynchronous;
mod backend;
pub mod codec;
mod columns;
mod credentials;
mod cut;
mod embedded;
mod error;
mod info_json;
pub mod messages;
mod remote;
pub mod status;

pub use asynchronous::AsyncBackend;
pub use backend::{Backend, Limits, Refused, Writer};
pub use columns::{MatrixValues, PointColumns, VectorColumn};
pub use credentials::Credentials;
pub use embedded::Embedded;
pub use error::{ClientError, Denied, Result};
pub use info_json::info_json;
pub use messages::{from_model, to_model};
pub use remote::Remote;

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
