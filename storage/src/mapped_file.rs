//! Read-only files mapped into memory. The only unsafe code of this crate.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Result, StorageError};

/// How a part of a mapped file will be read: a hint for the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// In order, more or less: what surrounds a page that is missing is read with it.
    Ordered,
    /// Here and there: only the page that is missing is read.
    Random,
    /// Soon: it is read ahead of use, also where access is random otherwise.
    Soon,
}

/// The bytes of a file that no longer changes.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    map: Option<Mmap>,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// [`StorageError::Io`] if it cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| StorageError::Io { op: "map", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let map = if len == 0 {
            None
        } else {
            // SAFETY: the map is read-only and its bounds are those of the file. The bytes stay
            // as they are while it lives: this process writes a file once, syncs it and renames
            // its folder into place before it maps it, and never modifies or truncates it after
            // (removing it leaves the map valid); other processes are kept out by the database
            // lock. Who changes files under a running database in spite of that makes reads
            // undefined, as with every mapped file. No alignment or CPU feature is assumed.
            Some(unsafe { Mmap::map(&file) }.map_err(failed)?)
        };
        Ok(Self { path: path.to_owned(), map })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// The file, for errors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says how the bytes of `range` will be read.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the range is out of bounds or the system does not know the advice;
    /// reading works as before.
    pub fn advise(&self, range: Range<usize>, access: Access) -> Result<()> {
        let Some(map) = self.map.as_ref().filter(|_| !range.is_empty()) else { return Ok(()) };
        if range.end > map.len() {
            return Err(self.failed("advise on", std::io::ErrorKind::InvalidInput.into()));
        }
        let advice = match access {
            Access::Ordered => memmap2::Advice::Normal,
            Access::Random => memmap2::Advice::Random,
            Access::Soon => memmap2::Advice::WillNeed,
        };
        map.advise_range(advice, range.start, range.len())
            .map_err(|source| self.failed("advise on", source))
    }

    /// Reads the whole file and keeps it in memory as long as this lives.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the limit on locked memory (`RLIMIT_MEMLOCK`) does not allow it;
    /// reading works as before.
    pub fn lock(&self) -> Result<()> {
        let lock = |map: &Mmap| map.lock().map_err(|source| self.failed("lock in memory", source));
        self.map.as_ref().map_or(Ok(()), lock)
    }

    fn failed(&self, op: &'static str, source: std::io::Error) -> StorageError {
        StorageError::Io { op, path: self.path.clone(), source }
    }
}
