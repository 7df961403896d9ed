//! Candidates from indexes: for each query and each view that has an index of its field.
//!
//! A search takes microseconds, less than handing it to another thread does, so that a single
//! query of a single index stays on its thread.

use rayon::prelude::*;

use super::Deadline;
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::index::{Ask, Depth, Effort, with_scratch};
use crate::segment::{Snapshot, View};

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
        let (rows, effort) = search_view(&snapshot.views[view], view, field, plans[plan]);
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
) -> (Vec<(f32, u32)>, Effort) {
    let reader = &view.reader;
    let (Some(query), Some(depth)) = (&plan.codes[number], plan.depths[number]) else {
        return Default::default();
    };
    let (Some(codes), Some(index)) = (reader.codes(field), reader.index(field)) else {
        return Default::default();
    };
    let rows = u64::from(reader.rows());
    let ask = Ask {
        codes: codes.scores(query),
        depth,
        accept: |row| !view.deleted.contains(row),
        share: view.live_rows() as f64 / rows.max(1) as f64,
        least: least(plan, depth, view),
        most_scored: rows,
        hidden: None,
    };
    let mut found = Vec::with_capacity(depth.rerank);
    let effort = with_scratch(|scratch| index.search(&ask, scratch, &mut found));
    (found, effort)
}

/// What has to be found at least, as far as there are so many rows.
fn least(plan: &Plan<'_>, depth: Depth, view: &View) -> usize {
    let enough = (plan.hits() + depth.rerank) / 2;
    enough.min(view.live_rows().try_into().unwrap_or(usize::MAX))
}
