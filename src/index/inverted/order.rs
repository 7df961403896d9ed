//! The order of the rows of a chunk: rows that are alike come to lie in the same blocks, whose maxima
//! are then lower elsewhere.

use std::collections::HashMap;

use rayon::prelude::*;

use crate::kernels::sparse::Entry;

/// Entries by which a row is compared.
const COMPARED: usize = 16;
/// One in so many rows is one that others are compared with.
const SEED_ROWS: usize = 64;

/// Orders rows, on the current rayon pool, by the most similar of some rows that are spread evenly, as the lists of Seismic are
/// divided (Bruch et al., SIGIR 2024, arXiv 2404.18812, §5). `rows_with` says how many rows have a
/// dimension; rare ones count more.
pub fn order<'r>(
    rows: usize,
    row: impl Fn(usize) -> &'r [Entry] + Sync,
    rows_with: impl Fn(u32) -> u32 + Sync,
) -> Vec<u16> {
    let heaviest = |number: usize| {
        let weight = |entry: &Entry| {
            let rarity = (1.0 + rows as f32 / rows_with(entry.index) as f32).ln();
            (entry.index, entry.value * rarity)
        };
        let mut entries: Vec<(u32, f32)> = row(number).iter().map(weight).collect();
        let by_weight = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if entries.len() > COMPARED {
            entries.select_nth_unstable_by(COMPARED, by_weight);
            entries.truncate(COMPARED);
        }
        let norm = entries.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        entries.iter_mut().for_each(|(_, weight)| *weight /= norm.max(f32::MIN_POSITIVE));
        entries
    };
    let seeds = rows.div_ceil(SEED_ROWS);
    let mut lists = HashMap::<u32, Vec<(u16, f32)>>::new();
    for seed in 0..seeds {
        for (index, weight) in heaviest(seed * SEED_ROWS) {
            lists.entry(index).or_default().push((seed as u16, weight));
        }
    }
    let nearest = |scores: &mut Vec<f32>, number: usize| {
        scores.clear();
        scores.resize(seeds, 0.0_f32);
        for (index, weight) in heaviest(number) {
            for &(seed, own) in lists.get(&index).into_iter().flatten() {
                scores[usize::from(seed)] += weight * own;
            }
        }
        let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
        (best.map_or(0, |(seed, _)| seed as u16), number as u16)
    };
    let mut keyed: Vec<(u16, u16)> =
        (0..rows).into_par_iter().map_init(Vec::new, nearest).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, number)| number).collect()
}
