//! The exact scan: every live row is scored, on all cores, once for all queries of a field.

use std::ops::Range;

use rayon::prelude::*;

use super::Deadline;
use super::request::{Hit, Query, QueryRequest, QueryResponse};
use super::scorer::Scorer;
use super::top_k::TopK;
use crate::error::{Error, Result};
use crate::kernels;
use crate::model::{
    CollectionConfig, ElementsRef, InvalidInput, PointId, Problem, check_range, limits,
};
use crate::segment::{Location, Snapshot, View};

/// Bytes of vectors one task scores: large enough to amortise a task, small enough to share a
/// scan evenly between cores and to notice a deadline.
const TASK_BYTES: u64 = 512 << 10;

/// A validated query.
struct Plan<'r> {
    request: &'r QueryRequest,
    field: usize,
    scorer: Scorer,
    /// The point that is the query, if one is.
    exclude: Option<Location>,
}

impl Plan<'_> {
    /// Candidates needed so that enough are left after offset and exclusion.
    fn candidates(&self) -> usize {
        self.request.offset + self.request.limit + usize::from(self.exclude.is_some())
    }
}

/// A range of rows of one view.
struct Task<'s> {
    index: u32,
    view: &'s View,
    rows: Range<u32>,
}

/// Answers queries from a snapshot, in their order, on the rayon pool this runs in.
///
/// # Errors
/// [`Error::Invalid`] or [`Error::PointNotFound`] for the first refused query, as `queries[i]` if
/// there are several; [`Error::DeadlineExceeded`].
pub(crate) fn execute(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    requests: &[QueryRequest],
    deadline: Deadline,
) -> Result<Vec<QueryResponse>> {
    check_range("queries", 1, limits::MAX_BATCH_QUERIES, requests.len())?;
    let plans = requests
        .iter()
        .enumerate()
        .map(|(index, request)| {
            plan(snapshot, config, request).map_err(|error| match error {
                Error::Invalid(error) if requests.len() > 1 => {
                    Error::Invalid(error.within(format!("queries[{index}]")))
                }
                other => other,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let mut responses: Vec<Option<QueryResponse>> = requests.iter().map(|_| None).collect();
    for field in 0..config.fields.len() {
        let members: Vec<usize> =
            (0..plans.len()).filter(|&index| plans[index].field == field).collect();
        let group: Vec<&Plan<'_>> = members.iter().map(|&index| &plans[index]).collect();
        if group.is_empty() {
            continue;
        }
        let found = scan(snapshot, field, &group, deadline)?;
        for ((index, plan), top) in members.into_iter().zip(group).zip(found) {
            responses[index] = Some(respond(snapshot, config, plan, top)?);
        }
    }
    Ok(responses.into_iter().flatten().collect())
}

fn plan<'r>(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    request: &'r QueryRequest,
) -> Result<Plan<'r>> {
    check_range("limit", 1, limits::MAX_QUERY_LIMIT, request.limit)?;
    let most = limits::MAX_QUERY_LIMIT - request.limit;
    check_range("offset", 0, most, request.offset)?;
    let (field, settings) = config.field(&request.field)?;
    match &request.query {
        Query::Vector(vector) => {
            let scorer = Scorer::new(settings, vector.as_ref())?;
            Ok(Plan { request, field, scorer, exclude: None })
        }
        Query::Point(id) => {
            let location =
                snapshot.find(id)?.ok_or_else(|| Error::PointNotFound { id: id.clone() })?;
            let vector = snapshot.reader(location).vector(field, location.row);
            let vector = vector.ok_or_else(|| without_vector(id, &request.field))?;
            let scorer = Scorer::new(settings, vector.as_ref())?;
            Ok(Plan { request, field, scorer, exclude: Some(location) })
        }
    }
}

fn without_vector(id: &PointId, field: &str) -> Error {
    let expected = "a point that has a vector in the queried field";
    let got = format!("point {id} without a vector in {field:?}");
    InvalidInput::new("point", Problem::Mismatch { expected, got }).into()
}

fn scan<'s>(
    snapshot: &'s Snapshot,
    field: usize,
    plans: &[&Plan<'_>],
    deadline: Deadline,
) -> Result<Vec<TopK<'s>>> {
    let start = || -> Vec<TopK<'s>> {
        plans.iter().map(|plan| TopK::new(plan.candidates(), snapshot)).collect()
    };
    let merge = |left: Vec<TopK<'s>>, right: Vec<TopK<'s>>| {
        left.into_iter().zip(right).map(|(left, right)| left.merge(right)).collect()
    };
    tasks(snapshot, field)
        .into_par_iter()
        .try_fold(start, |mut tops, task| {
            if deadline.passed() {
                return Err(Error::DeadlineExceeded);
            }
            score_rows(&task, field, plans, &mut tops);
            Ok(tops)
        })
        .try_reduce(start, |left, right| Ok(merge(left, right)))
}

fn tasks(snapshot: &Snapshot, field: usize) -> Vec<Task<'_>> {
    let mut tasks = Vec::new();
    for (index, view) in (0..).zip(&snapshot.views) {
        let rows = view.reader.rows();
        let row_bytes = (view.reader.vector_bytes(field) / u64::from(rows.max(1))).max(1);
        let step = (TASK_BYTES / row_bytes).clamp(1, u64::from(u32::MAX)) as u32;
        for first in (0..rows).step_by(step as usize) {
            let rows = first..rows.min(first.saturating_add(step));
            tasks.push(Task { index, view, rows });
        }
    }
    tasks
}

fn score_rows(task: &Task<'_>, field: usize, plans: &[&Plan<'_>], tops: &mut [TopK<'_>]) {
    let mut deleted = task.view.deleted.range(task.rows.clone()).peekable();
    let mut widened = Vec::new();
    task.view.reader.visit_vectors(field, task.rows.clone(), &mut |first, vectors, range| {
        for local in range {
            let row = first + local as u32;
            if deleted.next_if_eq(&row).is_some()
                || (!vectors.absent.is_empty() && vectors.absent.contains(local as u32))
            {
                continue;
            }
            let elements = match vectors.row(local) {
                ElementsRef::F32(elements) => elements,
                ElementsRef::F16(elements) => {
                    kernels::widen(elements, &mut widened);
                    &widened
                }
            };
            let location = Location { view: task.index, row };
            for (plan, top) in plans.iter().zip(tops.iter_mut()) {
                top.offer(plan.scorer.score(elements), location);
            }
        }
    });
}

fn respond(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    plan: &Plan<'_>,
    top: TopK<'_>,
) -> Result<QueryResponse> {
    let hits = top
        .into_sorted()
        .into_iter()
        .filter(|candidate| Some(candidate.location) != plan.exclude)
        .skip(plan.request.offset)
        .take(plan.request.limit)
        .map(|candidate| {
            let fields = config.fields.keys();
            let point = snapshot.point(candidate.location, fields, plan.request.include)?;
            Ok(Hit { score: candidate.score.0, point })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(QueryResponse { hits, sequence: snapshot.sequence })
}
