//! AVX2: a row of a block is four quarters, each of a word of four tokens.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_set1_epi32,
    _mm_srli_epi16, _mm256_add_epi32, _mm256_add_ps, _mm256_blendv_ps, _mm256_castsi256_ps,
    _mm256_cmpgt_epi32, _mm256_cvtepi8_epi16, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16,
    _mm256_hadd_epi32, _mm256_loadu_ps, _mm256_madd_epi16, _mm256_max_ps, _mm256_mul_ps,
    _mm256_permute4x64_epi64, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi32,
    _mm256_setzero_si256, _mm256_storeu_ps,
};

use super::layout::{CONSTANT_BYTES, WORD_BYTES};
use super::{BLOCK_TOKENS, Document, Tile};

/// Bytes of a register of codes before they are widened: the words of four tokens.
const QUARTER_BYTES: usize = 16;
/// Lanes of a register of scores.
const LANES: usize = 8;

/// # Safety
/// AVX2, and what `MaxSimKernel::score` asserts.
#[target_feature(enable = "avx2")]
pub unsafe fn best<const HALVES: usize>(
    document: &Document<'_>,
    tile: &Tile<'_>,
    best: &mut [f32],
) {
    // Two query tokens have eight registers of sums, half of all.
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
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn stream<const QUERIES: usize, const HALVES: usize>(
    document: &Document<'_>,
    tile: &Tile<'_>,
    first: usize,
) -> [f32; QUERIES] {
    let lowest = _mm256_set1_ps(f32::NEG_INFINITY);
    let mut maxima = [lowest; QUERIES];
    let token_bytes = document.layout.token_bytes();
    for token in (0..document.tokens).step_by(BLOCK_TOKENS) {
        let width = BLOCK_TOKENS.min(document.tokens - token);
        // SAFETY: the block begins within the document.
        let start = unsafe { document.bytes.as_ptr().add(token * token_bytes) };
        // SAFETY: the block is there, and after it the slack.
        let sums = unsafe { block_sums::<QUERIES, HALVES>(start, width, tile, first) };
        for part in 0..2 {
            // SAFETY: a block begins with its steps and lows; what follows is more of the document
            // or its slack.
            let (steps, lows) = unsafe {
                let constants = start.cast::<f32>().add(part * LANES);
                (_mm256_loadu_ps(constants), _mm256_loadu_ps(constants.add(width)))
            };
            let inside = inside(part, width);
            for ((query, sums), maximum) in sums.iter().enumerate().zip(&mut maxima) {
                let total = _mm256_set1_ps(tile.totals[first + query] as f32);
                let scores = scores(sums[part], steps, lows, total);
                let scores = _mm256_blendv_ps(lowest, scores, inside);
                // The second operand is what remains if the first is not a number.
                *maximum = _mm256_max_ps(scores, *maximum);
            }
        }
    }
    maxima.map(|lanes| greatest(lanes))
}

/// The sums of products of each query token with the tokens of a block, in two registers; lanes
/// past its `width` hold anything.
///
/// # Safety
/// As [`stream`]; the block is at `start`, with slack after it.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn block_sums<const QUERIES: usize, const HALVES: usize>(
    start: *const u8,
    width: usize,
    tile: &Tile<'_>,
    first: usize,
) -> [[__m256i; 2]; QUERIES] {
    let mut sums = [[_mm256_setzero_si256(); 4]; QUERIES];
    let words = tile.words.chunks_exact(HALVES * tile.totals.len());
    for (row, words) in words.enumerate() {
        let offset = width * (CONSTANT_BYTES + row * WORD_BYTES);
        for half in 0..HALVES {
            let factors: [__m256i; QUERIES] = std::array::from_fn(|query| {
                let word = words[half * tile.totals.len() + first + query];
                _mm256_cvtepi8_epi16(_mm_set1_epi32(word))
            });
            for quarter in 0..4 {
                // SAFETY: the row begins in the block, and 64 bytes after that are at most the
                // slack after it.
                let bytes =
                    unsafe { _mm_loadu_si128(start.add(offset + quarter * QUARTER_BYTES).cast()) };
                let codes = _mm256_cvtepu8_epi16(codes_of::<HALVES>(bytes, half));
                for (sums, &factor) in sums.iter_mut().zip(&factors) {
                    let products = _mm256_madd_epi16(codes, factor);
                    sums[quarter] = _mm256_add_epi32(sums[quarter], products);
                }
            }
        }
    }
    sums.map(|[a, b, c, d]| [join(a, b), join(c, d)])
}

/// The sums of eight tokens, of which each is in two lanes of one of the two registers.
#[target_feature(enable = "avx2")]
#[inline]
fn join(first: __m256i, second: __m256i) -> __m256i {
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(first, second))
}

/// Which lanes of a part of a block are tokens.
#[target_feature(enable = "avx2")]
#[inline]
fn inside(part: usize, width: usize) -> __m256 {
    let numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let count = _mm256_set1_epi32(width as i32 - (part * LANES) as i32);
    _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, numbers))
}

/// The unscaled scores: step · sum + low · total, each operation rounded.
#[target_feature(enable = "avx2")]
#[inline]
fn scores(sums: __m256i, steps: __m256, lows: __m256, total: __m256) -> __m256 {
    _mm256_add_ps(_mm256_mul_ps(steps, _mm256_cvtepi32_ps(sums)), _mm256_mul_ps(lows, total))
}

/// The codes in the bytes of a register, one a byte.
#[target_feature(enable = "avx2")]
#[inline]
fn codes_of<const HALVES: usize>(bytes: __m128i, half: usize) -> __m128i {
    match (HALVES, half) {
        (1, _) => bytes,
        (_, 0) => _mm_and_si128(bytes, _mm_set1_epi8(15)),
        _ => _mm_and_si128(_mm_srli_epi16::<4>(bytes), _mm_set1_epi8(15)),
    }
}

/// The greatest lane.
#[target_feature(enable = "avx2")]
#[inline]
fn greatest(lanes: __m256) -> f32 {
    let mut values = [0.0; LANES];
    // SAFETY: eight floats; the store is unaligned.
    unsafe { _mm256_storeu_ps(values.as_mut_ptr(), lanes) };
    values.into_iter().fold(f32::NEG_INFINITY, f32::max)
}
