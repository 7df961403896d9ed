//! The Vamana graph (Subramanya et al., DiskANN, NeurIPS 2019) over primary codes.
//!
//! Every row has edges to up to `max_degree` others: near ones, but not those that are nearer to
//! one another than to it, so that a greedy search from the entry finds the rows near any query in
//! few steps. It is built and traversed on primary codes alone; what re-ranks is not its business.

mod build;
mod prune;
mod search;

pub use build::{GraphSettings, build};
pub use search::{Width, search};

use crate::kernels;

/// Edges, a row of `1 + degree` numbers each: how many neighbours, and then the neighbours.
#[derive(Debug, Clone, Copy)]
pub struct Adjacency<'a> {
    edges: &'a [u32],
    stride: usize,
}

impl<'a> Adjacency<'a> {
    /// Edges of rows with room for `degree` neighbours each.
    pub fn new(edges: &'a [u32], degree: usize) -> Self {
        Self { edges, stride: degree + 1 }
    }

    /// Number of rows.
    #[inline]
    pub fn rows(&self) -> u32 {
        (self.edges.len() / self.stride) as u32
    }

    /// The neighbours of a row; none of a row that is not there.
    #[inline]
    pub fn neighbours(&self, row: u32) -> &'a [u32] {
        let start = row as usize * self.stride;
        let Some([count, neighbours @ ..]) = self.edges.get(start..start + self.stride) else {
            return &[];
        };
        &neighbours[..(*count as usize).min(neighbours.len())]
    }

    /// Asks for the neighbours of a row to be brought into the cache.
    #[inline(always)]
    pub fn prefetch(&self, row: u32) {
        kernels::prefetch(self.edges, row as usize * self.stride, self.stride);
    }
}
