//! Folders that appear atomically.

use super::Directory;
use crate::error::StorageError;

/// Writes files into a temporary folder, `<folder>.tmp`, and durably renames it to `folder`, which
/// must not exist. On failure, everything written is removed.
///
/// # Errors
/// Those of `write`, and those of the directory.
pub fn write_folder<T, E: From<StorageError>>(
    directory: &dyn Directory,
    folder: &str,
    write: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, E> {
    let temporary = format!("{folder}.tmp");
    directory.remove_folder(&temporary)?;
    let unfinished = Unfinished { directory, folder: &temporary };
    directory.create_folder(&temporary)?;
    let written = write(&temporary)?;
    directory.sync_folder(&temporary)?;
    directory.rename(&temporary, folder)?;
    std::mem::forget(unfinished);
    Ok(written)
}

/// Removes a folder when dropped.
struct Unfinished<'d> {
    directory: &'d dyn Directory,
    folder: &'d str,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // Whatever cannot be removed now is removed when the collection is next opened.
        let _ = self.directory.remove_folder(self.folder);
    }
}
