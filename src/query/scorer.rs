//! The similarity of one query with a row of its field.

use crate::error::Result;
use crate::kernels;
use crate::model::{InvalidInput, Metric, Score, VectorField, VectorRef, prepare_vector};
use crate::multivector::max_sim;

/// A validated query vector and how it is compared.
#[derive(Debug, Clone)]
pub struct Scorer {
    metric: Metric,
    dimension: usize,
    /// Shape [m, dimension]; m = 1 for a single vector. Scaled to length 1 under cosine.
    query: Vec<f32>,
}

impl Scorer {
    /// Checks `vector` against `field`.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] at `vector` if kind, dimension or values are wrong.
    pub fn new(field: &VectorField, vector: VectorRef<'_>) -> Result<Self> {
        let query = prepare_vector(field, vector)
            .map_err(|problem| InvalidInput::new("vector", problem))?;
        Ok(Self { metric: field.metric, dimension: field.dimension, query })
    }

    /// The query as it is compared: shape [m, dimension], scaled to length 1 under cosine.
    pub fn query(&self) -> &[f32] {
        &self.query
    }

    /// Length of each vector.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The similarity with a row of shape [n, dimension] (n = 1 in a single field), n ≥ 1.
    #[inline]
    pub fn score(&self, row: &[f32]) -> Score {
        let score = match self.metric {
            Metric::Dot | Metric::Cosine => max_sim(&self.query, row, self.dimension, kernels::dot),
            Metric::L2 => {
                max_sim(&self.query, row, self.dimension, |q, x| -kernels::l2_squared(q, x))
            }
        };
        // Sums of huge values can overflow to ∞ − ∞: such a row is worse than any other.
        Score(if score.is_nan() { f32::NEG_INFINITY } else { score })
    }
}
