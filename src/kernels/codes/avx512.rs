//! AVX-512 with VNNI: a chunk of codes is one register, 64 products an instruction.
//!
//! Rows share each load of the query, and the sums of four are folded together. Four rows at a
//! time are faster in the cache, but four streams are more than the hardware prefetcher follows
//! (software prefetches made it worse): long rows go by two.

use std::arch::x86_64::{
    __m128i, __m512i, _mm_add_epi32, _mm_storeu_si128, _mm_unpackhi_epi32, _mm_unpackhi_epi64,
    _mm_unpacklo_epi32, _mm_unpacklo_epi64, _mm256_add_epi32, _mm256_castsi256_si128,
    _mm256_extracti128_si256, _mm512_and_si512, _mm512_castsi512_si256, _mm512_dpbusd_epi32,
    _mm512_extracti64x4_epi64, _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_set1_epi8,
    _mm512_setzero_si512, _mm512_srli_epi16,
};

use super::Rows;
use super::layout::CHUNK_BYTES;

/// Rows of at most so many bytes are taken four at a time.
const SHORT_BYTES: usize = 256;

/// # Safety
/// The CPU features of this module, and what `CodeKernel::dot_rows` asserts.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn dot_rows<const HALVES: usize>(rows: &Rows<'_>, sums: &mut [i32]) {
    let mut groups = sums.chunks_exact_mut(4);
    let mut row = 0;
    for group in &mut groups {
        // SAFETY: four rows from `row` on are within the sums that the caller checked.
        let lanes = unsafe {
            if rows.stride <= SHORT_BYTES {
                accumulate::<4, HALVES>(rows, row)
            } else {
                let [a, b] = accumulate::<2, HALVES>(rows, row);
                let [c, d] = accumulate::<2, HALVES>(rows, row + 2);
                [a, b, c, d]
            }
        };
        let folded = fold(lanes);
        // SAFETY: `group` has four elements of four bytes; the store is unaligned.
        unsafe { _mm_storeu_si128(group.as_mut_ptr().cast(), folded) };
        row += 4;
    }
    for sum in groups.into_remainder() {
        // SAFETY: as above, for one row.
        let [accumulated] = unsafe { accumulate::<1, HALVES>(rows, row) };
        *sum = _mm512_reduce_add_epi32(accumulated);
        row += 1;
    }
}

/// The sums of `ROWS` records from `first` on, each spread over the lanes of a register.
///
/// # Safety
/// As `dot_rows`, for the records from `first` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
unsafe fn accumulate<const ROWS: usize, const HALVES: usize>(
    rows: &Rows<'_>,
    first: usize,
) -> [__m512i; ROWS] {
    let mut sums = [_mm512_setzero_si512(); ROWS];
    let start = first * rows.stride + rows.header_bytes;
    let codes = rows.records.as_ptr();
    for (chunk, blocks) in rows.query.blocks().chunks_exact(HALVES).enumerate() {
        for (row, sum) in sums.iter_mut().enumerate() {
            let offset = start + row * rows.stride + chunk * CHUNK_BYTES;
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

/// The codes in a chunk, one a byte.
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
    // A transposition of 4 × 4 numbers, and the sum of its rows.
    let [a, b, c, d] = quarters;
    let (ab, cd) = (
        _mm_add_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b)),
        _mm_add_epi32(_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d)),
    );
    _mm_add_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd))
}
