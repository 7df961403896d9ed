//! The journal: operations by collection and sequence number, kept until they are in a segment.
//!
//! Each record is followed by its own checksum, over key and bytes, and sequence numbers have no
//! gaps. Whatever RocksDB may lose or mix up, a replay never silently skips an operation.

use super::rocks::Rocks;
use super::{Batch, Catalog, Promise, Space};
use crate::checksum::RunningChecksum;
use crate::error::{Result, StorageError};

/// Big-endian, so that keys sort by collection and then by sequence number.
fn key(collection: u32, sequence: u64) -> Vec<u8> {
    [&collection.to_be_bytes()[..], &sequence.to_be_bytes()[..]].concat()
}

fn record_checksum(key: &[u8], record: &[u8]) -> [u8; 8] {
    let mut sum = RunningChecksum::default();
    sum.update(key);
    sum.update(record);
    sum.finish().to_le_bytes()
}

/// True if the operation exists.
pub(super) fn holds(rocks: &Rocks, collection: u32, sequence: u64) -> Result<bool> {
    Ok(rocks.get(Space::Journal, &key(collection, sequence))?.is_some())
}

impl Batch {
    /// Appends an operation under its sequence number.
    pub fn append_journal(&mut self, collection: u32, sequence: u64, mut record: Vec<u8>) {
        let key = key(collection, sequence);
        let sum = record_checksum(&key, &record);
        record.extend(sum);
        self.put(Space::Journal, key, record);
        self.promise(collection, Promise { sequence, version: 0 });
    }

    /// Deletes the operations up to and including `through`.
    pub fn truncate_journal(&mut self, collection: u32, through: u64) {
        let end = key(collection, through.saturating_add(1));
        self.delete_range(Space::Journal, key(collection, 0), end);
    }

    /// Deletes all operations of a collection.
    pub fn drop_journal(&mut self, collection: u32) {
        let end = key(collection.saturating_add(1), 0);
        self.delete_range(Space::Journal, key(collection, 0), end);
    }
}

impl Catalog {
    /// Visits the operations after `after`, in order, until `visit` fails.
    ///
    /// # Errors
    /// Those of `visit`, and [`StorageError::Corrupted`] if an operation is missing or damaged.
    pub fn replay_journal<E: From<StorageError>>(
        &self,
        collection: u32,
        after: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut expected = after.saturating_add(1);
        self.visit_journal(collection, after, |sequence, record| {
            if sequence != expected {
                let detail = format!("write {expected} is missing, the next is {sequence}");
                return Err(self.corrupted("journal", detail).into());
            }
            let Some(record) = record else {
                let detail = format!("write {sequence}: the checksum does not match");
                return Err(self.corrupted("journal", detail).into());
            };
            expected = expected.saturating_add(1);
            visit(sequence, record)
        })
    }

    /// Visits all operations after `after`, in order, skipping missing ones; `None` stands for a
    /// damaged one.
    ///
    /// # Errors
    /// Those of `visit`, and read errors.
    pub fn visit_journal<E: From<StorageError>>(
        &self,
        collection: u32,
        after: u64,
        mut visit: impl FnMut(u64, Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        let from = key(collection, after.saturating_add(1));
        let to = key(collection.saturating_add(1), 0);
        self.scan(Space::Journal, &from, &to, |key, value| {
            let sequence = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
            let sound = |(record, sum): &(&[u8], &[u8; 8])| record_checksum(key, record) == **sum;
            visit(sequence, value.split_last_chunk::<8>().filter(sound).map(|(record, _)| record))
        })
    }

    /// Releases the disk space of operations up to and including `through`, after the batch that
    /// deleted them was committed.
    ///
    /// # Errors
    /// [`StorageError`] if RocksDB fails.
    pub fn reclaim_journal(&self, collection: u32, through: u64) -> Result<()> {
        self.reclaim(Space::Journal, &key(collection, 0), &key(collection, through))
    }
}
