//! The catalog: all state that must change atomically, in RocksDB.
//!
//! It has two key spaces. *Meta* holds the collections, their manifests and tombstones; *journal*
//! holds the operations that are not yet in a sealed segment. A [`Batch`] spans both and is applied
//! atomically, also across a crash. What a synced batch has made durable is recorded next to the
//! catalog ([`Promise`]), so that a log that lost its end is not taken for a shorter one.
//!
//! If the catalog cannot be written, because the disk is full or read-only, it opens read-only;
//! after a failed commit it accepts no more. [`Catalog::reopen`] tries to recover from either.

mod copy;
mod faults;
mod journal;
mod log_check;
mod manifest;
mod promises;
mod rocks;
mod salvage;
mod write_batch;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

pub use self::copy::{
    CollectionCopy, copies_after, read_collection_copy, remove_collection_copy,
    settle_collection_copies, write_collection_copy,
};
pub use self::faults::{CommitFault, CommitFaults};
use self::log_check::End;
pub use self::manifest::{
    CalibrationEntry, FileEntry, IndexEntry, Listed, Manifest, QueriesEntry, SegmentEntry,
};
pub use self::promises::Promise;
use self::promises::{ManifestEnd, Promises};
use self::rocks::{Mode, Rocks};
pub use self::salvage::salvage;
use crate::error::{Result, StorageError};

/// The catalog of one Lanner database.
#[derive(Debug)]
pub struct Catalog {
    folder: PathBuf,
    handle: RwLock<Handle>,
    /// Set by a failed commit: the state on disk is unknown until the catalog is reopened.
    failed: AtomicBool,
    promises: Promises,
    faults: CommitFaults,
    /// End of the `MANIFEST` when it was last examined.
    manifest: Mutex<Option<ManifestEnd>>,
}

#[derive(Debug)]
enum Handle {
    Open(Rocks),
    /// Open for reading only, with the reason.
    ReadOnly(Rocks, String),
    /// Could not be reopened, with the reason.
    Closed(String),
}

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// The commit returns once the data is on disk: it survives power loss.
    Yes,
    /// The commit returns once the operating system has the data: it survives a crash of the
    /// process, but not power loss.
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Meta,
    Journal,
}

/// A set of changes that is applied atomically.
#[derive(Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
    /// Promises to record once the batch is durable, by collection.
    promises: Vec<(u32, Promise)>,
}

#[derive(Debug)]
enum Change {
    Put(Space, Vec<u8>, Vec<u8>),
    Delete(Space, Vec<u8>),
    DeleteRange(Space, Vec<u8>, Vec<u8>),
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    fn put(&mut self, space: Space, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push(Change::Put(space, key, value));
    }

    fn delete(&mut self, space: Space, key: Vec<u8>) {
        self.changes.push(Change::Delete(space, key));
    }

    fn delete_range(&mut self, space: Space, from: Vec<u8>, to: Vec<u8>) {
        self.changes.push(Change::DeleteRange(space, from, to));
    }

    fn promise(&mut self, collection: u32, promise: Promise) {
        match self.promises.last_mut() {
            Some((last, made)) if *last == collection => *made = made.and(promise),
            _ => self.promises.push((collection, promise)),
        }
    }
}

impl Catalog {
    /// Opens the catalog of the database in `root`. A missing catalog is created, unless there are
    /// promises: then it was lost. If the catalog cannot be written, it is opened read-only.
    ///
    /// The caller holds the database lock: a catalog has one owner.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming a damaged or missing file, and I/O errors.
    pub fn open(root: &Path) -> Result<Self> {
        Self::open_with(root, CommitFaults::default())
    }

    /// As [`Self::open`], with fault injection for commits.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(root: &Path, faults: CommitFaults) -> Result<Self> {
        let folder = root.join("catalog");
        let promises = Promises::new(root);
        let fresh = Self::is_fresh(root, &promises)?;
        if !fresh && !folder.join("CURRENT").exists() {
            return Err(missing(&folder));
        }
        let mode = if fresh { Mode::Create } else { Mode::Existing };
        let accept = |ends: &[End]| match fresh {
            true => Ok(()),
            false => check_ends(&folder, ends, &promises),
        };
        let (handle, _) = open_handle(&folder, mode, &faults, &accept)?;
        let (handle, failed) = (RwLock::new(handle), AtomicBool::new(false));
        let manifest = Mutex::default();
        let catalog = Self { folder, handle, failed, promises, faults, manifest };
        // Everything that opening has changed is on disk.
        catalog.note_manifest(manifest_end(&catalog.folder));
        Ok(catalog)
    }

    /// Records the end of the `MANIFEST` if it has not moved since the last call, because then
    /// RocksDB has synced it in between. Call this every few seconds.
    pub fn look_at_manifest(&self) {
        let found = manifest_end(&self.folder);
        let before = std::mem::replace(&mut *self.seen_manifest(), found);
        if found == before {
            self.note_manifest(found);
        }
    }

    fn note_manifest(&self, end: Option<ManifestEnd>) {
        let is_open = matches!(&*self.read(), Handle::Open(_));
        if let Some(end) = end.filter(|end| is_open && self.promises.manifest() != Some(*end)) {
            // If it cannot be written, less is promised.
            let _ = self.promises.note_manifest(end);
        }
    }

    fn seen_manifest(&self) -> MutexGuard<'_, Option<ManifestEnd>> {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if nothing was ever stored; an interrupted creation is started over.
    fn is_fresh(root: &Path, promises: &Promises) -> Result<bool> {
        Ok(promises.collections()?.is_empty() && !has_collections(root))
    }

    /// Reopens the catalog for writing if it is read-only or a commit failed. Afterwards its
    /// content is on disk, whatever the failed commit left behind.
    ///
    /// # Errors
    /// If it still cannot be written; it is then opened read-only, if possible.
    pub fn reopen(&self) -> Result<()> {
        if self.is_sound(&self.read()) {
            return Ok(());
        }
        let mut handle = self.handle.write().unwrap_or_else(PoisonError::into_inner);
        if self.is_sound(&handle) {
            return Ok(());
        }
        // An open handle would hold the lock of the folder.
        *handle = Handle::Closed("it is being opened again".into());
        let opened = open_handle(&self.folder, Mode::Existing, &self.faults, &|_| Ok(()));
        let (opened, refused) = opened.inspect_err(|error| {
            *handle = Handle::Closed(error.to_string());
        })?;
        *handle = opened;
        match refused {
            Some(error) => Err(error),
            None => {
                self.failed.store(false, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    fn is_sound(&self, handle: &Handle) -> bool {
        matches!(handle, Handle::Open(_)) && !self.failed.load(Ordering::Relaxed)
    }

    /// The reason why nothing can be written, if so.
    pub fn read_only(&self) -> Option<String> {
        match &*self.read() {
            Handle::Open(_) => None,
            Handle::ReadOnly(_, why) | Handle::Closed(why) => Some(why.clone()),
        }
    }

    /// Applies a batch atomically, after reopening the catalog if necessary.
    ///
    /// # Errors
    /// [`StorageError`]; it is then unknown whether the batch will be there after a restart, so the
    /// caller must call [`Self::reopen`] and reread the catalog before it continues.
    pub fn commit(&self, batch: Batch, sync: Sync) -> Result<()> {
        self.reopen()?;
        let _passed = self.faults.pass();
        let handle = self.read();
        let rocks = match &*handle {
            Handle::Open(rocks) => rocks,
            Handle::ReadOnly(_, why) | Handle::Closed(why) => return Err(refused(why)),
        };
        faults::run(self.faults.next(), || rocks.write(batch.changes, sync))
            .inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
        if sync == Sync::Yes {
            for (collection, promise) in batch.promises {
                // The batch is durable whether or not the promise can be recorded.
                let kept = self.promises.keep(collection, promise);
                if promise == Promise::DELETED {
                    // Before the catalog forgets the deletion.
                    let _ = kept.and_then(|()| self.promises.sync(collection));
                }
            }
        }
        Ok(())
    }

    /// The promise of a collection: what must be found of it.
    pub fn promise(&self, collection: u32) -> Promise {
        self.promises.read(collection)
    }

    /// The collections with a promise.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn promised(&self) -> Result<Vec<u32>> {
        self.promises.collections()
    }

    /// Promises that a collection stays deleted, before the catalog forgets the deletion.
    ///
    /// # Errors
    /// If the promise cannot be written.
    pub fn promise_deleted(&self, collection: u32) -> Result<()> {
        self.promises.keep(collection, Promise::DELETED)?;
        self.promises.sync(collection)
    }

    /// Removes the promise of a deleted collection.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn forget(&self, collection: u32) -> Result<()> {
        self.promises.forget(collection)
    }

    /// Resets the promise to what was found, after a repair.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn reset_promise(&self, collection: u32, promise: Promise) -> Result<()> {
        self.promises.replace(collection, promise)
    }

    /// Reads all entries once.
    ///
    /// # Errors
    /// If something is damaged or cannot be read.
    pub fn check(&self) -> Result<()> {
        self.read().rocks()?.check()
    }

    /// Forces everything committed so far to disk.
    ///
    /// # Errors
    /// [`StorageError`] if the disk fails.
    pub fn sync(&self) -> Result<()> {
        match &*self.read() {
            Handle::Open(rocks) => rocks.sync(),
            Handle::ReadOnly(..) | Handle::Closed(_) => Ok(()),
        }
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.read().rocks()?.get(space, key)
    }

    /// Visits the entries with `from <= key < to` in key order, until `visit` fails.
    fn scan<E: From<StorageError>>(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.read().rocks()?.scan(space, from, to, visit)
    }

    /// Deletes whole files within a deleted range, so that their space is free at once.
    fn reclaim(&self, space: Space, from: &[u8], to: &[u8]) -> Result<()> {
        self.read().rocks()?.reclaim(space, from, to)
    }

    fn read(&self) -> RwLockReadGuard<'_, Handle> {
        self.handle.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error that describes a damaged entry.
    fn corrupted(&self, section: impl Into<String>, detail: impl Into<String>) -> StorageError {
        let (path, section) = (self.folder.clone(), section.into());
        StorageError::Corrupted { path, section, detail: detail.into() }
    }
}

impl Handle {
    fn rocks(&self) -> Result<&Rocks> {
        match self {
            Self::Open(rocks) | Self::ReadOnly(rocks, _) => Ok(rocks),
            Self::Closed(why) => Err(refused(why)),
        }
    }
}

/// Opens for writing or, if the disk refuses, for reading, together with the error of the first
/// attempt.
fn open_handle(
    folder: &Path,
    mode: Mode,
    faults: &CommitFaults,
    accept: &dyn Fn(&[End]) -> Result<()>,
) -> Result<(Handle, Option<StorageError>)> {
    let opened = match faults.is_full() {
        false => Rocks::open_accepting(folder, mode, accept),
        true => Err(faults::injected("open")),
    };
    match opened {
        Ok(rocks) => Ok((Handle::Open(rocks), None)),
        Err(error @ StorageError::Io { .. }) if mode == Mode::Existing => {
            match Rocks::open_accepting(folder, Mode::ReadOnly, accept) {
                Ok(rocks) => Ok((Handle::ReadOnly(rocks, error.to_string()), Some(error))),
                Err(_) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

fn missing(folder: &Path) -> StorageError {
    let detail = "the catalog is missing, and there are collections: restore it, or let \
                  `lanner repair` rebuild it from what is beside the segments";
    let (path, section) = (folder.to_owned(), "CURRENT".to_owned());
    StorageError::Corrupted { path, section, detail: detail.into() }
}

/// Checks that a log with a truncated end has lost nothing that was promised, before RocksDB
/// continues from there. A power loss may truncate what was not synced. RocksDB deletes the logs it
/// has read, and tables that its `MANIFEST` does not name.
///
/// # Errors
/// [`StorageError::Corrupted`] naming the log, and read errors.
fn check_ends(folder: &Path, ends: &[End], promises: &Promises) -> Result<()> {
    check_manifest(folder, ends.iter().find(|end| end.manifest().is_some()), promises)?;
    let cut = ends.iter().find_map(|end| Some((end.cut?, end.path.clone())));
    let Some((at, path)) = cut else { return Ok(()) };
    let missing = match Rocks::open(folder, Mode::ReadOnly) {
        Ok(rocks) => promises.missing(&rocks)?,
        Err(error @ StorageError::Corrupted { .. }) => Some(error.to_string()),
        Err(error) => return Err(error),
    };
    let Some(missing) = missing else { return Ok(()) };
    let detail = format!("at byte {at}: a record is cut short, and {missing}");
    Err(StorageError::Corrupted { path, section: "log".into(), detail })
}

/// Checks that the current `MANIFEST` is not older or shorter than recorded.
fn check_manifest(folder: &Path, manifest: Option<&End>, promises: &Promises) -> Result<()> {
    let Some(noted) = promises.manifest() else { return Ok(()) };
    let named = manifest.and_then(|end| Some((end, end.manifest()?)));
    let corrupted = |path: PathBuf, detail: String| {
        Err(StorageError::Corrupted { path, section: "log".into(), detail })
    };
    match named {
        Some((_, number)) if number > noted.number => Ok(()),
        Some((end, number)) if number == noted.number && end.whole >= noted.bytes => Ok(()),
        Some((end, number)) if number == noted.number => {
            let detail = format!("it ends at byte {} and had {} bytes", end.whole, noted.bytes);
            corrupted(end.path.clone(), detail)
        }
        _ => {
            let detail = format!("it names a MANIFEST before MANIFEST-{:06}", noted.number);
            corrupted(folder.join("CURRENT"), detail)
        }
    }
}

/// The end of the current `MANIFEST`.
fn manifest_end(folder: &Path) -> Option<ManifestEnd> {
    let current = std::fs::read_to_string(folder.join("CURRENT")).ok()?;
    let name = current.trim_end();
    let number = name.strip_prefix("MANIFEST-")?.parse().ok()?;
    let bytes = std::fs::metadata(folder.join(name)).ok()?.len();
    Some(ManifestEnd { number, bytes })
}

fn has_collections(root: &Path) -> bool {
    let entries = std::fs::read_dir(root.join("collections")).into_iter().flatten().flatten();
    let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
    entries.into_iter().any(|entry| entry.file_name().to_str().is_some_and(is_number))
}

fn refused(why: &str) -> StorageError {
    StorageError::ReadOnly { reason: why.to_owned() }
}
