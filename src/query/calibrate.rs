//! Calibrates a new index: measures the recall of each search depth against exact search.
//!
//! Sample queries are the user's, if there are enough; otherwise rows of the segment, each hidden
//! from its own search together with its copies. Every window is searched once for each query;
//! since results are ordered best first, the recall of smaller re-ranking budgets follows from the
//! same search. Windows grow until nearly full recall, or until a scan of all codes is cheaper.
//! Then one search of the widest window tells what margins find and cost (see [`margins`]).
//! Scans are measured too: over all rows, and over the rows left when those near the query are
//! excluded.

mod margins;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::bound::Bound;
use super::calibration_sample::CalibrationSample;
use super::rescore::{exact_score, rescore_rows};
use super::scorer::Scorer;
use super::search::best_distinct;
use super::truth::{Nearest, far_by_scores, nearest_by_tokens, nearest_by_vectors};
use crate::error::Result;
use crate::field::{FieldCodes, FieldQuery};
use crate::index::{
    Ask, Calibration, CalibrationPoint, Copies, Depth, Effort, Far, IndexView, LEAST_OF_GROUP,
    LEAST_OF_ZONE, Measured, Members, Outside, Summary, Zone, apart, with_scratch,
};
use crate::model::{CollectionConfig, IndexKind, Score};
use crate::quantization::Codec;
use crate::segment::{SegmentReader, Snapshot, View};
use crate::threads::Pace;

/// Values of k for which recall is measured.
pub(super) const KS: [usize; 3] = [1, 10, 100];
/// Re-ranking budgets, in eighths of k.
const RERANK_EIGHTHS: [usize; 13] = [8, 10, 12, 16, 20, 24, 32, 40, 64, 128, 256, 512, 1024];
/// Largest budget measured, except for the smallest of each k.
const MOST_RERANKED: usize = 2048;
/// Re-ranking budgets for candidates found by MUVERA encodings, whose scores are rougher.
const ENCODED_EIGHTHS: [usize; 11] = [8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048];
const MOST_ENCODED: usize = 4096;
/// Search windows measured.
const WINDOWS: [usize; 25] = [
    1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048,
    4096, 8192,
];
/// Budgets are measured up to this multiple of the rows that a search expands or scans; for scans,
/// up to one in `LEAST_LEFT_OUT` of the rows.
const CANDIDATES_OF_WINDOW: usize = 8;
const LEAST_LEFT_OUT: usize = 2;
/// Narrower windows are not measured for queries far from the rows.
const LEAST_FAR_WINDOW: usize = 12;
/// Recall at which no wider window is measured.
const ENOUGH: f32 = 0.9995;
/// Cost of a byte read at random, relative to a byte read sequentially in a scan.
const SCATTERED: f32 = 2.2;
/// Approximate bytes of codes that the scans of one calibration read in all; and the minimum number
/// of queries that scan.
const SCANNED_BYTES: u64 = 8 << 30;
const LEAST_SCANS: usize = 64;
/// Number of queries measured under a filter that excludes the rows near them.
const FAR_QUERIES: usize = 96;

/// A search among all rows.
type AskAll<'q> = Ask<'q, fn(u32) -> bool>;

/// Recall for each k and re-ranking budget.
type Recalls = Vec<f32>;

/// Measurements of one window: over the usual sample queries, and over those far from the rows
/// (index of k, index of the zone, point).
#[derive(Default)]
struct Points {
    usual: Vec<CalibrationPoint>,
    outside: Vec<(usize, usize, CalibrationPoint)>,
}

impl Points {
    fn extend(&mut self, other: Self) {
        self.usual.extend(other.usual);
        self.outside.extend(other.outside);
    }
}

/// A sample query and the scores of the rows its searches have found so far: the score that a query
/// would report, and the exact score.
struct Probe {
    query: usize,
    /// The row hidden from its search: the row in the index that stands for the query's copies.
    hidden: Option<u32>,
    scores: HashMap<u32, (Score, Score)>,
}

/// A candidate: the rank of its score by codes, equal scores being one; and its two scores as in
/// [`Probe`].
type Ranked = (usize, Score, Score);

impl Probe {
    /// Rows that were found, best first by codes, with the scores that are known of all.
    fn ranked(&self, found: &[(f32, u32)]) -> Vec<Ranked> {
        let mut ranked: Vec<Ranked> = Vec::with_capacity(found.len());
        let mut last = None;
        for &(by_codes, row) in found {
            let rank = match (ranked.last(), last) {
                (Some(&(rank, ..)), Some(last)) => rank + usize::from(last != by_codes),
                _ => 0,
            };
            let (shown, exact) = self.scores[&row];
            ranked.push((rank, shown, exact));
            last = Some(by_codes);
        }
        ranked
    }
}

/// The segment whose index is calibrated.
pub struct Subject<'a> {
    reader: Arc<dyn SegmentReader>,
    field: usize,
    sample: &'a CalibrationSample,
    /// For each query, its exact nearest neighbours.
    nearest: Vec<Nearest>,
    scorers: Vec<Scorer>,
    /// The queries, prepared for the segment's codes.
    queries: Vec<FieldQuery>,
    /// Pairs (k, re-ranking budget) to measure.
    settings: Vec<(usize, usize)>,
    /// For each k, the queries far from the rows.
    outside: Vec<Far>,
    /// For each query, the first query that is a copy of it, or itself.
    kin: Vec<usize>,
    /// For each query, whether it is of the kind with the larger coding error.
    lossy: Vec<bool>,
}

/// For each query, the first query with the same hidden rows.
fn kin(nearest: &[Nearest]) -> Vec<usize> {
    let mut first = HashMap::new();
    let of = |(query, nearest): (usize, &Nearest)| match nearest.hidden.iter().min() {
        Some(&row) => *first.entry(row).or_insert(query),
        None => query,
    };
    nearest.iter().enumerate().map(of).collect()
}

/// Marks the queries before `far` of the kind with the larger coding error, separately for queries
/// that count and for the other rows of the sample. Their neighbours are of the same kind and are
/// lost alike, however near they are.
fn lossy(codes: &FieldCodes, scorers: &[Scorer], counts: &[bool], far: usize) -> Vec<bool> {
    // The loss of MUVERA encodings has no such kinds.
    let Some(codec) = codes.codec().filter(|_| !codes.is_multi()) else {
        return vec![false; scorers.len()];
    };
    let queries: Vec<f32> = scorers[..far].iter().flat_map(Scorer::query).copied().collect();
    let losses = codec.losses(&queries);
    let from = [false, true].map(|counted| {
        let of = losses.iter().zip(counts).filter(|(_, counts)| **counts == counted);
        apart(&of.map(|(loss, _)| *loss).collect::<Vec<f64>>(), LEAST_OF_GROUP)
    });
    let of = |(loss, &counted): (&f64, &bool)| {
        from[usize::from(counted)].is_some_and(|from| *loss >= from)
    };
    let mut lossy: Vec<bool> = losses.iter().zip(counts).map(of).collect();
    lossy.resize(scorers.len(), false);
    lossy
}

impl<'a> Subject<'a> {
    /// Finds the exact neighbours of all sample queries, for a flat index or another kind. Runs on
    /// the current rayon pool. The result is meaningless after cancellation.
    ///
    /// # Errors
    /// If the segment is damaged.
    pub fn new(
        reader: Arc<dyn SegmentReader>,
        config: &CollectionConfig,
        field: usize,
        codes: &FieldCodes,
        (sample, is_flat): (&'a CalibrationSample, bool),
        pace: &Pace<'_>,
    ) -> Result<Self> {
        let deleted = Arc::default();
        let views = vec![View { reader: reader.clone(), deleted }];
        let snapshot = Snapshot { views, ..Snapshot::default() };
        let (mut scorers, mut queries) = (Vec::new(), Vec::new());
        for request in &sample.requests {
            let bound = Bound::new(&snapshot, config, request)?;
            queries.push(codes.query(bound.scorer.query(), is_flat, None)?);
            scorers.push(bound.scorer);
        }
        let hidden = sample.copies_of_hidden(codes);
        let nearest = if codes.is_multi() {
            let find = |(scorer, hidden): (&Scorer, Vec<u32>)| {
                if !pace.goes_on() {
                    return Nearest { scores: Vec::new(), exact: None, hidden };
                }
                nearest_by_tokens(&*reader, field, codes.tokens(), scorer, hidden)
            };
            scorers.par_iter().zip(hidden).map(find).collect()
        } else {
            nearest_by_vectors(&*reader, (field, codes), &scorers, hidden, pace)
        };
        let kin = kin(&nearest);
        let settings = settings(codes);
        let far = |k| {
            let of = |(nearest, scorer): (&Nearest, &Scorer)| scorer.nearness(nearest.threshold(k));
            let nearness: Vec<f32> = nearest.iter().zip(&scorers).map(of).collect();
            Far::new(k, &nearness, &sample.counts, sample.far)
        };
        let outside = KS.into_iter().map(far).collect();
        let lossy = lossy(codes, &scorers, &sample.counts, sample.far);
        Ok(Self { reader, field, sample, nearest, scorers, queries, settings, outside, kin, lossy })
    }

    /// Calibrates an index of the segment, or scans of its codes without one. Runs on the current
    /// rayon pool. The result is meaningless after cancellation.
    pub fn calibrate(
        &self,
        codes: &FieldCodes,
        index: Option<(&IndexView<'_>, Copies<'_>)>,
        pace: &Pace<'_>,
    ) -> Calibration {
        let first_of = |row| index.map_or(row, |(_, copies)| copies.first_of(row));
        let probe = |query: usize| Probe {
            query,
            hidden: self.sample.hidden[query].map(first_of),
            scores: HashMap::new(),
        };
        let mut probes: Vec<Probe> = (0..self.scorers.len()).map(probe).collect();
        let scan_cost = self.reader.rows() as f32 * codes.scanned_row_bytes() as f32;
        let mut measured = Points::default();
        // For each k, the narrowest window of nearly full recall, or else the widest measured.
        let mut widest: [Option<usize>; KS.len()] = Default::default();
        let mut last = 0;
        for window in WINDOWS.into_iter() {
            let Some((view, copies)) = index else { break };
            if !pace.goes_on() {
                break;
            }
            let new = self.measure(codes, (view, copies), window, &mut probes, pace);
            let best = |k: usize| {
                let of = new.usual.iter().filter(move |point| point.k == k);
                of.map(|point| point.recall).fold(0.0, f32::max)
            };
            last = window;
            for (widest, k) in widest.iter_mut().zip(KS) {
                *widest = widest.or((best(k) >= ENOUGH).then_some(window));
            }
            let enough = widest.iter().all(Option::is_some);
            let dear = new.usual.iter().all(|point| point.cost > scan_cost);
            measured.extend(new);
            if enough || dear || window >= view.widest() {
                break;
            }
        }
        // A margin that suits rows ends the searches of other queries too early. Of encodings, the cost of
        // re-ranking hides that of the search.
        let measures = self.sample.from_user && !codes.is_multi();
        if let Some((view @ IndexView::Graph(..), copies)) = index.filter(|_| measures) {
            let windows = widest.map(|widest| widest.unwrap_or(last));
            measured.extend(self.measure_margins(
                codes,
                (view, copies),
                windows,
                &mut probes,
                pace,
            ));
        }
        let all_scans = SCANNED_BYTES / (scan_cost as u64).max(1);
        let scans = (all_scans as usize).max(LEAST_SCANS).min(probes.len());
        let scans = self.measure_scans(codes, every(&mut probes, scans), false, pace);
        let usual = self.sample.far;
        let far = every(&mut probes[..usual], FAR_QUERIES);
        let far = self.measure_scans(codes, far, true, pace);
        let queries = self.sample.counts.iter().filter(|counts| **counts).count();
        let from = (queries, self.sample.from_user);
        let mut calibration = Calibration::new(from, measured.usual, scans.usual, far.usual);
        calibration.outside = self.zones(measured.outside, scans.outside);
        calibration
    }

    /// Groups the measurements of queries far from the rows by k and zone.
    fn zones(
        &self,
        mut searches: Vec<(usize, usize, CalibrationPoint)>,
        mut scans: Vec<(usize, usize, CalibrationPoint)>,
    ) -> Vec<Outside> {
        let mut take = |at: usize, zone: usize| {
            let of = |all: &mut Vec<(usize, usize, CalibrationPoint)>| {
                let of = all.extract_if(.., |(a, b, _)| (*a, *b) == (at, zone));
                of.map(|(_, _, point)| point).collect::<Vec<_>>()
            };
            (of(&mut searches), of(&mut scans))
        };
        let outside = |(at, far): (usize, &Far)| {
            let zone = |(number, members): (usize, &Members)| {
                let (points, scans) = take(at, number);
                Zone::new((members.at_least, members.usual), points, scans)
            };
            let zones = far.zones.iter().enumerate().map(zone).collect();
            Outside { k: far.k, below: far.below, zones }
        };
        self.outside.iter().enumerate().map(outside).collect()
    }

    /// A search of the index for one query; `None` if its codes cannot be scored.
    fn ask<'q>(&'q self, codes: &'q FieldCodes, probe: &Probe, depth: Depth) -> Option<AskAll<'q>> {
        let codes = codes.scores(self.queries[probe.query].primary()?)?;
        Some(Ask { codes, depth, selection: None, hidden: probe.hidden })
    }

    /// Searches all queries with one window; returns a point for each k and re-ranking budget.
    fn measure(
        &self,
        codes: &FieldCodes,
        (index, copies): (&IndexView<'_>, Copies<'_>),
        window: usize,
        probes: &mut [Probe],
        pace: &Pace<'_>,
    ) -> Points {
        let limit = match index {
            IndexView::Graph(..) => window,
            // Average number of rows that the window scans.
            IndexView::Ivf(lists) => window * lists.rows.len() / lists.count().max(1),
        };
        let limit = limit.saturating_mul(CANDIDATES_OF_WINDOW);
        let rerank = self.most_reranked(limit);
        let search = |probe: &mut Probe| {
            let ask = self.ask(codes, probe, Depth::new(window, rerank));
            let Some(ask) = ask.filter(|_| pace.goes_on()) else {
                return (Effort::default(), vec![0.0; self.settings.len()]);
            };
            let mut found = Vec::new();
            let search = |scratch: &mut _| index.search(&ask, copies, scratch, &mut found);
            let effort = with_scratch(search).effort;
            let nearest = &self.nearest[probe.query];
            found.retain(|(_, row)| !nearest.hidden.contains(row));
            (effort, self.recalls(codes, nearest, &found, probe))
        };
        // Narrow searches do not find the neighbours of far queries.
        let wide = window >= LEAST_FAR_WINDOW || matches!(index, IndexView::Ivf(_));
        let end = if wide { probes.len() } else { self.sample.far };
        let probes = &mut probes[..end];
        let outcomes: Vec<(Effort, Recalls)> = probes.par_iter_mut().map(search).collect();
        let cost = self.cost(codes, index.kind(), outcomes.iter().map(|(effort, _)| *effort));
        let measured: Vec<(usize, Recalls)> =
            probes.iter().map(|probe| probe.query).zip(outcomes.into_iter().map(|o| o.1)).collect();
        self.points(codes, Depth::new(window, limit), cost, &measured, 0..self.settings.len())
    }

    /// Scans all codes for some of the queries; with `far`, only the codes of rows that are not
    /// near the query.
    fn measure_scans(
        &self,
        codes: &FieldCodes,
        mut probes: Vec<&mut Probe>,
        far: bool,
        pace: &Pace<'_>,
    ) -> Points {
        let absent = self.reader.field(self.field).absent();
        let rows: Vec<u32> = (0..self.reader.rows())
            .filter(|&row| !absent.is_some_and(|absent| absent.contains(row)))
            .collect();
        // With MUVERA encodings the budget may reach all rows.
        let left_out = if codes.is_multi() { 1 } else { LEAST_LEFT_OUT };
        let limit = (rows.len() / left_out).max(2 * KS[KS.len() - 1]);
        let most = self.most_reranked(limit);
        let scan = |probe: &mut &mut Probe| {
            if !pace.goes_on() {
                return (probe.query, vec![0.0; self.settings.len()]);
            }
            let near = &self.nearest[probe.query];
            let scorer = &self.scorers[probe.query];
            let cut = far.then(|| far_by_scores(&*self.reader, (self.field, codes), scorer, &rows));
            let (nearest, rows) = match &cut {
                Some((nearest, rows)) => (nearest, rows),
                None => (near, &rows),
            };
            let hidden = nearest.hidden.len();
            let query = &self.queries[probe.query];
            let score = |rows: &[u32], scores: &mut [f32]| codes.score_listed(query, rows, scores);
            let mut found = best_distinct(score, rows, most + hidden);
            found.retain(|(_, row)| !nearest.hidden.contains(row));
            (probe.query, self.recalls(codes, nearest, &found, probe))
        };
        let measured: Vec<(usize, Recalls)> = probes.par_iter_mut().map(scan).collect();
        let cost = rows.len() as f32 * codes.scanned_row_bytes() as f32;
        self.points(codes, Depth::scan(limit), cost, &measured, 0..self.settings.len())
    }

    /// The points of searches to this depth, re-ranking at most that many; `settings` are those whose
    /// recalls were measured.
    fn points(
        &self,
        codes: &FieldCodes,
        depth: Depth,
        cost: f32,
        measured: &[(usize, Recalls)],
        settings: Range<usize>,
    ) -> Points {
        let within = || self.settings_within(depth.rerank).filter(|(at, _)| settings.contains(at));
        let point =
            |(at, &(k, rerank)): (usize, &(usize, usize)), of: &[(usize, &Recalls)], few| {
                let measured = |&(query, recalls): &(usize, &Recalls)| Measured {
                    recall: recalls[at - settings.start],
                    groups: self.sample.groups[query],
                    lossy: self.lossy[query],
                    kin: self.kin[query],
                    counts: self.sample.counts[query],
                };
                let found: Vec<Measured> = of.iter().map(measured).collect();
                let summary = if few { Summary::of_few(&found, k) } else { Summary::of(&found, k) };
                let Summary { recall, error, worst, rows, expected } = summary;
                let cost = cost + rerank as f32 * SCATTERED * rerank_bytes(codes);
                let depth = Depth { rerank, ..depth };
                CalibrationPoint { k, depth, recall, error, worst, rows, expected, cost }
            };
        let of = |wanted: &dyn Fn(usize) -> bool| -> Vec<(usize, &Recalls)> {
            let of = measured.iter().filter(|(query, _)| wanted(*query));
            of.map(|(query, recalls)| (*query, recalls)).collect()
        };
        let usual = of(&|query| query < self.sample.far);
        let mut points = Points::default();
        if !usual.is_empty() {
            points.usual = within().map(|setting| point(setting, &usual, false)).collect();
        }
        for (number, far) in self.outside.iter().enumerate() {
            for (zone, of_zone) in far.zones.iter().enumerate() {
                let members = of(&|query| of_zone.queries.contains(&query));
                let least = if of_zone.usual { LEAST_OF_ZONE } else { 1 };
                let settings = within().filter(|(_, (k, _))| *k == far.k);
                points.outside.extend(
                    settings
                        .filter(|_| members.len() >= least)
                        .map(|setting| (number, zone, point(setting, &members, true))),
                );
            }
        }
        points
    }

    /// The settings with budgets that `limit` candidates can fill, and at least the smaller ones of
    /// each k.
    fn settings_within(&self, limit: usize) -> impl Iterator<Item = (usize, &(usize, usize))> {
        let within = move |(_, (k, rerank)): &(usize, &(usize, usize))| *rerank <= limit.max(2 * k);
        self.settings.iter().enumerate().filter(within)
    }

    /// Mean of the weighted bytes that searches read, over those for the usual queries, which are the
    /// first.
    fn cost(
        &self,
        codes: &FieldCodes,
        kind: IndexKind,
        efforts: impl Iterator<Item = Effort>,
    ) -> f32 {
        let record = codes.row_bytes() as f32;
        let bytes = |Effort { expanded, scored, scanned }: Effort| match kind {
            // Centroids are contiguous, too.
            IndexKind::Ivf => (scored + scanned) as f32 * record,
            _ => ((scored + expanded) as f32 * SCATTERED + scanned as f32) * record,
        };
        let usual = efforts.take(self.sample.far).map(bytes);
        usual.sum::<f32>() / self.sample.far.max(1) as f32
    }

    fn most_reranked(&self, limit: usize) -> usize {
        self.settings_within(limit).map(|(_, &(_, rerank))| rerank).max().unwrap_or(0)
    }

    /// Recall for each k and budget, of the rows that one query found.
    fn recalls(
        &self,
        codes: &FieldCodes,
        nearest: &Nearest,
        found: &[(f32, u32)],
        probe: &mut Probe,
    ) -> Recalls {
        self.score_again(codes, nearest, found, probe);
        let ranked = probe.ranked(found);
        KS.iter().flat_map(|&k| self.recalls_at(k, &ranked, nearest)).collect()
    }

    /// As [`Self::recalls`], for one k.
    fn recalls_at(&self, k: usize, ranked: &[Ranked], nearest: &Nearest) -> Recalls {
        if ranked.iter().all(|(_, shown, exact)| shown == exact) {
            return self.exact_recalls(ranked, k, nearest);
        }
        let share = |setting: &(usize, usize)| recall(ranked, *setting, nearest);
        self.settings.iter().filter(|setting| setting.0 == k).map(share).collect()
    }

    /// As [`recall`], for all budgets of one k when queries report exact scores: every candidate
    /// that scores at least the threshold is then a hit.
    fn exact_recalls(&self, ranked: &[Ranked], k: usize, nearest: &Nearest) -> Recalls {
        let wanted = k.min(nearest.scores.len());
        let threshold = nearest.threshold(k);
        let mut candidates = ranked.iter().peekable();
        let mut hits = 0;
        let share = |&(_, rerank): &(usize, usize)| {
            while let Some((_, _, exact)) = candidates.next_if(|&&(rank, ..)| rank < rerank) {
                hits += usize::from(*exact >= threshold);
            }
            if wanted == 0 { 1.0 } else { hits.min(wanted) as f32 / wanted as f32 }
        };
        self.settings.iter().filter(|setting| setting.0 == k).map(share).collect()
    }

    /// Scores the found rows that have no scores yet.
    fn score_again(
        &self,
        codes: &FieldCodes,
        nearest: &Nearest,
        found: &[(f32, u32)],
        probe: &mut Probe,
    ) {
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
            let exact = match &nearest.exact {
                Some(nearest) => nearest.get(&row).copied(),
                None if codes.has_secondary() && reader.field(self.field).has_raw() => {
                    exact_score(reader, self.field, row, scorer)
                }
                None => shown,
            };
            probe.scores.insert(row, (shown.unwrap_or(worst), exact.unwrap_or(worst)));
        }
    }
}

/// `count` of the probes, evenly spaced.
fn every(probes: &mut [Probe], count: usize) -> Vec<&mut Probe> {
    let total = probes.len();
    let count = count.min(total).max(1);
    let chosen = |index: &usize| (index + 1) * count / total > index * count / total;
    probes
        .iter_mut()
        .enumerate()
        .filter(|(index, _)| chosen(index))
        .map(|(_, probe)| probe)
        .collect()
}

/// The pairs of k and re-ranking budget to measure.
fn settings(codes: &FieldCodes) -> Vec<(usize, usize)> {
    let (eighths, most) = match codes.is_multi() {
        true => (&ENCODED_EIGHTHS[..], MOST_ENCODED),
        false => (&RERANK_EIGHTHS[..], MOST_RERANKED),
    };
    let budgets = |k: usize| {
        let budgets = eighths.iter().map(move |&eighths| (k * eighths).div_ceil(8));
        budgets.filter(move |&budget| budget <= most).map(move |budget| (k, budget))
    };
    KS.into_iter().flat_map(budgets).collect()
}

fn rerank_bytes(codes: &FieldCodes) -> f32 {
    match codes.secondary_row_bytes() {
        0 => (codes.codec().map_or(0, Codec::dimension) * size_of::<f32>()) as f32,
        bytes => bytes as f32,
    }
}

/// Recall at k: of the candidates with the first `rerank` distinct scores by codes, takes the k
/// best by reported score and counts those at least as good as the exact k-th neighbour.
fn recall(ranked: &[Ranked], (k, rerank): (usize, usize), nearest: &Nearest) -> f32 {
    let wanted = k.min(nearest.scores.len());
    if wanted == 0 {
        return 1.0;
    }
    let threshold = nearest.threshold(k);
    let end = ranked.partition_point(|&(rank, ..)| rank < rerank);
    let mut first: Vec<(Score, Score)> =
        ranked[..end].iter().map(|&(_, shown, exact)| (shown, exact)).collect();
    if wanted < first.len() {
        first.select_nth_unstable_by_key(wanted, |&(shown, _)| std::cmp::Reverse(shown));
    }
    let hits = first.iter().take(wanted).filter(|(_, exact)| *exact >= threshold).count();
    hits as f32 / wanted as f32
}
