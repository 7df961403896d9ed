//! The sorted candidate buffer of a graph search: the best rows so far, each marked once expanded
//! (Vamana's candidate list; SVS calls the two sizes window and capacity).
//!
//! An entry is one integer: the score, mapped so that better is smaller, then the row, then a bit
//! that marks it as expanded. Entries compare as integers, and ties are ordered by row, so that a
//! search is deterministic.

use super::depth::Margin;

/// Row numbers leave one bit for the mark.
pub const MAX_ROWS: u32 = 1 << 31;

const EXPANDED: u64 = 1;

/// The best rows so far, best first.
#[derive(Debug, Default)]
pub struct Beam {
    entries: Vec<u64>,
    capacity: usize,
    window: usize,
    /// Rows are expanded until one scores lower than that of this rank by more than the gap.
    margin: Option<Margin>,
    /// The best rows to keep although they are not to be expanded.
    kept: usize,
    /// All entries before this one are expanded.
    cursor: usize,
}

impl Beam {
    /// Clears the buffer. The best `window` rows are to be expanded, the best `capacity` are kept;
    /// both are at least 1, and the capacity at least the window.
    pub fn reset(&mut self, window: usize, capacity: usize) {
        self.window = window.max(1);
        self.capacity = capacity.max(self.window);
        self.entries.clear();
        self.entries.reserve(self.capacity + 1);
        self.margin = None;
        self.cursor = 0;
    }

    /// Rows beyond the margin are neither expanded nor, except for the best `kept`, kept. Holds until
    /// the next reset.
    pub fn end_at(&mut self, margin: Margin, kept: usize) {
        self.margin = Some(margin);
        self.kept = kept;
    }

    /// The score of the row of a rank, from 1; less than any if there are fewer rows.
    #[inline]
    pub fn score_at(&self, rank: usize) -> f32 {
        let entry = self.entries.get(rank.wrapping_sub(1));
        entry.map_or(f32::NEG_INFINITY, |&entry| score_of(entry))
    }

    /// Minimum score of a row within the margin.
    #[inline]
    fn floor(&self) -> f32 {
        self.margin.map_or(f32::NEG_INFINITY, |margin| self.score_at(margin.rank) - margin.gap)
    }

    /// Minimum score of a row to be kept.
    #[inline]
    pub fn threshold(&self) -> f32 {
        let full = self.score_at(self.capacity);
        if self.margin.is_none() {
            full
        } else {
            full.max(self.floor().min(self.score_at(self.kept)))
        }
    }

    /// Minimum score of a row to be expanded: within the margin, and once the window is full, that of
    /// its last row.
    #[inline]
    pub fn limit(&self) -> f32 {
        self.score_at(self.window).max(self.floor())
    }

    /// Inserts a row, which must not have been offered before.
    #[inline]
    pub fn push(&mut self, score: f32, row: u32) {
        let entry = entry(score, row);
        if self.entries.len() == self.capacity {
            match self.entries.last() {
                Some(&last) if entry < last => {
                    self.entries.pop();
                }
                _ => return,
            }
        }
        let position = self.entries.partition_point(|&other| other < entry);
        self.entries.insert(position, entry);
        self.cursor = self.cursor.min(position);
    }

    /// Takes the best unexpanded row of the window and marks it as expanded.
    #[inline]
    pub fn expand(&mut self) -> Option<(f32, u32)> {
        let end = self.window.min(self.entries.len());
        let floor = self.floor();
        while self.cursor < end {
            let entry = &mut self.entries[self.cursor];
            if *entry & EXPANDED == 0 {
                let score = score_of(*entry);
                if score < floor {
                    return None;
                }
                *entry |= EXPANDED;
                self.cursor += 1;
                return Some((score, row_of(*entry)));
            }
            self.cursor += 1;
        }
        None
    }

    /// Rank of the row that was expanded last, from 1, if nothing was inserted since.
    #[inline]
    pub fn expanded_rank(&self) -> usize {
        self.cursor
    }

    /// The row to be expanded next, if nothing better is inserted.
    #[inline]
    pub fn peek(&self) -> Option<u32> {
        let end = self.window.min(self.entries.len());
        let rest = self.entries.get(self.cursor..end)?;
        rest.iter().find(|&&entry| entry & EXPANDED == 0).map(|&entry| row_of(entry))
    }

    /// The rows with their scores, best first.
    pub fn rows(&self) -> impl Iterator<Item = (f32, u32)> + '_ {
        self.entries.iter().map(|&entry| (score_of(entry), row_of(entry)))
    }
}

/// Packs a score and an unexpanded row; better entries are smaller.
#[inline]
pub(super) fn entry(score: f32, row: u32) -> u64 {
    // Floats ordered as unsigned integers: negative ones reversed, positive ones above them.
    let bits = score.to_bits();
    let rising = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(!rising) << 32 | u64::from(row) << 1
}

/// The score and the row of an entry.
#[inline]
pub(super) fn parts_of(entry: u64) -> (f32, u32) {
    (score_of(entry), row_of(entry))
}

#[inline]
fn score_of(entry: u64) -> f32 {
    let rising = !((entry >> 32) as u32);
    f32::from_bits(if rising >> 31 == 1 { rising & !(1 << 31) } else { !rising })
}

#[inline]
fn row_of(entry: u64) -> u32 {
    (entry as u32) >> 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn best_first(mut rows: Vec<(f32, u32)>) -> Vec<(f32, u32)> {
        rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        rows
    }

    proptest! {
        #[test]
        fn keeps_the_best_in_order_and_expands_the_best_first(
            scores in proptest::collection::vec(-50_i32..50, 1..80),
            window in 1_usize..12,
            more in 0_usize..12,
        ) {
            let mut beam = Beam::default();
            beam.reset(window, window + more);
            let mut expanded = Vec::new();
            let mut offered: Vec<(f32, u32)> = Vec::new();
            for (row, &score) in scores.iter().enumerate() {
                let (score, row) = (score as f32 / 7.0, row as u32);
                beam.push(score, row);
                offered.push((score, row));
                if row % 3 == 0 {
                    let mut best = best_first(offered.clone());
                    best.truncate(window);
                    let expected = best.iter().map(|&(_, row)| row).find(|r| !expanded.contains(r));
                    prop_assert_eq!(beam.peek(), expected);
                    prop_assert_eq!(beam.expand().map(|(_, row)| row), expected);
                    expanded.extend(expected);
                }
            }
            let mut offered = best_first(offered);
            offered.truncate(window + more);
            prop_assert_eq!(beam.rows().collect::<Vec<_>>(), offered);
        }

        #[test]
        fn a_margin_ends_expansion_and_drops_what_lies_beyond_but_the_best(
            scores in proptest::collection::vec(-50_i32..50, 1..80),
            rank in 1_usize..12,
            gap in 0_u8..60,
            kept in 1_usize..12,
        ) {
            let mut beam = Beam::default();
            beam.reset(80, 80);
            beam.end_at(Margin { rank, gap: f32::from(gap) }, kept);
            let mut offered: Vec<(f32, u32)> = Vec::new();
            for (row, &score) in scores.iter().enumerate() {
                let (score, row) = (score as f32, row as u32);
                if score >= beam.threshold() {
                    beam.push(score, row);
                }
                offered.push((score, row));
            }
            let offered = best_first(offered);
            let floor = offered.get(rank - 1).map_or(f32::NEG_INFINITY, |o| o.0 - f32::from(gap));
            let mut expanded = Vec::new();
            while let Some(next) = beam.expand() {
                prop_assert_eq!(beam.expanded_rank(), expanded.len() + 1);
                expanded.push(next);
            }
            let within = offered.iter().filter(|(score, _)| *score >= floor).count();
            prop_assert_eq!(&expanded[..], &offered[..within]);
            let rows: Vec<(f32, u32)> = beam.rows().collect();
            let least = within.max(kept).min(offered.len());
            prop_assert!(rows.len() >= least);
            prop_assert_eq!(&rows[..least], &offered[..least]);
            beam.reset(80, 80);
            beam.push(-1e9, 0);
            beam.push(0.0, 1);
            prop_assert_eq!((beam.expand(), beam.expand()), (Some((0.0, 1)), Some((-1e9, 0))));
        }
    }

    #[test]
    fn scores_keep_their_order_and_value() {
        let scores = [f32::NEG_INFINITY, -3.5, -1e-40, -0.0, 0.0, 1e-40, 2.0, f32::INFINITY];
        for pair in scores.windows(2) {
            assert!(entry(pair[0], 7) > entry(pair[1], 7), "{pair:?}");
        }
        for score in scores {
            assert_eq!(score_of(entry(score, MAX_ROWS - 1)).to_bits(), score.to_bits());
            assert_eq!(row_of(entry(score, MAX_ROWS - 1) | EXPANDED), MAX_ROWS - 1);
        }
    }
}
