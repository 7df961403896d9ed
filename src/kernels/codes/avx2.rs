//! AVX2: a chunk of codes is two registers.

use std::arch::x86_64::{
    __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32, _mm256_add_epi32,
    _mm256_and_si256, _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16,
    _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_srli_epi16,
};

use super::layout::CHUNK_BYTES;
use super::{Pick, Rows};

/// Bytes of a register.
const REGISTER_BYTES: usize = 32;

/// # Safety
/// AVX2, and the conditions asserted by `CodeKernel::dot_picked`.
#[target_feature(enable = "avx2")]
pub unsafe fn dot_rows<const HALVES: usize>(rows: &Rows<'_>, pick: impl Pick, sums: &mut [i32]) {
    let mut groups = sums.chunks_exact_mut(2);
    let mut index = 0;
    for group in &mut groups {
        let starts = [index, index + 1].map(|index| rows.start(pick, index));
        // SAFETY: the caller checked the bounds of the records.
        let accumulated = unsafe { accumulate::<2, HALVES>(rows, starts) };
        for (sum, lanes) in group.iter_mut().zip(accumulated) {
            *sum = fold(lanes);
        }
        index += 2;
    }
    for sum in groups.into_remainder() {
        // SAFETY: as above, for one record.
        let [lanes] = unsafe { accumulate::<1, HALVES>(rows, [rows.start(pick, index)]) };
        *sum = fold(lanes);
        index += 1;
    }
}

/// The sums of the records whose codes begin at `starts`, each spread over the lanes of a register.
///
/// # Safety
/// As [`dot_rows`], for these records.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn accumulate<const ROWS: usize, const HALVES: usize>(
    rows: &Rows<'_>,
    starts: [usize; ROWS],
) -> [__m256i; ROWS] {
    let mut sums = [_mm256_setzero_si256(); ROWS];
    let codes = rows.records.as_ptr();
    for (chunk, blocks) in rows.query.blocks().chunks_exact(HALVES).enumerate() {
        for part in (0..CHUNK_BYTES).step_by(REGISTER_BYTES) {
            for (start, sum) in starts.iter().zip(&mut sums) {
                let offset = start + chunk * CHUNK_BYTES + part;
                // SAFETY: the chunk ends within the record's stride and one chunk after it, which
                // the caller checked to be within `records`. The load is unaligned.
                let bytes = unsafe { _mm256_loadu_si256(codes.add(offset).cast()) };
                for (half, block) in blocks.iter().enumerate() {
                    // SAFETY: a block is 64 bytes and `part` is 0 or 32.
                    let query = unsafe { _mm256_loadu_si256(block.0.as_ptr().add(part).cast()) };
                    let products = if HALVES == 1 {
                        wide_products(bytes, query)
                    } else {
                        narrow_products(nibbles(bytes, half), query)
                    };
                    *sum = _mm256_add_epi32(*sum, products);
                }
            }
        }
    }
    sums
}

/// The low or the high halves of the bytes.
#[target_feature(enable = "avx2")]
#[inline]
fn nibbles(bytes: __m256i, half: usize) -> __m256i {
    let moved = if half == 0 { bytes } else { _mm256_srli_epi16::<4>(bytes) };
    _mm256_and_si256(moved, _mm256_set1_epi8(15))
}

/// Sums of four products of codes up to 15: two of them fit in 16 bits.
#[target_feature(enable = "avx2")]
#[inline]
fn narrow_products(codes: __m256i, query: __m256i) -> __m256i {
    _mm256_madd_epi16(_mm256_maddubs_epi16(codes, query), _mm256_set1_epi16(1))
}

/// Sums of four products of codes up to 255, widened first, because two of them take 17 bits.
#[target_feature(enable = "avx2")]
#[inline]
fn wide_products(codes: __m256i, query: __m256i) -> __m256i {
    let low = _mm256_madd_epi16(
        _mm256_cvtepu8_epi16(_mm256_castsi256_si128(codes)),
        _mm256_cvtepi8_epi16(_mm256_castsi256_si128(query)),
    );
    let high = _mm256_madd_epi16(
        _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(codes)),
        _mm256_cvtepi8_epi16(_mm256_extracti128_si256::<1>(query)),
    );
    _mm256_add_epi32(low, high)
}

/// The sum of the lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn fold(lanes: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    let one = _mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
    _mm_cvtsi128_si32(one)
}
