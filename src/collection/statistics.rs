//! What queries came to, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::query::QueryResponse;

/// Estimated recalls are summed in so many parts of 1: there are no atomic floats.
const PARTS: f64 = 1e6;

/// Queries from one time that something is looked at to the next.
const NOW_AND_THEN: u64 = 256;

/// What the queries of a collection came to since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QueryStatistics {
    /// Queries that were answered, each of a batch and each of those that were fused.
    pub answered: u64,
    /// Those of them with an [estimate](QueryResponse::estimated_recall).
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
    /// Counts answers; `true` now and then.
    pub fn count(&self, answers: &[QueryResponse]) -> bool {
        let estimates = || answers.iter().filter_map(|answer| answer.estimated_recall);
        let parts = estimates().map(|recall| f64::from(recall) * PARTS);
        // Relaxed: each number alone is right.
        self.recall_parts.fetch_add(parts.map(|parts| parts as u64).sum(), Ordering::Relaxed);
        self.estimated.fetch_add(estimates().count() as u64, Ordering::Relaxed);
        let count = answers.len() as u64;
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
