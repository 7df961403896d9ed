//! Fixed-dimensional encodings (MUVERA: Dhulipala et al., NeurIPS 2024, arXiv 2405.19504, §2).
//!
//! The dot product of a query's and a document's encoding approximates their MaxSim. Hyperplanes at
//! random (SimHash) cut the space into B = 2^k cells. The block of a cell is, for a query, the sum of
//! its tokens there, and for a document their centroid, so that each query token meets the mean of
//! the document tokens which are near. A document without a token in a cell gives the cell the
//! token whose bits differ least (`fill`). Blocks are mapped to fewer dimensions by random signs,
//! and all is repeated R times with other planes and signs: R · B · d_proj dimensions, 20 · 2⁵ · 16 =
//! 10,240 by default.
//!
//! The metric of encodings is the raw dot product: their lengths carry the number of query tokens,
//! and normalising them would change the ranking.
//!
//! - [`FdeSettings`]: the parameters, validated by [`FdeEncoder::new`].
//! - [`FdeEncoder`]: encodes. All products of a document are one matrix product.
//! - [`SparseFde`]: a query's encoding, of which at most one block a token and repetition is not 0.
//! - [`Generator`]: where the random numbers come from; `google` is the reference implementation's
//!   generator and layout, bit by bit.
//! - [`carve_balls`]: fewer query tokens, by sums of similar ones.

mod ball_carving;
mod encoder;
mod fill;
mod final_projection;
mod google;
mod paper;
mod settings;
mod sparse;
#[cfg(test)]
mod tests;

pub use ball_carving::carve_balls;
pub use encoder::FdeEncoder;
pub use settings::{FdeSettings, Generator, MAX_FDE_DIMENSION};
pub use sparse::SparseFde;
