//! Fixed-dimensional encodings (MUVERA: Dhulipala et al., NeurIPS 2024, arXiv 2405.19504, §2).
//!
//! The dot product of a query's and a document's encoding approximates their MaxSim. Random
//! hyperplanes (SimHash) cut the space into B = 2^k cells. The block of a cell is the sum of its
//! tokens for a query, and their centroid for a document, so that each query token meets the mean
//! of the nearby document tokens. An empty cell of a document is filled with the token whose bits
//! differ least (`fill`). Blocks are projected to fewer dimensions by random signs, and everything
//! is repeated R times with other planes and signs: R · B · d_proj dimensions, 20 · 2⁵ · 16 =
//! 10,240 by default.
//!
//! The metric of encodings is the raw dot product: their norms depend on the number of query
//! tokens, and normalizing them would change the ranking.
//!
//! - [`FdeSettings`]: the parameters, validated by [`FdeEncoder::new`].
//! - [`FdeEncoder`]: the encoder. All products of a document are one matrix product.
//! - [`SparseFde`]: a query's encoding, with at most one non-zero block per token and repetition.
//! - [`Generator`]: source of the random numbers; `google` is the generator and layout of the
//!   reference implementation, bit by bit.
//! - [`carve_balls`]: fewer query tokens, by summing similar ones.

mod ball_carving;
mod encoder;
mod fill;
mod final_projection;
mod google;
mod paper;
mod sparse;
#[cfg(test)]
mod tests;

pub use crate::model::{FdeSettings, Generator, MAX_FDE_DIMENSION};
pub use ball_carving::carve_balls;
pub use encoder::FdeEncoder;
pub use sparse::SparseFde;
