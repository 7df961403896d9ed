//! Segments: the unit of storage and search.
//!
//! A collection is a list of segments. New points go to a [`MutableSegment`] in memory; a
//! [`SealedSegment`] is a folder of checksummed files that never change. Both are read through
//! [`SegmentReader`], so that the scan, `get` and `scroll` exist once. Rows are dense u32 numbers
//! inside one segment; a deleted row stays until a merge and is masked by tombstones, which live
//! outside the segment.

mod builder;
mod codes;
mod index;
mod memory;
mod mutable;
mod payload_index;
mod payload_rows;
mod row_filter;
mod sealed;
mod sections;
mod snapshot;
mod values;

use std::ops::Range;

pub use builder::{BuildPlan, BuildSource, build_segment};
pub(crate) use builder::{finish, read_entry, write_entry};
pub use codes::{
    CodedSample, FieldCodes, FieldEncoder, FieldQuery, TokenStore, count_tokens, sample_tokens,
    sample_vectors,
};
pub use index::{FieldIndex, IndexReport, write_calibration, write_index};
pub use memory::{FileMemory, FileRole};
pub use mutable::{MutableReader, MutableSegment};
use roaring::RoaringBitmap;
pub use row_filter::{Cardinality, RowFilter};
pub use sealed::{SealedSegment, SegmentFile};
pub(crate) use sealed::{check_offsets, slice};
pub(crate) use sections::ENTRY_FILE;
pub use snapshot::{Location, Snapshot, View};
pub use values::{RowOrder, ValueCounts, ValueGroups};

use crate::error::Result;
use crate::model::{
    Condition, DeclaredPath, ElementsRef, Payload, PointId, Scalar, Vector, VectorsView,
};

/// What can be read from a segment, whether in memory or sealed.
pub trait SegmentReader: Send + Sync {
    /// Number of rows, deleted ones included.
    fn rows(&self) -> u32;

    /// The id of a row.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] if a sealed file holds no sound id there.
    fn id(&self, row: u32) -> Result<PointId>;

    /// The newest row with this id, whether or not it is deleted.
    ///
    /// # Errors
    /// As [`Self::id`].
    fn find(&self, id: &PointId) -> Result<Option<u32>>;

    /// The first `limit` live rows with an id after `after`, in the order of ids.
    ///
    /// # Errors
    /// As [`Self::id`].
    fn page(
        &self,
        after: Option<&PointId>,
        deleted: &RoaringBitmap,
        limit: usize,
    ) -> Result<Vec<(PointId, u32)>>;

    /// The payload of a row.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] if a sealed file holds no sound text there.
    fn payload(&self, row: u32) -> Result<Option<Payload>>;

    /// Prepares a condition, which was resolved for this collection, for the rows of this segment.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] if a sealed file turns out damaged.
    fn filter<'s>(&'s self, condition: &Condition) -> Result<RowFilter<'s>>;

    /// Whether it has a column of a declared payload path. It has none of one that was declared after it
    /// was sealed; then payloads are read instead.
    fn has_column(&self, _path: &DeclaredPath) -> bool {
        true
    }

    /// Visits what the rows hold at a declared payload path, deleted rows left out, in the order of rows
    /// and of values; `None` is `null`.
    ///
    /// # Errors
    /// As [`Self::filter`].
    fn visit_path(
        &self,
        path: &DeclaredPath,
        deleted: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Option<Scalar<'_>>),
    ) -> Result<()>;

    /// Visits the values that these rows have at a declared payload path, in the order of rows and of
    /// values.
    ///
    /// # Errors
    /// As [`Self::filter`].
    fn visit_values(
        &self,
        path: &DeclaredPath,
        rows: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Scalar<'_>),
    ) -> Result<()>;

    /// How many of these rows have each value of a path.
    ///
    /// # Errors
    /// As [`Self::filter`].
    fn value_counts<'s>(
        &'s self,
        path: &DeclaredPath,
        rows: &RoaringBitmap,
    ) -> Result<ValueCounts<'s>> {
        values::counts_by_row(self, path, rows)
    }

    /// These rows by the values of a path, as far as the order needs them.
    ///
    /// # Errors
    /// As [`Self::filter`].
    fn value_groups<'s>(
        &'s self,
        rows: &RoaringBitmap,
        order: &RowOrder<'_>,
    ) -> Result<ValueGroups<'s>> {
        values::groups_by_row(self, rows, order)
    }

    /// Visits the vectors of a field for the rows of `range`, block by block: `visit` gets the
    /// block's first row, the block, and which of its rows lie in the range. Where the vectors
    /// themselves were not kept, these are reconstructed from their codes.
    fn visit_vectors(
        &self,
        field: usize,
        range: Range<u32>,
        visit: &mut dyn FnMut(u32, VectorsView<'_>, Range<usize>),
    );

    /// Says that [`Self::visit_vectors`] will read these rows soon, where the system reads nothing
    /// ahead by itself.
    fn read_ahead(&self, _field: usize, _rows: Range<u32>) {}

    /// Visits the vectors of the listed rows, in their order. Faster than [`Self::visit_vectors`]
    /// for rows here and there.
    fn visit_rows(&self, field: usize, rows: &[u32], visit: &mut dyn FnMut(u32, ElementsRef<'_>)) {
        visit_one_by_one(self, field, rows, visit);
    }

    /// Bytes of vectors an exact scan of this field reads.
    fn vector_bytes(&self, field: usize) -> u64;

    /// The codes of a field, if it is compressed here.
    fn codes(&self, _field: usize) -> Option<&FieldCodes> {
        None
    }

    /// The index of a field, once there is one.
    fn index(&self, _field: usize) -> Option<&FieldIndex> {
        None
    }

    /// The rows without a vector in a field that is compressed here.
    fn absent(&self, _field: usize) -> Option<&RoaringBitmap> {
        None
    }

    /// Whether the vectors of a field are those that were written; if not, they are reconstructed
    /// from their codes.
    fn has_raw(&self, _field: usize) -> bool {
        true
    }

    /// The share of so many exact nearest rows that scoring everything finds at least: 1, unless the
    /// vectors were dropped. `None` if it is not known. Less is kept for queries that are far from the rows:
    /// if it is known, `nearness` says how near the last hit is (`index::nearness`).
    fn kept(&self, _field: usize, _hits: usize, _nearness: Option<f32>) -> Option<f32> {
        Some(1.0)
    }

    /// Compares what [`Self::vector`] reads of a row with its checksums, those of a block once.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file, section and block.
    fn check_vector(&self, _field: usize, _row: u32) -> Result<()> {
        Ok(())
    }

    /// Compares what scoring these rows again reads with its checksums: their secondary codes, or their
    /// vectors where there are none.
    ///
    /// # Errors
    /// As [`Self::check_vector`].
    fn check_rescored(&self, _field: usize, _rows: &[u32]) -> Result<()> {
        Ok(())
    }

    /// The same of what a scan of a range reads: the codes that a query is scored by, or without one the
    /// vectors.
    ///
    /// # Errors
    /// As [`Self::check_vector`].
    fn check_scanned(
        &self,
        _field: usize,
        _rows: Range<u32>,
        _query: Option<&FieldQuery>,
    ) -> Result<()> {
        Ok(())
    }

    /// Whether everything that was read so far could be read. Whoever has read asks afterwards:
    /// what the disk could not read looks like zeros.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Io`] naming the file of which a page is lost.
    fn check_pages(&self) -> Result<()> {
        Ok(())
    }

    /// The vector of a row, widened to f32; `None` where the point has none.
    fn vector(&self, field: usize, row: u32) -> Option<Vector> {
        let mut found = None;
        self.visit_vectors(field, row..row + 1, &mut |_, view, range| {
            found = view.vector(range.start);
        });
        found
    }
}

/// [`SegmentReader::visit_rows`] where there is no faster way.
fn visit_one_by_one<R: SegmentReader + ?Sized>(
    reader: &R,
    field: usize,
    rows: &[u32],
    visit: &mut dyn FnMut(u32, ElementsRef<'_>),
) {
    for &row in rows {
        reader.visit_vectors(field, row..row + 1, &mut |_, view, range| {
            visit(row, view.row(range.start));
        });
    }
}
