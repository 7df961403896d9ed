//! How far a search goes.

use serde::{Deserialize, Serialize};

/// Depth of a search.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Depth {
    /// Search window: rows of a graph to expand, or IVF lists to scan; or [`Self::SCAN`].
    pub window: usize,
    /// Re-ranking budget: candidates with the best distinct scores by primary codes; ties count as
    /// one.
    pub rerank: usize,
    /// Where a search of a graph ends before its window is expanded, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<Margin>,
}

/// Ends a search of a graph at the first row to expand that scores lower than the `rank`-th best row
/// by more than `gap`. Unlike a window, it lets easy queries end early and hard ones go on
/// (distance-based early termination; cf. the adaptive beam search of Al-Jazzazi et al., arXiv
/// 2505.15636).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// Rank of the row that is compared, from 1.
    pub rank: usize,
    /// Difference of scores by primary codes. In calibrations, for a query of length 1 under dot, and of
    /// multi-vectors for the mean over their vectors.
    pub gap: f32,
}

impl Depth {
    /// Window of a scan: wider than any index search, all codes are scored without the index.
    pub const SCAN: usize = u32::MAX as usize;

    /// A depth without a margin.
    pub fn new(window: usize, rerank: usize) -> Self {
        Self { window, rerank, margin: None }
    }

    /// A scan of all codes.
    pub fn scan(rerank: usize) -> Self {
        Self::new(Self::SCAN, rerank)
    }

    /// Whether all codes are scanned.
    pub fn is_scan(&self) -> bool {
        self.window >= Self::SCAN
    }

    /// Whether a search to this depth goes at least as far as one to another, for any query.
    pub fn covers(&self, other: &Self) -> bool {
        let ends_later = match (self.margin, other.margin) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own.rank == other.rank && own.gap >= other.gap,
        };
        ends_later && self.window >= other.window && self.rerank >= other.rerank
    }

    /// The smallest depth that covers both.
    pub fn max(&self, other: &Self) -> Self {
        let margin = match (self.margin, other.margin) {
            (Some(a), Some(b)) if a.rank == b.rank => {
                Some(Margin { rank: a.rank, gap: a.gap.max(b.gap) })
            }
            _ => None,
        };
        Self {
            window: self.window.max(other.window),
            rerank: self.rerank.max(other.rerank),
            margin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(window: usize, rank: usize, gap: f32) -> Depth {
        Depth { margin: Some(Margin { rank, gap }), ..Depth::new(window, 20) }
    }

    #[test]
    fn a_margin_ends_a_search_before_its_window_does() {
        let plain = Depth::new(64, 20);
        assert!(plain.covers(&until(64, 10, 0.5)) && !until(64, 10, 0.5).covers(&plain));
        assert!(!plain.covers(&until(65, 10, 0.1)) && !plain.covers(&Depth::new(64, 21)));
        assert!(until(64, 10, 0.5).covers(&until(64, 10, 0.4)));
        assert!(!until(64, 10, 0.5).covers(&until(64, 1, 0.4)), "ranks cannot be compared");
    }

    #[test]
    fn the_larger_of_two_depths_covers_both() {
        let depths = [
            Depth::new(64, 20),
            Depth::new(16, 40),
            until(128, 10, 0.5),
            until(32, 10, 0.7),
            until(64, 100, 0.1),
            Depth::scan(9),
        ];
        for a in depths {
            for b in depths {
                let both = a.max(&b);
                assert!(both.covers(&a) && both.covers(&b), "{a:?} {b:?}: {both:?}");
                assert_eq!(both, b.max(&a));
            }
        }
        assert_eq!(until(128, 10, 0.5).max(&until(32, 10, 0.7)), until(128, 10, 0.7));
    }
}
