//! Where the bytes of sealed files live: what is locked in memory, and what is read ahead.
//!
//! A query looks for candidates in one file of a field (codes, an index, or the vectors) and then
//! scores few of its rows by another. The first is read in order or again and again, the second
//! here and there, so that reading ahead would fill memory with rows nobody asked for.

use std::sync::atomic::{AtomicBool, Ordering};

use lanner_storage::{Access, SectionFile};

use crate::model::Memory;

/// What queries read a file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRole {
    /// To find candidates.
    Candidates,
    /// To score candidates again, and to return vectors.
    Rerank,
    /// For ids and payloads, whatever the fields are.
    Points,
}

/// How a file uses memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileMemory {
    /// The system keeps what is used, and reads ahead.
    #[default]
    Cached,
    /// All of it is locked in memory.
    Locked,
    /// It was to be locked, but the limit on locked memory (`RLIMIT_MEMLOCK`) did not allow it: it
    /// was read into memory, and the system may take that back.
    LockRefused,
    /// Only what is used is read, a page at a time.
    Random,
}

impl FileMemory {
    /// In words, for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Locked => "locked in memory",
            Self::LockRefused => "could not be locked in memory (RLIMIT_MEMLOCK)",
            Self::Random => "read on demand",
        }
    }
}

/// Sets up how an open file uses memory. Locking reads all of it.
pub fn place(file: &SectionFile, memory: Memory, role: FileRole) -> FileMemory {
    match (memory, role) {
        (Memory::Pinned, FileRole::Candidates) => match file.lock() {
            Ok(()) => FileMemory::Locked,
            Err(error) => {
                warn_once(&error);
                hint(file, Access::Ordered);
                hint(file, Access::Soon);
                FileMemory::LockRefused
            }
        },
        (Memory::Cached, FileRole::Candidates) | (_, FileRole::Points) => {
            hint(file, Access::Ordered);
            FileMemory::Cached
        }
        (Memory::Cold, _) | (Memory::Pinned | Memory::Cached, FileRole::Rerank) => {
            hint(file, Access::Random);
            FileMemory::Random
        }
    }
}

fn hint(file: &SectionFile, access: Access) {
    // Without the hint, reading is slower or takes more memory, and not wrong.
    if let Err(error) = file.advise_all(access) {
        tracing::debug!(%error, ?access, "the system refused advice");
    }
}

fn warn_once(error: &lanner_storage::StorageError) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            %error,
            "pinned fields are read into memory but not locked: raise the limit on locked memory \
             (ulimit -l, LimitMEMLOCK=); `lanner inspect` lists the files"
        );
    }
}
