//! Synthesised queries far from the rows, and the nearness of scores.

use super::alike::directed;
use crate::kernels;
use crate::model::{Metric, VectorField, VectorKind, VectorRef, prepare_vector};
use crate::quantization::hash;

/// Lengths of the added vector, relative to the row.
const ADDED: [f32; 4] = [0.5, 1.0, 2.0, 16.0];
const SEED: u64 = 7;

/// Nearness of a score, independent of the query's length: the score itself, or under dot that of a
/// query of length 1; for a multi-vector of shape [m, dimension] the mean over its vectors. Higher
/// is nearer.
pub fn nearness(metric: Metric, query: &[f32], dimension: usize, score: f32) -> f32 {
    score / length(metric, query, dimension)
}

/// By what nearness is multiplied in the scores of a query: under dot its length, for a
/// multi-vector of shape [m, dimension] the sum over its vectors. Always above 0.
pub fn length(metric: Metric, query: &[f32], dimension: usize) -> f32 {
    let vectors = query.chunks_exact(dimension);
    let length: f32 = match metric {
        Metric::Dot => vectors.map(|vector| kernels::dot(vector, vector).sqrt()).sum(),
        Metric::Cosine | Metric::L2 => vectors.len() as f32,
    };
    if length > 0.0 { length } else { 1.0 }
}

/// A query of shape [m, dimension] farther from the rows than these are from each other: a row
/// plus, for each of its vectors, a vector of another direction (alternately random or from another
/// row); of length 1 under cosine. `None` if the result is not a valid query: too long, or without
/// a direction.
pub fn far_query(field: &VectorField, row: &[f32], other: &[f32], number: u64) -> Option<Vec<f32>> {
    let dimension = field.dimension;
    let part = ADDED[number as usize / 2 % ADDED.len()];
    let random = |at: usize| (hash(SEED ^ number, at as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    let mut far = Vec::with_capacity(row.len());
    for (index, vector) in row.chunks_exact(dimension).enumerate() {
        let start = index * dimension;
        let of_other = other.get(start..start + dimension);
        let added = match (number.is_multiple_of(2), of_other) {
            (false, Some(other)) => directed(other),
            _ => directed(&(0..dimension).map(|at| random(start + at)).collect::<Vec<f32>>()),
        };
        // Under l2 the distances between rows matter, not their distance from the origin.
        let length = match (field.metric, of_other) {
            (Metric::L2, Some(other)) => kernels::l2_squared(vector, other).sqrt(),
            _ => kernels::dot(vector, vector).sqrt(),
        };
        far.extend(vector.iter().zip(&added).map(|(value, added)| value + part * length * added));
    }
    let vector = match field.kind {
        VectorKind::Single => VectorRef::Single(&far),
        VectorKind::Multi => VectorRef::Multi { dimension, values: &far },
        VectorKind::Sparse => return None,
    };
    prepare_vector(field, vector).ok()
}
