//! Recall calibration: the recall of each search depth, measured on sample queries when an index is
//! built and stored with it, so that a query can set a target recall instead of a depth.
//!
//! The sample is split in two. The first half selects: a depth reaches a target if its mean recall
//! less the standard error does. The second half estimates: the recall estimate of a depth is a
//! lower confidence bound on that half, so that selecting the luckiest of many depths does not bias
//! it.

use serde::{Deserialize, Serialize};

use super::depth::Depth;

/// Target recall of a query that sets none.
pub const DEFAULT_TARGET_RECALL: f32 = 0.98;
/// Tolerated shortfall of a group of similar queries below the target.
const GROUP_SLACK: f32 = 0.03;
/// Tolerated shortfall of the rows in the sample that do not count as queries, taken together.
const ROWS_SLACK: f32 = 0.01;

/// The measured recall and cost of one depth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationPoint {
    /// Number of nearest neighbours requested.
    pub k: usize,
    /// Depth of the search.
    pub depth: Depth,
    /// Mean recall at k over the selecting half of the queries.
    pub recall: f32,
    /// Distance from that mean to the lower end of its interval of one standard error.
    pub error: f32,
    /// Recall of the worst group of similar queries, or of the kind with the larger coding error.
    pub worst: f32,
    /// Recall of the rows in the sample that do not count as queries, as future queries may differ
    /// from past ones. 1 if there are none.
    #[serde(default = "all")]
    pub rows: f32,
    /// Recall estimate: a lower confidence bound over the estimating half of the queries.
    pub expected: f32,
    /// Bytes read, random reads weighted higher; used to compare searches.
    pub cost: f32,
}

impl CalibrationPoint {
    /// The standard error is subtracted, so that a lucky sample does not promise too much, and no
    /// group of queries may fall far below the target.
    fn reaches(&self, target: f32) -> bool {
        self.recall - self.error >= target
            && self.worst + GROUP_SLACK >= target
            && self.rows + ROWS_SLACK >= target
    }

    /// Also requires that the estimate is close to the target, which rules out a lucky selecting
    /// half.
    fn surely_reaches(&self, target: f32) -> bool {
        self.reaches(target) && self.expected + GROUP_SLACK >= target
    }
}

/// Whether a point reaches a target.
type Reaches = fn(&CalibrationPoint, f32) -> bool;

fn all() -> f32 {
    1.0
}

/// Measurements of one index: for each k the Pareto-optimal points, by ascending cost.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Calibration {
    /// Number of sample queries.
    pub queries: usize,
    /// Whether the queries are the user's; otherwise they are rows of the segment, each hidden from
    /// its own search.
    pub from_user: bool,
    /// Searches of the index and scans of all codes.
    pub points: Vec<CalibrationPoint>,
    /// Searches of a graph that end by a margin from the k-th row; none unless the queries are the
    /// user's.
    #[serde(default)]
    pub margins: Vec<CalibrationPoint>,
    /// Scans of all codes.
    #[serde(default)]
    pub scans: Vec<CalibrationPoint>,
    /// Scans of the rows that are not near the query: the case of a filter or deletions correlated
    /// with it.
    #[serde(default)]
    pub far_scans: Vec<CalibrationPoint>,
    /// For each k, measurements of queries farther from the rows than most of the sample.
    #[serde(default)]
    pub outside: Vec<Outside>,
}

/// Measurements of queries whose k-th nearest row is farther away than that of most sample queries,
/// by zones of distance. The mean over the sample says little about a workload of such queries.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outside {
    /// Number of nearest neighbours.
    pub k: usize,
    /// Nearness of the k-th nearest row below which a query belongs to a zone. In units of the
    /// query's length; higher is nearer.
    pub below: f32,
    /// From near to far. Nothing was measured beyond the last.
    pub zones: Vec<Zone>,
}

/// Queries at about the same distance from the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// Minimum nearness of the k-th nearest row.
    pub at_least: f32,
    /// Whether it was measured with sample queries. Otherwise with synthesised queries, farther
    /// from the rows than nearly all of the sample.
    #[serde(default)]
    pub usual: bool,
    /// Searches and scans.
    pub points: Vec<CalibrationPoint>,
    /// Searches that end by a margin; none of synthesised queries.
    #[serde(default)]
    pub margins: Vec<CalibrationPoint>,
    /// Scans only.
    pub scans: Vec<CalibrationPoint>,
}

impl Zone {
    /// From measurements of searches and scans.
    pub fn new(
        (at_least, usual): (f32, bool),
        searches: Vec<CalibrationPoint>,
        scans: Vec<CalibrationPoint>,
    ) -> Self {
        // A zone of the sample only has to keep up with the whole sample: its mean is enough for
        // selection, and the estimate is a lower bound anyway.
        let of_part = |point| CalibrationPoint { error: 0.0, ..point };
        let of_zone = |point| if usual { of_part(point) } else { point };
        let scans: Vec<CalibrationPoint> = scans.into_iter().map(of_zone).collect();
        let searches = searches.into_iter().map(of_zone);
        let (points, mut margins) = by_ending(searches, &scans);
        if !usual {
            margins.clear();
        }
        Self { at_least, usual, points, margins, scans: unbeaten(scans) }
    }

    /// As [`Calibration::depth`].
    pub fn depth(&self, hits: usize, target: f32) -> Option<Choice> {
        choose(&self.points, CalibrationPoint::reaches, hits, target)
    }

    /// As [`Calibration::depth_or_margin`].
    pub fn depth_or_margin(&self, hits: usize, target: f32) -> Option<Choice> {
        let by_margin = choose_margin(&self.margins, CalibrationPoint::reaches, hits, target);
        cheaper(self.depth(hits, target), by_margin)
    }

    /// As [`Calibration::scan`].
    pub fn scan(&self, hits: usize, target: f32) -> Option<Choice> {
        choose(&self.scans, CalibrationPoint::reaches, hits, target)
    }

    /// As [`Calibration::expected`].
    pub fn expected(&self, hits: usize, depth: Depth) -> Option<f32> {
        expected((&self.points, &self.margins, &self.scans), hits, depth)
    }
}

/// The depth that a calibration selects for a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Selected depth.
    pub depth: Depth,
    /// Recall estimate.
    pub expected: f32,
    /// As [`CalibrationPoint::cost`].
    pub cost: f32,
    /// Whether the target is reached; if not, this is the best that was measured.
    pub reached: bool,
}

impl Calibration {
    /// Keeps the Pareto-optimal points of each k. Scans compete with index searches; those that end by
    /// a margin are apart, since they do not serve filters.
    pub fn new(
        (queries, from_user): (usize, bool),
        searches: Vec<CalibrationPoint>,
        scans: Vec<CalibrationPoint>,
        far_scans: Vec<CalibrationPoint>,
    ) -> Self {
        let (points, margins) = by_ending(searches.into_iter(), &scans);
        let (scans, far_scans) = (unbeaten(scans), unbeaten(far_scans));
        Self { queries, from_user, points, margins, scans, far_scans, outside: Vec::new() }
    }

    /// The nearness of the `rank`-th nearest row below which a query belongs to a zone:
    /// interpolated between the measured k by the logarithm of the rank, and extrapolated beyond.
    /// `None` if it was not measured.
    pub fn outside_below(&self, rank: f64) -> Option<f32> {
        let at = self.outside.partition_point(|outside| (outside.k as f64) < rank);
        let (a, b) = match self.outside.len() {
            0 => return None,
            1 => return Some(self.outside[0].below),
            many => {
                let at = at.clamp(1, many - 1);
                (&self.outside[at - 1], &self.outside[at])
            }
        };
        let part = (rank.max(1.0) / a.k as f64).ln() / (b.k as f64 / a.k as f64).ln();
        Some(a.below + (b.below - a.below) * part.max(0.0) as f32)
    }

    /// The zones of a query with this nearness, from near to far: the last is its own, the others
    /// are nearer. Empty if nothing comparable was measured.
    pub fn zones(&self, hits: usize, nearness: f32) -> &[Zone] {
        // For a number of hits between measured k, uses the zones of the next larger k, which are
        // farther.
        let outside = self.outside.iter().find(|outside| outside.k >= hits);
        let zones = outside.or(self.outside.last()).map_or(&[][..], |outside| &outside.zones);
        let own = zones.iter().position(|zone| nearness >= zone.at_least);
        own.map_or(&[], |own| &zones[..=own])
    }

    /// The cheapest depth without a margin that reaches a recall for `hits` nearest neighbours; the
    /// best measured one if none does. `None` if nothing was measured.
    pub fn depth(&self, hits: usize, target: f32) -> Option<Choice> {
        choose(&self.points, CalibrationPoint::surely_reaches, hits, target)
    }

    /// As [`Self::depth`], or with a margin where that is cheaper: for searches without a filter, by
    /// queries like those that were measured.
    pub fn depth_or_margin(&self, hits: usize, target: f32) -> Option<Choice> {
        let reaches = CalibrationPoint::surely_reaches;
        cheaper(self.depth(hits, target), choose_margin(&self.margins, reaches, hits, target))
    }

    /// The same among scans of codes. With `far`, for the rows that a filter leaves: both kinds of
    /// scans have to reach the target.
    pub fn scan(&self, hits: usize, target: f32, far: bool) -> Option<Choice> {
        let choose = |points| choose(points, CalibrationPoint::surely_reaches, hits, target);
        let near = choose(&self.scans)?;
        if !far {
            return Some(near);
        }
        let far = choose(&self.far_scans)?;
        let rerank = near.depth.rerank.max(far.depth.rerank);
        Some(Choice {
            depth: Depth { rerank, ..near.depth },
            expected: near.expected.min(far.expected),
            cost: near.cost.max(far.cost),
            reached: near.reached && far.reached,
        })
    }

    /// Recall estimate of the widest measured search that goes no further than `depth`, or the
    /// recall of its worst group if lower; `None` if none was measured.
    pub fn expected(&self, hits: usize, depth: Depth) -> Option<f32> {
        expected((&self.points, &self.margins, &self.scans), hits, depth)
    }

    /// Cost of reaching a target, to compare indexes; infinite if it is not reached.
    pub fn cost(&self, k: usize, target: f32) -> f32 {
        let all = of(&self.points, k).iter().chain(of(&self.margins, k));
        let reach = all.filter(|point| point.recall >= target);
        reach.map(|point| point.cost).fold(f32::INFINITY, f32::min)
    }
}

/// Among searches, those with a margin, and scans.
fn expected(
    (points, margins, scans): (&[CalibrationPoint], &[CalibrationPoint], &[CalibrationPoint]),
    hits: usize,
    depth: Depth,
) -> Option<f32> {
    let honest = |point: &CalibrationPoint| point.expected.min(point.worst);
    if let Some(margin) = depth.margin {
        let covered = |point: &&CalibrationPoint| depth.covers(&point.depth);
        let covered = of(margins, margin.rank).iter().filter(covered);
        return covered.map(honest).reduce(f32::max).filter(|_| margin.rank >= hits);
    }
    let points = if depth.is_scan() { scans } else { points };
    let k = nearest_k(points, hits);
    let scale = (hits as f64 / k as f64).max(1.0);
    let reach = |count: usize| count as f64 * scale;
    let within = |point: &&CalibrationPoint| {
        reach(point.depth.window.min(depth.window)) <= depth.window as f64
            && point.depth.window <= depth.window
            && reach(point.depth.rerank) <= depth.rerank as f64
    };
    of(points, k).iter().filter(within).map(honest).reduce(f32::max)
}

/// The Pareto-optimal searches without a margin, with which scans compete, and those with one.
fn by_ending(
    searches: impl Iterator<Item = CalibrationPoint>,
    scans: &[CalibrationPoint],
) -> (Vec<CalibrationPoint>, Vec<CalibrationPoint>) {
    let (margins, mut points) =
        searches.partition::<Vec<_>, _>(|point| point.depth.margin.is_some());
    points.extend_from_slice(scans);
    (unbeaten(points), unbeaten(margins))
}

/// The Pareto-optimal points of each k, by ascending cost.
fn unbeaten(mut measured: Vec<CalibrationPoint>) -> Vec<CalibrationPoint> {
    measured.sort_by(|a, b| {
        (a.k, a.cost).partial_cmp(&(b.k, b.cost)).unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut points: Vec<CalibrationPoint> = Vec::new();
    for point in measured {
        let better = points.last().is_none_or(|last| {
            last.k != point.k
                || point.recall - point.error > last.recall - last.error
                || point.worst > last.worst
                || point.rows > last.rows
                || point.expected > last.expected
        });
        if better {
            points.push(point);
        }
    }
    points
}

fn choose(
    points: &[CalibrationPoint],
    reaches: Reaches,
    hits: usize,
    target: f32,
) -> Option<Choice> {
    let best = |k| best(of(points, k), reaches, target);
    // The measured k to scale up to `hits`.
    let k = nearest_k(points, hits);
    let (point, mut reached) = best(k)?;
    let scale = (hits as f64 / k as f64).max(1.0);
    let scaled = |count: usize| (count as f64 * scale).ceil() as usize;
    let mut depth = Depth::new(scaled(point.depth.window), scaled(point.depth.rerank));
    let mut expected = point.expected;
    let mut cost = point.cost * scale as f32;
    // A larger measured k bounds the extrapolation.
    let larger = points.partition_point(|point| point.k < hits);
    if let Some((larger, is_reached)) = points.get(larger).and_then(|point| best(point.k)) {
        depth.window = depth.window.min(larger.depth.window);
        depth.rerank = depth.rerank.min(larger.depth.rerank).max(hits);
        cost = cost.min(larger.cost);
        if larger.k > k && hits > k {
            expected = expected.min(larger.expected);
            reached &= is_reached;
        }
    }
    Some(Choice { depth, expected, cost, reached })
}

/// As [`choose`], among searches that end by a margin. Rows of different rank have different margins,
/// so these are for as many hits as were measured, or fewer.
fn choose_margin(
    margins: &[CalibrationPoint],
    reaches: Reaches,
    hits: usize,
    target: f32,
) -> Option<Choice> {
    let k = margins.iter().map(|point| point.k).find(|&k| k >= hits)?;
    let (point, reached) = best(of(margins, k), reaches, target)?;
    let CalibrationPoint { depth, expected, cost, .. } = *point;
    Some(Choice { depth, expected, cost, reached })
}

/// The cheapest of the points of one k that reaches the target, or the one of the best recall.
fn best(
    points: &[CalibrationPoint],
    reaches: Reaches,
    target: f32,
) -> Option<(&CalibrationPoint, bool)> {
    let reached = points.iter().find(|point| reaches(point, target));
    let most = || points.iter().reduce(|a, b| if b.recall > a.recall { b } else { a });
    reached.map(|point| (point, true)).or_else(|| most().map(|point| (point, false)))
}

/// The cheaper choice of those that reach the target; the first if none does.
fn cheaper(first: Option<Choice>, second: Option<Choice>) -> Option<Choice> {
    let reaches = second.filter(|second| second.reached);
    let better = |first: &Choice, second: &Choice| !first.reached || second.cost < first.cost;
    match (first, reaches) {
        (Some(first), Some(second)) => Some(if better(&first, &second) { second } else { first }),
        (first, second) => first.or(second),
    }
}

/// The largest measured k up to `hits`, or else the smallest.
fn nearest_k(points: &[CalibrationPoint], hits: usize) -> usize {
    let above = points.partition_point(|point| point.k <= hits);
    points.get(above.saturating_sub(1)).map_or(hits, |point| point.k)
}

/// The points of one k; points are sorted by k.
fn of(points: &[CalibrationPoint], k: usize) -> &[CalibrationPoint] {
    let first = points.partition_point(|point| point.k < k);
    let rest = &points[first..];
    &rest[..rest.partition_point(|point| point.k == k)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::depth::Margin;

    fn point(k: usize, window: usize, rerank: usize, recall: f32, cost: f32) -> CalibrationPoint {
        let (error, worst, rows, expected) = (0.004, 1.0, 1.0, recall - 0.01);
        let depth = Depth::new(window, rerank);
        CalibrationPoint { k, depth, recall, error, worst, rows, expected, cost }
    }

    fn calibration(points: Vec<CalibrationPoint>) -> Calibration {
        let scans = points.iter().copied().filter(|point| point.depth.is_scan()).collect();
        Calibration::new((9, true), points, scans, Vec::new())
    }

    #[test]
    fn queries_that_are_far_from_the_rows_are_searched_as_far_as_their_like_took() {
        let mut calibration = calibration(vec![point(10, 8, 20, 0.97, 1.0)]);
        assert_eq!(calibration.outside_below(10.0), None);
        let outside = |k, below| Outside { k, below, zones: Vec::new() };
        calibration.outside = vec![outside(1, 0.8), outside(10, 0.6), outside(100, 0.5)];
        for (rank, below) in
            [(0.1, 0.8), (1.0, 0.8), (10.0, 0.6), (100.0, 0.5), (1000.0, 0.4), (31.622_776, 0.55)]
        {
            let got = calibration.outside_below(rank).unwrap();
            assert!((got - below).abs() < 1e-5, "{rank}: {got}");
        }
        let scan = point(10, Depth::SCAN, 300, 0.99, 90.0);
        calibration.outside[1].zones = vec![
            Zone::new((0.5, true), vec![point(10, 8, 20, 0.93, 1.0)], vec![]),
            Zone::new((0.4, false), vec![point(10, 16, 40, 0.97, 3.0)], vec![scan]),
            Zone::new((0.1, false), vec![point(10, 64, 40, 0.5, 9.0)], vec![scan]),
        ];
        let depth = |nearness, scans| {
            let zones = calibration.zones(10, nearness);
            let zone = zones.last()?;
            let choice = if scans { zone.scan(10, 0.95) } else { zone.depth(10, 0.95) }?;
            Some((choice.depth.window, choice.reached, zones.len()))
        };
        assert_eq!(depth(0.55, false), Some((8, false, 1)), "of the sample");
        assert_eq!(depth(0.55, true), None, "no scans of these were measured");
        assert_eq!(depth(0.45, false), Some((16, true, 2)));
        assert_eq!(depth(0.45, true), Some((Depth::SCAN, true, 2)));
        assert_eq!(depth(0.2, false), Some((Depth::SCAN, true, 3)));
        assert_eq!(depth(0.05, false), None, "nothing like it was measured");
    }

    #[test]
    fn the_least_work_that_reaches_a_target_is_taken() {
        let calibration = calibration(vec![
            point(10, 64, 50, 0.99, 8.0),
            point(10, 8, 20, 0.91, 1.0),
            point(10, 16, 20, 0.96, 2.0),
            point(10, 16, 30, 0.955, 2.5),
            point(100, 64, 150, 0.95, 9.0),
            point(100, 128, 300, 0.99, 18.0),
        ]);
        assert_eq!(calibration.points.len(), 5, "a point that is beaten is dropped");
        let depth = |hits, target| {
            let Choice { depth, expected, reached, .. } = calibration.depth(hits, target).unwrap();
            (depth.window, depth.rerank, expected + 0.01, reached)
        };
        assert_eq!(depth(10, 0.5), (8, 20, 0.91, true));
        assert_eq!(depth(10, 0.91), (16, 20, 0.96, true), "the standard error counts");
        assert_eq!(depth(10, 0.95), (16, 20, 0.96, true));
        assert_eq!(depth(10, 0.999), (64, 50, 0.99, false));
        assert_eq!(depth(1, 0.95), (16, 20, 0.96, true));
        assert_eq!(depth(20, 0.945), (32, 40, 0.95, true), "in proportion, and no better than 100");
        assert_eq!(depth(80, 0.95), (128, 160, 0.96, true), "at most what the larger k needs");
        assert_eq!(depth(200, 0.98), (256, 600, 0.99, true));
        assert_eq!(Calibration::default().depth(10, 0.9), None);
        let expected = |window, rerank| calibration.expected(10, Depth::new(window, rerank));
        assert_eq!(expected(16, 25), Some(0.96 - 0.01));
        assert_eq!(expected(7, 100), None);
        assert_eq!((calibration.cost(10, 0.95), calibration.cost(10, 0.999)), (2.0, f32::INFINITY));
    }

    #[test]
    fn a_margin_is_taken_where_it_is_cheaper_and_of_the_rank_it_was_measured_at() {
        let until = |k: usize, gap: f32, recall: f32, cost: f32| {
            let margin = Some(Margin { rank: k, gap });
            let depth = Depth { margin, ..Depth::new(512, 2 * k) };
            CalibrationPoint { depth, ..point(k, 0, 0, recall, cost) }
        };
        let measured = vec![
            point(10, 8, 20, 0.92, 1.0),
            point(10, 32, 20, 0.97, 4.0),
            point(100, 64, 150, 0.96, 9.0),
            until(10, 0.1, 0.96, 2.0),
            until(10, 0.2, 0.99, 3.0),
            until(100, 0.05, 0.97, 8.0),
            until(100, 0.07, 0.99, 20.0),
        ];
        let calibration = calibration(measured.clone());
        assert_eq!((calibration.points.len(), calibration.margins.len()), (3, 4));
        let choose = |hits, target| calibration.depth_or_margin(hits, target).unwrap();
        let gap = |hits, target| choose(hits, target).depth.margin.map(|m| (m.rank, m.gap));
        assert_eq!(gap(10, 0.91), None, "a narrow window is cheaper");
        assert_eq!(gap(10, 0.95), Some((10, 0.1)));
        assert_eq!(gap(10, 0.98), Some((10, 0.2)), "no window reaches it");
        assert_eq!(gap(10, 0.999), None, "nothing does");
        assert_eq!((choose(10, 0.98).reached, choose(10, 0.999).reached), (true, false));
        assert_eq!(gap(30, 0.95), Some((100, 0.05)), "more hits: the margin of the next rank");
        assert_eq!(gap(20, 0.95), None, "for which twice the window is cheaper");
        assert_eq!(gap(101, 0.95), None, "no margin was measured for more hits");
        assert_eq!(calibration.depth(10, 0.98).unwrap().depth.margin, None);
        assert_eq!((calibration.cost(10, 0.95), calibration.cost(10, 0.985)), (2.0, 3.0));
        let expected = |rank, gap, rerank| {
            let depth = Depth { margin: Some(Margin { rank, gap }), ..Depth::new(512, rerank) };
            calibration.expected(10, depth)
        };
        assert_eq!(expected(10, 0.15, 20), Some(0.96 - 0.01));
        assert_eq!(expected(10, 0.3, 20), Some(0.99 - 0.01));
        assert_eq!([expected(10, 0.05, 20), expected(10, 0.3, 19)], [None; 2]);
        assert_eq!(expected(100, 0.05, 200), Some(0.97 - 0.01));
        assert_eq!(expected(1, 0.3, 20), None, "the margin of fewer hits says nothing");
        let zone = Zone::new((0.5, false), measured.clone(), vec![]);
        assert!(zone.margins.is_empty(), "not of synthesised queries");
        let zone = Zone::new((0.5, true), measured, vec![]);
        assert_eq!((zone.points.len(), zone.margins.len()), (3, 4));
        assert_eq!(zone.depth_or_margin(10, 0.95).unwrap().depth.margin.unwrap().gap, 0.1);
        assert_eq!(zone.depth(10, 0.95).unwrap().depth, Depth::new(32, 20));
    }

    #[test]
    fn a_scan_is_the_widest_search() {
        let calibration = calibration(vec![
            point(10, 64, 50, 0.9, 8.0),
            point(10, 128, 50, 0.95, 90.0),
            point(10, Depth::SCAN, 80, 0.99, 40.0),
            point(100, 256, 300, 0.98, 18.0),
        ]);
        let depth = |hits, target| calibration.depth(hits, target).unwrap().depth;
        assert_eq!(depth(10, 0.89), Depth::new(64, 50));
        assert!(depth(10, 0.94).is_scan(), "what costs more than a scan is left out");
        assert!(depth(200, 0.5).window == 512 && depth(20, 0.99).window == 256);
        let deep = Depth::new(100_000, 1000);
        assert_eq!(calibration.expected(10, deep), Some(0.9 - 0.01));
        let scan = Depth::scan(100);
        assert_eq!(calibration.expected(10, scan), Some(0.99 - 0.01));
        assert_eq!(calibration.scan(10, 0.9, true), None, "no filter was measured");
        assert!(calibration.scan(10, 0.9, false).unwrap().reached);
    }

    #[test]
    fn a_kind_of_queries_that_finds_less_counts() {
        let mut weak = point(10, 8, 20, 0.97, 1.0);
        weak.worst = 0.81;
        let mut few_rows = point(10, 12, 20, 0.97, 1.5);
        few_rows.rows = 0.9;
        let calibration = calibration(vec![weak, few_rows, point(10, 16, 20, 0.98, 2.0)]);
        let window = |target| calibration.depth(10, target).unwrap().depth.window;
        assert_eq!([window(0.8), window(0.9), window(0.95)], [8, 12, 16]);
    }
}
