//! Where sealed files live.
//!
//! A sealed file is written once, made durable, and never changed; so this trait has no
//! overwrite, no append and no seek, and an object store can implement it: what is opened is a
//! [`Blob`], and who reads it asks for ranges. Paths are relative, `/`-separated and made of
//! `[a-z0-9_.-]+` components, whatever the implementation.
//!
//! A file is *published* when a manifest in the catalog names it, with its length and checksum, and by
//! nothing else. Before that it is durable, but no query looks for it, and what no manifest names is
//! removed or set aside when a collection is opened; names and renames only keep what is unfinished
//! apart from what is whole.

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
/// rename is durable, and happens whole or not at all, when [`Directory::rename`] returns.
pub trait Directory: Send + Sync + Debug {
    /// Creates a folder with its parents, durably; it may exist.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or the folder cannot be created.
    fn create_folder(&self, path: &str) -> Result<()>;

    /// Creates a file, which must not exist.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or the file cannot be created.
    fn create_file(&self, path: &str) -> Result<Box<dyn WriteFile>>;

    /// Opens a file that was written completely.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or the file cannot be opened.
    fn open(&self, path: &str) -> Result<Box<dyn Blob>>;

    /// Makes the entries of a folder durable.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or the disk refuses.
    fn sync_folder(&self, path: &str) -> Result<()>;

    /// Renames a folder or file, atomically and durably. `to` must not exist.
    ///
    /// # Errors
    /// [`StorageError`] if a path is malformed or the rename fails.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a folder with all it holds; it may be missing.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or something cannot be removed.
    fn remove_folder(&self, path: &str) -> Result<()>;

    /// The names in a folder, sorted; none if it is missing.
    ///
    /// # Errors
    /// [`StorageError`] if the path is malformed or the folder cannot be read.
    fn list(&self, path: &str) -> Result<Vec<String>>;

    /// The names in a folder that are folders themselves, links left out; sorted.
    ///
    /// # Errors
    /// As [`Self::list`].
    fn folders(&self, path: &str) -> Result<Vec<String>> {
        self.list(path)
    }

    /// Bytes that can still be written; `None` if that is not known.
    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// A file that is being written.
pub trait WriteFile: Write + Send {
    /// Forces the content to the disk.
    ///
    /// # Errors
    /// [`StorageError::Io`]; what is on the disk is then unknown and the file must be given up.
    fn sync(&mut self) -> Result<()>;

    /// Lets go of what memory keeps of synced content, because it will not be read soon.
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
