//! The mutable segment: points that are journaled but not yet sealed, in memory.
//!
//! One writer appends whole batches; readers never wait for it. Batches are immutable once
//! appended, so a reader is just a list of them and the number of visible rows. Points often arrive
//! one by one, so small batches are combined into larger ones, which keeps scans sequential.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;
use roaring::RoaringBitmap;

use super::row_filter::Node;
use super::{RowFilter, RowIds, RowPayloads, SegmentReader};
use crate::error::{Error, Result};
use crate::field::text::{TextIndex, TextPart, index_payloads};
use crate::field::{CodedField, FieldQuery, FieldReader};
use crate::model::{
    ColumnTest, Condition, DeclaredPath, FieldColumn, Payload, PayloadColumn, PointBatch, PointId,
    Scalar, VectorsView, limits,
};

const NO_ROW: u32 = u32::MAX;
/// Bytes per id in the map of newest rows, without its text: tree nodes are about two thirds full.
const ENTRY_BYTES: usize = (size_of::<PointId>() + size_of::<u32>()) * 3 / 2;

/// Number of batches of similar size to combine.
const COMBINED_BATCHES: usize = 8;
/// Size class from which batches are not combined: 256 KiB and more.
const LARGE_CLASS: u32 = size_class(256 << 10);

/// Append-only rows in memory.
#[derive(Debug, Default)]
pub struct MutableSegment {
    batches: ArcSwap<Batches>,
    newest: RwLock<BTreeMap<PointId, u32>>,
    size_bytes: AtomicU64,
}

/// Batches in row order.
type Batches = Vec<Arc<Appended>>;

#[derive(Debug)]
struct Appended {
    first_row: u32,
    points: PointBatch,
    /// For each row, the previous row with the same id, or [`NO_ROW`].
    previous: Vec<u32>,
    /// For each text field its index, built when it is first searched.
    texts: Box<[OnceLock<Arc<TextIndex>>]>,
    /// Bytes of each field's vectors up to the end of this batch, cached for readers.
    vector_bytes: Box<[u64]>,
    /// Memory held, in bytes.
    size_bytes: usize,
}

impl Appended {
    fn new(
        first_row: u32,
        points: PointBatch,
        previous: Vec<u32>,
        vector_bytes: Box<[u64]>,
    ) -> Self {
        let texts: usize = points.ids.iter().map(PointId::text_bytes).sum();
        let per_row = points.len() * (ENTRY_BYTES + size_of::<u32>());
        let size_bytes = points.size_bytes() + texts + per_row + size_of::<Self>();
        let texts = points.text_fields().map(|_| OnceLock::new()).collect();
        Self { first_row, points, previous, texts, vector_bytes, size_bytes }
    }

    /// Combines consecutive batches into one; `None` without batches.
    fn combined(batches: &[Arc<Self>]) -> Option<Self> {
        let (first, last) = (batches.first()?, batches.last()?);
        let points: Vec<&PointBatch> = batches.iter().map(|batch| &batch.points).collect();
        let previous = batches.iter().flat_map(|batch| &batch.previous).copied().collect();
        let points = PointBatch::concat(&points)?;
        Some(Self::new(first.first_row, points, previous, last.vector_bytes.clone()))
    }

    /// The index of a text field.
    fn text(&self, field: usize) -> Result<Arc<TextIndex>> {
        let missing = || Error::Internal(format!("points in memory have no text field {field}"));
        let known = self.texts.get(field).ok_or_else(missing)?;
        if let Some(index) = known.get() {
            return Ok(Arc::clone(index));
        }
        let settings = self.points.text_fields().nth(field).ok_or_else(missing)?;
        let payloads = self.points.payloads.iter().map(|payload| Ok(payload.clone()));
        let index = Arc::new(index_payloads(settings, payloads)?);
        // Another thread may have been first.
        Ok(Arc::clone(known.get_or_init(|| index)))
    }

    fn end_row(&self) -> u32 {
        self.first_row + self.points.len() as u32
    }

    /// The column of a declared path. It always exists, because batches are validated against the
    /// declared paths before they are appended.
    fn column(&self, path: &DeclaredPath) -> Result<&PayloadColumn> {
        let missing =
            || Error::Internal(format!("points in memory have no column `{}`", path.name));
        self.points.column(path).ok_or_else(missing)
    }

    fn size_class(&self) -> u32 {
        size_class(self.size_bytes)
    }
}

/// Each class is eight times the size of the previous one.
const fn size_class(bytes: usize) -> u32 {
    (bytes | 1).ilog2() / COMBINED_BATCHES.ilog2()
}

/// Combines the last batches while enough of them are no larger than the newest, so that each row
/// is copied only a few times. Returns the bytes saved.
fn combine_small(batches: &mut Batches) -> usize {
    let mut saved = 0;
    while let Some(class) = batches.last().map(|last| last.size_class())
        && class < LARGE_CLASS
    {
        let small = batches.iter().rev().take_while(|batch| batch.size_class() <= class).count();
        let tail = batches.len() - small;
        if small < COMBINED_BATCHES {
            break;
        }
        let Some(combined) = Appended::combined(&batches[tail..]) else { break };
        let before: usize = batches[tail..].iter().map(|batch| batch.size_bytes).sum();
        saved += before.saturating_sub(combined.size_bytes);
        batches.truncate(tail);
        batches.push(Arc::new(combined));
    }
    saved
}

/// Index of the batch that contains `row`, by binary search over first rows.
fn batch_index(batches: &[Arc<Appended>], row: u32) -> usize {
    batches.partition_point(|batch| batch.first_row <= row).saturating_sub(1)
}

fn batch_of(batches: &[Arc<Appended>], row: u32) -> Option<&Appended> {
    batches.get(batch_index(batches, row)).map(|batch| &**batch)
}

impl MutableSegment {
    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Relaxed)
    }

    /// Number of rows appended so far.
    pub fn rows(&self) -> u32 {
        self.batches.load().last().map_or(0, |last| last.end_row())
    }

    /// Appends a batch and returns its rows. Only one thread may append.
    ///
    /// The rows are visible to readers created with a large enough number of rows; see
    /// [`MutableReader::new`].
    pub fn append(&self, points: PointBatch) -> Range<u32> {
        let mut batches = Batches::clone(&self.batches.load());
        let before = batches.last();
        let first_row = before.map_or(0, |before| before.end_row());
        let rows = first_row..first_row + points.len() as u32;
        let before = |field: usize| before.map_or(0, |before| before.vector_bytes[field]);
        let fields = points.fields.iter().enumerate();
        let bytes_of = |column: &FieldColumn| column.view().elements.as_bytes().len() as u64;
        let vector_bytes = fields.map(|(field, column)| before(field) + bytes_of(column)).collect();
        let mut newest = self.newest_mut();
        let previous = rows
            .clone()
            .zip(&points.ids)
            .map(|(row, id)| newest.insert(id.clone(), row).unwrap_or(NO_ROW))
            .collect();
        let appended = Appended::new(first_row, points, previous, vector_bytes);
        self.size_bytes.fetch_add(appended.size_bytes as u64, Ordering::Relaxed);
        batches.push(Arc::new(appended));
        let saved = combine_small(&mut batches);
        self.size_bytes.fetch_sub(saved as u64, Ordering::Relaxed);
        // Under the lock: a row found in `newest` must have its batch.
        self.batches.store(Arc::new(batches));
        rows
    }

    /// The newest row with this id, deleted or not.
    pub fn find(&self, id: &PointId) -> Option<u32> {
        self.newest().get(id).copied()
    }

    /// The previous row with the same id as `row`, if there is one.
    pub fn previous(&self, row: u32) -> Option<u32> {
        let batches = self.batches.load();
        let batch = batch_of(&batches, row)?;
        Some(batch.previous[(row - batch.first_row) as usize]).filter(|&row| row != NO_ROW)
    }

    /// The newest row below `rows` with the same id as the row `newest`.
    fn visible(&self, newest: u32, rows: u32) -> Option<u32> {
        let mut row = newest;
        while row >= rows {
            row = self.previous(row)?;
        }
        Some(row)
    }

    // A panic while the lock is held cannot leave the map in a harmful state: readers skip an id
    // without a batch.
    fn newest(&self) -> RwLockReadGuard<'_, BTreeMap<PointId, u32>> {
        self.newest.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<PointId, u32>> {
        self.newest.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A view of the first rows of a mutable segment, unaffected by later appends.
#[derive(Debug, Clone)]
pub struct MutableReader {
    segment: Arc<MutableSegment>,
    batches: Arc<Batches>,
    rows: u32,
    fields: Box<[MutableField]>,
}

/// A field of the rows visible to a reader.
#[derive(Debug, Clone)]
struct MutableField {
    batches: Arc<Batches>,
    rows: u32,
    field: usize,
}

impl MutableReader {
    /// A view of the first `rows` rows.
    pub fn new(segment: Arc<MutableSegment>, rows: u32) -> Self {
        let batches = segment.batches.load_full();
        // Without rows, no field has anything to read.
        let count = batches.first().map_or(limits::MAX_FIELDS, |batch| batch.points.fields.len());
        let field = |field| MutableField { batches: batches.clone(), rows, field };
        let fields = (0..count).map(field).collect();
        Self { segment, batches, rows, fields }
    }

    fn point(&self, row: u32) -> Option<(&PointBatch, usize)> {
        let batch = batch_of(&self.batches, row)?;
        Some((&batch.points, (row - batch.first_row) as usize))
    }

    /// The batches with visible rows, and the number of those rows.
    fn batches(&self) -> impl Iterator<Item = (&Appended, usize)> {
        let seen = self.batches.iter().take_while(|batch| batch.first_row < self.rows);
        seen.map(|batch| (&**batch, (batch.end_row().min(self.rows) - batch.first_row) as usize))
    }

    fn select(&self, path: &DeclaredPath, test: &ColumnTest) -> Result<RoaringBitmap> {
        let mut selected = RoaringBitmap::new();
        for (batch, rows) in self.batches() {
            batch.column(path)?.select(test, rows, &mut |local| {
                selected.insert(batch.first_row + local as u32);
            });
        }
        Ok(selected)
    }
}

impl SegmentReader for MutableReader {
    fn rows(&self) -> u32 {
        self.rows
    }

    fn field(&self, field: usize) -> &dyn FieldReader {
        &self.fields[field]
    }

    fn texts(&self, field: usize) -> Result<Vec<TextPart>> {
        let part = |(batch, rows): (&Appended, usize)| {
            let (first_row, rows) = (batch.first_row, rows as u32);
            Ok(TextPart { first_row, rows, index: batch.text(field)? })
        };
        self.batches().map(part).collect()
    }

    fn check_pages(&self) -> Result<()> {
        Ok(())
    }
}

impl RowIds for MutableReader {
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
}

impl RowPayloads for MutableReader {
    fn payload(&self, row: u32) -> Result<Option<Payload>> {
        Ok(self.point(row).and_then(|(points, index)| points.payloads[index].clone()))
    }

    fn has_column(&self, _: &DeclaredPath) -> bool {
        true
    }

    // Reading all values once costs less than scoring the rows, and gives an exact result. Payloads
    // are not read for all rows.
    fn filter<'s>(&'s self, condition: &Condition) -> Result<RowFilter<'s>> {
        let column = |path: &_, test: &_| Ok(Node::rows(self.select(path, test)?));
        let filter = RowFilter::new(self, condition, &column)?;
        match condition.reads_payloads() {
            true => Ok(filter),
            false => Ok(RowFilter::of_rows(self.rows, filter.bitmap()?)),
        }
    }

    fn visit_path(
        &self,
        path: &DeclaredPath,
        deleted: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Option<Scalar<'_>>),
    ) -> Result<()> {
        for (batch, rows) in self.batches() {
            let column = batch.column(path)?;
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

    fn visit_values(
        &self,
        path: &DeclaredPath,
        rows: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Scalar<'_>),
    ) -> Result<()> {
        for (batch, seen) in self.batches() {
            let column = batch.column(path)?;
            for row in rows.range(batch.first_row..batch.first_row + seen as u32) {
                column.visit((row - batch.first_row) as usize, &mut |scalar| visit(row, scalar));
            }
        }
        Ok(())
    }
}

// There is no file that could be damaged.
impl FieldReader for MutableField {
    fn visit(&self, range: Range<u32>, visit: &mut dyn FnMut(u32, VectorsView<'_>, Range<usize>)) {
        let end = range.end.min(self.rows);
        let first = batch_index(&self.batches, range.start);
        for batch in self.batches[first..].iter().take_while(|batch| batch.first_row < end) {
            let from = range.start.saturating_sub(batch.first_row) as usize;
            let to = (end.min(batch.end_row()) - batch.first_row) as usize;
            if from < to {
                visit(batch.first_row, batch.points.fields[self.field].view(), from..to);
            }
        }
    }

    fn vector_bytes(&self) -> u64 {
        let last = self.rows.checked_sub(1).and_then(|last| batch_of(&self.batches, last));
        last.map_or(0, |last| last.vector_bytes[self.field])
    }

    fn coded(&self) -> Option<CodedField<'_>> {
        None
    }

    fn read_ahead(&self, _: Range<u32>) {}

    fn check_vector(&self, _: u32) -> Result<()> {
        Ok(())
    }

    fn check_rescored(&self, _: &[u32]) -> Result<()> {
        Ok(())
    }

    fn check_scanned(&self, _: Range<u32>, _: Option<&FieldQuery>) -> Result<()> {
        Ok(())
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
        assert_eq!(late.field(0).vector(2), Some(Vector::Single(vec![21.0])));
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
        // The last batch starts after the last row of the reader.
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

    /// Everything a reader returns for its rows.
    fn rows_of(reader: &MutableReader) -> Vec<(PointId, Option<Payload>, Option<Vector>)> {
        let row = |row| {
            (reader.id(row).unwrap(), reader.payload(row).unwrap(), reader.field(1).vector(row))
        };
        (0..reader.rows()).map(row).collect()
    }

    /// One point, or sometimes 401, some without a field or a payload.
    fn mixed(config: &CollectionConfig, round: u32) -> PointBatch {
        let mut builder = PointBatchBuilder::new(config);
        for id in 0..1 + u64::from(round % 50 / 49 * 400) {
            let value = round as f32 + id as f32 / 500.0;
            let mut point = Point::new(u64::from(round) * 7 % 90 + id);
            if !round.is_multiple_of(3) {
                let tokens = vec![value; 2 * (1 + round as usize % 4)];
                let tokens = crate::model::MultiVector::from_flat(2, tokens).unwrap();
                point = point.with_vector("a", tokens);
            }
            if round % 3 < 2 {
                point = point.with_vector("b", vec![value, 1.0]);
            }
            if !round.is_multiple_of(5) {
                let null = round.is_multiple_of(7);
                let n = if null { "null".into() } else { format!("[{round}, {id}]") };
                let text = format!("{{\"n\": {n}, \"t\": \"t{}\"}}", round % 6);
                point = point.with_payload(Payload::parse(&text).unwrap());
            }
            builder.push(point).unwrap();
        }
        builder.finish()
    }

    #[test]
    fn small_batches_are_combined_and_say_the_same() {
        let config = CollectionConfig::new()
            .with_field("a", VectorField::multi(2, Metric::Dot))
            .with_field("b", VectorField::single(2, Metric::Dot).half_precision())
            .with_payload("n", crate::model::PayloadType::Integer)
            .with_payload("t", crate::model::PayloadType::Keyword);
        let segment = Arc::new(MutableSegment::default());
        let alone: Vec<PointBatch> = (0..300).map(|round| mixed(&config, round)).collect();
        for points in &alone {
            segment.append(points.clone());
        }
        let batches = segment.batches.load_full();
        let most = (LARGE_CLASS as usize + 1) * COMBINED_BATCHES;
        assert!(batches.len() <= most, "{} batches of {}", batches.len(), alone.len());
        let held: usize = batches.iter().map(|batch| batch.size_bytes).sum();
        assert_eq!(segment.size_bytes(), held as u64);

        // The same points in one batch, and a reader that ends within a combined batch.
        let whole = Arc::new(MutableSegment::default());
        whole.append(PointBatch::concat(&alone.iter().collect::<Vec<_>>()).unwrap());
        let rows = whole.rows();
        assert_eq!(segment.rows(), rows);
        for rows in [rows, rows - 5, 1000, 3] {
            let combined = MutableReader::new(segment.clone(), rows);
            let whole = MutableReader::new(whole.clone(), rows);
            assert_eq!(rows_of(&combined), rows_of(&whole));
            for filter in [
                crate::model::Filter::eq("n", 7),
                crate::model::Filter::eq("t", "t3"),
                crate::model::Filter::is_null("n"),
            ] {
                let condition = filter.resolve(&config).unwrap();
                let matching =
                    |reader: &MutableReader| reader.filter(&condition).unwrap().bitmap().unwrap();
                assert_eq!(matching(&combined), matching(&whole), "{filter:?}");
            }
            for id in 0..500_u64 {
                assert_eq!(combined.find(&id.into()).unwrap(), whole.find(&id.into()).unwrap());
            }
        }
        // Also compare with the original points: both segments share `concat`.
        let mut row = 0;
        let reader = MutableReader::new(segment, rows);
        for points in &alone {
            for local in 0..points.len() {
                assert_eq!(reader.id(row).unwrap(), points.ids[local]);
                assert_eq!(reader.payload(row).unwrap(), points.payloads[local]);
                for field in 0..2 {
                    assert_eq!(
                        reader.field(field).vector(row),
                        points.fields[field].view().vector(local)
                    );
                }
                row += 1;
            }
        }
    }

    #[test]
    fn visits_exactly_the_range_across_batches() {
        let segment = Arc::new(MutableSegment::default());
        for start in [0, 3, 6] {
            segment.append(batch(&[(start, 0.0), (start + 1, 1.0), (start + 2, 2.0)]));
        }
        let reader = MutableReader::new(segment, 8);
        let mut rows = Vec::new();
        reader.field(0).visit(2..9, &mut |first, _, range| {
            rows.extend(range.map(|local| first + local as u32));
        });
        assert_eq!(rows, [2, 3, 4, 5, 6, 7]);
    }
}
