//! The public error type and its kinds.
//!
//! Causes stay precise ([`InvalidInput`], [`StorageError`]); [`ErrorKind`] tells a caller what to
//! do about them, and is mapped to gRPC codes by the service.

use lanner_storage::StorageError;

use crate::model::{Exhausted, InvalidInput, PointId};

/// The error of all fallible operations.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input was rejected; nothing was applied.
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
    /// The collection does not exist.
    #[error("collection `{name}` does not exist")]
    CollectionNotFound {
        /// The requested name.
        name: String,
    },
    /// A collection of this name exists already.
    #[error("collection `{name}` exists already")]
    CollectionExists {
        /// The requested name.
        name: String,
    },
    /// The point does not exist.
    #[error("point {id} does not exist")]
    PointNotFound {
        /// The requested id.
        id: PointId,
    },
    /// A collection could not be opened, or its files are damaged; others stay usable.
    #[error("collection `{name}` is unusable: {reason}")]
    CollectionUnusable {
        /// The collection.
        name: String,
        /// The cause.
        reason: String,
        /// Kind of the cause, such as damaged files or an unsupported format.
        kind: ErrorKind,
    },
    /// Free disk space is below the limit for writing points. Deletes still work.
    #[error("the disk is full: {free_bytes} bytes are left, and points need {needed_bytes}")]
    DiskFull {
        /// Free bytes on the disk.
        free_bytes: u64,
        /// Free bytes required for a write; see [`crate::SegmentOptions`].
        needed_bytes: u64,
    },
    /// An earlier write failed in a way that leaves the state on disk unknown, or the disk is not
    /// writable. Reads still work, and each further write attempts to recover.
    #[error("nothing can be written now: {reason}")]
    WritesStopped {
        /// The failure.
        reason: String,
    },
    /// Memory is full and sealing fails; later writes retry.
    #[error("memory is full and points cannot be sealed: {reason}")]
    SealFailed {
        /// The failure.
        reason: String,
    },
    /// A merge failed; the segments stay as they are, and it is retried later.
    #[error("segments could not be merged: {reason}")]
    MergeFailed {
        /// The failure.
        reason: String,
    },
    /// Work shared by several waiters failed.
    #[error("{reason}")]
    Shared {
        /// Kind of the failure.
        kind: ErrorKind,
        /// The failure.
        reason: String,
    },
    /// The job was cancelled; completed steps are kept.
    #[error("job {id} was cancelled")]
    JobCancelled {
        /// The job's id.
        id: u64,
    },
    /// The job does not exist, or its record has expired.
    #[error("job {id} does not exist, or it ended long ago")]
    JobNotFound {
        /// The requested id.
        id: u64,
    },
    /// Some segments were not merged because their files are damaged; the others were.
    #[error("segments are damaged and were not merged: {reason}")]
    SegmentsDamaged {
        /// The damage of each.
        reason: String,
    },
    /// Files differ from their checksums.
    #[error("damage was found: {damage}")]
    DamageFound {
        /// Damaged files and sections, one per line.
        damage: String,
    },
    /// Some indexes could not be built; queries scan these segments, and later calls retry.
    #[error("indexes could not be built: {reason}")]
    IndexesMissing {
        /// The failure of each.
        reason: String,
    },
    /// The index of a declared payload path is still being built. Until then, filters read
    /// payloads.
    #[error("the index of `{path}` is being built (segments left: {segments})")]
    PathPending {
        /// The path.
        path: String,
        /// Number of segments without a column for it.
        segments: usize,
    },
    /// The file of an index is damaged. No data is lost: the index is rebuilt from the segment.
    #[error("{0}; `optimize` builds this index again")]
    IndexDamaged(StorageError),
    /// The work exceeds its memory budget; nothing was applied.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// The query was cancelled by the caller.
    #[error("the query was cancelled before it was answered")]
    QueryCancelled,
    /// The deadline passed before the work was done.
    #[error("the deadline passed before the work was done")]
    DeadlineExceeded,
    /// The database is closing.
    #[error("the database is closing")]
    Closing,
    /// A file could not be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A bug in Lanner.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Correct the request.
    InvalidArgument,
    /// Use a name that exists.
    NotFound,
    /// Use a name that does not exist yet.
    AlreadyExists,
    /// Change the state first: release the lock, create the database.
    FailedPrecondition,
    /// Request less, or free disk space.
    ResourceExhausted,
    /// Retry later.
    Unavailable,
    /// Allow more time.
    DeadlineExceeded,
    /// Retry if the result is still needed.
    Cancelled,
    /// Use a version that supports the format.
    Unsupported,
    /// Restore from a backup: files are damaged.
    Corrupted,
    /// Report a bug.
    Internal,
}

/// Result of fallible operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The same error with the path of invalid input prefixed by `parent`.
    pub(crate) fn within(self, parent: impl std::fmt::Display) -> Self {
        match self {
            Self::Invalid(error) => Self::Invalid(error.within(parent)),
            other => other,
        }
    }

    /// A copy for another waiter of the same work; causes are reduced to their messages.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::CollectionNotFound { name } => Self::CollectionNotFound { name: name.clone() },
            Self::WritesStopped { reason } => Self::WritesStopped { reason: reason.clone() },
            Self::SealFailed { reason } => Self::SealFailed { reason: reason.clone() },
            Self::MergeFailed { reason } => Self::MergeFailed { reason: reason.clone() },
            Self::SegmentsDamaged { reason } => Self::SegmentsDamaged { reason: reason.clone() },
            Self::DamageFound { damage } => Self::DamageFound { damage: damage.clone() },
            Self::IndexesMissing { reason } => Self::IndexesMissing { reason: reason.clone() },
            Self::Invalid(error) => Self::Invalid(error.clone()),
            Self::Closing => Self::Closing,
            other => Self::Shared { kind: other.kind(), reason: other.to_string() },
        }
    }

    /// What a caller can do about the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Invalid(_) => ErrorKind::InvalidArgument,
            Self::CollectionNotFound { .. }
            | Self::PointNotFound { .. }
            | Self::JobNotFound { .. } => ErrorKind::NotFound,
            Self::Shared { kind, .. } => *kind,
            Self::JobCancelled { .. } | Self::QueryCancelled => ErrorKind::Cancelled,
            Self::CollectionExists { .. } => ErrorKind::AlreadyExists,
            Self::CollectionUnusable { kind, .. } => *kind,
            Self::WritesStopped { .. }
            | Self::SealFailed { .. }
            | Self::MergeFailed { .. }
            | Self::IndexesMissing { .. }
            | Self::PathPending { .. }
            | Self::Closing => ErrorKind::Unavailable,
            Self::DiskFull { .. } => ErrorKind::ResourceExhausted,
            Self::SegmentsDamaged { .. } | Self::DamageFound { .. } | Self::IndexDamaged(_) => {
                ErrorKind::Corrupted
            }
            Self::Exhausted(_) => ErrorKind::ResourceExhausted,
            Self::DeadlineExceeded => ErrorKind::DeadlineExceeded,
            Self::Storage(error) => storage_kind(error),
            Self::Internal(_) => ErrorKind::Internal,
        }
    }
}

fn storage_kind(error: &StorageError) -> ErrorKind {
    match error {
        StorageError::Corrupted { .. } => ErrorKind::Corrupted,
        StorageError::UnsupportedFormat { .. }
        | StorageError::OldFormat { .. }
        | StorageError::UnknownSettings { .. } => ErrorKind::Unsupported,
        StorageError::NotADatabase { .. } | StorageError::Locked { .. } => {
            ErrorKind::FailedPrecondition
        }
        StorageError::Io { source, .. } => match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorKind::ResourceExhausted
            }
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                ErrorKind::FailedPrecondition
            }
            _ => ErrorKind::Unavailable,
        },
        StorageError::Catalog { .. } | StorageError::ReadOnly { .. } => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}
