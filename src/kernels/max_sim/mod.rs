//! MaxSim over coded tokens: Σ over query tokens of the best score with a document's tokens.
//!
//! A document is in the layout of [`TokenLayout`], a query is rounded to signed 8-bit integers
//! ([`MaxSimQuery`]). The score of query token q and document token p is scale_q · (Δ_p · Σ qᵢ·cᵢ +
//! l_p · Σ qᵢ), as for single vectors ([`super::codes`]). The scale is applied after the maximum,
//! because it is not negative. Documents are streamed once for up to eight query tokens, whose
//! maxima stay in registers; the score matrix is never materialized.
//!
//! Integer sums are exact, and the following operations are rounded one by one, so all
//! implementations give bit-identical scores.
//!
//! - AVX-512 with VNNI: `vpdpbusd` on the words of 16 tokens.
//! - AVX2: codes widened to 16 bits and `vpmaddwd`.
//! - NEON: `smull` and `sadalp` on codes shifted to −128..127.
//!
//! Of residual codes (`residual.rs`), which have 2, 4 or 8 bits, low is −middle · Δ, and the product of q
//! with the token's centroid is added, in units of the scale: Δ_p · (Σ qᵢ·cᵢ − middle · Σ qᵢ) + ⟨q, c⟩.
//!
//! The algorithm is in `stream.rs`, and the operations of each instruction set in their own file.
//! [`super::products`] does the same for f32 tokens.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod layout;
#[cfg(target_arch = "aarch64")]
mod neon;
mod query;
mod residual;
mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod stream;

use layout::BLOCK_TOKENS;
pub use layout::{TokenBits, TokenConstants, TokenLayout};
pub use query::MaxSimQuery;
use query::{TILE_TOKENS, Tile};
pub use residual::CentroidProducts;

use super::isa::{Isa, kernel};

/// Tokens of a document whose products with all tokens of a query are computed before those of the
/// next: whole blocks.
const PART_TOKENS: usize = 16 * BLOCK_TOKENS;

kernel! {
    /// A MaxSim kernel over codes that this CPU supports.
    MaxSimKernel: integers
}

/// A document to score: `tokens` tokens from the start of `bytes`, followed by slack.
struct Document<'a> {
    bytes: &'a [u8],
    tokens: usize,
    layout: &'a TokenLayout,
}

impl MaxSimKernel {
    /// MaxSim of the query with the document of `tokens` tokens at the start of `bytes`, which must
    /// be followed by other documents or slack. Higher is better; −∞ without tokens.
    ///
    /// # Panics
    /// If `bytes` is too short for the document and the slack of its layout.
    #[inline]
    pub fn score(self, query: &MaxSimQuery, bytes: &[u8], tokens: usize) -> f32 {
        let layout = query.layout();
        let needed = layout.document_bytes(tokens) + TokenLayout::SLACK_BYTES;
        assert!(needed <= bytes.len(), "a document and slack");
        let document = Document { bytes, tokens, layout };
        let mut best = [0.0; TILE_TOKENS];
        let mut score = 0.0;
        let mut scales = query.scales().iter();
        for tile in query.tiles() {
            let best = &mut best[..tile.totals.len()];
            match query.bits() {
                TokenBits::Eight => self.run::<1>(&document, &tile, best),
                TokenBits::Four => self.run::<2>(&document, &tile, best),
                TokenBits::Two => self.run::<4>(&document, &tile, best),
            }
            for (best, scale) in best.iter().zip(&mut scales) {
                score += scale * best;
            }
        }
        score += query.offset();
        // ∞ − ∞, from huge values, ranks last; so does 0 · −∞.
        score.max(f32::NEG_INFINITY)
    }

    /// Products of each query token with each token of the document at the start of `bytes`, which must
    /// be followed by slack; shape [query tokens, tokens].
    ///
    /// # Panics
    /// As [`Self::score`], or if `out` has another length.
    pub fn products(self, query: &MaxSimQuery, bytes: &[u8], tokens: usize, out: &mut [f32]) {
        let layout = query.layout();
        let needed = layout.document_bytes(tokens) + TokenLayout::SLACK_BYTES;
        assert!(needed <= bytes.len(), "a document and slack");
        assert_eq!(out.len(), query.len() * tokens, "a product a pair of tokens");
        let mut part = [0.0; TILE_TOKENS * PART_TOKENS];
        // A part stays in the cache for all tiles.
        for start in (0..tokens).step_by(PART_TOKENS) {
            let len = PART_TOKENS.min(tokens - start);
            let bytes = &bytes[layout.document_bytes(start)..];
            let document = Document { bytes, tokens: len, layout };
            let mut scales = query.scales().iter();
            let mut out = out.chunks_exact_mut(tokens);
            for tile in query.tiles() {
                let part = &mut part[..tile.totals.len() * len];
                match query.bits() {
                    TokenBits::Eight => self.run_products::<1>(&document, &tile, part),
                    TokenBits::Four => self.run_products::<2>(&document, &tile, part),
                    TokenBits::Two => self.run_products::<4>(&document, &tile, part),
                }
                for ((part, out), scale) in part.chunks_exact(len).zip(&mut out).zip(&mut scales) {
                    let products = out[start..].iter_mut().zip(part);
                    products.for_each(|(out, product)| *out = product * scale);
                }
            }
        }
    }

    /// Multiplies registers `rounds` times without touching memory, and returns the number of
    /// products: the peak rate of the CPU, for benchmarks. `None` if not implemented.
    pub fn multiply_registers(self, rounds: u64) -> Option<u64> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `self` proves the CPU feature.
            Isa::Avx512Vnni(_) => Some(unsafe { avx512::multiply_registers(rounds) }),
            _ => {
                // Unused without such an implementation.
                let _ = rounds;
                None
            }
        }
    }

    /// Writes the unscaled products of the tile; the document was checked by [`Self::products`].
    #[inline]
    fn run_products<const PER_BYTE: usize>(
        self,
        document: &Document<'_>,
        tile: &Tile<'_>,
        out: &mut [f32],
    ) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `isa` proves the CPU feature. Bounds: `products` asserts the slack after the
            // document and the length of `out`, and the query was made for the document's layout.
            // Loads and stores are unaligned.
            Isa::Avx2(isa) => unsafe { avx2::products::<PER_BYTE>(isa, document, tile, out) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: features, bounds and alignment as for AVX2.
            Isa::Avx512Vnni(isa) => unsafe {
                avx512::products::<PER_BYTE>(isa, document, tile, out);
            },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: features, bounds and alignment as for AVX2.
            Isa::Neon(isa) => unsafe { neon::products::<PER_BYTE>(isa, document, tile, out) },
            _ => scalar::products::<PER_BYTE>(document, tile, out),
        }
    }

    /// Writes the largest unscaled score of token t of the tile to `best[t]`, for codes of which a
    /// byte holds `PER_BYTE`; the document was checked by [`Self::score`].
    #[inline]
    fn run<const PER_BYTE: usize>(
        self,
        document: &Document<'_>,
        tile: &Tile<'_>,
        best: &mut [f32],
    ) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `isa` proves the CPU feature. Bounds: `score` asserts the slack after the
            // document, and the query was made for its layout. Loads are unaligned.
            Isa::Avx2(isa) => unsafe { avx2::best::<PER_BYTE>(isa, document, tile, best) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: features, bounds and alignment as for AVX2.
            Isa::Avx512Vnni(isa) => unsafe { avx512::best::<PER_BYTE>(isa, document, tile, best) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: features, bounds and alignment as for AVX2.
            Isa::Neon(isa) => unsafe { neon::best::<PER_BYTE>(isa, document, tile, best) },
            _ => scalar::best::<PER_BYTE>(document, tile, best),
        }
    }
}

#[cfg(test)]
mod tests;
