//! Index searches: the candidates of each query in each view with an index.
//!
//! A search takes microseconds, less than the handover to another thread, so a single search stays
//! on its thread.

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::Deadline;
use super::plan::{Access, Plan};
use super::rescore::widen;
use super::top_k::{BestScores, Candidate, MOST_TIED, TopK};
use crate::error::Result;
use crate::field::{FieldCodes, FieldQuery, InvertedIndex, Probed};
use crate::index::inverted::least_of;
use crate::index::{Ask, Effort, Selection, with_scratch};
use crate::model::Score;
use crate::multivector::{Probes, Recaptures};
use crate::segment::{Location, Snapshot, View};

/// Rows scored by centroids between looks at the deadline.
const SCORED_ROWS: usize = 4096;

/// Result of searching one index.
pub struct Found {
    /// Index of the query in the group.
    pub plan: usize,
    /// Index of the view.
    pub view: usize,
    /// Scores by primary codes, or of an inverted index by vectors, and rows, best first.
    pub rows: Vec<(f32, u32)>,
    /// Work done.
    pub effort: Effort,
    /// Number of distinct scores to re-rank.
    pub budget: usize,
    /// Recall estimate; `None` if unknown.
    pub expected: Option<f32>,
    /// Bytes read of an inverted index.
    pub bytes: u64,
    /// Number of candidates that were put in order by their centroids.
    pub by_centroids: u64,
}

impl Found {
    /// Expected number of hits that no list by centroid named, by how often those found were.
    pub fn missed(&self, plan: &Plan<'_>, best: &[Candidate<'_>]) -> f64 {
        let Access::Lists { codes, query, probes, .. } = plan.views[self.view].access else {
            return 0.0;
        };
        let mut recaptures = Recaptures::default();
        let own = best.iter().map(|hit| hit.location).filter(|at| at.view as usize == self.view);
        own.for_each(|at| recaptures.note(codes.reached(query, probes, at.row)));
        recaptures.missed()
    }
}

/// Searches all indexes for all queries.
///
/// # Errors
/// As [`Deadline::check`].
pub fn search(
    snapshot: &Snapshot,
    field: usize,
    plans: &[&Plan<'_>],
    deadline: &Deadline,
) -> Result<Vec<Found>> {
    let jobs: Vec<(usize, usize)> = (0..plans.len())
        .flat_map(|plan| (0..snapshot.views.len()).map(move |view| (plan, view)))
        .filter(|&(plan, view)| plans[plan].views[view].access.is_index())
        .collect();
    let run = |&(plan, view): &(usize, usize)| -> Result<Found> {
        deadline.check()?;
        let found = match plans[plan].views[view].access {
            Access::Inverted(index) => {
                search_inverted(snapshot, (view, index), plans[plan], deadline)?
            }
            Access::Lists { codes, query, probes, .. } => {
                let of_view = (&snapshot.views[view], view, field);
                search_lists(of_view, plans[plan], (codes, query, probes), deadline)?
            }
            _ => search_view(&snapshot.views[view], view, field, plans[plan], deadline)?,
        };
        Ok(Found { plan, view, ..found })
    };
    if jobs.len() <= 1 {
        jobs.iter().map(run).collect()
    } else {
        jobs.par_iter().map(run).collect()
    }
}

fn search_view(
    view: &View,
    number: usize,
    field: usize,
    plan: &Plan<'_>,
    deadline: &Deadline,
) -> Result<Found> {
    let reader = &view.reader;
    let own = &plan.views[number];
    let mut found = Found {
        plan: 0,
        view: number,
        rows: Vec::new(),
        effort: Effort::default(),
        budget: own.access.budget(),
        expected: own.expected,
        bytes: 0,
        by_centroids: 0,
    };
    let Access::Index { codes, query, scan, index, depth, far } = own.access else {
        return Ok(found);
    };
    let filter = own.rows.filter();
    let (rows, live) = (u64::from(reader.rows()).max(1), view.live_rows());
    let matching = filter.map_or(rows, |filter| filter.cardinality.expected);
    let filter = filter.map(|filter| &filter.rows);
    let allowed = |row| filter.is_none_or(|filter| filter.matches(row));
    let selects = filter.is_some() || !view.deleted.is_empty();
    let Some(scores) = codes.scores(query) else {
        found.expected = Some(0.0);
        return Ok(found);
    };
    let ask = Ask {
        codes: scores,
        depth: plan.bound.scorer.depth(depth),
        selection: selects.then(|| Selection {
            accept: |row| !view.deleted.contains(row) && allowed(row),
            share: live as f64 / rows as f64 * matching as f64 / rows as f64,
            // Above that, scoring all matching rows would have been less work.
            most_scored: matching.min(live),
        }),
        hidden: None,
    };
    found.rows.reserve(depth.rerank);
    let search = |scratch: &mut _| index.search(&ask, scratch, &mut found.rows);
    let outcome = with_scratch(search);
    found.effort = outcome.effort;
    if !outcome.trusted {
        // Matching rows lie far from the query, or are rarer than expected: score the codes of all
        // of them.
        let matching = match filter {
            Some(filter) => filter.bitmap_while(&|| deadline.check())? - &*view.deleted,
            None => {
                let mut all = RoaringBitmap::new();
                all.insert_range(0..reader.rows());
                all - &*view.deleted
            }
        };
        let absent = reader.field(field).absent();
        let present = |row: &u32| !absent.is_some_and(|absent| absent.contains(*row));
        let matching: Vec<u32> = matching.iter().filter(present).collect();
        found.effort.scored += matching.len() as u64;
        found.budget = far.budget.min(matching.len().max(1));
        found.expected = far.expected;
        check_listed(view, field, scan, &matching)?;
        let score = |rows: &[u32], scores: &mut [f32]| codes.score_listed(scan, rows, scores);
        found.rows = best_distinct(score, &matching, found.budget);
    } else if scan.centroids().is_some() {
        let rows: Vec<u32> = found.rows.iter().map(|&(_, row)| row).collect();
        check_listed(view, field, scan, &rows)?;
        let mut scores = vec![0.0; rows.len()];
        codes.score_listed(scan, &rows, &mut scores);
        found.by_centroids = rows.len() as u64;
        found.rows = scores.into_iter().zip(rows).collect();
    }
    Ok(found)
}

/// Scores the rows that lists by centroid name by their centroids.
fn search_lists(
    (view, number, field): (&View, usize, usize),
    plan: &Plan<'_>,
    (codes, query, probes): (&FieldCodes, &FieldQuery, &Probes),
    deadline: &Deadline,
) -> Result<Found> {
    let own = &plan.views[number];
    let absent = view.reader.field(field).absent();
    let eligible = |row: &u32| {
        !view.deleted.contains(*row) && !absent.is_some_and(|absent| absent.contains(*row))
    };
    let Probed { mut rows, entries } = codes.probe(query, probes)?;
    if !view.deleted.is_empty() || absent.is_some() {
        rows.retain(eligible);
    }
    let mut scores = vec![0.0; rows.len()];
    for (rows, scores) in rows.chunks(SCORED_ROWS).zip(scores.chunks_mut(SCORED_ROWS)) {
        deadline.check()?;
        // Most blocks hold the list of one of the rows.
        if let (Some(&first), Some(&last)) = (rows.first(), rows.last()) {
            view.reader.field(field).check_scanned(first..last + 1, Some(query))?;
        }
        codes.score_listed(query, rows, scores);
    }
    Ok(Found {
        plan: 0,
        view: number,
        effort: Effort { scored: rows.len() as u64, ..Effort::default() },
        budget: own.access.budget(),
        expected: own.expected,
        bytes: entries * size_of::<u32>() as u64,
        by_centroids: rows.len() as u64,
        rows: scores.into_iter().zip(rows).collect(),
    })
}

/// Verifies the centroid lists of these rows, which scans verify range by range.
fn check_listed(view: &View, field: usize, scan: &FieldQuery, rows: &[u32]) -> Result<()> {
    if scan.centroids().is_none() {
        return Ok(());
    }
    let field = view.reader.field(field);
    rows.iter().try_for_each(|&row| field.check_scanned(row..row + 1, Some(scan)))
}

/// Scores the rows whose bounds reach the k-th best score, by their vectors.
fn search_inverted(
    snapshot: &Snapshot,
    (number, index): (usize, &InvertedIndex),
    plan: &Plan<'_>,
    deadline: &Deadline,
) -> Result<Found> {
    let (bound, view, own) = (plan.bound, &snapshot.views[number], &plan.views[number]);
    let field = view.reader.field(bound.field);
    let query = bound.scorer.entries().unwrap_or_default();
    let mut top = TopK::new(bound.hits(), snapshot);
    let mut best = BestScores::new(bound.hits());
    let mut least = bound.first_least();
    let mut scored = 0;
    let mut buffer = Vec::new();
    let threshold = least_of(least.0, query.len());
    let work = index.search(query, threshold, &|| deadline.check(), &mut |row, _| {
        if view.deleted.contains(row) || !own.rows.allows(row) {
            return Ok(least_of(least.0, query.len()));
        }
        field.check_rescored(&[row])?;
        let mut score = Score(f32::NEG_INFINITY);
        field.visit_rows(&[row], &mut |_, elements| {
            score = bound.scorer.score(widen(elements, &mut buffer));
        });
        scored += 1;
        if score >= least {
            top.offer(score, Location { view: number as u32, row });
            best.offer(score);
            least = best.worst().unwrap_or(least);
        }
        Ok(least_of(least.0, query.len()))
    })?;
    let rows = top.into_sorted().into_iter();
    Ok(Found {
        plan: 0,
        view: number,
        rows: rows.map(|found| (found.score.0, found.location.row)).collect(),
        effort: Effort { scored, ..Effort::default() },
        budget: 0,
        expected: own.expected,
        bytes: work.bytes,
        by_centroids: 0,
    })
}

/// The listed rows with the `count` best distinct scores by codes, best first.
pub(super) fn best_distinct(
    score: impl Fn(&[u32], &mut [f32]),
    rows: &[u32],
    count: usize,
) -> Vec<(f32, u32)> {
    let mut scores = vec![0.0; rows.len()];
    score(rows, &mut scores);
    let mut found: Vec<(f32, u32)> = scores.into_iter().zip(rows.iter().copied()).collect();
    let better = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    let mut kept = count;
    loop {
        if kept < found.len() {
            found.select_nth_unstable_by(kept, better);
        }
        let end = kept.min(found.len());
        found[..end].sort_unstable_by(better);
        let mut different = 0;
        let past = (0..end).position(|at| {
            different += usize::from(at == 0 || found[at].0 != found[at - 1].0);
            different > count
        });
        let end = match past {
            Some(past) => past,
            None if end == found.len() || end >= count + MOST_TIED => end,
            None => {
                // More rows may share the last score, or scores repeat: look at more.
                kept = (kept * 4).max(64);
                continue;
            }
        };
        found.truncate(end.min(count + MOST_TIED));
        return found;
    }
}
