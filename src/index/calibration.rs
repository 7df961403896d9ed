//! Which depth of search reaches which recall: measured for each index on sample queries, and kept
//! with it, so that a query can ask for a recall instead of a depth.

use serde::{Deserialize, Serialize};

/// The recall that a query gets which asks for nothing.
pub const DEFAULT_TARGET_RECALL: f32 = 0.98;

/// How far a search goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Depth {
    /// Rows of a graph that are expanded, or lists that are scanned; or [`Self::SCAN`].
    pub window: usize,
    /// Best rows by their primary codes that are scored again.
    pub rerank: usize,
}

impl Depth {
    /// A window wider than that of any search: all codes are scanned, without the index.
    pub const SCAN: usize = u32::MAX as usize;

    /// Whether all codes are scanned.
    pub fn is_scan(&self) -> bool {
        self.window >= Self::SCAN
    }
}

/// What a depth was measured to give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CalibrationPoint {
    /// Nearest rows that were asked for.
    pub k: usize,
    /// How far the search went.
    pub depth: Depth,
    /// Mean share of the exact k nearest rows that were found.
    pub recall: f32,
    /// Standard error of that mean.
    pub error: f32,
    /// Bytes that were read for it, scattered ones counting more: what searches are compared by.
    pub cost: f32,
}

impl CalibrationPoint {
    /// A mean counts less its standard error, so that a lucky sample does not promise too much.
    fn reaches(&self, target: f32) -> bool {
        self.recall - self.error >= target
    }
}

/// What was measured, for each k the points that no other one beats, from little work to much.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Calibration {
    /// Number of sample queries.
    pub queries: usize,
    /// Whether they are the user's; if not, they are rows of the segment, each held out from its
    /// own search.
    pub from_user: bool,
    /// The measured points.
    pub points: Vec<CalibrationPoint>,
}

impl Calibration {
    /// Keeps of all measured points those that no other one of the same k beats.
    pub fn new(queries: usize, from_user: bool, mut measured: Vec<CalibrationPoint>) -> Self {
        measured.sort_by(|a, b| {
            (a.k, a.cost).partial_cmp(&(b.k, b.cost)).unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut points: Vec<CalibrationPoint> = Vec::new();
        for point in measured {
            let better =
                points.last().is_none_or(|last| last.k != point.k || point.recall > last.recall);
            if better {
                points.push(point);
            }
        }
        Self { queries, from_user, points }
    }

    /// The least work that reaches a recall for `hits` nearest rows, and the recall that is
    /// expected of it; the most that was measured if nothing reaches it. `None` if nothing was
    /// measured.
    pub fn depth(&self, hits: usize, target: f32) -> Option<(Depth, f32)> {
        let of = |k: usize| {
            let points = self.of(k);
            points.iter().find(|point| point.reaches(target)).or(points.last())
        };
        // The measured k from which `hits` is reached by going on in proportion.
        let k = self.nearest_k(hits);
        let point = of(k)?;
        let scale = (hits as f64 / k as f64).max(1.0);
        let scaled = |count: usize| (count as f64 * scale).ceil() as usize;
        let mut depth =
            Depth { window: scaled(point.depth.window), rerank: scaled(point.depth.rerank) };
        // More was measured for a larger k than going on in proportion says is needed.
        let larger = self.points.partition_point(|point| point.k < hits);
        if let Some(larger) = self.points.get(larger).and_then(|point| of(point.k)) {
            depth.window = depth.window.min(larger.depth.window);
            depth.rerank = depth.rerank.min(larger.depth.rerank).max(hits);
        }
        Some((depth, point.recall))
    }

    /// Whether some measured depth reaches a recall for `hits` nearest rows.
    pub fn reaches(&self, hits: usize, target: f32) -> bool {
        let k = self.nearest_k(hits);
        self.of(k).iter().any(|point| point.reaches(target))
    }

    /// The recall that was measured for the widest search that goes no further than this one;
    /// `None` if none was measured.
    pub fn expected(&self, hits: usize, depth: Depth) -> Option<f32> {
        let k = self.nearest_k(hits);
        let scale = (hits as f64 / k as f64).max(1.0);
        let reach = |count: usize| count as f64 * scale;
        let within = |point: &&CalibrationPoint| {
            reach(point.depth.window) <= depth.window as f64
                && reach(point.depth.rerank) <= depth.rerank as f64
        };
        self.of(k).iter().filter(within).map(|point| point.recall).reduce(f32::max)
    }

    /// The largest measured k up to `hits`, or else the smallest.
    fn nearest_k(&self, hits: usize) -> usize {
        let above = self.points.partition_point(|point| point.k <= hits);
        let nearest = self.points.get(above.saturating_sub(1));
        nearest.map_or(hits, |point| point.k)
    }

    /// The points of a k: they are in its order.
    fn of(&self, k: usize) -> &[CalibrationPoint] {
        let first = self.points.partition_point(|point| point.k < k);
        let rest = &self.points[first..];
        &rest[..rest.partition_point(|point| point.k == k)]
    }

    /// The work that a target takes, for comparing indexes; infinite if it is not reached.
    pub fn cost(&self, k: usize, target: f32) -> f32 {
        let reaches = |point: &&CalibrationPoint| point.recall >= target;
        self.of(k).iter().find(reaches).map_or(f32::INFINITY, |point| point.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(k: usize, window: usize, rerank: usize, recall: f32, cost: f32) -> CalibrationPoint {
        CalibrationPoint { k, depth: Depth { window, rerank }, recall, error: 0.004, cost }
    }

    #[test]
    fn the_least_work_that_reaches_a_target_is_taken() {
        let calibration = Calibration::new(
            9,
            true,
            vec![
                point(10, 64, 50, 0.99, 8.0),
                point(10, 8, 20, 0.91, 1.0),
                point(10, 16, 20, 0.96, 2.0),
                point(10, 16, 30, 0.955, 2.5),
                point(100, 64, 150, 0.95, 9.0),
                point(100, 128, 300, 0.99, 18.0),
            ],
        );
        assert_eq!(calibration.points.len(), 5, "a point that is beaten is dropped");
        let depth = |hits, target| {
            let (Depth { window, rerank }, recall) = calibration.depth(hits, target).unwrap();
            (window, rerank, recall)
        };
        assert_eq!(depth(10, 0.5), (8, 20, 0.91));
        assert_eq!(depth(10, 0.91), (16, 20, 0.96), "the standard error counts");
        assert_eq!(depth(10, 0.95), (16, 20, 0.96));
        assert_eq!(depth(10, 0.999), (64, 50, 0.99));
        assert_eq!(depth(1, 0.95), (16, 20, 0.96));
        assert_eq!(depth(20, 0.95), (32, 40, 0.96), "in proportion");
        assert_eq!(depth(80, 0.95), (128, 160, 0.96), "at most what the larger k needs");
        assert_eq!(depth(200, 0.98), (256, 600, 0.99));
        assert_eq!(Calibration::default().depth(10, 0.9), None);
        let expected = |window, rerank| calibration.expected(10, Depth { window, rerank });
        assert_eq!(expected(16, 25), Some(0.96));
        assert_eq!(expected(7, 100), None);
        assert!(calibration.reaches(10, 0.986) && !calibration.reaches(10, 0.987));
        assert_eq!((calibration.cost(10, 0.95), calibration.cost(10, 0.999)), (2.0, f32::INFINITY));
    }

    #[test]
    fn a_scan_is_the_widest_search() {
        let calibration = Calibration::new(
            9,
            true,
            vec![
                point(10, 64, 50, 0.9, 8.0),
                point(10, 128, 50, 0.95, 90.0),
                point(10, Depth::SCAN, 80, 0.99, 40.0),
                point(100, 256, 300, 0.98, 18.0),
            ],
        );
        let depth = |hits, target| calibration.depth(hits, target).unwrap().0;
        assert_eq!(depth(10, 0.89), Depth { window: 64, rerank: 50 });
        assert!(depth(10, 0.94).is_scan(), "what costs more than a scan is left out");
        assert!(depth(200, 0.5).window == 512 && depth(20, 0.99).window == 256);
        let deep = Depth { window: 100_000, rerank: 1000 };
        assert_eq!(calibration.expected(10, deep), Some(0.9));
    }
}
