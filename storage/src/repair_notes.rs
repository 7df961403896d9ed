//! What a repair has found so far, in a file beside the catalog while it is at work. A repair that was cut
//! short has changed some of what it looks at: the next one goes on with these notes, and nothing opens
//! before.

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

/// The notes of a repair that was cut short, if one was.
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
/// I/O errors; then they are as before.
pub fn write(root: &Path, bytes: &[u8]) -> Result<()> {
    private::replace_file(root, FILE, bytes)
}

/// Removes the notes when a repair is through.
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

/// Checks that no repair was cut short.
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
