//! Groups similar queries of a sample: the overall mean says little about each group.

use crate::kernels;
use crate::quantization::stratified;

/// Iterations of k-means.
const ROUNDS: usize = 6;
const SEED: u64 = 7;

/// Two kinds are distinct if their means differ by this multiple of the sum of their standard
/// deviations. Two parts of a single distribution, each at least as large as [`LEAST_SHARE`]
/// requires, rarely reach it: 1.9 for a normal, 2.1 for an exponential distribution; none of 200
/// samples of 768 values of either exceeded this.
const APART: f64 = 2.7;
/// A kind holds at least one in this many of the values.
const LEAST_SHARE: usize = 32;

/// Assigns each vector to one of `groups` groups by direction (k-means, Lloyd 1982).
pub fn alike(directions: &[Vec<f32>], groups: usize) -> Vec<usize> {
    let start = stratified(directions.len() as u64, groups as u64, SEED);
    let mut centers: Vec<Vec<f32>> =
        start.into_iter().map(|index| directions[index as usize].clone()).collect();
    let mut group_of = vec![0; directions.len()];
    for _ in 0..ROUNDS {
        for (group, direction) in group_of.iter_mut().zip(directions) {
            let nearness = |center: &Vec<f32>| kernels::dot(center, direction);
            let best = centers.iter().enumerate().map(|(index, center)| (nearness(center), index));
            *group = best.max_by(|a, b| a.0.total_cmp(&b.0)).map_or(0, |(_, index)| index);
        }
        for (index, center) in centers.iter_mut().enumerate() {
            let mut sum = vec![0.0; center.len()];
            let members = group_of.iter().zip(directions).filter(|(group, _)| **group == index);
            for (_, direction) in members {
                sum.iter_mut().zip(direction).for_each(|(sum, value)| *sum += value);
            }
            *center = directed(&sum);
        }
    }
    group_of
}

/// The threshold between two kinds of values, if the values form two distinct kinds of at least
/// `least` each.
pub fn apart(values: &[f64], least: usize) -> Option<f64> {
    let least = least.max(values.len() / LEAST_SHARE).max(1);
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    // Prefix sums of values and of squares.
    let mut sums = vec![(0.0, 0.0)];
    for value in &sorted {
        let (sum, squares) = sums[sums.len() - 1];
        sums.push((sum + value, squares + value * value));
    }
    let moments = |start: usize, end: usize| {
        let count = (end - start) as f64;
        let mean = (sums[end].0 - sums[start].0) / count;
        let variance = (sums[end].1 - sums[start].1) / count - mean * mean;
        (mean, variance.max(0.0).sqrt())
    };
    let parts = |at: usize| (moments(0, at), moments(at, sorted.len()));
    let distance = |at: usize| {
        let (low, high) = parts(at);
        (high.0 - low.0) / (low.1 + high.1).max(f64::MIN_POSITIVE)
    };
    let splits = least..(sorted.len() + 1).saturating_sub(least);
    let (most, at) = splits.map(|at| (distance(at), at)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    let (low, high) = parts(at);
    let spread = low.1 + high.1;
    // At an equal number of standard deviations from both means: the best split assigns too few
    // values to the wider kind.
    let between = (low.0 * high.1 + high.0 * low.1) / spread;
    (most >= APART).then_some(if spread > 0.0 { between } else { sorted[at] })
}

/// A vector scaled to length 1.
pub fn directed(values: &[f32]) -> Vec<f32> {
    let mut values = values.to_vec();
    // A zero vector has no direction and stays.
    let _ = kernels::normalize(&mut values);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantization::hash;

    /// `count` values of a normal distribution (Box and Muller, 1958).
    fn normal(seed: u64, count: usize) -> Vec<f64> {
        let uniform = |at: usize, of: u64| {
            ((hash(seed + of, at as u64) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
        };
        let value = |at| {
            let radius = (-2.0 * uniform(at, 0).ln()).sqrt();
            radius * (std::f64::consts::TAU * uniform(at, 1_000)).cos()
        };
        (0..count).map(value).collect()
    }

    #[test]
    fn a_twentieth_of_another_kind_is_apart_and_a_tail_is_not() {
        for seed in 0..20 {
            let one = normal(seed, 720);
            assert_eq!(apart(&one, 16), None, "normal, seed {seed}");
            let tail: Vec<f64> = one.iter().map(|x| (x / 2.0).exp()).collect();
            assert_eq!(apart(&tail, 16), None, "a long tail, seed {seed}");
            let other = normal(seed + 7_777, 40);
            let mixed: Vec<f64> =
                one.iter().copied().chain(other.iter().map(|x| 9.0 + x)).collect();
            let from = apart(&mixed, 16).expect("two kinds");
            let of_other = mixed.iter().filter(|value| **value >= from).count();
            assert!((35..=41).contains(&of_other), "{of_other} of 40, seed {seed}");
            // Too few values of the other kind are not detected.
            assert_eq!(apart(&mixed[..730], 16), None, "seed {seed}");
        }
    }

    #[test]
    fn equal_and_few_values_are_of_one_kind() {
        for count in [0, 1, 2, 100] {
            assert_eq!(apart(&vec![0.25; count], 1), None, "{count} equal values");
        }
        assert_eq!(apart(&[0.0, 1.0], 2), None);
        assert_eq!(apart(&[0.0, 0.0, 1.0, 1.0], 2), Some(1.0));
    }
}
