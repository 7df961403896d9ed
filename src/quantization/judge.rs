//! Recall of codes: the share of each query's exact ten nearest rows among the first candidates of
//! a scan.
//!
//! Rows equal to the query are excluded: a held-out row with duplicates among the rows would find
//! those with any code. Candidates with equal code scores count as one, as in a search, where all
//! of them are re-ranked.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use rayon::prelude::*;

use super::codec::Codec;
use super::leanvec::map_rows;
use super::spread::centred;
use crate::kernels;
use crate::kernels::codes::CodeKernel;
use crate::model::Metric;

/// Number of exact neighbours per query.
const NEIGHBOURS: usize = 10;
/// Number of nearest rows by a matrix product, from which the neighbours are chosen by their exact
/// scores.
const NEAR: usize = 64;
/// Numbers of candidates at which recall is measured.
pub const CANDIDATES: [usize; 2] = [20, 50];
/// Recall over fewer queries of a source is not significant.
const LEAST_OF_SOURCE: usize = 12;
/// A source counts with its mean plus this many standard errors, so that only a significantly
/// worse source lowers the result.
const SOURCE_ERRORS: f32 = 1.5;

/// Recall at each number of candidates.
pub type Shares = [f32; CANDIDATES.len()];

/// Rows and queries with their exact neighbours (the ground truth).
pub struct Judge<'a> {
    metric: Metric,
    dimension: usize,
    rows: &'a [f32],
    queries: &'a [f32],
    /// Rows minus the centre, and queries prepared to match: products of vectors far from the
    /// origin would lose their differences.
    centred: Vec<f32>,
    centred_queries: Vec<f32>,
    /// Source of each query; the worst one decides.
    sources: &'a [u32],
    truths: Vec<Truth>,
}

/// Ground truth of a query.
struct Truth {
    /// Exact score of its tenth neighbour. All rows with at least this score count as neighbours,
    /// so that equal rows are interchangeable.
    threshold: f32,
    /// Rows equal to the query.
    copies: Vec<usize>,
}

impl<'a> Judge<'a> {
    /// Computes the ground truth of `queries`, shape [m, dimension], among `rows`, shape [n,
    /// dimension], n ≥ 1; `sources` has the source of each query.
    pub fn new(
        (metric, center): (Metric, &[f32]),
        rows: &'a [f32],
        (queries, sources): (&'a [f32], &'a [u32]),
    ) -> Self {
        let dimension = center.len();
        let mut judge = Self {
            metric,
            dimension,
            rows,
            queries,
            centred: Vec::new(),
            centred_queries: Vec::new(),
            sources,
            truths: Vec::new(),
        };
        if queries.is_empty() {
            return judge;
        }
        judge.centred = centred(rows, center);
        // Centring the rows shifts all products of a query alike; centring both sides leaves
        // distances unchanged.
        judge.centred_queries = match metric {
            Metric::Dot | Metric::Cosine => queries.to_vec(),
            Metric::L2 => centred(queries, center),
        };
        judge.truths = judge.truths();
        judge
    }

    /// A matrix product, which reads the rows once for many queries, finds the near rows; these are
    /// then scored as candidates are.
    fn truths(&self) -> Vec<Truth> {
        let products = map_rows(&self.centred, &self.centred_queries, self.dimension);
        let count = self.queries.len() / self.dimension;
        let norms: Vec<f32> = match self.metric {
            Metric::Dot | Metric::Cosine => Vec::new(),
            Metric::L2 => self
                .centred
                .par_chunks_exact(self.dimension)
                .map(|row| kernels::dot(row, row) / 2.0)
                .collect(),
        };
        let known = self.known_rows();
        let truth = |index: usize| {
            let query = &self.queries[index * self.dimension..][..self.dimension];
            let copies = known.get(&digest(query)).cloned().unwrap_or_default();
            let nearness = |row: usize| {
                products[row * count + index] - norms.get(row).copied().unwrap_or_default()
            };
            let others = (0..self.count()).filter(|row| !copies.contains(row));
            let mut scored: Vec<(f32, usize)> = others.map(|row| (nearness(row), row)).collect();
            if NEAR < scored.len() {
                scored.select_nth_unstable_by(NEAR, |a, b| b.0.total_cmp(&a.0));
                scored.truncate(NEAR);
            }
            let mut exact: Vec<f32> =
                scored.into_iter().map(|(_, row)| self.exact(index, row)).collect();
            exact.sort_unstable_by(|a, b| b.total_cmp(a));
            let tenth = exact.get(NEIGHBOURS - 1).or(exact.last()).copied();
            Truth { threshold: tenth.unwrap_or(f32::INFINITY), copies }
        };
        (0..count).into_par_iter().map(truth).collect()
    }

    fn known_rows(&self) -> HashMap<u64, Vec<usize>> {
        let mut known: HashMap<u64, Vec<usize>> = HashMap::new();
        for (row, values) in self.rows.chunks_exact(self.dimension).enumerate() {
            known.entry(digest(values)).or_default().push(row);
        }
        known
    }

    fn count(&self) -> usize {
        self.rows.len() / self.dimension
    }

    fn exact(&self, query: usize, row: usize) -> f32 {
        let query = &self.centred_queries[query * self.dimension..][..self.dimension];
        let row = &self.centred[row * self.dimension..][..self.dimension];
        match self.metric {
            Metric::Dot | Metric::Cosine => kernels::dot(query, row),
            Metric::L2 => -kernels::l2_squared(query, row),
        }
    }

    /// Recall among the first [`CANDIDATES`] of a scan of the codec's primary codes: the mean, or
    /// that of the worst source; `None` without queries.
    pub fn recall(&self, codec: &Codec) -> Option<Shares> {
        if self.queries.is_empty() {
            return None;
        }
        let records = codec.primary_records(self.rows);
        let kernel = CodeKernel::detect();
        let shares: Vec<Shares> = self
            .queries
            .par_chunks_exact(self.dimension)
            .enumerate()
            .map(|(index, query)| {
                let mut scores = vec![0.0; self.count()];
                codec.score_rows(kernel, &codec.query(query), &records, &mut scores);
                self.shares(index, &scores)
            })
            .collect();
        Some(std::array::from_fn(|at| self.worst(&shares, at)))
    }

    /// The mean, or the recall of the worst source if that is lower.
    fn worst(&self, shares: &[Shares], at: usize) -> f32 {
        let mut sources: HashMap<u32, Vec<f32>> = HashMap::new();
        // In order, so that sums do not depend on the number of threads.
        for (shares, &source) in shares.iter().zip(self.sources) {
            sources.entry(source).or_default().push(shares[at]);
        }
        let all = shares.iter().map(|shares| shares[at]).sum::<f32>() / shares.len() as f32;
        let of_source = |shares: &Vec<f32>| {
            let count = shares.len() as f32;
            let mean = shares.iter().sum::<f32>() / count;
            let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f32>() / count;
            mean + SOURCE_ERRORS * (variance / count).sqrt()
        };
        let sources = sources.values().filter(|shares| shares.len() >= LEAST_OF_SOURCE);
        sources.map(of_source).fold(all, f32::min)
    }

    fn shares(&self, query: usize, scores: &[f32]) -> Shares {
        let truth = &self.truths[query];
        let neighbours = NEIGHBOURS.min(self.count() - truth.copies.len());
        if neighbours == 0 {
            return [1.0; CANDIDATES.len()];
        }
        let most = CANDIDATES[CANDIDATES.len() - 1];
        let order = best_distinct(scores, &truth.copies, most);
        let is_found = |row: usize| self.exact(query, row) >= truth.threshold;
        CANDIDATES.map(|candidates| {
            let first = order.iter().take_while(|&&(rank, _)| rank < candidates);
            let found = first.filter(|&&(_, row)| is_found(row)).count();
            found.min(neighbours) as f32 / neighbours as f32
        })
    }
}

/// Rows with the `most` best distinct scores, best first, each with the rank of its score; without
/// the rows in `out`.
fn best_distinct(scores: &[f32], out: &[usize], most: usize) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..scores.len()).filter(|row| !out.contains(row)).collect();
    let better = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    let mut kept = most;
    loop {
        if kept < order.len() {
            order.select_nth_unstable_by(kept, better);
        }
        let end = kept.min(order.len());
        order[..end].sort_unstable_by(better);
        let mut ranked: Vec<(usize, usize)> = Vec::with_capacity(end);
        for &row in &order[..end] {
            let rank = match ranked.last() {
                Some(&(rank, last)) => rank + usize::from(scores[last] != scores[row]),
                None => 0,
            };
            ranked.push((rank, row));
        }
        let full = ranked.last().is_some_and(|&(rank, _)| rank >= most);
        if full || end == order.len() {
            ranked.retain(|&(rank, _)| rank < most);
            return ranked;
        }
        // The last score may continue, or scores repeat: look at more rows.
        kept *= 4;
    }
}

/// Hash of a vector's bits; vectors with equal digests are assumed to be equal.
pub fn digest(values: &[f32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytemuck::cast_slice::<f32, u8>(values).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_count_as_one_candidate() {
        let scores = [1.0, 5.0, 5.0, 3.0, 5.0, 3.0, 0.0];
        let expected = vec![(0, 1), (0, 2), (0, 4), (1, 3), (1, 5)];
        assert_eq!(best_distinct(&scores, &[], 2), expected);
        assert_eq!(best_distinct(&scores, &[1, 2], 2), [(0, 4), (1, 3), (1, 5)]);
        assert_eq!(best_distinct(&scores, &[], 100).len(), 7);
        // Ties extend beyond the first look.
        assert_eq!(best_distinct(&[2.0; 1000], &[0], 1).len(), 999);
    }
}
