//! Fault injection for commits, for tests.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{Result, StorageError};

/// The kind of an injected failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFault {
    /// Fails before anything is written.
    Before,
    /// Reports a failure although everything was written.
    After,
}

/// Fault injection for the commits of a [`super::Catalog`]. Clones share state.
#[derive(Debug, Clone, Default)]
pub struct CommitFaults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    fuse: Mutex<Fuse>,
    /// Read-locked by commits.
    gate: RwLock<()>,
}

#[derive(Debug, Default)]
struct Fuse {
    commits: u64,
    fails: Option<(std::ops::Range<u64>, CommitFault)>,
    /// Set if the catalog cannot be opened for writing.
    full: bool,
}

impl CommitFaults {
    /// Number of commits so far.
    pub fn commits(&self) -> u64 {
        self.fuse().commits
    }

    /// Fails `count` commits, after the next `skip` have succeeded.
    pub fn fail(&self, skip: u64, count: u64, fault: CommitFault) {
        let mut fuse = self.fuse();
        let first = fuse.commits + skip;
        fuse.fails = Some((first..first + count, fault));
    }

    /// Simulates a full disk: every commit fails, and the catalog opens read-only.
    pub fn set_full(&self, full: bool) {
        self.fuse().full = full;
    }

    /// Blocks all commits until the guard is dropped, so that the files can be copied.
    pub fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.0.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_full(&self) -> bool {
        self.fuse().full
    }

    /// Counts a commit and returns the fault to inject, if any.
    pub(super) fn next(&self) -> Option<CommitFault> {
        let mut fuse = self.fuse();
        let number = fuse.commits;
        fuse.commits += 1;
        if fuse.full {
            return Some(CommitFault::Before);
        }
        fuse.fails.clone().filter(|(range, _)| range.contains(&number)).map(|(_, fault)| fault)
    }

    fn fuse(&self) -> MutexGuard<'_, Fuse> {
        self.0.fuse.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of an injected failure: a full disk.
pub(super) fn injected(op: &'static str) -> StorageError {
    let source = io::Error::new(io::ErrorKind::StorageFull, "injected fault: no space left");
    StorageError::Io { op, path: PathBuf::from("catalog"), source }
}

pub(super) fn run(fault: Option<CommitFault>, commit: impl FnOnce() -> Result<()>) -> Result<()> {
    match fault {
        None => commit(),
        Some(CommitFault::Before) => Err(injected("commit")),
        Some(CommitFault::After) => {
            commit()?;
            Err(injected("commit"))
        }
    }
}
