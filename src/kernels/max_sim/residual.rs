//! Residual codes: a token is a centroid and the rest, of which only the rest is coded (ColBERTv2,
//! arXiv 2112.01488, section 3.3). ⟨q, p⟩ = ⟨q, c⟩ + ⟨q, rest⟩: the first comes from a table of all
//! products, the second from the integers. The number of the centroid takes the place of the lower
//! bound, since the codes of a rest are symmetric around zero.

use std::sync::Arc;

use super::layout::{BLOCK_TOKENS, TokenConstants};
use crate::kernels::centroids::RUN;
use crate::kernels::codes::CodeBits;

/// Products of the tokens of a query with all centroids, as 16-bit values: ⟨q, c⟩ = lowest + step ·
/// value, with a lowest product for each token.
#[derive(Debug, Clone)]
pub struct CentroidProducts {
    /// Shape [centroids, runs], with a value for each token, in order.
    pub table: Arc<[[i16; RUN]]>,
    /// Runs of each centroid.
    pub runs: usize,
    /// Step between values.
    pub step: f32,
    /// The lowest product of each token.
    pub lowest: Vec<f32>,
}

/// The products, as kernels add them to the unscaled scores of a tile.
#[derive(Clone, Copy)]
pub(super) struct TileProducts<'a> {
    pub values: &'a [i16],
    pub width: usize,
    /// The first of the tile's tokens.
    pub first: usize,
    /// For each token of the tile, the step divided by its scale.
    pub factors: &'a [f32],
}

impl TileProducts<'_> {
    /// Adds nothing for a centroid that does not exist.
    #[inline(always)]
    pub fn of(&self, centroid: u32) -> &[i16] {
        let start = centroid as usize * self.width + self.first;
        self.values.get(start..start + self.factors.len()).unwrap_or_default()
    }

    /// What to add to the scores of the first `QUERIES` tokens of the tile from `skip` on, for each
    /// token of a block with these centroids.
    #[inline(always)]
    pub fn of_block<const QUERIES: usize>(
        &self,
        skip: usize,
        centroids: &[u8],
    ) -> [[f32; BLOCK_TOKENS]; QUERIES] {
        let mut values = [[0_i16; BLOCK_TOKENS]; QUERIES];
        for (token, centroid) in centroids.as_chunks::<4>().0.iter().take(BLOCK_TOKENS).enumerate()
        {
            let row = self.of(u32::from_le_bytes(*centroid));
            let Some(row) = row.get(skip..).and_then(|row| row.first_chunk::<QUERIES>()) else {
                continue;
            };
            for query in 0..QUERIES {
                values[query][token] = row[query];
            }
        }
        let mut products = [[0.0; BLOCK_TOKENS]; QUERIES];
        for query in 0..QUERIES {
            for token in 0..BLOCK_TOKENS {
                products[query][token] =
                    f32::from(values[query][token]) * self.factors[skip + query];
            }
        }
        products
    }
}

impl TokenConstants {
    /// Of a residual code: the step, and the centroid instead of the value of code 0.
    pub fn of_residual(step: f32, centroid: u32) -> Self {
        Self { step, low: f32::from_bits(centroid) }
    }

    /// The centroid of a residual code.
    pub fn centroid(&self) -> u32 {
        self.low.to_bits()
    }
}

/// The code of zero: between the two in the middle. A rest is step · (code − middle).
pub fn middle(bits: CodeBits) -> f32 {
    f32::from(bits.max()) / 2.0
}
