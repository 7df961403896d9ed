//! Selects the best of scored keys, without sorting them.

/// Width of a bucket of logits, and their number: keys more than 32 below the largest logit weigh
/// e⁻³² of it.
const BUCKET: f32 = 0.125;
const BUCKETS: usize = 256;

/// The smallest of the `k` largest values, `k` ≤ values; −∞ if all are, ∞ for none. `scratch`
/// becomes a permutation.
pub(super) fn least_of_largest(values: &[f32], k: usize, scratch: &mut Vec<f32>) -> f32 {
    if k == 0 {
        return f32::INFINITY;
    }
    if k >= values.len() {
        return f32::NEG_INFINITY;
    }
    scratch.clear();
    scratch.extend_from_slice(values);
    *scratch.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

/// The largest product, on a grid of ⅛ logits, for which the keys above it hold at least `mass`,
/// in units of exp(scale · (product − most)); `None` if all together do not.
pub(super) fn least_with_mass(products: &[f32], most: f32, scale: f32, mass: f64) -> Option<f32> {
    if mass <= 0.0 {
        return Some(f32::INFINITY);
    }
    let mut buckets = [0.0_f64; BUCKETS];
    for &product in products {
        let below = scale * (most - product);
        let bucket = ((below / BUCKET) as usize).min(BUCKETS - 1);
        buckets[bucket] += f64::from((-below).exp());
    }
    let mut sum = 0.0;
    let filled = buckets.iter().position(|weight| {
        sum += weight;
        sum >= mass
    });
    filled.map(|bucket| match bucket + 1 {
        BUCKETS => f32::NEG_INFINITY,
        end => most - end as f32 * BUCKET / scale,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_least_of_the_largest_is_that_of_a_sort(
            values in prop::collection::vec(-8_i8..8, 1..60), k in 0_usize..70,
        ) {
            let values: Vec<f32> = values.into_iter().map(f32::from).collect();
            let least = least_of_largest(&values, k, &mut Vec::new());
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let above = values.iter().filter(|&&value| value > least).count();
            let with = values.iter().filter(|&&value| value >= least).count();
            prop_assert!(above <= k && with >= k.min(values.len()));
            if k > 0 && k < values.len() {
                prop_assert_eq!(least, sorted[k - 1]);
            }
        }

        #[test]
        fn few_keys_are_taken_beyond_the_mass(
            products in prop::collection::vec(-60.0_f32..20.0, 1..200),
            share in 0.0_f64..1.0,
            scale in 0.1_f32..2.0,
        ) {
            let most = products.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
            let weight = |product: f32| f64::from((scale * (product - most)).exp());
            let total: f64 = products.iter().map(|&product| weight(product)).sum();
            let least = least_with_mass(&products, most, scale, share * total).unwrap();
            let above = |least: f32| -> f64 {
                products.iter().filter(|&&product| product > least).map(|&p| weight(p)).sum()
            };
            prop_assert!(above(least) >= share * total * (1.0 - 1e-5));
            // A bucket less would not be enough, unless it is the last, of all small weights.
            if least.is_finite() {
                let less = above(least + BUCKET / scale * 1.001);
                prop_assert!(less <= share * total * (1.0 + 1e-5));
            }
        }
    }

    #[test]
    fn masses_out_of_reach_are_reported() {
        assert_eq!(least_with_mass(&[1.0, 1.0], 1.0, 1.0, 2.1), None);
        assert_eq!(least_with_mass(&[], f32::NEG_INFINITY, 1.0, 0.1), None);
        assert_eq!(least_with_mass(&[1.0], 1.0, 1.0, 0.0), Some(f32::INFINITY));
    }
}
