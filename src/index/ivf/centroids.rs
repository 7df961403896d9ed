//! Centroids, coded with 8 bits per dimension, so that finding the nearest ones is a scan of codes.

use crate::kernels::codes::{CodeBits, CodeKernel, CodeQuery};
use crate::quantization::lvq::Lvq;

/// Contiguous codes of centroids, each with its squared norm.
#[derive(Debug)]
pub struct Centroids<'a> {
    lvq: Lvq,
    kernel: CodeKernel,
    records: &'a [u8],
}

/// How vectors are compared with centroids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nearness {
    /// By distance: 2⟨q, c⟩ − ‖c‖², which has the order of −‖q − c‖².
    Distance,
    /// By inner product ⟨q, c⟩.
    Product,
}

impl<'a> Centroids<'a> {
    /// Centroids of `dimension` from their records and trailing padding.
    pub fn new(dimension: usize, kernel: CodeKernel, records: &'a [u8]) -> Self {
        Self { lvq: Lvq::new(CodeBits::Eight, dimension, true), kernel, records }
    }

    /// Encodes centroids of shape [k, dimension]; returns their records and trailing padding.
    pub fn encode(values: &[f32], dimension: usize) -> Vec<u8> {
        let lvq = Lvq::new(CodeBits::Eight, dimension, true);
        let (stride, count) = (lvq.layout().stride(), values.len() / dimension);
        let mut records = vec![0; lvq.layout().section_bytes(count)];
        let (mut scratch, mut decoded) = (Vec::new(), Vec::new());
        for (row, record) in values.chunks_exact(dimension).zip(records.chunks_exact_mut(stride)) {
            lvq.encode(row, record, &mut scratch);
            lvq.decode(record, &mut decoded);
            lvq.set_norm(record, decoded.iter().map(|value| value * value).sum());
        }
        records
    }

    /// Bytes of the records of `count` centroids.
    pub fn section_bytes(dimension: usize, count: usize) -> usize {
        Lvq::new(CodeBits::Eight, dimension, true).layout().section_bytes(count)
    }

    /// Nearness of the first `scores.len()` centroids to a vector; higher is nearer.
    pub fn score(
        &self,
        vector: &[f32],
        nearness: Nearness,
        sums: &mut Vec<i32>,
        scores: &mut [f32],
    ) {
        let layout = self.lvq.layout();
        let query = CodeQuery::new(layout, vector);
        sums.resize(scores.len(), 0);
        self.kernel.dot_rows(layout, self.records, &query, sums);
        let (scale, total) = (query.scale(), query.total() as f32);
        let records = self.records.chunks_exact(layout.stride());
        for ((score, &sum), record) in scores.iter_mut().zip(&*sums).zip(records) {
            let constants = self.lvq.constants(record);
            let product = scale * (constants.step * sum as f32 + constants.low * total);
            *score = match nearness {
                Nearness::Distance => 2.0 * product - constants.norm,
                Nearness::Product => product,
            };
        }
    }
}
