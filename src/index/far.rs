//! Queries that are made up to be far from the rows, and how near a score is.

use super::alike::directed;
use crate::kernels;
use crate::model::{Metric, VectorField, VectorKind, VectorRef, prepare_vector};
use crate::quantization::hash;

/// The lengths, in those of rows, of what is added to a row.
const ADDED: [f32; 4] = [0.5, 1.0, 2.0, 16.0];
const SEED: u64 = 7;

/// How near a score is, whatever the length of the query: the score itself, or under dot that of a query of
/// length 1; of a multi-vector of shape [m, dimension] the mean over its vectors. Higher is nearer.
pub fn nearness(metric: Metric, query: &[f32], dimension: usize, score: f32) -> f32 {
    let vectors = query.chunks_exact(dimension);
    let length: f32 = match metric {
        Metric::Dot => vectors.map(|vector| kernels::dot(vector, vector).sqrt()).sum(),
        Metric::Cosine | Metric::L2 => vectors.len() as f32,
    };
    if length > 0.0 { score / length } else { score }
}

/// A query of shape [m, dimension] that is farther from the rows than these are from each other: a row, to
/// each vector of which one of another direction is added (half of the time at random, and half of the time
/// of another row); of length 1 under cosine. `None` if it could not be asked: what is too long, or of no direction.
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
        // Under l2 what counts is how far rows are from each other, not from the origin.
        let length = match (field.metric, of_other) {
            (Metric::L2, Some(other)) => kernels::l2_squared(vector, other).sqrt(),
            _ => kernels::dot(vector, vector).sqrt(),
        };
        far.extend(vector.iter().zip(&added).map(|(value, added)| value + part * length * added));
    }
    let vector = match field.kind {
        VectorKind::Single => VectorRef::Single(&far),
        VectorKind::Multi => VectorRef::Multi { dimension, values: &far },
    };
    prepare_vector(field, vector).ok()
}
