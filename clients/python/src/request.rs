//! A query as a value.

use lanner::{Filter, Highlight, Query, QueryParams, QueryRequest, Rescore};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::arrays;
use crate::errors::{invalid, mismatch};
use crate::points::{id, include};

/// A query. `lanner.Search` is its subclass with documentation.
#[pyclass(frozen, subclass, module = "lanner._native")]
pub struct Request(pub QueryRequest);

#[pymethods]
impl Request {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "the options of a query in Python")]
    #[pyo3(signature = (field, query, limit, offset, filter, with_payload, with_vectors, id, positive,
        negative, score_threshold, exact, rerank, search_window, target_recall, rescore, highlight, explain))]
    fn new(
        field: String,
        query: Option<&Bound<'_, PyAny>>,
        limit: &Bound<'_, PyAny>,
        offset: &Bound<'_, PyAny>,
        filter: Option<&Bound<'_, PyAny>>,
        with_payload: bool,
        with_vectors: bool,
        id: Option<&Bound<'_, PyAny>>,
        positive: Option<&Bound<'_, PyAny>>,
        negative: Option<&Bound<'_, PyAny>>,
        score_threshold: Option<f32>,
        exact: bool,
        rerank: Option<&Bound<'_, PyAny>>,
        search_window: Option<&Bound<'_, PyAny>>,
        target_recall: Option<f32>,
        rescore: Option<&Bound<'_, PyAny>>,
        highlight: Option<&Bound<'_, PyAny>>,
        explain: bool,
    ) -> PyResult<Self> {
        let py = limit.py();
        let filter = filter.map(|filter| to_filter(py, filter)).transpose()?;
        let params = QueryParams {
            exact,
            rerank: rerank.map(|value| count(value, "rerank")).transpose()?,
            search_window: search_window.map(|value| count(value, "search_window")).transpose()?,
            target_recall,
        };
        Ok(Self(QueryRequest {
            field,
            query: to_query(py, query, id, positive, negative)?,
            filter,
            limit: count(limit, "limit")?,
            offset: count(offset, "offset")?,
            score_threshold,
            include: include(with_payload, with_vectors),
            params,
            rescore: rescore.map(to_rescore).transpose()?,
            highlight: highlight.map(to_highlight).transpose()?.flatten(),
            explain,
        }))
    }
}

/// A number of things.
fn count(value: &Bound<'_, PyAny>, name: &str) -> PyResult<usize> {
    let refused = |_| mismatch(value.py(), name, "an integer from 0", value);
    value.extract::<usize>().map_err(refused)
}

/// What is searched for. A batch gives none here: its queries come beside it.
fn to_query(
    py: Python<'_>,
    query: Option<&Bound<'_, PyAny>>,
    point: Option<&Bound<'_, PyAny>>,
    positive: Option<&Bound<'_, PyAny>>,
    negative: Option<&Bound<'_, PyAny>>,
) -> PyResult<Query> {
    match (query, point, positive) {
        (Some(query), None, None) => arrays::query(query, "query"),
        (None, Some(point), None) => Ok(Query::Point(id(point, "id")?)),
        (None, None, Some(positive)) => {
            let negative = negative.map(|ids| examples(ids, "negative")).transpose()?;
            let positive = examples(positive, "positive")?;
            Ok(Query::Recommend { positive, negative: negative.unwrap_or_default() })
        }
        (None, None, None) => Ok(Query::Vector(Vec::new().into())),
        _ => Err(mismatch(py, "query", "one of a vector, `id` and `positive`", "several")),
    }
}

fn examples(ids: &Bound<'_, PyAny>, name: &str) -> PyResult<Vec<lanner::PointId>> {
    let list = PyList::empty(ids.py());
    for value in ids.try_iter()? {
        list.append(value?)?;
    }
    list.iter().enumerate().map(|(at, value)| id(&value, &format!("{name}[{at}]"))).collect()
}

/// A condition, or a dict, by its JSON text.
fn to_filter(py: Python<'_>, filter: &Bound<'_, PyAny>) -> PyResult<Filter> {
    let text = py.import("lanner._filters")?.call_method1("to_json", (filter,))?;
    Filter::parse(text.extract()?).map_err(|error| invalid(py, error))
}

/// `lanner.Highlight(fragments, length)`, or whether there is one as by default.
fn to_highlight(value: &Bound<'_, PyAny>) -> PyResult<Option<Highlight>> {
    if let Ok(wanted) = value.extract::<bool>() {
        return Ok(wanted.then(Highlight::default));
    }
    let parts: PyResult<(Bound<'_, PyAny>, Bound<'_, PyAny>)> = value.extract();
    let (fragments, length) = parts.map_err(|_| {
        mismatch(value.py(), "highlight", "lanner.Highlight(fragments, length) or a bool", value)
    })?;
    let fragments = count(&fragments, "highlight.fragments")?;
    Ok(Some(Highlight { fragments, length: count(&length, "highlight.length")? }))
}

fn to_rescore(value: &Bound<'_, PyAny>) -> PyResult<Rescore> {
    let parts: PyResult<(String, Bound<'_, PyAny>, Bound<'_, PyAny>)> = value.extract();
    let (field, query, candidates) = parts.map_err(|_| {
        mismatch(value.py(), "rescore", "lanner.Rescore(field, query, candidates)", value)
    })?;
    let query = arrays::query(&query, "rescore.query")?;
    Ok(Rescore { field, query, candidates: count(&candidates, "rescore.candidates")? })
}
