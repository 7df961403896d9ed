//! What is right: exact scores in double precision, straight from the definitions and from the
//! vectors as they were written.
//!
//! A hit counts if its exact score is at least that of the exact k-th best, less what f32 rounds
//! away: an engine that scores in f32 cannot tell rows apart whose scores differ by less. A sum of
//! d products in at least eight lanes has an error of at most (d/8 + 8) · 2⁻²⁴ · Σ|terms| (Higham,
//! Accuracy and Stability of Numerical Algorithms, section 4.2); vectors that are scaled to length 1
//! before they are stored, and scores that are divided by norms, add some roundings to that.

use std::collections::BTreeMap;

use lanner::Metric;
use rayon::prelude::*;

use super::data::{Data, Questions};

/// Most hits that a cell asks for.
pub const MOST: usize = 100;

/// Queries are alike whose distance is less than this share of that of the nearest row, or of their length.
const ALIKE: f64 = 0.02;

/// An exact score, and the sum of the absolute values of its terms.
#[derive(Clone, Copy)]
pub struct Exact {
    score: f64,
    magnitude: f64,
}

/// The sum of the terms of two vectors, and of their absolute values. Four lanes each, since a sum of
/// its own is a chain of additions that wait for each other.
fn sums(query: &[f32], row: &[f32], term: impl Fn(f64, f64) -> f64) -> [f64; 2] {
    let (mut lanes, mut sizes) = ([0.0; 4], [0.0; 4]);
    let ((queries, query_rest), (rows, row_rest)) = (query.as_chunks::<4>(), row.as_chunks::<4>());
    let mut add = |lane: usize, q: f32, x: f32| {
        let term = term(f64::from(q), f64::from(x));
        lanes[lane] += term;
        sizes[lane] += term.abs();
    };
    for (query, row) in queries.iter().zip(rows) {
        (0..4).for_each(|lane| add(lane, query[lane], row[lane]));
    }
    for (&q, &x) in query_rest.iter().zip(row_rest) {
        add(0, q, x);
    }
    [lanes.iter().sum(), sizes.iter().sum()]
}

fn pair(metric: Metric, query: &[f32], row: &[f32]) -> Exact {
    let [score, magnitude] = match metric {
        Metric::L2 => sums(query, row, |q, x| -(q - x).powi(2)),
        Metric::Dot => sums(query, row, |q, x| q * x),
        Metric::Cosine => {
            let [square, _] = sums(query, query, |q, _| q * q);
            let [row_square, _] = sums(row, row, |x, _| x * x);
            let norms = (square * row_square).sqrt();
            sums(query, row, |q, x| q * x).map(|sum| sum / norms)
        }
    };
    Exact { score, magnitude }
}

/// The similarity of one vector with another, or MaxSim of several with several.
fn exact(metric: Metric, dimension: usize, query: &[f32], row: &[f32]) -> Exact {
    let best = |query: &[f32]| {
        let pairs = row.chunks_exact(dimension).map(|token| pair(metric, query, token));
        pairs.max_by(|a, b| a.score.total_cmp(&b.score)).unwrap()
    };
    let add = |a: Exact, b: Exact| Exact {
        score: a.score + b.score,
        magnitude: a.magnitude + b.magnitude,
    };
    query.chunks_exact(dimension).map(best).reduce(add).unwrap()
}

/// The exact answers to the questions of one kind under one metric.
pub struct Truth {
    metric: Metric,
    /// For each query, the rows of the best points, best first: at most [`MOST`].
    best: Vec<Vec<u32>>,
    /// How many of the queries are different: some are copies of others, or all so near to one place, beside
    /// what they find, that they ask the same. What these find is one observation.
    pub distinct: usize,
}

impl Truth {
    /// Compares every query with every live point that it may find.
    pub fn new(
        data: &Data,
        live: &BTreeMap<u32, u32>,
        questions: &Questions,
        metric: Metric,
    ) -> Self {
        let answer = |query: usize| {
            let keep = questions.keep[query];
            let kept = live.values().filter(|&&row| keep.keeps(data.facts[row as usize]));
            let mut scored: Vec<(f64, u32)> = kept
                .map(|&row| {
                    let (query, tokens) = (questions.rows.get(query), data.rows.get(row as usize));
                    (exact(metric, data.dimension(), query, tokens).score, row)
                })
                .collect();
            scored.sort_by(|a, b| b.0.total_cmp(&a.0));
            scored.truncate(MOST);
            scored.into_iter().map(|(_, row)| row).collect()
        };
        let queries = 0..questions.rows.len();
        let best = queries.into_par_iter().map(answer).collect();
        Self::from_rows((data, questions), metric, best)
    }

    /// From the rows of the best points of each query, as data sets bring them.
    pub fn from_rows(
        (data, questions): (&Data, &Questions),
        metric: Metric,
        best: Vec<Vec<u32>>,
    ) -> Self {
        let mut truth = Self { metric, best, distinct: 0 };
        truth.distinct = truth.count_distinct(data, questions);
        truth
    }

    fn count_distinct(&self, data: &Data, questions: &Questions) -> usize {
        let mut different: Vec<usize> = Vec::new();
        for query in 0..questions.rows.len() {
            let values = questions.rows.get(query);
            let is_like = |&other: &usize| {
                let other = questions.rows.get(other);
                if other.len() != values.len() {
                    return false;
                }
                let apart = match self.metric {
                    // Between unit vectors, 2 − 2 cos.
                    Metric::Dot | Metric::Cosine => {
                        2.0 + 2.0 * -pair(Metric::Cosine, values, other).score
                    }
                    Metric::L2 => {
                        let nearest = self.best[query].first().map_or(f64::INFINITY, |&row| {
                            -exact(
                                self.metric,
                                data.dimension(),
                                values,
                                data.rows.get(row as usize),
                            )
                            .score
                        });
                        -pair(Metric::L2, values, other).score / nearest.max(f64::MIN_POSITIVE)
                    }
                };
                apart < ALIKE * ALIKE
            };
            if !different.iter().any(is_like) {
                different.push(query);
            }
        }
        different.len()
    }

    /// The share of the k best of a query that these rows hold.
    ///
    /// # Errors
    /// If a hit comes twice.
    pub fn recall(
        &self,
        data: &Data,
        questions: &Questions,
        query: usize,
        k: usize,
        hits: &[u32],
    ) -> Result<f64, String> {
        let mut distinct = hits.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() < hits.len() {
            return Err(format!("query {query}: a hit comes twice"));
        }
        let k = k.min(self.best[query].len());
        if k == 0 {
            return Ok(1.0);
        }
        let exact = |row: u32| {
            let row = data.rows.get(row as usize);
            exact(self.metric, data.dimension(), questions.rows.get(query), row)
        };
        let last = exact(self.best[query][k - 1]);
        let is_good = |&&row: &&u32| {
            let hit = exact(row);
            hit.score >= last.score - rounding(data.dimension()) * (hit.magnitude + last.magnitude)
        };
        Ok(hits.iter().take(k).filter(is_good).count() as f64 / k as f64)
    }
}

/// The relative error of an f32 score of vectors of this dimension.
fn rounding(dimension: usize) -> f64 {
    (dimension as f64 / 8.0 + 16.0) * 2_f64.powi(-24)
}
