//! NEON: a register holds one word of each of four tokens, from which `smull` and `sadalp` make two
//! sums per token.
//!
//! `smull` multiplies signed bytes, so 8-bit codes are shifted to −128..127 by flipping their
//! highest bit, and 128·Σ qᵢ is added at the end. Smaller codes already fit.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, uint8x16_t, vaddq_f32, vaddq_s32, vandq_u8, vbslq_f32,
    vcgtq_f32, vcltq_s32, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8, veorq_u8,
    vget_low_s8, vld1q_s32, vld1q_u8, vmaxvq_f32, vmull_high_s8, vmull_s8, vmulq_f32, vpadalq_s16,
    vpaddq_s32, vreinterpretq_f32_u8, vreinterpretq_s8_s32, vreinterpretq_s8_u8, vshlq_n_s32,
    vshrq_n_s32, vshrq_n_u8, vst1q_f32,
};

use super::layout::{bits_per_code, largest_code};
use super::stream::{self, Instructions, by_pairs};
use super::{BLOCK_TOKENS, Document, Tile};
use crate::kernels::isa::Neon;

/// Writes the largest unscaled score of query token t to `best[t]`. Two query tokens at a time take
/// 16 registers of sums, half of all.
///
/// # Safety
/// NEON, and the conditions asserted by `MaxSimKernel::score`.
#[target_feature(enable = "neon")]
pub unsafe fn best<const PER_BYTE: usize>(
    isa: Neon,
    document: &Document<'_>,
    tile: &Tile<'_>,
    best: &mut [f32],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { by_pairs::<_, _, _, PER_BYTE>(isa, document, tile, best) }
}

/// Writes the unscaled products of each token of the tile with each token of the document.
///
/// # Safety
/// NEON, and the conditions asserted by `MaxSimKernel::products`.
#[target_feature(enable = "neon")]
pub unsafe fn products<const PER_BYTE: usize>(
    isa: Neon,
    document: &Document<'_>,
    tile: &Tile<'_>,
    out: &mut [f32],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { stream::products::<_, _, _, PER_BYTE, 2, 1>(isa, document, tile, out) }
}

impl Instructions<4, 4> for Neon {
    type Bytes = uint8x16_t;
    type Codes = int8x16_t;
    type Factors = int8x16_t;
    /// Sums of the first and of the last two tokens.
    type Sums = [int32x4_t; 2];
    type Floats = float32x4_t;

    const FETCHES_AHEAD: bool = false;
    const PRODUCTS: usize = 2;

    #[inline(always)]
    unsafe fn load_bytes(self, bytes: *const u8) -> uint8x16_t {
        // SAFETY: the caller guarantees 16 bytes; bytes need no alignment; `self` proves NEON.
        unsafe { vld1q_u8(bytes) }
    }

    #[inline(always)]
    unsafe fn load_floats(self, bytes: *const u8) -> float32x4_t {
        // SAFETY: the caller guarantees four floats, loaded as bytes, which need no alignment;
        // `self` proves NEON.
        unsafe { vreinterpretq_f32_u8(vld1q_u8(bytes)) }
    }

    #[inline(always)]
    fn codes<const PER_BYTE: usize>(self, bytes: uint8x16_t, field: usize) -> int8x16_t {
        // SAFETY: registers only; `self` proves NEON.
        unsafe {
            if PER_BYTE == 1 {
                return vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)));
            }
            let moved = match bits_per_code(PER_BYTE) * field {
                2 => vshrq_n_u8::<2>(bytes),
                4 => vshrq_n_u8::<4>(bytes),
                6 => vshrq_n_u8::<6>(bytes),
                _ => bytes,
            };
            vreinterpretq_s8_u8(vandq_u8(moved, vdupq_n_u8(largest_code(PER_BYTE))))
        }
    }

    #[inline(always)]
    fn factors(self, word: i32) -> int8x16_t {
        // SAFETY: registers only; `self` proves NEON.
        unsafe { vreinterpretq_s8_s32(vdupq_n_s32(word)) }
    }

    #[inline(always)]
    fn no_sums(self) -> [int32x4_t; 2] {
        // SAFETY: registers only; `self` proves NEON.
        unsafe { [vdupq_n_s32(0); 2] }
    }

    #[inline(always)]
    fn add_products(
        self,
        [low, high]: [int32x4_t; 2],
        codes: int8x16_t,
        factors: int8x16_t,
    ) -> [int32x4_t; 2] {
        // SAFETY: registers only; `self` proves NEON.
        unsafe {
            [
                vpadalq_s16(low, vmull_s8(vget_low_s8(codes), vget_low_s8(factors))),
                vpadalq_s16(high, vmull_high_s8(codes, factors)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn transpose<const QUERIES: usize>(
        self,
        rows: &[*const i16; BLOCK_TOKENS],
    ) -> [[float32x4_t; 4]; QUERIES] {
        let mut columns = [[self.splat(0.0); 4]; QUERIES];
        for group in 0..4 {
            let mut pairs = [0; 4];
            for (pair, row) in pairs.iter_mut().zip(&rows[4 * group..]) {
                // SAFETY: the caller guarantees two values in each row; an unaligned read.
                *pair = unsafe { row.cast::<i32>().read_unaligned() };
            }
            for (query, column) in columns.iter_mut().enumerate() {
                // SAFETY: loads four aligned integers; the rest is registers; `self` proves NEON.
                unsafe {
                    let pairs = vld1q_s32(pairs.as_ptr());
                    let high = if query == 0 { vshlq_n_s32::<16>(pairs) } else { pairs };
                    column[group] = vcvtq_f32_s32(vshrq_n_s32::<16>(high));
                }
            }
        }
        columns
    }

    #[inline(always)]
    fn join<const PER_BYTE: usize>(
        self,
        sums: [[int32x4_t; 2]; 4],
        total: i32,
    ) -> [float32x4_t; 4] {
        // The shift of 8-bit codes.
        let moved = if PER_BYTE == 1 { 128 * total } else { 0 };
        let mut joined = [self.splat(0.0); 4];
        for (joined, [low, high]) in joined.iter_mut().zip(sums) {
            // SAFETY: registers only; `self` proves NEON.
            *joined =
                unsafe { vcvtq_f32_s32(vaddq_s32(vpaddq_s32(low, high), vdupq_n_s32(moved))) };
        }
        joined
    }

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        // SAFETY: registers only; `self` proves NEON.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: registers only; `self` proves NEON.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: registers only; `self` proves NEON.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn first(self, floats: float32x4_t, count: i32) -> float32x4_t {
        let numbers = [0, 1, 2, 3];
        // SAFETY: loads four aligned integers; `self` proves NEON.
        unsafe {
            let inside = vcltq_s32(vld1q_s32(numbers.as_ptr()), vdupq_n_s32(count));
            vbslq_f32(inside, floats, vdupq_n_f32(f32::NEG_INFINITY))
        }
    }

    #[inline(always)]
    fn raise(self, maxima: float32x4_t, scores: float32x4_t) -> float32x4_t {
        // SAFETY: registers only; `self` proves NEON. NaN never compares as greater.
        unsafe { vbslq_f32(vcgtq_f32(scores, maxima), scores, maxima) }
    }

    #[inline(always)]
    fn greatest(self, floats: float32x4_t) -> f32 {
        // SAFETY: registers only; `self` proves NEON.
        unsafe { vmaxvq_f32(floats) }
    }

    #[inline(always)]
    unsafe fn store_floats(self, floats: float32x4_t, place: *mut f32) {
        // SAFETY: the caller guarantees room for four floats; `self` proves NEON.
        unsafe { vst1q_f32(place, floats) };
    }
}
