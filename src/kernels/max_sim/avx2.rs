//! AVX2: a register holds one word of each of four tokens, widened to 16 bits, from which
//! `vpmaddwd` makes two sums per token.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_set1_epi32,
    _mm_srli_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_blendv_ps, _mm256_castsi256_ps,
    _mm256_cmpgt_epi32, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16,
    _mm256_hadd_epi32, _mm256_loadu_ps, _mm256_madd_epi16, _mm256_max_ps, _mm256_mul_ps,
    _mm256_permute4x64_epi64, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi32, _mm256_srai_epi32,
    _mm256_storeu_ps,
};

use super::layout::{bits_per_code, largest_code};
use super::stream::{self, Instructions, by_pairs};
use super::{BLOCK_TOKENS, Document, Tile};
use crate::kernels::isa::Avx2;

/// Writes the largest unscaled score of query token t to `best[t]`. Two query tokens at a time take
/// eight registers of sums, half of all.
///
/// # Safety
/// AVX2, and the conditions asserted by `MaxSimKernel::score`.
#[target_feature(enable = "avx2")]
pub unsafe fn best<const PER_BYTE: usize>(
    isa: Avx2,
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
/// AVX2, and the conditions asserted by `MaxSimKernel::products`.
#[target_feature(enable = "avx2")]
pub unsafe fn products<const PER_BYTE: usize>(
    isa: Avx2,
    document: &Document<'_>,
    tile: &Tile<'_>,
    out: &mut [f32],
) {
    // SAFETY: guaranteed by the caller.
    unsafe { stream::products::<_, _, _, PER_BYTE, 2, 1>(isa, document, tile, out) }
}

impl Instructions<4, 2> for Avx2 {
    type Bytes = __m128i;
    type Codes = __m256i;
    type Factors = __m256i;
    type Sums = __m256i;
    type Floats = __m256;

    const FETCHES_AHEAD: bool = false;
    const PRODUCTS: usize = 2;

    #[inline(always)]
    unsafe fn load_bytes(self, bytes: *const u8) -> __m128i {
        // SAFETY: the caller guarantees 16 bytes; unaligned load; `self` proves AVX2.
        unsafe { _mm_loadu_si128(bytes.cast()) }
    }

    #[inline(always)]
    unsafe fn load_floats(self, bytes: *const u8) -> __m256 {
        // SAFETY: the caller guarantees eight floats; unaligned load; `self` proves AVX2.
        unsafe { _mm256_loadu_ps(bytes.cast()) }
    }

    #[inline(always)]
    fn codes<const PER_BYTE: usize>(self, bytes: __m128i, field: usize) -> __m256i {
        // SAFETY: registers only; `self` proves AVX2.
        unsafe {
            // Bits of the other byte are shifted in, and masked.
            let moved = match bits_per_code(PER_BYTE) * field {
                2 => _mm_srli_epi16::<2>(bytes),
                4 => _mm_srli_epi16::<4>(bytes),
                6 => _mm_srli_epi16::<6>(bytes),
                _ => bytes,
            };
            let mask = _mm_set1_epi8(largest_code(PER_BYTE) as i8);
            _mm256_cvtepu8_epi16(_mm_and_si128(moved, mask))
        }
    }

    #[inline(always)]
    fn factors(self, word: i32) -> __m256i {
        // SAFETY: registers only; `self` proves AVX2.
        unsafe { _mm256_cvtepi8_epi16(_mm_set1_epi32(word)) }
    }

    #[inline(always)]
    fn no_sums(self) -> __m256i {
        // SAFETY: registers only; `self` proves AVX2.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn add_products(self, sums: __m256i, codes: __m256i, factors: __m256i) -> __m256i {
        // SAFETY: registers only; `self` proves AVX2.
        unsafe { _mm256_add_epi32(sums, _mm256_madd_epi16(codes, factors)) }
    }

    #[inline(always)]
    unsafe fn transpose<const QUERIES: usize>(
        self,
        rows: &[*const i16; BLOCK_TOKENS],
    ) -> [[__m256; 2]; QUERIES] {
        // SAFETY: the caller guarantees two values in each row; unaligned loads; the rest is
        // registers; `self` proves AVX2.
        unsafe {
            let mut columns = [[_mm256_setzero_ps(); 2]; QUERIES];
            for group in 0..2 {
                let mut pairs = [0; 8];
                for (pair, row) in pairs.iter_mut().zip(&rows[8 * group..]) {
                    *pair = row.cast::<i32>().read_unaligned();
                }
                let [a, b, c, d, e, f, g, h] = pairs;
                let pairs = _mm256_setr_epi32(a, b, c, d, e, f, g, h);
                for (query, column) in columns.iter_mut().enumerate() {
                    let high = if query == 0 { _mm256_slli_epi32::<16>(pairs) } else { pairs };
                    column[group] = _mm256_cvtepi32_ps(_mm256_srai_epi32::<16>(high));
                }
            }
            columns
        }
    }

    #[inline(always)]
    fn join<const PER_BYTE: usize>(self, [a, b, c, d]: [__m256i; 4], _total: i32) -> [__m256; 2] {
        // SAFETY: registers only; `self` proves AVX2.
        unsafe {
            let (first, second) = (_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
            [
                _mm256_cvtepi32_ps(_mm256_permute4x64_epi64::<0b11_01_10_00>(first)),
                _mm256_cvtepi32_ps(_mm256_permute4x64_epi64::<0b11_01_10_00>(second)),
            ]
        }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: registers only; `self` proves AVX2.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: registers only; `self` proves AVX2.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: registers only; `self` proves AVX2.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn first(self, floats: __m256, count: i32) -> __m256 {
        // SAFETY: registers only; `self` proves AVX2.
        unsafe {
            let numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let inside = _mm256_cmpgt_epi32(_mm256_set1_epi32(count), numbers);
            let lowest = _mm256_set1_ps(f32::NEG_INFINITY);
            _mm256_blendv_ps(lowest, floats, _mm256_castsi256_ps(inside))
        }
    }

    #[inline(always)]
    fn raise(self, maxima: __m256, scores: __m256) -> __m256 {
        // SAFETY: registers only; `self` proves AVX2. If the first operand is NaN, the second is
        // returned.
        unsafe { _mm256_max_ps(scores, maxima) }
    }

    #[inline(always)]
    fn greatest(self, floats: __m256) -> f32 {
        let mut values = [0.0; 8];
        // SAFETY: there is room for eight floats; unaligned store; `self` proves AVX2.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), floats) };
        values.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }

    #[inline(always)]
    unsafe fn store_floats(self, floats: __m256, place: *mut f32) {
        // SAFETY: the caller guarantees room for eight floats; unaligned store; `self` proves AVX2.
        unsafe { _mm256_storeu_ps(place, floats) };
    }
}
