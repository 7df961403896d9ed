//! What the queries of late are like, for each index: whether many of them are as far from its rows as
//! the farthest of the sample that it was calibrated by.
//!
//! A promise is about the mean over queries. A few far ones among many are part of that mean; when most
//! are far, each has to be searched further. Nothing of a query is kept but its part in the share.

use std::sync::atomic::{AtomicU32, Ordering};

/// The share of the sample that is farthest from the rows.
pub const FARTHEST_SHARE: f64 = 0.08;
/// More of the queries of late than this are no accident of a stream like the sample: the share varies by
/// a standard deviation of 0.034.
const UNUSUAL_SHARE: f64 = 0.2;
/// How many queries count, about.
const MEMORY: u32 = 32;
/// The unit of shares.
const ONE: u32 = 1 << 20;

/// A running share, which forgets exponentially.
#[derive(Debug)]
pub struct Lately(AtomicU32);

impl Default for Lately {
    fn default() -> Self {
        Self(AtomicU32::new((FARTHEST_SHARE * f64::from(ONE)) as u32))
    }
}

impl Lately {
    /// Counts a query. Of queries at the same time some may not be counted.
    pub fn note(&self, is_far: bool) {
        let share = self.0.load(Ordering::Relaxed);
        let new = share - share / MEMORY + u32::from(is_far) * (ONE / MEMORY);
        self.0.store(new.min(ONE), Ordering::Relaxed);
    }

    /// Whether far queries are many.
    pub fn are_far(&self) -> bool {
        self.0.load(Ordering::Relaxed) > (UNUSUAL_SHARE * f64::from(ONE)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_far_queries_are_noticed_soon_and_forgotten() {
        let lately = Lately::default();
        // As many as of the sample, evenly and in pairs.
        for query in 0..10_000 {
            lately.note(query % 25 < 2);
            assert!(!lately.are_far(), "query {query}");
        }
        let noticed = (0..100).position(|query| {
            lately.note(query % 5 < 2);
            lately.are_far()
        });
        assert!(noticed.is_some_and(|queries| queries < 30), "{noticed:?}");
        (0..100).for_each(|_| lately.note(true));
        let forgotten = (0..100).position(|_| {
            lately.note(false);
            !lately.are_far()
        });
        assert!(forgotten.is_some_and(|queries| queries < 60), "{forgotten:?}");
    }
}
