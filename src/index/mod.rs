//! Indexes: which rows to score, instead of all.

mod beam;
pub mod graph;
mod scratch;

pub use beam::MAX_ROWS;
pub use scratch::Scratch;

/// Scores rows for one query; higher is better.
pub trait Scores {
    /// Asks for what scoring a row will read.
    fn prefetch(&self, row: u32);

    /// Scores rows, an element a row.
    fn score(&self, rows: &[u32], scores: &mut [f32]);
}
