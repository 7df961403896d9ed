//! AVX-512 with VNNI: a word of each of 16 tokens is one register, 64 products an instruction.
//!
//! Two blocks share each word of the query, so that ten sums of five query tokens are on their way
//! at a time: as many as hide the latency of `vpdpbusd` on two ports.

use std::arch::x86_64::{
    __m512, __m512i, __mmask16, _mm512_add_ps, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mask_max_ps, _mm512_maskz_loadu_epi32,
    _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_max_ps, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512,
};

use super::layout::{CONSTANT_BYTES, WORD_BYTES};
use super::{BLOCK_TOKENS, Document, Tile};
use crate::kernels::codes::avx512::codes_of;
use crate::kernels::prefetch;

/// How far ahead codes are fetched. Documents that follow each other, and do not fit the second-level
/// cache, took 13 to 17% less time so; an address past the end of memory is no fault.
const AHEAD_BYTES: usize = 4096;

/// # Safety
/// The CPU features of this module, and what `MaxSimKernel::score` asserts.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub unsafe fn best<const HALVES: usize>(
    document: &Document<'_>,
    tile: &Tile<'_>,
    best: &mut [f32],
) {
    // SAFETY: what the caller promises; the numbers are lengths of the tile.
    unsafe {
        match tile.totals.len() {
            1 => stream::<1, 4, HALVES>(document, tile, best),
            2 => stream::<2, 4, HALVES>(document, tile, best),
            3 => stream::<3, 3, HALVES>(document, tile, best),
            4 => stream::<4, 3, HALVES>(document, tile, best),
            5 => stream::<5, 2, HALVES>(document, tile, best),
            6 => stream::<6, 2, HALVES>(document, tile, best),
            7 => stream::<7, 2, HALVES>(document, tile, best),
            _ => stream::<8, 2, HALVES>(document, tile, best),
        }
    }
}

/// Streams a document past `QUERIES` query tokens, `BLOCKS` blocks at a time.
///
/// # Safety
/// As [`best`]; the tile has `QUERIES` tokens.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
unsafe fn stream<const QUERIES: usize, const BLOCKS: usize, const HALVES: usize>(
    document: &Document<'_>,
    tile: &Tile<'_>,
    best: &mut [f32],
) {
    let totals: [__m512; QUERIES] =
        std::array::from_fn(|query| _mm512_set1_ps(tile.totals[query] as f32));
    let mut maxima = [_mm512_set1_ps(f32::NEG_INFINITY); QUERIES];
    let block_bytes = BLOCK_TOKENS * document.layout.token_bytes();
    let full = document.tokens / BLOCK_TOKENS;
    let mut block = 0;
    while block + BLOCKS <= full {
        // SAFETY: these blocks are full and within the document.
        unsafe {
            let start = document.bytes.as_ptr().add(block * block_bytes);
            blocks::<QUERIES, BLOCKS, HALVES>(document, start, tile, &totals, &mut maxima);
        }
        block += BLOCKS;
    }
    while block < full {
        // SAFETY: this block is full and within the document.
        unsafe {
            let start = document.bytes.as_ptr().add(block * block_bytes);
            blocks::<QUERIES, 1, HALVES>(document, start, tile, &totals, &mut maxima);
        }
        block += 1;
    }
    let rest = document.tokens % BLOCK_TOKENS;
    if rest > 0 {
        // SAFETY: the last block begins here and has so many tokens.
        unsafe {
            let start = document.bytes.as_ptr().add(block * block_bytes);
            narrow::<QUERIES, HALVES>(document, start, rest, tile, &totals, &mut maxima);
        }
    }
    for (best, &maxima) in best.iter_mut().zip(&maxima) {
        *best = _mm512_reduce_max_ps(maxima);
    }
}

/// Raises the maxima by the scores of `BLOCKS` full blocks from `start` on.
///
/// # Safety
/// As [`stream`]; the blocks are there.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
unsafe fn blocks<const QUERIES: usize, const BLOCKS: usize, const HALVES: usize>(
    document: &Document<'_>,
    start: *const u8,
    tile: &Tile<'_>,
    totals: &[__m512; QUERIES],
    maxima: &mut [__m512; QUERIES],
) {
    let row_bytes = BLOCK_TOKENS * WORD_BYTES;
    let block_bytes = BLOCK_TOKENS * document.layout.token_bytes();
    let mut sums = [[_mm512_setzero_si512(); QUERIES]; BLOCKS];
    let words = tile.words.chunks_exact(HALVES * QUERIES);
    for (row, words) in words.enumerate() {
        let codes: [__m512i; BLOCKS] = std::array::from_fn(|block| {
            let offset = block * block_bytes + BLOCK_TOKENS * CONSTANT_BYTES + row * row_bytes;
            prefetch::line(start.wrapping_add(offset + AHEAD_BYTES));
            // SAFETY: the query has as many words as the layout, so the row is in the block.
            unsafe { _mm512_loadu_si512(start.add(offset).cast()) }
        });
        for half in 0..HALVES {
            let codes: [__m512i; BLOCKS] =
                std::array::from_fn(|block| codes_of::<HALVES>(codes[block], half));
            for query in 0..QUERIES {
                let word = _mm512_set1_epi32(words[half * QUERIES + query]);
                for block in 0..BLOCKS {
                    sums[block][query] =
                        _mm512_dpbusd_epi32(sums[block][query], codes[block], word);
                }
            }
        }
    }
    for (block, sums) in sums.iter().enumerate() {
        // SAFETY: a block begins with 16 steps and 16 lows.
        let (steps, lows) = unsafe {
            let constants = start.add(block * block_bytes).cast::<f32>();
            (_mm512_loadu_ps(constants), _mm512_loadu_ps(constants.add(BLOCK_TOKENS)))
        };
        for query in 0..QUERIES {
            let scores = scores(sums[query], steps, lows, totals[query]);
            // The second operand is what remains if the first is not a number.
            maxima[query] = _mm512_max_ps(scores, maxima[query]);
        }
    }
}

/// Raises the maxima by the scores of a last block of `width` < 16 tokens.
///
/// # Safety
/// As [`stream`]; the block is there.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
unsafe fn narrow<const QUERIES: usize, const HALVES: usize>(
    document: &Document<'_>,
    start: *const u8,
    width: usize,
    tile: &Tile<'_>,
    totals: &[__m512; QUERIES],
    maxima: &mut [__m512; QUERIES],
) {
    debug_assert!(width < BLOCK_TOKENS && document.tokens % BLOCK_TOKENS == width);
    let mask: __mmask16 = (1 << width) - 1;
    let mut sums = [_mm512_setzero_si512(); QUERIES];
    let words = tile.words.chunks_exact(HALVES * QUERIES);
    for (row, words) in words.enumerate() {
        let offset = width * (CONSTANT_BYTES + row * WORD_BYTES);
        // SAFETY: the row is in the block, and lanes outside of the mask are not read.
        let row = unsafe { _mm512_maskz_loadu_epi32(mask, start.add(offset).cast()) };
        for half in 0..HALVES {
            let codes = codes_of::<HALVES>(row, half);
            for query in 0..QUERIES {
                let word = _mm512_set1_epi32(words[half * QUERIES + query]);
                sums[query] = _mm512_dpbusd_epi32(sums[query], codes, word);
            }
        }
    }
    // SAFETY: a block begins with its steps and lows, and lanes outside of the mask are not read.
    let (steps, lows) = unsafe {
        let constants = start.cast::<f32>();
        (_mm512_maskz_loadu_ps(mask, constants), _mm512_maskz_loadu_ps(mask, constants.add(width)))
    };
    for query in 0..QUERIES {
        let scores = scores(sums[query], steps, lows, totals[query]);
        maxima[query] = _mm512_mask_max_ps(maxima[query], mask, scores, maxima[query]);
    }
}

/// The unscaled scores: step · sum + low · total, each operation rounded.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn scores(sums: __m512i, steps: __m512, lows: __m512, total: __m512) -> __m512 {
    _mm512_add_ps(_mm512_mul_ps(steps, _mm512_cvtepi32_ps(sums)), _mm512_mul_ps(lows, total))
}

/// Sixteen independent multiplications a round, on registers alone; the number of products.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub fn multiply_registers(rounds: u64) -> u64 {
    const SUMS: usize = 16;
    let mut sums = [_mm512_setzero_si512(); SUMS];
    // Unknown to the compiler, so that nothing is computed before.
    let (codes, word) = std::hint::black_box((_mm512_set1_epi8(3), _mm512_set1_epi32(5)));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, codes, word);
        }
    }
    std::hint::black_box(sums);
    rounds * (SUMS * 64) as u64
}
