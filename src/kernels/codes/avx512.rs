//! AVX-512 with VNNI: a chunk of codes is one register, 64 products per instruction.
//!
//! Rows share each load of the query, and the sums of four are folded together. Four rows at a
//! time are faster in the cache, but four streams are more than the hardware prefetcher follows
//! (software prefetching made it worse): long rows are processed in pairs, unless they are
//! scattered and were prefetched by the caller.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_add_epi32, _mm_storeu_si128, _mm_unpackhi_epi32, _mm_unpackhi_epi64,
    _mm_unpacklo_epi32, _mm_unpacklo_epi64, _mm256_add_epi32, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm512_and_si512, _mm512_castsi512_si256, _mm512_dpbusd_epi32,
    _mm512_extracti64x4_epi64, _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_set1_epi8,
    _mm512_setzero_si512, _mm512_srli_epi16,
};

use super::layout::CHUNK_BYTES;
use super::{Pick, Rows};

/// Longest rows, in bytes, that are processed four at a time.
const SHORT_BYTES: usize = 256;

/// # Safety
/// The CPU features of this module, and the conditions asserted by `CodeKernel::dot_picked`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn dot_rows<const HALVES: usize, P: Pick>(rows: &Rows<'_>, pick: P, sums: &mut [i32]) {
    let mut groups = sums.chunks_exact_mut(4);
    let by_four = !P::CONSECUTIVE || rows.stride <= SHORT_BYTES;
    let mut index = 0;
    for group in &mut groups {
        let starts: [usize; 4] = std::array::from_fn(|i| rows.start(pick, index + i));
        // SAFETY: the caller checked the bounds of the records.
        let lanes = unsafe {
            if by_four {
                accumulate::<4, HALVES>(rows, starts)
            } else {
                let [a, b] = accumulate::<2, HALVES>(rows, [starts[0], starts[1]]);
                let [c, d] = accumulate::<2, HALVES>(rows, [starts[2], starts[3]]);
                [a, b, c, d]
            }
        };
        let folded = fold(lanes);
        // SAFETY: `group` has four elements of four bytes; the store is unaligned.
        unsafe { _mm_storeu_si128(group.as_mut_ptr().cast(), folded) };
        index += 4;
    }
    for sum in groups.into_remainder() {
        // SAFETY: as above, for one record.
        let [accumulated] = unsafe { accumulate::<1, HALVES>(rows, [rows.start(pick, index)]) };
        *sum = _mm512_reduce_add_epi32(accumulated);
        index += 1;
    }
}

/// The sums of the records whose codes begin at `starts`, each spread over the lanes of a register.
///
/// # Safety
/// As `dot_rows`, for these records.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
unsafe fn accumulate<const ROWS: usize, const HALVES: usize>(
    rows: &Rows<'_>,
    starts: [usize; ROWS],
) -> [__m512i; ROWS] {
    let mut sums = [_mm512_setzero_si512(); ROWS];
    let codes = rows.records.as_ptr();
    for (chunk, blocks) in rows.query.blocks().chunks_exact(HALVES).enumerate() {
        for (start, sum) in starts.iter().zip(&mut sums) {
            let offset = start + chunk * CHUNK_BYTES;
            // SAFETY: the chunk ends within the record's stride and one chunk after it,
            // which the caller checked to be within `records`. The load is unaligned.
            let bytes = unsafe { _mm512_loadu_si512(codes.add(offset).cast()) };
            for (half, block) in blocks.iter().enumerate() {
                // SAFETY: a block is 64 bytes.
                let query = unsafe { _mm512_loadu_si512(block.0.as_ptr().cast()) };
                *sum = _mm512_dpbusd_epi32(*sum, codes_of::<HALVES>(bytes, half), query);
            }
        }
    }
    sums
}

/// The codes in the bytes of a register, one per byte.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn codes_of<const HALVES: usize>(bytes: __m512i, half: usize) -> __m512i {
    match (HALVES, half) {
        (1, _) => bytes,
        (_, 0) => _mm512_and_si512(bytes, _mm512_set1_epi8(15)),
        _ => _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(15)),
    }
}

/// The sums of the lanes of four registers.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn fold(sums: [__m512i; 4]) -> __m128i {
    let quarters = sums.map(|sum| {
        let halves =
            _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum));
        _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
    });
    // Transposes 4 × 4 numbers and sums the rows.
    let [a, b, c, d] = quarters;
    let (ab, cd) = (
        _mm_add_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b)),
        _mm_add_epi32(_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d)),
    );
    _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd))
}
