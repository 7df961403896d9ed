//! NEON: a chunk of codes is four registers.
//!
//! `smull` multiplies signed bytes, so 8-bit codes are shifted to −128..127 by flipping their
//! highest bit, and 128·Σ qᵢ is added at the end. 4-bit codes already fit.

use std::arch::aarch64::{
    int32x4_t, vaddvq_s32, vandq_u8, vdupq_n_s32, vdupq_n_u8, veorq_u8, vget_low_s8, vld1q_s8,
    vld1q_u8, vmull_high_s8, vmull_s8, vpadalq_s16, vreinterpretq_s8_u8, vshrq_n_u8,
};

use super::layout::CHUNK_BYTES;
use super::{Pick, Rows};

/// Bytes of a register.
const REGISTER_BYTES: usize = 16;

/// # Safety
/// NEON, and the conditions asserted by `CodeKernel::dot_picked`.
#[target_feature(enable = "neon")]
pub unsafe fn dot_rows<const HALVES: usize>(rows: &Rows<'_>, pick: impl Pick, sums: &mut [i32]) {
    let offset = if HALVES == 1 { 128 * rows.query.total() } else { 0 };
    for (index, sum) in sums.iter_mut().enumerate() {
        let start = rows.start(pick, index);
        // SAFETY: the caller checked the bounds of the record.
        *sum = offset + vaddvq_s32(unsafe { accumulate::<HALVES>(rows, start) });
    }
}

/// The sum of the record whose codes begin at `start`, spread over the lanes of a register.
///
/// # Safety
/// As [`dot_rows`], for this record.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn accumulate<const HALVES: usize>(rows: &Rows<'_>, start: usize) -> int32x4_t {
    // Two independent sums, to hide the latency of additions.
    let (mut even, mut odd) = (vdupq_n_s32(0), vdupq_n_s32(0));
    let codes = rows.records.as_ptr();
    for (chunk, blocks) in rows.query.blocks().chunks_exact(HALVES).enumerate() {
        for part in (0..CHUNK_BYTES).step_by(REGISTER_BYTES) {
            // SAFETY: the chunk ends within the record's stride and one chunk after it, which the
            // caller checked to be within `records`. NEON loads need no alignment.
            let bytes = unsafe { vld1q_u8(codes.add(start + chunk * CHUNK_BYTES + part)) };
            for (half, block) in blocks.iter().enumerate() {
                let codes = match (HALVES, half) {
                    (1, _) => veorq_u8(bytes, vdupq_n_u8(0x80)),
                    (_, 0) => vandq_u8(bytes, vdupq_n_u8(15)),
                    _ => vshrq_n_u8::<4>(bytes),
                };
                let codes = vreinterpretq_s8_u8(codes);
                // SAFETY: a block is 64 bytes and `part` at most 48.
                let query = unsafe { vld1q_s8(block.0.as_ptr().add(part)) };
                even = vpadalq_s16(even, vmull_s8(vget_low_s8(codes), vget_low_s8(query)));
                odd = vpadalq_s16(odd, vmull_high_s8(codes, query));
            }
        }
    }
    std::arch::aarch64::vaddq_s32(even, odd)
}
