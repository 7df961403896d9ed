//! Indexes: select the rows of a segment to score, instead of scoring all.
//!
//! A [graph] is walked from row to row towards the query; [IVF](ivf) divides the rows into lists by
//! centroid and scans the nearest lists. Both find candidates by primary codes alone and collect
//! them in the `Beam` of a [`Scratch`]; re-ranking and storage are left to the caller. Sparse vectors
//! have an [inverted] index, which finds the exact best.
//! [`QueryLists`] name the rows that similar queries need, in memory, for attention.

mod alike;
mod beam;
mod calibration;
mod copies;
mod depth;
mod far;
#[cfg(test)]
mod fixture;
pub mod graph;
pub mod inverted;
pub mod ivf;
mod lately;
mod query_lists;
mod scratch;
mod summary;
mod trace;
mod view;
mod zones;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use alike::{alike, apart, directed};
pub use beam::MAX_ROWS;
pub use calibration::{
    Calibration, CalibrationPoint, Choice, DEFAULT_TARGET_RECALL, Outside, Zone,
};
pub use copies::{Copies, distinct};
pub use depth::{Depth, Margin};
pub use far::{far_query, length, nearness};
pub use lately::{FARTHEST, Farness, Lately};
pub use query_lists::{QueryListSettings, QueryLists, Route};
pub use scratch::{Scratch, with_scratch};
pub use summary::{LEAST_OF_GROUP, Measured, Summary, lower_bound, mean_less_error};
pub use trace::Trace;
pub use view::{Ask, BuiltIndex, IndexView, Outcome, Selection};
pub use zones::{Far, LEAST_OF_ZONE, Members};

use crate::kernels;
use crate::kernels::codes::CodeKernel;
use crate::quantization::{Codec, PrimaryQuery};

/// Scores rows for one query; higher is better.
pub trait Scores {
    /// Prefetches the data needed to score a row.
    fn prefetch(&self, row: u32);

    /// Writes the score of each row to `scores`, of the same length.
    fn score(&self, rows: &[u32], scores: &mut [f32]);
}

/// A query with the primary codes of a segment.
#[derive(Debug, Clone, Copy)]
pub struct CodeScores<'a> {
    /// The codec of the codes.
    pub codec: &'a Codec,
    /// The kernel that scores them.
    pub kernel: CodeKernel,
    /// The records of all rows, and trailing padding.
    pub records: &'a [u8],
    /// The prepared query.
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

/// Work done by a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effort {
    /// Number of graph rows expanded, or of lists scanned.
    pub expanded: u64,
    /// Number of rows or centroids scored by random access.
    pub scored: u64,
    /// Number of rows scored sequentially.
    pub scanned: u64,
}

impl std::ops::AddAssign for Effort {
    fn add_assign(&mut self, other: Self) {
        self.expanded += other.expanded;
        self.scored += other.scored;
        self.scanned += other.scanned;
    }
}

/// Progress of a build, shared with observers, which may also cancel it.
#[derive(Debug, Default)]
pub struct BuildProgress {
    /// Completed steps.
    pub done: AtomicU64,
    /// Total steps.
    pub total: AtomicU64,
    /// Whether the build is cancelled.
    pub cancelled: AtomicBool,
}

impl BuildProgress {
    /// Resets the count, with `total` steps to do.
    fn start(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }
}
