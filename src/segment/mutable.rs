//! The mutable segment: points that are journaled but not yet sealed, in memory.
//!
//! One writer appends whole batches; readers never wait for it. Batches are immutable once
//! appended, so a reader is no more than the segment and the number of rows it may see.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use roaring::RoaringBitmap;

use super::row_filter::Node;
use super::{RowFilter, SegmentReader};
use crate::error::Result;
use crate::model::{
    ColumnTest, Condition, FieldColumn, Payload, PointBatch, PointId, Scalar, VectorsView,
};

const NO_ROW: u32 = u32::MAX;
/// Bytes of an id in the map of the newest rows, beside its text: nodes of the tree are about two
/// thirds full.
const ENTRY_BYTES: usize = (size_of::<PointId>() + size_of::<u32>()) * 3 / 2;

/// Append-only rows in memory.
#[derive(Debug, Default)]
pub struct MutableSegment {
    batches: boxcar::Vec<Appended>,
    newest: RwLock<BTreeMap<PointId, u32>>,
    size_bytes: AtomicU64,
}

#[derive(Debug)]
struct Appended {
    first_row: u32,
    points: PointBatch,
    /// For each row the row that held the same id before, or [`NO_ROW`].
    previous: Vec<u32>,
    /// Bytes of the vectors of each field, up to the end of this batch: readers ask often, and there may
    /// be as many batches as rows.
    vector_bytes: Box<[u64]>,
}

impl MutableSegment {
    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Relaxed)
    }

    /// Number of rows appended so far.
    pub fn rows(&self) -> u32 {
        let last = self.batches.count().checked_sub(1).and_then(|last| self.batches.get(last));
        last.map_or(0, |last| last.first_row + last.points.len() as u32)
    }

    /// Appends a batch and returns its rows. Only one thread may append.
    ///
    /// A reader sees the rows once it is made with their number; see [`MutableReader::new`].
    pub fn append(&self, points: PointBatch) -> Range<u32> {
        let first_row = self.rows();
        let rows = first_row..first_row + points.len() as u32;
        let mut newest = self.newest_mut();
        let previous = rows
            .clone()
            .zip(&points.ids)
            .map(|(row, id)| newest.insert(id.clone(), row).unwrap_or(NO_ROW))
            .collect();
        let texts: usize = points.ids.iter().map(PointId::text_bytes).sum();
        let per_row = points.len() * (ENTRY_BYTES + size_of::<u32>());
        let bytes = points.size_bytes() + texts + per_row + size_of::<Appended>();
        self.size_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let before = self.batches.count().checked_sub(1).and_then(|last| self.batches.get(last));
        let before = |field: usize| before.map_or(0, |before| before.vector_bytes[field]);
        let fields = points.fields.iter().enumerate();
        let bytes_of = |column: &FieldColumn| column.view().elements.as_bytes().len() as u64;
        let vector_bytes = fields.map(|(field, column)| before(field) + bytes_of(column)).collect();
        // Under the lock: whoever finds a row in `newest` also finds its batch.
        self.batches.push(Appended { first_row, points, previous, vector_bytes });
        rows
    }

    /// The newest row with this id, whether or not it is deleted.
    pub fn find(&self, id: &PointId) -> Option<u32> {
        self.newest().get(id).copied()
    }

    /// The row that held the id of `row` before it, if any.
    pub fn previous(&self, row: u32) -> Option<u32> {
        let batch = self.batch_of(row)?;
        Some(batch.previous[(row - batch.first_row) as usize]).filter(|&row| row != NO_ROW)
    }

    /// The newest row below `rows` that `newest`, the newest of all, descends from.
    fn visible(&self, newest: u32, rows: u32) -> Option<u32> {
        let mut row = newest;
        while row >= rows {
            row = self.previous(row)?;
        }
        Some(row)
    }

    fn batch_of(&self, row: u32) -> Option<&Appended> {
        let index = self.batch_index(row);
        self.batches.get(index)
    }

    /// Index of the batch that holds `row`, by binary search over first rows.
    fn batch_index(&self, row: u32) -> usize {
        let (mut low, mut high) = (0, self.batches.count());
        while low + 1 < high {
            let middle = low.midpoint(high);
            match self.batches.get(middle) {
                Some(batch) if batch.first_row <= row => low = middle,
                _ => high = middle,
            }
        }
        low
    }

    // A panic while the lock is held cannot leave the map half-changed in a way that matters:
    // an id without its batch is skipped by readers.
    fn newest(&self) -> RwLockReadGuard<'_, BTreeMap<PointId, u32>> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<PointId, u32>> {
        self.newest.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A view of the first rows of a mutable segment; it does not change while rows are appended.
#[derive(Debug, Clone)]
pub struct MutableReader {
    segment: Arc<MutableSegment>,
    rows: u32,
}

impl MutableReader {
    /// A view of the first `rows` rows.
    pub fn new(segment: Arc<MutableSegment>, rows: u32) -> Self {
        Self { segment, rows }
    }

    fn point(&self, row: u32) -> Option<(&PointBatch, usize)> {
        let batch = self.segment.batch_of(row)?;
        Some((&batch.points, (row - batch.first_row) as usize))
    }

    /// The batches with rows that may be seen, and how many of these they have.
    fn batches(&self) -> impl Iterator<Item = (&Appended, usize)> {
        let all = (0..).map_while(|index| self.segment.batches.get(index));
        let seen = all.take_while(|batch| batch.first_row < self.rows);
        seen.map(|batch| (batch, batch.points.len().min((self.rows - batch.first_row) as usize)))
    }

    fn select(&self, column: usize, test: &ColumnTest) -> RoaringBitmap {
        let mut selected = RoaringBitmap::new();
        for (batch, rows) in self.batches() {
            batch.points.paths[column].select(test, rows, &mut |local| {
                selected.insert(batch.first_row + local as u32);
            });
        }
        selected
    }
}

impl SegmentReader for MutableReader {
    fn rows(&self) -> u32 {
        self.rows
    }

    fn id(&self, row: u32) -> Result<PointId> {
        let found = self.point(row).map(|(points, index)| points.ids[index].clone());
        found.ok_or_else(|| crate::Error::Internal(format!("no row {row} in memory")))
    }

    fn find(&self, id: &PointId) -> Result<Option<u32>> {
        Ok(self.segment.find(id).and_then(|row| self.segment.visible(row, self.rows)))
    }

    fn page(
        &self,
        after: Option<&PointId>,
        deleted: &RoaringBitmap,
        limit: usize,
    ) -> Result<Vec<(PointId, u32)>> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let newest = self.segment.newest();
        let live = newest.range((start, Bound::Unbounded)).filter_map(|(id, &row)| {
            let row = self.segment.visible(row, self.rows)?;
            (!deleted.contains(row)).then(|| (id.clone(), row))
        });
        Ok(live.take(limit).collect())
    }

    fn payload(&self, row: u32) -> Result<Option<Payload>> {
        Ok(self.point(row).and_then(|(points, index)| points.payloads[index].clone()))
    }

    // Reading all values once costs less than scoring the rows, and finds them exactly.
    fn filter<'s>(&'s self, condition: &Condition) -> Result<RowFilter<'s>> {
        let filter = RowFilter::new(self.rows, condition, &mut |leaf| match leaf {
            Condition::Column { column, test } => Ok(Node::rows(self.select(*column, test))),
            leaf => Node::ids(self, leaf),
        })?;
        Ok(RowFilter::of_rows(self.rows, filter.bitmap()?))
    }

    fn visit_path(
        &self,
        path: usize,
        deleted: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Option<Scalar<'_>>),
    ) -> Result<()> {
        for (batch, rows) in self.batches() {
            let column = &batch.points.paths[path];
            for (local, row) in (0..rows).zip(batch.first_row..) {
                if !deleted.contains(row) {
                    column.visit(local, &mut |scalar| visit(row, Some(scalar)));
                    if column.is_null(local) {
                        visit(row, None);
                    }
                }
            }
        }
        Ok(())
    }

    fn visit_vectors(
        &self,
        field: usize,
        range: Range<u32>,
        visit: &mut dyn FnMut(u32, VectorsView<'_>, Range<usize>),
    ) {
        let end = range.end.min(self.rows);
        let first = self.segment.batch_index(range.start);
        for index in first..self.segment.batches.count() {
            let Some(batch) = self.segment.batches.get(index) else { break };
            if batch.first_row >= end {
                break;
            }
            let from = range.start.saturating_sub(batch.first_row) as usize;
            let to = ((end - batch.first_row) as usize).min(batch.points.len());
            if from < to {
                visit(batch.first_row, batch.points.fields[field].view(), from..to);
            }
        }
    }

    fn vector_bytes(&self, field: usize) -> u64 {
        let last = self.rows.checked_sub(1).and_then(|last| self.segment.batch_of(last));
        last.map_or(0, |last| last.vector_bytes[field])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CollectionConfig, Metric, Point, PointBatchBuilder, Vector, VectorField};

    fn batch(points: &[(u64, f32)]) -> PointBatch {
        let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
        let mut builder = PointBatchBuilder::new(&config);
        for &(id, value) in points {
            builder.push(Point::new(id).with_vector("v", vec![value])).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn a_reader_sees_its_rows_and_no_later_version() {
        let segment = Arc::new(MutableSegment::default());
        assert_eq!(segment.append(batch(&[(1, 10.0), (2, 20.0)])), 0..2);
        let early = MutableReader::new(segment.clone(), segment.rows());
        assert_eq!(segment.append(batch(&[(2, 21.0), (3, 30.0)])), 2..4);
        let late = MutableReader::new(segment.clone(), segment.rows());

        assert_eq!(early.find(&2.into()).unwrap(), Some(1));
        assert_eq!(early.find(&3.into()).unwrap(), None);
        assert_eq!(late.find(&2.into()).unwrap(), Some(2));
        assert_eq!(late.vector(0, 2), Some(Vector::Single(vec![21.0])));
        assert_eq!(segment.previous(2), Some(1));
        assert_eq!(segment.previous(3), None);
    }

    #[test]
    fn a_filter_sees_the_rows_of_its_reader() {
        let segment = Arc::new(MutableSegment::default());
        segment.append(batch(&[(1, 1.0), (2, 2.0)]));
        let early = MutableReader::new(segment.clone(), 2);
        segment.append(batch(&[(2, 3.0), (3, 4.0)]));
        let filter = crate::model::Filter::ids([2, 3]);
        let config = CollectionConfig::new();
        for (filter, expected) in [(filter.clone(), vec![1]), (!filter, vec![0])] {
            let condition = filter.resolve(&config).unwrap();
            let rows = early.filter(&condition).unwrap().bitmap().unwrap();
            assert_eq!(rows.iter().collect::<Vec<_>>(), expected);
        }
        let declared = config
            .with_field("v", VectorField::single(1, Metric::Dot))
            .with_payload("n", crate::model::PayloadType::Integer);
        let segment = Arc::new(MutableSegment::default());
        // The last batch begins after the last row of the reader.
        for id in 0..4 {
            let mut builder = PointBatchBuilder::new(&declared);
            let payload = Payload::parse("{\"n\": 7}").unwrap();
            builder.push(Point::new(id).with_vector("v", vec![1.0]).with_payload(payload)).unwrap();
            segment.append(builder.finish());
        }
        let condition = crate::model::Filter::eq("n", 7).resolve(&declared).unwrap();
        let rows = MutableReader::new(segment, 2).filter(&condition).unwrap().bitmap().unwrap();
        assert_eq!(rows, RoaringBitmap::from([0, 1]));
    }

    #[test]
    fn an_id_twice_in_one_batch_leaves_the_last() {
        let segment = Arc::new(MutableSegment::default());
        segment.append(batch(&[(1, 1.0), (1, 2.0)]));
        let reader = MutableReader::new(segment.clone(), 2);
        assert_eq!(reader.find(&1.into()).unwrap(), Some(1));
        assert_eq!(segment.previous(1), Some(0));
    }

    #[test]
    fn pages_are_in_the_order_of_ids_without_deleted_rows() {
        let segment = Arc::new(MutableSegment::default());
        segment.append(batch(&[(9, 1.0), (3, 2.0), (5, 3.0)]));
        let reader = MutableReader::new(segment, 3);
        let deleted = RoaringBitmap::from([2]);
        let page = reader.page(None, &deleted, 10).unwrap();
        assert_eq!(page, [(3.into(), 1), (9.into(), 0)]);
        assert_eq!(reader.page(Some(&3.into()), &deleted, 10).unwrap(), [(9.into(), 0)]);
        assert_eq!(reader.page(None, &deleted, 1).unwrap(), [(3.into(), 1)]);
    }

    #[test]
    fn visits_exactly_the_range_across_batches() {
        let segment = Arc::new(MutableSegment::default());
        for start in [0, 3, 6] {
            segment.append(batch(&[(start, 0.0), (start + 1, 1.0), (start + 2, 2.0)]));
        }
        let reader = MutableReader::new(segment, 8);
        let mut rows = Vec::new();
        reader.visit_vectors(0, 2..9, &mut |first, _, range| {
            rows.extend(range.map(|local| first + local as u32));
        });
        assert_eq!(rows, [2, 3, 4, 5, 6, 7]);
    }
}
