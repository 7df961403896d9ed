//! A query's filter, prepared for the views of a snapshot.
//!
//! If few rows match, a scan gathers exactly those from the bitmap of the payload index. Otherwise
//! it scores all rows in order, which is faster per row, and checks the filter for rows that score
//! well enough to be hits (or before scoring, where scoring costs more than the check).

use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::Deadline;
use super::bound::Bound;
use super::plan::Rows;
use crate::error::Result;
use crate::field::FieldIndex;
use crate::model::{Condition, IndexKind};
use crate::segment::{Cardinality, RowFilter, Snapshot, View};

/// Matching rows are gathered if fewer than one in this many are expected to match: scattered rows
/// take longer to read and score than consecutive ones. Chosen, not measured; both ways return the
/// same hits.
const GATHER_SHARE: u64 = 8;

/// With an index, matching rows are gathered if fewer than the square root of all rows, times this,
/// are expected to match: scoring them all is then less work than a search whose window grows as
/// matches get rarer. (A search expands about 16 rows and scores 17 for each; with a share s of n
/// rows it expands 16/s, so the two are equal at s·n = 16·17/s.)
const GATHER_ROOT: f64 = 16.5;

/// A filter prepared for the rows of one view.
pub struct ViewFilter<'s> {
    /// The filter; it ignores deletions.
    pub rows: RowFilter<'s>,
    /// Estimated number of matching rows.
    pub cardinality: Cardinality,
    /// The live matching rows, if they are few enough to score only these.
    pub gathered: Option<RoaringBitmap>,
}

/// A filter prepared for all views of a snapshot.
pub struct SnapshotFilter<'s> {
    /// One for each view.
    pub views: Vec<ViewFilter<'s>>,
    /// Preparation time in microseconds.
    pub micros: u64,
}

impl<'s> SnapshotFilter<'s> {
    fn new(
        snapshot: &'s Snapshot,
        condition: &Condition,
        field: usize,
        deadline: &Deadline,
    ) -> Result<Self> {
        let started = Instant::now();
        let new = |view| ViewFilter::new(view, condition, field, deadline);
        let views = snapshot.views.iter().map(new);
        let views = views.collect::<Result<_>>()?;
        let micros = started.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
        Ok(Self { views, micros })
    }

    /// Whether the filter reads payloads.
    pub fn reads_payloads(&self) -> bool {
        self.views.iter().any(|view| view.rows.payloads_read().is_some())
    }
}

impl<'s> ViewFilter<'s> {
    fn new(
        view: &'s View,
        condition: &Condition,
        field: usize,
        deadline: &Deadline,
    ) -> Result<Self> {
        let rows = view.reader.filter(condition)?;
        let cardinality = rows.cardinality();
        let all = u64::from(view.reader.rows());
        let searched = |index: &&FieldIndex| index.report().kind != IndexKind::Flat;
        let few = match view.reader.field(field).index().filter(searched) {
            Some(_) => cardinality.expected as f64 <= GATHER_ROOT * (all as f64).sqrt(),
            None => cardinality.expected * GATHER_SHARE <= all,
        };
        let gathered = match few {
            true => Some(rows.bitmap_while(&|| deadline.check())? - &*view.deleted),
            false => None,
        };
        Ok(Self { rows, cardinality, gathered })
    }
}

/// The consecutive runs of rows that a scan scores within a range.
pub fn runs(selected: Rows<'_>, rows: Range<u32>) -> Vec<Range<u32>> {
    let Rows::Gathered(_, gathered) = selected else { return vec![rows] };
    let mut runs: Vec<Range<u32>> = Vec::new();
    for row in gathered.range(rows) {
        match runs.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

/// The filters of several queries.
pub struct Filters<'s> {
    filters: Vec<SnapshotFilter<'s>>,
    /// For each query, the index of its filter.
    numbers: Vec<Option<usize>>,
}

impl<'s> Filters<'s> {
    /// The filter of a query, if it has one.
    pub fn of(&self, query: usize) -> Option<&SnapshotFilter<'s>> {
        self.numbers[query].map(|number| &self.filters[number])
    }

    /// [`RowFilter::check`] for all filters; to be called after the queries ran.
    ///
    /// # Errors
    /// As [`RowFilter::check`].
    pub fn check(&self) -> Result<()> {
        let mut views = self.filters.iter().flat_map(|filter| &filter.views);
        views.try_for_each(|view| view.rows.check())
    }
}

/// Prepares the filters of queries for a snapshot. Equal filters on the same field are prepared
/// once.
///
/// # Errors
/// If a sealed file turns out damaged, and as [`Deadline::check`].
pub fn prepare<'s>(
    snapshot: &'s Snapshot,
    bound: &[Bound<'_>],
    deadline: &Deadline,
    pool: &ThreadPool,
) -> Result<Filters<'s>> {
    let mut known: HashMap<(&Condition, usize), usize> = HashMap::new();
    let mut conditions = Vec::new();
    let mut numbers = Vec::with_capacity(bound.len());
    for query in bound {
        numbers.push(query.condition.as_ref().map(|condition| {
            *known.entry((condition, query.field)).or_insert_with(|| {
                conditions.push((condition, query.field));
                conditions.len() - 1
            })
        }));
    }
    let prepare = |&(condition, field): &(&Condition, usize)| {
        SnapshotFilter::new(snapshot, condition, field, deadline)
    };
    // A single filter is cheaper to prepare here than on another thread, unless it reads payloads.
    let filters = match conditions.as_slice() {
        [] => Vec::new(),
        [one] if !snapshot.reads_payloads(one.0) => vec![prepare(one)?],
        some => pool.install(|| some.par_iter().map(prepare).collect::<Result<_>>())?,
    };
    Ok(Filters { filters, numbers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_the_gathered_rows_of_the_range() {
        assert_eq!(runs(Rows::All, 3..9), std::slice::from_ref(&(3..9)));
        let filter = RowFilter::of_rows(20, RoaringBitmap::from([1, 4, 5, 6, 8, 9, 12]));
        let gathered = filter.bitmap().unwrap();
        let cardinality = filter.cardinality();
        let filter = ViewFilter { rows: filter, cardinality, gathered: None };
        assert_eq!(runs(Rows::Gathered(&filter, &gathered), 5..12), [5..7, 8..10]);
        assert_eq!(runs(Rows::Gathered(&filter, &gathered), 13..20), []);
        assert_eq!(runs(Rows::Checked(&filter), 5..12), std::slice::from_ref(&(5..12)));
    }
}
