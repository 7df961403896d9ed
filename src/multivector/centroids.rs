//! A query, prepared for comparison with token centroids.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use super::probes::Probes;
use crate::kernels::centroids::{CentroidKernel, NOTHING, RUN, Run};
use crate::kernels::max_sim::CentroidProducts;
use crate::quantization::Centroids;

/// Largest number of query tokens to compare; longer queries are subsampled evenly. This only
/// affects candidates, which are re-ranked by all tokens.
const MOST_TOKENS: usize = 1024;

/// Documents that are scored together.
const DOCUMENTS: usize = 64;

/// The products of a query's tokens with all centroids, quantized to 15 bits with a common step:
/// ⟨q, c⟩ ≈ `low` + `step` · value, where `low` differs between tokens.
#[derive(Debug)]
pub struct CentroidQuery {
    /// Shape [centroids + 1, runs]; the last row is of zeros.
    table: Arc<Vec<Run>>,
    runs: usize,
    kernel: CentroidKernel,
    step: f32,
    /// For each token, the product that value 0 stands for.
    lowest: Vec<f32>,
    /// Their sum.
    low: f32,
    /// See [`Self::probes`].
    pub(super) probes: OnceLock<Option<Probes>>,
}

impl CentroidQuery {
    /// Prepares a query of shape [m, dimension].
    pub fn new(centroids: &Centroids, query: &[f32]) -> Self {
        Self::of_all(centroids, &some_tokens(query, centroids.dimension()))
    }

    /// As [`Self::new`], for all tokens, of however long a query.
    fn of_all(centroids: &Centroids, query: &[f32]) -> Self {
        let count = centroids.count();
        let tokens = query.len() / centroids.dimension();
        let products = centroids.products(query);
        let ranges: Vec<(f32, f32)> = products.chunks_exact(count).map(range).collect();
        let widest = ranges.iter().map(|(low, high)| high - low).fold(0.0, f32::max);
        let step = widest / f32::from(i16::MAX);
        let factor = if step > 0.0 { step.recip() } else { 0.0 };
        let least = |(_, high): &(f32, f32)| high - step * f32::from(i16::MAX);
        let lowest: Vec<f32> = ranges.iter().map(least).collect();
        let runs = tokens.div_ceil(RUN).max(1);
        let kernel = CentroidKernel::detect();
        let mut table = bytemuck::zeroed_vec((count + 1) * runs);
        kernel.fill(&products, (&lowest, factor), &mut table, runs);
        let (table, low) = (Arc::new(table), lowest.iter().sum());
        Self { table, runs, kernel, step, lowest, low, probes: OnceLock::new() }
    }

    /// The products of all tokens of the query.
    pub(super) fn products(&self, centroids: &Centroids, query: &[f32]) -> CentroidProducts {
        if self.lowest.len() < query.len() / centroids.dimension() {
            return Self::of_all(centroids, query).products(centroids, query);
        }
        let (table, lowest) = (self.table.clone(), self.lowest.clone());
        CentroidProducts { table, runs: self.runs, step: self.step, lowest }
    }

    /// Peak memory of preparing a query of `tokens` tokens, in bytes; with `all`, of preparing all of
    /// them, as residual codes require.
    pub fn bytes(centroids: &Centroids, tokens: usize, all: bool) -> usize {
        let of = |tokens: usize| {
            let runs = tokens.div_ceil(RUN) * size_of::<Run>();
            (centroids.count() + 1) * runs + centroids.count() * tokens * size_of::<f32>()
        };
        let of_all = if all && tokens > MOST_TOKENS { of(tokens) } else { 0 };
        of(tokens.min(MOST_TOKENS)) + of_all
    }

    /// The table without its last row: shape [centroids, runs].
    pub(super) fn rows(&self) -> &[Run] {
        &self.table[..self.table.len() - self.runs]
    }

    pub(super) fn runs(&self) -> usize {
        self.runs
    }

    /// Number of tokens compared.
    pub(super) fn tokens(&self) -> usize {
        self.lowest.len()
    }

    /// Approximate MaxSim with documents whose tokens are nearest to these centroids; −∞ for none.
    ///
    /// # Panics
    /// If a centroid does not exist.
    pub fn score<'l>(&self, mut lists: impl Iterator<Item = &'l [u16]>, scores: &mut [f32]) {
        let (mut sums, table) = ([0; DOCUMENTS], self.rows());
        for scores in scores.chunks_mut(DOCUMENTS) {
            let sums = &mut sums[..scores.len()];
            self.kernel.sums_of_greatest(table, self.runs, lists.by_ref().take(sums.len()), sums);
            for (score, &sum) in scores.iter_mut().zip(&*sums) {
                *score = self.low + self.step * sum as f32;
                // Sums of huge products can overflow.
                if sum == NOTHING || score.is_nan() {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }
}

/// The least and the greatest value.
fn range(values: &[f32]) -> (f32, f32) {
    const LANES: usize = 16;
    let (lanes, rest) = values.as_chunks::<LANES>();
    let (mut least, mut most) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    for values in lanes {
        for (at, &value) in values.iter().enumerate() {
            least[at] = least[at].min(value);
            most[at] = most[at].max(value);
        }
    }
    let least = least.iter().chain(rest).fold(f32::INFINITY, |least, &value| least.min(value));
    let most = most.iter().chain(rest).fold(f32::NEG_INFINITY, |most, &value| most.max(value));
    (least, most)
}

/// The query tokens to compare.
fn some_tokens(query: &[f32], dimension: usize) -> Cow<'_, [f32]> {
    let tokens = query.len() / dimension;
    if tokens <= MOST_TOKENS {
        return Cow::Borrowed(query);
    }
    let token = |at: usize| &query[at * tokens / MOST_TOKENS * dimension..][..dimension];
    (0..MOST_TOKENS).flat_map(token).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::kernels;
    use crate::quantization::hash;

    fn score(query: &CentroidQuery, document: &[u16]) -> f32 {
        let mut scores = [0.0];
        query.score(std::iter::once(document), &mut scores);
        scores[0]
    }

    #[test]
    fn scores_are_max_sim_with_centroids_up_to_rounding() {
        let value = |seed, at| (hash(seed, at as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0;
        for (dimension, tokens) in [(1, 1), (8, 5), (17, 32), (24, 33), (16, 300)] {
            let vectors: Vec<f32> = (0..900 * dimension).map(|at| value(1, at)).collect();
            let cancelled = AtomicBool::new(false);
            let centroids = Centroids::train(&vectors, dimension, 64, 1, &cancelled).unwrap();
            let query: Vec<f32> = (0..tokens * dimension).map(|at| value(2, at)).collect();
            let asked = CentroidQuery::new(&centroids, &query);
            for document in [vec![3], vec![0, 7, 63], (0..64).collect()] {
                let best = |token: &[f32]| {
                    let products = document.iter().map(|&at: &u16| {
                        let start = usize::from(at) * dimension;
                        kernels::dot(token, &centroids.values()[start..][..dimension])
                    });
                    products.fold(f32::NEG_INFINITY, f32::max)
                };
                let exact: f32 = query.chunks_exact(dimension).map(best).sum();
                let got = score(&asked, &document);
                // The elements of queries are rounded to 1/127 at most.
                let lengths = centroids.values().chunks_exact(dimension);
                let lengths = lengths.map(|row| row.iter().map(|value| value.abs()).sum());
                let rounding = lengths.fold(0.0, f32::max) / 254.0;
                let error = (0.51 * asked.step + rounding) * tokens as f32 + 1e-5 * exact.abs();
                assert!((got - exact).abs() <= error, "{got} for {exact}");
            }
            assert_eq!(score(&asked, &[]), f32::NEG_INFINITY);
            let table = asked.table.len() * size_of::<Run>();
            assert!(CentroidQuery::bytes(&centroids, tokens, true) >= table);
        }
    }

    #[test]
    fn of_a_long_query_some_tokens_are_compared() {
        let centroids = Centroids::from_values(&[1.0, -1.0], 1).unwrap();
        let query: Vec<f32> = (0..5000).map(|at| at as f32).collect();
        let asked = CentroidQuery::new(&centroids, &query);
        assert_eq!(asked.runs, MOST_TOKENS / RUN);
        assert_eq!(asked.table.len(), 3 * asked.runs);
        let products = asked.products(&centroids, &query);
        assert_eq!((products.lowest.len(), products.table.len()), (5000, 3 * products.runs));
        let bytes = |tokens, all| CentroidQuery::bytes(&centroids, tokens, all);
        assert_eq!(bytes(5000, false), bytes(MOST_TOKENS, true));
        assert!(bytes(5000, true) > 5 * bytes(5000, false));
        assert!(score(&asked, &[0]) > score(&asked, &[1]));
    }
}
