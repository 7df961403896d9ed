//! Sparse vectors: pairs of arrays of numpy.

use lanner::{Entry, InvalidInput, Query, SparseVector};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::errors::{invalid, mismatch};

static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Indices and values of a vector: arrays of uint32 and float32.
pub type EntryArrays<'py> = (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<f32>>);

/// `lanner.SparseVector`.
fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let import = || Ok::<_, PyErr>(py.import("lanner._sparse")?.getattr("SparseVector")?.unbind());
    Ok(CLASS.get_or_try_init(py, import)?.bind(py))
}

fn to_arrays<'py>(py: Python<'py>, vector: &SparseVector) -> EntryArrays<'py> {
    (PyArray1::from_iter(py, vector.indices()), PyArray1::from_iter(py, vector.values()))
}

/// A vector as a `lanner.SparseVector`.
pub fn to_python<'py>(py: Python<'py>, vector: &SparseVector) -> PyResult<Bound<'py, PyAny>> {
    class(py)?.call_method1("_stored", to_arrays(py, vector))
}

/// Checks the entries of a vector at the argument `name`, which may be empty: what
/// `lanner.SparseVector` keeps of them is in the order of the indices, without zeros.
#[pyfunction]
pub fn sparse_entries<'py>(
    indices: &Bound<'py, PyAny>,
    values: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<EntryArrays<'py>> {
    let vector = vector(entries(indices, values, name)?, name);
    let py = indices.py();
    Ok(to_arrays(py, &vector.map_err(|error| invalid(py, error))?))
}

/// The query that a `lanner.SparseVector` stands for; `None` for anything else.
pub fn query(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Query>> {
    let py = value.py();
    if !value.is_instance(class(py)?)? {
        return Ok(None);
    }
    let entries = entries(&value.getattr("indices")?, &value.getattr("values")?, name)?;
    let vector = vector(entries, name).map_err(|error| invalid(py, error))?;
    Ok(Some(lanner::Vector::from(vector).into()))
}

/// The vector of these entries, which are at `name`.
pub fn vector(entries: Vec<Entry>, name: &str) -> Result<SparseVector, InvalidInput> {
    SparseVector::from_entries(entries).map_err(|error| match name {
        "" => error,
        name => error.within(name),
    })
}

/// The vectors of a column: vector i has the entries `offsets[i]..offsets[i + 1]`.
pub fn vectors(
    entries: &[Entry],
    offsets: &[usize],
    name: &str,
) -> Result<Vec<SparseVector>, InvalidInput> {
    let one = |(at, pair): (usize, &[usize])| {
        let found = entries.get(pair[0]..pair[1]).unwrap_or_default();
        vector(found.to_vec(), &format!("{name}[{at}]"))
    };
    offsets.windows(2).enumerate().map(one).collect()
}

/// The entries of one or more vectors: arrays of uint32 and float32 of the same length.
pub fn entries(
    indices: &Bound<'_, PyAny>,
    values: &Bound<'_, PyAny>,
    name: &str,
) -> PyResult<Vec<Entry>> {
    let path = |part: &str| match name {
        "" => part.to_owned(),
        name => format!("{name}.{part}"),
    };
    let refused = |part: &str, expected: &'static str, array: &Bound<'_, PyAny>| {
        mismatch(array.py(), &path(part), expected, array.get_type())
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
        return Err(mismatch(indices.py(), &path("values"), "as many values as indices", got));
    }
    let entry = |(&index, &value): (&u32, &f32)| Entry { index, value };
    Ok(found.iter().zip(weights).map(entry).collect())
}
