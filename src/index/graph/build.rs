//! Builds the graph: inserts rows in batches, each row by searching the graph of the batches
//! before.
//!
//! Rows of a batch do not see each other; batches double in size up to a small share of all rows
//! (ParlayANN, PPoPP 2024, §4). So there are no locks, all cores work on a batch, and the graph
//! depends on the seed only, not on the number of threads. Vamana's second pass inserts every row
//! again with the final `alpha`, now against the whole graph (DiskANN, NeurIPS 2019, Algorithm 3).
//! Unreachable rows are [connected](connect) last.
//!
//! A graph can also grow from an earlier one that holds most of its rows: these [keep](adopt) their
//! edges, and only the others are inserted.
//!
//! Edges to far rows are [learned](learn) from the queries to expect.

mod adopt;
mod connect;
mod learn;

pub use adopt::Earlier;
pub use learn::Lessons;

use std::sync::atomic::Ordering;

use rayon::prelude::*;

use super::prune::Pruner;
use super::{Adjacency, NO_ROW, Width, search};
use crate::index::scratch::Scratch;
use crate::index::{BuildProgress, Scores};
use crate::quantization::{RowDistances, RowQuery, hash};

/// Maximum batch size: one in this many rows.
const BATCH_SHARE: usize = 50;
/// Number of rows sampled for the medoid, which becomes the entry.
const MEDOID_SAMPLE: usize = 16_384;

/// Build settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GraphSettings {
    /// Maximum degree of a row.
    pub max_degree: usize,
    /// Search window of an insertion.
    pub window_size: usize,
    /// Pruning factor of the second pass on squared distances: the larger, the fewer edges are
    /// pruned; 1 in the first pass.
    pub alpha: f32,
    /// Degree after pruning a row that exceeded the maximum.
    pub prune_to: usize,
    /// Maximum number of learned edges of a row, at most 3/4 of the maximum degree; 0 for none.
    pub learned: usize,
    /// Seed of the insertion order.
    pub seed: u64,
}

/// Builds a graph of `rows`, which must be distinct (`crate::index::copies`): the edges in the
/// format of [`Adjacency`], and the entry. `None` if cancelled. Rows not listed have no edges and
/// are never found. Grows from an earlier graph if that holds at least half of the rows.
pub fn build(
    distances: &RowDistances<'_>,
    rows: &[u32],
    earlier: Option<&Earlier<'_>>,
    lessons: Lessons<'_>,
    settings: GraphSettings,
    progress: &BuildProgress,
) -> Option<(Vec<u32>, u32)> {
    let mut order = rows.to_vec();
    order.sort_by_cached_key(|&row| hash(settings.seed, u64::from(row)));
    let most = (order.len() / BATCH_SHARE).max(1);
    let none = || vec![NO_ROW; distances.rows() as usize * settings.max_degree];
    let mut builder = Builder { distances, settings, edges: none(), entry: 0 };
    let has_edges = earlier.map(|earlier| builder.adopt(earlier, rows)).unwrap_or_default();
    let is_there = |row: &u32| has_edges.get(*row as usize).is_some_and(|&there| there);
    let (mut there, new): (Vec<u32>, Vec<u32>) = order.iter().copied().partition(is_there);
    // For each pass: alpha, the number of rows already in, and the rows to insert.
    let passes = if 2 * there.len() < order.len() || there.is_empty() {
        (builder.edges, there) = (none(), Vec::new());
        vec![(1.0, 1, &order), (settings.alpha, most, &order)]
    } else {
        vec![(settings.alpha, most, &new)]
    };
    let middle_of = if there.is_empty() { &order } else { &there };
    let entry = medoid(distances, &middle_of[..middle_of.len().min(MEDOID_SAMPLE)]);
    builder.entry = entry;
    let asked = passes.last().map_or(&order, |&(_, _, rows)| rows);
    let learns = settings.learned > 0 && !asked.is_empty();
    let expected = learns.then(|| lessons.expected(distances, &order)).flatten();
    let learned = if expected.is_some() { asked.len() as u64 } else { 0 };
    progress.start(passes.iter().map(|(_, _, rows)| rows.len() as u64).sum::<u64>() + learned);
    for &(alpha, mut inserted, rows) in &passes {
        let mut rest = &rows[..];
        while !rest.is_empty() {
            if progress.cancelled.load(Ordering::Relaxed) {
                return None;
            }
            let (batch, after) = rest.split_at(inserted.min(most).min(rest.len()));
            builder.insert(batch, alpha);
            progress.done.fetch_add(batch.len() as u64, Ordering::Relaxed);
            inserted += batch.len();
            rest = after;
        }
    }
    builder.connect(rows);
    if let Some(expected) = expected {
        builder.learn((rows, asked), (lessons, &expected), progress)?;
    }
    Some((builder.edges, entry))
}

/// The row nearest to the mean of `rows`.
fn medoid(distances: &RowDistances<'_>, rows: &[u32]) -> u32 {
    let mut mean = vec![0.0_f32; distances.dimension()];
    let mut values = Vec::new();
    for &row in rows {
        distances.decode(row, &mut values);
        for (sum, value) in mean.iter_mut().zip(&values) {
            *sum += value / rows.len() as f32;
        }
    }
    let mut from_mean = |&row: &u32| -> f32 {
        distances.decode(row, &mut values);
        values.iter().zip(&mean).map(|(a, b)| (a - b) * (a - b)).sum()
    };
    let measured = rows.iter().map(|row| (from_mean(row), *row));
    measured.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, row)| row)
}

struct Builder<'a> {
    distances: &'a RowDistances<'a>,
    settings: GraphSettings,
    edges: Vec<u32>,
    entry: u32,
}

/// Memory of a task, reused from row to row.
struct Worker<'a> {
    scratch: Scratch,
    pruner: Pruner<'a>,
    query: RowQuery,
}

impl<'a> Builder<'a> {
    fn worker(&self) -> Worker<'a> {
        Worker {
            scratch: Scratch::default(),
            pruner: Pruner::new(self.distances),
            query: self.distances.query(),
        }
    }

    fn graph(&self) -> Adjacency<'_> {
        Adjacency::new(&self.edges, self.settings.max_degree)
    }

    fn set(&mut self, row: u32, neighbours: &[u32]) {
        let degree = self.settings.max_degree;
        let slots = &mut self.edges[row as usize * degree..][..degree];
        slots[..neighbours.len()].copy_from_slice(neighbours);
        slots[neighbours.len()..].fill(NO_ROW);
    }

    fn insert(&mut self, batch: &[u32], alpha: f32) {
        let chosen: Vec<Vec<u32>> = batch
            .par_iter()
            .map_init(|| self.worker(), |worker, &row| self.edges_of(worker, row, alpha))
            .collect();
        let mut back: Vec<(u32, u32)> = Vec::with_capacity(chosen.iter().map(Vec::len).sum());
        for (&row, neighbours) in batch.iter().zip(&chosen) {
            self.set(row, neighbours);
            back.extend(neighbours.iter().map(|&neighbour| (neighbour, row)));
        }
        self.add(back, alpha);
    }

    /// Adds edges, given as pairs of target and source, and prunes the rows that have too many.
    fn add(&mut self, mut back: Vec<(u32, u32)>, alpha: f32) {
        back.par_sort_unstable();
        let changed: Vec<(u32, Vec<u32>)> = back
            .par_chunk_by(|a, b| a.0 == b.0)
            .map_init(
                || self.worker(),
                |worker, back| (back[0].0, self.merged(worker, back, alpha)),
            )
            .collect();
        for (row, neighbours) in &changed {
            self.set(*row, neighbours);
        }
    }

    /// The edges of a row: pruned from those it has and the rows expanded in a search for it.
    fn edges_of(&self, worker: &mut Worker<'a>, row: u32, alpha: f32) -> Vec<u32> {
        let Worker { scratch, pruner, query } = worker;
        self.distances.prepare(row, query);
        let scores = FromRow { distances: self.distances, query };
        let (graph, window) = (self.graph(), self.settings.window_size);
        let width = Width::new(window, window);
        search(&graph, self.entry, &scores, None, scratch, width);
        let present: Vec<(f32, u32)> = pruner.measure(row, graph.neighbours(row)).collect();
        let found = scratch.expanded.iter().map(|&(score, row)| (-score, row));
        let mut chosen = Vec::new();
        pruner.prune(row, found.chain(present), alpha, self.settings.max_degree, &mut chosen);
        chosen
    }

    /// The edges of a row with reverse edges added, pruned if there are too many.
    fn merged(&self, worker: &mut Worker<'a>, back: &[(u32, u32)], alpha: f32) -> Vec<u32> {
        let row = back[0].0;
        let graph = self.graph();
        let mut all = graph.neighbours(row).to_vec();
        let present = all.len();
        for &(_, source) in back {
            if !all[..present].contains(&source) {
                all.push(source);
            }
        }
        if all.len() <= self.settings.max_degree {
            return all;
        }
        let mut chosen = Vec::new();
        let measured: Vec<(f32, u32)> = worker.pruner.measure(row, &all).collect();
        worker.pruner.prune(row, measured, alpha, self.settings.prune_to, &mut chosen);
        chosen
    }
}

/// Scores rows by their distance to a given row.
struct FromRow<'a> {
    distances: &'a RowDistances<'a>,
    query: &'a RowQuery,
}

impl Scores for FromRow<'_> {
    #[inline]
    fn prefetch(&self, row: u32) {
        self.distances.prefetch(row);
    }

    #[inline]
    fn score(&self, rows: &[u32], scores: &mut [f32]) {
        self.distances.measure(self.query, rows, scores);
        for score in scores {
            *score = -*score;
        }
    }
}

#[cfg(test)]
mod tests;
