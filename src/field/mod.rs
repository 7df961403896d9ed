//! The fields of a segment, as queries, merges and indexes access them.
//!
//! Each kind of field is a module here that owns its sections and how they are written and read. A
//! segment exposes each of its fields as a [`FieldReader`], whether its rows are in memory or
//! sealed.

mod files;
mod live;
mod memory;
mod sections;
pub mod text;
pub mod vectors;

use std::ops::Range;

pub use files::{FieldBuild, SegmentFile, SegmentFiles, advance, finish};
pub use live::{FieldSource, LiveRows};
pub(crate) use memory::place;
pub use memory::{FileMemory, FileRole};
use roaring::RoaringBitmap;
pub(crate) use sections::{bitmap, bitmap_bytes, check_offsets, slice};
pub use vectors::{
    CodedField, FieldCodes, FieldIndex, FieldQuery, IndexReport, InvertedIndex, Probed, TokenStore,
};

use crate::error::Result;
use crate::model::{ElementsRef, Vector, VectorsView};

/// One field of a segment, whether its rows are in memory or sealed.
pub trait FieldReader: Send + Sync {
    /// Visits the vectors of a range of rows, block by block: `visit` gets the block's first row, the
    /// block, and the rows of the block that lie in the range. Vectors that were dropped are
    /// reconstructed from their codes.
    fn visit(&self, rows: Range<u32>, visit: &mut dyn FnMut(u32, VectorsView<'_>, Range<usize>));

    /// Visits the vectors of the listed rows, in order. Faster than [`Self::visit`] for scattered
    /// rows.
    fn visit_rows(&self, rows: &[u32], visit: &mut dyn FnMut(u32, ElementsRef<'_>)) {
        visit_one_by_one(self, rows, visit);
    }

    /// The vector of a row, widened to f32; `None` if the row has none.
    fn vector(&self, row: u32) -> Option<Vector> {
        let mut found = None;
        self.visit(row..row + 1, &mut |_, view, range| {
            found = view.vector(range.start);
        });
        found
    }

    /// Bytes that an exact scan reads.
    fn vector_bytes(&self) -> u64;

    /// Codes and index, if it has codes.
    fn coded(&self) -> Option<CodedField<'_>>;

    /// The inverted index, if it is a sparse field that is sealed.
    fn inverted(&self) -> Option<&InvertedIndex> {
        None
    }

    /// Advises that [`Self::visit`] will read these rows soon, for files without automatic
    /// read-ahead.
    fn read_ahead(&self, rows: Range<u32>);

    /// Verifies the checksums of the bytes that [`Self::vector`] reads for a row; each block is
    /// verified once.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file, section and block.
    fn check_vector(&self, row: u32) -> Result<()>;

    /// Verifies the checksums of the bytes that re-ranking these rows reads: secondary codes, or
    /// vectors where there are none.
    ///
    /// # Errors
    /// As [`Self::check_vector`].
    fn check_rescored(&self, rows: &[u32]) -> Result<()>;

    /// Verifies the checksums of the bytes that a scan of a range reads: the codes that `query` is
    /// scored against, or the vectors without a query.
    ///
    /// # Errors
    /// As [`Self::check_vector`].
    fn check_scanned(&self, rows: Range<u32>, query: Option<&FieldQuery>) -> Result<()>;
}

impl dyn FieldReader + '_ {
    /// The codes, if there are any.
    pub fn codes(&self) -> Option<&FieldCodes> {
        self.coded().map(|coded| coded.codes)
    }

    /// The index, once it is built.
    pub fn index(&self) -> Option<&FieldIndex> {
        self.coded()?.index
    }

    /// Rows without a vector, if there are codes: those rows have a record, too.
    pub fn absent(&self) -> Option<&RoaringBitmap> {
        self.coded()?.absent
    }

    /// True if the raw vectors are kept; otherwise vectors are reconstructed from codes.
    pub fn has_raw(&self) -> bool {
        self.coded().is_none_or(|coded| coded.has_raw)
    }

    /// As [`CodedField::kept`]; 1 for raw vectors.
    pub fn kept(&self, hits: usize, nearness: Option<f32>) -> Option<f32> {
        self.coded().map_or(Some(1.0), |coded| coded.kept(hits, nearness))
    }
}

/// Default of [`FieldReader::visit_rows`].
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
