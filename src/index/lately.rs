//! Tracks recent queries of each index: whether many are as far from its rows as the farthest of
//! the sample that calibrated it.
//!
//! A recall estimate is a mean over queries. A few far queries are part of that mean; if most are
//! far, each has to be searched further. Only a running average is kept.

use std::sync::atomic::{AtomicU32, Ordering};

/// The farthest shares of the sample, the second included in the first.
pub const FARTHEST: [f64; 2] = [0.25, 0.08];
/// Mean contribution of a sample query.
const USUAL: f64 = FARTHEST[0] * 0.5 + FARTHEST[1] * 0.5;
/// Mean contribution above which the workload differs from the sample: for a stream like the
/// sample, the average has a standard deviation of 0.039.
const UNUSUAL: f64 = 0.3;
/// Approximate number of queries remembered.
const MEMORY: u32 = 32;
/// Fixed-point unit of averages.
const ONE: u32 = 1 << 20;

/// Distance of a query from the rows, relative to the sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farness {
    /// Like most of the sample.
    Usual,
    /// Like the farthest quarter.
    Far,
    /// Like the farthest twelfth, or farther.
    Farthest,
}

/// An exponentially weighted moving average.
#[derive(Debug)]
pub struct Lately(AtomicU32);

impl Default for Lately {
    fn default() -> Self {
        Self(AtomicU32::new((USUAL * f64::from(ONE)) as u32))
    }
}

impl Lately {
    /// Adds a query. Concurrent updates may be lost.
    pub fn note(&self, farness: Farness) {
        let counts = match farness {
            Farness::Usual => 0,
            Farness::Far => ONE / 2,
            Farness::Farthest => ONE,
        };
        let average = self.0.load(Ordering::Relaxed);
        let new = average - average / MEMORY + counts / MEMORY;
        self.0.store(new.min(ONE), Ordering::Relaxed);
    }

    /// Whether many recent queries are far.
    pub fn are_far(&self) -> bool {
        self.0.load(Ordering::Relaxed) > (UNUSUAL * f64::from(ONE)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_far_queries_are_noticed_soon_and_forgotten() {
        let lately = Lately::default();
        // Like the sample: of 25 queries, two are farthest and four others far.
        let usual = |query| match query % 25 {
            0 | 1 => Farness::Farthest,
            5 | 10 | 15 | 20 => Farness::Far,
            _ => Farness::Usual,
        };
        for query in 0..10_000 {
            lately.note(usual(query));
            assert!(!lately.are_far(), "query {query}");
        }
        for (far, share, within) in [(Farness::Farthest, 3, 30), (Farness::Far, 5, 30)] {
            let lately = Lately::default();
            let noticed = (0..200).position(|query| {
                lately.note(if query % 5 < share { far } else { Farness::Usual });
                lately.are_far()
            });
            assert!(noticed.is_some_and(|queries| queries < within), "{far:?}: {noticed:?}");
        }
        (0..100).for_each(|_| lately.note(Farness::Farthest));
        let forgotten = (0..100).position(|_| {
            lately.note(Farness::Usual);
            !lately.are_far()
        });
        assert!(forgotten.is_some_and(|queries| queries < 60), "{forgotten:?}");
    }
}
