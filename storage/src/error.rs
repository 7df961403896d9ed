//! What can go wrong with files.

use std::io;
use std::path::PathBuf;

/// A failure of the storage layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused an operation.
    #[error("cannot {op} `{}`: {source}", path.display())]
    Io {
        /// The operation, as a verb.
        op: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file does not hold what was written to it.
    #[error("`{}` is corrupted in section `{section}`: {detail}", path.display())]
    Corrupted {
        /// The file.
        path: PathBuf,
        /// The section, or the part of the file's frame.
        section: String,
        /// What was expected and what is there.
        detail: String,
    },
    /// A newer version wrote this.
    #[error("`{}` has format {found}; this version reads formats up to {supported}", path.display())]
    UnsupportedFormat {
        /// The file or folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this version reads.
        supported: u32,
    },
    /// A version before the first release wrote this.
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
    /// A newer version knows settings that this one does not.
    #[error("`{name}` has settings that this version does not know: {detail}")]
    UnknownSettings {
        /// The collection.
        name: String,
        /// Which.
        detail: String,
    },
    /// The folder holds something else.
    #[error("`{}` is not a Lanner database: {detail}", path.display())]
    NotADatabase {
        /// The folder.
        path: PathBuf,
        /// Why.
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
    /// Nothing can be written now: the disk is full or read-only, or a commit failed.
    #[error("nothing can be written: {reason}")]
    ReadOnly {
        /// Why not.
        reason: String,
    },
    /// The catalog refused an operation.
    #[error("the catalog cannot {op}: {detail}")]
    Catalog {
        /// The operation, as a verb.
        op: &'static str,
        /// What it said.
        detail: String,
    },
}

impl StorageError {
    /// Whether the process or the machine has run out of descriptors or memory: that passes.
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

/// What fallible operations return.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
