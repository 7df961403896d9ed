//! A query as planes of 8-bit integers, each of which holds the residual of those before it.

use crate::kernels;
use crate::kernels::codes::{CodeLayout, CodeQuery};

/// Three planes have as many bits as an f32 mantissa.
const MOST: usize = 3;

/// One plane, and more while the residual exceeds `most_left` as a share of the query's length. The
/// more the elements differ in size, the more planes are needed. The planes' products with a record
/// add up to the query's.
pub fn planes(layout: &CodeLayout, query: &[f32], most_left: f32) -> Vec<CodeQuery> {
    let most_left = most_left * kernels::dot(query, query).sqrt();
    let mut planes = vec![CodeQuery::new(layout, query)];
    let mut left = Vec::new();
    while let Some(last) = planes.last().filter(|_| planes.len() < MOST) {
        // The rounding error is uniform, with variance 1/12.
        if last.scale() * (query.len() as f32 / 12.0).sqrt() <= most_left {
            break;
        }
        if left.is_empty() {
            left.extend_from_slice(query);
        }
        for (left, rounded) in left.iter_mut().zip(last.rounded(layout)) {
            *left -= rounded;
        }
        planes.push(CodeQuery::new(layout, &left));
    }
    planes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::codes::CodeBits;

    #[test]
    fn there_are_as_many_planes_as_are_needed() {
        let layout = CodeLayout::new(CodeBits::Eight, 200, 0);
        let even: Vec<f32> = (0..200).map(|i| (i as f32).sin()).collect();
        let mut uneven = even.clone();
        uneven[77] = 40.0;
        let count = |query: &[f32], most_left| planes(&layout, query, most_left).len();
        assert_eq!((count(&even, 0.01), count(&uneven, 0.01), count(&even, 1e-4)), (1, 2, 2));
        assert_eq!((count(&even, 0.0), count(&[0.0; 200], 0.0)), (3, 1));
        for (planes, error) in [
            (planes(&layout, &uneven, 0.01), 40.0 / 127.0_f32.powi(2)),
            (planes(&layout, &uneven, 0.0), 1e-5),
        ] {
            let rounded: Vec<Vec<f32>> =
                planes.iter().map(|plane| plane.rounded(&layout)).collect();
            for (i, value) in uneven.iter().enumerate() {
                let sum: f32 = rounded.iter().map(|plane| plane[i]).sum();
                assert!((value - sum).abs() < error, "{value} {sum}");
            }
        }
    }
}
