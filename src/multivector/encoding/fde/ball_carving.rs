//! Ball carving: fewer query tokens, by replacing similar ones with their sum (MUVERA §3.2).

use crate::kernels;

/// Replaces each ball of tokens by its sum, for tokens of shape [m, dimension], in the order of the
/// centres: the first token outside all balls becomes the next centre, whose ball takes every free
/// token with at least the cosine `threshold` to it.
///
/// MaxSim against the sums stays close to MaxSim against the tokens, because similar tokens have
/// their maxima at the same document token. The paper's threshold is 0.7.
///
/// # Panics
/// If the length of `tokens` is not a multiple of the dimension.
pub fn carve_balls(tokens: &[f32], dimension: usize, threshold: f32) -> Vec<f32> {
    assert!(tokens.len().is_multiple_of(dimension), "whole tokens of {dimension}");
    let rows: Vec<&[f32]> = tokens.chunks_exact(dimension).collect();
    let lengths: Vec<f32> = rows.iter().map(|row| kernels::dot(row, row).sqrt()).collect();
    let mut free = vec![true; rows.len()];
    let mut sums = Vec::new();
    for center in 0..rows.len() {
        if !free[center] {
            continue;
        }
        let start = sums.len();
        sums.extend_from_slice(rows[center]);
        for other in center + 1..rows.len() {
            let least = threshold * lengths[center] * lengths[other];
            if free[other] && kernels::dot(rows[center], rows[other]) >= least {
                free[other] = false;
                for (sum, value) in sums[start..].iter_mut().zip(rows[other]) {
                    *sum += value;
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_tokens_become_their_sum() {
        let tokens = [1.0, 0.0, 0.0, 2.0, 3.0, 0.3, 0.1, 1.0, -1.0, 0.0];
        assert_eq!(carve_balls(&tokens, 2, 0.7), [4.0, 0.3, 0.1, 3.0, -1.0, 0.0]);
        assert_eq!(carve_balls(&tokens, 2, -1.0), [3.1, 3.3]);
    }

    #[test]
    fn nothing_is_alike_above_every_cosine() {
        let tokens = [1.0, 0.0, 0.9, 0.1];
        assert_eq!(carve_balls(&tokens, 2, 1.0), tokens);
        assert!(carve_balls(&[], 2, 0.7).is_empty());
    }
}
