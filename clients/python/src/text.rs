//! Queries on text fields.

use lanner::{Query, TextQuery};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::{invalid, mismatch};

/// A query in the syntax of text fields. `lanner.TextQuery` is its subclass with documentation.
#[pyclass(frozen, subclass, name = "TextQuery", module = "lanner._native")]
pub struct PyTextQuery {
    query: TextQuery,
    #[pyo3(get)]
    text: String,
}

#[pymethods]
impl PyTextQuery {
    #[new]
    fn new(py: Python<'_>, text: &Bound<'_, PyAny>) -> PyResult<Self> {
        let Ok(found) = text.cast::<PyString>() else {
            return Err(mismatch(py, "text", "a text", text.get_type()));
        };
        let text = unicode(found, "text")?.to_owned();
        let query = TextQuery::parse(&text).map_err(|error| invalid(py, error))?;
        Ok(Self { query, text })
    }
}

/// The text of a string, which may hold lone surrogates in Python.
fn unicode<'t>(text: &'t Bound<'_, PyString>, name: &str) -> PyResult<&'t str> {
    text.to_str().map_err(|_| mismatch(text.py(), name, "Unicode text", "a lone surrogate"))
}

/// The query that a text stands for, which is words, or a [`PyTextQuery`]; `None` for anything else.
pub fn query(value: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Query>> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Some(TextQuery::words(unicode(text, name)?).into()));
    }
    let parsed = value.cast::<PyTextQuery>().ok();
    Ok(parsed.map(|parsed| parsed.get().query.clone().into()))
}

/// The queries of a list, each as of [`query`].
pub fn queries(values: &[Bound<'_, PyAny>]) -> PyResult<Vec<Query>> {
    let one = |(at, value): (usize, &Bound<'_, PyAny>)| {
        let (name, expected) = (format!("queries[{at}]"), "a text or a lanner.TextQuery");
        let refused = || mismatch(value.py(), &name, expected, value.get_type());
        query(value, &name)?.ok_or_else(refused)
    };
    values.iter().enumerate().map(one).collect()
}
