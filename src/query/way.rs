//! How the rows of one view are searched for one query: by their vectors, by a scan of codes, or by an
//! index, how far, and what is expected of it.
//!
//! What calibration has measured decides. A target that nothing measured reaches is met by scoring all
//! vectors; where nothing was measured yet, by re-ranking as many candidates as the training of the
//! codec says are enough, or else by all vectors, and what to expect is then not known.

use super::plan::Plan;
use crate::index::{Calibration, Choice, DEFAULT_TARGET_RECALL, Depth, Zone};
use crate::model::{IndexKind, limits};
use crate::segment::{FieldCodes, FieldIndex, View};

/// Candidates that are re-ranked if neither the request nor a calibration says: so many times the
/// hits, at least.
const RERANK: (usize, usize) = (4, 50);
/// The same where candidates are found by encodings, which are a rougher measure.
const ENCODED_RERANK: (usize, usize) = (20, 500);
/// Candidates that training has measured for the ten nearest rows, among as many rows as it saw.
const TRAINED_RERANK: (usize, usize) = (10, 50);
/// No more candidates are re-ranked because of what training says; by default, and for a target.
const MOST_UNMEASURED: (usize, usize) = (1_000, 10_000);
/// A scan re-ranks one candidate more for so many hits than it has to, at least: that costs little, and
/// nobody says that queries are like rows.
const SPARE: usize = 4;
/// Where what may be found lies far from the query, so many times as many candidates are re-ranked
/// if no scan was measured.
const FAR_FACTOR: usize = 4;

/// How much less than the target will do for a query that is outside: the few that were measured cannot
/// show more, and all vectors would be scored for it. Still less will do in the nearest zone, where most
/// of them are: they are hardly unlike the others, and few beside these.
const OUTSIDE_SLACK: f32 = 0.01;
const NEAREST_ZONE_SLACK: f32 = 0.03;
/// Without a target, what comes so near to the default one will do; otherwise vectors are scored.
const NEAR_DEFAULT: f32 = 0.965;
/// No answer promises more than so much above the recall that was asked for.
const MARGIN: f32 = 0.02;

/// How the rows of a view are searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// Whether vectors are scored, not codes.
    pub scores_vectors: bool,
    /// How far the index is searched; `None` where all rows are scored.
    pub depth: Option<Depth>,
    /// How many different scores by codes are re-ranked.
    pub budget: usize,
    /// The share of the exact nearest rows that is expected to be found; `None` if not known.
    pub expected: Option<f32>,
    /// The two of them if it turns out that what may be found lies far from the query, so that all
    /// of it is scored by codes.
    pub far_budget: usize,
    /// See above.
    pub far_expected: Option<f32>,
    /// If the worst hit turns out to be less near than this, nothing of the above holds; see
    /// [`widen`].
    pub outside_below: Option<f32>,
}

impl Way {
    /// All vectors are scored.
    fn vectors(expected: Option<f32>) -> Self {
        Self {
            scores_vectors: true,
            depth: None,
            budget: 0,
            expected,
            far_budget: 0,
            far_expected: expected,
            outside_below: None,
        }
    }

    /// All codes are scored.
    fn scan(budget: usize, expected: Option<f32>) -> Self {
        Self {
            scores_vectors: false,
            depth: None,
            budget,
            expected,
            far_budget: budget,
            far_expected: expected,
            outside_below: None,
        }
    }

    /// How far it looks.
    fn reach(&self) -> Depth {
        Depth { window: self.depth.map_or(Depth::SCAN, |depth| depth.window), rerank: self.budget }
    }

    /// Whether this looks further than another way does.
    pub fn goes_beyond(&self, other: &Self) -> bool {
        let (a, b) = (self.reach(), other.reach());
        (self.scores_vectors && !other.scores_vectors) || a.window > b.window || a.rerank > b.rerank
    }

    /// What looks as far as both do, of which the least is expected.
    fn and(&self, other: &Self) -> Self {
        let (a, b) = (self.reach(), other.reach());
        let (window, rerank) = (a.window.max(b.window), a.rerank.max(b.rerank));
        let depth = Depth { window, rerank };
        let expected = self.expected.zip(other.expected).map(|(a, b)| a.min(b));
        Self { depth: (!depth.is_scan()).then_some(depth), ..Self::scan(rerank, expected) }
    }

    /// What is expected is a share of what the secondary codes keep of the ranking.
    fn of_kept(self, kept: Option<f32>) -> Self {
        let of = |expected: Option<f32>| Some(expected? * kept?);
        Self { expected: of(self.expected), far_expected: of(self.far_expected), ..self }
    }
}

/// How a view is searched.
pub fn choose(plan: &Plan<'_>, number: usize, view: &View) -> Way {
    let kept = view.reader.kept(plan.field, plan.hits());
    let Some(case) = Case::of(plan, number, view) else { return Way::vectors(kept) };
    let params = &plan.request.params;
    let by_hand = params.search_window.is_some() || params.rerank.is_some();
    let way = match by_hand {
        true => Some(case.by_hand(params.search_window, params.rerank)),
        false => case.calibrated(),
    };
    match way {
        Some(way) => Way { outside_below: case.outside_below(), ..way.of_kept(kept) },
        None => Way::vectors(kept),
    }
}

/// Counts a query among those of late, if it asked for a recall: pages of one ranking are all searched
/// alike, and a depth that is set by hand may find what is far. Its nearness says which zone it belongs
/// to; not set, it belongs to none.
pub fn note(plan: &Plan<'_>, number: usize, view: &View, nearness: Option<f32>) {
    let params = &plan.request.params;
    if plan.request.offset > 0 || params.search_window.is_some() || params.rerank.is_some() {
        return;
    }
    let Some(index) = view.reader.index(plan.field) else { return };
    let is_far = |nearness| {
        Case::of(plan, number, view).is_some_and(|case| case.is_farthest(index, nearness))
    };
    index.lately().note(nearness.is_some_and(is_far));
}

/// How a view is searched for a query whose nearest rows turned out to be so much less near than those of
/// most queries which were measured: as far as it took for others that are as far away, or by all
/// vectors. What is set by hand stays.
pub fn widen(plan: &Plan<'_>, number: usize, view: &View, nearness: f32) -> Way {
    let kept = view.reader.kept(plan.field, plan.hits());
    let params = &plan.request.params;
    let way = plan.ways[number];
    let case = Case::of(plan, number, view);
    if params.search_window.is_some() || params.rerank.is_some() {
        let expected = way.expected.and(case.and_then(|case| case.like_zone(nearness, &way)));
        let by_hand = Way { expected, far_expected: None, outside_below: None, ..way };
        return by_hand.of_kept(kept);
    }
    let wider = case.and_then(|case| case.outside(nearness, &way, kept));
    wider.unwrap_or(Way::vectors(kept))
}

/// What misses half as much as the target allows, or else what just reaches it: where queries differ more
/// than a sample shows (filters, encodings, queries that are far from the rows), or where more
/// candidates cost little beside a scan.
fn safely(target: f32, choose: impl Fn(f32) -> Option<Choice>) -> Option<Choice> {
    let safe = choose(1.0 - (1.0 - target) / 2.0);
    if safe.is_some_and(|choice| choice.reached) { safe } else { choose(target) }
}

/// What the choice depends on.
struct Case<'a> {
    codes: &'a FieldCodes,
    rows: u64,
    hits: usize,
    target: Option<f32>,
    index: Option<&'a FieldIndex>,
    gathered: bool,
    selects: bool,
    filtered: bool,
    /// The share of rows that may be found.
    share: f64,
}

impl<'a> Case<'a> {
    /// `None` if vectors are scored.
    fn of(plan: &Plan<'_>, number: usize, view: &'a View) -> Option<Self> {
        let reader = &*view.reader;
        let codes = reader.codes(plan.field).filter(|_| plan.codes[number].is_some())?;
        let filter = plan.view_filter(number);
        let rows = u64::from(reader.rows());
        let matching = filter.map_or(rows, |filter| filter.cardinality.expected);
        Some(Self {
            codes,
            rows,
            hits: plan.hits(),
            target: plan.request.params.target_recall,
            index: reader.index(plan.field),
            gathered: filter.is_some_and(|filter| filter.gathered.is_some()),
            // Rows that go with the query may be missing.
            selects: filter.is_some() || !view.deleted.is_empty(),
            filtered: filter.is_some(),
            share: matching.max(1) as f64 / rows.max(1) as f64 * view.live_rows().max(1) as f64
                / rows.max(1) as f64,
        })
    }

    /// The nearness of the worst hit below which a query is not like what was measured. Among fewer
    /// rows the same number of hits is farther away.
    fn outside_below(&self) -> Option<f32> {
        // What a filter leaves may be anywhere: scans of what is far were measured for that.
        self.index
            .filter(|_| !self.filtered)?
            .calibration()
            .outside_below(self.hits as f64 / self.share)
    }

    /// Whether a query belongs to the farthest of the sample, or is beyond it.
    fn is_farthest(&self, index: &FieldIndex, nearness: f32) -> bool {
        let calibration = index.calibration();
        let zones = calibration.zones(self.hits, self.among_all(&calibration, nearness));
        zones.len() > 1 || zones.last().is_some_and(|zone| !zone.usual)
    }

    /// What the nearness of the worst hit would be if no rows were missing, about: calibrations measure
    /// among all of them.
    fn among_all(&self, calibration: &Calibration, nearness: f32) -> f32 {
        let below = |rank| calibration.outside_below(rank);
        let hits = self.hits as f64;
        below(hits)
            .zip(below(hits / self.share))
            .map_or(nearness, |(all, some)| nearness + all - some)
    }

    /// As others took whose nearest rows were no nearer, or as it was searched if that will do; `None` if
    /// nothing like it was measured to reach the target.
    fn outside(&self, nearness: f32, way: &Way, kept: Option<f32>) -> Option<Way> {
        let calibration = self.index?.calibration();
        let zones = calibration.zones(self.hits, self.among_all(&calibration, nearness));
        let (own, nearer) = zones.split_last()?;
        let of_sample = zones.iter().rposition(|zone| zone.usual);
        let like_sample = of_sample.map(|at| match self.index?.lately().are_far() {
            true => self.of_sample(&zones[at], at > 0, way),
            // Among others its part of the mean is enough.
            false => Some(self.as_searched(&zones[at], way)),
        });
        if own.usual {
            return like_sample?.map(|way| way.of_kept(kept));
        }
        let is_nearest = nearer.last().is_none_or(|zone| zone.usual);
        let beyond = self.beyond(own, is_nearest)?;
        // Made-up queries are no reason to look less far than at what is nearer.
        let wider = match like_sample.flatten() {
            Some(like) => like.and(&beyond),
            None => beyond,
        };
        Some(wider.of_kept(kept))
    }

    /// What is expected of a way for queries of the sample that are as far away; `None` if there are none.
    fn like_zone(&self, nearness: f32, way: &Way) -> Option<f32> {
        let calibration = self.index?.calibration();
        let nearness = self.among_all(&calibration, nearness);
        let zone = calibration.zones(self.hits, nearness).last()?;
        zone.usual.then(|| zone.expected(self.hits, way.reach()))?
    }

    /// As far as queries of the sample took that are as far away; `None` if none of it will do. What comes
    /// may be harder than the `farthest` of the sample, which are searched safely.
    fn of_sample(&self, zone: &Zone, farthest: bool, way: &Way) -> Option<Way> {
        let target = self.target.unwrap_or(DEFAULT_TARGET_RECALL);
        let depth = |target| zone.depth(self.hits, target, way.reach().is_scan());
        let choice = if farthest { safely(target, depth) } else { depth(target) };
        // Few of the sample are scanned for where that takes long: nothing is known then.
        let Some(choice) = choice else { return Some(self.as_searched(zone, way)) };
        let wider = self.way_of(choice);
        let enough = || if wider.goes_beyond(way) { wider } else { self.as_searched(zone, way) };
        self.will_do(choice).then(enough)
    }

    /// The same way, with what is expected of it for queries of a zone.
    fn as_searched(&self, zone: &Zone, way: &Way) -> Way {
        let expected = zone.expected(self.hits, way.reach()).or(way.expected);
        let least = expected.zip(way.expected).map(|(zone, all)| zone.min(all));
        Way { expected: least, outside_below: None, ..*way }
    }

    /// As far as made-up queries took that are as far away; `None` if none of it will do.
    fn beyond(&self, zone: &Zone, is_nearest: bool) -> Option<Way> {
        let target = self.target.unwrap_or(DEFAULT_TARGET_RECALL);
        let is_flat = self.index.is_some_and(|index| index.report().kind == IndexKind::Flat);
        let scans = self.gathered || self.selects || is_flat;
        let depth = |target| zone.depth(self.hits, target, scans);
        let choice = match is_nearest {
            true => depth(target - NEAREST_ZONE_SLACK)?,
            false => safely(target - OUTSIDE_SLACK, depth)?,
        };
        self.will_do(choice).then(|| self.way_of(choice))
    }

    fn way_of(&self, choice: Choice) -> Way {
        let budget = choice.depth.rerank.max(self.hits);
        let depth = Depth { rerank: budget, ..choice.depth };
        Way {
            depth: (!depth.is_scan()).then_some(depth),
            ..Way::scan(budget, self.promised(choice))
        }
    }

    /// As calibration says; `None` if all vectors have to be scored.
    fn calibrated(&self) -> Option<Way> {
        let Some(index) = self.index else { return self.unmeasured() };
        let calibration = index.calibration();
        let target = self.target.unwrap_or(DEFAULT_TARGET_RECALL);
        let scan = || {
            let scan = safely(target, |target| calibration.scan(self.hits, target, self.selects));
            scan.or_else(|| calibration.scan(self.hits, target, false))
        };
        if self.gathered || index.report().kind == IndexKind::Flat {
            let Some(scan) = scan() else { return self.unmeasured() };
            let budget = scan.depth.rerank.max(self.hits + self.hits.div_ceil(SPARE));
            return self.will_do(scan).then(|| Way::scan(budget, self.promised(scan)));
        }
        let depth = |target| calibration.depth(self.hits, target);
        let choice = match self.selects || self.codes.is_encoded() {
            true => safely(target, depth),
            false => depth(target),
        };
        let Some(choice) = choice else { return self.unmeasured() };
        if !self.will_do(choice) {
            return None;
        }
        let budget = choice.depth.rerank.max(self.hits);
        let (far_budget, far_expected) = match self.selects.then(scan).flatten() {
            // Nothing is missing, so that nothing is looked for elsewhere.
            _ if !self.selects => (budget, None),
            // Nothing else reaches the target there: everything that may be found is re-ranked.
            Some(far) if !self.will_do(far) => (self.rows as usize, Some(1.0)),
            Some(far) => (far.depth.rerank.max(self.hits), self.promised(far)),
            None => (budget.max(FAR_FACTOR * self.default_rerank()), None),
        };
        let depth = Depth { rerank: budget, ..choice.depth };
        Some(Way {
            scores_vectors: false,
            depth: (!depth.is_scan()).then_some(depth),
            budget: if depth.is_scan() && self.selects { far_budget.max(budget) } else { budget },
            expected: match (depth.is_scan() && self.selects, far_expected) {
                (true, far) => far.map(|far| far.min(choice.expected)),
                (false, _) => self.promised(choice),
            },
            far_budget,
            far_expected,
            outside_below: None,
        })
    }

    /// Whether a choice will do: it reaches the target, or comes near the default one.
    fn will_do(&self, choice: Choice) -> bool {
        choice.reached || (self.target.is_none() && choice.expected >= NEAR_DEFAULT)
    }

    /// What is expected of a choice, but no more than a little above what is asked for: what a sample
    /// found beyond it is its own.
    fn promised(&self, choice: Choice) -> Option<f32> {
        Some(self.target.map_or(choice.expected, |target| choice.expected.min(target + MARGIN)))
    }

    /// Where nothing was measured in this segment: as many candidates as the training of its codec
    /// found enough, in proportion to the rows; `None` if it says that no number is.
    fn unmeasured(&self) -> Option<Way> {
        let report = self.codes.report();
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
        let Some(target) = self.target else { return Some(Way::scan(budget, None)) };
        let enough = kept.is_some_and(|kept| kept >= target) && !self.codes.is_encoded();
        (enough && scaled <= for_target && !self.selects)
            .then(|| Way::scan(budget.max(scaled), None))
    }

    /// As the request says.
    fn by_hand(&self, window: Option<usize>, rerank: Option<usize>) -> Way {
        let calibration = self.index.map(FieldIndex::calibration);
        let calibration = calibration.as_ref();
        let kind = self.index.map(|index| index.report().kind);
        let by_target = || {
            let target = self.target.unwrap_or(DEFAULT_TARGET_RECALL);
            calibration.and_then(|calibration| calibration.depth(self.hits, target))
        };
        let searches = !self.gathered && kind.is_some_and(|kind| kind != IndexKind::Flat);
        let window = match (searches, window) {
            (false, _) => Depth::SCAN,
            (true, Some(window)) => window,
            (true, None) => by_target().map_or(Depth::SCAN, |choice| choice.depth.window),
        };
        let budget = rerank.unwrap_or_else(|| self.default_rerank()).max(self.hits);
        let depth = Depth { window, rerank: budget };
        let scan = Depth { window: Depth::SCAN, rerank: budget };
        let expected = |depth| calibration.and_then(|known| known.expected(self.hits, depth));
        // With a filter, and of encodings, what is set by hand finds less than was measured.
        let known = !self.selects && !self.codes.is_encoded();
        let far_expected = expected(scan).filter(|_| known);
        let expected = expected(depth).filter(|_| known);
        let depth = (!depth.is_scan()).then_some(depth);
        let (scores_vectors, outside_below) = (false, None);
        Way {
            scores_vectors,
            outside_below,
            depth,
            budget,
            expected,
            far_budget: budget,
            far_expected,
        }
    }

    fn default_rerank(&self) -> usize {
        let (factor, least) = if self.codes.is_encoded() { ENCODED_RERANK } else { RERANK };
        let most = limits::MAX_RERANK.max(self.hits);
        (factor * self.hits).max(least).min(most)
    }
}
