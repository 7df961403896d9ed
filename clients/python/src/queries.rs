//! Queries of all kinds.

use lanner::{
    Direction, FacetRequest, FilterValue, FusionMethod, FusionRequest, GroupRequest, MultiVector,
    Normalization, OrderBy, OrderPlace, OrderedScroll, Query, QueryRequest, Vector,
};
use lanner_client::MatrixValues;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::answers::{Answer, BatchAnswer, StageParts, stages};
use crate::arrays::{Matrix, offsets, to_f32};
use crate::calls::Calls;
use crate::errors::{invalid, mismatch};
use crate::points::{PointParts, filter, id, include, to_all_parts, to_id, value_json};
use crate::request::Request;
use crate::{sparse, text};

/// Groups by value as JSON, their estimate, and how they came about.
pub type GroupParts = (Vec<(String, Answer)>, Option<f32>, Option<Vec<StageParts>>);

/// A page in an order, and the place where the next begins: a value as JSON and an id.
pub type OrderedParts<'py> = (Vec<PointParts<'py>>, Option<(String, Bound<'py, PyAny>)>);

/// The queries of a batch: each text of a list, each row of a matrix, or each point of one with offsets;
/// with `indices`, each sparse vector of a column.
pub fn all(
    py: Python<'_>,
    queries: &Bound<'_, PyAny>,
    starts: Option<&Bound<'_, PyAny>>,
    indices: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Query>> {
    if let Ok(texts) = queries.cast::<PyList>() {
        return text::queries(&texts.iter().collect::<Vec<_>>());
    }
    let starts = starts.map(|starts| offsets(starts, "queries.offsets")).transpose()?;
    if let Some(indices) = indices {
        let entries = sparse::entries(indices, queries, "queries")?;
        let vectors = sparse::vectors(&entries, &starts.unwrap_or_default(), "queries");
        let vectors = vectors.map_err(|error| invalid(py, error))?;
        return Ok(vectors.into_iter().map(|vector| Vector::from(vector).into()).collect());
    }
    let matrix = Matrix::borrow(queries, "queries")?;
    let found = match matrix.values(py, "queries")? {
        MatrixValues::F32(values) => dense(values, matrix.shape(), starts),
        halves @ (MatrixValues::F16(_) | MatrixValues::Entries(_)) => {
            dense(&to_f32(halves), matrix.shape(), starts)
        }
    };
    found.map_err(|error| invalid(py, error))
}

fn dense(
    values: &[f32],
    [rows, dimension]: [usize; 2],
    starts: Option<Vec<usize>>,
) -> std::result::Result<Vec<Query>, lanner::InvalidInput> {
    let Some(starts) = starts else {
        let row = |row: usize| values[row * dimension..(row + 1) * dimension].to_vec();
        return Ok((0..rows).map(|at| row(at).into()).collect());
    };
    let multi = |pair: &[usize]| {
        let range = pair[0] * dimension..pair[1] * dimension;
        let found = values.get(range).unwrap_or_default().to_vec();
        Ok(MultiVector::from_flat(dimension, found)?.into())
    };
    starts.windows(2).map(multi).collect()
}

/// Answers a request for each of several queries.
pub fn batch(
    calls: &Calls,
    py: Python<'_>,
    name: &str,
    request: &QueryRequest,
    queries: Vec<Query>,
) -> PyResult<BatchAnswer> {
    let with = |query: Query| QueryRequest { query, ..request.clone() };
    let requests: Vec<QueryRequest> = queries.into_iter().map(with).collect();
    let queries = requests.len();
    let answers = calls.batch(py, queries, |backend| backend.query_batch(name, &requests))?;
    Ok(BatchAnswer::new(answers))
}

/// Answers several searches and makes one ranking of theirs.
pub fn fuse(
    calls: &Calls,
    py: Python<'_>,
    name: &str,
    request: &FusionRequest,
) -> PyResult<Answer> {
    let answer = calls.long(py, |backend| backend.fuse(name, request))?;
    Ok(Answer::of_hits(answer.hits, answer.sequence, answer.explanations))
}

/// The method of a fusion: by scores if a normalization is given, otherwise by reciprocal ranks.
pub fn fusion_method(
    py: Python<'_>,
    k: Option<f32>,
    scores: Option<&str>,
) -> PyResult<FusionMethod> {
    match (k, scores) {
        (None, None) => Ok(FusionMethod::default()),
        (Some(k), None) => Ok(FusionMethod::Rrf { k }),
        (None, Some(scores)) => {
            let parsed = scores.parse::<Normalization>();
            let expected = "min-max, z-score or theoretical-min-max";
            let normalization = parsed.map_err(|_| mismatch(py, "scores", expected, scores))?;
            Ok(FusionMethod::Scores { normalization })
        }
        (Some(k), Some(_)) => Err(mismatch(py, "k", "either `k` or `scores`", k)),
    }
}

/// The requests of a fusion.
pub fn searches(values: &[Bound<'_, PyAny>]) -> PyResult<Vec<QueryRequest>> {
    let request = |(at, value): (usize, &Bound<'_, PyAny>)| {
        let request = value.cast::<Request>().map_err(|_| {
            mismatch(value.py(), &format!("searches[{at}]"), "a lanner.Search", value.get_type())
        })?;
        Ok(request.get().0.clone())
    };
    values.iter().enumerate().map(request).collect()
}

/// Finds groups of points that share a value.
pub fn groups(
    calls: &Calls,
    py: Python<'_>,
    name: &str,
    request: &GroupRequest,
) -> PyResult<GroupParts> {
    let answer = calls.long(py, |backend| backend.query_groups(name, request))?;
    let sequence = answer.sequence;
    let group = |group: lanner::HitGroup| {
        (value_json(&group.value), Answer::of_hits(group.hits, sequence, Vec::new()))
    };
    let groups = answer.groups.into_iter().map(group).collect();
    Ok((groups, answer.estimated_recall, answer.explanation.as_ref().map(stages)))
}

/// How many points have each value of a path, as JSON, and the number of values.
pub fn facet(
    calls: &Calls,
    py: Python<'_>,
    name: &str,
    path: &str,
    condition: Option<&str>,
    limit: usize,
) -> PyResult<(Vec<(String, u64)>, u64)> {
    let request = FacetRequest { path: path.to_owned(), filter: filter(py, condition)?, limit };
    let answer = calls.long(py, |backend| backend.facet(name, &request))?;
    let counts =
        answer.counts.iter().map(|found| (value_json(&found.value), found.count)).collect();
    Ok((counts, answer.values))
}

/// What is scrolled through.
pub struct Page<'a> {
    pub name: &'a str,
    pub condition: Option<&'a str>,
    pub limit: usize,
    pub with_payload: bool,
    pub with_vectors: bool,
}

/// A page in the order of ids, and the id that the next begins after.
pub fn scroll<'py>(
    calls: &Calls,
    py: Python<'py>,
    page: &Page<'_>,
    after: Option<&Bound<'py, PyAny>>,
) -> PyResult<(Vec<PointParts<'py>>, Option<Bound<'py, PyAny>>)> {
    let condition = filter(py, page.condition)?;
    let after = after.map(|after| id(after, "after")).transpose()?;
    let include = include(page.with_payload, page.with_vectors);
    let found = calls.long(py, |backend| {
        backend.scroll(page.name, condition.as_ref(), after.as_ref(), page.limit, include)
    })?;
    let next = found.next.as_ref().map(|next| to_id(py, next)).transpose()?;
    Ok((to_all_parts(py, &found.points)?, next))
}

/// A page in the order of a payload path.
pub fn scroll_ordered<'py>(
    calls: &Calls,
    py: Python<'py>,
    page: &Page<'_>,
    path: &str,
    descending: bool,
    after: Option<(String, Bound<'py, PyAny>)>,
) -> PyResult<OrderedParts<'py>> {
    let direction = if descending { Direction::Descending } else { Direction::Ascending };
    let request = OrderedScroll {
        order_by: OrderBy { path: path.to_owned(), direction },
        filter: filter(py, page.condition)?,
        after: after.map(|(value, after)| place(py, &value, &after)).transpose()?,
        limit: page.limit,
        include: include(page.with_payload, page.with_vectors),
    };
    let found = calls.long(py, |backend| backend.scroll_ordered(page.name, &request))?;
    let next = found.next.as_ref().map(|next| {
        let after = to_id(py, &next.id)?;
        Ok::<_, PyErr>((value_json(&next.value), after))
    });
    Ok((to_all_parts(py, &found.points)?, next.transpose()?))
}

fn place(py: Python<'_>, value: &str, after: &Bound<'_, PyAny>) -> PyResult<OrderPlace> {
    let refused = || mismatch(py, "after", "the place that the page before ended at", value);
    let value = match serde_json::from_str(value).map_err(|_| refused())? {
        serde_json::Value::String(text) => FilterValue::Text(text),
        serde_json::Value::Bool(value) => FilterValue::Boolean(value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => FilterValue::Integer(number),
            (None, Some(number)) => FilterValue::Float(number),
            (None, None) => return Err(refused()),
        },
        _ => return Err(refused()),
    };
    Ok(OrderPlace { value, id: id(after, "after")? })
}
