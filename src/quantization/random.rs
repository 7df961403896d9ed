//! Seeded randomness: rows to sample, and signs of a rotation.

/// SplitMix64 (Steele et al., OOPSLA 2014): a pure function of seed and index, so that choices are
/// reproducible.
pub fn hash(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add((index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `count` of `total` rows in ascending order: one at random from each of `count` equal runs; all
/// rows if `count >= total`.
pub fn stratified(total: u64, count: u64, seed: u64) -> Vec<u64> {
    if count >= total {
        return (0..total).collect();
    }
    let bound = |run: u64| (u128::from(run) * u128::from(total) / u128::from(count)) as u64;
    (0..count)
        .map(|run| {
            let (first, end) = (bound(run), bound(run + 1));
            first + hash(seed, run) % (end - first)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all_rows() {
        for (total, count) in [(10, 3), (1000, 999), (7, 7), (7, 100), (0, 5), (1_000_000, 17)] {
            let rows = stratified(total, count, 42);
            assert_eq!(rows.len() as u64, count.min(total));
            assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "{rows:?}");
            assert!(rows.iter().all(|&row| row < total));
        }
        let rows = stratified(1_000_000, 10, 1);
        assert!(rows.iter().enumerate().all(|(i, &row)| row / 100_000 == i as u64));
        assert_ne!(rows, stratified(1_000_000, 10, 2));
    }
}
