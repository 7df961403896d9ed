//! Fill tokens for empty cells of a document: the token whose bits differ least from the cell's.

/// One differing bit, in a key of (difference, token).
const STEP: u64 = 1 << 32;
/// Larger than every key.
const NONE: u64 = u64::MAX - 64 * STEP;

/// For each code of `planes` bits, the token whose code has the smallest Hamming distance, the
/// first of ties; `codes` holds the code of each token, at least one.
/// least one.
/// A distance transform on the hypercube, bit by bit: the minimum over tokens of (difference,
/// token) is a min-plus convolution with |x₁| + … + |x_k|, which separates over the bits, so it
/// takes 2^k · k steps for any number of tokens.
pub fn nearest_tokens(codes: &[u32], planes: usize, keys: &mut Vec<u64>) {
    keys.clear();
    keys.resize(1 << planes, NONE);
    for (token, &code) in codes.iter().enumerate() {
        let key = &mut keys[code as usize];
        *key = (*key).min(token as u64);
    }
    for bit in 0..planes {
        for pair in keys.chunks_exact_mut(2 << bit) {
            let (zeros, ones) = pair.split_at_mut(1 << bit);
            for (zero, one) in zeros.iter_mut().zip(ones) {
                (*zero, *one) = ((*zero).min(*one + STEP), (*one).min(*zero + STEP));
            }
        }
    }
}

/// The token in a key.
pub fn token(key: u64) -> usize {
    (key & (STEP - 1)) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_the_first_token_of_the_fewest_different_bits(
            (planes, codes) in (0_usize..9).prop_flat_map(|planes| {
                (Just(planes), proptest::collection::vec(0_u32..1 << planes, 1..20))
            }),
        ) {
            let mut keys = Vec::new();
            nearest_tokens(&codes, planes, &mut keys);
            for (cell, &key) in keys.iter().enumerate() {
                // `min_by_key` returns the first of ties.
                let expected =
                    (0..codes.len()).min_by_key(|&t| (codes[t] ^ cell as u32).count_ones());
                prop_assert_eq!(Some(token(key)), expected);
            }
        }
    }
}
