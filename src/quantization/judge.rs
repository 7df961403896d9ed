//! How much of the exact ranking codes keep: the share of each query's exact ten nearest rows
//! among the first candidates of a scan.

use rayon::prelude::*;

use super::codec::Codec;
use super::leanvec::map_rows;
use crate::kernels;
use crate::kernels::codes::CodeKernel;
use crate::model::Metric;

/// The exact neighbours that count.
const NEIGHBOURS: usize = 10;
/// Numbers of candidates at which the share is taken.
pub const CANDIDATES: [usize; 2] = [20, 50];

/// Rows and queries with their exact neighbours.
pub struct Judge<'a> {
    metric: Metric,
    dimension: usize,
    rows: &'a [f32],
    queries: &'a [f32],
    /// For each query the exact score of its tenth neighbour. Rows of at least that score count
    /// as neighbours, so that equal rows are as good as each other.
    thresholds: Vec<f32>,
}

impl<'a> Judge<'a> {
    /// Scores all `rows` exactly, shape [n, dimension], n ≥ 1, for all `queries`, shape [m,
    /// dimension].
    pub fn new(metric: Metric, dimension: usize, rows: &'a [f32], queries: &'a [f32]) -> Self {
        let mut judge = Self { metric, dimension, rows, queries, thresholds: Vec::new() };
        if queries.is_empty() {
            return judge;
        }
        // One matrix product reads the rows once for many queries. It finds the neighbours; their
        // scores are then computed as those of candidates are.
        let products = map_rows(rows, queries, dimension);
        let count = queries.len() / dimension;
        let norms: Vec<f32> = match metric {
            Metric::Dot | Metric::Cosine => Vec::new(),
            Metric::L2 => {
                rows.par_chunks_exact(dimension).map(|row| kernels::dot(row, row) / 2.0).collect()
            }
        };
        let threshold = |(index, query): (usize, &[f32])| {
            let nearness = |row: usize| {
                products[row * count + index] - norms.get(row).copied().unwrap_or_default()
            };
            let mut scored: Vec<(f32, usize)> =
                (0..judge.count()).map(|row| (nearness(row), row)).collect();
            let last = NEIGHBOURS.min(scored.len()) - 1;
            let tenth = scored.select_nth_unstable_by(last, |a, b| b.0.total_cmp(&a.0)).1;
            judge.exact(query, tenth.1)
        };
        let queries = queries.par_chunks_exact(dimension).enumerate();
        let thresholds = queries.map(threshold).collect();
        judge.thresholds = thresholds;
        judge
    }

    fn count(&self) -> usize {
        self.rows.len() / self.dimension
    }

    fn exact(&self, query: &[f32], row: usize) -> f32 {
        let row = &self.rows[row * self.dimension..][..self.dimension];
        match self.metric {
            Metric::Dot | Metric::Cosine => kernels::dot(query, row),
            Metric::L2 => -kernels::l2_squared(query, row),
        }
    }

    /// The mean share of neighbours among the first [`CANDIDATES`] of a scan of the codec's
    /// primary codes; `None` without queries.
    pub fn recall(&self, codec: &Codec) -> Option<[f32; CANDIDATES.len()]> {
        if self.queries.is_empty() {
            return None;
        }
        let records = codec.primary_records(self.rows);
        let kernel = CodeKernel::detect();
        let shares: Vec<_> = self
            .queries
            .par_chunks_exact(self.dimension)
            .zip(&self.thresholds)
            .map(|(query, &threshold)| {
                let mut scores = vec![0.0; self.count()];
                codec.score_rows(kernel, &codec.query(query), &records, &mut scores);
                self.shares(query, threshold, &scores)
            })
            .collect();
        // In order, so that the sum does not depend on the number of threads.
        Some(std::array::from_fn(|i| {
            shares.iter().map(|shares| shares[i]).sum::<f32>() / shares.len() as f32
        }))
    }

    fn shares(&self, query: &[f32], threshold: f32, scores: &[f32]) -> [f32; CANDIDATES.len()] {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        let most = CANDIDATES[CANDIDATES.len() - 1];
        let better = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]);
        if most < order.len() {
            order.select_nth_unstable_by(most, better);
            order.truncate(most);
        }
        order.sort_unstable_by(better);
        let neighbours = NEIGHBOURS.min(self.count());
        CANDIDATES.map(|candidates| {
            let first = order.iter().take(candidates);
            let found = first.filter(|&&row| self.exact(query, row) >= threshold).count();
            found.min(neighbours) as f32 / neighbours as f32
        })
    }
}
