//! Answers, which make what is looked at of them.

use std::sync::Arc;

use lanner::{Explanation, Fragment, Hit, PointId, QueryResponse};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

use crate::points::{PointParts, to_id, to_parts};

/// Name, source, rows, bytes and microseconds of a stage.
pub type StageParts = (String, String, u64, u64, u64);

/// Path and text of a fragment, and what matched in it, as characters from and to.
pub type FragmentParts = (String, String, Vec<(usize, usize)>);

fn fragment(fragment: &Fragment) -> FragmentParts {
    let Fragment { path, text, matches } = fragment;
    let place = |at: usize| text.get(..at).map_or(0, |before| before.chars().count());
    let matches = matches.iter().map(|range| (place(range.start), place(range.end)));
    (path.clone(), text.clone(), matches.collect())
}

/// Score, point and fragments of a hit.
type HitParts<'py> = (f32, PointParts<'py>, Vec<FragmentParts>);

/// The answer to one query.
#[pyclass(frozen, module = "lanner._native")]
pub struct Answer {
    answers: Arc<[QueryResponse]>,
    at: usize,
    /// Of the queries of a fusion.
    explanations: Vec<Explanation>,
}

impl Answer {
    pub fn new(answer: QueryResponse) -> Self {
        Self { answers: [answer].into(), at: 0, explanations: Vec::new() }
    }

    /// Hits without an estimate.
    pub fn of_hits(hits: Vec<Hit>, sequence: u64, explanations: Vec<Explanation>) -> Self {
        let answer = QueryResponse { hits, sequence, estimated_recall: None, explanation: None };
        Self { explanations, ..Self::new(answer) }
    }

    fn answer(&self) -> &QueryResponse {
        &self.answers[self.at]
    }
}

#[pymethods]
impl Answer {
    fn __len__(&self) -> usize {
        self.answer().hits.len()
    }

    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        self.answer().hits.iter().map(|hit| to_id(py, &hit.point.id)).collect()
    }

    fn scores<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        PyArray1::from_vec(py, self.answer().hits.iter().map(|hit| hit.score).collect())
    }

    fn hit<'py>(&self, py: Python<'py>, at: usize) -> PyResult<HitParts<'py>> {
        let missing = || pyo3::exceptions::PyIndexError::new_err(at);
        let hit = self.answer().hits.get(at).ok_or_else(missing)?;
        let fragments = hit.fragments.iter().map(fragment).collect();
        Ok((hit.score, to_parts(py, &hit.point)?, fragments))
    }

    #[getter]
    fn estimated_recall(&self) -> Option<f32> {
        self.answer().estimated_recall
    }

    #[getter]
    fn sequence(&self) -> u64 {
        self.answer().sequence
    }

    fn explanations(&self) -> Vec<Vec<StageParts>> {
        self.answer().explanation.iter().chain(&self.explanations).map(stages).collect()
    }
}

/// The stages of an explanation.
pub fn stages(explanation: &Explanation) -> Vec<StageParts> {
    let stage = |stage: &lanner::Stage| {
        (stage.name.clone(), stage.source.clone(), stage.rows, stage.bytes, stage.micros)
    };
    explanation.stages.iter().map(stage).collect()
}

/// The answers to a batch of queries.
#[pyclass(frozen, module = "lanner._native")]
pub struct BatchAnswer(Arc<[QueryResponse]>);

impl BatchAnswer {
    pub fn new(answers: Vec<QueryResponse>) -> Self {
        Self(answers.into())
    }
}

/// Ids, unless some are no numbers below 2⁶³, and scores; both [queries, limit].
type Arrays<'py> = (Option<Bound<'py, PyArray2<i64>>>, Bound<'py, PyArray2<f32>>);

#[pymethods]
impl BatchAnswer {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn arrays<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Arrays<'py>> {
        let size = self.0.len() * limit;
        let (mut ids, mut scores) = (vec![-1; size], vec![f32::NEG_INFINITY; size]);
        let mut numbers = true;
        for (at, answer) in self.0.iter().enumerate() {
            for (rank, hit) in answer.hits.iter().take(limit).enumerate() {
                scores[at * limit + rank] = hit.score;
                match hit.point.id {
                    PointId::Number(number) if i64::try_from(number).is_ok() => {
                        ids[at * limit + rank] = number as i64;
                    }
                    _ => numbers = false,
                }
            }
        }
        let shape = [self.0.len(), limit];
        let ids = numbers.then(|| PyArray1::from_vec(py, ids).reshape(shape)).transpose()?;
        Ok((ids, PyArray1::from_vec(py, scores).reshape(shape)?))
    }

    fn id_lists<'py>(
        &self,
        py: Python<'py>,
        limit: usize,
    ) -> PyResult<Vec<Vec<Option<Bound<'py, PyAny>>>>> {
        let row = |answer: &QueryResponse| {
            let ids = (0..limit)
                .map(|rank| answer.hits.get(rank).map(|hit| to_id(py, &hit.point.id)).transpose());
            ids.collect()
        };
        self.0.iter().map(row).collect()
    }

    fn estimated_recalls<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        let recalls = self.0.iter().map(|answer| answer.estimated_recall.unwrap_or(f32::NAN));
        PyArray1::from_vec(py, recalls.collect())
    }

    fn query(&self, at: usize) -> PyResult<Answer> {
        if at >= self.0.len() {
            return Err(pyo3::exceptions::PyIndexError::new_err(at));
        }
        Ok(Answer { answers: self.0.clone(), at, explanations: Vec::new() })
    }
}
