//! Ids, payloads and points to Python and back.

use lanner::{Filter, FilterValue, Include, Payload, Point, PointId};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyList, PyString};

use crate::arrays::to_array;
use crate::errors::{Result, invalid, mismatch};

/// Id, payload as JSON, vectors, and the fields whose vectors are reconstructed.
pub type PointParts<'py> =
    (Bound<'py, PyAny>, Option<String>, Option<Bound<'py, PyDict>>, Vec<String>);

/// An id.
pub fn id(value: &Bound<'_, PyAny>, name: &str) -> PyResult<PointId> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_str()?.into());
    }
    let number: PyResult<u64> = value.extract();
    number.map(PointId::from).map_err(|_| {
        let got = value.repr().map_or_else(|_| "another value".into(), |text| text.to_string());
        mismatch(value.py(), name, "a text or an integer from 0 to 2**64 - 1", got)
    })
}

/// Ids: an array of u64, or a list.
pub fn ids(value: &Bound<'_, PyAny>) -> PyResult<Vec<PointId>> {
    if let Ok(array) = value.cast::<PyArray1<u64>>() {
        let refused = |got: &str| mismatch(value.py(), "ids", "a contiguous array of uint64", got);
        let array = array.try_readonly().map_err(|_| refused("one that is written to"))?;
        let numbers = array.as_slice().map_err(|_| refused("another layout"))?;
        return Ok(numbers.iter().map(|&number| number.into()).collect());
    }
    let list = value.cast::<PyList>()?;
    list.iter().enumerate().map(|(at, value)| id(&value, &format!("ids[{at}]"))).collect()
}

/// An id as Python has it.
pub fn to_id<'py>(py: Python<'py>, id: &PointId) -> PyResult<Bound<'py, PyAny>> {
    match id {
        PointId::Number(number) => Ok(number.into_pyobject(py)?.into_any()),
        PointId::Text(text) => Ok(PyString::new(py, text).into_any()),
    }
}

/// Ids as Python has them.
pub fn to_ids<'py>(py: Python<'py>, ids: &[PointId]) -> PyResult<Vec<Bound<'py, PyAny>>> {
    ids.iter().map(|id| to_id(py, id)).collect()
}

/// Payloads, from their texts; `first` is the place of the first in the call.
pub fn payloads(texts: Vec<Option<PyBackedStr>>, first: usize) -> Result<Vec<Option<Payload>>> {
    let parse = |(at, text): (usize, Option<PyBackedStr>)| {
        let payload = text.map(|text| Payload::parse(&text)).transpose();
        payload.map_err(|error| error.within(format!("points[{}]", first + at)).into())
    };
    texts.into_iter().enumerate().map(parse).collect()
}

/// A filter, from its text.
pub fn filter(py: Python<'_>, text: Option<&str>) -> PyResult<Option<Filter>> {
    text.map(Filter::parse).transpose().map_err(|error| invalid(py, error))
}

/// Which parts of points to return.
pub fn include(payload: bool, vectors: bool) -> Include {
    Include { payload, vectors }
}

/// The parts of a point.
pub fn to_parts<'py>(py: Python<'py>, point: &Point) -> PyResult<PointParts<'py>> {
    let payload = point.payload.as_ref().map(|payload| payload.as_str().to_owned());
    let vectors = match point.vectors.is_empty() {
        true => None,
        false => {
            let vectors = PyDict::new(py);
            for (name, vector) in &point.vectors {
                vectors.set_item(name, to_array(py, vector)?)?;
            }
            Some(vectors)
        }
    };
    Ok((to_id(py, &point.id)?, payload, vectors, point.reconstructed.iter().cloned().collect()))
}

/// The parts of points.
pub fn to_all_parts<'py>(py: Python<'py>, points: &[Point]) -> PyResult<Vec<PointParts<'py>>> {
    points.iter().map(|point| to_parts(py, point)).collect()
}

/// A value of a payload path as JSON.
pub fn value_json(value: &FilterValue) -> String {
    match value {
        FilterValue::Text(text) => serde_json::json!(text),
        FilterValue::Integer(number) => serde_json::json!(number),
        FilterValue::Float(number) => serde_json::json!(number),
        FilterValue::Boolean(value) => serde_json::json!(value),
    }
    .to_string()
}
