//! NEON: a register is the words of four tokens, of which `smull` and `sadalp` leave two sums of each.
//!
//! `smull` multiplies signed bytes, so 8-bit codes are moved to −128..127 by flipping their
//! highest bit, and 128·Σ qᵢ is added at the end. 4-bit codes are small enough as they are.

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, uint8x16_t, vaddq_f32, vaddq_s32, vandq_u8, vbslq_f32,
    vcgtq_f32, vcltq_s32, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u8, veorq_u8,
    vget_low_s8, vld1q_s32, vld1q_u8, vmaxvq_f32, vmull_high_s8, vmull_s8, vmulq_f32, vpadalq_s16,
    vpaddq_s32, vreinterpretq_f32_u8, vreinterpretq_s8_s32, vreinterpretq_s8_u8, vshrq_n_u8,
};

use super::stream::{Instructions, by_pairs};
use super::{Document, Tile};
use crate::kernels::isa::Neon;

/// `best[t]` becomes the greatest unscaled score of token t. Two query tokens have 16 registers of
/// sums, half of all.
///
/// # Safety
/// NEON, and what `MaxSimKernel::score` asserts.
#[target_feature(enable = "neon")]
pub unsafe fn best<const HALVES: usize>(
    isa: Neon,
    document: &Document<'_>,
    tile: &Tile<'_>,
    best: &mut [f32],
) {
    // SAFETY: what the caller promises.
    unsafe { by_pairs::<_, _, _, HALVES>(isa, document, tile, best) }
}

impl Instructions<4, 4> for Neon {
    type Bytes = uint8x16_t;
    type Codes = int8x16_t;
    type Factors = int8x16_t;
    /// Those of the first and of the last two tokens.
    type Sums = [int32x4_t; 2];
    type Floats = float32x4_t;

    const FETCHES_AHEAD: bool = false;

    #[inline(always)]
    unsafe fn load_bytes(self, bytes: *const u8) -> uint8x16_t {
        // SAFETY: 16 bytes are there; bytes need no alignment; `self` proves NEON.
        unsafe { vld1q_u8(bytes) }
    }

    #[inline(always)]
    unsafe fn load_floats(self, bytes: *const u8) -> float32x4_t {
        // SAFETY: four floats are there, loaded as bytes, which need no alignment; `self` proves NEON.
        unsafe { vreinterpretq_f32_u8(vld1q_u8(bytes)) }
    }

    #[inline(always)]
    fn codes<const HALVES: usize>(self, bytes: uint8x16_t, half: usize) -> int8x16_t {
        // SAFETY: registers alone; `self` proves NEON.
        unsafe {
            vreinterpretq_s8_u8(match (HALVES, half) {
                (1, _) => veorq_u8(bytes, vdupq_n_u8(0x80)),
                (_, 0) => vandq_u8(bytes, vdupq_n_u8(15)),
                _ => vshrq_n_u8::<4>(bytes),
            })
        }
    }

    #[inline(always)]
    fn factors(self, word: i32) -> int8x16_t {
        // SAFETY: registers alone; `self` proves NEON.
        unsafe { vreinterpretq_s8_s32(vdupq_n_s32(word)) }
    }

    #[inline(always)]
    fn no_sums(self) -> [int32x4_t; 2] {
        // SAFETY: registers alone; `self` proves NEON.
        unsafe { [vdupq_n_s32(0); 2] }
    }

    #[inline(always)]
    fn add_products(
        self,
        [low, high]: [int32x4_t; 2],
        codes: int8x16_t,
        factors: int8x16_t,
    ) -> [int32x4_t; 2] {
        // SAFETY: registers alone; `self` proves NEON.
        unsafe {
            [
                vpadalq_s16(low, vmull_s8(vget_low_s8(codes), vget_low_s8(factors))),
                vpadalq_s16(high, vmull_high_s8(codes, factors)),
            ]
        }
    }

    #[inline(always)]
    fn join<const HALVES: usize>(self, sums: [[int32x4_t; 2]; 4], total: i32) -> [float32x4_t; 4] {
        // What 8-bit codes were moved by.
        let moved = if HALVES == 1 { 128 * total } else { 0 };
        let mut joined = [self.splat(0.0); 4];
        for (joined, [low, high]) in joined.iter_mut().zip(sums) {
            // SAFETY: registers alone; `self` proves NEON.
            *joined =
                unsafe { vcvtq_f32_s32(vaddq_s32(vpaddq_s32(low, high), vdupq_n_s32(moved))) };
        }
        joined
    }

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        // SAFETY: registers alone; `self` proves NEON.
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: registers alone; `self` proves NEON.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: registers alone; `self` proves NEON.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn first(self, floats: float32x4_t, count: i32) -> float32x4_t {
        let numbers = [0, 1, 2, 3];
        // SAFETY: the load is of four integers that are aligned; `self` proves NEON.
        unsafe {
            let inside = vcltq_s32(vld1q_s32(numbers.as_ptr()), vdupq_n_s32(count));
            vbslq_f32(inside, floats, vdupq_n_f32(f32::NEG_INFINITY))
        }
    }

    #[inline(always)]
    fn raise(self, maxima: float32x4_t, scores: float32x4_t) -> float32x4_t {
        // SAFETY: registers alone; `self` proves NEON. What is not a number is not greater.
        unsafe { vbslq_f32(vcgtq_f32(scores, maxima), scores, maxima) }
    }

    #[inline(always)]
    fn greatest(self, floats: float32x4_t) -> f32 {
        // SAFETY: registers alone; `self` proves NEON.
        unsafe { vmaxvq_f32(floats) }
    }
}
