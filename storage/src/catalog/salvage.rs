//! Rebuilds a catalog that can no longer be opened.
//!
//! The damaged catalog is only read. A new one is built in `catalog.repair.tmp` from all sound
//! tables and all sound log records, renamed to `catalog.repair` when it is complete, and then put
//! in place of the old one, which is moved to `lost/`.

use std::fs;
use std::path::{Path, PathBuf};

use super::log_check::End;
use super::rocks::{Mode, Rocks};
use super::{Catalog, Promises, Sync, log_check, write_batch};
use crate::directory::local::{failed, sync};
use crate::error::{Result, StorageError};
use crate::private;

/// Opens the catalog of the database in `root`. If that fails, rebuilds it from all sound logs and
/// tables, and moves the damaged one to `lost/`. Returns the damage found.
///
/// The rebuilt catalog may hold less than was promised, or an older state: the caller compares.
/// `note` receives the damage before the old catalog is replaced.
///
/// # Errors
/// I/O errors, and those of `note`; the old catalog is then still in place.
pub fn salvage<E: From<StorageError>>(
    root: &Path,
    note: impl FnOnce(&[StorageError]) -> Result<(), E>,
) -> Result<(Catalog, Vec<StorageError>), E> {
    let (folder, complete) = (root.join("catalog"), root.join("catalog.repair"));
    let (building, promises) = (root.join("catalog.repair.tmp"), Promises::new(root));
    if complete.exists() && !folder.exists() {
        // A repair was interrupted after the old catalog had been moved away.
        promises.forget_manifest()?;
        fs::rename(&complete, &folder).map_err(failed("rename", &complete))?;
        sync(root)?;
    }
    let error = match look(root, &folder, &promises) {
        Ok(()) => {
            // Leftovers of an interrupted repair only take up space.
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
        // Leftovers would only take up space.
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

/// Reads the whole catalog without changing anything.
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

/// Builds a new catalog from the sound parts of a damaged one.
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

/// True if the current manifest exists and is complete.
fn has_whole_manifest(folder: &Path, promises: &Promises) -> bool {
    let Ok(Some(end)) = log_check::manifest(folder) else { return false };
    end.cut.is_none() && super::check_manifest(folder, Some(&end), promises).is_ok()
}

/// Opens copied tables as they are or, failing that, as far as RocksDB can repair them. A truncated
/// `MANIFEST` may have lost tables, which RocksDB would delete.
fn open_tables(copy: &Path, is_whole: bool) -> Result<Rocks> {
    if is_whole
        && let Ok(rocks) = Rocks::open(copy, Mode::WithoutLogs)
        && rocks.check().is_ok()
    {
        return Ok(rocks);
    }
    Rocks::repair(copy)?;
    // A column family without tables is then missing.
    let rocks = Rocks::open(copy, Mode::Create)?;
    rocks.check()?;
    Ok(rocks)
}

/// Copies a folder, except its logs.
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

/// An unused name in `folder`.
fn free_name(folder: &Path, name: &str) -> Result<PathBuf> {
    private::create_folders(folder).map_err(failed("create folder", folder))?;
    let mut names = (1_u32..).map(|number| folder.join(format!("{name}-{number}")));
    let free = names.find(|path| !path.exists());
    free.ok_or_else(|| failed("name", folder)(std::io::ErrorKind::AlreadyExists.into()))
}
