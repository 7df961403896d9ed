//! Memory placement of sealed files: locking and read-ahead.
//!
//! A query retrieves candidates from one file of a field (codes, an index, or the vectors) and then
//! re-ranks a few rows from another. The first is read sequentially or repeatedly, the second at
//! random, where read-ahead would fill memory with unused rows.

use std::sync::atomic::{AtomicBool, Ordering};

use lanner_storage::{Access, SectionFile};

use crate::model::Memory;

/// Purpose for which queries read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRole {
    /// Candidate retrieval.
    Candidates,
    /// Re-ranking, and returning vectors.
    Rerank,
    /// Ids and payloads, independent of any field.
    Points,
}

/// Memory use of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileMemory {
    /// Caching is left to the system, with read-ahead.
    #[default]
    Cached,
    /// Locked in memory as a whole.
    Locked,
    /// Locking was refused by the limit on locked memory (`RLIMIT_MEMLOCK`): the file was read into
    /// memory, and the system may evict it.
    LockRefused,
    /// No read-ahead: reads single pages on demand.
    Random,
}

impl FileMemory {
    /// Description for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Locked => "locked in memory",
            Self::LockRefused => "could not be locked in memory (RLIMIT_MEMLOCK)",
            Self::Random => "read on demand",
        }
    }
}

/// Applies the memory policy to an open file. Locking reads the whole file.
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
    // Without the hint, reads are slower or take more memory, but are still correct.
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
