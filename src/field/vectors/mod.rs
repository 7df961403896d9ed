//! Vector fields, single, multi or sparse: the raw vectors, the codes that replace them in searches,
//! and the index over the codes, or the inverted index of sparse vectors.
//!
//! A single vector is the one-row case of a multi-vector: both are stored, coded and searched here.
//! What is specific to multi-vectors is in `codes/multi`.

mod codes;
mod index;
mod inverted;
mod sealed;
mod sections;
mod writer;

pub use codes::{
    CodedSample, FieldCodec, FieldCodes, FieldEncoder, FieldQuery, Probed, TokenStore,
    count_tokens, sample_tokens, sample_vectors,
};
pub use index::{FieldIndex, IndexReport, write_calibration, write_index};
pub use inverted::InvertedIndex;
use roaring::RoaringBitmap;
pub use sealed::SealedVectors;
pub use writer::write_vectors;

/// The searchable form of a field's vectors.
#[derive(Debug, Clone, Copy)]
pub struct CodedField<'f> {
    /// The codes.
    pub codes: &'f FieldCodes,
    /// The index over the codes, once it is built.
    pub index: Option<&'f FieldIndex>,
    /// Rows without a vector, if there are any.
    pub absent: Option<&'f RoaringBitmap>,
    /// True if the raw vectors are kept; otherwise vectors are reconstructed from codes.
    pub has_raw: bool,
}

impl CodedField<'_> {
    /// A lower bound of the recall of a full scan among the exact nearest `hits` rows: 1, unless
    /// the raw vectors were dropped. `None` if unknown. Recall is lower for queries far from the
    /// rows: `nearness` is that of the last hit, if known (`index::nearness`).
    pub fn kept(&self, hits: usize, nearness: Option<f32>) -> Option<f32> {
        if self.has_raw { Some(1.0) } else { self.codes.kept(hits, nearness) }
    }
}
