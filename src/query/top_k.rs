//! The k best candidates seen so far.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::Score;
use crate::segment::{Location, Snapshot};

/// Initial capacity: enough for the few candidates of an index search.
const FIRST_ROOM: usize = 40;

/// A row and its score.
#[derive(Clone, Copy)]
pub struct Candidate<'s> {
    /// Similarity; higher is better.
    pub score: Score,
    /// View and row.
    pub location: Location,
    snapshot: &'s Snapshot,
}

// `Greater` means better: a higher score, then a smaller id, so that results do not depend on how
// points are spread over segments. Ids are only looked up for equal scores.
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

/// The score threshold shared by all accumulators of one query: as soon as one of them has k
/// candidates, the others can drop anything worse.
#[derive(Debug)]
pub struct Bar(AtomicU32);

impl Default for Bar {
    fn default() -> Self {
        Self(AtomicU32::new(f32::NEG_INFINITY.to_bits()))
    }
}

impl Bar {
    /// A bar that starts at `score`.
    pub fn at(score: Score) -> Self {
        Self(AtomicU32::new(score.0.to_bits()))
    }

    #[inline]
    fn get(&self) -> Score {
        // Relaxed: a stale value only admits a candidate that is dropped later.
        Score(f32::from_bits(self.0.load(Ordering::Relaxed)))
    }

    fn raise(&self, to: Score) {
        let higher = |bits| (to > Score(f32::from_bits(bits))).then_some(to.0.to_bits());
        // On a race, the other value is at least as high, or the update is retried.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, higher);
    }
}

/// The k best scores so far. Unlike that of [`TopK`], the worst of them is known after each offer.
#[derive(Debug, Clone)]
pub struct BestScores {
    count: usize,
    scores: BinaryHeap<Reverse<Score>>,
}

impl BestScores {
    /// Keeps the `count` best.
    pub fn new(count: usize) -> Self {
        Self { count, scores: BinaryHeap::with_capacity(count.min(FIRST_ROOM)) }
    }

    /// Offers a score.
    pub fn offer(&mut self, score: Score) {
        self.scores.push(Reverse(score));
        if self.scores.len() > self.count {
            self.scores.pop();
        }
    }

    /// The k-th best, once there are so many.
    pub fn worst(&self) -> Option<Score> {
        let worst = self.scores.peek().filter(|_| self.scores.len() == self.count);
        worst.map(|worst| worst.0)
    }
}

/// Maximum number of candidates kept beyond the number of distinct scores requested: copies of one
/// passage, or of a damaged row.
pub const MOST_TIED: usize = 8192;

/// Accumulates the k best candidates.
///
/// Up to twice as many are collected before the better half is selected: amortised constant work
/// per candidate, without the sifting of a heap.
///
/// Among scores by codes, equal scores count as one: all candidates with the k best distinct scores
/// are kept, since only re-ranking tells which of them is best.
pub struct TopK<'s> {
    limit: usize,
    candidates: Vec<Candidate<'s>>,
    /// Number of candidates at which the best are selected.
    room: usize,
    /// The k-th best score at the last selection.
    threshold: Score,
    snapshot: &'s Snapshot,
    bar: Option<&'s Bar>,
    by_codes: bool,
}

impl<'s> TopK<'s> {
    /// Keeps the `limit` best.
    pub fn new(limit: usize, snapshot: &'s Snapshot) -> Self {
        let threshold = Score(f32::NEG_INFINITY);
        let candidates = Vec::with_capacity((2 * limit).min(FIRST_ROOM));
        let room = 2 * limit;
        Self { limit, candidates, room, threshold, snapshot, bar: None, by_codes: false }
    }

    /// Keeps the `limit` best, with a threshold shared by all accumulators of `bar`.
    pub fn sharing(limit: usize, snapshot: &'s Snapshot, bar: &'s Bar) -> Self {
        Self { bar: Some(bar), ..Self::new(limit, snapshot) }
    }

    /// Switches to scores by codes: keeps all candidates with the `limit` best distinct scores.
    #[must_use]
    pub fn by_codes(self) -> Self {
        Self { by_codes: true, ..self }
    }

    /// Minimum score of a new candidate; lower offers are ignored.
    #[inline]
    pub fn threshold(&self) -> Score {
        self.bar.map_or(self.threshold, |bar| self.threshold.max(bar.get()))
    }

    /// Offers a candidate.
    #[inline]
    pub fn offer(&mut self, score: Score, location: Location) {
        if score >= self.threshold() {
            self.candidates.push(Candidate { score, location, snapshot: self.snapshot });
            if self.candidates.len() >= self.room {
                self.select();
            }
        }
    }

    /// Drops all but the best.
    fn select(&mut self) {
        if self.by_codes {
            self.select_by_codes();
        } else if self.candidates.len() > self.limit {
            let better = |a: &Candidate<'_>, b: &Candidate<'_>| b.cmp(a);
            if let Some(last) = self.limit.checked_sub(1) {
                let (_, worst, _) = self.candidates.select_nth_unstable_by(last, better);
                let worst = worst.score;
                self.raise(worst);
            }
            self.candidates.truncate(self.limit);
        }
    }

    fn raise(&mut self, worst: Score) {
        self.threshold = worst;
        if let Some(bar) = self.bar {
            bar.raise(worst);
        }
    }

    fn select_by_codes(&mut self) {
        if self.candidates.len() <= self.limit || self.limit == 0 {
            self.candidates.truncate(if self.limit == 0 { 0 } else { usize::MAX });
            return;
        }
        let better = |a: &Candidate<'_>, b: &Candidate<'_>| b.score.cmp(&a.score);
        self.candidates.select_nth_unstable_by(self.limit - 1, better);
        self.candidates[..self.limit].sort_unstable_by(better);
        let different = |candidates: &[Candidate<'_>]| {
            1 + candidates.windows(2).filter(|pair| pair[0].score != pair[1].score).count()
        };
        if different(&self.candidates[..self.limit]) < self.limit {
            // Ties: the best distinct scores extend further.
            self.candidates
                .sort_unstable_by(|a, b| better(a, b).then_with(|| a.location.cmp(&b.location)));
        }
        let mut last = self.limit - 1;
        let mut missing = self.limit - different(&self.candidates[..self.limit]);
        while missing > 0 && last + 1 < self.candidates.len() {
            last += 1;
            missing -= usize::from(self.candidates[last].score != self.candidates[last - 1].score);
        }
        let worst = self.candidates[last].score;
        if missing == 0 {
            self.raise(worst);
        }
        self.candidates.retain(|candidate| candidate.score >= worst);
        if self.candidates.len() > self.limit + MOST_TIED {
            self.candidates
                .sort_unstable_by(|a, b| better(a, b).then_with(|| a.location.cmp(&b.location)));
            self.candidates.truncate(self.limit + MOST_TIED);
        }
        self.room = (2 * self.limit).max(2 * self.candidates.len());
    }

    /// Merges the candidates of another accumulator.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.candidates.extend(other.candidates);
        self.select();
        self
    }

    /// Scores and rows of the candidates, which must be of one view, in any order.
    pub fn into_scored_rows(mut self) -> Vec<(f32, u32)> {
        self.select();
        self.candidates.into_iter().map(|found| (found.score.0, found.location.row)).collect()
    }

    /// The candidates, best first.
    pub fn into_sorted(mut self) -> Vec<Candidate<'s>> {
        self.select();
        if self.by_codes {
            self.candidates.sort_unstable_by(|a, b| {
                b.score.cmp(&a.score).then_with(|| a.location.cmp(&b.location))
            });
        } else {
            self.candidates.sort_unstable_by(|a, b| b.cmp(a));
        }
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
        let views = vec![View { reader, deleted: Arc::default() }];
        Snapshot { sequence: 1, views, ..Snapshot::default() }
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

    #[test]
    fn of_scores_by_codes_equal_ones_count_as_one() {
        let ids: Vec<u64> = (0..5000).collect();
        let snapshot = snapshot(&ids);
        // 40 distinct scores, one shared by 3,000 rows, the others by 50 each.
        let score = |row: u32| Score(if row < 3000 { 35.0 } else { (row % 40) as f32 });
        for (limit, expected) in [(1, 50), (4, 150), (5, 3200), (6, 3250), (40, 5000), (99, 5000)] {
            let mut halves = [0, 1].map(|_| TopK::new(limit, &snapshot).by_codes());
            for row in 0..5000 {
                halves[row as usize % 2].offer(score(row), Location { view: 0, row });
            }
            let [left, right] = halves;
            let kept = left.merge(right).into_sorted();
            assert!(kept.is_sorted_by(|a, b| a.score >= b.score), "{limit}");
            let mut scores: Vec<u32> = kept.iter().map(|kept| kept.score.0 as u32).collect();
            let count = scores.len();
            scores.dedup();
            let all: Vec<u32> = (0..40).rev().take(limit).collect();
            assert_eq!(scores, all, "{limit}");
            let of_all = (0..5000).filter(|&row| score(row).0 >= (40 - limit.min(40)) as f32);
            assert_eq!(count, of_all.count(), "{limit}");
            assert!(count.abs_diff(expected) < 60, "{limit}: {count}");
        }
    }
}
