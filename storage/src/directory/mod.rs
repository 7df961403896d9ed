//! Storage of sealed files.
//!
//! A sealed file is written once, made durable, and never changed. So this trait has no overwrite,
//! append or seek, and an object store can implement it: opening a file gives a [`Blob`], which is
//! read by ranges. Paths are relative, `/`-separated and made of `[a-z0-9_.-]+` components,
//! whatever the implementation.
//!
//! A file is *published* when a manifest in the catalog names it, with its length and checksum, and
//! by nothing else. Before that it is durable but invisible to queries, and files that no manifest
//! names are removed or set aside when a collection is opened; names and renames only separate
//! unfinished files from complete ones.

mod faulty;
pub(crate) mod local;
mod lost;
mod memory;
mod new_folder;

use std::fmt::Debug;
use std::io::Write;

pub use faulty::FaultyDirectory;
pub use local::LocalDirectory;
pub use lost::{move_to_lost, numbered};
pub use memory::MemoryDirectory;
pub use new_folder::write_folder;

use crate::blob::Blob;
use crate::error::{Result, StorageError};

/// A tree of write-once files.
///
/// # Durability
/// A file is durable after [`WriteFile::sync`] *and* [`Directory::sync_folder`] on its folder. A
/// rename is atomic, and durable when [`Directory::rename`] returns.
pub trait Directory: Send + Sync + Debug {
    /// Creates a folder and its parents, durably; it may already exist.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or the folder cannot be created.
    fn create_folder(&self, path: &str) -> Result<()>;

    /// Creates a file, which must not exist.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or the file cannot be created.
    fn create_file(&self, path: &str) -> Result<Box<dyn WriteFile>>;

    /// Opens a completely written file.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or the file cannot be opened.
    fn open(&self, path: &str) -> Result<Box<dyn Blob>>;

    /// Makes the entries of a folder durable.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or the disk fails.
    fn sync_folder(&self, path: &str) -> Result<()>;

    /// Renames a folder or file, atomically and durably. `to` must not exist.
    ///
    /// # Errors
    /// [`StorageError`] if a path is malformed or the rename fails.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a folder with its content, if it exists.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or an entry cannot be removed.
    fn remove_folder(&self, path: &str) -> Result<()>;

    /// The names in a folder, sorted; empty if it is missing.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or the folder cannot be read.
    fn list(&self, path: &str) -> Result<Vec<String>>;

    /// The names of the subfolders of a folder, without links; sorted.
    ///
    /// # Errors
    /// As [`Self::list`].
    fn folders(&self, path: &str) -> Result<Vec<String>> {
        self.list(path)
    }

    /// Free space in bytes; `None` if unknown.
    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// A file being written.
pub trait WriteFile: Write + Send {
    /// Forces the content to disk.
    ///
    /// # Errors
    /// [`StorageError::Io`]; the state on disk is then unknown and the file must be discarded.
    fn sync(&mut self) -> Result<()>;

    /// Evicts synced content from the page cache, because it will not be read soon.
    fn evict(&mut self) {}
}

/// Checks a path against the pattern that every implementation accepts.
///
/// # Errors
/// [`StorageError::InvalidPath`].
pub fn check_path(path: &str) -> Result<()> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
    let sound =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed);
    if path.split('/').all(sound) {
        return Ok(());
    }
    Err(StorageError::InvalidPath { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_the_folder() {
        for path in ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a\\b", "A", "a b", "a\0"] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        check_path("collections/1/7.tmp/field-0.sec").unwrap();
    }
}
