//! A directory with fault injection, for crash tests.
//!
//! It passes operations through to a [`LocalDirectory`] and tracks what was made durable. From a
//! chosen operation on, everything fails, as after a power loss; [`FaultyDirectory::lose_power`]
//! then removes from disk what the [`Directory`] contract does not guarantee: bytes that were not
//! synced, and names in folders that were not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::local::failed;
use super::{Directory, LocalDirectory, WriteFile};
use crate::blob::Blob;
use crate::error::Result;

/// A [`Directory`] with fault injection. Clones share state.
#[derive(Debug, Clone)]
pub struct FaultyDirectory {
    inner: LocalDirectory,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Debug, Default)]
struct Faults {
    operations: u64,
    fail_from: Option<u64>,
    /// Paths of the failed operations.
    refused: Vec<String>,
    /// Files and folders whose names are not yet durable, by path.
    unnamed: BTreeSet<String>,
    /// Files with unsynced bytes, and the number of bytes that are synced.
    unsynced: BTreeMap<String, u64>,
}

impl FaultyDirectory {
    /// Passes everything through to `inner` until [`Self::fail_from`] is called.
    pub fn new(inner: LocalDirectory) -> Self {
        Self { inner, faults: Arc::default() }
    }

    /// Number of operations so far.
    pub fn operations(&self) -> u64 {
        self.faults().operations
    }

    /// Fails operation number `operation`, counted from 0, and all later ones.
    pub fn fail_from(&self, operation: u64) {
        self.faults().fail_from = Some(operation);
    }

    /// Paths of the failed operations, in order.
    pub fn refused(&self) -> Vec<String> {
        self.faults().refused.clone()
    }

    /// Removes everything that is not durable. `survives` maps the number of unsynced bytes of a
    /// file to the number that survive: after a real power loss none, some, or all may be left.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn lose_power(&self, survives: impl Fn(u64) -> u64) -> Result<()> {
        let mut faults = self.faults();
        for (path, synced) in std::mem::take(&mut faults.unsynced) {
            let path = self.inner.resolve(&path)?;
            let Ok(file) = fs::OpenOptions::new().write(true).open(&path) else { continue };
            let len = file.metadata().map_err(failed("read", &path))?.len();
            let kept = synced + survives(len - synced).min(len - synced);
            file.set_len(kept).map_err(failed("truncate", &path))?;
        }
        for path in std::mem::take(&mut faults.unnamed) {
            let path = self.inner.resolve(&path)?;
            if path.is_dir() {
                fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
            } else if path.exists() {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation, and fails if the fault point has been reached.
    fn step(&self, op: &'static str, path: &str) -> Result<()> {
        let mut faults = self.faults();
        let number = faults.operations;
        faults.operations += 1;
        match faults.fail_from {
            Some(from) if number >= from => {
                faults.refused.push(path.to_owned());
                Err(failed(op, &PathBuf::from(path))(io::Error::other("injected fault")))
            }
            _ => Ok(()),
        }
    }

    fn forget(&self, path: &str) {
        let below = |name: &String| name == path || name.starts_with(&format!("{path}/"));
        let mut faults = self.faults();
        faults.unnamed.retain(|name| !below(name));
        faults.unsynced.retain(|name, _| !below(name));
    }
}

fn is_in(folder: &str, path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(parent, _)| parent == folder)
}

impl Directory for FaultyDirectory {
    fn create_folder(&self, path: &str) -> Result<()> {
        self.step("create folder", path)?;
        // Durable on return, by contract.
        self.inner.create_folder(path)
    }

    fn create_file(&self, path: &str) -> Result<Box<dyn WriteFile>> {
        self.step("create", path)?;
        let file = self.inner.create_file(path)?;
        let mut faults = self.faults();
        faults.unnamed.insert(path.to_owned());
        faults.unsynced.insert(path.to_owned(), 0);
        Ok(Box::new(FaultyFile { directory: self.clone(), path: path.to_owned(), file, len: 0 }))
    }

    fn open(&self, path: &str) -> Result<Box<dyn Blob>> {
        self.step("open", path)?;
        self.inner.open(path)
    }

    fn sync_folder(&self, path: &str) -> Result<()> {
        self.step("sync folder", path)?;
        self.inner.sync_folder(path)?;
        self.faults().unnamed.retain(|name| !is_in(path, name));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.step("rename", from)?;
        self.inner.rename(from, to)?;
        // Names and bytes below the path move along, durable or not.
        let moved = |name: &String| match name.strip_prefix(from) {
            Some(rest) => format!("{to}{rest}"),
            None => name.clone(),
        };
        let mut faults = self.faults();
        faults.unnamed = faults.unnamed.iter().map(moved).collect();
        faults.unsynced = faults.unsynced.iter().map(|(name, n)| (moved(name), *n)).collect();
        Ok(())
    }

    fn remove_folder(&self, path: &str) -> Result<()> {
        self.step("remove", path)?;
        self.inner.remove_folder(path)?;
        self.forget(path);
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        self.step("list", path)?;
        self.inner.list(path)
    }

    fn folders(&self, path: &str) -> Result<Vec<String>> {
        self.step("list", path)?;
        self.inner.folders(path)
    }

    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }
}

struct FaultyFile {
    directory: FaultyDirectory,
    path: String,
    file: Box<dyn WriteFile>,
    len: u64,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.directory.step("write", &self.path).map_err(io::Error::other)?;
        let written = self.file.write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl WriteFile for FaultyFile {
    fn sync(&mut self) -> Result<()> {
        self.directory.step("sync", &self.path)?;
        self.file.sync()?;
        self.directory.faults().unsynced.insert(self.path.clone(), self.len);
        Ok(())
    }
}
