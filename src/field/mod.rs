//! The fields of a segment: what queries, merges and indexes ask of one of them.
//!
//! A kind of field is a folder here that owns its sections, how they are written and how they are read. A
//! segment gives each of its fields as a [`FieldReader`], whether its rows are in memory or sealed.

mod files;
mod live;
mod memory;
mod sections;
pub mod vectors;

use std::ops::Range;

pub use files::{FieldBuild, SegmentFile, SegmentFiles, advance, finish};
pub use live::{FieldSource, LiveRows};
pub(crate) use memory::place;
pub use memory::{FileMemory, FileRole};
use roaring::RoaringBitmap;
pub(crate) use sections::{bitmap, bitmap_bytes, check_offsets, slice};
pub use vectors::{CodedField, FieldCodes, FieldIndex, FieldQuery, IndexReport, TokenStore};

use crate::error::Result;
use crate::model::{ElementsRef, Vector, VectorsView};

/// One field of a segment, whether its rows are in memory or sealed.
pub trait FieldReader: Send + Sync {
    /// Visits the vectors of a range of rows, block by block: `visit` gets the block's first row, the block,
    /// and which of its rows lie in the range. Where the vectors themselves were not kept, these are
    /// reconstructed from their codes.
    fn visit(&self, rows: Range<u32>, visit: &mut dyn FnMut(u32, VectorsView<'_>, Range<usize>));

    /// Visits the vectors of the listed rows, in their order. Faster than [`Self::visit`] for rows here
    /// and there.
    fn visit_rows(&self, rows: &[u32], visit: &mut dyn FnMut(u32, ElementsRef<'_>)) {
        visit_one_by_one(self, rows, visit);
    }

    /// The vector of a row, widened to f32; `None` where the point has none.
    fn vector(&self, row: u32) -> Option<Vector> {
        let mut found = None;
        self.visit(row..row + 1, &mut |_, view, range| {
            found = view.vector(range.start);
        });
        found
    }

    /// Bytes of vectors that an exact scan reads.
    fn vector_bytes(&self) -> u64;

    /// Its codes and what is built of them, if it has codes.
    fn coded(&self) -> Option<CodedField<'_>>;

    /// Says that [`Self::visit`] will read these rows soon, where the system reads nothing ahead by
    /// itself.
    fn read_ahead(&self, rows: Range<u32>);

    /// Compares what [`Self::vector`] reads of a row with its checksums, those of a block once.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file, section and block.
    fn check_vector(&self, row: u32) -> Result<()>;

    /// Compares what scoring these rows again reads with its checksums: their secondary codes, or their
    /// vectors where there are none.
    ///
    /// # Errors
    /// As [`Self::check_vector`].
    fn check_rescored(&self, rows: &[u32]) -> Result<()>;

    /// The same of what a scan of a range reads: the codes that a query is scored by, or without one the
    /// vectors.
    ///
    /// # Errors
    /// As [`Self::check_vector`].
    fn check_scanned(&self, rows: Range<u32>, query: Option<&FieldQuery>) -> Result<()>;
}

impl dyn FieldReader + '_ {
    /// The codes, if it has any.
    pub fn codes(&self) -> Option<&FieldCodes> {
        self.coded().map(|coded| coded.codes)
    }

    /// The index, once there is one.
    pub fn index(&self) -> Option<&FieldIndex> {
        self.coded()?.index
    }

    /// The rows without a vector where there are codes, for which these have a record, too.
    pub fn absent(&self) -> Option<&RoaringBitmap> {
        self.coded()?.absent
    }

    /// Whether the vectors are those that were written; if not, they are reconstructed from codes.
    pub fn has_raw(&self) -> bool {
        self.coded().is_none_or(|coded| coded.has_raw)
    }

    /// As [`CodedField::kept`]; vectors themselves keep everything.
    pub fn kept(&self, hits: usize, nearness: Option<f32>) -> Option<f32> {
        self.coded().map_or(Some(1.0), |coded| coded.kept(hits, nearness))
    }
}

/// [`FieldReader::visit_rows`] where there is no faster way.
fn visit_one_by_one<R: FieldReader + ?Sized>(
    reader: &R,
    rows: &[u32],
    visit: &mut dyn FnMut(u32, ElementsRef<'_>),
) {
    for &row in rows {
        reader.visit(row..row + 1, &mut |_, view, range| {
            visit(row, view.row(range.start));
        });
    }
}
