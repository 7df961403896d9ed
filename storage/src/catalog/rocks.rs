//! RocksDB behind the few operations that the catalog needs. The only file that names it.
//!
//! RocksDB detects damaged tables by their checksums. Its logs are first checked by our own reader
//! (`log_check`): RocksDB's reader takes some damaged headers for the end of a log, and loops
//! forever on one kind of them.

use std::io;
use std::path::{Path, PathBuf};

use rocksdb::{
    ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, IteratorMode, Options,
    ReadOptions, WriteBatch, WriteOptions,
};

use super::log_check::{self, End};
use super::{Change, Space, Sync};
use crate::directory::local::failed;
use crate::error::{Result, StorageError};
use crate::private;

const META: &str = "meta";
const JOURNAL: &str = "journal";

/// Memory of one journal memtable before RocksDB flushes it, in bytes.
const JOURNAL_BUFFER_BYTES: usize = 64 << 20;
const META_BUFFER_BYTES: usize = 8 << 20;

/// Mode of opening a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Create the folder if it is missing.
    Create,
    /// The folder must exist.
    Existing,
    /// The folder must exist; nothing is written.
    ReadOnly,
    /// The folder must exist, without its logs, which are kept elsewhere.
    WithoutLogs,
}

/// An open RocksDB database.
#[derive(Debug)]
pub(super) struct Rocks {
    folder: PathBuf,
    db: DB,
}

impl Rocks {
    pub fn open(folder: &Path, mode: Mode) -> Result<Self> {
        Self::open_accepting(folder, mode, &|_| Ok(()))
    }

    /// Opens a folder if its logs are sound and `accept` accepts where they end.
    pub fn open_accepting(
        folder: &Path,
        mode: Mode,
        accept: &dyn Fn(&[End]) -> Result<()>,
    ) -> Result<Self> {
        if mode == Mode::Create {
            // RocksDB would create it readable by everyone.
            private::create_folders(folder).map_err(failed("create folder", folder))?;
        }
        accept(&log_check::check_logs(folder)?)?;
        let mut options = Options::default();
        options.create_if_missing(mode == Mode::Create);
        options.create_missing_column_families(mode == Mode::Create);
        options.set_keep_log_file_num(4);
        options.set_max_total_wal_size(4 * JOURNAL_BUFFER_BYTES as u64);
        // A log may end in a truncated record. Anything else is an error, and not, as by default,
        // the point at which recovery stops.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_track_and_verify_wals_in_manifest(mode != Mode::WithoutLogs);
        options.set_paranoid_checks(true);
        let families = [
            ColumnFamilyDescriptor::new(META, meta_options()),
            ColumnFamilyDescriptor::new(JOURNAL, journal_options()),
        ];
        let opened = match mode {
            Mode::ReadOnly => DB::open_cf_descriptors_read_only(&options, folder, families, false),
            _ => DB::open_cf_descriptors(&options, folder, families),
        };
        let db = opened.map_err(|error| explain(folder, "open", error))?;
        Ok(Self { folder: folder.to_owned(), db })
    }

    /// Rebuilds a folder from its sound tables and logs.
    pub fn repair(folder: &Path) -> Result<()> {
        let mut options = Options::default();
        options.set_paranoid_checks(false);
        DB::repair(&options, folder).map_err(|error| explain(folder, "repair", error))
    }

    pub fn write(&self, changes: Vec<Change>, sync: Sync) -> Result<()> {
        let mut write = WriteBatch::default();
        for change in changes {
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
        self.db.write_opt(write, &options).map_err(self.failed("commit"))
    }

    pub fn sync(&self) -> Result<()> {
        self.db.flush_wal(true).map_err(self.failed("sync"))
    }

    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.db.get_cf(self.family(space)?, key).map_err(self.failed("read"))
    }

    pub fn scan<E: From<StorageError>>(
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
            let (key, value) = entry.map_err(self.failed("read"))?;
            visit(&key, &value)?;
        }
        Ok(())
    }

    /// Reads everything once.
    pub fn check(&self) -> Result<()> {
        for space in [Space::Meta, Space::Journal] {
            // Greater than any key.
            self.scan(space, &[], &[0xff; 64], |_, _| Ok::<_, StorageError>(()))?;
        }
        Ok(())
    }

    /// Deletes whole files within a deleted range.
    pub fn reclaim(&self, space: Space, from: &[u8], to: &[u8]) -> Result<()> {
        let family = self.family(space)?;
        self.db.delete_file_in_range_cf(family, from, to).map_err(self.failed("reclaim"))
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

    fn failed(&self, op: &'static str) -> impl Fn(rocksdb::Error) -> StorageError + '_ {
        move |error| explain(&self.folder, op, error)
    }
}

fn meta_options() -> Options {
    let mut meta = Options::default();
    meta.set_write_buffer_size(META_BUFFER_BYTES);
    meta.set_compression_type(DBCompressionType::Lz4);
    meta
}

fn journal_options() -> Options {
    // Journal entries are large, incompressible and soon deleted by range.
    let mut journal = Options::default();
    journal.set_write_buffer_size(JOURNAL_BUFFER_BYTES);
    journal.set_compression_type(DBCompressionType::None);
    journal
}

/// Maps a RocksDB error, separating damage and disk failures from everything else.
fn explain(folder: &Path, op: &'static str, error: rocksdb::Error) -> StorageError {
    let (kind, path, detail) = (error.kind(), folder.to_owned(), error.into_string());
    // While opening, a missing file or column family means damage.
    let missing = op == "open" && io_kind(&detail) == io::ErrorKind::NotFound;
    let incomplete = op == "open" && kind == rocksdb::ErrorKind::InvalidArgument;
    match kind {
        rocksdb::ErrorKind::Corruption => {
            StorageError::Corrupted { path, section: "records".into(), detail }
        }
        _ if missing || incomplete => {
            StorageError::Corrupted { path, section: "files".into(), detail }
        }
        rocksdb::ErrorKind::IOError => {
            let source = io::Error::new(io_kind(&detail), detail);
            StorageError::Io { op, path, source }
        }
        _ => StorageError::Catalog { op, detail },
    }
}

/// RocksDB passes on system errors only as text.
fn io_kind(text: &str) -> io::ErrorKind {
    const TEXTS: [(&str, io::ErrorKind); 5] = [
        ("No space left on device", io::ErrorKind::StorageFull),
        ("Disk quota exceeded", io::ErrorKind::QuotaExceeded),
        ("Read-only file system", io::ErrorKind::ReadOnlyFilesystem),
        ("Permission denied", io::ErrorKind::PermissionDenied),
        ("No such file or directory", io::ErrorKind::NotFound),
    ];
    let found = TEXTS.iter().find(|(part, _)| text.contains(part));
    found.map_or(io::ErrorKind::Other, |(_, kind)| *kind)
}
