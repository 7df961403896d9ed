//! LVQ: locally-adaptive vector quantization (Aguerrebere et al., VLDB 2023, arXiv 2304.04759, §3).
//!
//! Each vector has its own range: with l and u its smallest and largest element and Δ = (u − l) /
//! (2^B − 1), element x becomes the code round((x − l)/Δ). A record consists of Δ and l as f32, a
//! squared norm under the l2 metric, and the codes ([`CodeLayout`]). Callers centre the vectors
//! first.
//!
//! The second level of LVQ-B₁×B₂ ([`Residual`]) quantizes the residual of the first, which lies in
//! [−Δ/2, Δ/2], with B₂ bits on that fixed range, so it needs no constants of its own.

use crate::kernels::codes::{CodeBits, CodeLayout, CodeQuery};

const FLOAT_BYTES: usize = 4;
/// Elements are clamped to this, so that neither constants nor decoded elements overflow.
const LARGEST: f32 = 1e37;

/// The first (or only) level.
#[derive(Debug, Clone, PartialEq)]
pub struct Lvq {
    layout: CodeLayout,
    has_norm: bool,
}

/// Constants of a record: x̂ᵢ = low + step · codeᵢ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constants {
    /// Δ, the distance between adjacent values.
    pub step: f32,
    /// l, the value of code 0.
    pub low: f32,
    /// The norm that the scorer subtracts: squared under l2, otherwise 0.
    pub norm: f32,
}

impl Constants {
    /// Product of a rounded query with a vector, from the integer product `sum` with its codes.
    #[inline]
    pub fn product(self, query: &CodeQuery, sum: i32) -> f32 {
        query.scale() * (self.step * sum as f32 + self.low * query.total() as f32)
    }
}

impl Lvq {
    /// An LVQ for vectors of `dimension`; with `has_norm`, records have a squared norm.
    pub fn new(bits: CodeBits, dimension: usize, has_norm: bool) -> Self {
        let header_bytes = FLOAT_BYTES * if has_norm { 3 } else { 2 };
        Self { layout: CodeLayout::new(bits, dimension, header_bytes), has_norm }
    }

    /// Bytes of a record before the codes.
    pub fn header_bytes(&self) -> usize {
        self.layout.header_bytes()
    }

    /// Layout of a record.
    pub fn layout(&self) -> &CodeLayout {
        &self.layout
    }

    /// Writes the record of a vector. NaN is encoded as 0; elements are clamped to ±10³⁷.
    ///
    /// # Panics
    /// If the length of `values` or `record` does not match the layout.
    pub fn encode(&self, values: &[f32], record: &mut [u8], scratch: &mut Vec<u8>) {
        let Constants { step, low, .. } = quantize(self.layout.bits().max(), values, scratch);
        self.layout.pack(scratch, record);
        self.put(record, 0, step);
        self.put(record, 1, low);
    }

    /// Stores the norm that the scorer subtracts, if records have one.
    pub fn set_norm(&self, record: &mut [u8], norm: f32) {
        if self.has_norm {
            self.put(record, 2, norm);
        }
    }

    /// The constants of a record.
    #[inline]
    pub fn constants(&self, record: &[u8]) -> Constants {
        let norm = if self.has_norm { get(record, 2) } else { 0.0 };
        Constants { norm, ..Self::range(record) }
    }

    /// The constants of a record without its norm.
    #[inline]
    pub fn range(record: &[u8]) -> Constants {
        Constants { step: get(record, 0), low: get(record, 1), norm: 0.0 }
    }

    /// Decodes the vector of a record.
    pub fn decode(&self, record: &[u8], out: &mut Vec<f32>) {
        let Constants { step, low, .. } = self.constants(record);
        let mut codes = vec![0; self.layout.dimension()];
        self.layout.unpack(record, &mut codes);
        out.clear();
        out.extend(codes.iter().map(|&code| low + step * f32::from(code)));
    }

    fn put(&self, record: &mut [u8], index: usize, value: f32) {
        record[index * FLOAT_BYTES..][..FLOAT_BYTES].copy_from_slice(&value.to_le_bytes());
    }
}

/// Quantizes a vector to codes from 0 to `largest`: replaces `codes` and returns its constants (with
/// norm 0).
///
/// NaN is encoded as 0; elements are clamped to ±10³⁷.
pub fn quantize(largest: u8, values: &[f32], codes: &mut Vec<u8>) -> Constants {
    let finite = |value: f32| if value.is_nan() { 0.0 } else { value.clamp(-LARGEST, LARGEST) };
    let (low, high) = values
        .iter()
        .map(|&value| finite(value))
        .fold((LARGEST, -LARGEST), |(low, high), value| (low.min(value), high.max(value)));
    let levels = f64::from(largest);
    let step = ((f64::from(high) - f64::from(low)) / levels) as f32;
    // In double precision: the inverse of a tiny step would overflow f32.
    let factor = if step > 0.0 { 1.0 / f64::from(step) } else { 0.0 };
    codes.clear();
    codes.extend(values.iter().map(|&value| {
        let code = (f64::from(finite(value)) - f64::from(low)) * factor;
        (code + 0.5).min(levels) as u8
    }));
    Constants { step, low, norm: 0.0 }
}

#[inline]
fn get(record: &[u8], index: usize) -> f32 {
    let bytes = record[index * FLOAT_BYTES..].first_chunk();
    bytes.map_or(0.0, |bytes| f32::from_le_bytes(*bytes))
}

/// The second level: codes of the residual of the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Residual {
    layout: CodeLayout,
}

impl Residual {
    /// A second level for vectors of `dimension`.
    pub fn new(bits: CodeBits, dimension: usize) -> Self {
        Self { layout: CodeLayout::new(bits, dimension, 0) }
    }

    /// Layout of a record.
    pub fn layout(&self) -> &CodeLayout {
        &self.layout
    }

    /// Distance between adjacent values and the smallest value, given the step of the first level.
    fn grid(&self, step: f32) -> (f32, f32) {
        (step / f32::from(self.layout.bits().max()), -step / 2.0)
    }

    /// Writes the record of `values`, given the first level's `decoded` values and step.
    pub fn encode(&self, values: &[f32], decoded: &[f32], step: f32, record: &mut [u8]) {
        let (fine, low) = self.grid(step);
        let levels = f32::from(self.layout.bits().max());
        let code = |(value, decoded): (&f32, &f32)| {
            if fine > 0.0 {
                ((value - decoded - low) / fine).round().clamp(0.0, levels) as u8
            } else {
                0
            }
        };
        let codes: Vec<u8> = values.iter().zip(decoded).map(code).collect();
        self.layout.pack(&codes, record);
    }

    /// Adds the decoded residual to the decoded first level.
    pub fn refine(&self, record: &[u8], step: f32, decoded: &mut [f32]) {
        let (fine, low) = self.grid(step);
        let mut codes = vec![0; self.layout.dimension()];
        self.layout.unpack(record, &mut codes);
        for (value, &code) in decoded.iter_mut().zip(&codes) {
            *value += low + fine * f32::from(code);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BITS: [CodeBits; 2] = [CodeBits::Four, CodeBits::Eight];

    fn decoded(lvq: &Lvq, values: &[f32]) -> (Vec<u8>, Vec<f32>) {
        let mut record = vec![0xee; lvq.layout().stride()];
        lvq.encode(values, &mut record, &mut Vec::new());
        let mut out = Vec::new();
        lvq.decode(&record, &mut out);
        (record, out)
    }

    proptest! {
        #[test]
        fn the_error_is_at_most_half_a_step(
            values in proptest::collection::vec(-3.0_f32..3.0, 1..300),
        ) {
            for bits in BITS {
                let lvq = Lvq::new(bits, values.len(), false);
                let (record, out) = decoded(&lvq, &values);
                let step = lvq.constants(&record).step;
                for (value, got) in values.iter().zip(&out) {
                    prop_assert!((value - got).abs() <= 0.5001 * step + 1e-6);
                }
            }
        }

        #[test]
        fn encoding_what_was_decoded_changes_nothing(
            values in proptest::collection::vec(-3.0_f32..3.0, 1..200),
        ) {
            let lvq = Lvq::new(CodeBits::Eight, values.len(), false);
            let (_, once) = decoded(&lvq, &values);
            let (_, twice) = decoded(&lvq, &once);
            for (a, b) in once.iter().zip(&twice) {
                prop_assert!((a - b).abs() <= 1e-5, "{a} {b}");
            }
        }

        #[test]
        fn the_second_level_divides_the_error_by_its_levels(
            values in proptest::collection::vec(-3.0_f32..3.0, 1..200),
        ) {
            for bits in BITS {
                let lvq = Lvq::new(CodeBits::Four, values.len(), false);
                let residual = Residual::new(bits, values.len());
                let (record, mut out) = decoded(&lvq, &values);
                let step = lvq.constants(&record).step;
                let mut second = vec![0; residual.layout().stride()];
                residual.encode(&values, &out, step, &mut second);
                residual.refine(&second, step, &mut out);
                let fine = step / f32::from(bits.max());
                for (value, got) in values.iter().zip(&out) {
                    prop_assert!((value - got).abs() <= 0.51 * fine + 1e-5);
                }
            }
        }
    }

    #[test]
    fn constant_and_extreme_vectors_stay_finite() {
        for values in [
            vec![0.0; 5],
            vec![7.5; 130],
            vec![3.0],
            vec![f32::MAX, f32::MIN, 0.0],
            vec![f32::INFINITY, f32::NEG_INFINITY, f32::NAN],
            vec![1e-45, 0.0],
        ] {
            for bits in BITS {
                let lvq = Lvq::new(bits, values.len(), true);
                let (_, out) = decoded(&lvq, &values);
                assert!(out.iter().all(|value| value.is_finite()), "{values:?} {out:?}");
                if values.iter().all(|&value| value == values[0]) {
                    assert_eq!(out, values);
                }
            }
        }
    }

    #[test]
    fn the_norm_is_kept_where_there_is_room() {
        for (has_norm, expected) in [(true, 2.5), (false, 0.0)] {
            let lvq = Lvq::new(CodeBits::Eight, 3, has_norm);
            let (mut record, _) = decoded(&lvq, &[1.0, 2.0, 3.0]);
            lvq.set_norm(&mut record, 2.5);
            let constants = lvq.constants(&record);
            assert_eq!((constants.low, constants.norm), (1.0, expected));
        }
    }
}
