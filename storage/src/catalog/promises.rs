//! Promises: the last durable write and the last durable manifest of each collection.
//!
//! RocksDB cannot distinguish the end of its log from a log that lost its end. So after each synced
//! commit, a few bytes next to the catalog, in `committed/<collection>`, record what must be found
//! when the collection is opened again. They are written in place without a sync: they survive a
//! crash of the process, and after a power loss they are at worst too old, and then promise less
//! than was kept. Damaged bytes promise nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::rocks::Rocks;
use super::{journal, manifest};
use crate::checksum::checksum;
use crate::directory::local::{failed, sync};
use crate::error::Result;
use crate::private;

const MAGIC: &[u8; 8] = b"LANNERCM";
const BYTES: usize = 32;

/// What must be found of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promise {
    /// Sequence number of the last synced write.
    pub sequence: u64,
    /// Version of the last manifest.
    pub version: u64,
}

impl Promise {
    /// The collection was deleted and must not come back.
    pub const DELETED: Self = Self { sequence: u64::MAX, version: u64::MAX };

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            sequence: self.sequence.max(other.sequence),
            version: self.version.max(other.version),
        }
    }

    fn encode(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.version.to_le_bytes());
        let sum = checksum(&bytes[..24]);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let sound = &bytes[..8] == MAGIC && checksum(&bytes[..24]) == number(24);
        sound.then(|| Self { sequence: number(8), version: number(16) })
    }
}

/// RocksDB's current `MANIFEST`, and its length on disk. A truncated `MANIFEST` has lost tables;
/// RocksDB would then delete those and bring back the ones they replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManifestEnd {
    pub number: u64,
    pub bytes: u64,
}

impl ManifestEnd {
    const FILE: &str = "manifest";

    /// Stored as a promise of two numbers.
    fn promise(self) -> Promise {
        Promise { sequence: self.number, version: self.bytes }
    }
}

/// Describes what was promised for a collection but is missing, if anything.
fn lost(rocks: &Rocks, id: u32, promise: Promise) -> Result<Option<String>> {
    let Some(found) = manifest::found(rocks, id)? else {
        let is_gone = promise == Promise::DELETED || manifest::is_dropped(rocks, id)?;
        return Ok((!is_gone).then(|| format!("collection {id} is lost")));
    };
    let Promise { sequence, version } = promise;
    Ok(if promise == Promise::DELETED {
        Some(format!("the deletion of collection {id} is lost"))
    } else if found.version < version {
        let last = found.version;
        Some(format!("version {version} of the manifest of collection {id}, after {last}, is lost"))
    } else if found.sequence < sequence && !journal::holds(rocks, id, sequence)? {
        Some(format!("write {sequence} of collection {id}, which was made durable, is lost"))
    } else {
        None
    })
}

/// The promises for all collections of a database.
#[derive(Debug)]
pub(super) struct Promises {
    folder: PathBuf,
    open: Mutex<BTreeMap<u32, (File, Promise)>>,
}

impl Promises {
    pub fn new(root: &Path) -> Self {
        Self { folder: root.join("committed"), open: Mutex::default() }
    }

    /// The collections with a promise.
    pub fn collections(&self) -> Result<Vec<u32>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &self.folder)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed("list", &self.folder))?.file_name();
            found.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The promise for a collection; the default if it is missing or damaged.
    pub fn read(&self, collection: u32) -> Promise {
        decoded(&self.path(collection)).unwrap_or_default()
    }

    /// Records the end of the current `MANIFEST`, which is on disk up to there.
    pub fn note_manifest(&self, end: ManifestEnd) -> Result<()> {
        let path = self.folder.join(ManifestEnd::FILE);
        private::create_folders(&self.folder).map_err(failed("create folder", &self.folder))?;
        let file = private::file().write(true).create(true).truncate(false).open(&path);
        file.and_then(|file| file.write_all_at(&end.promise().encode(), 0))
            .map_err(failed("write", &path))
    }

    /// The recorded end of the current `MANIFEST`; `None` if it is missing or damaged.
    pub fn manifest(&self) -> Option<ManifestEnd> {
        let Promise { sequence, version } = decoded(&self.folder.join(ManifestEnd::FILE))?;
        Some(ManifestEnd { number: sequence, bytes: version })
    }

    /// Forgets the `MANIFEST`, because another catalog replaces this one.
    pub fn forget_manifest(&self) -> Result<()> {
        remove(&self.folder.join(ManifestEnd::FILE))
    }

    /// Forces the promise of a collection to disk.
    pub fn sync(&self, collection: u32) -> Result<()> {
        match self.open().get(&collection) {
            Some((file, _)) => file.sync_all().map_err(failed("sync", &self.path(collection))),
            None => Ok(()),
        }
    }

    /// Describes the first thing that was promised but is not in the catalog, if any.
    pub fn missing(&self, rocks: &Rocks) -> Result<Option<String>> {
        for collection in self.collections()? {
            // A damaged promise promises nothing; a new collection has one that promises its
            // creation.
            let Some(promise) = decoded(&self.path(collection)) else { continue };
            if let Some(lost) = lost(rocks, collection, promise)? {
                return Ok(Some(lost));
            }
        }
        Ok(None)
    }

    /// Raises a promise. If it cannot be written, less is promised than was kept, which loses
    /// nothing.
    pub fn keep(&self, collection: u32, promise: Promise) -> Result<()> {
        let mut open = self.open();
        let (file, kept) = match open.entry(collection) {
            std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert((self.create(collection)?, self.read(collection)))
            }
        };
        let next = kept.and(promise);
        if next != *kept {
            let path = self.path(collection);
            file.write_all_at(&next.encode(), 0).map_err(failed("write", &path))?;
            *kept = next;
        }
        Ok(())
    }

    /// Replaces a promise by what was found, after a repair.
    pub fn replace(&self, collection: u32, promise: Promise) -> Result<()> {
        self.forget(collection)?;
        self.keep(collection, promise)
    }

    /// Removes the promise of a deleted collection.
    pub fn forget(&self, collection: u32) -> Result<()> {
        self.open().remove(&collection);
        remove(&self.path(collection))
    }

    /// Opens the file of a collection, creating it with an empty promise. Its name is then durable.
    fn create(&self, collection: u32) -> Result<File> {
        let path = self.path(collection);
        let open = |create| private::file().write(true).create_new(create).open(&path);
        match open(false) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("open", &path)(error));
            }
            Err(_) => {}
        }
        private::create_folders(&self.folder).map_err(failed("create folder", &self.folder))?;
        let file = open(true).map_err(failed("create", &path))?;
        file.write_all_at(&Promise::default().encode(), 0)
            .and_then(|()| file.sync_all())
            .map_err(failed("write", &path))?;
        sync(&self.folder)?;
        self.folder.parent().map_or(Ok(()), sync)?;
        Ok(file)
    }

    fn path(&self, collection: u32) -> PathBuf {
        self.folder.join(collection.to_string())
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u32, (File, Promise)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Decodes the promise in a file; `None` if it is missing or damaged.
fn decoded(path: &Path) -> Option<Promise> {
    Promise::decode(&fs::read(path).ok()?)
}

/// Removes a file, if it exists.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_only_grow_and_damage_promises_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let promises = Promises::new(folder.path());
        assert!(promises.collections().unwrap().is_empty());
        promises.keep(7, Promise { sequence: 5, version: 1 }).unwrap();
        promises.keep(7, Promise { sequence: 3, version: 2 }).unwrap();
        let kept = Promise { sequence: 5, version: 2 };
        assert_eq!(Promises::new(folder.path()).read(7), kept);
        let path = folder.path().join("committed/7");
        let sound = fs::read(&path).unwrap();
        for at in 0..BYTES {
            let mut bytes = sound.clone();
            bytes[at] ^= 4;
            fs::write(&path, &bytes).unwrap();
            assert_eq!(promises.read(7), Promise::default(), "byte {at}");
            fs::write(&path, &sound[..at]).unwrap();
            assert_eq!(promises.read(7), Promise::default(), "cut at {at}");
        }
        fs::write(&path, &sound).unwrap();
        assert_eq!(promises.collections().unwrap(), [7]);
        // A second process, or this one after reopening, continues where the first stopped.
        let again = Promises::new(folder.path());
        again.keep(7, Promise { sequence: 6, version: 0 }).unwrap();
        assert_eq!(again.read(7), Promise { sequence: 6, version: 2 });
        again.replace(7, Promise { sequence: 1, version: 1 }).unwrap();
        assert_eq!(again.read(7), Promise { sequence: 1, version: 1 });
        again.forget(7).unwrap();
        assert!(again.collections().unwrap().is_empty());
    }
}
