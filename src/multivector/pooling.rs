//! Token pooling: fewer tokens per document, by replacing clusters with their means (Clavié et al.,
//! *Reducing the Footprint of Multi-Vector Retrieval with Minimal Performance Impact via Token
//! Pooling*, 2024).
//!
//! Ward's hierarchical clustering of the tokens' directions, cut at n / factor clusters, as the
//! paper recommends and PyLate does. Squared distances between unit tokens are 2 − 2·cosine.
//!
//! Clusters are joined by the nearest-neighbour chain algorithm (Murtagh 1983), which gives the
//! same hierarchy as always joining the closest pair, because Ward's distance is reducible.
//! Distances are computed from cluster means, so memory stays linear.

use crate::kernels;
use crate::model::{Metric, VectorField};

/// Largest number of tokens to cluster together; longer documents are pooled in runs of this
/// length, because clustering takes quadratic time.
pub const MAX_POOLED_TOKENS: usize = 1024;

/// Pools tokens of shape [n, dimension] into ⌊n / factor⌋ of them, at least one: the means of
/// clusters of similar tokens, in the order of their first tokens. A factor of 1 changes nothing.
///
/// Means are shorter than their tokens; fields under the cosine metric normalize them again.
///
/// # Panics
/// If the length of `tokens` is not a multiple of the dimension.
pub fn pool_tokens(tokens: &[f32], dimension: usize, factor: usize) -> Vec<f32> {
    assert!(tokens.len().is_multiple_of(dimension), "whole tokens of {dimension}");
    if factor <= 1 {
        return tokens.to_vec();
    }
    let runs = tokens.chunks(MAX_POOLED_TOKENS * dimension);
    runs.flat_map(|run| pool_run(run, dimension, factor)).collect()
}

/// Pools the vectors of a point by the factor of its field, and normalizes them again under cosine.
/// Vectors must be validated and prepared.
pub fn pool_field(field: &VectorField, vectors: Vec<f32>) -> Vec<f32> {
    let mut pooled = pool_tokens(&vectors, field.dimension, field.token_pooling);
    if field.metric == Metric::Cosine {
        // The mean of opposite vectors is zero and has no direction; it stays zero.
        pooled.chunks_exact_mut(field.dimension).for_each(|vector| {
            kernels::normalize(vector);
        });
    }
    // Sums of huge values overflow, although no mean is longer than the longest vector.
    let largest = vectors.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    pooled.iter_mut().for_each(|value| *value = value.clamp(-largest, largest));
    pooled
}

fn pool_run(tokens: &[f32], dimension: usize, factor: usize) -> Vec<f32> {
    let count = tokens.len() / dimension;
    let clusters = (count / factor).max(1);
    let mut joins = Hierarchy::new(tokens, dimension).joins();
    // The chain algorithm finds joins out of order.
    joins.sort_by(|a, b| a.height.total_cmp(&b.height));
    let mut root: Vec<usize> = (0..count).collect();
    for join in &joins[..count - clusters] {
        let (a, b) = (find(&root, join.first), find(&root, join.second));
        root[a.max(b)] = a.min(b);
    }
    let mut means = Vec::with_capacity(clusters * dimension);
    for cluster in (0..count).filter(|&token| root[token] == token) {
        let members = (0..count).filter(|&token| find(&root, token) == cluster);
        let start = means.len();
        means.resize(start + dimension, 0.0);
        let mut size = 0.0;
        for token in members {
            size += 1.0;
            let row = &tokens[token * dimension..][..dimension];
            means[start..].iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        means[start..].iter_mut().for_each(|sum| *sum /= size);
    }
    means
}

/// The first token of a token's cluster.
fn find(root: &[usize], mut token: usize) -> usize {
    while root[token] != token {
        token = root[token];
    }
    token
}

/// A join of two clusters, each identified by one of its tokens.
struct Join {
    first: usize,
    second: usize,
    height: f32,
}

/// The current clusters of a hierarchical clustering.
struct Hierarchy {
    dimension: usize,
    /// Means of the token directions.
    means: Vec<f32>,
    /// Number of tokens per cluster; 0 once joined into another.
    sizes: Vec<f32>,
}

impl Hierarchy {
    fn new(tokens: &[f32], dimension: usize) -> Self {
        let mut means = tokens.to_vec();
        // A zero token has no direction and stays zero.
        means.chunks_exact_mut(dimension).for_each(|token| {
            kernels::normalize(token);
        });
        Self { dimension, means, sizes: vec![1.0; tokens.len() / dimension] }
    }

    fn mean(&self, cluster: usize) -> &[f32] {
        &self.means[cluster * self.dimension..][..self.dimension]
    }

    /// Ward's distance: the growth in the sum of squared distances to the means if both are joined.
    fn distance(&self, a: usize, b: usize) -> f32 {
        let (size, other) = (self.sizes[a], self.sizes[b]);
        size * other / (size + other) * kernels::l2_squared(self.mean(a), self.mean(b))
    }

    /// All joins, down to a single cluster.
    fn joins(mut self) -> Vec<Join> {
        let count = self.sizes.len();
        let mut joins = Vec::with_capacity(count.saturating_sub(1));
        let mut chain: Vec<usize> = Vec::new();
        while joins.len() + 1 < count {
            let end = match chain.last() {
                Some(&end) => end,
                None => self.sizes.iter().position(|&size| size > 0.0).unwrap_or(0),
            };
            if chain.is_empty() {
                chain.push(end);
            }
            let before = chain.len().checked_sub(2).map(|index| chain[index]);
            let (nearest, height) = self.nearest(end, before);
            if before == Some(nearest) {
                chain.truncate(chain.len() - 2);
                self.join(end, nearest);
                joins.push(Join { first: end, second: nearest, height });
            } else {
                chain.push(nearest);
            }
        }
        joins
    }

    /// The nearest other cluster; ties prefer the previous one in the chain, so that chains end.
    fn nearest(&self, cluster: usize, before: Option<usize>) -> (usize, f32) {
        let mut best = match before {
            Some(before) => (before, self.distance(cluster, before)),
            None => (cluster, f32::INFINITY),
        };
        for other in (0..self.sizes.len()).filter(|&other| other != cluster) {
            if self.sizes[other] > 0.0 {
                let distance = self.distance(cluster, other);
                if distance < best.1 || best.0 == cluster {
                    best = (other, distance);
                }
            }
        }
        best
    }

    /// Joins `b` into `a`.
    fn join(&mut self, a: usize, b: usize) {
        let (size, other) = (self.sizes[a], self.sizes[b]);
        for i in 0..self.dimension {
            let (x, y) = (self.means[a * self.dimension + i], self.means[b * self.dimension + i]);
            self.means[a * self.dimension + i] = (size * x + other * y) / (size + other);
        }
        self.sizes[a] = size + other;
        self.sizes[b] = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantization::hash;

    fn tokens(count: usize, dimension: usize, seed: u64) -> Vec<f32> {
        let value = |i: usize| (hash(seed, i as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        (0..count * dimension).map(value).collect()
    }

    /// Reference implementation: joins the closest pair until `clusters` are left.
    fn oracle(tokens: &[f32], dimension: usize, clusters: usize) -> Vec<Vec<usize>> {
        let unit: Vec<Vec<f64>> = tokens
            .chunks_exact(dimension)
            .map(|token| {
                let norm = token.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
                token.iter().map(|&x| f64::from(x) / norm).collect()
            })
            .collect();
        let mean = |members: &[usize]| -> Vec<f64> {
            (0..dimension)
                .map(|i| members.iter().map(|&t| unit[t][i]).sum::<f64>() / members.len() as f64)
                .collect()
        };
        let mut found: Vec<Vec<usize>> = (0..unit.len()).map(|token| vec![token]).collect();
        while found.len() > clusters {
            let (mut best, mut pair) = (f64::INFINITY, (0, 0));
            for a in 0..found.len() {
                for b in a + 1..found.len() {
                    let (x, y) = (found[a].len() as f64, found[b].len() as f64);
                    let square: f64 = mean(&found[a])
                        .iter()
                        .zip(mean(&found[b]))
                        .map(|(a, b)| (a - b).powi(2))
                        .sum();
                    if x * y / (x + y) * square < best {
                        (best, pair) = (x * y / (x + y) * square, (a, b));
                    }
                }
            }
            let joined = found.swap_remove(pair.1);
            found[pair.0].extend(joined);
        }
        found.iter_mut().for_each(|members| members.sort_unstable());
        found.sort();
        found
    }

    proptest! {
        #[test]
        fn clusters_are_wards(count in 1_usize..25, factor in 2_usize..6, seed in any::<u64>()) {
            let dimension = 5;
            let tokens = tokens(count, dimension, seed);
            let pooled = pool_tokens(&tokens, dimension, factor);
            let expected = oracle(&tokens, dimension, (count / factor).max(1));
            prop_assert_eq!(pooled.len(), expected.len() * dimension);
            for (mean, members) in pooled.chunks_exact(dimension).zip(&expected) {
                for (i, &got) in mean.iter().enumerate() {
                    let sum: f32 = members.iter().map(|&t| tokens[t * dimension + i]).sum();
                    prop_assert!((got - sum / members.len() as f32).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn equal_tokens_and_zeros_are_pooled() {
        let equal = [1.0, 2.0].repeat(9);
        assert_eq!(pool_tokens(&equal, 2, 3), [1.0, 2.0].repeat(3));
        assert_eq!(pool_tokens(&[0.0; 8], 2, 2), [0.0; 4]);
        assert_eq!(pool_tokens(&equal, 2, 100), [1.0, 2.0]);
        assert!(pool_tokens(&[], 2, 2).is_empty());
    }

    #[test]
    fn a_factor_of_one_changes_nothing() {
        let tokens = tokens(7, 3, 1);
        assert_eq!(pool_tokens(&tokens, 3, 1), tokens);
        assert_eq!(pool_tokens(&tokens, 3, 0), tokens);
    }

    #[test]
    fn fields_store_finite_means_of_length_1_under_cosine() {
        let vectors = vec![1.0, 0.0, 0.8, 0.6, 0.0, 1.0];
        let pooled = pool_field(&VectorField::multi(2, Metric::Cosine).pooled(2), vectors.clone());
        assert_eq!(pooled.len(), 2);
        let pooled = pool_field(&VectorField::multi(2, Metric::Cosine).pooled(3), vectors.clone());
        assert!((kernels::dot(&pooled, &pooled) - 1.0).abs() < 1e-6, "{pooled:?}");
        let pooled = pool_field(&VectorField::multi(2, Metric::Dot).pooled(3), vectors);
        assert!(kernels::dot(&pooled, &pooled) < 0.99, "{pooled:?}");
        let huge = vec![f32::MAX; 6];
        let pooled = pool_field(&VectorField::multi(2, Metric::Dot).pooled(3), huge);
        assert_eq!(pooled, [f32::MAX; 2]);
        let opposite = vec![1.0, 0.0, -1.0, 0.0];
        let pooled = pool_field(&VectorField::multi(2, Metric::Cosine).pooled(2), opposite);
        assert_eq!(pooled, [0.0; 2]);
    }

    #[test]
    fn long_documents_are_pooled_in_runs() {
        let tokens = tokens(2 * MAX_POOLED_TOKENS + 5, 2, 2);
        let pooled = pool_tokens(&tokens, 2, 4);
        assert_eq!(pooled.len(), 2 * (2 * MAX_POOLED_TOKENS / 4 + 1));
    }
}
