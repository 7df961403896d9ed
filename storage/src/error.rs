//! Errors of the storage layer.

use std::io;
use std::path::PathBuf;

/// A failure of the storage layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A system call failed.
    #[error("cannot {op} `{}`: {source}", path.display())]
    Io {
        /// The operation, as a verb.
        op: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The content of a file is not what was written.
    #[error("`{}` is corrupted in section `{section}`: {detail}", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// The section, or the damaged part of the file's frame.
        section: String,
        /// Expected and actual content.
        detail: String,
    },
    /// Written by a newer version.
    #[error("`{}` has format {found}; this version reads formats up to {supported}", path.display())]
    UnsupportedFormat {
        /// The file or folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this version reads.
        supported: u32,
    },
    /// Written by a version before the first release.
    #[error(
        "`{}` has format {found}, of before the first release; this version reads format \
         {supported} alone: write the points again",
        path.display()
    )]
    OldFormat {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format this version reads.
        supported: u32,
    },
    /// Contains settings from a newer version.
    #[error("`{name}` has settings that this version does not know: {detail}")]
    UnknownSettings {
        /// The collection.
        name: String,
        /// The unknown settings.
        detail: String,
    },
    /// The folder is not a database.
    #[error("`{}` is not a Lanner database: {detail}", path.display())]
    NotADatabase {
        /// The folder.
        path: PathBuf,
        /// The reason.
        detail: String,
    },
    /// Another process owns the database.
    #[error("`{}` is locked by {}", path.display(), owner(*pid))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The owner's process id, if it could be read.
        pid: Option<u32>,
    },
    /// A path that is not made of `[a-z0-9_.-]+` components.
    #[error("expected a relative path of [a-z0-9_.-]+ components, got {path:?}")]
    InvalidPath {
        /// The path.
        path: String,
    },
    /// Writes are not possible: the disk is full or read-only, or a commit failed.
    #[error("nothing can be written: {reason}")]
    ReadOnly {
        /// The reason.
        reason: String,
    },
    /// An operation of the catalog failed.
    #[error("the catalog cannot {op}: {detail}")]
    Catalog {
        /// The operation, as a verb.
        op: &'static str,
        /// Error message of the catalog.
        detail: String,
    },
}

impl StorageError {
    /// True if the process or machine has run out of file descriptors or memory, which is
    /// transient.
    pub fn is_shortage(&self) -> bool {
        use rustix::io::Errno;
        const SHORTAGES: [Errno; 3] = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
        match self {
            Self::Io { source, .. } => {
                let code = source.raw_os_error();
                SHORTAGES.iter().any(|errno| code == Some(errno.raw_os_error()))
            }
            _ => false,
        }
    }
}

/// Result type of this crate.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
