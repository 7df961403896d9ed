//! Candidates from indexes: for each query and each view that has an index of its field.
//!
//! A search takes microseconds, less than handing it to another thread does, so that a single
//! query of a single index stays on its thread.

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::Deadline;
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::index::{Ask, Effort, Scores, with_scratch};
use crate::quantization::PrimaryQuery;
use crate::segment::{FieldCodes, Snapshot, View};

/// What a search of one index found.
pub struct Found {
    /// Index of the query among those asked.
    pub plan: usize,
    /// Index of the view.
    pub view: usize,
    /// Scores by primary codes, and rows; best first.
    pub rows: Vec<(f32, u32)>,
    /// What it cost.
    pub effort: Effort,
}

/// Searches all indexes for all queries.
///
/// # Errors
/// [`Error::DeadlineExceeded`].
pub fn search(
    snapshot: &Snapshot,
    field: usize,
    plans: &[&Plan<'_>],
    deadline: Deadline,
) -> Result<Vec<Found>> {
    let jobs: Vec<(usize, usize)> = (0..plans.len())
        .flat_map(|plan| (0..snapshot.views.len()).map(move |view| (plan, view)))
        .filter(|&(plan, view)| plans[plan].depths[view].is_some())
        .collect();
    let run = |&(plan, view): &(usize, usize)| -> Result<Found> {
        if deadline.passed() {
            return Err(Error::DeadlineExceeded);
        }
        let (rows, effort) = search_view(&snapshot.views[view], view, field, plans[plan])?;
        Ok(Found { plan, view, rows, effort })
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
) -> Result<(Vec<(f32, u32)>, Effort)> {
    let reader = &view.reader;
    let (Some(query), Some(depth)) = (&plan.codes[number], plan.depths[number]) else {
        return Ok(Default::default());
    };
    let (Some(codes), Some(index)) = (reader.codes(field), reader.index(field)) else {
        return Ok(Default::default());
    };
    let filter = plan.view_filter(number).map(|filter| &filter.rows);
    let (rows, live) = (u64::from(reader.rows()).max(1), view.live_rows());
    let matching = plan.view_filter(number).map_or(rows, |filter| filter.cardinality.expected);
    // Half of the candidates are enough to re-rank, as far as there are so many.
    let enough = (plan.hits() + depth.rerank) / 2;
    let allowed = |row| filter.is_none_or(|filter| filter.matches(row));
    let ask = Ask {
        codes: codes.scores(query),
        depth,
        accept: |row| !view.deleted.contains(row) && allowed(row),
        share: live as f64 / rows as f64 * matching as f64 / rows as f64,
        least: enough.min(live.try_into().unwrap_or(usize::MAX)),
        // Scoring all that match would have been less work.
        most_scored: matching,
        hidden: None,
    };
    let mut found = Vec::with_capacity(depth.rerank);
    let mut effort = with_scratch(|scratch| index.search(&ask, scratch, &mut found));
    if let Some(filter) = filter
        && found.len() < enough
    {
        // What matches lies far from the query, or is rarer than was expected.
        let matching = filter.bitmap()? - &*view.deleted;
        if matching.len() > found.len() as u64 {
            effort.scored += matching.len();
            found = best_of(codes, query, reader.absent(field), &matching, depth.rerank);
        }
    }
    Ok((found, effort))
}

/// The best rows of a set by their codes, best first.
pub(super) fn best_of(
    codes: &FieldCodes,
    query: &PrimaryQuery,
    absent: Option<&RoaringBitmap>,
    rows: &RoaringBitmap,
    count: usize,
) -> Vec<(f32, u32)> {
    let present = |row: &u32| !absent.is_some_and(|absent| absent.contains(*row));
    let rows: Vec<u32> = rows.iter().filter(present).collect();
    let mut scores = vec![0.0; rows.len()];
    codes.scores(query).score(&rows, &mut scores);
    let mut found: Vec<(f32, u32)> = scores.into_iter().zip(rows).collect();
    let better = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if count < found.len() {
        found.select_nth_unstable_by(count, better);
        found.truncate(count);
    }
    found.sort_unstable_by(better);
    found
}
