//! Reference implementation of the kernels, and the fallback without SIMD.

use super::layout::{WORD_BYTES, bits_per_code, largest_code};
use super::{Document, Tile};

/// Writes the largest unscaled score of query token t to `best[t]`.
pub fn best<const PER_BYTE: usize>(document: &Document<'_>, tile: &Tile<'_>, best: &mut [f32]) {
    best.fill(f32::NEG_INFINITY);
    each::<PER_BYTE>(document, tile, |_, query, score| {
        // Not a maximum of two: NaN must not win.
        best[query] = if score > best[query] { score } else { best[query] };
    });
}

/// Writes the unscaled products of each token of the tile with each token of the document.
pub fn products<const PER_BYTE: usize>(document: &Document<'_>, tile: &Tile<'_>, out: &mut [f32]) {
    let tokens = document.tokens;
    each::<PER_BYTE>(document, tile, |token, query, score| out[query * tokens + token] = score);
}

/// One token after the other, with the order of operations that all implementations share: calls
/// `visit` with the token, the query token, and their unscaled score.
fn each<const PER_BYTE: usize>(
    document: &Document<'_>,
    tile: &Tile<'_>,
    mut visit: impl FnMut(usize, usize, f32),
) {
    let queries = tile.totals.len();
    let mut sums = vec![0; queries];
    let middle = document.layout.bits().middle();
    for token in 0..document.tokens {
        let place = document.layout.place(token, document.tokens);
        sums.fill(0);
        for word in 0..document.layout.words() {
            let codes = &document.bytes[place.word(word)];
            for field in 0..PER_BYTE {
                let words = &tile.words[(word * PER_BYTE + field) * queries..][..queries];
                let shift = bits_per_code(PER_BYTE) * field;
                for (sum, word) in sums.iter_mut().zip(words) {
                    for (&byte, q) in codes.iter().zip(word.to_le_bytes()) {
                        let code = byte >> shift & largest_code(PER_BYTE);
                        *sum += i32::from(code) * i32::from(q as i8);
                    }
                }
            }
        }
        let float = |at: usize| {
            let bytes = document.bytes[at..at + WORD_BYTES].first_chunk();
            bytes.map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
        };
        let (step, low) = (float(place.step().start), float(place.low().start));
        let of_centroid = tile.products.map(|products| (products, products.row(low.to_bits())));
        for (query, (&sum, &total)) in sums.iter().zip(tile.totals).enumerate() {
            let (sum, total) = (sum as f32, total as f32);
            let score = match &of_centroid {
                None => step * sum + low * total,
                Some((products, values)) => {
                    step * (sum - middle * total)
                        + f32::from(values[query]) * products.factors[query]
                }
            };
            visit(token, query, score);
        }
    }
}
