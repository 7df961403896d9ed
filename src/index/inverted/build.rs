//! Builds the lists of a chunk.

use std::collections::HashMap;

use super::order::order;
use super::{BLOCK_ROWS, CHUNK_ROWS, Posting};
use crate::kernels::sparse::Entry;

/// Collects the rows of a chunk.
#[derive(Debug, Default)]
pub struct ChunkBuilder {
    entries: Vec<Entry>,
    /// End of each row's entries.
    ends: Vec<usize>,
}

/// Stored parts of a chunk. Lists follow one another by their dimension.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChunkParts {
    /// The row at each position, counted from the first of the chunk.
    pub order: Vec<u16>,
    /// The dimension of each list, ascending.
    pub indices: Vec<u32>,
    /// What 1 in a posting or a maximum stands for, for each list.
    pub scales: Vec<f32>,
    /// Start of each list in `blocks`, and the end of the last.
    pub block_starts: Vec<u32>,
    /// Start of each list in `postings`, and the end of the last.
    pub posting_starts: Vec<u32>,
    /// The blocks of each list, ascending.
    pub blocks: Vec<u16>,
    /// The largest weight in each of them, rounded up.
    pub maxima: Vec<u8>,
    /// End of the postings of each of them, counted from the start of the list.
    pub ends: Vec<u32>,
    /// The postings of each list, by position.
    pub postings: Vec<Posting>,
}

/// A list while it is built.
struct Draft {
    number: usize,
    rows: u32,
    largest: f32,
}

impl ChunkBuilder {
    /// Adds the next row.
    pub fn push(&mut self, entries: &[Entry]) {
        self.entries.extend_from_slice(entries);
        self.ends.push(self.entries.len());
    }

    /// True if another row does not fit.
    pub fn is_full(&self) -> bool {
        self.ends.len() >= CHUNK_ROWS as usize
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn row(&self, row: usize) -> &[Entry] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.entries[start..self.ends[row]]
    }

    /// The lists of the rows.
    pub fn finish(self) -> ChunkParts {
        let mut drafts = HashMap::<u32, Draft>::new();
        for entry in &self.entries {
            let draft = Draft { number: 0, rows: 0, largest: 0.0 };
            let draft = drafts.entry(entry.index).or_insert(draft);
            draft.rows += 1;
            draft.largest = draft.largest.max(entry.value);
        }
        let mut indices: Vec<u32> = drafts.keys().copied().collect();
        indices.sort_unstable();
        let mut parts = ChunkParts { order: self.order(&drafts), indices, ..ChunkParts::default() };
        let mut end = 0;
        parts.posting_starts.push(0);
        for (number, index) in parts.indices.iter().enumerate() {
            let Some(draft) = drafts.get_mut(index) else { continue };
            draft.number = number;
            end += draft.rows;
            parts.posting_starts.push(end);
            parts.scales.push(scale(draft.largest));
        }
        // Positions in the order of the lists, by a counting sort.
        let mut next = parts.posting_starts.clone();
        let mut positions = vec![0_u16; self.entries.len()];
        let mut weights = vec![0_u8; self.entries.len()];
        for (position, &row) in parts.order.iter().enumerate() {
            for entry in self.row(usize::from(row)) {
                let number = drafts[&entry.index].number;
                let at = next[number] as usize;
                positions[at] = position as u16;
                weights[at] = rounded_up(entry.value, parts.scales[number]);
                next[number] += 1;
            }
        }
        parts.cut(&positions, &weights);
        parts
    }

    fn order(&self, drafts: &HashMap<u32, Draft>) -> Vec<u16> {
        let rows_with = |index| drafts.get(&index).map_or(1, |draft| draft.rows);
        order(self.ends.len(), |row| self.row(row), rows_with)
    }
}

impl ChunkParts {
    /// Cuts the lists into blocks.
    fn cut(&mut self, positions: &[u16], weights: &[u8]) {
        self.block_starts.push(0);
        self.postings.reserve(positions.len());
        for list in self.posting_starts.windows(2) {
            let range = list[0] as usize..list[1] as usize;
            let mut last = None;
            for (at, (&position, &weight)) in
                (1..).zip(positions[range.clone()].iter().zip(&weights[range]))
            {
                let block = position / BLOCK_ROWS as u16;
                if last == Some(block) {
                    let end = self.ends.len() - 1;
                    self.ends[end] = at;
                    self.maxima[end] = self.maxima[end].max(weight);
                } else {
                    self.blocks.push(block);
                    self.maxima.push(weight);
                    self.ends.push(at);
                    last = Some(block);
                }
                self.postings.push([(position % BLOCK_ROWS as u16) as u8, weight]);
            }
            self.block_starts.push(self.blocks.len() as u32);
        }
    }
}

/// What one step of 255 stands for, so that the largest weight is at most 255 steps.
fn scale(largest: f32) -> f32 {
    let step = largest / 255.0;
    let step = if step * 255.0 < largest { step.next_up() } else { step };
    // Of the smallest numbers there may be no such part.
    if step * 255.0 >= largest { step } else { largest }
}

/// The least number of steps that is no smaller than a weight.
fn rounded_up(weight: f32, scale: f32) -> u8 {
    let steps = (weight / scale).ceil();
    let steps = if steps * scale < weight { steps + 1.0 } else { steps };
    // The cast saturates, and the largest weight is at most 255 steps.
    steps as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_weights_are_no_smaller_and_at_most_a_step_larger() {
        let smallest = f32::from_bits(1);
        for largest in [1.0, 0.1, 3.3e-5, 7.7e17, f32::MIN_POSITIVE, 3.0 * smallest, smallest] {
            let step = scale(largest);
            for part in [1.0, 0.999, 0.5, 0.003, 1e-7] {
                let weight = (largest * part).max(smallest);
                let rounded = f32::from(rounded_up(weight, step)) * step;
                assert!(rounded >= weight, "{weight} of {largest}: {rounded}");
                assert!(rounded <= weight + step * 1.001, "{weight} of {largest}: {rounded}");
            }
        }
    }

    #[test]
    fn lists_have_each_entry_once_in_the_block_of_its_row() {
        let entry = |index, weight| Entry { index, value: weight };
        let mut builder = ChunkBuilder::default();
        let rows: Vec<Vec<Entry>> = (0..200_u32)
            .map(|row| match row % 3 {
                0 => Vec::new(),
                _ => vec![entry(row % 5, 1.0), entry(u32::MAX - row % 2, row as f32)],
            })
            .collect();
        rows.iter().for_each(|row| builder.push(row));
        let parts = builder.finish();
        assert_eq!(parts.indices, [0, 1, 2, 3, 4, u32::MAX - 1, u32::MAX]);
        let mut order = parts.order.clone();
        order.sort_unstable();
        assert_eq!(order, (0..200).collect::<Vec<u16>>());
        let mut found = 0;
        for list in 0..parts.indices.len() {
            let first = parts.posting_starts[list];
            let mut start = first;
            for at in parts.block_starts[list]..parts.block_starts[list + 1] {
                let at = at as usize;
                let end = first + parts.ends[at];
                let postings = &parts.postings[start as usize..end as usize];
                for &[row, weight] in postings {
                    let position = usize::from(parts.blocks[at]) * BLOCK_ROWS + usize::from(row);
                    let row = &rows[usize::from(parts.order[position])];
                    let entry = row.iter().find(|entry| entry.index == parts.indices[list]);
                    let upper = f32::from(weight) * parts.scales[list];
                    assert!(upper >= entry.unwrap().value);
                    found += 1;
                }
                let largest = postings.iter().map(|posting| posting[1]).max();
                assert_eq!(largest, Some(parts.maxima[at]));
                start = end;
            }
            assert_eq!(start, parts.posting_starts[list + 1]);
        }
        assert_eq!(found, rows.iter().map(Vec::len).sum::<usize>());
    }
}
