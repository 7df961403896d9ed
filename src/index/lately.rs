//! What the queries of late are like, for each index: whether many of them are as far from its rows as
//! the farthest of the sample that it was calibrated by.
//!
//! A promise is about the mean over queries. A few far ones among many are part of that mean; when most
//! are far, each has to be searched further. Nothing of a query is kept but its part in the share.

use std::sync::atomic::{AtomicU32, Ordering};

/// The shares of the sample that are farthest from the rows, the second a part of the first.
pub const FARTHEST: [f64; 2] = [0.25, 0.08];
/// What is usual: what queries of the sample count, on average.
const USUAL: f64 = FARTHEST[0] * 0.5 + FARTHEST[1] * 0.5;
/// When queries of late count more than this, on average, it is no accident of a stream like the sample:
/// that varies by a standard deviation of 0.039.
const UNUSUAL: f64 = 0.3;
/// How many queries count, about.
const MEMORY: u32 = 32;
/// The unit of averages.
const ONE: u32 = 1 << 20;

/// How far from the rows a query is, beside the sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farness {
    /// As most of it.
    Usual,
    /// As the farthest quarter.
    Far,
    /// As the farthest twelfth, or farther.
    Farthest,
}

/// A running average, which forgets exponentially.
#[derive(Debug)]
pub struct Lately(AtomicU32);

impl Default for Lately {
    fn default() -> Self {
        Self(AtomicU32::new((USUAL * f64::from(ONE)) as u32))
    }
}

impl Lately {
    /// Counts a query. Of queries at the same time some may not be counted.
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

    /// Whether far queries are many.
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
        // As of the sample: of 25, two are the farthest, and four others far.
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
