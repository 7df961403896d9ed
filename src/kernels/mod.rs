//! Arithmetic on slices, with the widest SIMD instructions of the CPU.
//!
//! Each function selects its implementation at run time (through [`simsimd`] for products and
//! distances, through [`half`] for widening), so that one binary runs everywhere. The scalar
//! reference implementations in [`scalar`] define the result of each kernel; tests compare the two.

pub mod centroids;
pub mod codes;
mod isa;
mod matrix;
pub mod max_sim;
mod prefetch;
pub mod products;
pub mod scalar;
pub mod sparse;

use half::f16;
use half::slice::HalfFloatSliceExt;
pub use matrix::matrix_vector;
pub use prefetch::prefetch;
use simsimd::SpatialSimilarity;

/// Dot product Σ aᵢ·bᵢ of two slices of equal length.
///
/// # Panics
/// If the lengths differ; callers validate dimensions first.
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "dot of slices of different length");
    f32::dot(a, b).map_or_else(|| scalar::dot(a, b), |sum| sum as f32)
}

/// Squared Euclidean distance Σ (aᵢ − bᵢ)² of two slices of equal length.
///
/// # Panics
/// If the lengths differ; callers validate dimensions first.
#[inline]
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "distance of slices of different length");
    f32::l2sq(a, b).map_or_else(|| scalar::l2_squared(a, b), |sum| sum as f32)
}

/// Widens half precision into `out`, which is resized to fit.
#[inline]
pub fn widen(values: &[f16], out: &mut Vec<f32>) {
    out.resize(values.len(), 0.0);
    values.convert_to_f32_slice(out);
}

/// Normalizes a vector to Euclidean length 1; `false` (and no change) if it is all zeros.
///
/// Sums in double precision, so that neither large nor tiny finite values over- or underflow.
pub fn normalize(values: &mut [f32]) -> bool {
    // Several sums, which the compiler can keep in the lanes of a register.
    let mut sums = [0.0_f64; 8];
    let mut chunks = values.chunks_exact(sums.len());
    for chunk in &mut chunks {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(value) * f64::from(value);
        }
    }
    for (sum, &value) in sums.iter_mut().zip(chunks.remainder()) {
        *sum += f64::from(value) * f64::from(value);
    }
    let norm = sums.iter().sum::<f64>().sqrt();
    if norm == 0.0 {
        return false;
    }
    // The inverse of the norm of a vector of floats is finite.
    let factor = 1.0 / norm;
    for value in values {
        *value = (f64::from(*value) * factor) as f32;
    }
    true
}

/// Index of the largest value; 0 if there is none.
pub fn position_of_largest(values: &[f32]) -> usize {
    // A vectorizable maximum first: tracking its index as well would be sequential.
    let (lanes, rest) = values.as_chunks::<16>();
    let mut greatest = [f32::NEG_INFINITY; 16];
    for lanes in lanes {
        greatest.iter_mut().zip(lanes).for_each(|(most, &value)| *most = most.max(value));
    }
    let most = greatest.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    values.iter().position(|&value| value == most).unwrap_or(0)
}

/// The SIMD instruction sets found by run-time dispatch, for reports.
pub fn instruction_sets() -> Vec<&'static str> {
    use simsimd::capabilities as has;
    let all = [
        ("neon", has::uses_neon()),
        ("sve", has::uses_sve()),
        ("avx2", has::uses_haswell()),
        ("avx512", has::uses_skylake()),
        ("avx512-vnni", has::uses_ice()),
        ("avx512-bf16", has::uses_genoa()),
        ("avx512-fp16", has::uses_sapphire()),
    ];
    all.into_iter().filter_map(|(name, present)| present.then_some(name)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Two vectors of equal length at an odd offset into their allocation, so unaligned.
    fn pair() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
        (1_usize..=1100).prop_flat_map(|len| {
            let values = || proptest::collection::vec(-2.0_f32..2.0, len + 1);
            (values(), values())
        })
    }

    /// Rounding grows with the sum of magnitudes, not with the result.
    fn close(got: f32, expected: f32, magnitude: f32) -> bool {
        (got - expected).abs() <= 1e-5 * magnitude.max(1.0)
    }

    proptest! {
        #[test]
        fn dot_equals_its_scalar_twin((a, b) in pair()) {
            let (a, b) = (&a[1..], &b[1..]);
            let magnitude: f32 = a.iter().zip(b).map(|(x, y)| (x * y).abs()).sum();
            prop_assert!(close(dot(a, b), scalar::dot(a, b), magnitude));
        }

        #[test]
        fn l2_squared_equals_its_scalar_twin((a, b) in pair()) {
            let (a, b) = (&a[1..], &b[1..]);
            let expected = scalar::l2_squared(a, b);
            prop_assert!(close(l2_squared(a, b), expected, expected));
        }

        #[test]
        fn widen_equals_its_scalar_twin(bits in proptest::collection::vec(any::<u16>(), 0..1100)) {
            let values: Vec<f16> =
                bits.into_iter().map(f16::from_bits).filter(|v| v.is_finite()).collect();
            let mut out = vec![7.0; 3];
            widen(&values, &mut out);
            prop_assert_eq!(out, scalar::widen(&values));
        }
    }

    #[test]
    fn normalize_survives_extreme_values_and_refuses_zero() {
        for scale in [1e-38_f32, 1.0, 1e38] {
            let mut values = [3.0 * scale, 0.0, 1.5 * scale];
            assert!(normalize(&mut values));
            assert!((scalar::dot(&values, &values) - 1.0).abs() < 1e-6, "{values:?}");
        }
        let mut zeros = [0.0; 4];
        assert!(!normalize(&mut zeros));
        assert_eq!(zeros, [0.0; 4]);
    }

    #[test]
    #[should_panic(expected = "different length")]
    fn dot_refuses_different_lengths() {
        dot(&[1.0, 2.0], &[1.0]);
    }
}
