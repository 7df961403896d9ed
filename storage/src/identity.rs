//! The file that identifies a folder as a Lanner database, with its format.
//!
//! It is checked before anything else is opened or created, so that neither a foreign folder nor a
//! database of a newer version is touched.

use std::fs;
use std::io;
use std::path::Path;

use crate::directory::local::failed;
use crate::error::{Result, StorageError};
use crate::private;

/// Format of folder, catalog and journal that this version writes.
pub const FORMAT: u32 = 2;

/// Name of the file.
pub const FILE: &str = "LANNER";
const FIRST_LINE: &str = "lanner database";

/// Checks that `root` is a database and returns its format. A missing or empty folder becomes a new
/// database.
///
/// # Errors
/// [`StorageError::NotADatabase`] if the folder holds something else,
/// [`StorageError::UnsupportedFormat`] if a newer version wrote it, [`StorageError::OldFormat`] if
/// a version before the first release did, and I/O errors.
pub fn open_or_create(root: &Path) -> Result<u32> {
    private::create_folders(root).map_err(failed("create folder", root))?;
    let path = root.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => check(root, &text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(malformed(root)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut entries = fs::read_dir(root).map_err(failed("list", root))?;
            // Leftovers of an interrupted creation, and the entries of a new file system, are no
            // reason to reject the folder.
            let foreign = entries.any(|entry| {
                entry.is_ok_and(|entry| {
                    let name = entry.file_name();
                    name.to_string_lossy() != private::temporary_name(FILE) && name != "lost+found"
                })
            });
            if foreign {
                let detail = format!("it is not empty and has no file `{FILE}`");
                return Err(StorageError::NotADatabase { path: root.to_owned(), detail });
            }
            create(root)?;
            Ok(FORMAT)
        }
        Err(error) => Err(failed("read", &path)(error)),
    }
}

/// Checks that `root` is a database and returns its format.
///
/// # Errors
/// As [`open_or_create`], and [`StorageError::NotADatabase`] if the file is missing.
pub fn open_existing(root: &Path) -> Result<u32> {
    match fs::read_to_string(root.join(FILE)) {
        Ok(text) => check(root, &text),
        Err(_) => Err(malformed(root)),
    }
}

/// As [`open_existing`]. If the file is missing or damaged in a folder that has a catalog and
/// collections, rewrites it and returns what was wrong.
///
/// # Errors
/// As [`open_existing`].
pub fn repair(root: &Path) -> Result<Option<StorageError>> {
    match open_existing(root) {
        Ok(_) => Ok(None),
        Err(error @ StorageError::NotADatabase { .. })
            if root.join("catalog/CURRENT").is_file() && root.join("collections").is_dir() =>
        {
            create(root)?;
            Ok(Some(error))
        }
        Err(error) => Err(error),
    }
}

fn create(root: &Path) -> Result<()> {
    let text = format!("{FIRST_LINE}\nformat {FORMAT}\n");
    private::replace_file(root, FILE, text.as_bytes())
}

fn check(root: &Path, text: &str) -> Result<u32> {
    let mut lines = text.lines();
    let format = match (lines.next(), lines.next().and_then(|line| line.strip_prefix("format "))) {
        (Some(FIRST_LINE), Some(format)) => format.parse().ok(),
        _ => None,
    };
    let (path, supported) = (root.join(FILE), FORMAT);
    match format {
        Some(FORMAT) => Ok(FORMAT),
        Some(found) if found > FORMAT => {
            Err(StorageError::UnsupportedFormat { path, found, supported })
        }
        Some(found) if found > 0 => Err(StorageError::OldFormat { path, found, supported }),
        _ => Err(malformed(root)),
    }
}

fn malformed(root: &Path) -> StorageError {
    let detail = format!("its file `{FILE}` does not say `{FIRST_LINE}` and a format");
    StorageError::NotADatabase { path: root.to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_an_empty_folder_a_database_and_knows_it_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("new/nested");
        assert_eq!(open_or_create(&root).unwrap(), FORMAT);
        fs::write(root.join("anything"), "x").unwrap();
        assert_eq!(open_or_create(&root).unwrap(), FORMAT);
    }

    #[test]
    fn refuses_foreign_folders_and_leaves_them_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("photo.jpg"), "x").unwrap();
        let error = open_or_create(folder.path()).unwrap_err();
        assert!(matches!(error, StorageError::NotADatabase { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn refuses_newer_formats_and_garbage() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &[u8]| fs::write(folder.path().join(FILE), text).unwrap();
        write(b"lanner database\nformat 3\n");
        let error = open_or_create(folder.path()).unwrap_err();
        let newer = matches!(error, StorageError::UnsupportedFormat { found: 3, supported: 2, .. });
        assert!(newer && error.to_string().contains(FILE), "{error}");
        write(b"lanner database\nformat 1\n");
        let error = open_or_create(folder.path()).unwrap_err();
        assert!(matches!(error, StorageError::OldFormat { found: 1, .. }), "{error}");
        for text in [&b""[..], b"\xff\xfe", b"lanner database\nformat x\n", b"format 1\n"] {
            write(text);
            let error = open_or_create(folder.path()).unwrap_err();
            assert!(matches!(error, StorageError::NotADatabase { .. }), "{error}");
        }
    }

    #[test]
    fn a_creation_cut_short_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("LANNER.tmp"), "lanner da").unwrap();
        assert_eq!(open_or_create(folder.path()).unwrap(), FORMAT);
    }
}
