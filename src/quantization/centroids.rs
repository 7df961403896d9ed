//! Centroids of vectors, by k-means.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::random::stratified;
use crate::kernels::products::{Panels, ProductKernel};

/// Most training vectors per centroid: more hardly move the centroids.
const VECTORS_A_CENTROID: usize = 12;
/// Rounds of k-means: a few get most of the improvement.
const ROUNDS: usize = 4;
/// Vectors to compare with all centroids at once: their products stay in the cache.
const BLOCK: usize = 16;
/// Smallest and largest number of centroids: a larger score table would not fit the L2 cache.
const COUNTS: [usize; 2] = [16, 4096];

/// Centroids of a set of vectors, by Lloyd's k-means (1982).
#[derive(Debug, Clone, PartialEq)]
pub struct Centroids {
    dimension: usize,
    /// Shape [count, dimension].
    values: Vec<f32>,
    panels: Panels,
    /// ‖c‖² / 2 of each.
    half_squares: Vec<f32>,
}

impl Centroids {
    /// Number of centroids for a number of vectors: a power of two near 8·√n, half of PLAID's
    /// (arXiv 2205.09707, section 4.2), so that score tables fit the cache.
    pub fn count_for(vectors: u64) -> usize {
        let wanted = (8.0 * (vectors as f64).sqrt()) as usize;
        let below = (wanted / 2 + 1).next_power_of_two();
        below.clamp(COUNTS[0], COUNTS[1])
    }

    /// Most training vectors for a number of centroids.
    pub fn sample_for(count: usize) -> usize {
        count * VECTORS_A_CENTROID
    }

    /// Learns `count` centroids of vectors of shape [n, dimension]; `None` if there are too few
    /// vectors, or it was cancelled. Runs in the current rayon pool.
    pub fn train(
        vectors: &[f32],
        dimension: usize,
        count: usize,
        seed: u64,
        cancelled: &AtomicBool,
    ) -> Option<Self> {
        let total = vectors.len() / dimension;
        if total < count {
            return None;
        }
        let vector = |at: usize| &vectors[at * dimension..][..dimension];
        let start = stratified(total as u64, count as u64, seed);
        let values = start.into_iter().flat_map(|at| vector(at as usize)).copied().collect();
        let mut centroids = Self::from_values(values, dimension)?;
        for _ in 0..ROUNDS {
            if cancelled.load(Ordering::Relaxed) {
                return None;
            }
            let nearest = centroids.nearest(vectors);
            let (mut sums, mut members) =
                (vec![0.0_f64; centroids.values.len()], vec![0_u32; count]);
            for (at, &centroid) in nearest.iter().enumerate() {
                let centroid = usize::from(centroid);
                members[centroid] += 1;
                let sum = &mut sums[centroid * dimension..][..dimension];
                sum.iter_mut().zip(vector(at)).for_each(|(sum, &value)| *sum += f64::from(value));
            }
            // An empty cluster keeps its centroid.
            let mut values = std::mem::take(&mut centroids.values);
            let means = values.chunks_exact_mut(dimension).zip(sums.chunks_exact(dimension));
            for ((value, sum), &members) in means.zip(&members).filter(|(_, members)| **members > 0)
            {
                let mean =
                    |(value, sum): (&mut f32, &f64)| *value = (sum / f64::from(members)) as f32;
                value.iter_mut().zip(sum).for_each(mean);
            }
            centroids = Self::from_values(values, dimension)?;
        }
        Some(centroids)
    }

    /// From stored values of shape [count, dimension]; `None` if there are none, more than 2¹⁶, not
    /// a whole number of centroids, or non-finite values.
    pub fn from_values(values: Vec<f32>, dimension: usize) -> Option<Self> {
        let count = values.len() / dimension.max(1);
        let is_sound = (1..=1 << 16).contains(&count)
            && values.len() == count * dimension
            && values.iter().all(|value| value.is_finite());
        if !is_sound {
            return None;
        }
        let panels = Panels::from_rows(&values, dimension);
        let half_square = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>() / 2.0;
        let half_squares = values.chunks_exact(dimension).map(half_square).collect();
        Some(Self { dimension, values, panels, half_squares })
    }

    /// Number of centroids.
    pub fn count(&self) -> usize {
        self.half_squares.len()
    }

    /// Dimension of the centroids.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The centroids, shape [count, dimension].
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// A centroid, if it exists.
    pub fn get(&self, centroid: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.dimension).nth(centroid)
    }

    /// Products of vectors of shape [m, dimension] with all centroids, shape [m, count].
    pub fn products(&self, vectors: &[f32]) -> Vec<f32> {
        let mut products = vec![0.0; vectors.len() / self.dimension * self.count()];
        ProductKernel::detect().multiply(vectors, &self.panels, &mut products);
        products
    }

    /// Index of the centroid nearest to each vector of shape [n, dimension], by distance. Runs in
    /// the current rayon pool.
    pub fn nearest(&self, vectors: &[f32]) -> Vec<u16> {
        let kernel = ProductKernel::detect();
        let nearest = |products: &mut Vec<f32>, block: &[f32]| -> Vec<u16> {
            products.resize(block.len() / self.dimension * self.count(), 0.0);
            kernel.multiply(block, &self.panels, products);
            products.chunks_exact_mut(self.count()).map(|products| self.best(products)).collect()
        };
        vectors
            .par_chunks(BLOCK * self.dimension)
            .map_init(Vec::new, nearest)
            .flatten_iter()
            .collect()
    }

    /// Index of the centroid nearest to a vector with these products, which are replaced by
    /// nearness.
    fn best(&self, products: &mut [f32]) -> u16 {
        for (product, half_square) in products.iter_mut().zip(&self.half_squares) {
            *product -= half_square;
        }
        // A vectorizable maximum first: tracking its index as well would be sequential.
        let (lanes, rest) = products.as_chunks::<16>();
        let mut greatest = [f32::NEG_INFINITY; 16];
        for lanes in lanes {
            greatest.iter_mut().zip(lanes).for_each(|(most, value)| *most = most.max(*value));
        }
        let most = greatest.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        products.iter().position(|&nearness| nearness == most).unwrap_or(0) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::hash;

    /// `each` vectors around each of some places, with noise of a tenth of their distance.
    fn around(places: usize, each: usize, dimension: usize) -> Vec<f32> {
        let value = |seed, at| (hash(seed, at as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5;
        let noisy = |at: usize, element: usize| {
            let place = at % places;
            value(1, place * dimension + element) + 0.1 * value(2, at * dimension + element)
        };
        let vectors = 0..places * each;
        vectors.flat_map(|at| (0..dimension).map(move |element| noisy(at, element))).collect()
    }

    fn train(vectors: &[f32], dimension: usize, count: usize) -> Option<Centroids> {
        Centroids::train(vectors, dimension, count, 1, &AtomicBool::new(false))
    }

    #[test]
    fn the_nearest_is_the_nearest() {
        for dimension in [1, 3, 16, 33] {
            let vectors = around(20, 30, dimension);
            let centroids = train(&vectors, dimension, 32).unwrap();
            assert_eq!((centroids.count(), centroids.dimension()), (32, dimension));
            let distance = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
            };
            for (vector, nearest) in
                vectors.chunks_exact(dimension).zip(centroids.nearest(&vectors))
            {
                let to = |at: usize| distance(vector, &centroids.values()[at * dimension..]);
                let least = (0..32).map(to).fold(f64::INFINITY, f64::min);
                assert!(to(usize::from(nearest)) <= least + 1e-6, "dimension {dimension}");
            }
        }
    }

    #[test]
    fn vectors_around_a_few_places_lie_near_their_centroids() {
        let dimension = 16;
        let vectors = around(20, 30, dimension);
        let centroids = train(&vectors, dimension, 64).unwrap();
        let nearest = centroids.nearest(&vectors);
        let mut error = 0.0;
        for (vector, at) in vectors.chunks_exact(dimension).zip(nearest) {
            let centroid = &centroids.values()[usize::from(at) * dimension..][..dimension];
            error += crate::kernels::l2_squared(vector, centroid);
        }
        // The noise has a variance of 1/12 of 0.1² per element.
        let noise = 0.01 / 12.0 * vectors.len() as f32;
        assert!(error < 2.0 * noise, "{error} for noise of {noise}");
    }

    #[test]
    fn few_or_equal_vectors_and_unsound_values_do_no_harm() {
        assert_eq!(train(&[1.0; 15 * 4], 4, 16), None);
        let equal = train(&[1.0; 40 * 4], 4, 16).unwrap();
        assert!(equal.values().iter().all(|&value| value == 1.0));
        assert_eq!(equal.nearest(&[1.0; 4]), [0]);
        assert_eq!(Centroids::from_values(Vec::new(), 4), None);
        assert_eq!(Centroids::from_values(vec![0.0; 7], 4), None);
        assert_eq!(Centroids::from_values(vec![f32::NAN; 4], 4), None);
        let cancelled = AtomicBool::new(true);
        assert_eq!(Centroids::train(&[1.0; 40 * 4], 4, 16, 1, &cancelled), None);
    }

    #[test]
    fn the_number_of_centroids_is_a_power_of_two() {
        let of = [0, 100, 10_000, 347_805, 10_000_000].map(Centroids::count_for);
        assert_eq!(of, [16, 64, 512, 4096, 4096]);
    }
}
