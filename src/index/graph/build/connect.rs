//! Makes every row reachable from the entry.
//!
//! Pruning may remove the last edge to a row. Unreachable rows are attached to a spanning tree that
//! grows from the entry along the edges, as in NSG (Fu et al., VLDB 2019, §4.2).

use std::collections::{BTreeMap, VecDeque};

use rayon::prelude::*;

use super::super::{NO_ROW, Width, search};
use super::{Builder, FromRow, Worker};

/// Parent of each row; [`NO_ROW`] outside of the tree.
struct Tree(Vec<u32>);

impl Tree {
    fn holds(&self, row: u32) -> bool {
        self.0[row as usize] != NO_ROW
    }
}

impl<'a> Builder<'a> {
    /// Connects the rows that the graph was built from.
    pub(super) fn connect(&mut self, rows: &[u32]) {
        if rows.is_empty() {
            return;
        }
        let mut tree = Tree(vec![NO_ROW; self.distances.rows() as usize]);
        self.grow(&mut tree, self.entry, self.entry);
        let cut_off: Vec<u32> = rows.iter().copied().filter(|&row| !tree.holds(row)).collect();
        self.hang(&mut tree, &cut_off);
    }

    /// Adds a row and everything reachable from it.
    fn grow(&self, tree: &mut Tree, row: u32, parent: u32) {
        let graph = self.graph();
        tree.0[row as usize] = parent;
        let mut open = VecDeque::from([row]);
        while let Some(row) = open.pop_front() {
            for &next in graph.neighbours(row) {
                if !tree.holds(next) {
                    tree.0[next as usize] = row;
                    open.push_back(next);
                }
            }
        }
    }

    /// Attaches rows to the tree near their neighbours.
    fn hang(&mut self, tree: &mut Tree, rows: &[u32]) {
        let near: Vec<Vec<u32>> = rows
            .par_iter()
            .map_init(|| self.worker(), |worker, &row| self.nearest(worker, row))
            .collect();
        // Attached rows with free slots, by their nearest row.
        let mut taken: BTreeMap<u32, VecDeque<u32>> = BTreeMap::new();
        let degree = self.settings.max_degree;
        for (&row, near) in rows.iter().zip(&near) {
            let Some(&nearest) = near.first().filter(|_| !tree.holds(row)) else { continue };
            let taken = taken.entry(nearest).or_default();
            let Some((host, slot)) = self.room(tree, near, taken) else { continue };
            self.edges[host as usize * degree + slot] = row;
            // The tree does not depend on the row's own edges: drop some, to make room for similar
            // rows.
            let own = self.settings.prune_to.min(degree - 1);
            self.edges[row as usize * degree..][own..degree].fill(NO_ROW);
            taken.push_back(row);
            self.grow(tree, row, host);
        }
    }

    /// The reachable rows nearest to a row, nearest first.
    fn nearest(&self, worker: &mut Worker<'a>, row: u32) -> Vec<u32> {
        self.distances.prepare(row, &mut worker.query);
        let scores = FromRow { distances: self.distances, query: &worker.query };
        let window = self.settings.window_size;
        let width = Width::new(window, window);
        search(&self.graph(), self.entry, &scores, None, &mut worker.scratch, width);
        worker.scratch.beam.rows().map(|(_, row)| row).collect()
    }

    /// A slot for an edge: a free one of the nearest row, of rows attached there, or of others
    /// nearby; otherwise one whose edge is not in the tree.
    fn room(&self, tree: &Tree, near: &[u32], taken: &mut VecDeque<u32>) -> Option<(u32, usize)> {
        let graph = self.graph();
        let free = |host: u32| {
            let count = graph.neighbours(host).len();
            (count < self.settings.max_degree).then_some((host, count))
        };
        while let Some(&host) = taken.front()
            && free(host).is_none()
        {
            // It stays full.
            taken.pop_front();
        }
        let spare = |&host: &u32| {
            let superfluous = |&next: &u32| tree.0[next as usize] != host;
            Some((host, graph.neighbours(host).iter().rposition(superfluous)?))
        };
        let hosts = near.first().into_iter().chain(taken.front()).chain(near);
        hosts.copied().find_map(free).or_else(|| near.iter().find_map(spare))
    }
}
