//! Exact MaxSim over f32 rows.

/// Σ over query rows of the maximum over document rows of `similarity(query row, document row)`.
///
/// `query` has shape [m, dimension], `document` [n, dimension], both row-major. Higher is better.
/// A single vector is the case m = n = 1. An empty document scores −∞, an empty query 0.
/// Cost: m·n similarities, no allocation.
#[inline]
pub fn max_sim(
    query: &[f32],
    document: &[f32],
    dimension: usize,
    similarity: impl Fn(&[f32], &[f32]) -> f32,
) -> f32 {
    let mut sum = 0.0;
    for query_row in query.chunks_exact(dimension) {
        let mut best = f32::NEG_INFINITY;
        for document_row in document.chunks_exact(dimension) {
            best = best.max(similarity(query_row, document_row));
        }
        sum += best;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;

    #[test]
    fn sums_the_best_match_of_each_query_row() {
        let query = [1.0, 0.0, 0.0, 1.0];
        let document = [0.5, 0.1, 0.2, 0.7, 0.9, -1.0];
        assert_eq!(max_sim(&query, &document, 2, kernels::dot), 0.9 + 0.7);
        let distance = |a: &[f32], b: &[f32]| -kernels::l2_squared(a, b);
        assert_eq!(max_sim(&query[..2], &query, 2, distance), 0.0);
    }

    #[test]
    fn a_single_vector_is_the_one_row_case() {
        assert_eq!(max_sim(&[1.0, 2.0], &[3.0, 4.0], 2, kernels::dot), 11.0);
    }

    #[test]
    fn empty_documents_lose_and_empty_queries_score_nothing() {
        assert_eq!(max_sim(&[1.0], &[], 1, kernels::dot), f32::NEG_INFINITY);
        assert_eq!(max_sim(&[], &[1.0], 1, kernels::dot), 0.0);
    }
}
