//! Centroid interaction: MaxSim of a query with the centroids nearest to a document's tokens, from
//! a table of all products (PLAID, arXiv 2205.09707, section 4.3).
//!
//! The table has a row per centroid: 16 bits per query token, in runs of 16 tokens. For a document,
//! the rows of its centroids are read once, and their maxima summed: one load and one maximum per
//! run. With eight bits most documents would have tied scores. This is plain Rust, which compilers
//! turn into `pmaxsw` or `smax`, compiled for each instruction set; sums are exact, and so equal
//! for all.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

use super::isa::{Plain, kernel};

/// Query tokens per run.
pub const RUN: usize = 16;
/// Number of runs whose maxima are kept in registers at once.
const RUNS: usize = 4;

/// Values of 16 query tokens: half a cache line, and in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Run(pub [i16; RUN]);

// SAFETY: i16 is valid for all bits, so all zeros are a run.
unsafe impl Zeroable for Run {}

// SAFETY: `repr(C)` with one field as large as the alignment has no padding, and i16 is valid for
// all bits.
unsafe impl Pod for Run {}

impl Run {
    /// A run of one value.
    pub const fn of(value: i16) -> Self {
        Self([value; RUN])
    }
}

impl Deref for Run {
    type Target = [i16; RUN];

    #[inline(always)]
    fn deref(&self) -> &[i16; RUN] {
        &self.0
    }
}

impl DerefMut for Run {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [i16; RUN] {
        &mut self.0
    }
}

kernel! {
    /// A centroid interaction kernel that this CPU supports.
    CentroidKernel: up_to_avx2
}

impl CentroidKernel {
    /// For each list of rows: Σ over the tokens of their largest value in the listed rows, or
    /// [`NOTHING`] if none is listed. Values are not negative; each row has `runs` runs.
    ///
    /// # Panics
    /// If a listed row is not in the table.
    #[inline]
    pub fn sums_of_greatest<'l>(
        self,
        table: &[Run],
        runs: usize,
        lists: impl Iterator<Item = &'l [u16]>,
        sums: &mut [u32],
    ) {
        self.0.run(Sums { table, runs, lists, sums });
    }

    /// Rounds products of shape [tokens, rows] to 15 bits, (product − least) · factor for the least
    /// of each token, and writes them to the first rows of a table; `runs` are those of a row.
    ///
    /// # Panics
    /// If the table is too small.
    pub fn fill(
        self,
        products: &[f32],
        (least, factor): (&[f32], f32),
        table: &mut [Run],
        runs: usize,
    ) {
        self.0.run(Fill { products, least, factor, table, runs });
    }
}

/// The sum of an empty list.
pub const NOTHING: u32 = u32::MAX;

struct Sums<'a, I> {
    table: &'a [Run],
    runs: usize,
    lists: I,
    sums: &'a mut [u32],
}

impl<'l, I: Iterator<Item = &'l [u16]>> Plain for Sums<'_, I> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        for (rows, sum) in self.lists.zip(self.sums) {
            *sum = sum_of(self.table, self.runs, rows);
        }
    }
}

#[inline(always)]
fn sum_of(table: &[Run], runs: usize, rows: &[u16]) -> u32 {
    match runs {
        _ if rows.is_empty() => NOTHING,
        1 => of_runs::<1>(table, (1, 0), rows),
        2 => of_runs::<2>(table, (2, 0), rows),
        _ => {
            let mut sum = 0;
            for first in (0..runs / RUNS * RUNS).step_by(RUNS) {
                sum += of_runs::<RUNS>(table, (runs, first), rows);
            }
            for first in runs / RUNS * RUNS..runs {
                sum += of_runs::<1>(table, (runs, first), rows);
            }
            sum
        }
    }
}

/// The sum for `N` of the runs, from `first` on.
#[inline(always)]
fn of_runs<const N: usize>(table: &[Run], (runs, first): (usize, usize), rows: &[u16]) -> u32 {
    let mut greatest = [[0_i16; RUN]; N];
    for &row in rows {
        let row = &table[usize::from(row) * runs + first..][..N];
        for (greatest, run) in greatest.iter_mut().zip(row) {
            for (greatest, value) in greatest.iter_mut().zip(&run.0) {
                *greatest = (*greatest).max(*value);
            }
        }
    }
    let greatest = greatest.as_flattened().iter();
    greatest.map(|&value| u32::from(value.unsigned_abs())).sum()
}

struct Fill<'a> {
    products: &'a [f32],
    least: &'a [f32],
    factor: f32,
    table: &'a mut [Run],
    runs: usize,
}

/// Rows that are filled together.
const BLOCK: usize = 16;
/// Values that are moved together: a word of 64 bits.
const OF_WORD: usize = 4;

impl Plain for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        let Self { products, least, factor, table, runs } = self;
        let count = products.len() / least.len().max(1);
        for (run, least) in least.chunks(RUN).enumerate() {
            let products = &products[run * RUN * count..][..least.len() * count];
            for first in (0..count).step_by(BLOCK) {
                let len = BLOCK.min(count - first);
                // Each word has the values of four tokens, which takes a shift and a union of lanes.
                let mut words = [[0_u64; BLOCK]; RUN / OF_WORD];
                for (token, least) in least.iter().enumerate() {
                    let mut values = [0.0; BLOCK];
                    let own = &products[token * count + first..];
                    // A copy of a length that is known is no call: a fifth of the time of five tokens.
                    match own.first_chunk() {
                        Some(own) if len == BLOCK => values = *own,
                        _ => values[..len].copy_from_slice(&own[..len]),
                    }
                    let shift = token % OF_WORD * 16;
                    for (word, value) in words[token / OF_WORD].iter_mut().zip(values) {
                        *word |= u64::from(round((value - least) * factor)) << shift;
                    }
                }
                let rows = table[first * runs + run..].iter_mut().step_by(runs).take(len);
                for (at, row) in rows.enumerate() {
                    // The lowest bits first, as on all supported machines.
                    let out: &mut [u64; RUN / OF_WORD] = bytemuck::cast_mut(row);
                    for (out, words) in out.iter_mut().zip(&words) {
                        *out = words[at];
                    }
                }
            }
        }
    }
}

/// The nearest integer of 0 to 2¹⁵ − 1; 0 of NaN.
#[inline(always)]
fn round(value: f32) -> u16 {
    // The spacing of floats from 2²³ on is one, and the lowest bits are those of the integer.
    const ONES: f32 = (1 << 23) as f32;
    (value.max(0.0).min(f32::from(i16::MAX)) + ONES).to_bits() as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tables_hold_rounded_products() {
        for (tokens, count) in [(1, 1), (3, 16), (5, 33), (16, 20), (17, 31), (40, 5)] {
            let product = |at: usize| ((at * 7919 + 13) % 2003) as f32 / 100.0 - 10.0;
            let products: Vec<f32> = (0..tokens * count).map(product).collect();
            let least: Vec<f32> = (0..tokens).map(|token| token as f32 / 10.0 - 9.0).collect();
            let runs = tokens.div_ceil(RUN);
            for kernel in CentroidKernel::available() {
                let mut table = vec![Run::of(0); (count + 1) * runs];
                kernel.fill(&products, (&least, 1700.0), &mut table, runs);
                let values: &[i16] = bytemuck::cast_slice(&table);
                for (at, &value) in values.iter().enumerate() {
                    let (row, token) = (at / (runs * RUN), at % (runs * RUN));
                    let expected = match row < count && token < tokens {
                        true => (products[token * count + row] - least[token]) * 1700.0,
                        false => 0.0,
                    };
                    let expected = f64::from(expected.clamp(0.0, 32767.0));
                    let distance = (f64::from(value) - expected).abs();
                    assert!(distance <= 0.5, "{} {tokens} {count}: {at}", kernel.name());
                }
            }
        }
        assert_eq!([f32::NAN, f32::INFINITY, -1.0, 0.6].map(round), [0, 32767, 0, 1]);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_definition(
            runs in 1_usize..11,
            values in prop::collection::vec(0..i16::MAX, 11 * RUN * 7),
            rows in prop::collection::vec(0_u16..7, 0..20),
        ) {
            let all = &values.as_chunks::<RUN>().0[..runs * 7];
            let table: Vec<Run> = all.iter().map(|&row| Run(row)).collect();
            let value = |row: u16, at: usize| table[usize::from(row) * runs + at / RUN][at % RUN];
            let sum = |rows: &[u16]| -> u32 {
                let greatest = |at| rows.iter().map(|&row| value(row, at)).max();
                let sum = (0..runs * RUN).map(|at| Some(greatest(at)? as u32)).sum::<Option<_>>();
                sum.unwrap_or(NOTHING)
            };
            // Lists of all lengths up to that one.
            let lists = || (0..=rows.len()).map(|len| &rows[..len]);
            let expected: Vec<u32> = lists().map(sum).collect();
            for kernel in CentroidKernel::available() {
                let mut got = vec![1; expected.len()];
                kernel.sums_of_greatest(&table, runs, lists(), &mut got);
                prop_assert_eq!(&got, &expected, "{}", kernel.name());
            }
        }
    }
}
