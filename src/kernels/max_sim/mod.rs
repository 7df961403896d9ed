//! MaxSim over coded tokens: Σ over query tokens of the best score with a document's tokens.
//!
//! A document is in the layout of [`TokenLayout`], a query was rounded to signed 8-bit integers
//! ([`MaxSimQuery`]). The score of query token q and document token p is
//! scale_q · (Δ_p · Σ qᵢ·cᵢ + l_p · Σ qᵢ), as for single vectors ([`super::codes`]), without the
//! scale until the maximum is known, since scales are not negative. Documents are streamed once for
//! up to eight query tokens, whose maxima stay in registers; no matrix of scores is written.
//!
//! Sums of products are exact, and what follows is rounded one operation after the other, so all
//! implementations give the same score to the last bit.
//!
//! - AVX-512 with VNNI: `vpdpbusd` on the words of 16 tokens.
//! - AVX2: codes widened to 16 bits and `vpmaddwd`.
//! - NEON: `smull` and `sadalp` on codes moved to −128..127.
//!
//! The algorithm is in `stream.rs`, and the operations of each instruction set in a file of its own.
//! [`super::products`] does the same for f32 tokens.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod layout;
#[cfg(target_arch = "aarch64")]
mod neon;
mod query;
mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod stream;

use layout::BLOCK_TOKENS;
pub use layout::{TokenConstants, TokenLayout};
pub use query::MaxSimQuery;
use query::{TILE_TOKENS, Tile};

use super::codes::CodeBits;
use super::isa::{Isa, kernel};

kernel! {
    /// An implementation of MaxSim over codes that this machine can run.
    MaxSimKernel: integers
}

/// What an implementation reads: `tokens` tokens from the start of `bytes`, and slack after them.
struct Document<'a> {
    bytes: &'a [u8],
    tokens: usize,
    layout: &'a TokenLayout,
}

impl MaxSimKernel {
    /// MaxSim of the query with the document of `tokens` tokens at the start of `bytes`; other
    /// documents go on after it, or the slack. Higher is better; −∞ for no token.
    ///
    /// # Panics
    /// If `bytes` end before the document and the slack that the layout asks for after it.
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
                CodeBits::Eight => self.run::<1>(&document, &tile, best),
                CodeBits::Four => self.run::<2>(&document, &tile, best),
            }
            for (best, scale) in best.iter().zip(&mut scales) {
                score += scale * best;
            }
        }
        // ∞ − ∞, from huge values, is worse than any other; so is 0 · −∞.
        score.max(f32::NEG_INFINITY)
    }

    /// Multiplies registers with each other `rounds` times without touching memory, and returns the
    /// number of products: the most that the machine can do, as a benchmark's measure. `None`
    /// where it is not implemented.
    pub fn multiply_registers(self, rounds: u64) -> Option<u64> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `self` proves the CPU feature.
            Isa::Avx512Vnni(_) => Some(unsafe { avx512::multiply_registers(rounds) }),
            _ => {
                // Not used where there is no such implementation.
                let _ = rounds;
                None
            }
        }
    }

    /// `best[t]` becomes the greatest unscaled score of token t of the tile, for codes of which a
    /// byte holds `HALVES`; the document was checked by [`Self::score`].
    #[inline]
    fn run<const HALVES: usize>(self, document: &Document<'_>, tile: &Tile<'_>, best: &mut [f32]) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `isa` proves the CPU feature. Bounds: `score` asserts the slack after the
            // document, and the query was made for its layout. Loads are unaligned.
            Isa::Avx2(isa) => unsafe { avx2::best::<HALVES>(isa, document, tile, best) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: features, bounds and alignment as for AVX2.
            Isa::Avx512Vnni(isa) => unsafe { avx512::best::<HALVES>(isa, document, tile, best) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: features, bounds and alignment as for AVX2.
            Isa::Neon(isa) => unsafe { neon::best::<HALVES>(isa, document, tile, best) },
            _ => scalar::best::<HALVES>(document, tile, best),
        }
    }
}

#[cfg(test)]
mod tests;
