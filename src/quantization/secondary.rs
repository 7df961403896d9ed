//! Scores of secondary codes by integer products, without decoding them.
//!
//! With x ≈ μ + low + step · c, the product with a query is ⟨q, μ⟩ + step · ⟨q, c⟩ + low · Σ qᵢ.
//! The query has enough [planes](super::planes) for the precision of f32, so that a score equals
//! that of the decoded vector.

use super::lvq::Lvq;
use super::planes::planes;
use crate::kernels;
use crate::kernels::codes::{CodeKernel, CodeLayout, CodeQuery};

/// Rows to prefetch while the previous block is scored.
const BLOCK_ROWS: usize = 16;
/// Largest rounding error of the query's integers, as a share of its length: about that of f32.
const MOST_LEFT: f32 = 1e-6;

/// A query, prepared for the secondary codes of a field, whatever their centre.
#[derive(Debug, Clone)]
pub struct SecondaryQuery {
    vector: Vec<f32>,
    planes: Vec<CodeQuery>,
}

/// Records of secondary codes.
#[derive(Clone, Copy)]
pub(super) struct Records<'a> {
    /// Codec of the records.
    pub lvq: &'a Lvq,
    /// Centre subtracted from the vectors.
    pub center: &'a [f32],
    /// Kernel that scores them.
    pub kernel: CodeKernel,
    /// Consecutive records; no slack needs to follow.
    pub bytes: &'a [u8],
}

impl SecondaryQuery {
    /// Prepares a query for records of this layout.
    pub(super) fn new(layout: &CodeLayout, vector: &[f32]) -> Self {
        Self { vector: vector.to_vec(), planes: planes(layout, vector, MOST_LEFT) }
    }

    /// Inner products of the query with the vectors of the listed records.
    ///
    /// # Panics
    /// If a record does not exist.
    pub(super) fn score(&self, records: Records<'_>, ids: &[u32]) -> Vec<f32> {
        let Records { lvq, center, bytes, .. } = records;
        let stride = lvq.layout().stride();
        // Kernels read past the end of a record.
        let followed = bytes.len().saturating_sub(CodeLayout::SLACK_BYTES) / stride;
        let ask = |ids: &[u32]| {
            ids.iter().for_each(|&id| kernels::prefetch(bytes, id as usize * stride, stride));
        };
        let mut scores = vec![kernels::dot(&self.vector, center); ids.len()];
        let mut blocks = ids.chunks(BLOCK_ROWS).zip(scores.chunks_mut(BLOCK_ROWS)).peekable();
        ask(&ids[..ids.len().min(BLOCK_ROWS)]);
        while let Some((ids, scores)) = blocks.next() {
            blocks.peek().iter().for_each(|(after, _)| ask(after));
            if ids.iter().all(|&id| (id as usize) < followed) {
                self.add(records, ids, scores);
                continue;
            }
            for (&id, score) in ids.iter().zip(scores) {
                let mut record = bytes[id as usize * stride..][..stride].to_vec();
                record.resize(lvq.layout().section_bytes(1), 0);
                let record = Records { bytes: &record, ..records };
                self.add(record, &[0], std::slice::from_mut(score));
            }
        }
        // ∞ − ∞, from huge values, ranks last.
        scores.iter_mut().for_each(|score| *score = score.max(f32::NEG_INFINITY));
        scores
    }

    /// Adds the products with the codes of at most [`BLOCK_ROWS`] records, which are followed by
    /// slack.
    fn add(&self, records: Records<'_>, ids: &[u32], scores: &mut [f32]) {
        let Records { lvq, kernel, bytes, .. } = records;
        let mut sums = [0; BLOCK_ROWS];
        let sums = &mut sums[..ids.len()];
        for plane in &self.planes {
            kernel.dot_listed(lvq.layout(), bytes, plane, ids, sums);
            for ((score, &sum), &id) in scores.iter_mut().zip(&*sums).zip(ids) {
                let constants = Lvq::range(&bytes[id as usize * lvq.layout().stride()..]);
                *score += constants.product(plane, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::codes::CodeBits;
    use crate::quantization::random::hash;

    #[test]
    fn scores_are_the_products_with_the_decoded_vectors() {
        let value = |i: usize| (hash(5, i as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        for (bits, dimension) in [
            (CodeBits::Eight, 1),
            (CodeBits::Four, 7),
            (CodeBits::Eight, 130),
            (CodeBits::Four, 384),
        ] {
            let lvq = Lvq::new(bits, dimension, false);
            let (stride, rows) = (lvq.layout().stride(), 37);
            let mut records = vec![0; rows * stride];
            for (row, record) in records.chunks_exact_mut(stride).enumerate() {
                let values: Vec<f32> = (0..dimension).map(|i| value(row * dimension + i)).collect();
                lvq.encode(&values, record, &mut Vec::new());
            }
            let mut query: Vec<f32> = (0..dimension).map(|i| value(99_999 + i)).collect();
            query[0] = 12.0;
            let center: Vec<f32> = (0..dimension).map(|i| value(55_555 + i)).collect();
            // More than a block, out of order, and the last row twice.
            let ids: Vec<u32> = (0..40).map(|i| i * 36 % 37).chain([36, 0]).collect();
            let kernel = CodeKernel::detect();
            let coded = Records { lvq: &lvq, center: &center, kernel, bytes: &records };
            let scores = SecondaryQuery::new(lvq.layout(), &query).score(coded, &ids);
            assert_eq!(scores.len(), ids.len());
            let mut decoded = Vec::new();
            for (&id, score) in ids.iter().zip(scores) {
                lvq.decode(&records[id as usize * stride..], &mut decoded);
                let expected = kernels::dot(&decoded, &query) + kernels::dot(&center, &query);
                let error = (score - expected).abs();
                assert!(
                    error < 1e-5 * (20.0 + dimension as f32).sqrt(),
                    "{bits:?} {dimension}: {error}"
                );
            }
        }
    }
}
