//! Integer dot products of a query with rows of scalar-quantized codes.
//!
//! A query is rounded to signed 8-bit integers once ([`CodeQuery`]); a row holds unsigned codes of
//! 8 or 4 bits ([`CodeLayout`]). Σ qᵢ·cᵢ is then exact in 32 bits, so all implementations give the
//! same result as the scalar one. [`CodeKernel::detect`] chooses one for the CPU; an index keeps
//! it.
//!
//! - AVX-512 with VNNI: `vpdpbusd`, 64 products per instruction.
//! - AVX2: codes widened to 16 bits and `vpmaddwd`; for 4-bit codes `vpmaddubsw`, which cannot
//!   saturate there (2·15·127 < 2¹⁵). AVX-512 without VNNI takes this path, too: the same code in
//!   wider registers was slower out of the cache (`cargo bench --bench kernels`).
//! - NEON: `smull` and `sadalp` on codes shifted to −128..127.
//!
//! The dot product fused with dequantization is that of LVQ (Aguerrebere et al., VLDB 2023, §4).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod layout;
#[cfg(target_arch = "aarch64")]
mod neon;
mod query;
mod scalar;

pub use layout::{CodeBits, CodeLayout, MAX_CODE_DIMENSION};
pub use query::CodeQuery;

use super::isa::{Isa, kernel};

kernel! {
    /// An integer product kernel that this CPU supports.
    CodeKernel: integers
}

/// Input of an implementation.
struct Rows<'a> {
    records: &'a [u8],
    stride: usize,
    header_bytes: usize,
    query: &'a CodeQuery,
}

impl Rows<'_> {
    /// Offset of the codes in the record for sum `index`.
    #[inline(always)]
    fn start(&self, pick: impl Pick, index: usize) -> usize {
        pick.record(index) * self.stride + self.header_bytes
    }
}

/// Selection of records: sum `index` is that of record `record(index)`.
trait Pick: Copy {
    /// True if the records are consecutive in memory.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "AVX-512 alone asks"))]
    const CONSECUTIVE: bool;

    fn record(self, index: usize) -> usize;
}

/// Selects consecutive records from the first on.
#[derive(Clone, Copy)]
struct First;

impl Pick for First {
    const CONSECUTIVE: bool = true;

    #[inline(always)]
    fn record(self, index: usize) -> usize {
        index
    }
}

/// Selects the listed records.
#[derive(Clone, Copy)]
struct Listed<'a>(&'a [u32]);

impl Pick for Listed<'_> {
    const CONSECUTIVE: bool = false;

    #[inline(always)]
    fn record(self, index: usize) -> usize {
        self.0[index] as usize
    }
}

impl CodeKernel {
    /// Writes Σᵢ qᵢ·cᵢ of record `r`, which starts at byte `r·stride` of `records`, to `sums[r]`.
    ///
    /// # Panics
    /// If the query was made for other bits or another dimension than `layout`, or if `records` is
    /// too short for the last record and the slack of the layout.
    #[inline]
    pub fn dot_rows(
        self,
        layout: &CodeLayout,
        records: &[u8],
        query: &CodeQuery,
        sums: &mut [i32],
    ) {
        self.dot_picked(layout, records, query, sums.len(), First, sums);
    }

    /// Writes Σᵢ qᵢ·cᵢ of record `ids[i]` to `sums[i]`.
    ///
    /// # Panics
    /// As [`Self::dot_rows`], and if `ids` and `sums` differ in length.
    #[inline]
    pub fn dot_listed(
        self,
        layout: &CodeLayout,
        records: &[u8],
        query: &CodeQuery,
        ids: &[u32],
        sums: &mut [i32],
    ) {
        assert_eq!(ids.len(), sums.len(), "a sum an id");
        let end = ids.iter().fold(0, |end, &id| end.max(id as usize + 1));
        self.dot_picked(layout, records, query, end, Listed(ids), sums);
    }

    /// `end` is one more than the largest selected record.
    #[inline]
    fn dot_picked<P: Pick>(
        self,
        layout: &CodeLayout,
        records: &[u8],
        query: &CodeQuery,
        end: usize,
        pick: P,
        sums: &mut [i32],
    ) {
        assert!(query.fits(layout), "the query was made for another layout");
        assert!(layout.section_bytes(end) <= records.len(), "records and slack");
        let (stride, header_bytes) = (layout.stride(), layout.header_bytes());
        let rows = Rows { records, stride, header_bytes, query };
        match layout.bits() {
            CodeBits::Eight => self.run::<1, P>(&rows, pick, sums),
            CodeBits::Four => self.run::<2, P>(&rows, pick, sums),
        }
    }

    /// For codes of which a byte holds `HALVES`; `rows` was checked by [`Self::dot_picked`].
    #[inline]
    fn run<const HALVES: usize, P: Pick>(self, rows: &Rows<'_>, pick: P, sums: &mut [i32]) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the value proves the CPU feature. Bounds: a record's chunks end at most one
            // chunk after its stride, and `dot_picked` asserts that much after the last selected
            // record; the query has a block for each half of each chunk. Loads are unaligned.
            Isa::Avx2(_) => unsafe { avx2::dot_rows::<HALVES>(rows, pick, sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: features, bounds and alignment as for AVX2.
            Isa::Avx512Vnni(_) => unsafe { avx512::dot_rows::<HALVES, P>(rows, pick, sums) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: features, bounds and alignment as for AVX2.
            Isa::Neon(_) => unsafe { neon::dot_rows::<HALVES>(rows, pick, sums) },
            _ => scalar::dot_rows::<HALVES>(rows, pick, sums),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reference implementation over unpacked codes and the rounded query.
    fn oracle(layout: &CodeLayout, records: &[u8], query: &[i8], rows: usize) -> Vec<i32> {
        let mut codes = vec![0; layout.dimension()];
        (0..rows)
            .map(|row| {
                layout.unpack(&records[row * layout.stride()..], &mut codes);
                codes.iter().zip(query).map(|(&c, &q)| i32::from(c) * i32::from(q)).sum()
            })
            .collect()
    }

    /// Checks all kernels on pseudo-random bytes: every code, header and slack byte is arbitrary.
    fn check(bits: CodeBits, dimension: usize, header: usize, rows: usize, seed: u64) {
        let layout = CodeLayout::new(bits, dimension, header);
        let mut state = seed | 1;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
            (state >> 56) as u8
        };
        // The records start at an odd offset: nothing is aligned.
        let bytes: Vec<u8> = (0..=layout.section_bytes(rows)).map(|_| byte()).collect();
        let records = &bytes[1..];
        let values: Vec<i8> = (0..dimension).map(|_| (byte() as i8).max(-127)).collect();
        let query = CodeQuery::from_integers(&layout, &values);
        let expected = oracle(&layout, records, &values, rows);
        for kernel in CodeKernel::available() {
            let mut sums = vec![-1; rows];
            kernel.dot_rows(&layout, records, &query, &mut sums);
            assert_eq!(sums, expected, "{} {bits:?} {dimension} seed {seed}", kernel.name());
            // In any order, with repetitions.
            let ids: Vec<u32> = (0..2 * rows as u64)
                .map(|i| (seed.wrapping_mul(i + 1) >> 7) as u32 % rows as u32)
                .collect();
            let mut sums = vec![-1; ids.len()];
            kernel.dot_listed(&layout, records, &query, &ids, &mut sums);
            let listed: Vec<i32> = ids.iter().map(|&id| expected[id as usize]).collect();
            assert_eq!(sums, listed, "{} {bits:?} {dimension} seed {seed}", kernel.name());
        }
    }

    #[test]
    fn every_kernel_equals_the_definition_for_every_dimension() {
        for dimension in 1..=1100 {
            for bits in [CodeBits::Four, CodeBits::Eight] {
                check(bits, dimension, 8, 1 + dimension % 7, dimension as u64);
            }
        }
    }

    proptest! {
        #[test]
        fn every_kernel_equals_the_definition(
            four in any::<bool>(),
            dimension in 1_usize..1100,
            header in 0_usize..20,
            rows in 0_usize..11,
            seed in any::<u64>(),
        ) {
            let bits = if four { CodeBits::Four } else { CodeBits::Eight };
            check(bits, dimension, header, rows, seed);
        }
    }

    #[test]
    fn the_largest_sums_do_not_overflow() {
        for sign in [1_i8, -1] {
            let layout = CodeLayout::new(CodeBits::Eight, MAX_CODE_DIMENSION, 0);
            let query = CodeQuery::from_integers(&layout, &vec![127 * sign; MAX_CODE_DIMENSION]);
            let records = vec![255; layout.section_bytes(1)];
            for kernel in CodeKernel::available() {
                let mut sums = [0];
                kernel.dot_rows(&layout, &records, &query, &mut sums);
                assert_eq!(sums[0], 255 * 127 * i32::from(sign) * 65_536, "{}", kernel.name());
            }
        }
    }

    #[test]
    #[should_panic(expected = "records and slack")]
    fn records_without_slack_are_refused() {
        let layout = CodeLayout::new(CodeBits::Eight, 10, 0);
        let query = CodeQuery::from_integers(&layout, &[1; 10]);
        CodeKernel::detect().dot_rows(&layout, &[0; 20], &query, &mut [0; 1]);
    }

    #[test]
    fn listed_records_that_are_not_there_are_refused() {
        let layout = CodeLayout::new(CodeBits::Eight, 10, 0);
        let query = CodeQuery::from_integers(&layout, &[1; 10]);
        let records = vec![0; layout.section_bytes(3)];
        for kernel in CodeKernel::available() {
            let refused = |ids: &[u32], sums: usize| {
                let run = || kernel.dot_listed(&layout, &records, &query, ids, &mut vec![0; sums]);
                std::panic::catch_unwind(run).is_err()
            };
            assert!(!refused(&[2, 0, 2], 3) && !refused(&[], 0));
            assert!(refused(&[3], 1) && refused(&[0, u32::MAX, 1], 3), "{}", kernel.name());
            assert!(refused(&[0, 1], 1) && refused(&[0], 2), "a sum an id");
        }
    }

    #[test]
    #[should_panic(expected = "another layout")]
    fn a_query_for_another_layout_is_refused() {
        let made = CodeLayout::new(CodeBits::Eight, 100, 0);
        let query = CodeQuery::from_integers(&made, &[1; 100]);
        let used = CodeLayout::new(CodeBits::Eight, 200, 0);
        CodeKernel::detect().dot_rows(&used, &[0; 400], &query, &mut [0; 1]);
    }
}
