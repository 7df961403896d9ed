//! Plans: for each view of the snapshot, the eligible rows and the way to find the best of them. A
//! plan is complete, or it does not exist.

use roaring::RoaringBitmap;

use super::bound::Bound;
use super::view_filter::{SnapshotFilter, ViewFilter};
use super::view_plan::{self, Site};
use crate::field::{FieldCodes, FieldIndex, FieldQuery, InvertedIndex};
use crate::index::Depth;
use crate::model::Score;
use crate::multivector::Probes;
use crate::quantization::PrimaryQuery;
use crate::segment::Snapshot;

/// An executable query.
pub struct Plan<'p> {
    pub bound: &'p Bound<'p>,
    /// The plan of each view.
    pub views: Vec<ViewPlan<'p>>,
    /// The request's filter, for the explanation.
    pub filter: Option<&'p SnapshotFilter<'p>>,
}

/// The plan of one view.
#[derive(Clone, Copy)]
pub struct ViewPlan<'p> {
    pub rows: Rows<'p>,
    pub access: Access<'p>,
    /// Expected recall against the best ranking available in the view (its secondary codes or
    /// vectors); `None` if not known.
    pub expected: Option<f32>,
    /// Share of the hits that may be missed by re-ranking only some of the candidates; `None` to
    /// re-rank all of them. Of the recall estimate, what is expected to be missed is subtracted.
    pub tolerated: Option<f32>,
    /// If the worst hit is less near than this, the recall estimate does not hold; see
    /// [`view_plan::widen`].
    pub outside_below: Option<f32>,
}

/// Rows of a view that may be hits, provided they are live and have the field.
#[derive(Clone, Copy)]
pub enum Rows<'p> {
    All,
    /// Few rows match; only these are scored.
    Gathered(&'p ViewFilter<'p>, &'p RoaringBitmap),
    /// Rows are checked once their score is good enough.
    Checked(&'p ViewFilter<'p>),
}

/// Access path to the rows.
#[derive(Clone, Copy)]
pub enum Access<'p> {
    /// Scores all vectors.
    Exact,
    /// Scores all codes and re-ranks the rows with the `budget` best distinct scores.
    Codes { codes: &'p FieldCodes, query: &'p FieldQuery, budget: usize },
    /// Searches the index to `depth`.
    Index {
        codes: &'p FieldCodes,
        query: &'p PrimaryQuery,
        /// As scans of all rows score them.
        scan: &'p FieldQuery,
        index: &'p FieldIndex,
        depth: Depth,
        far: Far,
    },
    /// Scores the rows that lists by token centroid name, by centroids, and re-ranks them.
    Lists { codes: &'p FieldCodes, query: &'p FieldQuery, probes: &'p Probes, budget: usize },
    /// Searches an inverted index for the exact best.
    Inverted(&'p InvertedIndex),
}

/// Fallback of a filtered index search if the matching rows turn out to lie far from the query: the
/// codes of all matching rows are scored.
#[derive(Debug, Clone, Copy)]
pub struct Far {
    /// Number of distinct scores to re-rank.
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

    /// Whether a row reached by a scan may be a hit.
    #[inline]
    pub fn allows(self, row: u32) -> bool {
        match self {
            Self::All | Self::Gathered(..) => true,
            Self::Checked(filter) => filter.rows.matches(row),
        }
    }

    /// Number of rows that a scan of a view with `rows` rows scores.
    pub fn scored(self, rows: u32) -> u64 {
        match self {
            Self::All | Self::Checked(_) => rows.into(),
            Self::Gathered(_, gathered) => gathered.len(),
        }
    }
}

impl<'p> Access<'p> {
    /// The codes to score, if any.
    pub fn codes(&self) -> Option<&'p FieldCodes> {
        match *self {
            Self::Exact | Self::Inverted(_) => None,
            Self::Codes { codes, .. } | Self::Index { codes, .. } | Self::Lists { codes, .. } => {
                Some(codes)
            }
        }
    }

    /// The query as scans score it, if codes are scored.
    pub fn scan(&self) -> Option<&'p FieldQuery> {
        match *self {
            Self::Exact | Self::Inverted(_) => None,
            Self::Codes { query, .. } | Self::Lists { query, .. } => Some(query),
            Self::Index { scan, .. } => Some(scan),
        }
    }

    /// Whether an index is searched, rather than all rows scanned.
    pub fn is_index(&self) -> bool {
        matches!(self, Self::Index { .. } | Self::Lists { .. } | Self::Inverted(_))
    }

    /// Number of distinct scores by codes to re-rank.
    pub fn budget(&self) -> usize {
        match *self {
            Self::Exact | Self::Inverted(_) => 0,
            Self::Codes { budget, .. } | Self::Lists { budget, .. } => budget,
            Self::Index { depth, .. } => depth.rerank,
        }
    }

    /// How far rows are searched and re-ranked.
    pub fn reach(&self) -> Depth {
        match *self {
            Self::Exact | Self::Inverted(_) => Depth::scan(usize::MAX),
            Self::Codes { budget, .. } | Self::Lists { budget, .. } => Depth::scan(budget),
            Self::Index { depth, .. } => depth,
        }
    }

    /// Whether it may find what another access does not.
    pub fn goes_beyond(&self, other: &Self) -> bool {
        !other.reach().covers(&self.reach())
    }
}

impl<'p> Plan<'p> {
    /// Plans each view.
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

    /// Each view's plan with its site.
    fn sites(&self, snapshot: &'p Snapshot) -> impl Iterator<Item = (Site<'p>, &ViewPlan<'p>)> {
        let bound = self.bound;
        let views = snapshot.views.iter().zip(&self.views).enumerate();
        views.map(move |(number, (view, plan))| {
            (Site { bound, number, view, rows: plan.rows }, plan)
        })
    }

    /// The plan for a second, wider search, if the worst hit is farther away than those of most
    /// calibration queries: their mean recall says little about such a query. `None` if the hits
    /// are near enough, or the search was wide already.
    pub fn wider(&self, snapshot: &'p Snapshot, worst: Score) -> Option<Self> {
        let nearness = self.bound.scorer.nearness(worst);
        let is_outside =
            |plan: &ViewPlan<'_>| plan.outside_below.is_some_and(|below| nearness < below);
        for (site, plan) in self.sites(snapshot).filter(|(_, plan)| plan.outside_below.is_some()) {
            view_plan::note(&site, is_outside(plan).then_some(nearness));
        }
        let widen = |site: &Site<'p>, plan: &ViewPlan<'p>| {
            is_outside(plan).then(|| view_plan::widen(site, plan, nearness))
        };
        self.replanned(snapshot, widen)
    }

    /// The plan with some views planned anew; `None` if none is.
    fn replanned(
        &self,
        snapshot: &'p Snapshot,
        replan: impl Fn(&Site<'p>, &ViewPlan<'p>) -> Option<ViewPlan<'p>>,
    ) -> Option<Self> {
        let mut is_new = false;
        let replan = |(site, plan): (Site<'p>, &ViewPlan<'p>)| {
            let new = replan(&site, plan);
            is_new |= new.is_some();
            new.unwrap_or(*plan)
        };
        let views = self.sites(snapshot).map(replan).collect();
        is_new.then_some(Self { bound: self.bound, views, filter: self.filter })
    }

    /// The plan that scans views instead of looking at lists; `None` if `misses` says of no view that
    /// too many hits are missed.
    pub fn without_lists(
        &self,
        snapshot: &'p Snapshot,
        misses: impl Fn(usize, &ViewPlan<'p>) -> bool,
    ) -> Option<Self> {
        let scan = |site: &Site<'p>, plan: &ViewPlan<'p>| {
            misses(site.number, plan).then(|| view_plan::scan(site))
        };
        self.replanned(snapshot, scan)
    }

    /// Whether some view is searched further than in another plan.
    pub fn goes_beyond(&self, other: &Self) -> bool {
        let mut pairs = self.views.iter().zip(&other.views);
        pairs.any(|(own, other)| own.access.goes_beyond(&other.access))
    }

    /// Whether no codes are scored, so that the scores of the scan are final.
    pub fn is_exact(&self) -> bool {
        self.views.iter().all(|view| view.access.codes().is_none())
    }

    /// The pool that collects the candidates of a view: pool 0 for scores of vectors, and one per
    /// view for scores by codes, since re-ranking budgets were calibrated per view.
    pub fn pool(&self, view: usize) -> usize {
        if self.views[view].access.codes().is_some() { view + 1 } else { 0 }
    }

    /// Capacity of each pool: the number of hits, or the largest re-ranking budget.
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
