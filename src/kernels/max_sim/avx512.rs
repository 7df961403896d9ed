//! AVX-512 with VNNI: a register holds one word of each of 16 tokens, which `vpdpbusd` multiplies
//! at once: 64 products per instruction, and one sum per token.

use std::arch::x86_64::{
    __m512, __m512i, _mm_loadu_si128, _mm512_add_ps, _mm512_and_si512, _mm512_castsi128_si512,
    _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_inserti32x4, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_mov_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_max_ps,
    _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_slli_epi32, _mm512_srai_epi32, _mm512_srli_epi16, _mm512_storeu_ps,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::layout::{bits_per_code, largest_code};
use super::stream::{self, Instructions, at_once};
use super::{BLOCK_TOKENS, Document, Tile};
use crate::kernels::isa::Avx512Vnni;

/// Writes the largest unscaled score of query token t to `best[t]`.
///
/// Blocks share each word of the query, so that at least ten sums are in flight when five or more
/// tokens are scored: enough to hide the latency of `vpdpbusd` on two ports.
///
/// # Safety
/// The CPU features of this module, and the conditions asserted by `MaxSimKernel::score`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn best<const PER_BYTE: usize>(
    isa: Avx512Vnni,
    document: &Document<'_>,
    tile: &Tile<'_>,
    best: &mut [f32],
) {
    // SAFETY: guaranteed by the caller; `QUERIES` equals the length of the tile.
    unsafe {
        match tile.totals.len() {
            1 => at_once::<_, _, _, PER_BYTE, 1, 4>(isa, document, tile, best),
            2 => at_once::<_, _, _, PER_BYTE, 2, 4>(isa, document, tile, best),
            3 => at_once::<_, _, _, PER_BYTE, 3, 3>(isa, document, tile, best),
            4 => at_once::<_, _, _, PER_BYTE, 4, 3>(isa, document, tile, best),
            5 => at_once::<_, _, _, PER_BYTE, 5, 2>(isa, document, tile, best),
            6 => at_once::<_, _, _, PER_BYTE, 6, 2>(isa, document, tile, best),
            7 => at_once::<_, _, _, PER_BYTE, 7, 2>(isa, document, tile, best),
            _ => at_once::<_, _, _, PER_BYTE, 8, 2>(isa, document, tile, best),
        }
    }
}

/// Writes the unscaled products of each token of the tile with each token of the document, with as
/// many sums in flight as [`best`].
///
/// # Safety
/// The CPU features of this module, and the conditions asserted by `MaxSimKernel::products`.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn products<const PER_BYTE: usize>(
    isa: Avx512Vnni,
    document: &Document<'_>,
    tile: &Tile<'_>,
    out: &mut [f32],
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        match tile.totals.len() {
            5 => stream::products::<_, _, _, PER_BYTE, 5, 2>(isa, document, tile, out),
            6 => stream::products::<_, _, _, PER_BYTE, 6, 2>(isa, document, tile, out),
            7 => stream::products::<_, _, _, PER_BYTE, 7, 2>(isa, document, tile, out),
            8 => stream::products::<_, _, _, PER_BYTE, 8, 2>(isa, document, tile, out),
            _ => stream::products::<_, _, _, PER_BYTE, 4, 3>(isa, document, tile, out),
        }
    }
}

impl Instructions<1, 1> for Avx512Vnni {
    type Bytes = __m512i;
    type Codes = __m512i;
    type Factors = __m512i;
    type Sums = __m512i;
    type Floats = __m512;

    const FETCHES_AHEAD: bool = true;
    const PRODUCTS: usize = 8;

    #[inline(always)]
    unsafe fn load_bytes(self, bytes: *const u8) -> __m512i {
        // SAFETY: the caller guarantees 64 bytes; unaligned load; `self` proves AVX-512F.
        unsafe { _mm512_loadu_si512(bytes.cast()) }
    }

    #[inline(always)]
    unsafe fn load_floats(self, bytes: *const u8) -> __m512 {
        // SAFETY: the caller guarantees 16 floats; unaligned load; `self` proves AVX-512F.
        unsafe { _mm512_loadu_ps(bytes.cast()) }
    }

    #[inline(always)]
    fn codes<const PER_BYTE: usize>(self, bytes: __m512i, field: usize) -> __m512i {
        // SAFETY: registers only; `self` proves the features.
        unsafe {
            // Bits of the other byte are shifted in, and masked.
            let moved = match bits_per_code(PER_BYTE) * field {
                2 => _mm512_srli_epi16::<2>(bytes),
                4 => _mm512_srli_epi16::<4>(bytes),
                6 => _mm512_srli_epi16::<6>(bytes),
                _ => bytes,
            };
            _mm512_and_si512(moved, _mm512_set1_epi8(largest_code(PER_BYTE) as i8))
        }
    }

    #[inline(always)]
    fn factors(self, word: i32) -> __m512i {
        // SAFETY: registers only; `self` proves AVX-512F.
        unsafe { _mm512_set1_epi32(word) }
    }

    #[inline(always)]
    fn no_sums(self) -> __m512i {
        // SAFETY: registers only; `self` proves AVX-512F.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn add_products(self, sums: __m512i, codes: __m512i, factors: __m512i) -> __m512i {
        // SAFETY: registers only; `self` proves AVX-512VNNI.
        unsafe { _mm512_dpbusd_epi32(sums, codes, factors) }
    }

    #[inline(always)]
    unsafe fn transpose<const QUERIES: usize>(
        self,
        rows: &[*const i16; BLOCK_TOKENS],
    ) -> [[__m512; 1]; QUERIES] {
        // SAFETY: the caller guarantees eight values, 16 bytes, in each row; unaligned loads; the
        // rest is registers; `self` proves AVX-512F.
        unsafe {
            // Register i holds rows i, 4 + i, 8 + i and 12 + i: four pairs of values of each.
            let mut registers = [_mm512_setzero_si512(); 4];
            for (row, register) in registers.iter_mut().enumerate() {
                let first = _mm512_castsi128_si512(_mm_loadu_si128(rows[row].cast()));
                let two = _mm512_inserti32x4::<1>(first, _mm_loadu_si128(rows[4 + row].cast()));
                let three = _mm512_inserti32x4::<2>(two, _mm_loadu_si128(rows[8 + row].cast()));
                *register = _mm512_inserti32x4::<3>(three, _mm_loadu_si128(rows[12 + row].cast()));
            }
            // Transposes 4 × 4 pairs in each quarter, and widens the low and the high halves.
            let [a, b, c, d] = registers;
            let mut columns = [[_mm512_setzero_ps()]; QUERIES];
            for (query, column) in columns.iter_mut().enumerate() {
                let (ab, cd) = match query / 4 {
                    0 => (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d)),
                    _ => (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d)),
                };
                let pairs = match query / 2 % 2 {
                    0 => _mm512_unpacklo_epi64(ab, cd),
                    _ => _mm512_unpackhi_epi64(ab, cd),
                };
                let high = if query % 2 == 0 { _mm512_slli_epi32::<16>(pairs) } else { pairs };
                *column = [_mm512_cvtepi32_ps(_mm512_srai_epi32::<16>(high))];
            }
            columns
        }
    }

    #[inline(always)]
    fn join<const PER_BYTE: usize>(self, [sums]: [__m512i; 1], _total: i32) -> [__m512; 1] {
        // SAFETY: registers only; `self` proves AVX-512F.
        [unsafe { _mm512_cvtepi32_ps(sums) }]
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: registers only; `self` proves AVX-512F.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: registers only; `self` proves AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn multiply(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: registers only; `self` proves AVX-512F.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn first(self, floats: __m512, count: i32) -> __m512 {
        let inside = ((1_u32 << count.clamp(0, 16)) - 1) as u16;
        // SAFETY: registers only; `self` proves AVX-512F.
        unsafe { _mm512_mask_mov_ps(_mm512_set1_ps(f32::NEG_INFINITY), inside, floats) }
    }

    #[inline(always)]
    fn raise(self, maxima: __m512, scores: __m512) -> __m512 {
        // SAFETY: registers only; `self` proves AVX-512F. If the first operand is NaN, the second
        // is returned.
        unsafe { _mm512_max_ps(scores, maxima) }
    }

    #[inline(always)]
    fn greatest(self, floats: __m512) -> f32 {
        // SAFETY: registers only; `self` proves AVX-512F.
        unsafe { _mm512_reduce_max_ps(floats) }
    }

    #[inline(always)]
    unsafe fn store_floats(self, floats: __m512, place: *mut f32) {
        // SAFETY: the caller guarantees room for 16 floats; unaligned store; `self` proves AVX-512F.
        unsafe { _mm512_storeu_ps(place, floats) };
    }
}

/// Sixteen independent multiplications per round, on registers only; returns the number of
/// products.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub fn multiply_registers(rounds: u64) -> u64 {
    const SUMS: usize = 16;
    let mut sums = [_mm512_setzero_si512(); SUMS];
    // Opaque to the compiler, so that nothing is computed in advance.
    let (codes, word) = std::hint::black_box((_mm512_set1_epi8(3), _mm512_set1_epi32(5)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, codes, word);
        }
    }
    std::hint::black_box(sums);
    rounds * (SUMS * 64) as u64
}
