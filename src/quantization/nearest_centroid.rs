//! The centroid nearest to each of many vectors. Many centroids are divided into groups by k-means,
//! and a vector is compared with those of the nearest groups only (IVF, as of Jégou, Douze and
//! Schmid, PAMI 2011, section 4).

use rayon::prelude::*;

use super::centroids::{move_to_means, some_vectors};
use crate::kernels::position_of_largest;
use crate::kernels::products::{Panels, ProductKernel};

/// Vectors to compare at once.
const BLOCK: usize = 1024;
/// Up to so many centroids, all are compared.
const FEW: usize = 1024;
/// Rounds of k-means over the centroids.
const ROUNDS: usize = 3;
/// Groups to compare with, at least, and one in this many.
const PROBES: (usize, usize) = (8, 10);
const SEED: u64 = 42;

/// Finds the nearest centroids.
#[derive(Debug, Clone)]
pub struct NearestCentroid {
    dimension: usize,
    /// The centre of each group; none if there is one group.
    centres: Option<Group>,
    groups: Vec<Group>,
}

/// Some centroids.
#[derive(Debug, Clone)]
struct Group {
    /// Their numbers.
    numbers: Vec<u16>,
    panels: Panels,
    /// ‖c‖² / 2 of each.
    half_squares: Vec<f32>,
}

/// The nearest centroid found so far, and its nearness: ⟨x, c⟩ − ‖c‖² / 2.
type Best = (f32, u16);

impl NearestCentroid {
    /// For centroids of shape [count, dimension], at most 2¹⁶.
    pub fn new(values: &[f32], dimension: usize) -> Self {
        let count = values.len() / dimension;
        let all: Vec<u16> = (0..=u16::MAX).take(count).collect();
        if count <= FEW {
            let group = Group::of(values, dimension, all);
            return Self { dimension, centres: None, groups: vec![group] };
        }
        let wanted = ((count as f64).sqrt() as usize).next_power_of_two();
        let (centres, nearest) = k_means(values, dimension, wanted);
        let members = |group: usize| {
            let members =
                all.iter().filter(|&&number| nearest[usize::from(number)] == group as u16);
            Group::of(values, dimension, members.copied().collect())
        };
        let groups = (0..wanted).into_par_iter().map(members).collect();
        Self { dimension, centres: Some(centres), groups }
    }

    /// The number of the centroid nearest to each vector of shape [n, dimension].
    pub fn of(&self, vectors: &[f32]) -> Vec<u16> {
        let blocks = vectors.par_chunks(BLOCK * self.dimension);
        blocks
            .map_init(Vec::new, |products, block| self.of_block(block, products))
            .flatten_iter()
            .collect()
    }

    fn of_block(&self, block: &[f32], products: &mut Vec<f32>) -> Vec<u16> {
        let count = block.len() / self.dimension;
        let mut best: Vec<Best> = vec![(f32::NEG_INFINITY, 0); count];
        let Some(centres) = &self.centres else {
            let all: Vec<u32> = (0..count as u32).collect();
            self.groups.iter().for_each(|group| group.offer(block, &all, products, &mut best));
            return best.into_iter().map(|(_, number)| number).collect();
        };
        let probes = PROBES.0.max(self.groups.len() / PROBES.1).min(self.groups.len());
        let mut visitors = vec![Vec::new(); self.groups.len()];
        centres.multiply(block, products);
        let mut order: Vec<u32> = Vec::new();
        for (vector, nearness) in products.chunks_exact(self.groups.len()).enumerate() {
            order.clear();
            order.extend(0..self.groups.len() as u32);
            let nearness = |group: &u32| nearness[*group as usize];
            if probes < order.len() {
                order.select_nth_unstable_by(probes, |a, b| nearness(b).total_cmp(&nearness(a)));
            }
            order[..probes].iter().for_each(|&group| visitors[group as usize].push(vector as u32));
        }
        let mut some = Vec::new();
        for (group, visitors) in self.groups.iter().zip(&visitors) {
            some.clear();
            for &vector in visitors {
                some.extend_from_slice(
                    &block[vector as usize * self.dimension..][..self.dimension],
                );
            }
            group.offer(&some, visitors, products, &mut best);
        }
        best.into_iter().map(|(_, number)| number).collect()
    }
}

impl Group {
    fn of(values: &[f32], dimension: usize, numbers: Vec<u16>) -> Self {
        let row = |&number: &u16| &values[usize::from(number) * dimension..][..dimension];
        let rows: Vec<f32> = numbers.iter().flat_map(row).copied().collect();
        let half_square = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>() / 2.0;
        let half_squares = rows.chunks_exact(dimension).map(half_square).collect();
        Self { numbers, panels: Panels::from_rows(&rows, dimension), half_squares }
    }

    /// Writes the nearness of vectors of shape [n, dimension] to all centroids, shape [n, count].
    fn multiply(&self, vectors: &[f32], nearness: &mut Vec<f32>) {
        let count = self.numbers.len();
        nearness.resize(vectors.len() / self.panels.depth().max(1) * count, 0.0);
        ProductKernel::detect().multiply(vectors, &self.panels, nearness);
        for nearness in nearness.chunks_exact_mut(count.max(1)) {
            nearness.iter_mut().zip(&self.half_squares).for_each(|(value, half)| *value -= half);
        }
    }

    /// Compares vectors with the best found so far for them, in `best[places[i]]`.
    fn offer(&self, vectors: &[f32], places: &[u32], nearness: &mut Vec<f32>, best: &mut [Best]) {
        if self.numbers.is_empty() || places.is_empty() {
            return;
        }
        self.multiply(vectors, nearness);
        for (&place, nearness) in places.iter().zip(nearness.chunks_exact(self.numbers.len())) {
            let best = &mut best[place as usize];
            let at = position_of_largest(nearness);
            let (most, number) = (nearness[at], self.numbers[at]);
            if most > best.0 || (most == best.0 && number < best.1) {
                *best = (most, number);
            }
        }
    }
}

/// Centres of groups of rows of shape [n, dimension], and the group of each row.
fn k_means(values: &[f32], dimension: usize, count: usize) -> (Group, Vec<u16>) {
    let mut centres = some_vectors(values, dimension, count, SEED);
    let nearest = |centres: &[f32]| NearestCentroid::new(centres, dimension).of(values);
    for _ in 0..ROUNDS {
        let nearest = nearest(&centres);
        move_to_means(&mut centres, values, dimension, &nearest);
    }
    let nearest = nearest(&centres);
    (Group::of(&centres, dimension, (0..=u16::MAX).take(count).collect()), nearest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::hash;

    fn values(seed: u64, count: usize) -> Vec<f32> {
        (0..count as u64).map(|at| (hash(seed, at) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    fn distance(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    }

    /// For each vector, the squared distances to the centroid found and to the nearest.
    fn found(centroids: &[f32], vectors: &[f32], dimension: usize) -> Vec<(f64, f64)> {
        let search = NearestCentroid::new(centroids, dimension);
        let of = |(vector, number): (&[f32], u16)| {
            let to = |at: usize| distance(vector, &centroids[at * dimension..][..dimension]);
            let least = (0..centroids.len() / dimension).map(to).fold(f64::INFINITY, f64::min);
            (to(usize::from(number)), least)
        };
        vectors.chunks_exact(dimension).zip(search.of(vectors)).map(of).collect()
    }

    #[test]
    fn of_few_centroids_the_nearest_is_found() {
        for dimension in [1, 3, 16, 33] {
            let (centroids, vectors) = (values(1, 40 * dimension), values(2, 600 * dimension));
            for (found, least) in found(&centroids, &vectors, dimension) {
                assert!(found <= least + 1e-5, "dimension {dimension}: {found} {least}");
            }
        }
    }

    #[test]
    fn of_many_centroids_a_near_one_is_found() {
        // Around 50 places, as vectors lie in practice.
        let (dimension, places) = (24, values(3, 50 * 24));
        let around = |seed, count: usize| -> Vec<f32> {
            let noise = values(seed, count * dimension);
            let place = |at: usize| places[at / dimension % 50 * dimension + at % dimension];
            noise.iter().enumerate().map(|(at, noise)| place(at) + 0.4 * noise).collect()
        };
        let all = found(&around(4, 1500), &around(5, 800), dimension);
        let exact = all.iter().filter(|(found, least)| found <= &(least + 1e-5)).count();
        let (sum, least) = all.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        assert!(exact > 780 && sum < 1.01 * least, "{exact} of 800, {sum} for {least}");
        // One after the other gives the same.
        let centroids = around(4, 1500);
        let search = NearestCentroid::new(&centroids, dimension);
        let vectors = around(5, 100);
        let alone = vectors.chunks_exact(dimension).flat_map(|vector| search.of(vector));
        assert_eq!(alone.collect::<Vec<_>>(), search.of(&vectors));
        // Equal centroids: the first.
        let equal = NearestCentroid::new(&vec![1.0; 1100 * 2], 2);
        assert_eq!(equal.of(&[1.0, 1.0, 0.0, 2.0]), [0, 0]);
    }
}
