//! Reference implementation of the kernels, and the fallback without SIMD.

use super::layout::CHUNK_BYTES;
use super::{Pick, Rows};

/// Sums over whole chunks: bytes past a record are multiplied with zeros of the query.
pub fn dot_rows<const HALVES: usize>(rows: &Rows<'_>, pick: impl Pick, sums: &mut [i32]) {
    for (index, sum) in sums.iter_mut().enumerate() {
        let codes = &rows.records[rows.start(pick, index)..];
        let blocks = rows.query.blocks().chunks_exact(HALVES);
        *sum = codes
            .chunks(CHUNK_BYTES)
            .zip(blocks)
            .map(|(chunk, blocks)| {
                let half = |half: usize| -> i32 {
                    let code = |byte: u8| if HALVES == 1 { byte } else { byte >> (4 * half) & 15 };
                    let products = chunk.iter().zip(&blocks[half].0);
                    products.map(|(&byte, &q)| i32::from(code(byte)) * i32::from(q)).sum()
                };
                (0..HALVES).map(half).sum::<i32>()
            })
            .sum();
    }
}
