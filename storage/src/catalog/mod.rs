//! The catalog: what must change atomically, in RocksDB.
//!
//! Two key spaces. *Meta* holds the collections, their manifests and tombstones; *journal* holds
//! the operations that are not yet in a sealed segment. A [`Batch`] spans both and is applied
//! whole or not at all, also across a crash. Nothing outside this file names RocksDB.

mod journal;
mod manifest;

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, DBCompressionType, IteratorMode, Options, ReadOptions};
use rocksdb::{WriteBatch, WriteOptions};

pub use self::manifest::{CalibrationEntry, FileEntry, IndexEntry, Manifest, QueriesEntry, SegmentEntry};
use crate::error::{Result, StorageError};
use crate::private;

const META: &str = "meta";
const JOURNAL: &str = "journal";

/// Memory one journal table may take before RocksDB writes it out, in bytes.
const JOURNAL_BUFFER_BYTES: usize = 64 << 20;
const META_BUFFER_BYTES: usize = 8 << 20;

/// The RocksDB database of one Lanner database.
#[derive(Debug)]
pub struct Catalog {
    db: DB,
}

/// Whether a commit waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// The commit returns after the data was forced to the disk: it survives power loss.
    Yes,
    /// The commit returns after the data was handed to the operating system: it survives the
    /// death of the process, not the loss of power.
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Meta,
    Journal,
}

/// Changes that are applied together or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Put(Space, Vec<u8>, Vec<u8>),
    Delete(Space, Vec<u8>),
    DeleteRange(Space, Vec<u8>, Vec<u8>),
}

impl Batch {
    /// No changes yet.
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
}

impl Catalog {
    /// Opens the catalog in `folder`, creating it if it is not there.
    ///
    /// The caller holds the database lock: a catalog has one owner.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] if RocksDB cannot open or recover the folder.
    pub fn open(folder: &Path) -> Result<Self> {
        // RocksDB would let everybody read it.
        private::create_folders(folder)
            .map_err(crate::directory::local::failed("create folder", folder))?;
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_keep_log_file_num(4);
        options.set_max_total_wal_size(4 * JOURNAL_BUFFER_BYTES as u64);
        let mut meta = Options::default();
        meta.set_write_buffer_size(META_BUFFER_BYTES);
        meta.set_compression_type(DBCompressionType::Lz4);
        // Journal entries are large, incompressible and soon deleted as a range.
        let mut journal = Options::default();
        journal.set_write_buffer_size(JOURNAL_BUFFER_BYTES);
        journal.set_compression_type(DBCompressionType::None);
        let families = [
            ColumnFamilyDescriptor::new(META, meta),
            ColumnFamilyDescriptor::new(JOURNAL, journal),
        ];
        let db = DB::open_cf_descriptors(&options, folder, families).map_err(failed("open"))?;
        Ok(Self { db })
    }

    /// Applies a batch atomically.
    ///
    /// # Errors
    /// [`StorageError::Catalog`]; whether the batch will be there after a restart is then
    /// unknown, so the caller must stop writing.
    pub fn commit(&self, batch: Batch, sync: Sync) -> Result<()> {
        let mut write = WriteBatch::default();
        for change in batch.changes {
            match change {
                Change::Put(space, key, value) => write.put_cf(self.family(space)?, key, value),
                Change::Delete(space, key) => write.delete_cf(self.family(space)?, key),
                Change::DeleteRange(space, from, to) => {
                    write.delete_range_cf(self.family(space)?, from, to);
                }
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(sync == Sync::Yes);
        self.db.write_opt(write, &options).map_err(failed("commit"))
    }

    /// Forces everything committed so far to the disk.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] if the disk refuses.
    pub fn sync(&self) -> Result<()> {
        self.db.flush_wal(true).map_err(failed("sync"))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db.get_cf(self.family(space)?, key).map_err(failed("read"))
    }

    /// Visits the entries with `from <= key < to` in key order, until `visit` fails.
    fn scan<E: From<StorageError>>(
        &self,
        space: Space,
        from: &[u8],
        to: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(from);
        options.set_iterate_upper_bound(to);
        for entry in self.db.iterator_cf_opt(self.family(space)?, options, IteratorMode::Start) {
            let (key, value) = entry.map_err(failed("scan"))?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    /// Drops whole files of a range that was deleted, so that its space returns at once.
    fn reclaim(&self, space: Space, from: &[u8], to: &[u8]) -> Result<()> {
        let family = self.family(space)?;
        self.db.delete_file_in_range_cf(family, from, to).map_err(failed("reclaim"))
    }

    fn family(&self, space: Space) -> Result<&rocksdb::ColumnFamily> {
        let name = match space {
            Space::Meta => META,
            Space::Journal => JOURNAL,
        };
        self.db.cf_handle(name).ok_or_else(|| StorageError::Catalog {
            op: "open",
            detail: format!("column family `{name}` is missing"),
        })
    }
}

fn failed(op: &'static str) -> impl Fn(rocksdb::Error) -> StorageError {
    move |error| StorageError::Catalog { op, detail: error.into_string() }
}
