//! Lists by query: a partition of the queries, with the rows that each part may need.
//!
//! Where queries and rows have different distributions, rows that are near each other are not what
//! a query needs together, and a partition of the queries by a sample of them names the candidates
//! directly. This is the multilabel classification view of search (Hyvönen, Jääsaari and Roos,
//! NeurIPS 2022; JMLR 25, 2024): a part of the query space is a leaf, and its labels are the rows
//! to score. There the leaves come from trees and the labels from votes of the neighbours of
//! training queries. Here
//!
//! - leaves are the cells of spherical k-means, in the metric in which two queries are alike if
//!   they rank rows alike. With Σ the covariance of the rows, the products of q and p with all rows
//!   have the covariance qᵀΣp, so a query belongs to the centroid c with the greatest correlation,
//!   qᵀΣc / √(qᵀΣq · cᵀΣc);
//! - a row x belongs to the list of c if ⟨c, x⟩ + β·√(xᵀWx) exceeds the list's threshold. W is the
//!   covariance of queries around their centroids, so the root is the standard deviation of the
//!   product of x with a query of the cell: the sum estimates the product that an unusual query of
//!   the cell has with x. No neighbours of training queries are needed, and a new row is added
//!   like an old one.
//!
//! Rows are centred by the caller.

use crate::kernels;
use crate::kernels::products::{Panels, ProductKernel};
use crate::quantization::stratified;

/// β, standard deviations: recall hardly depends on it between 1 and 3.
const DEVIATIONS: f32 = 2.0;
/// Rounds of k-means.
const ROUNDS: usize = 4;
/// Rows to compare with all centroids at once: their products stay in the cache.
const BLOCK: usize = 64;
/// Part of the rows' mean variance that is added to every direction, so that Σ has an inverse.
const REGULARIZATION: f32 = 1e-4;

/// Settings of [`QueryLists::train`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryListSettings {
    /// Number of lists.
    pub lists: usize,
    /// Share of the rows that a list names.
    pub share: f32,
    /// Seed of the initial centroids.
    pub seed: u64,
}

/// The centroids of queries, and which rows belong to the list of each.
#[derive(Debug)]
pub struct QueryLists {
    dimension: usize,
    /// c of each list with cᵀΣc = 1, shape [lists, dimension].
    centroids: Vec<f32>,
    /// The same, packed.
    panels: Panels,
    /// Σc of each list, shape [lists, dimension].
    routes: Vec<f32>,
    /// W, shape [dimension, dimension].
    spread: Panels,
    /// A row belongs to a list if its value is greater.
    thresholds: Vec<f32>,
}

/// The list of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Route {
    /// Index of the list.
    pub list: usize,
    /// qᵀΣc, the length of the query along the centroid.
    pub along: f32,
}

impl QueryLists {
    /// Learns lists from queries, shape [m, dimension], and a sample of centred rows, shape
    /// [n, dimension], which sets the thresholds. Neither may be empty.
    pub fn train(
        queries: &[f32],
        rows: &[f32],
        dimension: usize,
        settings: QueryListSettings,
    ) -> Self {
        let covariance = covariance(rows, dimension);
        let unit = normalized(queries, &covariance);
        let count = (unit.len() / dimension) as u64;
        let start = stratified(count, settings.lists as u64, settings.seed);
        let of = |at: u64| &unit[at as usize * dimension..][..dimension];
        let mut centroids: Vec<f32> = start.into_iter().flat_map(of).copied().collect();
        let mut sums = vec![0.0; centroids.len()];
        for _ in 0..ROUNDS {
            sums.fill(0.0);
            each_nearest(&unit, &centroids, &covariance, |query, list| {
                add(&mut sums[list * dimension..][..dimension], query);
            });
            // The mean of an empty cell is zero; it keeps its centroid.
            let means = normalized(&sums, &covariance);
            let both = centroids.chunks_exact_mut(dimension).zip(means.chunks_exact(dimension));
            for (centroid, mean) in both.filter(|(_, mean)| mean.iter().any(|&x| x != 0.0)) {
                centroid.copy_from_slice(mean);
            }
        }
        let spread = spread(&unit, &centroids, &covariance);
        let panels = Panels::from_rows(&centroids, dimension);
        let routes = product(&centroids, &covariance);
        let thresholds = vec![f32::INFINITY; centroids.len() / dimension];
        let mut lists = Self { dimension, centroids, panels, routes, spread, thresholds };
        lists.thresholds = lists.quantiles(rows, settings.share);
        lists
    }

    /// Number of lists.
    pub fn count(&self) -> usize {
        self.thresholds.len()
    }

    /// c of a list.
    pub fn centroid(&self, list: usize) -> &[f32] {
        &self.centroids[list * self.dimension..][..self.dimension]
    }

    /// Upper limit of ⟨c, x⟩ for a row x that is not in a list.
    pub fn threshold(&self, list: usize) -> f32 {
        self.thresholds[list]
    }

    /// The list of a query; `scratch` has a place for each list.
    pub fn route(&self, query: &[f32], scratch: &mut [f32]) -> Route {
        kernels::matrix_vector(&self.routes, query, scratch);
        let list = kernels::position_of_largest(scratch);
        Route { list, along: scratch[list] }
    }

    /// Calls `member` with a list and the index of a row, for all rows of shape [n, dimension] in
    /// ascending order and the lists to which each belongs.
    pub fn assign(&self, rows: &[f32], mut member: impl FnMut(usize, u32)) {
        let mut values = Vec::new();
        for (block, rows) in rows.chunks(BLOCK * self.dimension).enumerate() {
            self.values(rows, &mut values);
            for (row, values) in values.chunks_exact(self.count()).enumerate() {
                let row = (block * BLOCK + row) as u32;
                for (list, (value, threshold)) in values.iter().zip(&self.thresholds).enumerate() {
                    if value > threshold {
                        member(list, row);
                    }
                }
            }
        }
    }

    /// ⟨c, x⟩ + β·√(xᵀWx) of rows and lists, shape [n, lists].
    fn values(&self, rows: &[f32], values: &mut Vec<f32>) {
        let kernel = ProductKernel::detect();
        values.resize(rows.len() / self.dimension * self.count(), 0.0);
        kernel.multiply(rows, &self.panels, values);
        let spreads = product(rows, &self.spread);
        let pairs = rows.chunks_exact(self.dimension).zip(spreads.chunks_exact(self.dimension));
        for (values, (row, spread)) in values.chunks_exact_mut(self.count()).zip(pairs) {
            let deviation = kernels::dot(row, spread).max(0.0).sqrt();
            values.iter_mut().for_each(|value| *value += DEVIATIONS * deviation);
        }
    }

    /// For each list, the value that `share` of the rows exceed.
    fn quantiles(&self, rows: &[f32], share: f32) -> Vec<f32> {
        let (count, total) = (self.count(), rows.len() / self.dimension);
        let mut columns = vec![0.0; count * total];
        let mut values = Vec::new();
        for (block, rows) in rows.chunks(BLOCK * self.dimension).enumerate() {
            self.values(rows, &mut values);
            for (row, values) in values.chunks_exact(count).enumerate() {
                for (list, &value) in values.iter().enumerate() {
                    columns[list * total + block * BLOCK + row] = value;
                }
            }
        }
        let above = ((share * total as f32) as usize).min(total - 1);
        let of =
            |column: &mut [f32]| *column.select_nth_unstable_by(above, |a, b| b.total_cmp(a)).1;
        columns.chunks_exact_mut(total).map(of).collect()
    }
}

/// rows · matrix for a symmetric or row-packed matrix.
fn product(rows: &[f32], matrix: &Panels) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() / matrix.depth() * matrix.columns()];
    ProductKernel::detect().multiply(rows, matrix, &mut out);
    out
}

/// The second moment of rows, shape [dimension, dimension].
fn second_moment(rows: &[f32], dimension: usize) -> Vec<f32> {
    let count = rows.len() / dimension;
    let mut columns = vec![0.0; rows.len()];
    for (at, row) in rows.chunks_exact(dimension).enumerate() {
        for (column, &value) in row.iter().enumerate() {
            columns[column * count + at] = value / (count as f32).sqrt();
        }
    }
    product(&columns, &Panels::from_rows(&columns, count))
}

/// Σ of centred rows, regularized.
fn covariance(rows: &[f32], dimension: usize) -> Panels {
    let mut moment = second_moment(rows, dimension);
    let trace: f32 = moment.iter().step_by(dimension + 1).sum();
    let least = REGULARIZATION * trace / dimension as f32;
    // Of rows that are all equal, nothing is learned, whatever the metric.
    let least = if least > 0.0 { least } else { 1.0 };
    moment.iter_mut().step_by(dimension + 1).for_each(|variance| *variance += least);
    Panels::from_rows(&moment, dimension)
}

/// W: the second moment of queries less their centroids.
fn spread(unit: &[f32], centroids: &[f32], covariance: &Panels) -> Panels {
    let dimension = covariance.depth();
    let mut residuals = Vec::with_capacity(unit.len());
    each_nearest(unit, centroids, covariance, |query, list| {
        let centroid = &centroids[list * dimension..][..dimension];
        residuals.extend(query.iter().zip(centroid).map(|(q, c)| q - c));
    });
    Panels::from_rows(&second_moment(&residuals, dimension), dimension)
}

/// Rows scaled to xᵀΣx = 1; those for which that is 0 become 0.
fn normalized(rows: &[f32], covariance: &Panels) -> Vec<f32> {
    let dimension = covariance.depth();
    let mut unit = rows.to_vec();
    let mapped = product(rows, covariance);
    for (row, mapped) in unit.chunks_exact_mut(dimension).zip(mapped.chunks_exact(dimension)) {
        let factor = 1.0 / kernels::dot(row, mapped).max(0.0).sqrt();
        let factor = if factor.is_finite() { factor } else { 0.0 };
        row.iter_mut().for_each(|value| *value *= factor);
    }
    unit
}

/// Calls `visit` with each query and the index of its centroid.
fn each_nearest(
    unit: &[f32],
    centroids: &[f32],
    covariance: &Panels,
    mut visit: impl FnMut(&[f32], usize),
) {
    let dimension = covariance.depth();
    let routes = Panels::from_rows(&product(centroids, covariance), dimension);
    for block in unit.chunks(BLOCK * dimension) {
        let products = product(block, &routes);
        let rows = block.chunks_exact(dimension).zip(products.chunks_exact(routes.columns()));
        rows.for_each(|(query, products)| visit(query, kernels::position_of_largest(products)));
    }
}

fn add(sums: &mut [f32], values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::hash;

    /// Uniform elements within ±1/2.
    fn uniform(seed: u64, count: usize) -> Vec<f32> {
        (0..count as u64).map(|at| (hash(seed, at) >> 40) as f32 / (1 << 24) as f32 - 0.5).collect()
    }

    const SETTINGS: QueryListSettings = QueryListSettings { lists: 8, share: 0.1, seed: 1 };

    #[test]
    fn a_query_belongs_to_the_centroid_with_the_greatest_correlation() {
        let d = 7;
        let (queries, rows) = (uniform(1, 200 * d), uniform(2, 500 * d));
        let lists = QueryLists::train(&queries, &rows, d, SETTINGS);
        let products = |query: &[f32]| -> Vec<f32> {
            rows.chunks_exact(d).map(|row| kernels::scalar::dot(row, query)).collect()
        };
        // Rows are taken as centred, so covariances are second moments.
        let covariance = |a: &[f32], b: &[f32]| kernels::scalar::dot(a, b) / 500.0;
        let centroids: Vec<Vec<f32>> = (0..8).map(|list| products(lists.centroid(list))).collect();
        for query in queries.chunks_exact(d) {
            let query_products = products(query);
            let correlations: Vec<f32> = centroids
                .iter()
                .map(|c| covariance(&query_products, c) / covariance(c, c).sqrt())
                .collect();
            let best = correlations.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            let route = lists.route(query, &mut [0.0; 8]);
            assert!(correlations[route.list] > best - 1e-4 * best.abs());
            assert!((route.along - best).abs() < 1e-2 * best.abs(), "{} {best}", route.along);
        }
    }

    #[test]
    fn lists_name_their_share_of_rows_and_no_other_exceeds_the_threshold() {
        let d = 16;
        let (queries, rows) = (uniform(3, 400 * d), uniform(4, 1_000 * d));
        let lists = QueryLists::train(&queries, &rows, d, SETTINGS);
        let mut members = vec![Vec::new(); lists.count()];
        lists.assign(&rows, |list, row| members[list].push(row));
        for (list, members) in members.iter().enumerate() {
            assert_eq!(members.len(), 100);
            assert!(members.windows(2).all(|pair| pair[0] < pair[1]));
            for (row, values) in (0..).zip(rows.chunks_exact(d)) {
                let product = kernels::scalar::dot(values, lists.centroid(list));
                assert!(members.contains(&row) || product <= lists.threshold(list));
            }
        }
        // One after the other gives the same.
        let mut alone = vec![Vec::new(); lists.count()];
        for (row, values) in (0..).zip(rows.chunks_exact(d)) {
            lists.assign(values, |list, _| alone[list].push(row));
        }
        assert_eq!(alone, members);
    }

    #[test]
    fn equal_rows_are_in_no_list() {
        let queries = uniform(5, 100 * 4);
        for (queries, rows) in [(&queries[..], [0.0; 40]), (&[0.0; 80], [0.0; 40])] {
            let lists = QueryLists::train(queries, &rows, 4, SETTINGS);
            lists.assign(&rows, |list, row| panic!("row {row} in {list}"));
            assert!(lists.route(&[1.0; 4], &mut vec![0.0; lists.count()]).list < lists.count());
        }
    }
}
