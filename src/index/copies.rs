//! Deduplication of rows with equal codes.
//!
//! An index only holds the first of equal rows. Otherwise a passage stored three hundred times
//! would fill the window of every search near it and hide the rows behind it. Searches count such
//! rows as one and return all of them, since equal codes may stand for different vectors.

use std::collections::HashMap;

/// Pairs of a first row and a copy of it, sorted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Copies<'a> {
    pairs: &'a [[u32; 2]],
}

impl<'a> Copies<'a> {
    /// From pairs as returned by [`distinct`].
    pub fn new(pairs: &'a [[u32; 2]]) -> Self {
        Self { pairs }
    }

    /// The copies of a first row, without itself; empty for other rows.
    #[inline]
    pub fn of(self, first: u32) -> impl Iterator<Item = u32> + 'a {
        let start = self.pairs.partition_point(|pair| pair[0] < first);
        let of_first = self.pairs[start..].iter().take_while(move |pair| pair[0] == first);
        of_first.map(|pair| pair[1])
    }

    /// Whether a row or one of its copies is accepted.
    #[inline]
    pub fn any(self, first: u32, accept: impl Fn(u32) -> bool) -> bool {
        accept(first) || (!self.pairs.is_empty() && self.of(first).any(accept))
    }

    /// Whether there are no copies.
    pub fn is_empty(self) -> bool {
        self.pairs.is_empty()
    }

    /// The first row of which this one is a copy, or itself.
    pub fn first_of(self, row: u32) -> u32 {
        let pair = self.pairs.iter().find(|pair| pair[1] == row);
        pair.map_or(row, |pair| pair[0])
    }
}

/// Splits rows into the first of each kind, and pairs of a first row and a later copy.
pub fn distinct<'r>(rows: &[u32], record: impl Fn(u32) -> &'r [u8]) -> (Vec<u32>, Vec<[u32; 2]>) {
    let mut firsts: HashMap<&[u8], u32> = HashMap::with_capacity(rows.len());
    let (mut different, mut copies) = (Vec::with_capacity(rows.len()), Vec::new());
    for &row in rows {
        let first = *firsts.entry(record(row)).or_insert(row);
        if first == row {
            different.push(row);
        } else {
            copies.push([first, row]);
        }
    }
    copies.sort_unstable();
    (different, copies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_equal_rows_stands_for_all() {
        let records = [b"a", b"b", b"a", b"c", b"b", b"a", b"d"];
        let rows = [0, 1, 2, 3, 4, 5];
        let (different, pairs) = distinct(&rows, |row| records[row as usize]);
        assert_eq!(different, [0, 1, 3]);
        assert_eq!(pairs, [[0, 2], [0, 5], [1, 4]]);
        let copies = Copies::new(&pairs);
        assert_eq!(copies.of(0).collect::<Vec<_>>(), [2, 5]);
        assert_eq!(copies.of(3).count() + copies.of(2).count() + copies.of(99).count(), 0);
        assert!(copies.any(1, |row| row == 4) && !copies.any(3, |row| row == 4));
        assert_eq!([5, 0, 3].map(|row| copies.first_of(row)), [0, 0, 3]);
    }
}
