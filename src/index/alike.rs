//! Which vectors of a sample are alike: a mean over all says little about those of one kind.

use crate::kernels;
use crate::quantization::stratified;

/// Rounds in which groups are formed.
const ROUNDS: usize = 6;
const SEED: u64 = 7;

/// The group of each vector, of so many by direction (k-means, Lloyd 1982).
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

/// A vector scaled to length 1.
pub fn directed(values: &[f32]) -> Vec<f32> {
    let mut values = values.to_vec();
    // A vector of zeros has no direction, and stays.
    let _ = kernels::normalize(&mut values);
    values
}
