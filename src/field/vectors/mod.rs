//! Vector fields, of one vector or of many a point: the vectors themselves, the codes that stand for them in
//! searches, and the index over these.
//!
//! A single vector is the one-row case of a multi-vector: both are stored, coded and searched here. What only
//! many vectors a point have is in `codes/multi`.

mod codes;
mod index;
mod sealed;
mod sections;
mod writer;

pub use codes::{
    CodedSample, FieldCodes, FieldEncoder, FieldQuery, TokenStore, count_tokens, sample_tokens,
    sample_vectors,
};
pub use index::{FieldIndex, IndexReport, write_calibration, write_index};
use roaring::RoaringBitmap;
pub use sealed::SealedVectors;
pub use writer::write_vectors;

/// What stands for the vectors of a field in searches.
#[derive(Debug, Clone, Copy)]
pub struct CodedField<'f> {
    /// The codes.
    pub codes: &'f FieldCodes,
    /// The index over them, once there is one.
    pub index: Option<&'f FieldIndex>,
    /// The rows without a vector, if there are any.
    pub absent: Option<&'f RoaringBitmap>,
    /// Whether the vectors are those that were written; if not, they are reconstructed from the codes.
    pub has_raw: bool,
}

impl CodedField<'_> {
    /// The share of so many exact nearest rows that scoring everything finds at least: 1, unless the
    /// vectors were dropped. `None` if it is not known. Less is kept for queries that are far from the rows:
    /// if it is known, `nearness` says how near the last hit is (`index::nearness`).
    pub fn kept(&self, hits: usize, nearness: Option<f32>) -> Option<f32> {
        if self.has_raw { Some(1.0) } else { self.codes.kept(hits, nearness) }
    }
}
