//! The query map of a reduction as 8-bit codes: a quarter of the bytes of the map itself, and
//! mapping a query is bound by reading them.
//!
//! A row of the map is quantized like a vector (LVQ, one range per row), the query to 8-bit
//! integers. Each rounding error is about 4·10⁻⁴ of the query's length per dimension for D = 384:
//! as much as the rounding of the mapped query, and a tenth of that of 4-bit codes, for which this
//! is meant. A query with a few much larger elements would lose more: it gets a second
//! [plane](super::planes).

use super::lvq::{Constants, quantize};
use super::planes::planes;
use crate::kernels::codes::{CodeBits, CodeKernel, CodeLayout, CodeQuery};

/// Number of sums to compute at a time.
const BLOCK_ROWS: usize = 64;
/// Largest rounding error of the query's integers, as a share of its length.
const MOST_LEFT: f32 = 0.01;

/// A map of shape [d, D], as codes.
#[derive(Debug, Clone, PartialEq)]
pub struct CodedMap {
    layout: CodeLayout,
    kernel: CodeKernel,
    records: Vec<u8>,
    constants: Vec<Constants>,
}

impl CodedMap {
    /// Quantizes a map with rows of `dimension` elements.
    pub fn new(map: &[f32], dimension: usize) -> Self {
        let layout = CodeLayout::new(CodeBits::Eight, dimension, 0);
        let mut records = vec![0; layout.section_bytes(map.len() / dimension)];
        let mut codes = Vec::new();
        let rows = map.chunks_exact(dimension).zip(records.chunks_exact_mut(layout.stride()));
        let encode = |(row, record): (&[f32], &mut [u8])| {
            let constants = quantize(CodeBits::Eight.max(), row, &mut codes);
            layout.pack(&codes, record);
            constants
        };
        let constants = rows.map(encode).collect();
        Self { layout, kernel: CodeKernel::detect(), records, constants }
    }

    /// Approximate product with a query of D elements: d elements.
    pub fn map(&self, query: &[f32]) -> Vec<f32> {
        let mut mapped = vec![0.0; self.constants.len()];
        for plane in planes(&self.layout, query, MOST_LEFT) {
            self.add(&plane, &mut mapped);
        }
        mapped
    }

    fn add(&self, query: &CodeQuery, mapped: &mut [f32]) {
        let mut sums = [0; BLOCK_ROWS];
        let blocks = mapped.chunks_mut(BLOCK_ROWS).zip(self.constants.chunks(BLOCK_ROWS));
        for (block, (mapped, constants)) in blocks.enumerate() {
            let records = &self.records[block * BLOCK_ROWS * self.layout.stride()..];
            let sums = &mut sums[..mapped.len()];
            self.kernel.dot_rows(&self.layout, records, query, sums);
            for ((mapped, row), &sum) in mapped.iter_mut().zip(constants).zip(&*sums) {
                *mapped += row.product(query, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;
    use crate::quantization::random::hash;

    #[test]
    fn products_are_those_of_the_map_up_to_its_rounding() {
        for (reduced, dimension) in [(1, 1), (3, 5), (64, 64), (65, 100), (130, 384), (7, 1100)] {
            let value = |i: usize| (hash(3, i as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
            let map: Vec<f32> = (0..reduced * dimension).map(value).collect();
            let coded = CodedMap::new(&map, dimension);
            let mut query: Vec<f32> = (0..dimension).map(|i| value(i + 77_777)).collect();
            for outlier in [1.0, 50.0] {
                // One element is much larger than the others.
                query[dimension / 2] *= outlier;
                let length = kernels::dot(&query, &query).sqrt();
                let mapped = coded.map(&query);
                assert_eq!(mapped.len(), reduced);
                for (got, row) in mapped.iter().zip(map.chunks_exact(dimension)) {
                    let error = (got - kernels::dot(row, &query)).abs() / length;
                    // Rounding errors are independent and at most half a step, 1/255 here, except
                    // for those of a few elements, which may all have the same sign.
                    assert!(error < 0.01, "{reduced} {dimension} {outlier}: {error}");
                }
            }
        }
    }

    #[test]
    fn queries_of_zeros_and_of_huge_elements_are_mapped() {
        let coded = CodedMap::new(&[0.5, -0.25, 0.0, 1.0], 2);
        assert_eq!(coded.map(&[0.0, 0.0]), [0.0, 0.0]);
        assert!(coded.map(&[1e37, -1e37]).iter().all(|value| value.is_finite()));
    }
}
