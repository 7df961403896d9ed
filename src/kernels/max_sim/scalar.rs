//! Reference implementation of the kernels, and the fallback without SIMD.

use super::layout::WORD_BYTES;
use super::{Document, Tile, middle};

/// One token after the other, with the order of operations that all implementations share.
pub fn best<const HALVES: usize>(document: &Document<'_>, tile: &Tile<'_>, best: &mut [f32]) {
    best.fill(f32::NEG_INFINITY);
    let queries = tile.totals.len();
    let mut sums = vec![0; queries];
    for token in 0..document.tokens {
        let place = document.layout.place(token, document.tokens);
        sums.fill(0);
        for word in 0..document.layout.words() {
            let codes = &document.bytes[place.word(word)];
            for half in 0..HALVES {
                let words = &tile.words[(word * HALVES + half) * queries..][..queries];
                for (sum, word) in sums.iter_mut().zip(words) {
                    for (&byte, q) in codes.iter().zip(word.to_le_bytes()) {
                        let code = if HALVES == 1 { byte } else { byte >> (4 * half) & 15 };
                        *sum += i32::from(code) * i32::from(q as i8);
                    }
                }
            }
        }
        let float = |at: usize| {
            let bytes = document.bytes[at..at + WORD_BYTES].first_chunk();
            bytes.map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
        };
        let (step, mut low) = (float(place.step().start), float(place.low().start));
        let mut of_centroid: &[i16] = &[];
        if let Some(products) = &tile.products {
            of_centroid = products.of(low.to_bits());
            low = step * -middle(document.layout.bits());
        }
        for (query, ((best, &sum), &total)) in
            best.iter_mut().zip(&sums).zip(tile.totals).enumerate()
        {
            let mut score = step * sum as f32 + low * total as f32;
            if let Some(products) = &tile.products {
                let value = of_centroid.get(query).map_or(0.0, |&value| f32::from(value));
                score += value * products.factors[query];
            }
            // Not a maximum of two: NaN must not win.
            *best = if score > *best { score } else { *best };
        }
    }
}
