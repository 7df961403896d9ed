//! The journal: operations by collection and sequence number, until they are in a segment.

use super::{Batch, Catalog, Space};
use crate::error::{Result, StorageError};

/// Big-endian, so that keys sort by collection and then by sequence number.
fn key(collection: u32, sequence: u64) -> Vec<u8> {
    [&collection.to_be_bytes()[..], &sequence.to_be_bytes()[..]].concat()
}

impl Batch {
    /// Appends an operation under its sequence number.
    pub fn append_journal(&mut self, collection: u32, sequence: u64, record: Vec<u8>) {
        self.put(Space::Journal, key(collection, sequence), record);
    }

    /// Deletes the operations up to and including `through`.
    pub fn truncate_journal(&mut self, collection: u32, through: u64) {
        let end = key(collection, through.saturating_add(1));
        self.delete_range(Space::Journal, key(collection, 0), end);
    }

    /// Deletes all operations of a collection.
    pub(super) fn drop_journal(&mut self, collection: u32) {
        let end = key(collection.saturating_add(1), 0);
        self.delete_range(Space::Journal, key(collection, 0), end);
    }
}

impl Catalog {
    /// Visits the operations after `after`, in order, until `visit` fails.
    ///
    /// # Errors
    /// Those of `visit`, and [`StorageError::Catalog`] if the journal cannot be read.
    pub fn replay_journal<E: From<StorageError>>(
        &self,
        collection: u32,
        after: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let from = key(collection, after.saturating_add(1));
        let to = key(collection.saturating_add(1), 0);
        self.scan(Space::Journal, &from, &to, |key, record| {
            let sequence = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
            visit(sequence, record)
        })
    }

    /// Gives the space of operations up to and including `through` back to the disk, after a
    /// batch that deleted them was committed.
    ///
    /// # Errors
    /// [`StorageError::Catalog`] if RocksDB refuses.
    pub fn reclaim_journal(&self, collection: u32, through: u64) -> Result<()> {
        self.reclaim(Space::Journal, &key(collection, 0), &key(collection, through))
    }
}
