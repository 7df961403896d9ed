//! IVF: divides the rows into lists by nearest centroid (k-means in the reduced space), with the
//! codes of each list contiguous.
//!
//! A query scores the centroids and then the rows of the nearest lists, each sequentially: more
//! rows than a graph search scores, at a fraction of the cost per row. Building takes a small part
//! of the time of a graph.

mod build;
mod centroids;

pub use build::{IvfSettings, build};

use self::centroids::{Centroids, Nearness};
use super::scratch::Scratch;
use super::view::Accepted;
use super::{CodeScores, Effort};
use crate::model::Metric;

/// Rows scored per batch.
const BLOCK_ROWS: usize = 64;

/// One in this many rows is checked for eligibility, to estimate the eligible share.
const SAMPLED_ROWS: u64 = 4;

/// Depth of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Goal {
    /// Minimum number of lists to scan.
    pub probes: usize,
    /// More lists are scanned until they hold about this many eligible rows; 0 if all rows are
    /// eligible.
    pub accepted: u64,
    /// No more lists are scanned after scoring this many rows.
    pub most_scored: u64,
}

/// Stored parts of an IVF index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IvfParts {
    /// Records of the centroids, and trailing padding.
    pub centroids: Vec<u8>,
    /// Start of each list, and the end of the last.
    pub offsets: Vec<u32>,
    /// The row at each position.
    pub rows: Vec<u32>,
    /// The primary record at each position, and trailing padding.
    pub codes: Vec<u8>,
}

/// A view of the lists for searching.
#[derive(Debug, Clone, Copy)]
pub struct Lists<'a> {
    /// Number of rows of the segment; entries beyond it are damaged and skipped.
    pub segment_rows: u32,
    /// See [`IvfParts`].
    pub centroids: &'a [u8],
    /// See [`IvfParts`]; ascending, the last is the number of rows.
    pub offsets: &'a [u32],
    /// See [`IvfParts`].
    pub rows: &'a [u32],
    /// See [`IvfParts`].
    pub codes: &'a [u8],
}

impl IvfParts {
    /// The view for searching.
    pub fn lists(&self) -> Lists<'_> {
        let Self { centroids, offsets, rows, codes } = self;
        Lists { segment_rows: u32::MAX, centroids, offsets, rows, codes }
    }
}

impl Lists<'_> {
    /// Number of lists.
    pub fn count(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Size in bytes of the centroids' section.
    pub fn centroid_bytes(dimension: usize, lists: usize) -> usize {
        Centroids::section_bytes(dimension, lists)
    }

    /// Fills `scratch.beam` with the best eligible rows, at most `capacity`, of the lists nearest
    /// to the query.
    pub fn search(
        &self,
        codes: &CodeScores<'_>,
        scratch: &mut Scratch,
        goal: Goal,
        capacity: usize,
        accept: impl Fn(u32) -> bool,
    ) -> Accepted {
        let Scratch { beam, scores, lists, sums, .. } = scratch;
        beam.reset(1, capacity);
        let nearness = match codes.codec.settings().metric {
            Metric::L2 => Nearness::Distance,
            Metric::Dot | Metric::Cosine => Nearness::Product,
        };
        let reduced = codes.query.rounded(codes.codec.primary_layout());
        let centroids = Centroids::new(reduced.len(), codes.kernel, self.centroids);
        scores.resize(self.count(), 0.0);
        centroids.score(&reduced, nearness, sums, scores);
        lists.clear();
        lists.extend((0..).zip(&*scores).map(|(list, &score)| (score, list)));
        let nearer = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if goal.accepted == 0 && goal.probes < lists.len() {
            lists.select_nth_unstable_by(goal.probes, nearer);
            lists.truncate(goal.probes);
        }
        lists.sort_unstable_by(nearer);
        let mut effort = Effort { scored: self.count() as u64, ..Effort::default() };
        let (mut asked, mut accepted) = (0, 0);
        // Counts within the lists that would suffice if all rows were eligible.
        let mut nearest = None;
        let mut complete = true;
        for (probe, &(_, list)) in lists.iter().enumerate() {
            if probe == goal.probes {
                nearest = Some((asked, accepted));
            }
            if probe >= goal.probes && accepted * SAMPLED_ROWS >= goal.accepted {
                break;
            }
            if probe >= goal.probes && effort.scored + effort.scanned > goal.most_scored {
                complete = false;
                break;
            }
            let (first, end) = (self.offsets[list as usize], self.offsets[list as usize + 1]);
            effort.expanded += 1;
            effort.scanned += u64::from(end - first);
            self.scan(codes, first as usize..end as usize, &mut |position, row, score| {
                let counts = goal.accepted > 0 && (position as u64).is_multiple_of(SAMPLED_ROWS);
                if !counts && score < beam.threshold() {
                    return;
                }
                let is_accepted = row < self.segment_rows && accept(row);
                asked += u64::from(counts);
                accepted += u64::from(counts && is_accepted);
                if is_accepted && score >= beam.threshold() {
                    beam.push(score, row);
                }
            });
        }
        let all = (asked, accepted);
        let of =
            |(asked, accepted)| Accepted { effort, accepted, rejected: asked - accepted, complete };
        // Matches may lie away from the query by either count.
        let (near, all) = (of(nearest.unwrap_or(all)), of(all));
        if near.share() < all.share() { near } else { all }
    }

    fn scan(
        &self,
        codes: &CodeScores<'_>,
        positions: std::ops::Range<usize>,
        offer: &mut impl FnMut(usize, u32, f32),
    ) {
        let stride = codes.codec.primary_layout().stride();
        let mut buffer = [0.0; BLOCK_ROWS];
        for first in positions.clone().step_by(BLOCK_ROWS) {
            let end = positions.end.min(first + BLOCK_ROWS);
            let scores = &mut buffer[..end - first];
            let records = &self.codes[first * stride..];
            codes.codec.score_rows(codes.kernel, codes.query, records, scores);
            for (position, &score) in (first..end).zip(&*scores) {
                offer(position, self.rows[position], score);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::index::BuildProgress;
    use crate::index::fixture::{DIMENSION, Fixture, ROWS, recall};
    use crate::kernels::codes::{CodeKernel, CodeLayout};

    const METRICS: [Metric; 3] = [Metric::Dot, Metric::Cosine, Metric::L2];

    /// A search among all rows.
    fn all_of(probes: usize) -> Goal {
        Goal { probes, accepted: 0, most_scored: u64::MAX }
    }

    #[test]
    fn lists_are_scanned_until_enough_rows_were_accepted_or_too_many_were_scored() {
        let fixture = Fixture::clustered(Metric::L2);
        let parts = built(&fixture, &fixture.rows(), None);
        let lists = Lists { segment_rows: ROWS, ..parts.lists() };
        let (query, mut scratch) = (fixture.query(2), Scratch::default());
        let codes = fixture.scores(&query);
        // The nearest third of all rows is not eligible.
        let near: BTreeSet<u32> = fixture
            .exact(&query, ROWS as usize / 3, |_| true)
            .iter()
            .map(|&(_, row)| row)
            .collect();
        let accept = |row: u32| !near.contains(&row);
        let goal = Goal { probes: 2, accepted: 300, most_scored: u64::MAX };
        let went = lists.search(&codes, &mut scratch, goal, 10, accept);
        // It went on, and reports that the nearest lists hold no match.
        assert!(went.complete && went.lies_away(2.0 / 3.0, 0.5), "{went:?}");
        assert!(went.effort.expanded > 2 && went.effort.scanned > 300, "{went:?}");
        let found: Vec<(f32, u32)> = scratch.beam.rows().collect();
        assert!(recall(&found, &fixture.exact(&query, 10, accept)) > 0.5, "{found:?}");
        let few = Goal { most_scored: 400, ..goal };
        let went = lists.search(&codes, &mut scratch, few, 10, accept);
        assert!(!went.complete && went.effort.scanned < 600, "{went:?}");
        let went = lists.search(&codes, &mut scratch, goal, 10, |row| row % 2 == 0);
        assert!(went.complete && !went.lies_away(0.5, 0.8), "{went:?}");
    }

    fn built(fixture: &Fixture, rows: &[u32], lists: Option<usize>) -> IvfParts {
        let settings = IvfSettings { lists, seed: 42 };
        let (distances, progress) = (fixture.distances(), BuildProgress::default());
        let records = &fixture.records;
        build(&distances, &fixture.codec, records, rows, settings, &progress).unwrap()
    }

    #[test]
    fn lists_divide_the_rows_and_hold_their_records() {
        for metric in METRICS {
            let fixture = Fixture::clustered(metric);
            let listed: Vec<u32> = (0..ROWS).filter(|row| row % 7 != 3).collect();
            let parts = built(&fixture, &listed, Some(50));
            assert_eq!(parts.offsets.len(), 51);
            assert!(parts.offsets[0] == 0 && parts.offsets.is_sorted());
            assert_eq!(parts.offsets[50] as usize, listed.len());
            let different: BTreeSet<u32> = parts.rows.iter().copied().collect();
            assert!(different.iter().eq(&listed) && parts.rows.len() == listed.len());
            let stride = fixture.codec.primary_layout().stride();
            assert_eq!(parts.codes.len(), listed.len() * stride + CodeLayout::SLACK_BYTES);
            for (record, &row) in parts.codes.chunks_exact(stride).zip(&parts.rows) {
                assert_eq!(record, &fixture.records[row as usize * stride..][..stride]);
            }
            assert_eq!(parts.centroids.len(), Lists::centroid_bytes(DIMENSION, 50));
            assert_eq!(parts, built(&fixture, &listed, Some(50)), "the same once more");
        }
    }

    #[test]
    fn a_list_holds_the_rows_that_are_nearest_to_its_centroid() {
        let fixture = Fixture::clustered(Metric::L2);
        let parts = built(&fixture, &fixture.rows(), Some(40));
        let centroids = Centroids::new(DIMENSION, CodeKernel::detect(), &parts.centroids);
        let (distances, mut values) = (fixture.distances(), Vec::new());
        let (mut sums, mut scores) = (Vec::new(), vec![0.0; 40]);
        for list in 0..40 {
            let positions = parts.offsets[list] as usize..parts.offsets[list + 1] as usize;
            for &row in &parts.rows[positions] {
                distances.decode(row, &mut values);
                centroids.score(&values, Nearness::Distance, &mut sums, &mut scores);
                assert!(scores.iter().all(|&score| score <= scores[list]), "row {row}");
            }
        }
    }

    #[test]
    fn all_lists_are_a_scan_and_few_lists_find_most() {
        for metric in METRICS {
            let fixture = Fixture::clustered(metric);
            let parts = built(&fixture, &fixture.rows(), None);
            let lists = Lists { segment_rows: ROWS, ..parts.lists() };
            assert_eq!(lists.count(), ROWS as usize / 128);
            let mut scratch = Scratch::default();
            let (mut sum, queries) = (0.0, 50);
            for number in 0..queries {
                let query = fixture.query(number);
                let codes = fixture.scores(&query);
                let mut find = |probes, accept: fn(u32) -> bool| {
                    let effort =
                        lists.search(&codes, &mut scratch, all_of(probes), 10, accept).effort;
                    (scratch.beam.rows().collect::<Vec<_>>(), effort)
                };
                let (all, effort) = find(lists.count(), |_| true);
                assert_eq!(all, fixture.exact(&query, 10, |_| true), "{metric:?}");
                assert_eq!(effort.scanned, u64::from(ROWS));
                let (even, _) = find(usize::MAX, |row| row % 2 == 0);
                assert_eq!(even, fixture.exact(&query, 10, |row| row % 2 == 0));
                let (few, effort) = find(lists.count() / 3, |_| true);
                assert!(effort.scanned < u64::from(ROWS) * 2 / 3, "{effort:?}");
                sum += recall(&few, &all);
            }
            let mean = sum / queries as f64;
            assert!(mean >= 0.95, "{metric:?}: recall {mean}");
        }
    }

    #[test]
    fn odd_numbers_of_rows_and_lists_are_fine() {
        let fixture = Fixture::clustered(Metric::L2);
        for (rows, lists, expected) in
            [(&[7][..], None, 1), (&[7], Some(9), 1), (&[7, 9, 11], Some(100), 3)]
        {
            let parts = built(&fixture, rows, lists);
            assert_eq!(parts.lists().count(), expected);
            let (query, mut scratch) = (fixture.query(1), Scratch::default());
            parts.lists().search(&fixture.scores(&query), &mut scratch, all_of(5), 10, |_| true);
            let found: BTreeSet<u32> = scratch.beam.rows().map(|(_, row)| row).collect();
            assert!(found.iter().eq(rows), "{found:?}");
        }
    }

    #[test]
    fn rows_that_are_not_in_the_segment_are_passed_over() {
        let fixture = Fixture::clustered(Metric::L2);
        let parts = built(&fixture, &fixture.rows(), None);
        let lists = Lists { segment_rows: 1000, ..parts.lists() };
        let (query, mut scratch) = (fixture.query(1), Scratch::default());
        lists.search(&fixture.scores(&query), &mut scratch, all_of(lists.count()), 10, |row| {
            assert!(row < 1000, "nobody is asked about row {row}");
            true
        });
        let found: Vec<(f32, u32)> = scratch.beam.rows().collect();
        assert_eq!(found, fixture.exact(&query, 10, |row| row < 1000));
    }

    #[test]
    fn progress_counts_up_to_the_total_and_a_cancelled_build_gives_nothing() {
        let fixture = Fixture::clustered(Metric::Dot);
        let settings = IvfSettings { lists: None, seed: 1 };
        let run = |progress: &BuildProgress| {
            let (distances, rows) = (fixture.distances(), fixture.rows());
            build(&distances, &fixture.codec, &fixture.records, &rows, settings, progress)
        };
        let progress = BuildProgress::default();
        assert!(run(&progress).is_some());
        assert_eq!(progress.done.into_inner(), progress.total.into_inner());
        let progress = BuildProgress::default();
        progress.cancelled.store(true, Ordering::Relaxed);
        assert!(run(&progress).is_none());
    }
}
