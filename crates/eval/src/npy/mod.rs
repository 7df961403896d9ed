//! NumPy `.npy` arrays: the vectors and offsets that benchmark data sets come in; and SciPy's `.npz` of
//! sparse matrices.
//!
//! Follows NumPy's "NPY format" (versions 1.0 to 3.0). Only what those data sets use is accepted:
//! little-endian numbers in C order. Arrays can exceed memory, so a matrix is read by row ranges,
//! and nothing is allocated from a header before its shape has been checked against the length of
//! the file.

mod error;
#[cfg(test)]
mod fixture;
mod header;
mod integers;
mod matrix;
mod sparse;
mod writer;

pub use error::NpyError;
pub use integers::{Neighbours, read_npy_neighbours, read_offsets};
pub use matrix::{NpyMatrix, NpyType};
pub use sparse::SparseMatrix;
pub use writer::NpyWriter;
