//! Inverted lists: the rows divided by the nearest of many centroids (k-means in the reduced
//! space), and the codes of a list one after the other.
//!
//! A query scores the centroids and then the rows of the nearest lists, in one run of memory each:
//! more rows than a graph search scores, at a fraction of the cost a row. Lists are built in a
//! small part of the time that a graph takes.

mod build;
mod centroids;

pub use build::{IvfSettings, build};

use self::centroids::{Centroids, Nearness};
use super::scratch::Scratch;
use super::{CodeScores, Effort};
use crate::model::Metric;

/// Rows that are scored at once.
const BLOCK_ROWS: usize = 64;

/// What is stored of lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IvfParts {
    /// Records of the centroids, and slack.
    pub centroids: Vec<u8>,
    /// Where each list starts, and where the last ends.
    pub offsets: Vec<u32>,
    /// The row at each position of the lists.
    pub rows: Vec<u32>,
    /// The primary record at each position, and slack.
    pub codes: Vec<u8>,
}

/// Lists as they are read.
#[derive(Debug, Clone, Copy)]
pub struct Lists<'a> {
    /// Rows of the segment; what names others is damaged and passed over.
    pub segment_rows: u32,
    /// See [`IvfParts`].
    pub centroids: &'a [u8],
    /// See [`IvfParts`]; rising, and the last as many as there are rows.
    pub offsets: &'a [u32],
    /// See [`IvfParts`].
    pub rows: &'a [u32],
    /// See [`IvfParts`].
    pub codes: &'a [u8],
}

impl IvfParts {
    /// The parts as they are read.
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

    /// Bytes of the centroids' section.
    pub fn centroid_bytes(dimension: usize, lists: usize) -> usize {
        Centroids::section_bytes(dimension, lists)
    }

    /// Fills `scratch.beam` with the best accepted rows of the `probes` lists that are nearest to
    /// the query, at most `capacity`.
    pub fn search(
        &self,
        codes: &CodeScores<'_>,
        scratch: &mut Scratch,
        probes: usize,
        capacity: usize,
        accept: impl Fn(u32) -> bool,
    ) -> Effort {
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
        if probes < lists.len() {
            lists.select_nth_unstable_by(probes, nearer);
            lists.truncate(probes);
        }
        lists.sort_unstable_by(nearer);
        let mut effort =
            Effort { expanded: lists.len() as u64, scored: self.count() as u64, scanned: 0 };
        for &(_, list) in &*lists {
            let (first, end) = (self.offsets[list as usize], self.offsets[list as usize + 1]);
            effort.scanned += u64::from(end - first);
            self.scan(codes, first as usize..end as usize, &mut |row, score| {
                if score >= beam.threshold() && row < self.segment_rows && accept(row) {
                    beam.push(score, row);
                }
            });
        }
        effort
    }

    fn scan(
        &self,
        codes: &CodeScores<'_>,
        positions: std::ops::Range<usize>,
        offer: &mut impl FnMut(u32, f32),
    ) {
        let stride = codes.codec.primary_layout().stride();
        let mut buffer = [0.0; BLOCK_ROWS];
        for first in positions.clone().step_by(BLOCK_ROWS) {
            let end = positions.end.min(first + BLOCK_ROWS);
            let scores = &mut buffer[..end - first];
            let records = &self.codes[first * stride..];
            codes.codec.score_rows(codes.kernel, codes.query, records, scores);
            for (&row, &score) in self.rows[first..end].iter().zip(&*scores) {
                offer(row, score);
            }
        }
    }
}
