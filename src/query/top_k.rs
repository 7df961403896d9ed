//! The k best candidates seen so far.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::model::Score;
use crate::segment::{Location, Snapshot};

/// A row and its score.
#[derive(Clone, Copy)]
pub struct Candidate<'s> {
    /// How similar it is.
    pub score: Score,
    /// Where it is.
    pub location: Location,
    snapshot: &'s Snapshot,
}

// `Greater` means better: a higher score, then a smaller id, so that the answer does not depend
// on how points are spread over segments. Ids are looked up for equal scores only.
impl Ord for Candidate<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.cmp(&other.score).then_with(|| {
            let id = |candidate: &Self| {
                let location = candidate.location;
                candidate.snapshot.reader(location).id(location.row).ok()
            };
            id(other).cmp(&id(self))
        })
    }
}

impl PartialOrd for Candidate<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate<'_> {}

/// The k best candidates, the worst of them on top of the heap.
pub struct TopK<'s> {
    limit: usize,
    heap: BinaryHeap<std::cmp::Reverse<Candidate<'s>>>,
    snapshot: &'s Snapshot,
}

impl<'s> TopK<'s> {
    /// Keeps the `limit` best.
    pub fn new(limit: usize, snapshot: &'s Snapshot) -> Self {
        Self { limit, heap: BinaryHeap::new(), snapshot }
    }

    /// Whether a row of this score may be among the best; if not, offering it changes nothing.
    #[inline]
    pub fn may_enter(&self, score: Score) -> bool {
        let worst = self.heap.peek().map(|worst| worst.0.score);
        self.heap.len() < self.limit || worst.is_some_and(|worst| score >= worst)
    }

    /// Offers a row.
    #[inline]
    pub fn offer(&mut self, score: Score, location: Location) {
        if self.may_enter(score) {
            self.push(Candidate { score, location, snapshot: self.snapshot });
        }
    }

    /// Number of candidates.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    fn push(&mut self, candidate: Candidate<'s>) {
        if self.heap.len() < self.limit {
            self.heap.push(std::cmp::Reverse(candidate));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && candidate > worst.0
        {
            worst.0 = candidate;
        }
    }

    /// Takes over the candidates of another.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for candidate in other.heap {
            self.push(candidate.0);
        }
        self
    }

    /// The candidates, best first.
    pub fn into_sorted(self) -> Vec<Candidate<'s>> {
        self.heap.into_sorted_vec().into_iter().map(|candidate| candidate.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{CollectionConfig, Metric, Point, PointBatchBuilder, PointId, VectorField};
    use crate::segment::{MutableReader, MutableSegment, View};

    /// A snapshot whose row r has the id `ids[r]`.
    fn snapshot(ids: &[u64]) -> Snapshot {
        let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
        let mut builder = PointBatchBuilder::new(&config);
        for &id in ids {
            builder.push(Point::new(id).with_vector("v", vec![1.0])).unwrap();
        }
        let segment = Arc::new(MutableSegment::default());
        segment.append(builder.finish());
        let reader = Arc::new(MutableReader::new(segment, ids.len() as u32));
        Snapshot { sequence: 1, views: vec![View { reader, deleted: Arc::default() }] }
    }

    proptest! {
        #[test]
        fn keeps_the_best_by_score_and_then_by_smaller_id(
            scores in proptest::collection::vec(0_u8..6, 0..60),
            limit in 0_usize..12,
            split in 0_usize..60,
        ) {
            let ids: Vec<u64> = (0..scores.len() as u64).map(|row| (row * 37) % 61).collect();
            let snapshot = snapshot(&ids);
            let (mut left, mut right) = (TopK::new(limit, &snapshot), TopK::new(limit, &snapshot));
            for (row, &score) in scores.iter().enumerate() {
                let part = if row < split { &mut left } else { &mut right };
                part.offer(Score(f32::from(score)), Location { view: 0, row: row as u32 });
            }
            let got: Vec<(f32, u64)> = left
                .merge(right)
                .into_sorted()
                .iter()
                .map(|c| (c.score.0, ids[c.location.row as usize]))
                .collect();
            let mut expected: Vec<(f32, u64)> =
                scores.iter().map(|&s| f32::from(s)).zip(ids.iter().copied()).collect();
            expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            expected.truncate(limit);
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn ids_of_the_test_snapshot_are_as_given() {
        let snapshot = snapshot(&[5, 3]);
        assert_eq!(snapshot.views[0].reader.id(1).unwrap(), PointId::Number(3));
    }
}
