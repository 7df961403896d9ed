//! Errors of database calls.

use std::path::PathBuf;

use lanner::{ErrorKind, PointId};
use tonic::Code;

use crate::status;

/// A failed call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// An error of the engine.
    #[error(transparent)]
    Engine(#[from] lanner::Error),
    /// An error status from the server.
    #[error("{} ({:?})", .0.message(), .0.code())]
    Server(Box<tonic::Status>),
    /// The server could not be reached.
    #[error("cannot connect to {address}: {detail}")]
    Connect {
        /// The server's address.
        address: String,
        /// The reason.
        detail: String,
    },
    /// A key or certificate is invalid or does not match the address.
    #[error("{what}: {problem}")]
    Credentials {
        /// The key or certificate.
        what: String,
        /// The problem.
        problem: &'static str,
    },
    /// A certificate could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The call was cancelled by its [`Limits`](crate::Limits).
    #[error("the call was cancelled")]
    Cancelled,
    /// The server rejected a point of a stream.
    #[error("points[{index}] ({id}): {reason}")]
    Refused {
        /// Index of the point.
        index: usize,
        /// Its id.
        id: PointId,
        /// Expected and actual value.
        reason: String,
    },
    /// The server stopped before it had acknowledged everything that was sent.
    #[error("the server stopped before all points were acknowledged")]
    StreamEnded,
    /// The server stopped before the awaited job had ended.
    #[error("the server stopped before job {id} had ended")]
    Stopped {
        /// Id of the job.
        id: u64,
    },
}

/// Authentication and authorization failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The server requires a key, or a different one.
    Unauthenticated,
    /// The key does not permit the call.
    PermissionDenied,
}

impl ClientError {
    /// Kind of the error, whatever its source.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Engine(error) => error.kind(),
            Self::Server(status) => status::kind(status.code()),
            Self::Connect { .. } | Self::StreamEnded | Self::Stopped { .. } => {
                ErrorKind::Unavailable
            }
            Self::Credentials { .. } | Self::Refused { .. } => ErrorKind::InvalidArgument,
            Self::File { .. } => ErrorKind::FailedPrecondition,
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// The authentication or authorization failure, if it is one.
    pub fn denied(&self) -> Option<Denied> {
        let Self::Server(status) = self else { return None };
        match status.code() {
            Code::Unauthenticated => Some(Denied::Unauthenticated),
            Code::PermissionDenied => Some(Denied::PermissionDenied),
            _ => None,
        }
    }
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

/// Result type of this crate.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;
