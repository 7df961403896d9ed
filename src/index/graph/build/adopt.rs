//! Reuses an earlier graph: rows that were in it keep their edges.
//!
//! An edge to a row that is gone is replaced by that row's edges as candidates, and the row is
//! pruned again (FreshDiskANN, arXiv 2105.09613, Algorithm 4).

use rayon::prelude::*;

use super::super::{Adjacency, NO_ROW};
use super::{Builder, Worker};

/// A graph of which most rows still exist, under other numbers.
#[derive(Debug)]
pub struct Earlier<'a> {
    /// Its edges.
    pub graph: Adjacency<'a>,
    /// The current number of each of its rows; [`NO_ROW`] for those that are gone.
    pub places: Vec<u32>,
}

impl<'a> Builder<'a> {
    /// Copies the earlier edges of `rows`. Returns for each coded row whether it has edges now.
    pub(super) fn adopt(&mut self, earlier: &Earlier<'_>, rows: &[u32]) -> Vec<bool> {
        let mut wanted = vec![false; self.distances.rows() as usize];
        rows.iter().for_each(|&row| wanted[row as usize] = true);
        let place = |old: u32| {
            let row = earlier.places.get(old as usize).copied()?;
            wanted.get(row as usize).is_some_and(|&wanted| wanted).then_some(row)
        };
        let adopted: Vec<(u32, Vec<u32>)> = (0..earlier.graph.rows())
            .into_par_iter()
            .map_init(
                || self.worker(),
                |worker, old| {
                    Some((place(old)?, self.adopted(worker, &earlier.graph, old, &place)))
                },
            )
            .flatten()
            .collect();
        let mut has_edges = vec![false; wanted.len()];
        for (row, neighbours) in adopted {
            has_edges[row as usize] = !neighbours.is_empty();
            self.set(row, &neighbours);
        }
        has_edges
    }

    /// The edges of a row that still exists.
    fn adopted(
        &self,
        worker: &mut Worker<'a>,
        graph: &Adjacency<'_>,
        old: u32,
        place: &impl Fn(u32) -> Option<u32>,
    ) -> Vec<u32> {
        let row = place(old).unwrap_or(NO_ROW);
        let (mut near, mut is_whole) = (Vec::new(), true);
        for &next in graph.neighbours(old) {
            match place(next) {
                Some(next) => near.push(next),
                None => {
                    is_whole = false;
                    near.extend(graph.neighbours(next).iter().copied().filter_map(place));
                }
            }
        }
        // A damaged graph may have duplicate edges or self-loops.
        near.sort_unstable();
        near.dedup();
        near.retain(|&next| next != row);
        if is_whole && near.len() <= self.settings.max_degree {
            return near;
        }
        let mut chosen = Vec::new();
        let measured: Vec<(f32, u32)> = worker.pruner.measure(row, &near).collect();
        let Self { settings, .. } = self;
        worker.pruner.prune(row, measured, settings.alpha, settings.prune_to, &mut chosen);
        chosen
    }
}
