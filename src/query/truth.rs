//! Ground truth of calibration: the nearest rows of a query by exact scores.

use std::collections::HashMap;

use rayon::prelude::*;

use super::calibrate::KS;
use super::rescore::{exact_score, widen};
use super::scorer::{Row, Scorer};
use crate::field::{FieldCodes, TokenStore};
use crate::kernels;
use crate::model::{ElementsRef, Metric, Score, Vector};
use crate::multivector::TokenScorer;
use crate::quantization::{centred, products};
use crate::segment::SegmentReader;
use crate::threads::Pace;

/// Number of rows per matrix product with all queries.
const BLOCK_ROWS: usize = 2048;
/// Candidates for exact scoring, as a multiple of the neighbours that count. Candidates are the
/// best by matrix products or codes.
const NEAR: usize = 4;
/// A row is a copy of another if their distance is below this fraction of the distance to the last
/// row that counts.
const COPY: f32 = 1e-3;
/// One in this many rows, the nearest, is excluded around a query to measure what is found beyond.
const CUT_SHARE: usize = 5;

/// The nearest rows of a query.
pub struct Nearest {
    /// Exact scores, best first.
    pub scores: Vec<Score>,
    /// If set, the exact scores of the nearest rows, by row; all other rows are farther.
    pub exact: Option<HashMap<u32, Score>>,
    /// Rows that do not count: the query itself and its copies.
    pub hidden: Vec<u32>,
}

impl Nearest {
    /// The exact score of the k-th neighbour.
    pub fn threshold(&self, k: usize) -> Score {
        let score = self.scores.get(k - 1).or(self.scores.last());
        score.copied().unwrap_or(Score(f32::INFINITY))
    }
}

fn most() -> usize {
    KS[KS.len() - 1]
}

fn best_first(mut scores: Vec<Score>, count: usize) -> Vec<Score> {
    scores.sort_unstable_by(|a, b| b.cmp(a));
    scores.truncate(count);
    scores
}

/// The nearest rows to each query of a single-vector field. Matrix products over blocks of rows
/// find the candidates, which are then scored exactly as in re-ranking. Ends early when cancelled.
pub fn nearest_by_vectors(
    reader: &dyn SegmentReader,
    (field, codes): (usize, &FieldCodes),
    scorers: &[Scorer],
    hidden: Vec<Vec<u32>>,
    pace: &Pace<'_>,
) -> Vec<Nearest> {
    let Some(codec) = codes.codec() else { return Vec::new() };
    let (center, metric) = (codec.center(), codec.settings().metric);
    // Centring the rows shifts all products with a query by the same amount; distances do not
    // change if both sides are centred.
    let queries: Vec<f32> = scorers
        .iter()
        .flat_map(|scorer| match metric {
            Metric::Dot | Metric::Cosine => scorer.query().to_vec(),
            Metric::L2 => centred(scorer.query(), center),
        })
        .collect();
    let near = NEAR * most();
    let mut best: Vec<Best> = hidden.iter().map(|_| Best::new(near)).collect();
    let absent = reader.field(field).absent();
    let (mut rows, mut values) = (Vec::with_capacity(BLOCK_ROWS), Vec::new());
    let mut block = |rows: &mut Vec<u32>, values: &mut Vec<f32>| {
        let found = products(values, &queries, center.len());
        let norms: Vec<f32> = match metric {
            Metric::Dot | Metric::Cosine => vec![0.0; rows.len()],
            Metric::L2 => {
                values.chunks_exact(center.len()).map(|row| kernels::dot(row, row) / 2.0).collect()
            }
        };
        best.par_iter_mut().zip(&hidden).enumerate().for_each(|(query, (best, hidden))| {
            for (at, &row) in rows.iter().enumerate() {
                best.offer(found[at * scorers.len() + query] - norms[at], row, hidden);
            }
        });
        rows.clear();
        values.clear();
    };
    for first in (0..reader.rows()).step_by(BLOCK_ROWS) {
        if !pace.goes_on() {
            break;
        }
        let end = reader.rows().min(first + BLOCK_ROWS as u32);
        reader.field(field).visit(first..end, &mut |first, vectors, range| {
            for local in range {
                let row = first + local as u32;
                if absent.is_some_and(|absent| absent.contains(row)) {
                    continue;
                }
                rows.push(row);
                match vectors.row(local) {
                    ElementsRef::F32(elements) => extend_centred(&mut values, elements, center),
                    elements => extend_centred(&mut values, &elements.to_f32(), center),
                }
            }
        });
        block(&mut rows, &mut values);
    }
    let finish = |((scorer, best), mut hidden): ((&Scorer, Best), Vec<u32>)| {
        let mut rows: Vec<u32> = best.into_rows().collect();
        if let Some(&own) = hidden.first() {
            hidden.extend(near_copies(reader, field, own, &rows));
            rows.retain(|row| !hidden.contains(row));
        }
        let exact = |row| exact_score(reader, field, row, scorer);
        let scores = rows.into_iter().filter_map(exact).collect();
        Nearest { scores: best_first(scores, most()), exact: None, hidden }
    };
    scorers.par_iter().zip(best).zip(hidden).map(finish).collect()
}

/// The rows, of some near `own`, that differ from it only by noise that no code preserves.
fn near_copies(reader: &dyn SegmentReader, field: usize, own: u32, rows: &[u32]) -> Vec<u32> {
    let Some(Vector::Single(own)) = reader.field(field).vector(own) else { return Vec::new() };
    let (mut distances, mut buffer) = (Vec::with_capacity(rows.len()), Vec::new());
    reader.field(field).visit_rows(rows, &mut |row, elements| {
        if let Row::Values(values) = widen(elements, &mut buffer) {
            distances.push((kernels::l2_squared(&own, values), row));
        }
    });
    let counted = most().min(distances.len());
    let Some(last) = counted.checked_sub(1) else { return Vec::new() };
    distances.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let within = COPY * COPY * distances[last].0;
    distances.iter().take_while(|(distance, _)| *distance < within).map(|(_, row)| *row).collect()
}

fn extend_centred(out: &mut Vec<f32>, row: &[f32], center: &[f32]) {
    out.extend(row.iter().zip(center).map(|(value, center)| value - center));
}

/// The rows with the best products so far.
struct Best {
    limit: usize,
    rows: Vec<(f32, u32)>,
    threshold: f32,
}

impl Best {
    fn new(limit: usize) -> Self {
        Self { limit, rows: Vec::new(), threshold: f32::NEG_INFINITY }
    }

    fn offer(&mut self, nearness: f32, row: u32, hidden: &[u32]) {
        if nearness < self.threshold || hidden.contains(&row) {
            return;
        }
        self.rows.push((nearness, row));
        if self.rows.len() >= 2 * self.limit {
            self.select();
        }
    }

    fn select(&mut self) {
        if self.rows.len() > self.limit {
            let better = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0);
            self.threshold = self.rows.select_nth_unstable_by(self.limit - 1, better).1.0;
            self.rows.truncate(self.limit);
        }
    }

    fn into_rows(mut self) -> impl Iterator<Item = u32> {
        self.select();
        self.rows.into_iter().map(|(_, row)| row)
    }
}

/// The nearest rows to a query of a multi field. Candidates, several times as many as count, are
/// the best by token codes and are scored exactly; without token codes all rows are. `hidden` rows
/// do not count.
pub fn nearest_by_tokens(
    reader: &dyn SegmentReader,
    field: usize,
    tokens: Option<&TokenStore>,
    scorer: &Scorer,
    hidden: Vec<u32>,
) -> Nearest {
    let absent = reader.field(field).absent();
    let is_absent = |row: u32| absent.is_some_and(|absent| absent.contains(row));
    let rows = (0..reader.rows()).filter(|row| !hidden.contains(row) && !is_absent(*row));
    let Some(tokens) = tokens else {
        let scores = rows.filter_map(|row| exact_score(reader, field, row, scorer)).collect();
        return Nearest { scores: best_first(scores, most()), exact: None, hidden };
    };
    let best = by_tokens(tokens, scorer, rows);
    Nearest { hidden, ..of_tokens(reader, field, scorer, &best) }
}

fn by_tokens(
    tokens: &TokenStore,
    scorer: &Scorer,
    rows: impl Iterator<Item = u32>,
) -> Vec<(Score, u32)> {
    let (query, mut kernel) = (scorer.tokens(tokens.codec(), None), TokenScorer::default());
    let score = |row| (Score(tokens.score(&mut kernel, &query, row)), row);
    let mut best: Vec<(Score, u32)> = rows.map(score).collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    best
}

fn of_tokens(
    reader: &dyn SegmentReader,
    field: usize,
    scorer: &Scorer,
    best: &[(Score, u32)],
) -> Nearest {
    let exact = |&(_, row): &(Score, u32)| Some((row, exact_score(reader, field, row, scorer)?));
    let near = best.iter().take(NEAR * most());
    let exact: HashMap<u32, Score> = near.filter_map(exact).collect();
    let scores = best_first(exact.values().copied().collect(), most());
    Nearest { scores, exact: Some(exact), hidden: Vec::new() }
}

/// Ground truth among the listed rows without the nearest fifth, and the rows that remain: the case
/// of a filter or deletions correlated with the query.
pub fn far_by_scores(
    reader: &dyn SegmentReader,
    (field, codes): (usize, &FieldCodes),
    scorer: &Scorer,
    rows: &[u32],
) -> (Nearest, Vec<u32>) {
    let best = match codes.tokens() {
        Some(tokens) => by_tokens(tokens, scorer, rows.iter().copied()),
        None => {
            let score = |&row: &u32| Some((exact_score(reader, field, row, scorer)?, row));
            let mut best: Vec<(Score, u32)> = rows.iter().filter_map(score).collect();
            best.sort_unstable_by(|a, b| b.cmp(a));
            best
        }
    };
    let far = &best[best.len() / CUT_SHARE..];
    let mut left: Vec<u32> = far.iter().map(|&(_, row)| row).collect();
    left.sort_unstable();
    let nearest = match codes.tokens() {
        Some(_) => of_tokens(reader, field, scorer, far),
        None => {
            let scores = far.iter().take(most()).map(|&(score, _)| score).collect();
            Nearest { scores, exact: None, hidden: Vec::new() }
        }
    };
    (nearest, left)
}
