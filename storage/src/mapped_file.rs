//! Read-only files mapped into memory. The only unsafe code of this crate.

use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Result, StorageError};

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
}
