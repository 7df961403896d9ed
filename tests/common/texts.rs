//! The tokens of NFCorpus' documents and queries.

use std::path::Path;

use lanner::MultiVector;
use lanner_eval::{NpyMatrix, read_offsets};

pub const DIMENSION: usize = 128;

/// Documents or queries: the tokens of each.
pub struct Texts {
    pub tokens: Vec<f32>,
    pub offsets: Vec<usize>,
}

impl Texts {
    fn read(data: &Path, tokens: &str, offsets: &str) -> Self {
        let mut matrix = NpyMatrix::open(&data.join(tokens)).unwrap();
        assert_eq!(matrix.cols(), DIMENSION);
        let mut values = Vec::new();
        matrix.read_rows(0..matrix.rows(), &mut values).unwrap();
        let offsets = read_offsets(&data.join(offsets)).unwrap();
        let offsets = offsets.iter().map(|&offset| offset as usize).collect();
        Self { tokens: values, offsets }
    }

    pub fn documents(data: &Path) -> Self {
        Self::read(data, "corpus_tokens.i8.npy", "corpus_tokens_offsets.i64.npy")
    }

    pub fn queries(data: &Path) -> Self {
        Self::read(data, "queries_tokens.f32.npy", "queries_tokens_offsets.i64.npy")
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn get(&self, index: usize) -> &[f32] {
        &self.tokens[self.offsets[index] * DIMENSION..self.offsets[index + 1] * DIMENSION]
    }

    /// The same as a multi-vector.
    pub fn multi(&self, index: usize) -> MultiVector {
        MultiVector::from_flat(DIMENSION, self.get(index).to_vec()).unwrap()
    }
}
