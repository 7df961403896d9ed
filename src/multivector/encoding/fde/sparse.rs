//! A query's encoding as its non-zero blocks.

use crate::kernels;

/// Blocks of equal length, each with its position in the dense encoding.
///
/// A query of m tokens fills at most m of the 2^k blocks of a repetition. For few tokens, a dense
/// encoding would be mostly zeros.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseFde {
    block_dimension: usize,
    places: Vec<u32>,
    values: Vec<f32>,
}

impl SparseFde {
    pub(super) fn new(block_dimension: usize) -> Self {
        Self { block_dimension, places: Vec::new(), values: Vec::new() }
    }

    /// Adds `value` to the block at `place`, which must not precede the last one.
    pub(super) fn add(&mut self, place: u32, value: &[f32]) {
        if self.places.last() == Some(&place) {
            let last = self.values.len() - self.block_dimension;
            for (sum, value) in self.values[last..].iter_mut().zip(value) {
                *sum += value;
            }
        } else {
            self.places.push(place);
            self.values.extend_from_slice(value);
        }
    }

    /// Dimension of a block.
    pub fn block_dimension(&self) -> usize {
        self.block_dimension
    }

    /// Number of non-zero blocks.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True if there are no non-zero blocks.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The blocks in ascending order: position in the dense encoding, and elements.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = (usize, &[f32])> + Clone {
        let values = self.values.chunks_exact(self.block_dimension);
        self.places.iter().map(|&place| place as usize * self.block_dimension).zip(values)
    }

    /// Dot product with a dense vector of all dimensions.
    ///
    /// # Panics
    /// If `dense` ends before the last block.
    pub fn dot(&self, dense: &[f32]) -> f32 {
        let part = |(start, values): (usize, &[f32])| {
            kernels::dot(values, &dense[start..][..self.block_dimension])
        };
        self.blocks().map(part).sum()
    }

    /// Writes the dense encoding.
    ///
    /// # Panics
    /// If `out` ends before the last block.
    pub fn write_dense(&self, out: &mut [f32]) {
        out.fill(0.0);
        for (start, values) in self.blocks() {
            out[start..][..self.block_dimension].copy_from_slice(values);
        }
    }
}
