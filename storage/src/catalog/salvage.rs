//! Makes a catalog that can be opened out of one that cannot.

use std::fs;
use std::path::{Path, PathBuf};

use super::rocks::{Mode, Rocks};
use super::{Catalog, log_check};
use crate::directory::local::{failed, sync};
use crate::error::{Result, StorageError};
use crate::private;

/// Opens the catalog of the database in `root`; if that fails, makes another one of all that is
/// sound in its logs and tables, and moves the damaged one to `lost/`. Returns what was damaged.
///
/// What the new one holds may be less and older than what was promised: the caller compares.
///
/// # Errors
/// I/O errors; the old catalog is then where it was.
pub fn salvage(root: &Path) -> Result<(Catalog, Vec<StorageError>)> {
    let folder = root.join("catalog");
    let opened = Catalog::open(root).and_then(|catalog| catalog.check().map(|()| catalog));
    let error = match opened {
        Ok(catalog) => return Ok((catalog, Vec::new())),
        Err(error @ StorageError::Corrupted { .. }) => error,
        Err(error) => return Err(error),
    };
    let mut damage = vec![error];
    let copy = root.join("catalog.repair");
    remove(&copy)?;
    private::create_folder(&copy).map_err(failed("create folder", &copy))?;
    damage.extend(copy_files(&folder, &copy)?);
    if let Err(error) = open_anyhow(&copy) {
        damage.push(error);
        remove(&copy)?;
        drop(Rocks::open(&copy, Mode::Create)?);
    }
    if folder.exists() {
        let lost = free_name(&root.join("lost"), "catalog")?;
        fs::rename(&folder, &lost).map_err(failed("rename", &folder))?;
    }
    fs::rename(&copy, &folder).map_err(failed("rename", &copy))?;
    sync(root)?;
    Ok((Catalog::open(root)?, damage))
}

/// Opens a copy as it is, or as far as RocksDB can put it together.
fn open_anyhow(copy: &Path) -> Result<()> {
    match Rocks::open(copy, Mode::Existing) {
        Ok(rocks) if rocks.check().is_ok() => Ok(()),
        Ok(_) | Err(StorageError::Corrupted { .. } | StorageError::Io { .. }) => {
            Rocks::repair(copy)?;
            // A family that had no table yet is missing then.
            Rocks::open(copy, Mode::Create)?.check()
        }
        Err(error) => Err(error),
    }
}

/// Copies a folder, of logs the sound records alone, and returns what was damaged.
fn copy_files(from: &Path, to: &Path) -> Result<Vec<StorageError>> {
    let mut damage = Vec::new();
    if !from.exists() {
        return Ok(damage);
    }
    let logs = log_check::logs(from)?;
    for entry in fs::read_dir(from).map_err(failed("list", from))? {
        let path = entry.map_err(failed("list", from))?.path();
        let Some(name) = path.file_name().filter(|_| path.is_file()) else { continue };
        let target = to.join(name);
        if logs.contains(&path) {
            damage.extend(log_check::copy_sound_records(&path, &target)?);
        } else {
            fs::copy(&path, &target).map_err(failed("copy", &path))?;
        }
    }
    Ok(damage)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// A name in `folder` that is not taken.
fn free_name(folder: &Path, name: &str) -> Result<PathBuf> {
    private::create_folders(folder).map_err(failed("create folder", folder))?;
    let mut names = (1_u32..).map(|number| folder.join(format!("{name}-{number}")));
    let free = names.find(|path| !path.exists());
    free.ok_or_else(|| failed("name", folder)(std::io::ErrorKind::AlreadyExists.into()))
}
