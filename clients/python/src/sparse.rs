//! Sparse vectors: pairs of arrays of numpy.

use lanner::{Entry, InvalidInput, Query, SparseVector};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;

use crate::errors::{invalid, mismatch};

/// `lanner.SparseVector`.
fn class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("lanner._sparse")?.getattr("SparseVector")
}

/// A vector as a `lanner.SparseVector`.
pub fn to_python<'py>(py: Python<'py>, vector: &SparseVector) -> PyResult<Bound<'py, PyAny>> {
    let indices = PyArray1::from_iter(py, vector.indices());
    let values = PyArray1::from_iter(py, vector.values());
    class(py)?.call_method1("_stored", (indices, values))
}

/// The query that a `lanner.SparseVector` stands for; `None` for anything else.
pub fn query(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Query>> {
    let py = value.py();
    if !value.is_instance(&class(py)?)? {
        return Ok(None);
    }
    let (indices, values) = (value.getattr("indices")?, value.getattr("values")?);
    let vector = SparseVector::from_entries(entries(&indices, &values, name)?);
    let vector = vector.map_err(|error| invalid(py, InvalidInput::within(error, name)))?;
    Ok(Some(lanner::Vector::from(vector).into()))
}

/// The entries of one or more vectors: arrays of uint32 and float32 of the same length.
pub fn entries(
    indices: &Bound<'_, PyAny>,
    values: &Bound<'_, PyAny>,
    name: &str,
) -> PyResult<Vec<Entry>> {
    let refused = |part: &str, expected: &'static str, array: &Bound<'_, PyAny>| {
        mismatch(array.py(), &format!("{name}.{part}"), expected, array.get_type())
    };
    let of_indices: PyReadonlyArray1<'_, u32> = indices
        .extract()
        .map_err(|_| refused("indices", "a contiguous array of uint32", indices))?;
    let of_values: PyReadonlyArray1<'_, f32> =
        values.extract().map_err(|_| refused("values", "a contiguous array of float32", values))?;
    let (Ok(found), Ok(weights)) = (of_indices.as_slice(), of_values.as_slice()) else {
        return Err(refused("indices", "contiguous arrays", indices));
    };
    if found.len() != weights.len() {
        let got = format!("{} values for {} indices", weights.len(), found.len());
        let path = format!("{name}.values");
        return Err(mismatch(indices.py(), &path, "as many values as indices", got));
    }
    let entry = |(&index, &value): (&u32, &f32)| Entry { index, value };
    Ok(found.iter().zip(weights).map(entry).collect())
}
