//! Products of rows with a matrix, and sums of their maxima, from one register tile.
//!
//! The matrix is packed once into panels of 16 columns ([`Panels`]). A tile multiplies eight rows
//! with one panel and keeps their 8 × 16 sums in registers; these are then stored
//! ([`ProductKernel::multiply`]) or folded into running maxima ([`ProductKernel::max_sim`], where
//! the matrix is a transposed query), so that the similarity matrix is never materialized.
//!
//! The tile is plain Rust that the compiler vectorizes; CPUs only differ in the instruction set it
//! is compiled for, and in whether multiply and add are fused into one rounding.

use super::isa::{Plain, kernel};

/// Columns per panel: one 512-bit register.
const LANES: usize = 16;
/// Signs per word.
const SIGNS: usize = 32;
/// Rows per tile: enough independent sums to hide the latency of additions.
const ROWS: usize = 8;

type Column = [f32; LANES];

/// A matrix of shape [depth, columns], cut into panels; the last is padded with zero columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Panels {
    depth: usize,
    columns: usize,
    /// The panels, each of `depth` runs of [`LANES`] columns.
    values: Vec<Column>,
}

impl Panels {
    /// Packs columns that are given as rows: `rows` has shape [columns, depth], row-major.
    ///
    /// # Panics
    /// If `depth` is 0 or the length of `rows` is not a multiple of it.
    pub fn from_rows(rows: &[f32], depth: usize) -> Self {
        assert!(depth > 0 && rows.len().is_multiple_of(depth), "whole rows of {depth}");
        let columns = rows.len() / depth;
        let mut values = vec![[0.0; LANES]; columns.div_ceil(LANES) * depth];
        for (column, row) in rows.chunks_exact(depth).enumerate() {
            let panel = &mut values[column / LANES * depth..][..depth];
            for (run, &value) in panel.iter_mut().zip(row) {
                run[column % LANES] = value;
            }
        }
        Self { depth, columns, values }
    }

    /// Number of rows of the matrix.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Number of columns of the matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn panels(&self) -> impl Iterator<Item = &[Column]> {
        self.values.chunks_exact(self.depth)
    }
}

kernel! {
    /// A product kernel that this CPU supports.
    ProductKernel: floats
}

impl ProductKernel {
    /// Writes rows · matrix to `out`, shape [n, columns], for rows of shape [n, depth].
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn multiply(self, rows: &[f32], matrix: &Panels, out: &mut [f32]) {
        let count = whole_rows(rows, matrix);
        assert_eq!(out.len(), count * matrix.columns, "products of {count} rows");
        self.0.run(Multiply { rows, matrix, out });
    }

    /// Adds `value` to each output, or subtracts it where the output's bit is 1: bit b of word w
    /// belongs to output 32 · w + b.
    ///
    /// # Panics
    /// If there are fewer bits than outputs.
    pub fn add_signed(self, value: f32, signs: &[u32], out: &mut [f32]) {
        assert!(out.len() <= signs.len() * SIGNS, "a sign for each of {} outputs", out.len());
        self.0.run(AddSigned { value, signs, out });
    }

    /// MaxSim of a query, whose tokens are the columns, with a document of shape [n, depth]: the
    /// sum over columns of the largest product with a row. −∞ without rows, 0 without columns.
    ///
    /// # Panics
    /// If the length of `rows` is not a multiple of the depth.
    pub fn max_sim(self, query: &Panels, rows: &[f32]) -> f32 {
        whole_rows(rows, query);
        self.0.run(MaxSim { query, rows })
    }
}

fn whole_rows(rows: &[f32], matrix: &Panels) -> usize {
    assert!(rows.len().is_multiple_of(matrix.depth), "whole rows of {}", matrix.depth);
    rows.len() / matrix.depth
}

struct Multiply<'a> {
    rows: &'a [f32],
    matrix: &'a Panels,
    out: &'a mut [f32],
}

impl Plain for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        multiply::<FUSED>(self.rows, self.matrix, self.out);
    }
}

struct AddSigned<'a> {
    value: f32,
    signs: &'a [u32],
    out: &'a mut [f32],
}

impl Plain for AddSigned<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FUSED: bool>(self) {
        add_signed(self.value, self.signs, self.out);
    }
}

struct MaxSim<'a> {
    query: &'a Panels,
    rows: &'a [f32],
}

impl Plain for MaxSim<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<const FUSED: bool>(self) -> f32 {
        max_sim::<FUSED>(self.query, self.rows)
    }
}

#[inline(always)]
fn multiply<const FUSED: bool>(rows: &[f32], matrix: &Panels, out: &mut [f32]) {
    let columns = matrix.columns;
    for (index, panel) in matrix.panels().enumerate() {
        let first = index * LANES;
        let width = LANES.min(columns - first);
        each_tile::<FUSED>(rows, panel, |row, sums| {
            for (row, sums) in (row..).zip(sums) {
                let out = &mut out[row * columns + first..][..width];
                // With a constant length, the copy is a single store.
                match out.first_chunk_mut() {
                    Some(out) => *out = *sums,
                    None => out.copy_from_slice(&sums[..width]),
                }
            }
        });
    }
}

#[inline(always)]
fn add_signed(value: f32, signs: &[u32], out: &mut [f32]) {
    let bits = value.to_bits();
    // The sign bit of a float is its highest.
    let signed = |word: u32, bit: usize| {
        f32::from_bits(bits ^ (word << (SIGNS - 1 - bit) & (1 << (SIGNS - 1))))
    };
    let (words, rest) = out.as_chunks_mut::<SIGNS>();
    for (outputs, &word) in words.iter_mut().zip(signs) {
        for (bit, output) in outputs.iter_mut().enumerate() {
            *output += signed(word, bit);
        }
    }
    if let Some(&word) = signs.get(words.len()) {
        for (bit, output) in rest.iter_mut().enumerate() {
            *output += signed(word, bit);
        }
    }
}

#[inline(always)]
fn max_sim<const FUSED: bool>(query: &Panels, rows: &[f32]) -> f32 {
    let mut total = 0.0;
    for (index, panel) in query.panels().enumerate() {
        let mut best = [f32::NEG_INFINITY; LANES];
        each_tile::<FUSED>(rows, panel, |_, sums| {
            for sums in sums {
                for (best, &sum) in best.iter_mut().zip(sums) {
                    *best = if sum > *best { sum } else { *best };
                }
            }
        });
        total += best[..LANES.min(query.columns - index * LANES)].iter().sum::<f32>();
    }
    total
}

/// Calls `use_sums` with the products of up to [`ROWS`] rows at a time with a panel, and the index
/// of the first row.
#[inline(always)]
fn each_tile<const FUSED: bool>(
    rows: &[f32],
    panel: &[Column],
    mut use_sums: impl FnMut(usize, &[Column]),
) {
    let depth = panel.len();
    let tiles = rows.chunks_exact(ROWS * depth);
    let mut row = 0;
    let mut rest = tiles.remainder();
    for rows in tiles {
        use_sums(row, &tile::<ROWS, FUSED>(rows, panel));
        row += ROWS;
    }
    // The remainder in tiles of 4, 2 and 1: the sums of single rows would be latency-bound.
    if let Some((rows, after)) = rest.split_at_checked(4 * depth) {
        use_sums(row, &tile::<4, FUSED>(rows, panel));
        (rest, row) = (after, row + 4);
    }
    if let Some((rows, after)) = rest.split_at_checked(2 * depth) {
        use_sums(row, &tile::<2, FUSED>(rows, panel));
        (rest, row) = (after, row + 2);
    }
    if !rest.is_empty() {
        use_sums(row, &tile::<1, FUSED>(rest, panel));
    }
}

/// The products of `N` consecutive rows with the columns of a panel.
#[inline(always)]
fn tile<const N: usize, const FUSED: bool>(rows: &[f32], panel: &[Column]) -> [Column; N] {
    let depth = panel.len();
    assert!(rows.len() >= N * depth, "{N} rows of {depth}");
    let mut sums = [[0.0; LANES]; N];
    for (position, column) in panel.iter().enumerate() {
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: position < depth and row < N, and N · depth elements were asserted; elements
            // are read one by one, so alignment is that of the slice. Bounds checks here make the
            // tile two to three times slower.
            let value = unsafe { *rows.get_unchecked(row * depth + position) };
            *sums = add_product::<FUSED>(*sums, value, column);
        }
    }
    sums
}

#[inline(always)]
fn add_product<const FUSED: bool>(sums: Column, value: f32, factors: &Column) -> Column {
    std::array::from_fn(|lane| {
        if FUSED {
            value.mul_add(factors[lane], sums[lane])
        } else {
            value * factors[lane] + sums[lane]
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::scalar;

    /// Row-major values of shape [n, depth], at an odd offset into their allocation.
    fn matrix(depth: usize, max_rows: usize) -> impl Strategy<Value = Vec<f32>> {
        (0..=max_rows)
            .prop_flat_map(move |rows| proptest::collection::vec(-2.0_f32..2.0, rows * depth + 1))
    }

    proptest! {
        #[test]
        fn every_kernel_equals_the_definition(
            (depth, rows, columns) in (1_usize..150)
                .prop_flat_map(|depth| (Just(depth), matrix(depth, 27), matrix(depth, 40))),
        ) {
            let (rows, columns) = (&rows[1..], &columns[1..]);
            let panels = Panels::from_rows(columns, depth);
            let products: Vec<Vec<f32>> = rows
                .chunks_exact(depth)
                .map(|row| columns.chunks_exact(depth).map(|c| scalar::dot(row, c)).collect())
                .collect();
            let best = |column: usize| {
                products.iter().map(|row| row[column]).fold(f32::NEG_INFINITY, f32::max)
            };
            let expected: f32 = (0..panels.columns()).map(best).sum();
            for kernel in ProductKernel::available() {
                let mut out = vec![f32::NAN; products.len() * panels.columns()];
                kernel.multiply(rows, &panels, &mut out);
                for (got, expected) in out.iter().zip(products.iter().flatten()) {
                    prop_assert!((got - expected).abs() < 1e-4, "{} {got} {expected}", kernel.name());
                }
                let got = kernel.max_sim(&panels, rows);
                let close = (got - expected).abs() < 1e-3 || got == expected;
                prop_assert!(close, "{} {got} {expected}", kernel.name());
            }
        }
    }

    proptest! {
        #[test]
        fn every_kernel_adds_with_the_sign_of_the_bit(
            value in -2.0_f32..2.0,
            signs in proptest::collection::vec(any::<u32>(), 1..9),
            missing in 0_usize..40,
        ) {
            let len = (signs.len() * SIGNS).saturating_sub(missing);
            let start: Vec<f32> = (0..len).map(|i| i as f32).collect();
            for kernel in ProductKernel::available() {
                let mut out = start.clone();
                kernel.add_signed(value, &signs, &mut out);
                for (i, (got, start)) in out.iter().zip(&start).enumerate() {
                    let negative = signs[i / SIGNS] >> (i % SIGNS) & 1 == 1;
                    prop_assert_eq!(*got, if negative { start - value } else { start + value });
                }
            }
        }
    }

    #[test]
    fn rows_of_another_length_are_refused() {
        let panels = Panels::from_rows(&[1.0, 2.0, 3.0], 3);
        let refused = std::panic::catch_unwind(|| {
            ProductKernel::detect().max_sim(&panels, &[1.0; 4]);
        });
        assert!(refused.is_err());
    }
}
