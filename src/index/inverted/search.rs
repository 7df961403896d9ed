//! Goes through the blocks of a chunk, from the highest bound down.

use std::collections::BinaryHeap;

use super::{BLOCK_ROWS, CHUNK_BLOCKS, Posting};
use crate::kernels;

/// Blocks between two calls of `go_on`.
const CHECKED_BLOCKS: u64 = 64;
/// Lists of a query for which memory is kept.
const KEPT_PLACES: usize = 1024;
/// Bytes of working memory for each dimension of a query.
pub const BYTES_OF_LIST: usize = size_of::<Places>() + size_of::<List<'_>>();

/// A list of a chunk, for a query.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    /// As [`factor_of`].
    pub factor: f32,
    /// As in [`super::ChunkParts`].
    pub blocks: &'a [u16],
    /// As in [`super::ChunkParts`], as long as `blocks`.
    pub maxima: &'a [u8],
    /// As in [`super::ChunkParts`], as long as `blocks`.
    pub ends: &'a [u32],
    /// As in [`super::ChunkParts`].
    pub postings: &'a [Posting],
}

/// Work of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Blocks whose postings were read.
    pub blocks: u64,
    /// Bytes of lists that were read.
    pub bytes: u64,
}

/// Working memory, for reuse.
#[derive(Default)]
pub struct Scratch {
    bounds: Vec<f32>,
    places: Vec<Places>,
    heap: Vec<u64>,
    runs: Vec<(f32, usize, usize, usize)>,
}

/// Finds the place of a block in a list: a bit for each block, and the number of those before each
/// word.
#[derive(Clone, Copy)]
struct Places {
    words: [u64; CHUNK_BLOCKS / 64],
    before: [u16; CHUNK_BLOCKS / 64],
}

impl Places {
    fn of(blocks: &[u16]) -> Self {
        let mut places = Self { words: [0; CHUNK_BLOCKS / 64], before: [0; CHUNK_BLOCKS / 64] };
        for &block in blocks {
            let block = within(block);
            places.words[block / 64] |= 1 << (block % 64);
        }
        let mut sum = 0;
        for (before, word) in places.before.iter_mut().zip(places.words) {
            *before = sum;
            sum += word.count_ones() as u16;
        }
        places
    }

    #[inline]
    fn find(&self, block: usize) -> Option<usize> {
        let (word, bit) = (self.words[block / 64], 1_u64 << (block % 64));
        let rank = (word & (bit - 1)).count_ones() as usize;
        (word & bit != 0).then(|| usize::from(self.before[block / 64]) + rank)
    }
}

/// The number of a block; of damaged bytes it is any other one.
#[inline]
fn within(block: u16) -> usize {
    usize::from(block) % CHUNK_BLOCKS
}

/// The bound below which a row cannot reach a score, for a query with so many dimensions. Bounds and
/// scores are summed in different precision.
pub fn least_of(score: f32, dimensions: usize) -> f32 {
    score * (1.0 - (dimensions as f32 + 16.0) * f32::EPSILON)
}

/// The query's value times a list's scale; not so small that products with it lose their precision.
pub fn factor_of(value: f32, scale: f32) -> f32 {
    (value * scale).max(f32::MIN_POSITIVE)
}

/// Offers the positions whose bounds reach the threshold. `offer` gets a position and its bound, and
/// returns the threshold from then on. Calls `go_on` now and then.
///
/// # Errors
/// Those of `go_on` and `offer`.
pub fn search<E>(
    lists: &[List<'_>],
    scratch: &mut Scratch,
    mut threshold: f32,
    go_on: &dyn Fn() -> Result<(), E>,
    offer: &mut dyn FnMut(u16, f32) -> Result<f32, E>,
) -> Result<Work, E> {
    let mut work = Work::default();
    let Scratch { bounds, places, heap, runs } = scratch;
    bounds.clear();
    bounds.resize(CHUNK_BLOCKS, 0.0);
    places.clear();
    for list in lists {
        for (&block, &most) in list.blocks.iter().zip(list.maxima) {
            bounds[within(block)] += list.factor * f32::from(most);
        }
        places.push(Places::of(list.blocks));
        work.bytes += 3 * list.blocks.len() as u64;
    }
    // Bounds are not negative: as numbers, their bits have the same order.
    let key = |(block, bound): (usize, &f32)| u64::from(bound.to_bits()) << 16 | block as u64;
    heap.clear();
    let good = bounds.iter().enumerate().filter(|(_, bound)| **bound > 0.0 && **bound >= threshold);
    heap.extend(good.map(key));
    let mut queue = BinaryHeap::from(std::mem::take(heap));
    while let Some(key) = queue.pop() {
        if f32::from_bits((key >> 16) as u32) < threshold {
            break;
        }
        if work.blocks.is_multiple_of(CHECKED_BLOCKS) {
            go_on()?;
        }
        let block = (key & 0xffff) as usize;
        let sums = sums_of(block, lists, places, runs);
        work.blocks += 1;
        work.bytes += runs.iter().map(|run| 2 * (run.3 - run.2) as u64).sum::<u64>();
        for (row, &sum) in sums.iter().enumerate() {
            if sum > 0.0 && sum >= threshold {
                threshold = offer((block * BLOCK_ROWS + row) as u16, sum)?;
            }
        }
    }
    *heap = queue.into_vec();
    places.shrink_to(KEPT_PLACES);
    Ok(work)
}

/// The bounds of the rows of a block.
fn sums_of(
    block: usize,
    lists: &[List<'_>],
    places: &[Places],
    runs: &mut Vec<(f32, usize, usize, usize)>,
) -> [f32; BLOCK_ROWS] {
    runs.clear();
    for (number, (list, places)) in lists.iter().zip(places).enumerate() {
        let Some(place) = places.find(block) else { continue };
        let end_of = |place: usize| list.ends.get(place).copied().unwrap_or(0) as usize;
        let start = place.checked_sub(1).map_or(0, end_of);
        let end = end_of(place);
        let bytes: &[u8] = list.postings.as_flattened();
        kernels::prefetch(bytes, 2 * start, 2 * end.saturating_sub(start));
        runs.push((list.factor, number, start, end.max(start)));
    }
    let mut sums = [0.0_f32; BLOCK_ROWS];
    for &(factor, number, start, end) in &*runs {
        for &[row, weight] in lists[number].postings.get(start..end).unwrap_or_default() {
            sums[usize::from(row) % BLOCK_ROWS] += factor * f32::from(weight);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::index::inverted::{ChunkBuilder, ChunkParts};
    use crate::kernels::sparse::{Entry, dot};

    fn lists<'p>(parts: &'p ChunkParts, query: &[Entry]) -> Vec<List<'p>> {
        let list = |entry: &Entry| {
            let at = parts.indices.binary_search(&entry.index).ok()?;
            let range = |starts: &[u32]| starts[at] as usize..starts[at + 1] as usize;
            let blocks = range(&parts.block_starts);
            Some(List {
                factor: factor_of(entry.value, parts.scales[at]),
                blocks: &parts.blocks[blocks.clone()],
                maxima: &parts.maxima[blocks.clone()],
                ends: &parts.ends[blocks],
                postings: &parts.postings[range(&parts.posting_starts)],
            })
        };
        query.iter().filter_map(list).collect()
    }

    fn entries(row: &std::collections::BTreeMap<u32, f32>) -> Vec<Entry> {
        row.iter().map(|(&index, &weight)| Entry { index, value: weight }).collect()
    }

    proptest! {
        #[test]
        fn the_best_rows_are_those_of_a_scan(
            rows in proptest::collection::vec(
                proptest::collection::btree_map(0_u32..30, 0.01_f32..4.0, 0..8), 1..500),
            query in proptest::collection::btree_map(0_u32..30, 0.01_f32..4.0, 1..12),
            count in 1_usize..20,
        ) {
            let rows: Vec<Vec<Entry>> = rows.iter().map(entries).collect();
            let query = entries(&query);
            let mut builder = ChunkBuilder::default();
            rows.iter().for_each(|row| builder.push(row));
            let parts = builder.finish();
            let mut expected: Vec<f32> = rows.iter().map(|row| dot(&query, row)).collect();
            expected.retain(|score| *score > 0.0);
            expected.sort_by(|a, b| b.total_cmp(a));
            expected.truncate(count);
            let mut found: Vec<f32> = Vec::new();
            let (lists, go_on) = (lists(&parts, &query), &|| Ok(()));
            let work = search(&lists, &mut Scratch::default(), 0.0, go_on, &mut |position, bound| {
                let score = dot(&query, &rows[usize::from(parts.order[usize::from(position)])]);
                assert!(least_of(score, query.len()) <= bound, "{score} is bounded by {bound}");
                found.push(score);
                found.sort_by(|a, b| b.total_cmp(a));
                found.truncate(count);
                let worst = if found.len() < count { 0.0 } else { found[count - 1] };
                Ok::<f32, Infallible>(least_of(worst, query.len()))
            });
            found.retain(|score| *score > 0.0);
            prop_assert_eq!(found, expected);
            prop_assert!(work.unwrap().blocks <= rows.len().div_ceil(BLOCK_ROWS) as u64);
        }
    }

    #[test]
    fn blocks_that_cannot_reach_the_threshold_are_not_read() {
        let entry = |index, weight| Entry { index, value: weight };
        let mut builder = ChunkBuilder::default();
        // Rows are ordered by dimension, so that the heavy ones share blocks.
        let heavy = |row| if row < 64 { 9.0 } else { 1.0 };
        (0..640).for_each(|row| builder.push(&[entry(row / 64, heavy(row))]));
        let parts = builder.finish();
        let query: Vec<Entry> = (0..10).map(|index| entry(index, 1.0)).collect();
        let mut offered = 0;
        let (lists, go_on) = (lists(&parts, &query), &|| Ok(()));
        let work = search(&lists, &mut Scratch::default(), 0.0, go_on, &mut |_, bound| {
            offered += 1;
            Ok::<f32, Infallible>(if offered < 10 { 0.0 } else { bound.min(8.0) })
        });
        assert_eq!((work.unwrap().blocks, offered), (4, 64));
    }

    #[test]
    fn the_smallest_products_have_bounds_too() {
        let entry = |index, value| Entry { index, value };
        let mut builder = ChunkBuilder::default();
        let rows: Vec<Entry> = (1..100).map(|row| entry(3, row as f32 * 1e-24)).collect();
        rows.iter().for_each(|row| builder.push(&[*row]));
        let parts = builder.finish();
        let query = [entry(3, 2e-23)];
        let mut found = 0;
        let (lists, go_on) = (lists(&parts, &query), &|| Ok(()));
        let work = search(&lists, &mut Scratch::default(), 0.0, go_on, &mut |position, bound| {
            let row = rows[usize::from(parts.order[usize::from(position)])];
            let score = dot(&query, &[row]);
            assert!(bound >= score);
            found += u32::from(score > 0.0);
            Ok::<f32, Infallible>(0.0)
        });
        let positive = rows.iter().filter(|row| dot(&query, &[**row]) > 0.0).count() as u32;
        assert!(work.is_ok() && positive > 50);
        assert_eq!(found, positive);
    }
}
