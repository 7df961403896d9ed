//! The Vamana graph (Subramanya et al., DiskANN, NeurIPS 2019) over primary codes.
//!
//! Every row has edges to up to `max_degree` others: near ones, but not those that are nearer to
//! one another than to it, so that a greedy search from the entry finds the rows near any query in
//! few steps. It is built and traversed on primary codes alone; what re-ranks is not its business.

mod build;
mod prune;
mod search;

pub use build::{Earlier, GraphSettings, build};
pub use search::{Width, search, search_accepted};

use crate::kernels;

/// In place of a neighbour that a row has not.
pub const NO_ROW: u32 = u32::MAX;

/// Edges, `degree` numbers a row: its neighbours, and then [`NO_ROW`]. No count, so that the
/// neighbours of a row fill whole cache lines.
#[derive(Debug, Clone, Copy)]
pub struct Adjacency<'a> {
    edges: &'a [u32],
    degree: usize,
}

impl<'a> Adjacency<'a> {
    /// Edges of rows with room for `degree` neighbours each.
    pub fn new(edges: &'a [u32], degree: usize) -> Self {
        Self { edges, degree: degree.max(1) }
    }

    /// Number of rows.
    #[inline]
    pub fn rows(&self) -> u32 {
        (self.edges.len() / self.degree) as u32
    }

    /// The neighbours of a row; none of a row that is not there.
    #[inline]
    pub fn neighbours(&self, row: u32) -> &'a [u32] {
        let slots = self.slots(row);
        let count = slots.iter().position(|&slot| slot == NO_ROW).unwrap_or(slots.len());
        &slots[..count]
    }

    /// The neighbours of a row and [`NO_ROW`] for each that it has not.
    #[inline]
    pub fn slots(&self, row: u32) -> &'a [u32] {
        let start = row as usize * self.degree;
        self.edges.get(start..start + self.degree).unwrap_or_default()
    }

    /// Asks for the neighbours of a row to be brought into the cache.
    #[inline(always)]
    pub fn prefetch(&self, row: u32) {
        kernels::prefetch(self.edges, row as usize * self.degree, self.degree);
    }
}
