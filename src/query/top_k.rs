//! The k best candidates seen so far.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::Score;
use crate::segment::{Location, Snapshot};

/// Room that is there from the start: that of the few candidates of a search.
const FIRST_ROOM: usize = 40;

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
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
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
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate<'_> {}

/// The score that a candidate needs, shared by all who look for the k best of one query: as soon
/// as one of them has k, none needs what is worse than those.
#[derive(Debug)]
pub struct Bar(AtomicU32);

impl Default for Bar {
    fn default() -> Self {
        Self(AtomicU32::new(f32::NEG_INFINITY.to_bits()))
    }
}

impl Bar {
    /// A bar that leaves out what scores less from the start.
    pub fn at(score: Score) -> Self {
        Self(AtomicU32::new(score.0.to_bits()))
    }

    #[inline]
    fn get(&self) -> Score {
        // Relaxed: an old value only lets a candidate pass that is dropped later.
        Score(f32::from_bits(self.0.load(Ordering::Relaxed)))
    }

    fn raise(&self, to: Score) {
        let higher = |bits| (to > Score(f32::from_bits(bits))).then_some(to.0.to_bits());
        // Whoever was faster raised it as high or higher, or this tries again.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, higher);
    }
}

/// The k best candidates.
///
/// They are collected until there are twice as many as wanted, and then the better half is
/// selected: constant work a candidate, where a heap would sift each.
pub struct TopK<'s> {
    limit: usize,
    candidates: Vec<Candidate<'s>>,
    /// The score of the last of the k best at the last selection.
    threshold: Score,
    snapshot: &'s Snapshot,
    bar: Option<&'s Bar>,
}

impl<'s> TopK<'s> {
    /// Keeps the `limit` best.
    pub fn new(limit: usize, snapshot: &'s Snapshot) -> Self {
        let threshold = Score(f32::NEG_INFINITY);
        let candidates = Vec::with_capacity((2 * limit).min(FIRST_ROOM));
        Self { limit, candidates, threshold, snapshot, bar: None }
    }

    /// Keeps the `limit` best of those that others, who share the bar, do not find worse than
    /// theirs.
    pub fn sharing(limit: usize, snapshot: &'s Snapshot, bar: &'s Bar) -> Self {
        Self { bar: Some(bar), ..Self::new(limit, snapshot) }
    }

    /// The score that a row needs to be among the best; offering less changes nothing.
    #[inline]
    pub fn threshold(&self) -> Score {
        self.bar.map_or(self.threshold, |bar| self.threshold.max(bar.get()))
    }

    /// Offers a row.
    #[inline]
    pub fn offer(&mut self, score: Score, location: Location) {
        if score >= self.threshold() {
            self.candidates.push(Candidate { score, location, snapshot: self.snapshot });
            if self.candidates.len() >= 2 * self.limit {
                self.select();
            }
        }
    }

    /// Drops all but the best.
    fn select(&mut self) {
        if self.candidates.len() <= self.limit {
            return;
        }
        let better = |a: &Candidate<'_>, b: &Candidate<'_>| b.cmp(a);
        if let Some(last) = self.limit.checked_sub(1) {
            let (_, worst, _) = self.candidates.select_nth_unstable_by(last, better);
            self.threshold = worst.score;
            if let Some(bar) = self.bar {
                bar.raise(self.threshold);
            }
        }
        self.candidates.truncate(self.limit);
    }

    /// Takes over the candidates of another.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.candidates.extend(other.candidates);
        self.select();
        self
    }

    /// The candidates, best first.
    pub fn into_sorted(mut self) -> Vec<Candidate<'s>> {
        self.select();
        self.candidates.sort_unstable_by(|a, b| b.cmp(a));
        self.candidates
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
            shared in any::<bool>(),
        ) {
            let ids: Vec<u64> = (0..scores.len() as u64).map(|row| (row * 37) % 61).collect();
            let snapshot = snapshot(&ids);
            let bar = Bar::default();
            let top = || match shared {
                true => TopK::sharing(limit, &snapshot, &bar),
                false => TopK::new(limit, &snapshot),
            };
            let (mut left, mut right) = (top(), top());
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
