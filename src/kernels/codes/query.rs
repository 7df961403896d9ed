//! The query side: signed 8-bit integers in the order in which kernels read the codes.

use super::layout::{CHUNK_BYTES, CodeBits, CodeLayout};

/// Factors of one chunk of codes, or of one half of it.
#[derive(Debug, Clone, Copy)]
#[repr(transparent)]
pub(super) struct Block(pub [i8; CHUNK_BYTES]);

/// A query rounded to integers: q ≈ scale · (q₁ … q_d), |qᵢ| ≤ 127.
#[derive(Debug, Clone)]
pub struct CodeQuery {
    /// One block per half of each chunk: 1 for 8-bit, 2 for 4-bit codes. Zero where there is no
    /// code.
    blocks: Vec<Block>,
    /// Σ qᵢ of the integers.
    total: i32,
    scale: f32,
    bits: CodeBits,
    dimension: usize,
}

impl CodeQuery {
    /// Largest magnitude of a rounded element.
    pub const LEVELS: f32 = 127.0;

    /// Rounds a query. Its scale is max |qᵢ| / 127; a zero query has scale 0.
    ///
    /// # Panics
    /// If `values` and the layout differ in dimension.
    pub fn new(layout: &CodeLayout, values: &[f32]) -> Self {
        let mut query = Self::unfilled(layout);
        query.set(layout, values);
        query
    }

    /// Rounds another query into the same memory; see [`Self::new`].
    ///
    /// # Panics
    /// If `values` and the layout differ in dimension, or the query was made for another layout.
    pub fn set(&mut self, layout: &CodeLayout, values: &[f32]) {
        assert_eq!(values.len(), layout.dimension(), "one element a dimension");
        // Positive floats compare like their bits, and integer comparisons vectorize.
        let bits = values.iter().map(|value| value.abs().to_bits() as i32);
        let largest = f32::from_bits(bits.fold(0, i32::max) as u32);
        let factor = Self::LEVELS / largest;
        // Zeros, and values so small that the factor overflows, are rounded to zero.
        let (scale, factor) =
            if factor.is_finite() { (largest / Self::LEVELS, factor) } else { (0.0, 0.0) };
        self.scale = scale;
        self.fill(layout, |first, block| {
            for (integer, value) in block.iter_mut().zip(&values[first..]) {
                *integer = rounded(value * factor);
            }
        });
    }

    /// From integers, with scale 1.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn from_integers(layout: &CodeLayout, integers: &[i8]) -> Self {
        assert_eq!(integers.len(), layout.dimension(), "one element a dimension");
        let mut query = Self::unfilled(layout);
        query.fill(layout, |first, block| {
            block.copy_from_slice(&integers[first..][..block.len()]);
        });
        query
    }

    /// All zeros, with scale 1.
    fn unfilled(layout: &CodeLayout) -> Self {
        let blocks = vec![Block([0; CHUNK_BYTES]); layout.chunks() * layout.bits().per_byte()];
        Self { blocks, total: 0, scale: 1.0, bits: layout.bits(), dimension: layout.dimension() }
    }

    /// Calls `fill` for each run within a block, with the index of its first element and the block.
    fn fill(&mut self, layout: &CodeLayout, mut fill: impl FnMut(usize, &mut [i8])) {
        assert!(self.fits(layout), "the query was made for another layout");
        let halves = layout.bits().per_byte();
        self.total = 0;
        for (chunk, half, first, len) in layout.places().filter(|place| place.3 > 0) {
            let block = &mut self.blocks[chunk * halves + half].0[..len];
            fill(first, block);
            self.total += block.iter().map(|&value| i32::from(value)).sum::<i32>();
        }
    }

    /// An empty query, to be filled by [`Self::set`] or [`Self::set_record`].
    pub fn empty(layout: &CodeLayout) -> Self {
        Self::unfilled(layout)
    }

    /// Uses the codes of a record as integers: element i becomes code i minus [`CodeBits::middle`].
    ///
    /// # Panics
    /// If the query was made for another layout, or the record is shorter than the stride.
    pub fn set_record(&mut self, layout: &CodeLayout, record: &[u8]) {
        assert!(self.fits(layout), "the query was made for another layout");
        let halves = layout.bits().per_byte();
        let codes = &record[layout.header_bytes()..layout.stride()];
        let (middle, mask) = (layout.bits().middle(), layout.bits().max());
        self.total = 0;
        for (chunk, half, _, len) in layout.places().filter(|place| place.3 > 0) {
            let block = &mut self.blocks[chunk * halves + half].0[..len];
            let source = &codes[chunk * CHUNK_BYTES..][..len];
            for (value, &byte) in block.iter_mut().zip(source) {
                // Fits: codes minus their middle are -128..128 or 0..16.
                *value = ((byte >> (4 * half)) & mask).wrapping_sub(middle) as i8;
            }
            self.total += block.iter().map(|&value| i32::from(value)).sum::<i32>();
        }
    }

    /// Scale by which the integers are multiplied.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Σ qᵢ of the integers.
    pub fn total(&self) -> i32 {
        self.total
    }

    /// The rounded query, in the order of its dimensions: scale times integer.
    pub fn rounded(&self, layout: &CodeLayout) -> Vec<f32> {
        let mut values = vec![0.0; self.dimension];
        let halves = self.bits.per_byte();
        for (chunk, half, first, len) in layout.places().filter(|place| place.3 > 0) {
            let block = &self.blocks[chunk * halves + half].0;
            for (value, &integer) in values[first..][..len].iter_mut().zip(block) {
                *value = self.scale * f32::from(integer);
            }
        }
        values
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Whether the query was made for this layout's codes.
    pub fn fits(&self, layout: &CodeLayout) -> bool {
        self.bits == layout.bits() && self.dimension == layout.dimension()
    }
}

/// Rounds a value within ±127 to the nearest integer, ties to even.
///
/// Adding 1.5·2²³ leaves no room for a fraction, and the integer in the lowest bits. Rounding itself
/// is an instruction that not every x86-64 has, so that it would be a call for each element.
#[inline(always)]
fn rounded(value: f32) -> i8 {
    const SHIFT: f32 = 12_582_912.0;
    (value + SHIFT).to_bits() as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_rounded_to_its_largest_element() {
        for bits in [CodeBits::Four, CodeBits::Eight] {
            let layout = CodeLayout::new(bits, 150, 0);
            let values: Vec<f32> = (0..150).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
            let query = CodeQuery::new(&layout, &values);
            let largest = values.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            assert_eq!(query.scale(), largest / 127.0);
            for (value, rounded) in values.iter().zip(query.rounded(&layout)) {
                assert!((value - rounded).abs() <= query.scale() * 0.5001);
            }
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_even() {
        for step in -127 * 64..=127 * 64 {
            let value = step as f32 / 64.0;
            assert_eq!(f32::from(rounded(value)), value.round_ties_even(), "{value}");
        }
    }

    #[test]
    fn a_record_as_a_query_gives_back_its_codes() {
        for bits in [CodeBits::Four, CodeBits::Eight] {
            for dimension in [1, 63, 64, 65, 127, 129, 200] {
                let layout = CodeLayout::new(bits, dimension, 8);
                let codes: Vec<u8> =
                    (0..dimension).map(|i| (i * 37 + 11) as u8 & bits.max()).collect();
                let mut record = vec![0; layout.stride()];
                layout.pack(&codes, &mut record);
                let mut query = CodeQuery::empty(&layout);
                // Twice: nothing of the earlier record remains.
                query.set_record(&layout, &vec![0xff; layout.stride()]);
                query.set_record(&layout, &record);
                let middle = i32::from(bits.middle());
                let expected: Vec<f32> =
                    codes.iter().map(|&code| (i32::from(code) - middle) as f32).collect();
                assert_eq!(query.rounded(&layout), expected, "{bits:?} {dimension}");
                assert_eq!(query.total() as f32, expected.iter().sum::<f32>());
            }
        }
    }

    #[test]
    fn queries_of_zeros_and_of_extremes_have_finite_scales() {
        let layout = CodeLayout::new(CodeBits::Eight, 2, 0);
        for values in [[0.0, 0.0], [f32::MIN_POSITIVE, 0.0], [1e-45, 1e-45]] {
            let query = CodeQuery::new(&layout, &values);
            assert!(query.scale() >= 0.0 && query.scale() < 1e-35, "{values:?}");
            assert!(query.rounded(&layout).iter().all(|value| value.is_finite()));
        }
        let query = CodeQuery::new(&layout, &[f32::MAX, -f32::MAX]);
        assert_eq!(query.total(), 0);
        assert_eq!(query.rounded(&layout)[0], f32::MAX / 127.0 * 127.0);
    }
}
