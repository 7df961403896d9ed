//! Scores of secondary codes by integer products, without decoding them.
//!
//! With x ≈ μ + low + step · c the product with a query is ⟨q, μ⟩ + step · ⟨q, c⟩ + low · Σ qᵢ. The
//! query has as many [planes](super::planes) as make its products those of f32, so that a score is
//! that of the decoded vector.

use super::lvq::Lvq;
use super::planes::planes;
use crate::kernels;
use crate::kernels::codes::{CodeKernel, CodeLayout, CodeQuery};

/// Rows that are asked for at once, before those before them are scored.
const BLOCK_ROWS: usize = 16;
/// The share of a query's length that its integers may leave: about what f32 leaves.
const MOST_LEFT: f32 = 1e-6;

/// A query as secondary codes are scored against it.
#[derive(Debug, Clone)]
pub struct SecondaryQuery {
    planes: Vec<CodeQuery>,
    /// ⟨q, μ⟩.
    offset: f32,
}

impl SecondaryQuery {
    /// For records of `lvq` of vectors less `center`.
    pub fn new(lvq: &Lvq, query: &[f32], center: &[f32]) -> Self {
        let planes = planes(lvq.layout(), query, MOST_LEFT);
        Self { planes, offset: kernels::dot(query, center) }
    }

    /// The inner products of the query with the vectors of the listed records, one a score. No
    /// slack has to follow the last record.
    ///
    /// # Panics
    /// If a record is not there, or there is not a score an id.
    pub fn score(
        &self,
        lvq: &Lvq,
        kernel: CodeKernel,
        records: &[u8],
        ids: &[u32],
        scores: &mut [f32],
    ) {
        assert_eq!(ids.len(), scores.len(), "a score an id");
        let stride = lvq.layout().stride();
        let ask = |ids: &[u32]| {
            ids.iter().for_each(|&id| kernels::prefetch(records, id as usize * stride, stride));
        };
        let mut blocks = ids.chunks(BLOCK_ROWS).zip(scores.chunks_mut(BLOCK_ROWS)).peekable();
        ask(&ids[..ids.len().min(BLOCK_ROWS)]);
        while let Some((ids, scores)) = blocks.next() {
            blocks.peek().iter().for_each(|(after, _)| ask(after));
            // Kernels read past the end of a record.
            let followed = records.len().saturating_sub(CodeLayout::SLACK_BYTES) / stride;
            if ids.iter().all(|&id| (id as usize) < followed) {
                self.score_followed(lvq, kernel, records, ids, scores);
                continue;
            }
            for (&id, score) in ids.iter().zip(scores) {
                let mut record = records[id as usize * stride..][..stride].to_vec();
                record.resize(lvq.layout().section_bytes(1), 0);
                self.score_followed(lvq, kernel, &record, &[0], std::slice::from_mut(score));
            }
        }
    }

    fn score_followed(
        &self,
        lvq: &Lvq,
        kernel: CodeKernel,
        records: &[u8],
        ids: &[u32],
        scores: &mut [f32],
    ) {
        let stride = lvq.layout().stride();
        scores.fill(self.offset);
        let mut sums = [0; BLOCK_ROWS];
        let sums = &mut sums[..ids.len()];
        for plane in &self.planes {
            kernel.dot_listed(lvq.layout(), records, plane, ids, sums);
            let (scale, total) = (plane.scale(), plane.total() as f32);
            for ((score, &sum), &id) in scores.iter_mut().zip(&*sums).zip(ids) {
                let constants = Lvq::range(&records[id as usize * stride..]);
                *score += scale * (constants.step * sum as f32 + constants.low * total);
            }
        }
        // ∞ − ∞, from huge values, is worse than any other.
        scores.iter_mut().for_each(|score| *score = score.max(f32::NEG_INFINITY));
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
            let mut scores = vec![0.0; ids.len()];
            let prepared = SecondaryQuery::new(&lvq, &query, &center);
            prepared.score(&lvq, CodeKernel::detect(), &records, &ids, &mut scores);
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
