//! Indexes: which rows of a segment to score, instead of all.
//!
//! A [graph] walks from row to row towards the query, [lists](ivf) divide the rows by
//! centroids and scan the nearest few. Both find candidates by primary codes alone, into the
//! `Beam` of a [`Scratch`]; re-ranking is the caller's business, and so is where the parts of an
//! index are stored.

mod alike;
mod beam;
mod calibration;
mod copies;
mod far;
#[cfg(test)]
mod fixture;
pub mod graph;
pub mod ivf;
mod lately;
mod scratch;
mod view;
mod zones;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use alike::{alike, apart, directed};
pub use beam::MAX_ROWS;
pub use calibration::{
    Calibration, CalibrationPoint, Choice, DEFAULT_TARGET_RECALL, Depth, LEAST_OF_GROUP, Measured,
    Outside, Summary, Zone, lower_bound, mean_less_error,
};
pub use copies::{Copies, distinct};
pub use far::{far_query, nearness};
pub use lately::{FARTHEST, Farness, Lately};
pub use scratch::{Scratch, with_scratch};
pub use view::{Ask, BuiltIndex, IndexView, Outcome, Selection};
pub use zones::{Far, LEAST_OF_ZONE, Members};

use crate::kernels;
use crate::kernels::codes::CodeKernel;
use crate::quantization::{Codec, PrimaryQuery};

/// Scores rows for one query; higher is better.
pub trait Scores {
    /// Asks for what scoring a row will read.
    fn prefetch(&self, row: u32);

    /// Scores rows, an element a row.
    fn score(&self, rows: &[u32], scores: &mut [f32]);
}

/// A query and the primary codes of a segment.
#[derive(Debug, Clone, Copy)]
pub struct CodeScores<'a> {
    /// Made the codes.
    pub codec: &'a Codec,
    /// Scores them.
    pub kernel: CodeKernel,
    /// The records of all rows, and slack.
    pub records: &'a [u8],
    /// What is looked for.
    pub query: &'a PrimaryQuery,
}

impl Scores for CodeScores<'_> {
    #[inline(always)]
    fn prefetch(&self, row: u32) {
        let stride = self.codec.primary_layout().stride();
        kernels::prefetch(self.records, row as usize * stride, stride);
    }

    #[inline]
    fn score(&self, rows: &[u32], scores: &mut [f32]) {
        self.codec.score_listed(self.kernel, self.query, self.records, rows, scores);
    }
}

/// What a search cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Rows whose neighbours were read, or lists that were scanned.
    pub expanded: u64,
    /// Rows or centroids that were scored, each from a place of its own.
    pub scored: u64,
    /// Rows that were scored one after the other.
    pub scanned: u64,
}

impl std::ops::AddAssign for Effort {
    fn add_assign(&mut self, other: Self) {
        self.expanded += other.expanded;
        self.scored += other.scored;
        self.scanned += other.scanned;
    }
}

/// How far a build is; shared with whoever wants to know, or to stop it.
#[derive(Debug, Default)]
pub struct BuildProgress {
    /// Steps done.
    pub done: AtomicU64,
    /// Steps to do.
    pub total: AtomicU64,
    /// Whether to stop.
    pub cancelled: AtomicBool,
}

impl BuildProgress {
    /// Begins to count: nothing of so much is done.
    fn start(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }
}
