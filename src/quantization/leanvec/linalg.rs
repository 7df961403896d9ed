//! Linear algebra for LeanVec, over `faer`: the only module that uses it.
//!
//! Second moments are D × D in double precision, whatever the number of rows; rows are mapped in
//! single precision. Parallelism comes from rayon over blocks of rows, so that it stays in the
//! pool of the caller.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;

use super::LeanVecError;

/// Rows per task.
const BLOCK_ROWS: usize = 512;

/// Number of parts in which a second moment is computed; each holds a matrix.
const STRIPS: usize = 8;

/// A matrix in double precision.
pub type Matrix = Mat<f64>;

/// XᵀX / n for rows X of shape [n, dimension]. The order of summation does not depend on the number
/// of threads.
pub fn second_moment(rows: &[f32], dimension: usize) -> Matrix {
    let count = rows.len() / dimension;
    let strip_rows = count.div_ceil(STRIPS).max(1);
    let strips: Vec<Matrix> = rows
        .par_chunks(strip_rows * dimension)
        .map(|strip| {
            let mut sum = Matrix::zeros(dimension, dimension);
            for block in strip.chunks(BLOCK_ROWS * dimension) {
                let n = block.len() / dimension;
                let wide =
                    Matrix::from_fn(n, dimension, |i, j| f64::from(block[i * dimension + j]));
                matmul(&mut sum, Accum::Add, wide.transpose(), &wide, 1.0, Par::Seq);
            }
            sum
        })
        .collect();
    let zeros = Matrix::zeros(dimension, dimension);
    let sum = strips.into_iter().fold(zeros, |sum, strip| sum + strip);
    sum * faer::Scale(1.0 / count.max(1) as f64)
}

/// Product of two matrices.
pub fn product(left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> Matrix {
    let mut out = Matrix::zeros(left.nrows(), right.ncols());
    matmul(&mut out, Accum::Replace, left, right, 1.0, Par::Seq);
    out
}

/// Sum of the diagonal.
pub fn trace(matrix: &Matrix) -> f64 {
    matrix.diagonal().column_vector().iter().sum()
}

/// Σ aᵢⱼ·bᵢⱼ.
pub fn inner(a: &Matrix, b: &Matrix) -> f64 {
    a.col_iter().zip(b.col_iter()).map(|(a, b)| a.transpose() * b).sum()
}

/// Eigenvalues, largest first, with their eigenvectors as columns.
///
/// # Errors
/// If the iteration does not converge, as for non-finite matrices.
pub fn eigen(symmetric: &Matrix) -> Result<(Vec<f64>, Matrix), LeanVecError> {
    let found = symmetric
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| LeanVecError::NoConvergence { dimension: symmetric.nrows() })?;
    let values = found.S().column_vector().iter().rev().copied().collect();
    Ok((values, found.U().reverse_cols().to_owned()))
}

/// A power of a symmetric matrix, given by its [`eigen`]values and eigenvectors; values below
/// `floor` are raised to it.
pub fn power((values, vectors): &(Vec<f64>, Matrix), exponent: f64, floor: f64) -> Matrix {
    let scaled = Matrix::from_fn(vectors.nrows(), vectors.ncols(), |i, j| {
        vectors[(i, j)] * values[j].max(floor).powf(exponent)
    });
    product(scaled.as_ref(), vectors.transpose())
}

/// U Vᵀ of the singular value decomposition U Σ Vᵀ of a matrix with at most as many columns as
/// rows.
///
/// # Errors
/// As [`eigen`].
pub fn polar_factor(matrix: &Matrix) -> Result<Matrix, LeanVecError> {
    let found =
        matrix.thin_svd().map_err(|_| LeanVecError::NoConvergence { dimension: matrix.nrows() })?;
    Ok(product(found.U(), found.V().transpose()))
}

/// Maps rows: [n, d] = rows [n, D] · mapᵀ, for `map` of shape [d, D], row-major.
pub fn map_rows(rows: &[f32], map: &[f32], dimension: usize) -> Vec<f32> {
    let reduced = map.len() / dimension;
    let map = MatRef::from_row_major_slice(map, reduced, dimension);
    let mut out = vec![0.0; rows.len() / dimension * reduced];
    out.par_chunks_mut(BLOCK_ROWS * reduced).zip(rows.par_chunks(BLOCK_ROWS * dimension)).for_each(
        |(out, rows)| {
            let n = rows.len() / dimension;
            let rows = MatRef::from_row_major_slice(rows, n, dimension);
            let out = MatMut::from_row_major_slice_mut(out, n, reduced);
            matmul(out, Accum::Replace, rows, map.transpose(), 1.0, Par::Seq);
        },
    );
    out
}

/// Maps rows back: [n, D] = rows [n, d] · map, for `map` of shape [d, D], row-major.
pub fn map_back(rows: &[f32], map: &[f32], dimension: usize) -> Vec<f32> {
    let reduced = map.len() / dimension;
    let n = rows.len() / reduced;
    let mut out = vec![0.0; n * dimension];
    matmul(
        MatMut::from_row_major_slice_mut(&mut out, n, dimension),
        Accum::Replace,
        MatRef::from_row_major_slice(rows, n, reduced),
        MatRef::from_row_major_slice(map, reduced, dimension),
        1.0,
        Par::Seq,
    );
    out
}

/// The columns of a matrix as rows of a map, row-major, in single precision.
pub fn columns_as_map(columns: &Matrix) -> Vec<f32> {
    columns.col_iter().flat_map(|column| column.iter().map(|&value| value as f32)).collect()
}
