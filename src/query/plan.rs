//! How a bound request is answered: for each view of the snapshot, which rows may be hits and how these
//! are found. A plan is complete, or it does not exist.

use roaring::RoaringBitmap;

use super::bound::Bound;
use super::view_filter::{SnapshotFilter, ViewFilter};
use super::view_plan::{self, Site};
use crate::field::{FieldCodes, FieldIndex, FieldQuery};
use crate::index::Depth;
use crate::model::Score;
use crate::quantization::PrimaryQuery;
use crate::segment::Snapshot;

/// A query that is ready to be answered.
pub struct Plan<'p> {
    pub bound: &'p Bound<'p>,
    /// One for each view.
    pub views: Vec<ViewPlan<'p>>,
    /// The request's filter, for its part of an explanation.
    pub filter: Option<&'p SnapshotFilter<'p>>,
}

/// How the rows of one view are searched.
#[derive(Clone, Copy)]
pub struct ViewPlan<'p> {
    pub rows: Rows<'p>,
    pub access: Access<'p>,
    /// The share of the best rows by what is best of them here that is expected to be found; `None`
    /// if not known.
    pub expected: Option<f32>,
    /// If the worst hit turns out to be less near than this, the expectation does not hold; see
    /// [`view_plan::widen`].
    pub outside_below: Option<f32>,
}

/// Which rows of a view may be hits, beside that these are live and have the field.
#[derive(Clone, Copy)]
pub enum Rows<'p> {
    All,
    /// Few match, and these alone are scored.
    Gathered(&'p ViewFilter<'p>, &'p RoaringBitmap),
    /// Rows are checked when they are good enough.
    Checked(&'p ViewFilter<'p>),
}

/// How rows are found.
#[derive(Clone, Copy)]
pub enum Access<'p> {
    /// All vectors are scored.
    Exact,
    /// All codes are scored, and the rows of the `budget` best different scores again.
    Codes { codes: &'p FieldCodes, query: &'p FieldQuery, budget: usize },
    /// The index is searched, so far.
    Index {
        codes: &'p FieldCodes,
        query: &'p PrimaryQuery,
        index: &'p FieldIndex,
        depth: Depth,
        far: Far,
    },
}

/// What is done if it turns out that what may be found lies far from the query, so that the codes of all of
/// it are scored.
#[derive(Debug, Clone, Copy)]
pub struct Far {
    /// How many different scores are re-ranked.
    pub budget: usize,
    /// See [`ViewPlan::expected`].
    pub expected: Option<f32>,
}

impl<'p> Rows<'p> {
    fn new(filter: Option<&'p ViewFilter<'p>>) -> Self {
        let Some(filter) = filter else { return Self::All };
        match &filter.gathered {
            Some(rows) => Self::Gathered(filter, rows),
            None => Self::Checked(filter),
        }
    }

    /// The filter, if there is one.
    pub fn filter(self) -> Option<&'p ViewFilter<'p>> {
        match self {
            Self::All => None,
            Self::Gathered(filter, _) | Self::Checked(filter) => Some(filter),
        }
    }

    /// Whether a row that a scan comes to may be a hit.
    #[inline]
    pub fn allows(self, row: u32) -> bool {
        match self {
            Self::All | Self::Gathered(..) => true,
            Self::Checked(filter) => filter.rows.matches(row),
        }
    }

    /// Rows that a scan scores, of so many.
    pub fn scored(self, rows: u32) -> u64 {
        match self {
            Self::All | Self::Checked(_) => rows.into(),
            Self::Gathered(_, gathered) => gathered.len(),
        }
    }
}

impl<'p> Access<'p> {
    /// The codes that are scored, if it is these.
    pub fn codes(&self) -> Option<&'p FieldCodes> {
        match *self {
            Self::Exact => None,
            Self::Codes { codes, .. } | Self::Index { codes, .. } => Some(codes),
        }
    }

    /// Whether the index is searched, not all rows.
    pub fn is_index(&self) -> bool {
        matches!(self, Self::Index { .. })
    }

    /// How many different scores by codes are re-ranked.
    pub fn budget(&self) -> usize {
        match *self {
            Self::Exact => 0,
            Self::Codes { budget, .. } => budget,
            Self::Index { depth, .. } => depth.rerank,
        }
    }

    /// How far it looks.
    pub fn reach(&self) -> Depth {
        match *self {
            Self::Exact => Depth { window: Depth::SCAN, rerank: usize::MAX },
            Self::Codes { budget, .. } => Depth { window: Depth::SCAN, rerank: budget },
            Self::Index { depth, .. } => depth,
        }
    }

    /// Whether this looks further than another does.
    pub fn goes_beyond(&self, other: &Self) -> bool {
        let (a, b) = (self.reach(), other.reach());
        a.window > b.window || a.rerank > b.rerank
    }
}

impl<'p> Plan<'p> {
    /// Decides how each view is searched.
    pub fn new(
        snapshot: &'p Snapshot,
        bound: &'p Bound<'p>,
        filter: Option<&'p SnapshotFilter<'p>>,
    ) -> Self {
        let rows = |number| Rows::new(filter.map(|filter| &filter.views[number]));
        let views = snapshot.views.iter().enumerate();
        let plan =
            |(number, view)| view_plan::choose(&Site { bound, number, view, rows: rows(number) });
        Self { bound, views: views.map(plan).collect(), filter }
    }

    /// The plan for a view and where it holds.
    fn sites(&self, snapshot: &'p Snapshot) -> impl Iterator<Item = (Site<'p>, &ViewPlan<'p>)> {
        let bound = self.bound;
        let views = snapshot.views.iter().zip(&self.views).enumerate();
        views.map(move |(number, (view, plan))| {
            (Site { bound, number, view, rows: plan.rows }, plan)
        })
    }

    /// How the query has to be searched, and what is expected of that, if its worst hit is farther away
    /// than those of most queries that were measured: their mean says little about it then. `None` if it
    /// is not, or was searched so already.
    pub fn wider(&self, snapshot: &'p Snapshot, worst: Score) -> Option<Self> {
        let nearness = self.bound.scorer.nearness(worst);
        let is_outside =
            |plan: &ViewPlan<'_>| plan.outside_below.is_some_and(|below| nearness < below);
        for (site, plan) in self.sites(snapshot).filter(|(_, plan)| plan.outside_below.is_some()) {
            view_plan::note(&site, is_outside(plan).then_some(nearness));
        }
        let wider = |(site, plan): (Site<'p>, &ViewPlan<'p>)| match is_outside(plan) {
            true => view_plan::widen(&site, plan, nearness),
            false => *plan,
        };
        self.views.iter().any(is_outside).then(|| Self {
            bound: self.bound,
            views: self.sites(snapshot).map(wider).collect(),
            filter: self.filter,
        })
    }

    /// Whether some view is searched further than by another plan.
    pub fn goes_beyond(&self, other: &Self) -> bool {
        let mut pairs = self.views.iter().zip(&other.views);
        pairs.any(|(own, other)| own.access.goes_beyond(&other.access))
    }

    /// Whether no codes are scored, so that the scores of the scan are those of the hits.
    pub fn is_exact(&self) -> bool {
        self.views.iter().all(|view| view.access.codes().is_none())
    }

    /// The pool that candidates of a view are collected in: one of its own for scores of codes, since
    /// what is re-ranked was measured for its rows alone, and 0 for scores of vectors.
    pub fn pool(&self, view: usize) -> usize {
        if self.views[view].access.codes().is_some() { view + 1 } else { 0 }
    }

    /// Candidates that each pool keeps: the hits, or more where some are re-ranked.
    pub fn pool_limits(&self) -> Vec<usize> {
        let pools = (0..self.views.len()).map(|view| self.pool(view)).max().unwrap_or(0) + 1;
        let mut limits = vec![self.bound.hits(); pools];
        for (number, view) in self.views.iter().enumerate() {
            let limit = &mut limits[self.pool(number)];
            *limit = (*limit).max(view.access.budget());
        }
        limits
    }
}
