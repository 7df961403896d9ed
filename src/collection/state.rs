//! The writer's state of a collection: its segments, and how operations change them.
//!
//! An id has exactly one live row. A newer row tombstones the older one when it is applied, so that
//! queries need not compare versions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanner_storage::{Batch, Manifest};
use roaring::RoaringBitmap;

use super::record::Operation;
use crate::error::{Error, Result};
use crate::jobs::REWRITE_DELETED_SHARE;
use crate::model::{CollectionConfig, DeclaredPath, PointBatch, PointId};
use crate::segment::{
    BuildSource, MutableReader, MutableSegment, RowIds, RowPayloads, SealedSegment, SegmentReader,
    Snapshot, View,
};

/// A segment in memory that is large enough for an index is sealed early once queries have scanned
/// this many bytes of it and `DEAR_AFTER` has passed.
const DEAR_BYTES: u64 = 16 << 30;
const DEAR_AFTER: Duration = Duration::from_secs(10);

/// A sealed segment and its tombstones.
#[derive(Debug, Clone)]
pub struct SealedSlot {
    /// The segment.
    pub segment: Arc<SealedSegment>,
    /// Its deleted rows.
    pub deleted: Arc<RoaringBitmap>,
    /// Whether the tombstones changed since they were last written to the catalog.
    pub dirty: bool,
}

impl SealedSlot {
    /// The source of a build.
    pub fn source(&self) -> BuildSource {
        BuildSource { reader: self.segment.clone(), deleted: self.deleted.clone() }
    }

    /// Share of deleted rows.
    pub fn deleted_share(&self) -> f64 {
        self.deleted.len() as f64 / f64::from(self.segment.rows().max(1))
    }
}

/// A segment in memory and its tombstones.
#[derive(Debug, Clone, Default)]
pub struct MemorySlot {
    /// The segment.
    pub segment: Arc<MutableSegment>,
    /// Its deleted rows.
    pub deleted: Arc<RoaringBitmap>,
    /// Sequence number of the last operation applied while this was the newest segment.
    pub last_sequence: u64,
    /// Journal bytes that can be dropped once this is sealed.
    pub journal_bytes: u64,
    /// Time of its first operation, and the number of queries the collection had answered by then.
    pub begun: Option<(Instant, u64)>,
}

impl MemorySlot {
    /// Whether it is large enough to be sealed.
    pub fn is_full(&self, seal_bytes: u64) -> bool {
        self.segment.size_bytes().max(self.journal_bytes) >= seal_bytes
    }

    /// Whether queries have scanned it so often that it should be sealed early; `answered` counts
    /// all queries of the collection.
    pub fn is_dear(&self, index_rows: u32, answered: u64, now: Instant) -> bool {
        let Some((begun, before)) = self.begun else { return false };
        let live = u64::from(self.segment.rows()) - self.deleted.len();
        let scanned = answered.saturating_sub(before).saturating_mul(self.segment.size_bytes());
        live >= u64::from(index_rows) && scanned >= DEAR_BYTES && now - begun >= DEAR_AFTER
    }

    fn view(&self) -> View {
        View { reader: Arc::new(self.reader()), deleted: self.deleted.clone() }
    }

    fn reader(&self) -> MutableReader {
        MutableReader::new(self.segment.clone(), self.segment.rows())
    }

    /// The source of a build.
    pub fn source(&self) -> BuildSource {
        BuildSource { reader: Arc::new(self.reader()), deleted: self.deleted.clone() }
    }
}

/// The segments of a collection: sealed, frozen (waiting to be sealed), and the active one.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    /// The catalog's record of the sealed segments.
    pub manifest: Manifest,
    /// The collection's settings.
    pub config: Arc<CollectionConfig>,
    /// Sealed segments, in the order of the manifest.
    pub sealed: Vec<SealedSlot>,
    /// Full segments in memory, oldest first.
    pub frozen: Vec<MemorySlot>,
    /// The segment that takes new points.
    pub active: MemorySlot,
    /// Sequence number of the last operation.
    pub sequence: u64,
}

impl Segments {
    /// Applies an operation; returns the number of points written or deleted.
    ///
    /// # Errors
    /// If a sealed file turns out damaged while an id is looked up.
    pub fn apply(&mut self, sequence: u64, operation: Operation) -> Result<u64> {
        self.sequence = sequence;
        self.active.last_sequence = sequence;
        match operation {
            Operation::Upsert(points) => self.upsert(points),
            Operation::Delete(ids) => {
                let mut deleted = 0;
                for id in &ids {
                    deleted += u64::from(self.delete(id)?);
                }
                Ok(deleted)
            }
        }
    }

    fn upsert(&mut self, points: PointBatch) -> Result<u64> {
        for id in &points.ids {
            self.delete(id)?;
        }
        let rows = self.active.segment.append(points);
        let written = u64::from(rows.end - rows.start);
        for row in rows.clone() {
            // Only for ids repeated within this batch: earlier rows are deleted already.
            if let Some(previous) = self.active.segment.previous(row)
                && previous >= rows.start
            {
                Arc::make_mut(&mut self.active.deleted).insert(previous);
            }
        }
        Ok(written)
    }

    /// Tombstones the live row of an id; `false` if there is none.
    fn delete(&mut self, id: &PointId) -> Result<bool> {
        for slot in self.frozen.iter_mut().chain([&mut self.active]).rev() {
            // If an id is in memory, all its older rows are tombstoned already.
            if let Some(row) = slot.segment.find(id) {
                return Ok(mark(&mut slot.deleted, row));
            }
        }
        for slot in self.sealed.iter_mut().rev() {
            if let Some(row) = slot.segment.find(id)?
                && mark(&mut slot.deleted, row)
            {
                slot.dirty = true;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Freezes the active segment for sealing, unless it is empty.
    pub fn freeze(&mut self) {
        if self.active.last_sequence > 0 {
            self.frozen.push(std::mem::take(&mut self.active));
        }
    }

    /// Bytes in memory: of the active segment, and of the frozen ones.
    pub fn unsealed_bytes(&self) -> (u64, u64) {
        let of = |slot: &MemorySlot| slot.segment.size_bytes();
        (of(&self.active), self.frozen.iter().map(of).sum())
    }

    /// Whether a sealed segment has enough deleted rows to be worth rewriting.
    pub fn is_worn(&self) -> bool {
        self.sealed.iter().any(|slot| slot.deleted_share() >= REWRITE_DELETED_SHARE)
    }

    /// The snapshot for queries.
    pub fn snapshot(&self) -> Snapshot {
        let sealed = self
            .sealed
            .iter()
            .map(|slot| View { reader: slot.segment.clone(), deleted: slot.deleted.clone() });
        let memory = self.frozen.iter().chain([&self.active]).map(MemorySlot::view);
        let views = sealed.chain(memory).filter(|view| view.live_rows() > 0).collect();
        Snapshot { sequence: self.sequence, config: self.config.clone(), views }
    }

    /// Declared paths that some sealed segments have no column for, with the number of these
    /// segments.
    pub fn pending_paths(&self) -> BTreeMap<String, usize> {
        let missing = |path: &DeclaredPath| {
            self.sealed.iter().filter(|slot| !slot.segment.has_column(path)).count()
        };
        let paths =
            self.config.declared_paths().map(|path| (path.name.to_string(), missing(&path)));
        paths.filter(|(_, segments)| *segments > 0).collect()
    }

    /// Adds the catalog's changes for the segments to a batch.
    ///
    /// # Errors
    /// If a value cannot be encoded.
    pub fn persist(&self, collection: u32, batch: &mut Batch) -> Result<()> {
        batch.put_manifest(collection, &self.manifest)?;
        for slot in self.sealed.iter().filter(|slot| slot.dirty) {
            let mut bytes = Vec::with_capacity(slot.deleted.serialized_size());
            slot.deleted
                .serialize_into(&mut bytes)
                .map_err(|error| Error::Internal(format!("cannot encode tombstones: {error}")))?;
            batch.put_tombstones(collection, slot.segment.entry().number, bytes);
        }
        Ok(())
    }

    /// Records that the changes of [`Self::persist`] were committed.
    pub fn persisted(&mut self) {
        for slot in &mut self.sealed {
            slot.dirty = false;
        }
    }
}

/// Inserts into a shared bitmap; `false` if the row was in it.
fn mark(deleted: &mut Arc<RoaringBitmap>, row: u32) -> bool {
    !deleted.contains(row) && Arc::make_mut(deleted).insert(row)
}

/// The tombstones of a segment built from `sources`, given their tombstones `now`.
pub fn translate(sources: &[BuildSource], now: &[Arc<RoaringBitmap>]) -> RoaringBitmap {
    let mut translated = RoaringBitmap::new();
    let mut base = 0;
    for (source, now) in sources.iter().zip(now) {
        for row in (&**now - &*source.deleted).iter() {
            translated.insert(base + source.live().rank(row));
        }
        base += source.live_rows() as u32;
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metric, Point, PointBatchBuilder, VectorField};

    #[test]
    fn when_a_segment_in_memory_is_sealed() {
        let config = CollectionConfig::new().with_field("v", VectorField::single(4, Metric::Dot));
        let mut builder = PointBatchBuilder::new(&config);
        for id in 0..100_u64 {
            builder.push(Point::new(id).with_vector("v", vec![1.0; 4])).unwrap();
        }
        let mut slot = MemorySlot::default();
        slot.segment.append(builder.finish());
        let bytes = slot.segment.size_bytes();
        assert!(slot.is_full(bytes) && !slot.is_full(bytes + 1));
        slot.journal_bytes = bytes + 1;
        assert!(slot.is_full(bytes + 1), "a journal of deletions");
        let begun = Instant::now();
        let (later, often) = (begun + DEAR_AFTER, DEAR_BYTES / bytes + 1);
        assert!(!slot.is_dear(100, often, later), "no query was counted");
        slot.begun = Some((begun, 5));
        assert!(slot.is_dear(100, often + 5, later));
        assert!(!slot.is_dear(100, often, later), "too few queries since");
        assert!(!slot.is_dear(100, often + 5, begun), "just begun");
        Arc::make_mut(&mut slot.deleted).insert(3);
        assert!(!slot.is_dear(100, often + 5, later), "too few rows for an index");
    }
}
