//! The one public error, and its kinds.
//!
//! Causes stay precise ([`InvalidInput`], [`StorageError`]); [`ErrorKind`] says what a caller
//! can do about them and is what the service maps to gRPC codes.

use lanner_storage::StorageError;

use crate::model::{Exhausted, InvalidInput, PointId};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input was refused; nothing was applied.
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
    /// There is no such collection.
    #[error("collection `{name}` does not exist")]
    CollectionNotFound {
        /// The name asked for.
        name: String,
    },
    /// There is a collection of this name already.
    #[error("collection `{name}` exists already")]
    CollectionExists {
        /// The name asked for.
        name: String,
    },
    /// There is no such point.
    #[error("point {id} does not exist")]
    PointNotFound {
        /// The id asked for.
        id: PointId,
    },
    /// A collection could not be opened, or its files turned out damaged; others stay usable.
    #[error("collection `{name}` is unusable: {reason}")]
    CollectionUnusable {
        /// The collection.
        name: String,
        /// What is wrong with it.
        reason: String,
        /// Whether its files are damaged or of a format that this version cannot read.
        kind: ErrorKind,
    },
    /// So little room is left on the disk that no points are taken any more. Deleting works.
    #[error("the disk is full: {free_bytes} bytes are left, and points need {needed_bytes}")]
    DiskFull {
        /// Bytes that can still be written.
        free_bytes: u64,
        /// How many must be left for a write; see [`crate::SegmentOptions`].
        needed_bytes: u64,
    },
    /// An earlier write failed in a way that leaves the disk's state unknown, or the disk cannot be
    /// written. Reads go on, and each further write tries whether it is possible again.
    #[error("nothing can be written now: {reason}")]
    WritesStopped {
        /// The failure.
        reason: String,
    },
    /// Memory is full and points cannot be sealed; later writes try again.
    #[error("memory is full and points cannot be sealed: {reason}")]
    SealFailed {
        /// The failure.
        reason: String,
    },
    /// Segments could not be merged; they stay as they are, and it is tried again later.
    #[error("segments could not be merged: {reason}")]
    MergeFailed {
        /// The failure.
        reason: String,
    },
    /// Work that several waited for failed.
    #[error("{reason}")]
    Shared {
        /// What kind of failure it was.
        kind: ErrorKind,
        /// The failure.
        reason: String,
    },
    /// A job was cancelled; what it had done by then stays.
    #[error("job {id} was cancelled")]
    JobCancelled {
        /// Its number.
        id: u64,
    },
    /// There is no such job, or it ended long ago.
    #[error("job {id} does not exist, or it ended long ago")]
    JobNotFound {
        /// The number asked for.
        id: u64,
    },
    /// Some segments were not merged, because their files are damaged; the others were.
    #[error("segments are damaged and were not merged: {reason}")]
    SegmentsDamaged {
        /// The damage of each.
        reason: String,
    },
    /// What files hold is not what was written.
    #[error("damage was found: {damage}")]
    DamageFound {
        /// Each file and section, a line each.
        damage: String,
    },
    /// Some indexes could not be built; queries scan these segments, and later calls try again.
    #[error("indexes could not be built: {reason}")]
    IndexesMissing {
        /// The failure of each.
        reason: String,
    },
    /// A payload path was declared, and the index of it is being built. Filters read payloads until then.
    #[error("the index of `{path}` is being built (segments left: {segments})")]
    PathPending {
        /// The path.
        path: String,
        /// Segments without a column of it.
        segments: usize,
    },
    /// The file of an index is damaged. No point is lost: it is built again from the segment.
    #[error("{0}; `optimize` builds this index again")]
    IndexDamaged(StorageError),
    /// The work needs more memory than it may use; nothing was applied.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// Whoever asked waits for the answer no more.
    #[error("the query was cancelled before it was answered")]
    QueryCancelled,
    /// The work was not done by its deadline.
    #[error("the deadline passed before the work was done")]
    DeadlineExceeded,
    /// The database is closing.
    #[error("the database is closing")]
    Closing,
    /// A file could not be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A failure of Lanner itself.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Correct the request.
    InvalidArgument,
    /// Name something that exists.
    NotFound,
    /// Name something that does not exist yet.
    AlreadyExists,
    /// Change the state first: release the lock, create the database.
    FailedPrecondition,
    /// Ask for less, or free some disk.
    ResourceExhausted,
    /// Try again later.
    Unavailable,
    /// Allow more time.
    DeadlineExceeded,
    /// Ask again, if it is wanted after all.
    Cancelled,
    /// Use a version that knows this format.
    Unsupported,
    /// Restore from a backup: files are damaged.
    Corrupted,
    /// Report a bug.
    Internal,
}

/// What fallible operations return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The same error; what is wrong with input is told as seen from one level further up.
    pub(crate) fn within(self, parent: impl std::fmt::Display) -> Self {
        match self {
            Self::Invalid(error) => Self::Invalid(error.within(parent)),
            other => other,
        }
    }

    /// The same for one more who waits for the same work; causes become words.
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

    /// What a caller can do about it.
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
