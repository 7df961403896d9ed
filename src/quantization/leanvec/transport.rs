//! Made-up queries: rows, moved to where queries are.
//!
//! A sample of queries is small; rows are many. The optimal transport between two normal
//! distributions is linear (Gelbrich, 1990; Peyré and Cuturi, arXiv 1803.00567, remark 2.31): with
//! the means and covariances m_X, K_X of rows and m_Q, K_Q of queries
//!
//! T(x) = m_Q + K_X^(−1/2) (K_X^(1/2) K_Q K_X^(1/2))^(1/2) K_X^(−1/2) (x − m_X).
//!
//! Moved rows have the mean and the covariance of queries, and keep what only rows know: where they
//! are dense, and which of them are alike. Of all such maps, this moves rows the least, so that a
//! moved row is a query that asks for rows like it.

use super::linalg::{
    Matrix, columns_as_map, eigen, map_rows, power, product, second_moment, trace,
};
use super::{AffineMap, LeanVecError};
use crate::quantization::spread::{centred, mean};

/// Smallest variance in a direction, as a share of the largest.
const FLOOR: f64 = 1e-6;

/// Learns the map from rows, shape [n, dimension], to queries, shape [m, dimension]; neither may be
/// empty.
///
/// # Errors
/// If an eigenvalue iteration does not converge, as for values that are not finite.
pub fn transport(
    rows: &[f32],
    queries: &[f32],
    dimension: usize,
) -> Result<AffineMap, LeanVecError> {
    let (rows, queries) = (Normal::of(rows, dimension), Normal::of(queries, dimension));
    let wanted = queries.shrunk_to(&rows);
    let of_rows = eigen(&rows.covariance)?;
    let floor = of_rows.0[0].max(f64::MIN_POSITIVE) * FLOOR;
    let (root, inverse) = (power(&of_rows, 0.5, floor), power(&of_rows, -0.5, floor));
    let between = product(product(root.as_ref(), wanted.as_ref()).as_ref(), root.as_ref());
    let between = power(&eigen(&between)?, 0.5, 0.0);
    let map = product(product(inverse.as_ref(), between.as_ref()).as_ref(), inverse.as_ref());
    // It is symmetric.
    let linear = columns_as_map(&map);
    let moved = map_rows(&rows.mean, &linear, dimension);
    let offset = queries.mean.iter().zip(moved).map(|(to, from)| to - from).collect();
    Ok(AffineMap { linear: Some(linear), offset })
}

/// Mean and covariance of a sample.
struct Normal {
    mean: Vec<f32>,
    covariance: Matrix,
    count: usize,
}

impl Normal {
    fn of(vectors: &[f32], dimension: usize) -> Self {
        let mean = mean(vectors.chunks_exact(dimension), dimension);
        let covariance = second_moment(&centred(vectors, &mean), dimension);
        Self { covariance, mean, count: vectors.len() / dimension }
    }

    /// The covariance, mixed with that of `rows` scaled to the same trace: m queries know little of
    /// more than m directions.
    fn shrunk_to(&self, rows: &Self) -> Matrix {
        let of_rows = trace(&rows.covariance);
        let scale = if of_rows > 0.0 { trace(&self.covariance) / of_rows } else { 0.0 };
        let dimension = self.mean.len() as f64;
        let share = dimension / (dimension + self.count as f64);
        &self.covariance * faer::Scale(1.0 - share) + &rows.covariance * faer::Scale(share * scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::hash;

    /// Uniform in −1..1.
    fn float(seed: u64, index: u64) -> f32 {
        (hash(seed, index) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    /// Independent values of the given deviations and means.
    fn sample(seed: u64, count: u64, deviations: &[f32], means: &[f32]) -> Vec<f32> {
        let mut values = Vec::new();
        for row in 0..count {
            for (at, (deviation, mean)) in deviations.iter().zip(means).enumerate() {
                let value = float(seed, row * deviations.len() as u64 + at as u64);
                values.push(mean + 3.0_f32.sqrt() * deviation * value);
            }
        }
        values
    }

    #[test]
    fn moved_rows_have_the_mean_and_the_covariance_of_queries() {
        let rows = sample(1, 4000, &[1.0, 2.0, 0.5], &[1.0, 0.0, -3.0]);
        let queries = sample(2, 4000, &[2.0, 0.5, 0.5], &[0.0, 5.0, 1.0]);
        let moved = transport(&rows, &queries, 3).unwrap().apply(&rows);
        let (moved, queries) = (Normal::of(&moved, 3), Normal::of(&queries, 3));
        for at in 0..3 {
            assert!((moved.mean[at] - queries.mean[at]).abs() < 1e-3, "{:?}", moved.mean);
            for other in 0..3 {
                let (got, expected) =
                    (moved.covariance[(at, other)], queries.covariance[(at, other)]);
                assert!((got - expected).abs() < 0.02, "{at} {other}: {got} {expected}");
            }
        }
    }

    #[test]
    fn what_is_distributed_alike_stays_where_it_is() {
        let rows = sample(3, 500, &[1.0, 2.0, 0.5, 1.5], &[0.0, 1.0, 2.0, 3.0]);
        let moved = transport(&rows, &rows, 4).unwrap().apply(&rows);
        for (got, expected) in moved.iter().zip(&rows) {
            assert!((got - expected).abs() < 1e-4, "{got} {expected}");
        }
    }

    #[test]
    fn a_sample_without_spread_moves_all_rows_to_one_place() {
        let rows = sample(4, 100, &[1.0, 2.0], &[0.0, 1.0]);
        let queries = [3.0, 4.0].repeat(50);
        let moved = transport(&rows, &queries, 2).unwrap().apply(&rows);
        for query in moved.chunks_exact(2) {
            assert!((query[0] - 3.0).abs() < 1e-3 && (query[1] - 4.0).abs() < 1e-3, "{query:?}");
        }
        let equal = [1.0, 2.0].repeat(100);
        let moved = transport(&equal, &queries, 2).unwrap().apply(&equal);
        assert!(moved.iter().all(|value| value.is_finite()), "{moved:?}");
    }
}
