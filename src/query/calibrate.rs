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
use super::request::{Query, QueryRequest};
use super::rescore::{exact_score, rescore_rows};
use super::scorer::Scorer;
use super::search::best_of;
use crate::error::Result;
use crate::index::{Ask, Calibration, CalibrationPoint, Depth, Effort, IndexView, with_scratch};
use crate::model::{CollectionConfig, IndexKind, Score};
use crate::quantization::stratified;
use crate::segment::{FieldCodes, SegmentReader, Snapshot, View};

/// Nearest rows that recall is measured for.
const KS: [usize; 2] = [10, 100];
/// Re-ranking budgets, as shares of k in eighths.
const RERANK_EIGHTHS: [usize; 9] = [8, 10, 12, 16, 20, 24, 32, 40, 64];
/// Sample queries, at most.
const QUERIES: u64 = 384;
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
    /// Some of the user's queries of a field, shape [n, dimension].
    pub fn from_queries(field: &str, dimension: usize, queries: &[f32]) -> Self {
        let rows = (queries.len() / dimension) as u64;
        let chosen = stratified(rows, QUERIES, SEED);
        let row = |index: u64| queries[index as usize * dimension..][..dimension].to_vec();
        let requests = chosen.into_iter().map(|index| QueryRequest::new(field, row(index)));
        let requests: Vec<QueryRequest> = requests.map(exact).collect();
        Self { hidden: vec![None; requests.len()], requests, from_user: true }
    }

    /// Some of the listed rows of a segment.
    ///
    /// # Errors
    /// If an id cannot be read.
    pub fn from_rows(field: &str, reader: &dyn SegmentReader, rows: &[u32]) -> Result<Self> {
        let chosen = stratified(rows.len() as u64, QUERIES, SEED);
        let hidden: Vec<u32> = chosen.into_iter().map(|index| rows[index as usize]).collect();
        let request = |&row: &u32| {
            let query = Query::Point(reader.id(row)?);
            Ok(exact(QueryRequest { query, ..QueryRequest::new(field, Vec::new()) }))
        };
        let requests = hidden.iter().map(request).collect::<Result<_>>()?;
        Ok(Self { requests, hidden: hidden.into_iter().map(Some).collect(), from_user: false })
    }
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

/// The segment whose index is calibrated.
pub struct Subject<'a> {
    reader: Arc<dyn SegmentReader>,
    field: usize,
    sample: &'a CalibrationSample,
    /// For each query and k, the exact score of the k-th nearest row.
    thresholds: Vec<[Score; KS.len()]>,
    scorers: Vec<Scorer>,
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
        let answers = super::executor::answer_plans(&snapshot, config, &plans, Deadline::NEVER)?;
        let threshold = |hits: &[super::Hit], k: usize| {
            let hit = hits.get(k - 1).or(hits.last());
            hit.map_or(Score(f32::INFINITY), |hit| Score(hit.score))
        };
        let thresholds =
            answers.iter().map(|answer| KS.map(|k| threshold(&answer.hits, k))).collect();
        let scorers = plans.into_iter().map(|plan| plan.scorer).collect();
        Ok(Self { reader, field, sample, thresholds, scorers })
    }

    /// Measures an index of the segment. Runs on the rayon pool it is called in.
    pub fn calibrate(&self, codes: &FieldCodes, index: &IndexView<'_>) -> Calibration {
        let mut measured = Vec::new();
        let mut probes: Vec<Probe> = (0..self.scorers.len()).map(Probe::new).collect();
        let mut enough = false;
        for window in WINDOWS {
            let before = measured.len();
            measured.extend(self.measure(codes, index, window, &mut probes));
            let best = |k: usize| {
                let of = measured[before..].iter().filter(move |point| point.k == k);
                of.map(|point| point.recall).fold(0.0, f32::max)
            };
            enough = KS.iter().all(|&k| best(k) >= ENOUGH);
            if enough || window >= index.widest() {
                break;
            }
        }
        let scan_cost = self.reader.rows() as f32 * codes.row_bytes() as f32;
        if !enough || measured.iter().any(|point| point.cost > scan_cost) {
            measured.extend(self.measure(codes, index, Depth::SCAN, &mut probes));
        }
        Calibration::new(self.sample.requests.len(), self.sample.from_user, measured)
    }

    /// Searches with one window for all queries, or scans all codes; a point for each k and re-ranking budget.
    fn measure(
        &self,
        codes: &FieldCodes,
        index: &IndexView<'_>,
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
        index: &IndexView<'_>,
        window: usize,
        probe: &mut Probe,
    ) -> (Effort, Recalls) {
        let query = probe.query;
        let scorer = &self.scorers[query];
        let primary = codes.codec().query(scorer.query());
        let rerank = KS[KS.len() - 1] * RERANK_EIGHTHS[RERANK_EIGHTHS.len() - 1] / 8;
        let ask = Ask {
            codes: codes.scores(&primary),
            depth: Depth { window, rerank },
            accept: |_| true,
            share: 1.0,
            least: 0,
            most_scored: 0,
            hidden: self.sample.hidden[query],
        };
        let mut found = Vec::new();
        let effort = if ask.depth.is_scan() {
            let (rows, absent) = (self.reader.rows(), self.reader.absent(self.field));
            // One of them may be hidden.
            found = best_of(codes, &primary, absent, &(0..rows).collect(), rerank + 1);
            Effort { scanned: rows.into(), ..Effort::default() }
        } else {
            with_scratch(|scratch| index.search(&ask, scratch, &mut found))
        };
        let hidden = self.sample.hidden[query];
        let scored: Vec<(Score, Score)> = found
            .iter()
            .filter(|&&(_, row)| Some(row) != hidden)
            .map(|&(primary, row)| {
                *probe.scores.entry(row).or_insert_with(|| {
                    let reader = &*self.reader;
                    let mut shown = None;
                    rescore_rows(reader, self.field, &[row], scorer, &mut |_, score| {
                        shown = Some(score);
                    });
                    let exact = match codes.has_secondary() {
                        true => exact_score(reader, self.field, row, scorer),
                        false => shown,
                    };
                    let worst = Score(f32::NEG_INFINITY);
                    (shown.unwrap_or(Score(primary)), exact.unwrap_or(worst))
                })
            })
            .collect();
        let mut recalls = BTreeMap::new();
        for (k, &threshold) in KS.into_iter().zip(&self.thresholds[query]) {
            for eighths in RERANK_EIGHTHS {
                let rerank = (k * eighths).div_ceil(8);
                recalls.insert((k, rerank), recall(&scored, k, rerank, threshold));
            }
        }
        (effort, recalls)
    }
}

/// Bytes that a search read, weighted.
fn cost(codes: &FieldCodes, index: &IndexView<'_>, effort: Effort) -> f32 {
    let record = codes.row_bytes() as f32;
    let Effort { expanded, scored, scanned } = effort;
    match index.kind() {
        // Centroids lie together, too.
        IndexKind::Ivf => (scored + scanned) as f32 * record,
        _ => ((scored + expanded) as f32 * SCATTERED + scanned as f32) * record,
    }
}

fn rerank_bytes(codes: &FieldCodes) -> f32 {
    match codes.codec().secondary_stride() {
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
