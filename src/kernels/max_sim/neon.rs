//! NEON: a row of a block is four quarters, each of a word of four tokens.
//!
//! `smull` multiplies signed bytes, so 8-bit codes are moved to −128..127 by flipping their
//! highest bit, and 128·Σ qᵢ is added at the end. 4-bit codes are small enough as they are.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, vaddq_f32, vaddq_s32, vandq_u8, vbslq_f32, vcgtq_f32,
    vcltq_s32, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8, veorq_u8, vget_low_s8,
    vld1q_s32, vld1q_u8, vmaxvq_f32, vmull_high_s8, vmull_s8, vmulq_f32, vpadalq_s16, vpaddq_s32,
    vreinterpretq_f32_u8, vreinterpretq_s8_s32, vreinterpretq_s8_u8, vshrq_n_u8,
};

use super::layout::{CONSTANT_BYTES, WORD_BYTES};
use super::{BLOCK_TOKENS, Document, Tile};

/// Bytes of a register.
const QUARTER_BYTES: usize = 16;
/// Tokens of a quarter.
const LANES: usize = 4;

/// # Safety
/// NEON, and what `MaxSimKernel::score` asserts.
#[target_feature(enable = "neon")]
pub unsafe fn best<const HALVES: usize>(
    document: &Document<'_>,
    tile: &Tile<'_>,
    best: &mut [f32],
) {
    // Two query tokens have 16 registers of sums, half of all.
    let mut first = 0;
    for best in best.chunks_mut(2) {
        // SAFETY: what the caller promises; the query tokens are within the tile.
        unsafe {
            match best {
                [a, b] => [*a, *b] = stream::<2, HALVES>(document, tile, first),
                _ => best.copy_from_slice(&stream::<1, HALVES>(document, tile, first)),
            }
        }
        first += 2;
    }
}

/// The greatest unscaled scores of `QUERIES` query tokens from `first` on.
///
/// # Safety
/// As [`best`]; the tokens are within the tile.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn stream<const QUERIES: usize, const HALVES: usize>(
    document: &Document<'_>,
    tile: &Tile<'_>,
    first: usize,
) -> [f32; QUERIES] {
    let mut maxima = [vdupq_n_f32(f32::NEG_INFINITY); QUERIES];
    let token_bytes = document.layout.token_bytes();
    for token in (0..document.tokens).step_by(BLOCK_TOKENS) {
        let width = BLOCK_TOKENS.min(document.tokens - token);
        // SAFETY: the block begins within the document.
        let start = unsafe { document.bytes.as_ptr().add(token * token_bytes) };
        // SAFETY: the block is there, and after it the slack.
        let sums = unsafe { block_sums::<QUERIES, HALVES>(start, width, tile, first) };
        for quarter in 0..4 {
            // SAFETY: a block begins with its steps and lows; what follows is more of the document
            // or its slack. NEON loads need no alignment.
            let (steps, lows) = unsafe {
                let constants = start.add(quarter * QUARTER_BYTES);
                (load(constants), load(constants.add(width * WORD_BYTES)))
            };
            let left = width as i32 - (quarter * LANES) as i32;
            for ((query, sums), maxima) in sums.iter().enumerate().zip(&mut maxima) {
                let total = tile.totals[first + query];
                let moved = if HALVES == 1 { 128 * total } else { 0 };
                let sum = vaddq_s32(sums[quarter], vdupq_n_s32(moved));
                let scores = vaddq_f32(
                    vmulq_f32(steps, vcvtq_f32_s32(sum)),
                    vmulq_f32(lows, vdupq_n_f32(total as f32)),
                );
                *maxima = raise(*maxima, scores, left);
            }
        }
    }
    let mut best = [0.0; QUERIES];
    for (best, maxima) in best.iter_mut().zip(maxima) {
        *best = vmaxvq_f32(maxima);
    }
    best
}

/// # Safety
/// Sixteen bytes are at `bytes`.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn load(bytes: *const u8) -> float32x4_t {
    // SAFETY: as the caller promises; a load of bytes needs no alignment.
    vreinterpretq_f32_u8(unsafe { vld1q_u8(bytes) })
}

/// The greater of both in the first `left` lanes, where the score is a number.
#[target_feature(enable = "neon")]
#[inline]
fn raise(maxima: float32x4_t, scores: float32x4_t, left: i32) -> float32x4_t {
    let numbers = [0, 1, 2, 3];
    // SAFETY: four integers.
    let numbers = unsafe { vld1q_s32(numbers.as_ptr()) };
    let inside = vcltq_s32(numbers, vdupq_n_s32(left));
    let scores = vbslq_f32(inside, scores, vdupq_n_f32(f32::NEG_INFINITY));
    vbslq_f32(vcgtq_f32(scores, maxima), scores, maxima)
}

/// The sums of products of each query token with the tokens of a block, in four registers; lanes
/// past its `width` hold anything.
///
/// # Safety
/// As [`stream`]; the block is at `start`, with slack after it.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn block_sums<const QUERIES: usize, const HALVES: usize>(
    start: *const u8,
    width: usize,
    tile: &Tile<'_>,
    first: usize,
) -> [[int32x4_t; 4]; QUERIES] {
    // The sums of the first and of the last two tokens of each quarter.
    let mut sums = [[[vdupq_n_s32(0); 2]; 4]; QUERIES];
    let words = tile.words.chunks_exact(HALVES * tile.totals.len());
    for (row, words) in words.enumerate() {
        let offset = width * (CONSTANT_BYTES + row * WORD_BYTES);
        for half in 0..HALVES {
            for quarter in 0..4 {
                // SAFETY: the row begins in the block, and 64 bytes after that are at most the
                // slack after it.
                let codes =
                    unsafe { codes::<HALVES>(start.add(offset + quarter * QUARTER_BYTES), half) };
                for (query, sums) in sums.iter_mut().enumerate() {
                    let word = words[half * tile.totals.len() + first + query];
                    let factors = vreinterpretq_s8_s32(vdupq_n_s32(word));
                    let [low, high] = &mut sums[quarter];
                    *low = vpadalq_s16(*low, vmull_s8(vget_low_s8(codes), vget_low_s8(factors)));
                    *high = vpadalq_s16(*high, vmull_high_s8(codes, factors));
                }
            }
        }
    }
    sums.map(|quarters| quarters.map(|[low, high]| vpaddq_s32(low, high)))
}

/// The codes at `bytes` as signed bytes.
///
/// # Safety
/// Sixteen bytes are there.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn codes<const HALVES: usize>(bytes: *const u8, half: usize) -> int8x16_t {
    // SAFETY: as the caller promises.
    let bytes = unsafe { vld1q_u8(bytes) };
    vreinterpretq_s8_u8(match (HALVES, half) {
        (1, _) => veorq_u8(bytes, vdupq_n_u8(0x80)),
        (_, 0) => vandq_u8(bytes, vdupq_n_u8(15)),
        _ => vshrq_n_u8::<4>(bytes),
    })
}
