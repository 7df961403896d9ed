//! What a call to a database can fail with.

use std::path::PathBuf;

use lanner::{ErrorKind, PointId};
use tonic::Code;

use crate::status;

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
    /// The call was cancelled by its [`Limits`](crate::Limits).
    #[error("the call was cancelled")]
    Cancelled,
    /// The server refused a point of a stream.
    #[error("points[{index}] ({id}): {reason}")]
    Refused {
        /// Its place.
        index: usize,
        /// Its id.
        id: PointId,
        /// What was expected and what came.
        reason: String,
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

/// What a server may refuse because of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It wants a key, or another one.
    Unauthenticated,
    /// The key may not do this.
    PermissionDenied,
}

impl ClientError {
    /// What a caller can do about it, wherever it comes from.
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

    /// Whether a server refused the call because of who asks.
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

/// What calls return.
pub type Result<T, E = ClientError> = std::result::Result<T, E>;
