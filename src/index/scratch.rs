//! What a search needs beside the index, kept from one search to the next so that none allocates.

use std::cell::RefCell;

use super::beam::Beam;

/// Which rows were seen: a bit a row, and the words that have one set.
#[derive(Debug, Default)]
pub struct Seen {
    words: Vec<u64>,
    touched: Vec<u32>,
}

impl Seen {
    /// Forgets all rows, and makes room for so many.
    pub fn reset(&mut self, rows: u32) {
        for word in self.touched.drain(..) {
            self.words[word as usize] = 0;
        }
        let words = (rows as usize).div_ceil(u64::BITS as usize);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    /// Notes a row; `true` if it was not seen before.
    ///
    /// # Panics
    /// If there is no room for the row.
    #[inline]
    pub fn insert(&mut self, row: u32) -> bool {
        let word = &mut self.words[(row / u64::BITS) as usize];
        let bit = 1 << (row % u64::BITS);
        let new = *word & bit == 0;
        if *word == 0 {
            self.touched.push(row / u64::BITS);
        }
        *word |= bit;
        new
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
            for row in (0..rows).step_by(3) {
                assert!(seen.insert(row) && !seen.insert(row), "{row}");
            }
            assert!(seen.insert(1));
        }
    }
}
