//! What was promised: for each collection the last write and the last manifest that are durable.
//!
//! RocksDB cannot tell the end of its log from the place where the rest of it was lost. So after
//! each synced commit a few bytes beside the catalog, in `committed/<collection>`, say what must be
//! found when the collection is opened again. They are written in place and not forced to the
//! disk: the death of the process does not lose them, and after a loss of power they are at most
//! too old, which promises less than was kept. Bytes that are damaged promise nothing.

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
    /// The last write that was forced to the disk.
    pub sequence: u64,
    /// The version of the last manifest.
    pub version: u64,
}

impl Promise {
    /// A collection that was deleted must not come back.
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

/// The `MANIFEST` of RocksDB that was in use, and how much of it was on the disk. A `MANIFEST` that has lost its
/// end has lost tables, which RocksDB then removes, and brings back what they replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ManifestEnd {
    pub number: u64,
    pub bytes: u64,
}

impl ManifestEnd {
    const FILE: &str = "manifest";

    /// As a promise, whose two numbers these are.
    fn promise(self) -> Promise {
        Promise { sequence: self.number, version: self.bytes }
    }
}

/// What is missing of what was promised of a collection, if anything.
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

/// The promises of all collections of a database.
#[derive(Debug)]
pub(super) struct Promises {
    folder: PathBuf,
    open: Mutex<BTreeMap<u32, (File, Promise)>>,
}

impl Promises {
    pub fn new(root: &Path) -> Self {
        Self { folder: root.join("committed"), open: Mutex::default() }
    }

    /// The collections that were promised anything.
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

    /// What was promised of a collection; nothing if that is missing or damaged.
    pub fn read(&self, collection: u32) -> Promise {
        decoded(&self.path(collection)).unwrap_or_default()
    }

    /// Notes how far the `MANIFEST` in use goes, of which as much is on the disk.
    pub fn note_manifest(&self, end: ManifestEnd) -> Result<()> {
        let path = self.folder.join(ManifestEnd::FILE);
        private::create_folders(&self.folder).map_err(failed("create folder", &self.folder))?;
        let file = private::file().write(true).create(true).truncate(false).open(&path);
        file.and_then(|file| file.write_all_at(&end.promise().encode(), 0))
            .map_err(failed("write", &path))
    }

    /// What was noted of the `MANIFEST` in use; `None` if nothing was, or that is damaged.
    pub fn manifest(&self) -> Option<ManifestEnd> {
        let Promise { sequence, version } = decoded(&self.folder.join(ManifestEnd::FILE))?;
        Some(ManifestEnd { number: sequence, bytes: version })
    }

    /// Forgets the `MANIFEST`, since another catalog takes the place of this one.
    pub fn forget_manifest(&self) -> Result<()> {
        remove(&self.folder.join(ManifestEnd::FILE))
    }

    /// Forces what was promised of a collection to the disk.
    pub fn sync(&self, collection: u32) -> Result<()> {
        match self.open().get(&collection) {
            Some((file, _)) => file.sync_all().map_err(failed("sync", &self.path(collection))),
            None => Ok(()),
        }
    }

    /// What was promised and is not in the catalog, if anything.
    pub fn missing(&self, rocks: &Rocks) -> Result<Option<String>> {
        for collection in self.collections()? {
            // What is damaged promises nothing; a collection that was just made was promised.
            let Some(promise) = decoded(&self.path(collection)) else { continue };
            if let Some(lost) = lost(rocks, collection, promise)? {
                return Ok(Some(lost));
            }
        }
        Ok(None)
    }

    /// Keeps a promise on top of what was promised before. If it cannot be written, less is
    /// promised than is kept, which loses nothing.
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

    /// Replaces what was promised by what is there, after a repair.
    pub fn replace(&self, collection: u32, promise: Promise) -> Result<()> {
        self.forget(collection)?;
        self.keep(collection, promise)
    }

    /// Forgets a collection that was deleted.
    pub fn forget(&self, collection: u32) -> Result<()> {
        self.open().remove(&collection);
        remove(&self.path(collection))
    }

    /// Opens the file of a collection, making it with a promise of nothing. Its name is durable.
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

/// What a file promises; `None` if it is missing or damaged.
fn decoded(path: &Path) -> Option<Promise> {
    Promise::decode(&fs::read(path).ok()?)
}

/// Removes a file, which may be missing.
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
        // A second process, or this one after reopening, goes on where the first stopped.
        let again = Promises::new(folder.path());
        again.keep(7, Promise { sequence: 6, version: 0 }).unwrap();
        assert_eq!(again.read(7), Promise { sequence: 6, version: 2 });
        again.replace(7, Promise { sequence: 1, version: 1 }).unwrap();
        assert_eq!(again.read(7), Promise { sequence: 1, version: 1 });
        again.forget(7).unwrap();
        assert!(again.collections().unwrap().is_empty());
    }
}
