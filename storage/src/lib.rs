//! Storage for Lanner: checksummed, memory-mapped section files for immutable data, and a RocksDB
//! catalog for state that must change atomically.
//!
//! This crate deals in named, aligned, checksummed bytes; it knows nothing about vectors.
//!
//! * [`Directory`] defines durability for sealed files, and [`Blob`] how they are read.
//!   [`LocalDirectory`] maps files, [`MemoryDirectory`] behaves like an object store, and
//!   [`FaultyDirectory`] injects crashes and power loss.
//! * [`SectionWriter`] and [`SectionFile`] write and read the files of sealed segments.
//! * [`Catalog`] holds collections, manifests, tombstones and the journal.
//! * [`DatabaseLock`] and [`identity`] guard the folder of a database.

// Input from users, files or the network must never cause a panic.
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
pub use mapped_file::{MappedFile, SharedBytes};
pub use section_file::{
    FORMAT, FileSummary, MAX_NAME_BYTES, Section, SectionFile, SectionInfo, SectionWriter,
};
