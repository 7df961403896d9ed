//! What a call to a database can fail with.

use std::path::PathBuf;

/// A failed call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] lanner::Error),
    /// The server refused or failed.
    #[error("{} ({:?})", .0.message(), .0.code())]
    Server(Box<tonic::Status>),
    /// The server could not be reached.
    #[error("cannot connect to {address}: {detail}")]
    Connect {
        /// The server's address.
        address: String,
        /// What went wrong.
        detail: String,
    },
    /// A key or a certificate cannot be used, or does not fit the address.
    #[error("{what}: {problem}")]
    Credentials {
        /// Which one.
        what: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A certificate could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The server stopped before it had answered all that was sent to it.
    #[error("the server stopped before all points were acknowledged")]
    StreamEnded,
    /// The server stopped while a job was waited for.
    #[error("the server stopped before job {id} had ended")]
    Stopped {
        /// The job.
        id: u64,
    },
}

impl From<lanner::InvalidInput> for ClientError {
    fn from(error: lanner::InvalidInput) -> Self {
        Self::Engine(error.into())
    }
}

impl From<tonic::Status> for ClientError {
    fn from(status: tonic::Status) -> Self {
        Self::Server(Box::new(status))
    }
}

/// What calls return.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;
