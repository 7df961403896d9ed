//! Measures which depth of search of a new index reaches which recall, against exact search.
//!
//! Sample queries are the user's, if there are any; otherwise rows of the segment, each of which
//! its own search must not see. Every window is searched once for each query; since the best rows
//! come first, the recall of smaller re-ranking budgets follows from the same search. If no window
//! finds nearly all, or one takes more work than a scan of all codes, that is measured, too.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::Deadline;
use super::plan::Plan;
use super::request::{Query, QueryRequest, QueryResponse};
use super::rescore::{exact_score, rescore_rows};
use super::scorer::Scorer;
use super::search::best_of;
use crate::error::Result;
use crate::index::{Ask, Calibration, CalibrationPoint, Depth, Effort, IndexView, with_scratch};
use crate::model::{
    CollectionConfig, IndexKind, MultiVector, PreparedQueries, Score, Vector, VectorField,
    VectorKind,
};
use crate::multivector::TokenScorer;
use crate::quantization::{PrimaryQuery, stratified};
use crate::segment::{FieldCodes, SegmentReader, Snapshot, TokenStore, View};

/// Nearest rows that recall is measured for.
const KS: [usize; 2] = [10, 100];
/// Re-ranking budgets, as shares of k in eighths.
const RERANK_EIGHTHS: [usize; 9] = [8, 10, 12, 16, 20, 24, 32, 40, 64];
/// The same where candidates are found by encodings, which are a rougher measure; at most so many.
const ENCODED_EIGHTHS: [usize; 11] = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048];
const ENCODED_RERANK: usize = 4096;
/// Sample queries, at most; fewer of many vectors each.
const QUERIES: u64 = 384;
const MULTI_QUERIES: u64 = 128;
/// Vectors of a row of a multi field that stand for a query.
const QUERY_VECTORS: u64 = 4;
/// So many times the nearest rows that count are looked for by the codes of their vectors.
const NEAREST_BY_TOKENS: usize = 4;
/// Windows that are measured.
const WINDOWS: [usize; 20] =
    [1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024];
/// No wider window is measured once the recall is this high.
const ENOUGH: f32 = 0.9995;
/// A row that is read from a place of its own costs as much as so many times its bytes in a scan.
const SCATTERED: f32 = 2.2;

/// What an index is calibrated by.
pub struct CalibrationSample {
    requests: Vec<QueryRequest>,
    hidden: Vec<Option<u32>>,
    from_user: bool,
}

impl CalibrationSample {
    /// Some of the user's queries of a field.
    ///
    /// # Errors
    /// If the stored queries are not whole.
    pub fn from_queries(
        name: &str,
        field: &VectorField,
        queries: &PreparedQueries,
    ) -> Result<Self> {
        let chosen = stratified(queries.len() as u64, most_queries(field), SEED);
        let request = |index: u64| -> Result<QueryRequest> {
            let values = queries.get(index as usize, field.dimension).to_vec();
            let query: Vector = match field.kind {
                VectorKind::Single => values.into(),
                VectorKind::Multi => MultiVector::from_flat(field.dimension, values)?.into(),
            };
            Ok(exact(QueryRequest::new(name, query)))
        };
        let requests: Vec<QueryRequest> = chosen.into_iter().map(request).collect::<Result<_>>()?;
        Ok(Self { hidden: vec![None; requests.len()], requests, from_user: true })
    }

    /// Some of the listed rows of a segment; of those of a multi field a few of their vectors.
    ///
    /// # Errors
    /// If an id cannot be read.
    pub fn from_rows(
        name: &str,
        (index, field): (usize, &VectorField),
        reader: &dyn SegmentReader,
        rows: &[u32],
    ) -> Result<Self> {
        let chosen = stratified(rows.len() as u64, most_queries(field), SEED);
        let hidden: Vec<u32> = chosen.into_iter().map(|chosen| rows[chosen as usize]).collect();
        let request = |&row: &u32| -> Result<QueryRequest> {
            let query = match reader.vector(index, row) {
                Some(Vector::Multi(vectors)) => Query::Vector(some_vectors(&vectors)?.into()),
                _ => Query::Point(reader.id(row)?),
            };
            Ok(exact(QueryRequest { query, ..QueryRequest::new(name, Vec::new()) }))
        };
        let requests = hidden.iter().map(request).collect::<Result<_>>()?;
        Ok(Self { requests, hidden: hidden.into_iter().map(Some).collect(), from_user: false })
    }
}

fn most_queries(field: &VectorField) -> u64 {
    match field.kind {
        VectorKind::Single => QUERIES,
        VectorKind::Multi => MULTI_QUERIES,
    }
}

fn some_vectors(vectors: &MultiVector) -> Result<MultiVector> {
    let chosen = stratified(vectors.rows().len() as u64, QUERY_VECTORS, SEED);
    let row = |index: u64| &vectors.values()[index as usize * vectors.dimension()..];
    let row = |index: u64| row(index)[..vectors.dimension()].iter().copied();
    let values = chosen.into_iter().flat_map(row).collect();
    Ok(MultiVector::from_flat(vectors.dimension(), values)?)
}

const SEED: u64 = 7;

fn exact(request: QueryRequest) -> QueryRequest {
    request.limit(KS[KS.len() - 1]).exact()
}

/// Recall by k and re-ranking budget.
type Recalls = BTreeMap<(usize, usize), f32>;

/// A sample query, and what is known by now of the rows that its searches found: the scores that
/// queries show, and the exact ones.
struct Probe {
    query: usize,
    scores: HashMap<u32, (Score, Score)>,
}

impl Probe {
    fn new(query: usize) -> Self {
        Self { query, scores: HashMap::new() }
    }
}

/// The rows nearest to a query.
struct Nearest {
    /// Their exact scores, best first.
    scores: Vec<Score>,
    /// If all rows but these are farther: which they are.
    exact: Option<HashMap<u32, Score>>,
}

impl Nearest {
    /// The exact score of the k-th.
    fn threshold(&self, k: usize) -> Score {
        let score = self.scores.get(k - 1).or(self.scores.last());
        score.copied().unwrap_or(Score(f32::INFINITY))
    }
}

/// The rows nearest to the query of a multi field: of those that are best by the codes of their
/// vectors, many times as many as count, the best by the vectors themselves.
fn nearest_by_tokens(
    reader: &dyn SegmentReader,
    field: usize,
    tokens: &TokenStore,
    scorer: &Scorer,
    hidden: Option<u32>,
) -> Nearest {
    let (query, mut kernel) = (scorer.tokens(tokens.codec()), TokenScorer::default());
    let absent = |row: u32| reader.absent(field).is_some_and(|absent| absent.contains(row));
    let rows = (0..reader.rows()).filter(|&row| Some(row) != hidden && !absent(row));
    let score = |row| (Score(tokens.score(&mut kernel, query, row)), row);
    let mut best: Vec<(Score, u32)> = rows.map(score).collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    best.truncate(NEAREST_BY_TOKENS * KS[KS.len() - 1]);
    let exact = |&(_, row): &(Score, u32)| Some((row, exact_score(reader, field, row, scorer)?));
    let exact: HashMap<u32, Score> = best.iter().filter_map(exact).collect();
    let mut scores: Vec<Score> = exact.values().copied().collect();
    scores.sort_unstable_by(|a, b| b.cmp(a));
    Nearest { scores, exact: Some(exact) }
}

/// The segment whose index is calibrated.
pub struct Subject<'a> {
    reader: Arc<dyn SegmentReader>,
    /// All rows of it.
    all: RoaringBitmap,
    field: usize,
    sample: &'a CalibrationSample,
    /// For each query, what it should find.
    nearest: Vec<Nearest>,
    scorers: Vec<Scorer>,
    /// The queries for the codes of the segment.
    queries: Vec<PrimaryQuery>,
}

impl<'a> Subject<'a> {
    /// Finds the exact neighbours of all sample queries. Runs on the rayon pool it is called in.
    ///
    /// # Errors
    /// If the segment is damaged.
    pub fn new(
        reader: Arc<dyn SegmentReader>,
        config: &CollectionConfig,
        field: usize,
        codes: &FieldCodes,
        sample: &'a CalibrationSample,
    ) -> Result<Self> {
        let deleted = Arc::new(RoaringBitmap::new());
        let snapshot =
            Snapshot { sequence: 0, views: vec![View { reader: reader.clone(), deleted }] };
        let mut plans = sample
            .requests
            .iter()
            .map(|request| Plan::new(&snapshot, config, request))
            .collect::<Result<Vec<_>>>()?;
        plans.iter_mut().for_each(|plan| plan.choose_depths(&snapshot));
        let nearest = match codes.tokens() {
            Some(tokens) => {
                let find = |(plan, &hidden): (&Plan<'_>, &Option<u32>)| {
                    nearest_by_tokens(&*reader, field, tokens, &plan.scorer, hidden)
                };
                plans.par_iter().zip(&sample.hidden).map(find).collect()
            }
            None => {
                let answer = super::executor::answer_plans;
                let answers = answer(&snapshot, config, &plans, Deadline::NEVER)?;
                let scores = |answer: &QueryResponse| {
                    let scores = answer.hits.iter().map(|hit| Score(hit.score)).collect();
                    Nearest { scores, exact: None }
                };
                answers.iter().map(scores).collect()
            }
        };
        let scorers: Vec<Scorer> = plans.into_iter().map(|plan| plan.scorer).collect();
        let query = |scorer: &Scorer| codes.query(scorer.query());
        let queries = scorers.iter().map(query).collect::<Result<_>>()?;
        let all = (0..reader.rows()).collect();
        Ok(Self { reader, all, field, sample, nearest, scorers, queries })
    }

    /// Measures an index of the segment, or scans of its codes without one. Runs on the rayon pool
    /// it is called in.
    pub fn calibrate(&self, codes: &FieldCodes, index: Option<&IndexView<'_>>) -> Calibration {
        let mut measured = Vec::new();
        let mut probes: Vec<Probe> = (0..self.scorers.len()).map(Probe::new).collect();
        let mut enough = false;
        let widest = index.map_or(0, IndexView::widest);
        for window in WINDOWS.into_iter().filter(|_| index.is_some()) {
            let before = measured.len();
            measured.extend(self.measure(codes, index, window, &mut probes));
            let best = |k: usize| {
                let of = measured[before..].iter().filter(move |point| point.k == k);
                of.map(|point| point.recall).fold(0.0, f32::max)
            };
            enough = KS.iter().all(|&k| best(k) >= ENOUGH);
            if enough || window >= widest {
                break;
            }
        }
        let scan_cost = self.reader.rows() as f32 * codes.row_bytes() as f32;
        if !enough || measured.iter().any(|point| point.cost > scan_cost) {
            measured.extend(self.measure(codes, index, Depth::SCAN, &mut probes));
        }
        Calibration::new(self.sample.requests.len(), self.sample.from_user, measured)
    }

    /// Searches with one window for all queries, or scans all codes; a point for each k and
    /// re-ranking budget.
    fn measure(
        &self,
        codes: &FieldCodes,
        index: Option<&IndexView<'_>>,
        window: usize,
        probes: &mut [Probe],
    ) -> Vec<CalibrationPoint> {
        let outcomes: Vec<(Effort, Recalls)> =
            probes.par_iter_mut().map(|probe| self.search(codes, index, window, probe)).collect();
        let count = outcomes.len().max(1) as f32;
        let settings: Vec<(usize, usize)> =
            outcomes.first().map_or(Vec::new(), |(_, recalls)| recalls.keys().copied().collect());
        let effort = outcomes.iter().fold(Effort::default(), |mut sum, (effort, _)| {
            sum += *effort;
            sum
        });
        let point = |(k, rerank): (usize, usize)| {
            let recalls = || outcomes.iter().filter_map(|(_, all)| all.get(&(k, rerank)).copied());
            let mean = recalls().sum::<f32>() / count;
            let variance = recalls().map(|recall| (recall - mean).powi(2)).sum::<f32>() / count;
            let error = (variance / count).sqrt();
            let cost = cost(codes, index, effort) / count
                + rerank as f32 * SCATTERED * rerank_bytes(codes);
            CalibrationPoint { k, depth: Depth { window, rerank }, recall: mean, error, cost }
        };
        settings.into_iter().map(point).collect()
    }

    /// Recall by k and re-ranking budget, for one query and window.
    fn search(
        &self,
        codes: &FieldCodes,
        index: Option<&IndexView<'_>>,
        window: usize,
        probe: &mut Probe,
    ) -> (Effort, Recalls) {
        let query = probe.query;
        let budgets = |k: usize| {
            let (eighths, most) = match codes.is_encoded() {
                true => (&ENCODED_EIGHTHS[..], ENCODED_RERANK),
                false => (&RERANK_EIGHTHS[..], usize::MAX),
            };
            let budgets = eighths.iter().map(move |&eighths| (k * eighths).div_ceil(8));
            budgets.filter(move |&budget| budget <= most)
        };
        let rerank = KS.into_iter().flat_map(budgets).max().unwrap_or(0);
        let ask = Ask {
            codes: codes.scores(&self.queries[query]),
            depth: Depth { window, rerank },
            accept: |_| true,
            share: 1.0,
            least: 0,
            most_scored: 0,
            hidden: self.sample.hidden[query],
        };
        let mut found = Vec::new();
        let effort = match index.filter(|_| !ask.depth.is_scan()) {
            Some(index) => with_scratch(|scratch| index.search(&ask, scratch, &mut found)),
            None => {
                let absent = self.reader.absent(self.field);
                // One of them may be hidden.
                found = best_of(codes, &self.queries[query], absent, &self.all, rerank + 1);
                Effort { scanned: self.all.len(), ..Effort::default() }
            }
        };
        let hidden = self.sample.hidden[query];
        found.retain(|&(_, row)| Some(row) != hidden);
        self.score_again(codes, &found, probe);
        let scored: Vec<(Score, Score)> = found.iter().map(|(_, row)| probe.scores[row]).collect();
        let mut recalls = BTreeMap::new();
        for k in KS {
            let threshold = self.nearest[query].threshold(k);
            for rerank in budgets(k) {
                recalls.insert((k, rerank), recall(&scored, k, rerank, threshold));
            }
        }
        (effort, recalls)
    }

    /// Scores what was found and is not known yet.
    fn score_again(&self, codes: &FieldCodes, found: &[(f32, u32)], probe: &mut Probe) {
        let (reader, scorer) = (&*self.reader, &self.scorers[probe.query]);
        let new = found.iter().map(|&(_, row)| row).filter(|row| !probe.scores.contains_key(row));
        let new: Vec<u32> = new.collect();
        let mut shown = HashMap::with_capacity(new.len());
        rescore_rows(reader, self.field, &new, scorer, &mut |row, score| {
            shown.insert(row, score);
        });
        let worst = Score(f32::NEG_INFINITY);
        for row in new {
            let shown = shown.get(&row).copied();
            let exact = match &self.nearest[probe.query].exact {
                Some(nearest) => nearest.get(&row).copied(),
                None if codes.has_secondary() && reader.has_raw(self.field) => {
                    exact_score(reader, self.field, row, scorer)
                }
                None => shown,
            };
            probe.scores.insert(row, (shown.unwrap_or(worst), exact.unwrap_or(worst)));
        }
    }
}

/// Bytes that a search read, weighted.
fn cost(codes: &FieldCodes, index: Option<&IndexView<'_>>, effort: Effort) -> f32 {
    let record = codes.row_bytes() as f32;
    let Effort { expanded, scored, scanned } = effort;
    match index.map(IndexView::kind) {
        // Centroids lie together, too.
        Some(IndexKind::Ivf) => (scored + scanned) as f32 * record,
        _ => ((scored + expanded) as f32 * SCATTERED + scanned as f32) * record,
    }
}

fn rerank_bytes(codes: &FieldCodes) -> f32 {
    match codes.secondary_row_bytes() {
        0 => (codes.codec().dimension() * size_of::<f32>()) as f32,
        bytes => bytes as f32,
    }
}

/// The share of k that is found: of the first `rerank` candidates the k best by the scores that
/// queries show, those that are at least as good as the exact k-th.
fn recall(scored: &[(Score, Score)], k: usize, rerank: usize, threshold: Score) -> f32 {
    let mut first = scored[..rerank.min(scored.len())].to_vec();
    first.sort_unstable_by_key(|&(shown, _)| std::cmp::Reverse(shown));
    let hits = first.iter().take(k).filter(|(_, exact)| *exact >= threshold).count();
    hits as f32 / k as f32
}
