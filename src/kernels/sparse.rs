//! Sparse vectors: entries in the order of their indices.

use bytemuck::{Pod, Zeroable};

/// One entry of a sparse vector.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// The dimension.
    pub index: u32,
    /// The value there.
    pub value: f32,
}

// SAFETY: u32 and f32 are valid for all bits, so all zeros are an entry.
unsafe impl Zeroable for Entry {}

// SAFETY: `repr(C)` with two fields of 4 bytes and of the same alignment has no padding, and u32 and
// f32 are valid for all bits.
unsafe impl Pod for Entry {}

/// Σ of the products of the values at indices that both vectors have, each in the order of its
/// indices. Summed in double precision, so that the result does not depend on how it is computed.
pub fn dot(a: &[Entry], b: &[Entry]) -> f32 {
    let (mut i, mut j) = (0, 0);
    let mut sum = 0.0;
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        if x.index == y.index {
            sum += f64::from(x.value) * f64::from(y.value);
        }
        // Without a branch: which index is smaller cannot be predicted.
        i += usize::from(x.index <= y.index);
        j += usize::from(y.index <= x.index);
    }
    sum as f32
}

/// As [`dot`], with the values of one vector by dimension; dimensions behind its end are 0.
pub fn dot_by_table(table: &[f32], row: &[Entry]) -> f32 {
    let mut sum = 0.0;
    for entry in row {
        let value = table.get(entry.index as usize).copied().unwrap_or(0.0);
        sum += f64::from(value) * f64::from(entry.value);
    }
    sum as f32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn entries(map: &BTreeMap<u32, f32>) -> Vec<Entry> {
        map.iter().map(|(&index, &value)| Entry { index, value }).collect()
    }

    proptest! {
        #[test]
        fn products_are_summed_where_both_have_an_entry(
            a in proptest::collection::btree_map(0_u32..60, 0.1_f32..9.0, 0..40),
            b in proptest::collection::btree_map(0_u32..60, 0.1_f32..9.0, 0..40),
        ) {
            let shared = a.iter().filter_map(|(index, x)| Some((x, b.get(index)?)));
            let expected: f64 = shared.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            prop_assert_eq!(dot(&entries(&a), &entries(&b)), expected as f32);
            let table: Vec<f32> = (0..50).map(|index| a.get(&index).copied().unwrap_or(0.0)).collect();
            let within: Vec<Entry> = entries(&a).into_iter().filter(|entry| entry.index < 50).collect();
            let (by_table, merged) = (dot_by_table(&table, &entries(&b)), dot(&within, &entries(&b)));
            prop_assert_eq!(by_table.to_bits(), merged.to_bits());
        }
    }

    #[test]
    fn the_largest_index_is_one_like_any_other() {
        let entry = |index, value| Entry { index, value };
        let a = [entry(0, 2.0), entry(u32::MAX, 3.0)];
        assert_eq!(dot(&a, &[entry(7, 5.0), entry(u32::MAX, 4.0)]), 12.0);
        assert_eq!(dot(&a, &[]), 0.0);
    }
}
