//! Similarity scores: higher is better, always.

use std::cmp::Ordering;

/// A similarity: dot product, cosine, MaxSim, or negative squared distance.
///
/// Higher is better for every metric. Unlike `f32` it is totally ordered, so that it can be sorted
/// and kept in a heap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score(pub f32);

impl Eq for Score {}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        // +0.0 and -0.0 are one score: adding zero maps both to +0.0.
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_like_numbers_and_ignores_the_sign_of_zero() {
        assert!(Score(1.0) > Score(0.5));
        assert!(Score(-1.0) > Score(-2.0));
        assert_eq!(Score(0.0).cmp(&Score(-0.0)), Ordering::Equal);
    }
}
