//! Segments: the unit of storage and search.
//!
//! A collection is a list of segments. New points go to a [`MutableSegment`] in memory; a
//! [`SealedSegment`] is a folder of checksummed files that never change. Both are read through
//! [`SegmentReader`], so that the scan, `get` and `scroll` exist once. Rows are dense u32 numbers
//! inside one segment; a deleted row stays until a merge and is masked by tombstones, which live
//! outside the segment.

mod builder;
mod mutable;
mod payload_index;
mod payload_rows;
mod row_filter;
mod sealed;
mod sections;
mod snapshot;
mod values;

pub use builder::{BuildPlan, BuildSource, build_segment};
pub(crate) use builder::{read_entry, write_entry};
pub use mutable::{MutableReader, MutableSegment};
use roaring::RoaringBitmap;
pub use row_filter::{Cardinality, RowFilter};
pub use sealed::SealedSegment;
pub(crate) use sections::ENTRY_FILE;
pub use snapshot::{Location, Snapshot, View};
pub use values::{RowOrder, ValueCounts, ValueGroups};

use crate::error::Result;
use crate::field::FieldReader;
use crate::model::{Condition, DeclaredPath, Payload, PointId, Scalar};

/// A segment, whether in memory or sealed.
pub trait SegmentReader: RowIds + RowPayloads {
    /// Number of rows, deleted ones included.
    fn rows(&self) -> u32;

    /// A field, by its number in the order of names.
    fn field(&self, field: usize) -> &dyn FieldReader;

    /// Whether everything that was read so far could be read. Whoever has read asks afterwards:
    /// what the disk could not read looks like zeros.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Io`] naming the file of which a page is lost.
    fn check_pages(&self) -> Result<()>;
}

/// The ids of the rows of a segment.
pub trait RowIds: Send + Sync {
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
}

/// The payloads of the rows of a segment, and what is found by them.
pub trait RowPayloads: Send + Sync {
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
    fn has_column(&self, path: &DeclaredPath) -> bool;

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
}
