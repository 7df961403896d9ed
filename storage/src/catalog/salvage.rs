//! Makes a catalog that can be opened out of one that cannot.
//!
//! The damaged one is only read. A new one is made in `catalog.repair.tmp` of the tables that are sound and
//! of all records of the logs that are, named `catalog.repair` when it is complete, and takes the place of
//! the other, which is moved to `lost/`.

use std::fs;
use std::path::{Path, PathBuf};

use super::log_check::End;
use super::rocks::{Mode, Rocks};
use super::{Catalog, Promises, Sync, log_check, write_batch};
use crate::directory::local::{failed, sync};
use crate::error::{Result, StorageError};
use crate::private;

/// Opens the catalog of the database in `root`; if that fails, makes another one of all that is
/// sound in its logs and tables, and moves the damaged one to `lost/`. Returns what was damaged.
///
/// What the new one holds may be less and older than what was promised: the caller compares. `note` is told
/// what was damaged before anything takes the place of the old one.
///
/// # Errors
/// I/O errors, and those of `note`; the old catalog is then where it was.
pub fn salvage<E: From<StorageError>>(
    root: &Path,
    note: impl FnOnce(&[StorageError]) -> Result<(), E>,
) -> Result<(Catalog, Vec<StorageError>), E> {
    let (folder, complete) = (root.join("catalog"), root.join("catalog.repair"));
    let (building, promises) = (root.join("catalog.repair.tmp"), Promises::new(root));
    if complete.exists() && !folder.exists() {
        // A repair was cut short when the old one was out of the way.
        promises.forget_manifest()?;
        fs::rename(&complete, &folder).map_err(failed("rename", &complete))?;
        sync(root)?;
    }
    let error = match look(root, &folder, &promises) {
        Ok(()) => {
            // What is left of a repair that was cut short only takes room.
            remove(&complete)?;
            remove(&building)?;
            return Ok((Catalog::open(root)?, Vec::new()));
        }
        Err(error @ StorageError::Corrupted { .. }) => error,
        Err(error) => return Err(error.into()),
    };
    let mut damage = vec![error];
    remove(&complete)?;
    remove(&building)?;
    let built = build(&folder, &building, &promises, &mut damage)
        .and_then(|()| fs::rename(&building, &complete).map_err(failed("rename", &building)))
        .and_then(|()| sync(root));
    if let Err(error) = built {
        // What is left would only take room.
        let _ = remove(&building);
        return Err(error.into());
    }
    note(&damage)?;
    if folder.exists() {
        let lost = free_name(&root.join("lost"), "catalog")?;
        fs::rename(&folder, &lost).map_err(failed("rename", &folder))?;
    }
    promises.forget_manifest()?;
    fs::rename(&complete, &folder).map_err(failed("rename", &complete))?;
    sync(root)?;
    Ok((Catalog::open(root)?, damage))
}

/// Reads all of the catalog without changing anything.
fn look(root: &Path, folder: &Path, promises: &Promises) -> Result<()> {
    if Catalog::is_fresh(root, promises)? {
        return Ok(());
    }
    if !folder.join("CURRENT").exists() {
        return Err(super::missing(folder));
    }
    let accept = |ends: &[End]| super::check_ends(folder, ends, promises);
    Rocks::open_accepting(folder, Mode::ReadOnly, &accept)?.check()
}

/// Makes a new catalog of what is sound in a damaged one.
fn build(
    from: &Path,
    to: &Path,
    promises: &Promises,
    damage: &mut Vec<StorageError>,
) -> Result<()> {
    private::create_folder(to).map_err(failed("create folder", to))?;
    copy_tables(from, to)?;
    let rocks = match open_tables(to, has_whole_manifest(from, promises)) {
        Ok(rocks) => rocks,
        Err(error) => {
            damage.push(error);
            remove(to)?;
            Rocks::open(to, Mode::Create)?
        }
    };
    let logs = log_check::logs(from).unwrap_or_default().into_iter();
    for log in logs.filter(|log| log_check::is_write_ahead(log)) {
        let (records, error) = log_check::sound_records(&log)?;
        damage.extend(error);
        for changes in records.iter().filter_map(|record| write_batch::changes(record)) {
            rocks.write(changes, Sync::No)?;
        }
    }
    rocks.sync()
}

/// Whether the manifest in use is there and has lost nothing.
fn has_whole_manifest(folder: &Path, promises: &Promises) -> bool {
    let Ok(Some(end)) = log_check::manifest(folder) else { return false };
    end.cut.is_none() && super::check_manifest(folder, Some(&end), promises).is_ok()
}

/// Opens copied tables as they are, or as far as RocksDB can put them together. A `MANIFEST` that has lost
/// its end may have lost tables, which RocksDB would remove.
fn open_tables(copy: &Path, is_whole: bool) -> Result<Rocks> {
    if is_whole
        && let Ok(rocks) = Rocks::open(copy, Mode::WithoutLogs)
        && rocks.check().is_ok()
    {
        return Ok(rocks);
    }
    Rocks::repair(copy)?;
    // A family that had no table yet is missing then.
    let rocks = Rocks::open(copy, Mode::Create)?;
    rocks.check()?;
    Ok(rocks)
}

/// Copies a folder without its logs.
fn copy_tables(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(from).map_err(failed("list", from))? {
        let path = entry.map_err(failed("list", from))?.path();
        let Some(name) = path.file_name().filter(|_| path.is_file()) else { continue };
        let text = name.to_string_lossy();
        if text.ends_with(".log") || text.starts_with("LOG") || text == "LOCK" {
            continue;
        }
        fs::copy(&path, to.join(name)).map_err(failed("copy", &path))?;
    }
    Ok(())
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
