//! A query as planes of 8-bit integers: the second holds what the first leaves, so that both
//! together have 16 bits.

use crate::kernels;
use crate::kernels::codes::{CodeLayout, CodeQuery};

/// One plane, and a second if the first leaves more than this share of the query's length, which
/// is what happens where a few elements are much larger than the others. The sum of the planes'
/// products with a record is the product of the query with it.
pub fn planes(layout: &CodeLayout, query: &[f32], most_left: f32) -> (CodeQuery, Option<CodeQuery>) {
    let first = CodeQuery::new(layout, query);
    // The error of rounding is uniform: of variance 1/12.
    let left = first.scale() * (query.len() as f32 / 12.0).sqrt();
    if left <= most_left * kernels::dot(query, query).sqrt() {
        return (first, None);
    }
    let mut left = first.rounded(layout);
    for (left, value) in left.iter_mut().zip(query) {
        *left = value - *left;
    }
    let second = CodeQuery::new(layout, &left);
    (first, Some(second))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::codes::CodeBits;

    #[test]
    fn a_second_plane_is_there_if_the_first_leaves_much() {
        let layout = CodeLayout::new(CodeBits::Eight, 200, 0);
        let even: Vec<f32> = (0..200).map(|i| (i as f32).sin()).collect();
        let mut uneven = even.clone();
        uneven[77] = 40.0;
        let has_second = |query: &[f32], most_left| planes(&layout, query, most_left).1.is_some();
        assert!(!has_second(&even, 0.01) && has_second(&uneven, 0.01) && has_second(&even, 0.0));
        assert!(!has_second(&[0.0; 200], 0.0), "nothing is left of nothing");
        let (first, second) = planes(&layout, &uneven, 0.01);
        let rounded = first.rounded(&layout).into_iter().zip(second.unwrap().rounded(&layout));
        for (value, (first, second)) in uneven.iter().zip(rounded) {
            assert!((value - first - second).abs() < 40.0 / 127.0 / 127.0, "{value}");
        }
    }
}
