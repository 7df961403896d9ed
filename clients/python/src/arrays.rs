//! Arrays of numpy as the engine's vectors, borrowed where they are.

use half::f16;
use half::slice::HalfFloatSliceExt;
use lanner::{InvalidInput, MultiVector, Query, TrainingQueries, Vector};
use lanner_client::MatrixValues;
use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyUntypedArrayMethods,
};
use pyo3::prelude::*;

use crate::errors::{invalid, mismatch};
use crate::{sparse, text};

const CONTIGUOUS: &str = "a contiguous array of float32 or float16";

/// A matrix that is borrowed from Python, row-major.
pub enum Matrix<'py> {
    F32(PyReadonlyArray2<'py, f32>),
    F16(PyReadonlyArray2<'py, f16>),
}

impl<'py> Matrix<'py> {
    /// Borrows an array.
    pub fn borrow(array: &Bound<'py, PyAny>, name: &str) -> PyResult<Self> {
        let in_use = |error: numpy::BorrowError| {
            mismatch(array.py(), name, "an array that nobody writes to", error)
        };
        if let Ok(array) = array.cast::<PyArray2<f32>>() {
            return Ok(Self::F32(array.try_readonly().map_err(in_use)?));
        }
        if let Ok(array) = array.cast::<PyArray2<f16>>() {
            return Ok(Self::F16(array.try_readonly().map_err(in_use)?));
        }
        Err(mismatch(array.py(), name, CONTIGUOUS, array.get_type()))
    }

    /// Its values.
    pub fn values(&self, py: Python<'_>, name: &str) -> PyResult<MatrixValues<'_>> {
        let values = match self {
            Self::F32(array) => array.as_slice().map(MatrixValues::F32),
            Self::F16(array) => array.as_slice().map(MatrixValues::F16),
        };
        values.map_err(|_| mismatch(py, name, CONTIGUOUS, "another layout"))
    }

    /// Number of rows, and their length.
    pub fn shape(&self) -> [usize; 2] {
        let shape = match self {
            Self::F32(array) => array.shape(),
            Self::F16(array) => array.shape(),
        };
        match *shape {
            [rows, columns] => [rows, columns],
            _ => [0, 0],
        }
    }
}

/// Offsets of points in a matrix.
pub fn offsets(array: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<usize>> {
    let refused = |got: String| mismatch(array.py(), name, "ascending int64 offsets from 0", got);
    let array: PyReadonlyArray1<'_, i64> =
        array.extract().map_err(|_| refused(array.get_type().to_string()))?;
    let offset = |&offset: &i64| usize::try_from(offset).map_err(|_| refused(offset.to_string()));
    let values = array.as_slice().map_err(|_| refused("another layout".into()))?;
    values.iter().map(offset).collect()
}

/// Which points have a vector.
pub fn present(array: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<bool>> {
    let refused = || mismatch(array.py(), name, "an array of booleans", array.get_type());
    let array: PyReadonlyArray1<'_, bool> = array.extract().map_err(|_| refused())?;
    Ok(array.as_slice().map_err(|_| refused())?.to_vec())
}

/// What is searched for: a vector, many for a multi field, a sparse one, or words for a text field.
pub fn query(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Query> {
    if let Some(query) = plain_query(value, name)? {
        return Ok(query);
    }
    if let Some(query) = text::query(value, name)? {
        return Ok(query);
    }
    if let Some(query) = sparse::query(value, name)? {
        return Ok(query);
    }
    // Lists, dicts, tensors and other types of numbers are converted in Python, which says what is
    // wrong.
    let helper = value.py().import("lanner._arrays")?;
    let found = helper.call_method1("query", (value, name))?;
    if let Some(query) = sparse::query(&found, name)? {
        return Ok(query);
    }
    plain_query(&found, name)?
        .ok_or_else(|| mismatch(value.py(), name, CONTIGUOUS, found.get_type()))
}

/// The query that an array stands for, if it is one that can be borrowed.
fn plain_query(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Query>> {
    if let Ok(array) = value.cast::<PyArray1<f32>>() {
        let borrowed = array.try_readonly().ok();
        let values = borrowed.as_ref().and_then(|array| array.as_slice().ok());
        return Ok(values.map(|values| values.to_vec().into()));
    }
    if let Ok(array) = value.cast::<PyArray1<f16>>() {
        let borrowed = array.try_readonly().ok();
        let values = borrowed.as_ref().and_then(|array| array.as_slice().ok());
        return Ok(values.map(|values| values.to_f32_vec().into()));
    }
    if value.cast::<PyArray2<f32>>().is_err() && value.cast::<PyArray2<f16>>().is_err() {
        return Ok(None);
    }
    let matrix = Matrix::borrow(value, name)?;
    let Ok(values) = matrix.values(value.py(), name) else { return Ok(None) };
    let multi = multi_vector(values, matrix.shape()[1]);
    Ok(Some(multi.map_err(|error| invalid(value.py(), at(name, error)))?.into()))
}

/// The same problem, with the name of the argument.
fn at(name: &str, error: InvalidInput) -> InvalidInput {
    InvalidInput { path: name.to_owned(), ..error }
}

/// Copies rows into a multi-vector.
pub fn multi_vector(
    values: MatrixValues<'_>,
    dimension: usize,
) -> std::result::Result<MultiVector, InvalidInput> {
    MultiVector::from_flat(dimension, to_f32(values))
}

/// Values in single precision.
pub fn to_f32(values: MatrixValues<'_>) -> Vec<f32> {
    match values {
        MatrixValues::F32(values) => values.to_vec(),
        MatrixValues::F16(values) => values.to_f32_vec(),
        MatrixValues::Entries(_) => Vec::new(),
    }
}

/// Queries to train on: a matrix, and for a multi field offsets.
pub fn training_queries(
    parts: &(Bound<'_, PyAny>, Option<Bound<'_, PyAny>>),
) -> PyResult<TrainingQueries> {
    let (array, starts) = parts;
    let (py, name) = (array.py(), "queries");
    let matrix = Matrix::borrow(array, name)?;
    let vectors = multi_vector(matrix.values(py, name)?, matrix.shape()[1]);
    let vectors = vectors.map_err(|error| invalid(py, at(name, error)))?;
    let Some(starts) = starts else { return Ok(vectors.into()) };
    let starts = offsets(starts, name)?;
    let length = |pair: &[usize]| pair[1].saturating_sub(pair[0]);
    let lengths = starts.windows(2).map(length).collect();
    TrainingQueries::multi(vectors, lengths).map_err(|error| invalid(py, error))
}

/// A vector as an array: [dimension], or [n, dimension].
pub fn to_array<'py>(py: Python<'py>, vector: &Vector) -> PyResult<Bound<'py, PyAny>> {
    match vector {
        Vector::Single(values) => Ok(PyArray1::from_slice(py, values).into_any()),
        Vector::Multi(multi) => {
            let flat = PyArray1::from_slice(py, multi.values());
            Ok(flat.reshape([multi.rows().len(), multi.dimension()])?.into_any())
        }
        Vector::Sparse(vector) => sparse::to_python(py, vector),
    }
}
