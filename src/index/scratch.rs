//! Reusable memory of a search, so that searches do not allocate.

use std::cell::RefCell;

use super::beam::Beam;

/// Set of visited rows: a bit per row, and a list to clear it quickly.
#[derive(Debug, Default)]
pub struct Seen {
    words: Vec<u64>,
    limit: u32,
    rows: Vec<u32>,
}

impl Seen {
    /// Clears the set, for rows below `rows`.
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

    /// Marks rows as visited; `new` becomes the existing ones among them that were not visited
    /// before.
    #[inline]
    pub fn insert(&mut self, rows: &[u32], new: &mut Vec<u32>) {
        new.resize(rows.len(), 0);
        let mut count = 0;
        for &row in rows.iter().filter(|&&row| row < self.limit) {
            let word = &mut self.words[(row / u64::BITS) as usize];
            let bit = 1 << (row % u64::BITS);
            // Branch-free, since newness is unpredictable: always written, and overwritten if not
            // new.
            new[count] = row;
            count += usize::from(*word & bit == 0);
            *word |= bit;
        }
        new.truncate(count);
        self.rows.extend_from_slice(new);
    }
}

/// Mutable state of one search at a time.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The best rows.
    pub beam: Beam,
    /// Visited rows, all of which were scored.
    pub seen: Seen,
    /// Rows to score next.
    pub(super) rows: Vec<u32>,
    /// Their scores.
    pub(super) scores: Vec<f32>,
    /// Expanded rows with their scores.
    pub(super) expanded: Vec<(f32, u32)>,
    /// Lists with their scores.
    pub(super) lists: Vec<(f32, u32)>,
    /// Integer sums of the scores of lists.
    pub(super) sums: Vec<i32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Runs a search with the scratch memory of this thread. Not for nested searches, which allocate.
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
