//! Whether a difference between two systems may be chance.
//!
//! The paired, two-sided randomisation test of Fisher, which Smucker, Allan and Carterette ("A
//! Comparison of Statistical Significance Tests for Information Retrieval Evaluation", CIKM 2007)
//! recommend for retrieval: it assumes neither a distribution of the scores nor that queries are a
//! random sample. If both systems were the same, the two scores of a query could be exchanged; p is
//! the share of all such exchanges whose mean difference is at least as large as the observed one.
//!
//! Deviations: with few queries all exchanges are enumerated, so that p is exact. Otherwise the
//! observed assignment is counted as one of the sampled ones (Phipson and Smyth 2010), so that p is
//! never 0. P-values are not corrected for the number of systems compared.

/// Largest number of queries that differ for which all exchanges are enumerated: 65,536 of them.
const ENUMERATED: usize = 16;
/// Number of sampled exchanges; p-values near 0.05 have a standard error of 0.0007.
const SAMPLES: u32 = 100_000;
/// Fixed, so that equal runs get equal p-values.
const SEED: u64 = 2007;

/// Two-sided p-value of the hypothesis that two systems are the same, from the difference of their
/// scores for each query: shape `[queries]`, all finite.
///
/// Within 0..=1, the smaller, the less plausible is the hypothesis; 1 if no query differs. Takes
/// 2^n additions for n ≤ 16 queries that differ, otherwise n · 100,000.
///
/// ```
/// // One system is better for each of five queries: 2 of the 32 exchanges are as extreme.
/// let p = lanner_eval::randomization_test(&[0.1, 0.2, 0.1, 0.3, 0.2]);
/// assert_eq!(p, 2.0 / 32.0);
/// ```
pub fn randomization_test(differences: &[f64]) -> f64 {
    // A query without a difference has none when its scores are exchanged.
    let differing: Vec<f64> = differences.iter().copied().filter(|&by| by != 0.0).collect();
    // Sums that are equal but for rounding are equal.
    let slack = 1e-12 * differing.iter().map(|by| by.abs()).sum::<f64>();
    let observed = differing.iter().sum::<f64>().abs() - slack;
    match differing.len() {
        0..=ENUMERATED => enumerated(&differing, observed),
        _ => sampled(&differing, observed),
    }
}

/// Share of all exchanges whose sum is at least `observed` in size.
fn enumerated(differences: &[f64], observed: f64) -> f64 {
    let all = 1_u64 << differences.len();
    let extreme = (0..all).filter(|&signs| exchanged(differences, signs).abs() >= observed);
    extreme.count() as f64 / all as f64
}

/// The same of sampled exchanges and the observed assignment.
fn sampled(differences: &[f64], observed: f64) -> f64 {
    let mut random = SplitMix(SEED);
    let mut extreme = 1_u32;
    for _ in 0..SAMPLES {
        let blocks = differences.chunks(64);
        let sum: f64 = blocks.map(|block| exchanged(block, random.next())).sum();
        extreme += u32::from(sum.abs() >= observed);
    }
    f64::from(extreme) / f64::from(SAMPLES + 1)
}

/// Sum of at most 64 differences, of which those with a set bit are exchanged.
fn exchanged(differences: &[f64], signs: u64) -> f64 {
    let signed = differences.iter().enumerate();
    signed.map(|(bit, by)| if signs >> bit & 1 == 1 { -by } else { *by }).sum()
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All exchanges by recursion, with differences in hundredths as integers: no rounding.
    fn oracle(hundredths: &[i32]) -> f64 {
        fn sums(rest: &[i32], sum: i32, extreme: i32) -> u64 {
            match rest.split_first() {
                None => u64::from(sum.abs() >= extreme),
                Some((by, rest)) => sums(rest, sum + by, extreme) + sums(rest, sum - by, extreme),
            }
        }
        let observed = hundredths.iter().sum::<i32>().abs();
        sums(hundredths, 0, observed) as f64 / 2.0_f64.powi(hundredths.len() as i32)
    }

    fn test(hundredths: &[i32]) -> f64 {
        let differences: Vec<f64> = hundredths.iter().map(|&by| f64::from(by) / 100.0).collect();
        randomization_test(&differences)
    }

    proptest! {
        #[test]
        fn few_queries_are_enumerated(
            hundredths in proptest::collection::vec(-20_i32..20, 0..12),
        ) {
            prop_assert_eq!(test(&hundredths), oracle(&hundredths));
        }

        #[test]
        fn the_order_of_systems_does_not_matter(
            hundredths in proptest::collection::vec(-20_i32..20, 0..30),
        ) {
            let other: Vec<i32> = hundredths.iter().map(|by| -by).collect();
            let p = test(&hundredths);
            prop_assert_eq!(p, test(&other));
            prop_assert!(p > 0.0 && p <= 1.0);
        }
    }

    #[test]
    fn samples_agree_with_the_enumeration() {
        for seed in 1..=8 {
            let mut random = SplitMix(seed);
            let by = |_| (random.next() % 41) as i32 - 14 - seed as i32;
            let hundredths: Vec<i32> = (0..20).map(by).filter(|&by| by != 0).collect();
            assert!(hundredths.len() > ENUMERATED, "sampled, not enumerated");
            let (got, expected) = (test(&hundredths), oracle(&hundredths));
            // Five standard errors.
            let error = 5.0 * (expected * (1.0 - expected) / f64::from(SAMPLES)).sqrt() + 1e-5;
            assert!((got - expected).abs() <= error, "{got}, expected {expected} ± {error}");
        }
    }

    // scipy 1.17.1: `permutation_test((d,), np.mean, permutation_type="samples",
    // n_resamples=np.inf, alternative="two-sided").pvalue`, which enumerates all exchanges.
    #[test]
    fn p_values_agree_with_scipy() {
        let ten = [0.12, -0.05, 0.3, 0.07, -0.11, 0.26, 0.0, 0.19, 0.02, -0.01];
        assert_eq!(randomization_test(&ten), 0.10546875);
        assert_eq!(randomization_test(&[0.5, -0.25, 0.125, 0.0625, -0.75, 0.3]), 1.0);
        let cyclic = |queries: i32, less: i32| -> Vec<f64> {
            (0..queries).map(|i| f64::from(7 * i % 23 - less) / 23.0).collect()
        };
        assert_eq!(randomization_test(&cyclic(16, 9)), 0.325775146484375);
        // 17 of 18 differ, so that exchanges are sampled.
        let sampled = randomization_test(&cyclic(18, 8));
        assert!((sampled - 0.1028289794921875).abs() < 0.003, "{sampled}");
    }

    #[test]
    fn queries_that_do_not_differ_are_not_exchanged() {
        // Ten of a hundred differ, so that exchanges are enumerated.
        let differences = [[0.1; 10].as_slice(), &[0.0; 90]].concat();
        assert_eq!(randomization_test(&differences), 2.0 / 1024.0);
    }

    #[test]
    fn no_difference_is_no_evidence() {
        assert_eq!(randomization_test(&[]), 1.0);
        assert_eq!(randomization_test(&[0.0; 100]), 1.0);
        assert_eq!(randomization_test(&[0.5]), 1.0);
        let alternating: Vec<f64> = (0..40).map(|i| if i % 2 == 0 { 0.1 } else { -0.1 }).collect();
        assert_eq!(randomization_test(&alternating), 1.0);
        assert_eq!(randomization_test(&[0.1; 40]), 1.0 / f64::from(SAMPLES + 1));
    }
}
