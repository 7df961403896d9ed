//! Segments: the unit of storage and search.
//!
//! A collection is a list of segments. New points go to a [`MutableSegment`] in memory; a
//! [`SealedSegment`] is a folder of immutable, checksummed files. Both are read through
//! [`SegmentReader`], so that scan, `get` and `scroll` are implemented once. Rows are dense u32
//! numbers within a segment; a deleted row stays until a merge and is masked by tombstones, which
//! live outside the segment.

mod builder;
mod mutable;
mod payload_index;
mod payload_rows;
mod row_filter;
mod sealed;
mod sections;
mod snapshot;
mod values;

use std::sync::Arc;

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
use crate::field::text::{TextIndex, TextPart};
use crate::model::{Condition, DeclaredPath, Payload, PointId, Scalar};

/// A segment, in memory or sealed.
pub trait SegmentReader: RowIds + RowPayloads {
    /// Number of rows, including deleted ones.
    fn rows(&self) -> u32;

    /// A field, by its index in name order.
    fn field(&self, field: usize) -> &dyn FieldReader;

    /// The indexes of a text field, by its index in name order: together they have every row.
    ///
    /// # Errors
    /// If an index of rows in memory, built when it is first asked for, cannot be built.
    fn texts(&self, field: usize) -> Result<Vec<TextPart>>;

    /// The index of a text field if it is sealed; it has every row.
    fn sealed_text(&self, field: usize) -> Option<&Arc<TextIndex>> {
        let _ = field;
        None
    }

    /// Checks that everything read so far could be read. Call this after reading: unreadable data
    /// looks like zeros.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Io`] naming the file with an unreadable page.
    fn check_pages(&self) -> Result<()>;
}

/// The ids of the rows of a segment.
pub trait RowIds: Send + Sync {
    /// The id of a row.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] if a sealed file has no valid id there.
    fn id(&self, row: u32) -> Result<PointId>;

    /// The newest row with this id, deleted or not.
    ///
    /// # Errors
    /// As [`Self::id`].
    fn find(&self, id: &PointId) -> Result<Option<u32>>;

    /// The first `limit` live rows with an id after `after`, in id order.
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

/// The payloads of the rows of a segment, and lookups by payload.
pub trait RowPayloads: Send + Sync {
    /// The payload of a row.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] if a sealed file has no valid text there.
    fn payload(&self, row: u32) -> Result<Option<Payload>>;

    /// Prepares a condition, which was resolved for this collection, for the rows of this segment.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] if a sealed file is damaged.
    fn filter<'s>(&'s self, condition: &Condition) -> Result<RowFilter<'s>>;

    /// True if the segment has a column for a declared path. It has none for paths declared after
    /// it was sealed; payloads are read instead.
    fn has_column(&self, path: &DeclaredPath) -> bool;

    /// Visits the values of live rows at a declared path, ordered by row and value; `None` stands
    /// for `null`.
    ///
    /// # Errors
    /// As [`Self::filter`].
    fn visit_path(
        &self,
        path: &DeclaredPath,
        deleted: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Option<Scalar<'_>>),
    ) -> Result<()>;

    /// Visits the values of these rows at a declared path, ordered by row and value.
    ///
    /// # Errors
    /// As [`Self::filter`].
    fn visit_values(
        &self,
        path: &DeclaredPath,
        rows: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Scalar<'_>),
    ) -> Result<()>;

    /// Counts these rows by value at a path.
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

    /// Groups these rows by value at a path, as far as `order` needs them.
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
