//! Centroid interaction: MaxSim of a query with the centroids nearest to a document's tokens, from
//! a table of all products (PLAID, arXiv 2205.09707, section 4.3).
//!
//! The table has a row per centroid: 16 bits per query token, in runs of 16 tokens. For a document,
//! the rows of its centroids are read once, and their maxima summed: one load and one maximum per
//! run. With eight bits most documents would have tied scores. This is plain Rust, which compilers
//! turn into `pmaxsw` or `smax`, compiled for each instruction set; sums are exact, and so equal
//! for all.

use super::isa::{Plain, kernel};

/// Query tokens per run.
pub const RUN: usize = 16;
/// Number of runs whose maxima are kept in registers at once.
const RUNS: usize = 4;

kernel! {
    /// A centroid interaction kernel that this CPU supports.
    CentroidKernel: up_to_avx2
}

impl CentroidKernel {
    /// Σ over the tokens of their largest value in the listed rows; 0 if none is listed. Values are
    /// not negative; each row has `runs` runs.
    ///
    /// # Panics
    /// If a listed row is not in the table.
    #[inline]
    pub fn sum_of_greatest(self, table: &[[i16; RUN]], runs: usize, rows: &[u16]) -> u32 {
        self.0.run(Sum { table, runs, rows })
    }
}

struct Sum<'a> {
    table: &'a [[i16; RUN]],
    runs: usize,
    rows: &'a [u16],
}

impl Plain for Sum<'_> {
    type Output = u32;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> u32 {
        sum(self.table, self.runs, self.rows)
    }
}

#[inline(always)]
fn sum(table: &[[i16; RUN]], runs: usize, rows: &[u16]) -> u32 {
    match runs {
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
fn of_runs<const N: usize>(
    table: &[[i16; RUN]],
    (runs, first): (usize, usize),
    rows: &[u16],
) -> u32 {
    let mut greatest = [[0_i16; RUN]; N];
    for &row in rows {
        let row = &table[usize::from(row) * runs + first..][..N];
        for (greatest, run) in greatest.iter_mut().zip(row) {
            for (greatest, value) in greatest.iter_mut().zip(run) {
                *greatest = (*greatest).max(*value);
            }
        }
    }
    let greatest = greatest.as_flattened().iter();
    greatest.map(|&value| u32::from(value.unsigned_abs())).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sums_are_those_of_the_definition(
            runs in 1_usize..11,
            values in prop::collection::vec(0..i16::MAX, 11 * RUN * 7),
            rows in prop::collection::vec(0_u16..7, 0..20),
        ) {
            let table: Vec<[i16; RUN]> = values.as_chunks::<RUN>().0[..runs * 7].to_vec();
            let value = |row: u16, at: usize| table[usize::from(row) * runs + at / RUN][at % RUN];
            let greatest = |at| rows.iter().map(|&row| value(row, at)).max().unwrap_or(0) as u32;
            let expected: u32 = (0..runs * RUN).map(greatest).sum();
            for kernel in CentroidKernel::available() {
                let got = kernel.sum_of_greatest(&table, runs, &rows);
                prop_assert_eq!(got, expected, "{}", kernel.name());
            }
        }
    }
}
