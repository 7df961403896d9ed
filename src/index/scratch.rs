//! What a search needs beside the index, kept from one search to the next so that none allocates.

use std::cell::RefCell;

use super::beam::Beam;

/// Which rows were seen: a bit a row, and which they are.
#[derive(Debug, Default)]
pub struct Seen {
    words: Vec<u64>,
    limit: u32,
    rows: Vec<u32>,
}

impl Seen {
    /// Forgets all rows; there are so many.
    pub fn reset(&mut self, rows: u32) {
        for row in self.rows.drain(..) {
            self.words[(row / u64::BITS) as usize] = 0;
        }
        let words = (rows as usize).div_ceil(u64::BITS as usize);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
        self.limit = rows;
    }

    /// Notes rows; `new` becomes those of them that are there and were not seen before.
    #[inline]
    pub fn insert(&mut self, rows: &[u32], new: &mut Vec<u32>) {
        new.resize(rows.len(), 0);
        let mut count = 0;
        for &row in rows.iter().filter(|&&row| row < self.limit) {
            let word = &mut self.words[(row / u64::BITS) as usize];
            let bit = 1 << (row % u64::BITS);
            // Whether a row is new is hard to predict: it is written, and written over if not.
            new[count] = row;
            count += usize::from(*word & bit == 0);
            *word |= bit;
        }
        new.truncate(count);
        self.rows.extend_from_slice(new);
    }
}

/// What a search changes. One search at a time uses it.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The best rows.
    pub beam: Beam,
    /// The rows that were scored.
    pub seen: Seen,
    /// The rows to score next.
    pub(super) rows: Vec<u32>,
    /// Their scores.
    pub(super) scores: Vec<f32>,
    /// The rows that were expanded, with their scores.
    pub(super) expanded: Vec<(f32, u32)>,
    /// Lists with their scores.
    pub(super) lists: Vec<(f32, u32)>,
    /// Integer sums of lists.
    pub(super) sums: Vec<i32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Runs a search with this thread's scratch. Searches do not run inside one another.
pub fn with_scratch<T>(search: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => search(&mut scratch),
        Err(_) => search(&mut Scratch::default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_seen_once_and_forgotten() {
        let mut seen = Seen::default();
        for rows in [10, 200, 100] {
            seen.reset(rows);
            let mut new = vec![7];
            for row in (0..rows).step_by(3) {
                seen.insert(&[row, rows, row, u32::MAX], &mut new);
                assert_eq!(new, [row]);
                seen.insert(&[row], &mut new);
                assert!(new.is_empty(), "{row}");
            }
            seen.insert(&[0, 1, 3, 2, 1], &mut new);
            assert_eq!(new, [1, 2]);
        }
    }
}
