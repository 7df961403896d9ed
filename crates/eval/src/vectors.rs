//! Files of vectors, whichever format they are of.

use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::{
    Neighbours, NpyError, NpyMatrix, VecsError, VecsMatrix, read_ivecs, read_npy_neighbours,
};

/// A file of vectors was refused or could not be read.
#[derive(Debug, Error)]
pub enum VectorsError {
    /// An `.npy` file.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// An `.fvecs`, `.bvecs` or `.ivecs` file.
    #[error(transparent)]
    Vecs(#[from] VecsError),
    /// A file of integers where vectors are expected.
    #[error(
        "{path}: expected vectors, got .ivecs, which holds row numbers: the neighbours of queries \
         (`lanner bench --ground-truth`)"
    )]
    Integers {
        /// The file.
        path: PathBuf,
    },
}

/// A matrix of vectors, one a row, open for reading by rows: `.npy`, `.fvecs` or `.bvecs`.
#[derive(Debug)]
pub enum VectorFile {
    /// An `.npy` file.
    Npy(NpyMatrix),
    /// An `.fvecs` or `.bvecs` file.
    Vecs(VecsMatrix),
}

impl VectorFile {
    /// Opens the file; what does not end in `.fvecs` or `.bvecs` is `.npy`.
    ///
    /// # Errors
    /// [`VectorsError`] if it is none of these.
    pub fn open(path: &Path) -> Result<Self, VectorsError> {
        match ending(path) {
            Some("fvecs" | "bvecs") => Ok(Self::Vecs(VecsMatrix::open(path)?)),
            Some("ivecs") => Err(VectorsError::Integers { path: path.to_path_buf() }),
            _ => Ok(Self::Npy(NpyMatrix::open(path)?)),
        }
    }

    /// Number of vectors.
    pub fn rows(&self) -> usize {
        match self {
            Self::Npy(matrix) => matrix.rows(),
            Self::Vecs(matrix) => matrix.rows(),
        }
    }

    /// Number of values of each vector.
    pub fn cols(&self) -> usize {
        match self {
            Self::Npy(matrix) => matrix.cols(),
            Self::Vecs(matrix) => matrix.cols(),
        }
    }

    /// Replaces the contents of `out` by the rows of `range`, one after the other, as `f32`.
    ///
    /// # Errors
    /// [`VectorsError`] when the range is not within the file, or reading fails.
    pub fn read_rows(
        &mut self,
        range: Range<usize>,
        out: &mut Vec<f32>,
    ) -> Result<(), VectorsError> {
        match self {
            Self::Npy(matrix) => Ok(matrix.read_rows(range, out)?),
            Self::Vecs(matrix) => Ok(matrix.read_rows(range, out)?),
        }
    }
}

/// Reads the exact neighbours of queries, one row a query, best first: `.ivecs`, or `.npy` of integers.
///
/// # Errors
/// [`VectorsError`] when the file is neither, or a row number is negative.
pub fn read_neighbours(path: &Path) -> Result<Neighbours, VectorsError> {
    match ending(path) {
        Some("ivecs") => Ok(read_ivecs(path)?),
        _ => Ok(read_npy_neighbours(path)?),
    }
}

fn ending(path: &Path) -> Option<&str> {
    path.extension()?.to_str()
}
