//! Query statistics, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Fixed-point unit of summed recall estimates: there are no atomic floats.
const PARTS: f64 = 1e6;

/// Interval of periodic checks, in queries.
const NOW_AND_THEN: u64 = 256;

/// Statistics of a collection's queries since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QueryStatistics {
    /// Number of answered queries, counting each query of a batch or fusion.
    pub answered: u64,
    /// Number of those with a [recall estimate](crate::QueryResponse::estimated_recall).
    pub estimated: u64,
    /// Sum of these estimates, each to six digits.
    pub estimated_recall_sum: f64,
}

/// Counters of queries.
#[derive(Debug, Default)]
pub(super) struct QueryCounters {
    answered: AtomicU64,
    estimated: AtomicU64,
    recall_parts: AtomicU64,
}

impl QueryCounters {
    /// Counts answers by their estimates; returns `true` every `NOW_AND_THEN` queries.
    pub fn count(&self, answers: impl Iterator<Item = Option<f32>>) -> bool {
        let (mut count, mut estimated, mut parts) = (0, 0, 0);
        for estimate in answers {
            count += 1;
            estimated += u64::from(estimate.is_some());
            parts += estimate.map_or(0, |recall| (f64::from(recall) * PARTS) as u64);
        }
        // Relaxed: the counters need not be consistent with each other.
        self.recall_parts.fetch_add(parts, Ordering::Relaxed);
        self.estimated.fetch_add(estimated, Ordering::Relaxed);
        let before = self.answered.fetch_add(count, Ordering::Relaxed);
        before / NOW_AND_THEN != (before + count) / NOW_AND_THEN
    }

    /// Number of answered queries.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub fn read(&self) -> QueryStatistics {
        let parts = self.recall_parts.load(Ordering::Relaxed);
        let answered = self.answered.load(Ordering::Relaxed);
        let estimated = self.estimated.load(Ordering::Relaxed);
        QueryStatistics { answered, estimated, estimated_recall_sum: parts as f64 / PARTS }
    }
}
