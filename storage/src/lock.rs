//! Exclusive ownership of a database folder by one process.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use crate::directory::local::failed;
use crate::error::{Result, StorageError};
use crate::private;

/// The exclusive lock on a database folder, released on drop and when the process dies.
#[derive(Debug)]
pub struct DatabaseLock {
    _file: File,
}

impl DatabaseLock {
    /// Acquires the lock and writes this process's id into it.
    ///
    /// # Errors
    /// [`StorageError::Locked`] naming the owner, and I/O errors.
    pub fn acquire(root: &Path) -> Result<Self> {
        let path = root.join("LOCK");
        let mut file = match open(&path) {
            Ok(file) => file,
            // A read-only disk, which can still be read.
            Err(_) if path.exists() => File::open(&path).map_err(failed("open", &path))?,
            Err(error) => return Err(failed("open", &path)(error)),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid =
                    file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(StorageError::Locked { path: root.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
        }
        // The lock is held even if there is no room to record the owner.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}

fn open(path: &Path) -> io::Result<File> {
    private::file().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_owner_is_told_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let lock = DatabaseLock::acquire(folder.path()).unwrap();
        let error = DatabaseLock::acquire(folder.path()).unwrap_err();
        let named = format!("is locked by process {}", std::process::id());
        assert!(error.to_string().ends_with(&named), "{error}");
        drop(lock);
        DatabaseLock::acquire(folder.path()).unwrap();
    }
}
