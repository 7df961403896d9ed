//! Plans one view for one query: access by vectors, by a scan of codes, or by an index, with its
//! depth and recall estimate.
//!
//! Calibration decides. A target above every calibrated recall is met by scoring all vectors.
//! Before calibration, the re-ranking budget follows from the training of the codec, or else all
//! vectors are scored; the recall estimate is then unknown.

use super::bound::Bound;
use super::plan::{Access, Far, Rows, ViewPlan};
use crate::field::{FieldCodes, FieldIndex, FieldQuery};
use crate::index::{Calibration, Choice, DEFAULT_TARGET_RECALL, Depth, Farness, Zone};
use crate::model::{IndexKind, limits};
use crate::multivector::CentroidQuery;
use crate::segment::View;

/// Default re-ranking budget without calibration: a multiple of the hits, and a minimum.
const RERANK: (usize, usize) = (4, 50);
/// The same for candidates found by MUVERA encodings, whose scores are rougher.
const ENCODED_RERANK: (usize, usize) = (20, 500);
/// Hits and re-ranking budget measured in training, among the rows of the training sample.
const TRAINED_RERANK: (usize, usize) = (10, 50);
/// Maximum budgets derived from training: by default, and for an explicit target.
const MOST_UNMEASURED: (usize, usize) = (1_000, 10_000);
/// Extra candidates that a scan re-ranks: one for this many hits, and at least this many. They cost
/// little, and queries may be unlike the rows they were calibrated with.
const SPARE: (usize, usize) = (4, 16);
/// Most rows that a scan of centroids keeps as candidates.
pub(super) const MOST_CANDIDATES: usize = 65_536;
/// Minimum re-ranking budget of an index search.
const LEAST_RERANK: usize = 10;
/// Factor of the re-ranking budget when the matching rows lie far from the query and no scan was
/// calibrated.
const FAR_FACTOR: usize = 4;

/// Recall below the target that is acceptable for a query outside the sample: the few such queries
/// measured cannot prove more, and the alternative is scoring all vectors. The nearest zone gets
/// more slack: it holds most of these queries, they hardly differ from the usual ones, and few are
/// measured in it.
const OUTSIDE_SLACK: f32 = 0.01;
const NEAREST_ZONE_SLACK: f32 = 0.03;
/// Without an explicit target, a recall this close to the default is accepted; below it, vectors
/// are scored.
const NEAR_DEFAULT: f32 = 0.965;
/// Cap of a recall estimate above the target.
const MARGIN: f32 = 0.02;

/// A view of the snapshot with the query to plan.
#[derive(Clone, Copy)]
pub struct Site<'p> {
    pub bound: &'p Bound<'p>,
    /// Position of the view in the snapshot.
    pub number: usize,
    pub view: &'p View,
    pub rows: Rows<'p>,
}

impl<'p> Site<'p> {
    /// Scores all vectors, or those that an inverted index finds. Of gathered rows there are few.
    fn by_vectors(&self) -> ViewPlan<'p> {
        let bound = self.bound;
        let inverted = self.view.reader.field(bound.field).inverted();
        let gathered = matches!(self.rows, Rows::Gathered(..));
        match inverted.filter(|_| !gathered && !bound.request.params.exact) {
            Some(index) => ViewPlan { access: Access::Inverted(index), ..self.exact() },
            None => self.exact(),
        }
    }

    /// Scores all vectors.
    fn exact(&self) -> ViewPlan<'p> {
        ViewPlan {
            rows: self.rows,
            access: Access::Exact,
            expected: Some(1.0),
            tolerated: None,
            outside_below: None,
        }
    }
}

/// Plans a view.
pub fn choose<'p>(site: &Site<'p>) -> ViewPlan<'p> {
    let Some(case) = Case::of(site) else { return site.by_vectors() };
    let params = &site.bound.request.params;
    let plan = match site.bound.is_by_hand() {
        true => Some(case.by_hand(params.search_window, params.rerank)),
        false => case.calibrated(),
    };
    let outside_below = case.outside_below();
    plan.map_or_else(
        || case.all(),
        |plan| match plan.access {
            // Each query knows how much it misses.
            Access::Codes { .. } | Access::Lists { .. } if plan.tolerated.is_some() => plan,
            _ => ViewPlan { outside_below, ..plan },
        },
    )
}

/// Plans a view that is scanned after all.
pub fn scan<'p>(site: &Site<'p>) -> ViewPlan<'p> {
    Case::of(site).map_or_else(|| site.exact(), |case| case.all())
}

/// Records the farness of a query in the index's recent history, unless it is a later page or sets
/// its depth by hand: all pages of one ranking are searched alike, and a depth set by hand may find
/// distant rows. `nearness` is `None` for a query within the calibrated range.
pub fn note(site: &Site<'_>, nearness: Option<f32>) {
    if site.bound.request.offset > 0 || site.bound.is_by_hand() {
        return;
    }
    let Some(index) = site.view.reader.field(site.bound.field).index() else { return };
    let farness = |nearness| Some(Case::of(site)?.farness(index, nearness));
    index.lately().note(nearness.and_then(farness).unwrap_or(Farness::Usual));
}

/// Replans a view whose nearest rows turned out farther away than those of most calibration
/// queries: with the depth measured for queries as far away, or by scoring all vectors. A depth set
/// by hand is kept.
pub fn widen<'p>(site: &Site<'p>, plan: &ViewPlan<'p>, nearness: f32) -> ViewPlan<'p> {
    let case = Case::of(site);
    if site.bound.is_by_hand() {
        let like = |case: Case<'_>| case.like_zone(nearness, &plan.access);
        let expected = plan.expected.and(case.and_then(like));
        return ViewPlan { expected, outside_below: None, ..*plan };
    }
    let Some(case) = case else { return site.exact() };
    case.outside(nearness, plan).unwrap_or_else(|| case.all())
}

/// Chooses with half the tolerated miss rate, or else with the target itself: for cases with more
/// variation than the sample shows (filters, encodings, queries far from the rows), or where more
/// candidates cost little next to a scan.
fn safely(target: f32, choose: impl Fn(f32) -> Option<Choice>) -> Option<Choice> {
    let safe = choose(1.0 - (1.0 - target) / 2.0);
    if safe.is_some_and(|choice| choice.reached) { safe } else { choose(target) }
}

/// Inputs of the choice, where there are codes.
struct Case<'p> {
    site: Site<'p>,
    codes: &'p FieldCodes,
    query: &'p FieldQuery,
    index: Option<&'p FieldIndex>,
    rows: u64,
    hits: usize,
    target: Option<f32>,
    /// Whether rows may be missing in correlation with the query: by a filter or deletions.
    selects: bool,
    /// Share of the rows that are eligible.
    share: f64,
}

impl<'p> Case<'p> {
    /// `None` if vectors are scored.
    fn of(site: &Site<'p>) -> Option<Self> {
        let Site { bound, number, view, rows: selected } = *site;
        let reader = &*view.reader;
        let query = bound.code_queries[number].as_ref()?;
        let codes = reader.field(bound.field).codes()?;
        let filter = selected.filter();
        let rows = u64::from(reader.rows());
        let matching = filter.map_or(rows, |filter| filter.cardinality.expected);
        Some(Self {
            site: *site,
            codes,
            query,
            index: reader.field(bound.field).index(),
            rows,
            hits: bound.hits(),
            target: bound.request.params.target_recall,
            selects: filter.is_some() || !view.deleted.is_empty(),
            share: matching.max(1) as f64 / rows.max(1) as f64 * view.live_rows().max(1) as f64
                / rows.max(1) as f64,
        })
    }

    fn is_gathered(&self) -> bool {
        matches!(self.site.rows, Rows::Gathered(..))
    }

    fn is_filtered(&self) -> bool {
        self.site.rows.filter().is_some()
    }

    /// Whether no index is searched.
    fn is_scanned(&self) -> bool {
        let is_flat = |index: &FieldIndex| index.report().kind == IndexKind::Flat;
        self.is_gathered() || self.index.is_none_or(is_flat)
    }

    fn plan(&self, access: Access<'p>, expected: Option<f32>) -> ViewPlan<'p> {
        // The search of the index may miss the other half.
        let tolerated = self.tolerated().filter(|_| access.is_index()).map(|share| share / 2.0);
        ViewPlan { rows: self.site.rows, access, expected, tolerated, outside_below: None }
    }

    /// Share of the hits that may be missed; `None` if the number of candidates to re-rank is given or
    /// calibrated.
    fn tolerated(&self) -> Option<f32> {
        let stops = self.query.centroids().is_some() && !self.site.bound.is_by_hand();
        stops.then(|| 1.0 - self.target.unwrap_or(DEFAULT_TARGET_RECALL))
    }

    /// Scores all rows: by centroids where there are any, and then as many by codes and by vectors
    /// as the target requires; otherwise all by vectors.
    fn all(&self) -> ViewPlan<'p> {
        let tolerated = self.tolerated();
        if tolerated.is_none() {
            return self.site.exact();
        }
        ViewPlan { tolerated, ..self.plan(self.scan(self.most_candidates()), Some(1.0)) }
    }

    /// Scores all codes.
    fn scan(&self, budget: usize) -> Access<'p> {
        Access::Codes { codes: self.codes, query: self.query, budget }
    }

    /// Access to `depth`. `far` is the fallback of an index search among only some of the rows.
    fn access(&self, depth: Depth, far: Far) -> Access<'p> {
        let codes = self.codes;
        match self.index.zip(self.query.primary()).filter(|_| !depth.is_scan()) {
            Some((index, query)) => {
                Access::Index { codes, query, scan: self.query, index, depth, far }
            }
            None => self.scan(depth.rerank),
        }
    }

    /// The nearness of the worst hit below which a query is outside the calibrated range. With
    /// fewer eligible rows, the same number of hits reaches farther.
    fn outside_below(&self) -> Option<f32> {
        // A filter may leave rows anywhere; that case is covered by the scans of far rows.
        self.index
            .filter(|_| matches!(self.site.rows, Rows::All))?
            .calibration()
            .outside_below(self.hits as f64 / self.share)
    }

    /// Classifies the query's farness relative to the sample.
    fn farness(&self, index: &FieldIndex, nearness: f32) -> Farness {
        let calibration = index.calibration();
        match calibration.zones(self.hits, self.among_all(&calibration, nearness)) {
            [] => Farness::Usual,
            [zone] if zone.usual => Farness::Far,
            _ => Farness::Farthest,
        }
    }

    /// Approximate nearness of the worst hit if no rows were missing; calibration measures among
    /// all rows.
    fn among_all(&self, calibration: &Calibration, nearness: f32) -> f32 {
        let below = |rank| calibration.outside_below(rank);
        let hits = self.hits as f64;
        below(hits)
            .zip(below(hits / self.share))
            .map_or(nearness, |(all, some)| nearness + all - some)
    }

    /// Replans for a query outside the calibrated range: with the depth that reached the target for
    /// queries as far away, or as searched already if that is enough; `None` if nothing measured
    /// reaches the target.
    fn outside(&self, nearness: f32, plan: &ViewPlan<'p>) -> Option<ViewPlan<'p>> {
        let calibration = self.index?.calibration();
        let zones = calibration.zones(self.hits, self.among_all(&calibration, nearness));
        let (own, nearer) = zones.split_last()?;
        let of_sample = zones.iter().rposition(|zone| zone.usual);
        let like_sample = of_sample.map(|at| match self.index?.lately().are_far() {
            true => self.of_sample(&zones[at], plan),
            // If few recent queries are far, its share of the mean recall is enough.
            false => Some(as_searched(self.hits, &zones[at], plan)),
        });
        if own.usual {
            return like_sample?;
        }
        let is_nearest = nearer.last().is_none_or(|zone| zone.usual);
        let beyond = self.beyond(own, is_nearest)?;
        // Never narrower than for the sample queries that are nearer.
        Some(match like_sample.flatten() {
            Some(like) => self.both(&like, &beyond),
            None => beyond,
        })
    }

    /// A plan with the larger window and budget of the two, and the lower estimate.
    fn both(&self, a: &ViewPlan<'p>, b: &ViewPlan<'p>) -> ViewPlan<'p> {
        let expected = a.expected.zip(b.expected).map(|(a, b)| a.min(b));
        let depth = a.access.reach().max(&b.access.reach());
        let far = Far { budget: depth.rerank, expected };
        self.plan(self.access(depth, far), expected)
    }

    /// Recall estimate of a search for sample queries as far away; `None` if there are none.
    fn like_zone(&self, nearness: f32, access: &Access<'_>) -> Option<f32> {
        let calibration = self.index?.calibration();
        let nearness = self.among_all(&calibration, nearness);
        let zone = calibration.zones(self.hits, nearness).last()?;
        zone.usual.then(|| zone.expected(self.hits, access.reach()))?
    }

    /// The depth that reached the target for sample queries as far away; `None` if none did. A
    /// workload with many far queries is unlike the sample and may be harder, hence the safe
    /// choice.
    fn of_sample(&self, zone: &Zone, plan: &ViewPlan<'p>) -> Option<ViewPlan<'p>> {
        let target = self.target.unwrap_or(DEFAULT_TARGET_RECALL);
        let choice = safely(target, |target| match plan.access.reach().is_scan() {
            true => zone.scan(self.hits, target),
            false if self.is_filtered() => zone.depth(self.hits, target),
            false => zone.depth_or_margin(self.hits, target),
        });
        // Few sample queries are scanned for where scans are slow: no data for this zone.
        let Some(choice) = choice else { return Some(as_searched(self.hits, zone, plan)) };
        let wider = self.as_chosen(choice);
        let enough = || match wider.access.goes_beyond(&plan.access) {
            true => wider,
            false => as_searched(self.hits, zone, plan),
        };
        self.will_do(choice).then(enough)
    }

    /// The depth that reached the target for synthesised queries as far away; `None` if none did.
    fn beyond(&self, zone: &Zone, is_nearest: bool) -> Option<ViewPlan<'p>> {
        let target = self.target.unwrap_or(DEFAULT_TARGET_RECALL);
        // What an index misses of perturbed rows says little of queries that nothing is known of, unless
        // they are hardly farther than rows are.
        let is_known = self.index.is_some_and(|index| index.calibration().from_user);
        let scans = self.is_scanned() || self.selects || !(is_known || is_nearest);
        let depth = |target| match scans {
            true => zone.scan(self.hits, target),
            false => zone.depth(self.hits, target),
        };
        let slack = match (self.target, is_nearest) {
            (None, _) => 0.0,
            (Some(_), true) => NEAREST_ZONE_SLACK,
            (Some(_), false) => OUTSIDE_SLACK,
        };
        let choice = match is_nearest {
            true => depth(target - slack)?,
            false => safely(target - slack, depth)?,
        };
        self.will_do(choice).then(|| self.as_chosen(choice))
    }

    /// Re-ranking budget of an index search.
    fn budget(&self, choice: Choice) -> usize {
        choice.depth.rerank.max(self.hits).max(LEAST_RERANK)
    }

    fn as_chosen(&self, choice: Choice) -> ViewPlan<'p> {
        let budget = self.budget(choice);
        let expected = self.promised(choice);
        let depth = Depth { rerank: budget, ..choice.depth };
        self.plan(self.access(depth, Far { budget, expected }), expected)
    }

    /// As [`Self::all`], or only the rows that lists by centroid name, if there are any and the query
    /// can tell what they miss. Under a filter, they may name few of the rows that match.
    fn by_lists(&self) -> ViewPlan<'p> {
        let lists = self.codes.has_listed_rows() && matches!(self.site.rows, Rows::All);
        let centroids = self.query.centroids().filter(|_| lists);
        let Some(probes) = centroids.and_then(CentroidQuery::probes) else { return self.all() };
        let (codes, query, budget) = (self.codes, self.query, self.most_candidates());
        self.plan(Access::Lists { codes, query, probes, budget }, Some(1.0))
    }

    /// Candidates that a scan of centroids keeps.
    fn most_candidates(&self) -> usize {
        (self.rows as usize).min(MOST_CANDIDATES).max(self.hits)
    }

    /// The calibrated plan; `None` if all vectors have to be scored.
    fn calibrated(&self) -> Option<ViewPlan<'p>> {
        if self.tolerated().is_some() && self.is_scanned() {
            return Some(self.by_lists());
        }
        let Some(index) = self.index else { return self.unmeasured() };
        let calibration = index.calibration();
        let target = self.target.unwrap_or(DEFAULT_TARGET_RECALL);
        let scan = || {
            let scan = |target| calibration.scan(self.hits, target, self.selects);
            safely(target, scan).or_else(|| calibration.scan(self.hits, target, false))
        };
        if self.is_scanned() {
            let Some(scan) = scan() else { return self.unmeasured() };
            let budget =
                scan.depth.rerank.max(self.hits + self.hits.div_ceil(SPARE.0).max(SPARE.1));
            let plan = || self.plan(self.scan(budget), self.promised(scan));
            return self.will_do(scan).then(plan);
        }
        let depth = |target| match self.is_filtered() {
            true => calibration.depth(self.hits, target),
            false => calibration.depth_or_margin(self.hits, target),
        };
        // Unknown future queries may be unlike the rows.
        let differ = self.selects || self.codes.is_multi() || !calibration.from_user;
        let choice = if differ { safely(target, depth) } else { depth(target) };
        let Some(choice) = choice else { return self.unmeasured() };
        if !self.will_do(choice) {
            return None;
        }
        if choice.depth.is_scan() && self.tolerated().is_some() {
            return Some(self.by_lists());
        }
        let budget = self.budget(choice);
        let depth = Depth { rerank: budget, ..choice.depth };
        if !self.selects {
            // No rows are missing, so the fallback is never used.
            let far = Far { budget, expected: None };
            return Some(self.plan(self.access(depth, far), self.promised(choice)));
        }
        let far = match scan() {
            // No calibrated scan reaches the target there: re-rank all eligible rows.
            Some(far) if !self.will_do(far) => {
                Far { budget: self.rows as usize, expected: Some(1.0) }
            }
            Some(far) => {
                Far { budget: far.depth.rerank.max(self.hits), expected: self.promised(far) }
            }
            None => Far { budget: budget.max(FAR_FACTOR * self.default_rerank()), expected: None },
        };
        if depth.is_scan() {
            let expected = far.expected.map(|far| far.min(choice.expected));
            return Some(self.plan(self.scan(far.budget.max(budget)), expected));
        }
        Some(self.plan(self.access(depth, far), self.promised(choice)))
    }

    /// Whether a choice is acceptable: it reaches the target, or comes near the default one.
    fn will_do(&self, choice: Choice) -> bool {
        choice.reached || (self.target.is_none() && choice.expected >= NEAR_DEFAULT)
    }

    /// Recall estimate of a choice, capped a little above the target: a larger surplus is specific
    /// to the sample.
    fn promised(&self, choice: Choice) -> Option<f32> {
        Some(self.target.map_or(choice.expected, |target| choice.expected.min(target + MARGIN)))
    }

    /// Plan without calibration: the re-ranking budget that training found sufficient, in
    /// proportion to the rows; `None` if training found none.
    fn unmeasured(&self) -> Option<ViewPlan<'p>> {
        let report = self.codes.report()?;
        let rung = report.chosen();
        let kept = rung.into_iter().flat_map(|rung| rung.recall.iter().chain(&rung.query_recall));
        let kept = kept.map(|recall| recall[1]).reduce(f32::min);
        let (hits, budget) = TRAINED_RERANK;
        let trained = (report.trained_rows as u64).max(1);
        let growth =
            (self.rows as f64 / trained as f64).max(1.0) * (self.hits as f64 / hits as f64);
        let scaled = (budget as f64 * growth.max(1.0)).ceil() as usize;
        let (by_default, for_target) = MOST_UNMEASURED;
        let budget = self.default_rerank().max(scaled.min(by_default));
        let Some(target) = self.target else { return Some(self.plan(self.scan(budget), None)) };
        let enough = kept.is_some_and(|kept| kept >= target) && !self.codes.is_multi();
        (enough && scaled <= for_target && !self.selects)
            .then(|| self.plan(self.scan(budget.max(scaled)), None))
    }

    /// The depth that the request sets.
    fn by_hand(&self, window: Option<usize>, rerank: Option<usize>) -> ViewPlan<'p> {
        let calibration = self.index.map(FieldIndex::calibration);
        let calibration = calibration.as_ref();
        let by_target = || {
            let target = self.target.unwrap_or(DEFAULT_TARGET_RECALL);
            calibration.and_then(|calibration| calibration.depth(self.hits, target))
        };
        let window = match (self.is_scanned(), window) {
            (true, _) => Depth::SCAN,
            (false, Some(window)) => window,
            (false, None) => by_target().map_or(Depth::SCAN, |choice| choice.depth.window),
        };
        let budget = rerank.unwrap_or_else(|| self.default_rerank()).max(self.hits);
        let depth = Depth::new(window, budget);
        let scan = Depth::scan(budget);
        // With a filter or with encodings, a depth set by hand reaches less than was measured.
        let known = calibration.filter(|_| !self.selects && !self.codes.is_multi());
        let expected = |depth| known.and_then(|known| known.expected(self.hits, depth));
        let far = Far { budget, expected: expected(scan) };
        self.plan(self.access(depth, far), expected(depth))
    }

    fn default_rerank(&self) -> usize {
        let (factor, least) = if self.codes.is_multi() { ENCODED_RERANK } else { RERANK };
        let most = limits::MAX_RERANK.max(self.hits);
        (factor * self.hits).max(least).min(most)
    }
}

/// The same search, with the recall estimate of a zone.
fn as_searched<'p>(hits: usize, zone: &Zone, plan: &ViewPlan<'p>) -> ViewPlan<'p> {
    let of_zone = zone.expected(hits, plan.access.reach()).or(plan.expected);
    let expected = of_zone.zip(plan.expected).map(|(zone, all)| zone.min(all));
    ViewPlan { expected, outside_below: None, ..*plan }
}
