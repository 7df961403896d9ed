//! The leading subspace of vectors whose second moment is too large for memory.
//!
//! Randomised subspace iteration (Halko, Martinsson and Tropp, SIAM Review 2011, §4.5): V ← orth(Xᵀ
//! X V), started from random signs. The D × D moment of encodings with 10,240 dimensions would take
//! 0.8 GB, and its eigenvectors hours; this takes two products with X per iteration. Maps are then
//! learned within the subspace, with dense moments of its few dimensions.

use faer::{Mat, MatRef};
use rayon::prelude::*;

use super::linalg::map_rows;
use crate::quantization::random::hash;

/// The error of eigenvalue λ falls with (λ_rank / λ)^(2·iterations).
const ITERATIONS: usize = 3;
/// Elements up to this can be multiplied and summed without overflow.
const LARGEST: f32 = 1e9;
/// Columns of X per task.
const STRIP_COLUMNS: usize = 512;

/// An orthonormal basis, shape [rank, dimension], of a subspace that captures nearly as much of the
/// rows, shape [n, dimension], as any of `rank` dimensions.
pub fn leading_subspace(rows: &[f32], dimension: usize, rank: usize, seed: u64) -> Vec<f32> {
    let sign = |index: usize| if hash(seed, index as u64) & 1 == 0 { 1.0 } else { -1.0 };
    let mut basis: Vec<f32> = (0..rank * dimension).map(sign).collect();
    // Products of huge elements would overflow; scaling does not change the subspace.
    let largest = rows.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scaled: Vec<f32>;
    let rows = if largest > LARGEST {
        scaled = rows.iter().map(|value| value / largest).collect();
        &scaled
    } else {
        rows
    };
    for _ in 0..ITERATIONS {
        let mapped = map_rows(rows, &basis, dimension);
        basis = orthonormal_rows(&back(rows, &mapped, dimension, rank));
    }
    basis
}

/// An orthonormal basis of the union of some bases, each of shape [·, dimension].
pub fn union(bases: &[Vec<f32>], dimension: usize) -> Vec<f32> {
    let joined = bases.concat();
    let rank = (joined.len() / dimension).min(dimension);
    let columns = Mat::from_fn(dimension, rank, |i, j| joined[j * dimension + i]);
    orthonormal_rows(&columns)
}

/// Xᵀ P, shape [dimension, rank], for P of shape [n, rank]; scaled to elements of at most 1, so
/// that powers do not overflow.
fn back(rows: &[f32], mapped: &[f32], dimension: usize, rank: usize) -> Mat<f32> {
    let count = rows.len() / dimension;
    let rows = MatRef::from_row_major_slice(rows, count, dimension);
    let mapped = MatRef::from_row_major_slice(mapped, count, rank);
    let starts: Vec<usize> = (0..dimension).step_by(STRIP_COLUMNS).collect();
    let strips: Vec<Mat<f32>> = starts
        .par_iter()
        .map(|&start| {
            let width = STRIP_COLUMNS.min(dimension - start);
            rows.subcols(start, width).transpose() * mapped
        })
        .collect();
    let largest = strips.iter().map(|strip| strip.norm_max()).fold(0.0, f32::max);
    let scale = if largest.is_finite() && largest > 0.0 { 1.0 / largest } else { 1.0 };
    Mat::from_fn(dimension, rank, |i, j| scale * strips[i / STRIP_COLUMNS][(i % STRIP_COLUMNS, j)])
}

/// The columns orthonormalised, as rows of shape [columns, dimension].
fn orthonormal_rows(columns: &Mat<f32>) -> Vec<f32> {
    let q = columns.qr().compute_thin_Q();
    q.col_iter().flat_map(|column| column.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::scalar;

    fn assert_orthonormal(basis: &[f32], dimension: usize) {
        let rows: Vec<&[f32]> = basis.chunks_exact(dimension).collect();
        for (i, a) in rows.iter().enumerate() {
            for (j, b) in rows.iter().enumerate() {
                let expected = f32::from(u8::from(i == j));
                assert!((scalar::dot(a, b) - expected).abs() < 1e-4, "{i} {j}");
            }
        }
    }

    #[test]
    fn finds_the_directions_that_carry_the_rows() {
        // Dimensions 7, 17, … of 600 are wide, the rest narrow.
        let (dimension, wide) = (600, 60);
        let value = |i: usize| (hash(1, i as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let rows: Vec<f32> = (0..300 * dimension)
            .map(|i| value(i) * if i % dimension % 10 == 7 { 1.0 } else { 0.05 })
            .collect();
        let basis = leading_subspace(&rows, dimension, wide, 42);
        assert_orthonormal(&basis, dimension);
        let kept = map_rows(&rows, &basis, dimension);
        let energy = |values: &[f32]| scalar::dot(values, values);
        let in_wide: f32 =
            rows.iter().enumerate().filter(|(i, _)| i % 10 == 7).map(|(_, x)| x * x).sum();
        assert!(energy(&kept) > 0.999 * in_wide, "{} {in_wide}", energy(&kept));
    }

    #[test]
    fn fewer_rows_than_dimensions_and_zeros_give_a_basis() {
        for rows in [vec![0.0; 3 * 50], vec![1.0; 50], vec![f32::MAX; 50]] {
            let basis = leading_subspace(&rows, 50, 8, 1);
            assert!(basis.iter().all(|value| value.is_finite()), "{rows:?}");
        }
        let basis = union(&[vec![1.0, 0.0, 0.0], vec![1.0, 1.0, 0.0]], 3);
        assert_orthonormal(&basis, 3);
        assert_eq!(union(&[basis.clone(), basis], 3).len(), 9);
    }
}
