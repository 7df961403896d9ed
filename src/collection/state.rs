//! What the writer of a collection knows: its segments, and how an operation changes them.
//!
//! Exactly one live row holds an id. A newer row tombstones the older one at the moment it is
//! applied, so that no query has to compare versions.

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

/// A segment in memory that is large enough for an index is sealed early when queries have read so many
/// bytes of it and so much time has passed.
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
    /// What a build reads of it.
    pub fn source(&self) -> BuildSource {
        BuildSource { reader: self.segment.clone(), deleted: self.deleted.clone() }
    }

    /// Share of its rows that is deleted.
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
    /// Bytes of the journal that are not needed any more once this is sealed.
    pub journal_bytes: u64,
    /// When its first operation was applied, and how many queries the collection had answered by then.
    pub begun: Option<(Instant, u64)>,
}

impl MemorySlot {
    /// Whether it is time to seal it.
    pub fn is_full(&self, seal_bytes: u64) -> bool {
        self.segment.size_bytes().max(self.journal_bytes) >= seal_bytes
    }

    /// Whether queries have scanned it so often that it is time to seal it early, `answered` being all
    /// queries of the collection.
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

    /// What a build reads of it.
    pub fn source(&self) -> BuildSource {
        BuildSource { reader: Arc::new(self.reader()), deleted: self.deleted.clone() }
    }
}

/// The segments of a collection: sealed, frozen (waiting to be sealed), and the active one.
#[derive(Debug, Clone, Default)]
pub struct Segments {
    /// What the catalog says about the sealed ones.
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
    /// Applies an operation and returns how many points it wrote or deleted.
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
            // Only an id that came twice in this batch: earlier rows are deleted already.
            if let Some(previous) = self.active.segment.previous(row)
                && previous >= rows.start
            {
                Arc::make_mut(&mut self.active.deleted).insert(previous);
            }
        }
        Ok(written)
    }

    /// Marks the live row of an id as deleted; `false` if there is none.
    fn delete(&mut self, id: &PointId) -> Result<bool> {
        for slot in self.frozen.iter_mut().chain([&mut self.active]).rev() {
            // Wherever an id is in memory, every older row of it is deleted already.
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

    /// Sets the active segment aside to be sealed, if it holds any operation.
    pub fn freeze(&mut self) {
        if self.active.last_sequence > 0 {
            self.frozen.push(std::mem::take(&mut self.active));
        }
    }

    /// Bytes in memory: of what takes new points, and of what waits to be sealed.
    pub fn unsealed_bytes(&self) -> (u64, u64) {
        let of = |slot: &MemorySlot| slot.segment.size_bytes();
        (of(&self.active), self.frozen.iter().map(of).sum())
    }

    /// Whether a sealed segment has so many deleted rows that it is worth rewriting.
    pub fn is_worn(&self) -> bool {
        self.sealed.iter().any(|slot| slot.deleted_share() >= REWRITE_DELETED_SHARE)
    }

    /// The segments as queries see them.
    pub fn snapshot(&self) -> Snapshot {
        let sealed = self
            .sealed
            .iter()
            .map(|slot| View { reader: slot.segment.clone(), deleted: slot.deleted.clone() });
        let memory = self.frozen.iter().chain([&self.active]).map(MemorySlot::view);
        let views = sealed.chain(memory).filter(|view| view.live_rows() > 0).collect();
        Snapshot { sequence: self.sequence, config: self.config.clone(), views }
    }

    /// The declared paths that some sealed segments have no column of, and how many these are.
    pub fn pending_paths(&self) -> BTreeMap<String, usize> {
        let missing = |path: &DeclaredPath| {
            self.sealed.iter().filter(|slot| !slot.segment.has_column(path)).count()
        };
        let paths =
            self.config.declared_paths().map(|path| (path.name.to_string(), missing(&path)));
        paths.filter(|(_, segments)| *segments > 0).collect()
    }

    /// Adds everything that the catalog must know about the segments to a batch.
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

    /// Notes that what [`Self::persist`] added was committed.
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

/// The tombstones of a segment built from `sources`, given what is deleted in them by now.
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
