//! Residual codes: a token is a centroid and the rest, of which only the rest is coded (ColBERTv2,
//! arXiv 2112.01488, section 3.3). ⟨q, p⟩ = ⟨q, c⟩ + ⟨q, rest⟩: the first comes from a table of all
//! products, the second from the integers. The number of the centroid takes the place of the lower
//! bound, since the codes of a rest are symmetric around zero.

use std::sync::Arc;

use super::layout::{BLOCK_TOKENS, TokenBits, TokenConstants, WORD_BYTES};
use crate::kernels::centroids::Run;

/// Products of the tokens of a query with all centroids, as 16-bit values: ⟨q, c⟩ = lowest + step ·
/// value, with a lowest product for each token.
#[derive(Debug, Clone)]
pub struct CentroidProducts {
    /// Shape [centroids + 1, runs], with a value for each token, in order. The last row is of zeros: a
    /// centroid that does not exist adds nothing.
    pub table: Arc<Vec<Run>>,
    /// Runs of each centroid.
    pub runs: usize,
    /// Step between values.
    pub step: f32,
    /// The lowest product of each token.
    pub lowest: Vec<f32>,
}

/// The products with the tokens of a tile. From the first of them on, each row has at least
/// [`TILE_TOKENS`](super::query::TILE_TOKENS) values, which kernels read at once.
#[derive(Clone, Copy)]
pub(super) struct TileProducts<'a> {
    /// Whole rows of `width` values.
    pub values: &'a [i16],
    pub width: usize,
    /// Number of the last row.
    pub last: usize,
    /// The first of the tile's tokens.
    pub first: usize,
    /// For each token of the tile, the step divided by its scale.
    pub factors: &'a [f32],
}

impl<'a> TileProducts<'a> {
    /// Place of a centroid's value for the first token of the tile.
    #[inline(always)]
    fn place(&self, centroid: u32) -> usize {
        (centroid as usize).min(self.last) * self.width + self.first
    }

    /// The values of a centroid, one for each token of the tile.
    #[inline]
    pub fn row(&self, centroid: u32) -> &'a [i16] {
        &self.values[self.place(centroid)..][..self.factors.len()]
    }

    /// The values of 16 centroids, whose numbers are little-endian, from token `skip` of the tile
    /// on: at least [`TILE_TOKENS`](super::query::TILE_TOKENS) less `skip` are readable at each pointer.
    #[inline(always)]
    pub fn rows(
        &self,
        skip: usize,
        centroids: &[[u8; WORD_BYTES]; BLOCK_TOKENS],
    ) -> [*const i16; BLOCK_TOKENS] {
        let start = self.values.as_ptr();
        let mut rows = [start; BLOCK_TOKENS];
        for (row, &centroid) in rows.iter_mut().zip(centroids) {
            *row = start.wrapping_add(self.place(u32::from_le_bytes(centroid)) + skip);
        }
        rows
    }
}

impl TokenConstants {
    /// Of a residual code: the step, and the centroid instead of the value of code 0.
    pub fn of_residual(step: f32, centroid: u32) -> Self {
        Self { step, low: f32::from_bits(centroid) }
    }

    /// The centroid of a residual code.
    #[inline]
    pub fn centroid(&self) -> u32 {
        self.low.to_bits()
    }
}

impl TokenBits {
    /// The code of zero: between the two in the middle. A rest is step · (code − middle).
    #[inline]
    pub fn middle(self) -> f32 {
        f32::from(self.max()) / 2.0
    }
}
