//! The Vamana graph (Subramanya et al., DiskANN, NeurIPS 2019) over primary codes.
//!
//! Every row has up to `max_degree` edges to near rows, pruned of those that are nearer to each
//! other than to it, so that a greedy search from the entry reaches the neighbours of any query in
//! few steps; where queries are known or coded otherwise, most edges are learned from queries to
//! expect (RoarGraph). Built and traversed on primary codes only, independently of re-ranking.

mod build;
mod prune;
mod search;

pub use build::{Earlier, GraphSettings, Lessons, build};
pub use search::{Watch, Width, search, search_accepted, search_watched};

use crate::kernels;

/// Marks an empty slot in an adjacency row.
pub const NO_ROW: u32 = u32::MAX;

/// Adjacency lists with `degree` slots per row: its neighbours, padded with [`NO_ROW`]. There is no
/// count, so that the slots of a row fill whole cache lines.
#[derive(Debug, Clone, Copy)]
pub struct Adjacency<'a> {
    edges: &'a [u32],
    degree: usize,
}

impl<'a> Adjacency<'a> {
    /// Edges with `degree` slots per row.
    pub fn new(edges: &'a [u32], degree: usize) -> Self {
        Self { edges, degree: degree.max(1) }
    }

    /// Number of rows.
    #[inline]
    pub fn rows(&self) -> u32 {
        (self.edges.len() / self.degree) as u32
    }

    /// The neighbours of a row; none if the row does not exist.
    #[inline]
    pub fn neighbours(&self, row: u32) -> &'a [u32] {
        let slots = self.slots(row);
        let count = slots.iter().position(|&slot| slot == NO_ROW).unwrap_or(slots.len());
        &slots[..count]
    }

    /// All slots of a row, including [`NO_ROW`] padding.
    #[inline]
    pub fn slots(&self, row: u32) -> &'a [u32] {
        let start = row as usize * self.degree;
        self.edges.get(start..start + self.degree).unwrap_or_default()
    }

    /// Prefetches the neighbours of a row.
    #[inline(always)]
    pub fn prefetch(&self, row: u32) {
        kernels::prefetch(self.edges, row as usize * self.degree, self.degree);
    }
}
