//! Storage for Lanner: checksummed, memory-mapped section files for what never changes, and a
//! RocksDB catalog for what must change atomically.
//!
//! This crate knows named, aligned, checksummed bytes, and never what a vector is.
//!
//! * [`Directory`] says what durable means for sealed files, and [`Blob`] how they are read.
//!   [`LocalDirectory`] maps files, [`MemoryDirectory`] behaves as an object store, and
//!   [`FaultyDirectory`] breaks the contract on purpose.
//! * [`SectionWriter`] and [`SectionFile`] write and read the files of sealed segments.
//! * [`Catalog`] holds collections, manifests, tombstones and the journal.
//! * [`DatabaseLock`] and [`identity`] guard the folder of a database.

// Nothing that comes from a user, a file or the network may panic.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod blob;
mod catalog;
mod checksum;
mod directory;
mod error;
pub mod identity;
mod lock;
mod mapped_file;
mod private;
pub mod repair_notes;
mod section_file;

pub use blob::{Access, Blob, BlobReader};
pub use bytes::Bytes;
pub use catalog::{
    Batch, CalibrationEntry, Catalog, CollectionCopy, CommitFault, CommitFaults, FileEntry,
    IndexEntry, Listed, Manifest, Promise, QueriesEntry, SegmentEntry, Sync, copies_after,
    read_collection_copy, remove_collection_copy, salvage, settle_collection_copies,
    write_collection_copy,
};
pub use directory::{
    Directory, FaultyDirectory, LocalDirectory, MemoryDirectory, WriteFile, check_path,
    move_to_lost, numbered, write_folder,
};
pub use error::{Result, StorageError};
pub use lock::DatabaseLock;
pub use mapped_file::MappedFile;
pub use section_file::{
    FORMAT, FileSummary, MAX_NAME_BYTES, Section, SectionFile, SectionInfo, SectionWriter,
};
