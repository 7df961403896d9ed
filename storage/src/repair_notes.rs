//! Findings of a repair in progress, in a file next to the catalog. An interrupted repair has
//! already changed some of what it examines, so the next one continues from these notes, and the
//! database does not open before that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::directory::local::{failed, sync};
use crate::error::{Result, StorageError};
use crate::private;

const FILE: &str = "repair.json";

fn path(root: &Path) -> PathBuf {
    root.join(FILE)
}

/// The notes of an interrupted repair, if there was one.
///
/// # Errors
/// I/O errors.
pub fn read(root: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path(root)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", &path(root))(error)),
    }
}

/// Replaces the notes.
///
/// # Errors
/// I/O errors; the previous notes are then unchanged.
pub fn write(root: &Path, bytes: &[u8]) -> Result<()> {
    private::replace_file(root, FILE, bytes)
}

/// Removes the notes after a completed repair.
///
/// # Errors
/// I/O errors.
pub fn remove(root: &Path) -> Result<()> {
    match fs::remove_file(path(root)) {
        Ok(()) => sync(root),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", &path(root))(error)),
    }
}

/// Checks that no repair was interrupted.
///
/// # Errors
/// [`StorageError::Corrupted`] if one was.
pub fn check(root: &Path) -> Result<()> {
    if !path(root).exists() {
        return Ok(());
    }
    let detail = "a repair was cut short: let `lanner repair` go on";
    let (path, section) = (path(root), "notes".to_owned());
    Err(StorageError::Corrupted { path, section, detail: detail.into() })
}
