//! Builds IVF: k-means (Lloyd) in the reduced space, then the rows sorted by centroid.

use std::sync::atomic::Ordering;

use rayon::prelude::*;

use super::IvfParts;
use super::centroids::{Centroids, Nearness};
use crate::index::BuildProgress;
use crate::kernels::codes::CodeKernel;
use crate::quantization::{Codec, RowDistances, hash};

/// Default average number of rows per list.
const LIST_ROWS: usize = 128;
/// Training rows per list.
const SAMPLE_OF_LIST: usize = 48;
/// Iterations of k-means.
const ROUNDS: usize = 8;

/// Build settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IvfSettings {
    /// Number of lists; by default such that a list has 128 rows on average.
    pub lists: Option<usize>,
    /// Seed of the training sample and of re-seeded centroids.
    pub seed: u64,
}

/// Builds the lists of `rows`, at least one; `None` if cancelled. Other rows are in no list.
pub fn build(
    distances: &RowDistances<'_>,
    codec: &Codec,
    records: &[u8],
    rows: &[u32],
    settings: IvfSettings,
    progress: &BuildProgress,
) -> Option<IvfParts> {
    let lists = settings.lists.unwrap_or(rows.len() / LIST_ROWS).clamp(1, rows.len().max(1));
    progress.start(ROUNDS as u64 + 1);
    let dimension = distances.dimension();
    let mut shuffled = rows.to_vec();
    shuffled.sort_by_cached_key(|&row| hash(settings.seed, u64::from(row)));
    let sample = &shuffled[..shuffled.len().min(lists * SAMPLE_OF_LIST)];
    let mut centroids = start(distances, sample, lists);
    for round in 0..ROUNDS {
        if progress.cancelled.load(Ordering::Relaxed) {
            return None;
        }
        let coded = Centroids::encode(&centroids, dimension);
        let assigned = assign(distances, &coded, lists, sample);
        update(distances, sample, &assigned, &mut centroids, hash(settings.seed, round as u64));
        progress.done.fetch_add(1, Ordering::Relaxed);
    }
    let coded = Centroids::encode(&centroids, dimension);
    let assigned = assign(distances, &coded, lists, rows);
    progress.done.fetch_add(1, Ordering::Relaxed);
    Some(sorted(codec, records, rows, &assigned, lists, coded))
}

/// Initial centroids: rows of the sample, evenly spaced.
fn start(distances: &RowDistances<'_>, sample: &[u32], lists: usize) -> Vec<f32> {
    let mut centroids = Vec::with_capacity(lists * distances.dimension());
    let mut values = Vec::new();
    for list in 0..lists {
        if let Some(&row) = sample.get(list * sample.len() / lists) {
            distances.decode(row, &mut values);
            centroids.extend_from_slice(&values);
        }
    }
    centroids
}

/// The nearest centroid of each row.
fn assign(distances: &RowDistances<'_>, coded: &[u8], lists: usize, rows: &[u32]) -> Vec<u32> {
    let centroids = Centroids::new(distances.dimension(), CodeKernel::detect(), coded);
    let start = || (Vec::new(), Vec::new(), vec![0.0; lists]);
    rows.par_iter()
        .map_init(start, |(values, sums, scores), &row| {
            distances.decode(row, values);
            centroids.score(values, Nearness::Distance, sums, scores);
            let best = (0..).zip(&*scores).max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
            best.map_or(0, |(list, _)| list)
        })
        .collect()
}

/// Moves each centroid to the mean of its rows; an empty one to a row chosen by `seed`.
fn update(
    distances: &RowDistances<'_>,
    sample: &[u32],
    assigned: &[u32],
    centroids: &mut [f32],
    seed: u64,
) {
    let dimension = distances.dimension();
    let mut counts = vec![0_u32; centroids.len() / dimension];
    centroids.fill(0.0);
    let mut values = Vec::new();
    for (&row, &list) in sample.iter().zip(assigned) {
        distances.decode(row, &mut values);
        let centroid = &mut centroids[list as usize * dimension..][..dimension];
        for (sum, value) in centroid.iter_mut().zip(&values) {
            *sum += value;
        }
        counts[list as usize] += 1;
    }
    for (list, (centroid, &count)) in centroids.chunks_exact_mut(dimension).zip(&counts).enumerate()
    {
        if count > 0 {
            centroid.iter_mut().for_each(|sum| *sum /= count as f32);
        } else {
            let chosen = hash(seed, list as u64) % sample.len() as u64;
            distances.decode(sample[chosen as usize], &mut values);
            centroid.copy_from_slice(&values);
        }
    }
}

/// The rows sorted by list, and their records in the same order.
fn sorted(
    codec: &Codec,
    records: &[u8],
    rows: &[u32],
    assigned: &[u32],
    lists: usize,
    centroids: Vec<u8>,
) -> IvfParts {
    let mut order: Vec<(u32, u32)> = assigned.iter().copied().zip(rows.iter().copied()).collect();
    order.par_sort_unstable();
    let mut offsets = vec![0_u32; lists + 1];
    for &(list, _) in &order {
        offsets[list as usize + 1] += 1;
    }
    for list in 0..lists {
        offsets[list + 1] += offsets[list];
    }
    let layout = codec.primary_layout();
    let stride = layout.stride();
    let mut codes = vec![0; layout.section_bytes(order.len())];
    for (&(_, row), record) in order.iter().zip(codes.chunks_exact_mut(stride)) {
        record.copy_from_slice(&records[row as usize * stride..][..stride]);
    }
    let rows = order.into_iter().map(|(_, row)| row).collect();
    IvfParts { centroids, offsets, rows, codes }
}
