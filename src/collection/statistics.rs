//! What queries came to, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Estimated recalls are summed in so many parts of 1: there are no atomic floats.
const PARTS: f64 = 1e6;

/// Queries from one time that something is looked at to the next.
const NOW_AND_THEN: u64 = 256;

/// What the queries of a collection came to since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QueryStatistics {
    /// Queries that were answered, each of a batch and each of those that were fused.
    pub answered: u64,
    /// Those of them with an [estimate](crate::QueryResponse::estimated_recall).
    pub estimated: u64,
    /// The sum of their estimates, to six digits of each.
    pub estimated_recall_sum: f64,
}

/// Counts queries.
#[derive(Debug, Default)]
pub(super) struct QueryCounters {
    answered: AtomicU64,
    estimated: AtomicU64,
    recall_parts: AtomicU64,
}

impl QueryCounters {
    /// Counts answers by their estimates; `true` now and then.
    pub fn count(&self, answers: impl Iterator<Item = Option<f32>>) -> bool {
        let (mut count, mut estimated, mut parts) = (0, 0, 0);
        for estimate in answers {
            count += 1;
            estimated += u64::from(estimate.is_some());
            parts += estimate.map_or(0, |recall| (f64::from(recall) * PARTS) as u64);
        }
        // Relaxed: each number alone is right.
        self.recall_parts.fetch_add(parts, Ordering::Relaxed);
        self.estimated.fetch_add(estimated, Ordering::Relaxed);
        let before = self.answered.fetch_add(count, Ordering::Relaxed);
        before / NOW_AND_THEN != (before + count) / NOW_AND_THEN
    }

    /// Queries that were answered.
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
