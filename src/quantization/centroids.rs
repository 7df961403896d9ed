//! Centroids of vectors, by k-means.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::fit::DRIFT;
use super::lvq::{Constants, quantize};
use super::nearest_centroid::NearestCentroid;
use super::random::stratified;
use crate::kernels;
use crate::kernels::codes::MAX_CODE_DIMENSION;
use crate::kernels::max_sim::{MaxSimKernel, MaxSimQuery, TokenBits, TokenConstants, TokenLayout};

/// Most training vectors per centroid: more hardly move the centroids.
const VECTORS_A_CENTROID: usize = 12;
/// Rounds of k-means: a few get most of the improvement.
const ROUNDS: usize = 4;
/// Number of centroids: about this many for the square root of the number of vectors, at most one for
/// so many vectors, and within these limits.
const OF_ROOT: f64 = 16.0;
const VECTORS_PER_CENTROID: f64 = 16.0;
const COUNTS: [usize; 2] = [16, 16_384];

/// Fewer vectors always fit.
const JUDGED: usize = 256;

/// Centroids, shared by the segments that use them, and what their training measured.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedCentroids {
    /// The centroids.
    pub centroids: Arc<Centroids>,
    /// `None` if they were stored without one.
    pub report: Option<CentroidReport>,
}

/// Measurements of a training of centroids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CentroidReport {
    /// Number of centroids.
    pub count: usize,
    /// Number of vectors they were trained with.
    pub trained_vectors: usize,
    /// Mean squared distance of a vector to its centroid, relative to the mean squared length.
    pub loss: f64,
    /// Squared length of the mean, relative to the mean squared length: what all vectors have in
    /// common.
    pub common: f64,
}

impl TrainedCentroids {
    /// Learns centroids; as [`Centroids::train`].
    pub fn train(
        vectors: &[f32],
        dimension: usize,
        count: usize,
        seed: u64,
        cancelled: &AtomicBool,
    ) -> Option<Self> {
        let centroids = Centroids::train(vectors, dimension, count, seed, cancelled)?;
        let report = CentroidReport {
            count,
            trained_vectors: vectors.len() / dimension,
            loss: centroids.loss(vectors),
            common: common(vectors, dimension),
        };
        Some(Self { centroids: Arc::new(centroids), report: Some(report) })
    }

    /// True if vectors of one source, shape [n, dimension], are as near to the centroids as those of
    /// the training. Always true for a few vectors.
    pub fn fits(&self, vectors: &[f32]) -> bool {
        let few = vectors.len() / self.centroids.dimension() < JUDGED;
        let least = f64::from(f32::EPSILON);
        let is_near = |report: &CentroidReport| {
            self.centroids.loss(vectors) <= DRIFT * report.loss.max(least)
        };
        few || self.report.as_ref().is_some_and(is_near)
    }
}

/// Centroids of a set of vectors, by Lloyd's k-means (1982), rounded to eight bits an element.
#[derive(Debug, Clone)]
pub struct Centroids {
    /// Shape [count, dimension].
    values: Vec<f32>,
    /// Their codes, one document of tokens, and slack.
    layout: TokenLayout,
    codes: Vec<u8>,
    /// To find the nearest; made when it is first needed.
    search: OnceLock<NearestCentroid>,
}

impl PartialEq for Centroids {
    fn eq(&self, other: &Self) -> bool {
        self.layout == other.layout && self.values == other.values
    }
}

impl Centroids {
    /// Number of centroids for a number of vectors, a power of two. With more centroids, rests are
    /// smaller and candidates are ranked better, but the table of a query is larger.
    pub fn count_for(vectors: u64) -> usize {
        let vectors = vectors as f64;
        let wanted = (OF_ROOT * vectors.sqrt()).min(vectors / VECTORS_PER_CENTROID) as usize;
        // The nearest, in proportion.
        let nearest = ((wanted as f64 / std::f64::consts::SQRT_2) as usize).next_power_of_two();
        nearest.clamp(COUNTS[0], COUNTS[1])
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
        if vectors.len() / dimension < count {
            return None;
        }
        let start = some_vectors(vectors, dimension, count, seed);
        let mut centroids = Self::from_values(&start, dimension)?;
        for _ in 0..ROUNDS {
            if cancelled.load(Ordering::Relaxed) {
                return None;
            }
            let nearest = centroids.nearest(vectors);
            let mut values = std::mem::take(&mut centroids.values);
            move_to_means(&mut values, vectors, dimension, &nearest);
            centroids = Self::from_values(&values, dimension)?;
        }
        Some(centroids)
    }

    /// From values of shape [count, dimension], which are rounded; `None` if there are none, more than
    /// 2¹⁶, not a whole number of centroids, non-finite values, or too many dimensions for codes.
    pub fn from_values(values: &[f32], dimension: usize) -> Option<Self> {
        let count = values.len() / dimension.max(1);
        let is_sound = (1..=1 << 16).contains(&count)
            && values.len() == count * dimension
            && dimension <= MAX_CODE_DIMENSION
            && values.iter().all(|value| value.is_finite());
        if !is_sound {
            return None;
        }
        let layout = TokenLayout::new(TokenBits::Eight, dimension);
        let (mut codes, mut constants) = (Vec::with_capacity(values.len()), Vec::new());
        let mut of_row = Vec::new();
        for row in values.chunks_exact(dimension) {
            let Constants { step, low, .. } = quantize(layout.bits().max(), row, &mut of_row);
            constants.push(TokenConstants { step, low });
            codes.extend_from_slice(&of_row);
        }
        let mut packed = vec![0; layout.document_bytes(count) + TokenLayout::SLACK_BYTES];
        layout.pack(&codes, &constants, &mut packed[..layout.document_bytes(count)]);
        Self::from_codes(packed, dimension)
    }

    /// From [`Self::codes`]; `None` if they are not of whole centroids of that dimension, or not finite.
    pub fn from_codes(codes: Vec<u8>, dimension: usize) -> Option<Self> {
        if !(1..=MAX_CODE_DIMENSION).contains(&dimension) {
            return None;
        }
        let layout = TokenLayout::new(TokenBits::Eight, dimension);
        let bytes = codes.len().checked_sub(TokenLayout::SLACK_BYTES)?;
        let count = bytes / layout.token_bytes();
        if !(1..=1 << 16).contains(&count) || bytes != layout.document_bytes(count) {
            return None;
        }
        let (numbers, constants) = layout.unpack(&codes, count);
        let mut values = Vec::with_capacity(numbers.len());
        for (row, TokenConstants { step, low }) in numbers.chunks_exact(dimension).zip(constants) {
            values.extend(row.iter().map(|&code| low + step * f32::from(code)));
        }
        let is_sound = values.iter().all(|value| value.is_finite());
        is_sound.then(|| Self { values, layout, codes, search: OnceLock::new() })
    }

    /// Number of centroids.
    pub fn count(&self) -> usize {
        self.values.len() / self.dimension()
    }

    /// Dimension of the centroids.
    pub fn dimension(&self) -> usize {
        self.layout.dimension()
    }

    /// The centroids, shape [count, dimension].
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Codes of all centroids, as one document of tokens and its slack.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// A centroid, if it exists.
    pub fn get(&self, centroid: usize) -> Option<&[f32]> {
        self.values.chunks_exact(self.dimension()).nth(centroid)
    }

    /// The mean of the centroids.
    pub fn mean(&self) -> Vec<f32> {
        let mut mean = vec![0.0; self.dimension()];
        let share = 1.0 / self.count() as f32;
        for row in self.values.chunks_exact(self.dimension()) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += share * value);
        }
        mean
    }

    /// Products of vectors of shape [m, dimension], rounded to eight bits, with all centroids, shape
    /// [m, count].
    pub fn products(&self, vectors: &[f32]) -> Vec<f32> {
        let query = MaxSimQuery::new(&self.layout, vectors);
        let mut products = vec![0.0; query.len() * self.count()];
        MaxSimKernel::detect().products(&query, &self.codes, self.count(), &mut products);
        products
    }

    /// Mean squared distance of vectors of shape [n, dimension] to the nearest centroid, relative to
    /// their mean squared length; 0 if that is 0. Runs in the current rayon pool.
    fn loss(&self, vectors: &[f32]) -> f64 {
        let rows = vectors.chunks_exact(self.dimension()).zip(self.nearest(vectors));
        let distance = |(row, nearest): (&[f32], u16)| {
            let start = usize::from(nearest) * self.dimension();
            f64::from(kernels::l2_squared(row, &self.values[start..start + self.dimension()]))
        };
        share(rows.map(distance).sum(), squared(vectors))
    }

    /// Index of the centroid nearest to each vector of shape [n, dimension], by distance; with many
    /// centroids now and then of the second nearest. Runs in the current rayon pool.
    pub fn nearest(&self, vectors: &[f32]) -> Vec<u16> {
        let search =
            self.search.get_or_init(|| NearestCentroid::new(&self.values, self.dimension()));
        search.of(vectors)
    }
}

/// Moves centroids of shape [count, dimension] to the means of the vectors that are nearest to them; one
/// that is nearest to none stays.
pub(super) fn move_to_means(
    centroids: &mut [f32],
    vectors: &[f32],
    dimension: usize,
    nearest: &[u16],
) {
    let mut sums = vec![0.0_f64; centroids.len()];
    let mut members = vec![0_u32; centroids.len() / dimension];
    for (vector, &centroid) in vectors.chunks_exact(dimension).zip(nearest) {
        let centroid = usize::from(centroid);
        members[centroid] += 1;
        let sum = &mut sums[centroid * dimension..][..dimension];
        sum.iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    let means = sums.chunks_exact(dimension).zip(&members);
    for (centroid, (sum, &members)) in centroids.chunks_exact_mut(dimension).zip(means) {
        if members > 0 {
            let mean = |(value, sum): (&mut f32, &f64)| *value = (sum / f64::from(members)) as f32;
            centroid.iter_mut().zip(sum).for_each(mean);
        }
    }
}

/// The elements of vectors of shape [n, dimension] at about `count` evenly spaced places.
pub(super) fn some_vectors(vectors: &[f32], dimension: usize, count: usize, seed: u64) -> Vec<f32> {
    let vector = |at: u64| &vectors[at as usize * dimension..][..dimension];
    let chosen = stratified((vectors.len() / dimension) as u64, count as u64, seed);
    chosen.into_iter().flat_map(vector).copied().collect()
}

/// What vectors of shape [n, dimension] have in common; see [`CentroidReport::common`].
fn common(vectors: &[f32], dimension: usize) -> f64 {
    let count = (vectors.len() / dimension).max(1) as f64;
    let mut sum = vec![0.0_f64; dimension];
    for row in vectors.chunks_exact(dimension) {
        sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
    }
    share(sum.iter().map(|sum| sum * sum / count).sum(), squared(vectors))
}

/// Sum of the squared elements.
fn squared(vectors: &[f32]) -> f64 {
    vectors.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}

/// `part` of `whole`; 0 of nothing, or of what overflows.
fn share(part: f64, whole: f64) -> f64 {
    Some(part / whole).filter(|share| share.is_finite()).unwrap_or(0.0)
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
    fn products_are_those_with_the_rounded_vectors() {
        for (dimension, tokens) in [(1, 1), (3, 5), (16, 20), (33, 9)] {
            let vectors = around(20, 30, dimension);
            let centroids = train(&vectors, dimension, 32).unwrap();
            let query = &vectors[..tokens * dimension];
            let products = centroids.products(query);
            assert_eq!(products.len(), tokens * 32);
            for (token, products) in query.chunks_exact(dimension).zip(products.chunks_exact(32)) {
                let largest = token.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
                for (row, product) in centroids.values().chunks_exact(dimension).zip(products) {
                    let length: f32 = row.iter().map(|value| value.abs()).sum();
                    let error = (kernels::scalar::dot(token, row) - product).abs();
                    assert!(error <= largest / 254.0 * length * 1.01 + 1e-5, "{error}");
                }
            }
        }
    }

    #[test]
    fn values_are_rounded_to_eight_bits() {
        let vectors = around(16, 1, 33);
        let centroids = Centroids::from_values(&vectors, 33).unwrap();
        for (row, rounded) in vectors.chunks_exact(33).zip(centroids.values().chunks_exact(33)) {
            let range = row.iter().fold(0.0_f32, |most, value| most.max(value.abs())) * 2.0;
            for (value, rounded) in row.iter().zip(rounded) {
                assert!((value - rounded).abs() <= 0.51 * range / 255.0, "{value} {rounded}");
            }
        }
        assert_eq!(Centroids::from_values(centroids.values(), 33).unwrap().count(), 16);
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
            error += kernels::l2_squared(vector, centroid);
        }
        // The noise has a variance of 1/12 of 0.1² per element.
        let noise = 0.01 / 12.0 * vectors.len() as f32;
        assert!(error < 2.0 * noise, "{error} for noise of {noise}");
    }

    #[test]
    fn vectors_unlike_those_of_training_do_not_fit() {
        let dimension = 16;
        let vectors = around(20, 60, dimension);
        let (half, other) = vectors.split_at(vectors.len() / 2);
        let cancelled = AtomicBool::new(false);
        let trained = TrainedCentroids::train(half, dimension, 32, 1, &cancelled).unwrap();
        let report = trained.report.clone().unwrap();
        assert_eq!((report.count, report.trained_vectors), (32, 600));
        assert!(report.loss > 0.0 && report.loss < 0.1 && report.common < 0.3, "{report:?}");
        assert!(trained.fits(other));
        let opposite: Vec<f32> = other.iter().map(|value| -value).collect();
        assert!(!trained.fits(&opposite));
        assert!(trained.fits(&opposite[..JUDGED * dimension / 2]), "too few to judge");
        // Far from the origin, nearly all is common.
        let shifted: Vec<f32> = vectors.iter().map(|value| value + 5.0).collect();
        assert!(common(&shifted, dimension) > 0.98);
        let equal = TrainedCentroids::train(&[1.0; 40 * 4], 4, 16, 1, &cancelled).unwrap();
        let report = equal.report.clone().unwrap();
        assert_eq!((report.loss, report.common), (0.0, 1.0));
        assert!(equal.fits(&[1.0; 400 * 4]) && !equal.fits(&[2.0; 400 * 4]));
        assert_eq!((common(&[0.0; 8], 4), equal.centroids.loss(&[0.0; 8])), (0.0, 0.0));
    }

    #[test]
    fn few_or_equal_vectors_and_unsound_values_do_no_harm() {
        assert_eq!(train(&[1.0; 15 * 4], 4, 16), None);
        let equal = train(&[1.0; 40 * 4], 4, 16).unwrap();
        assert!(equal.values().iter().all(|&value| value == 1.0));
        assert_eq!(equal.nearest(&[1.0; 4]), [0]);
        assert_eq!(Centroids::from_values(&[], 4), None);
        assert_eq!(Centroids::from_values(&[0.0; 7], 4), None);
        assert_eq!(Centroids::from_values(&[f32::NAN; 4], 4), None);
        assert_eq!(Centroids::from_values(&[0.0; 4], 0), None);
        let huge = Centroids::from_values(&[f32::MAX, -f32::MAX, 0.0, 1.0], 4).unwrap();
        assert!(huge.values().iter().all(|value| value.is_finite()));
        let codes = huge.codes().to_vec();
        assert_eq!(Centroids::from_codes(codes.clone(), 4), Some(huge));
        assert_eq!(Centroids::from_codes(codes[1..].to_vec(), 4), None);
        assert_eq!(Centroids::from_codes(codes, 0), None);
        assert_eq!(Centroids::from_codes(Vec::new(), 4), None);
        let cancelled = AtomicBool::new(true);
        assert_eq!(Centroids::train(&[1.0; 40 * 4], 4, 16, 1, &cancelled), None);
    }

    #[test]
    fn the_number_of_centroids_is_a_power_of_two() {
        let of = [0, 100, 10_000, 347_805, 10_000_000].map(Centroids::count_for);
        assert_eq!(of, [16, 16, 512, 8192, 16_384]);
    }
}
