//! Matrix-vector product, which maps queries to fewer dimensions.
//!
//! Several rows are processed at a time, so that each load of the vector is shared and the sums are
//! independent: one dot product after the other takes three times as long.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_reduce_add_ps, _mm512_setzero_ps,
};

use super::isa::Isa;
#[cfg(any(test, target_arch = "x86_64"))]
use super::scalar;

/// Rows that share the loads of the vector.
#[cfg(target_arch = "x86_64")]
const ROWS: usize = 8;

/// Writes to `out[r]` the dot product of row `r` of `matrix`, shape [out.len(), vector.len()],
/// row-major, with `vector`.
///
/// # Panics
/// If the matrix does not have this shape.
pub fn matrix_vector(matrix: &[f32], vector: &[f32], out: &mut [f32]) {
    assert_eq!(matrix.len(), out.len() * vector.len(), "a row for each result");
    match Isa::floats().last() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value proves AVX-512F; the shape was asserted.
        Some(Isa::Avx512(_)) => unsafe { avx512(matrix, vector, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the value proves AVX2 and FMA; the shape was asserted.
        Some(Isa::Avx2(_)) => unsafe { avx2(matrix, vector, out) },
        _ => {
            for (result, row) in out.iter_mut().zip(matrix.chunks_exact(vector.len().max(1))) {
                *result = super::dot(row, vector);
            }
        }
    }
}

/// # Safety
/// AVX-512F, and that `matrix` has `out.len()` rows of `vector.len()` elements.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(matrix: &[f32], vector: &[f32], out: &mut [f32]) {
    let mut blocks = out.chunks_exact_mut(ROWS);
    let mut start = 0;
    for results in &mut blocks {
        // SAFETY: `start` is the start of a row with at least `ROWS` - 1 more rows after it.
        results.copy_from_slice(&unsafe { avx512_rows::<ROWS>(&matrix[start..], vector) });
        start += ROWS * vector.len();
    }
    for result in blocks.into_remainder() {
        // SAFETY: `start` is the start of a row.
        [*result] = unsafe { avx512_rows::<1>(&matrix[start..], vector) };
        start += vector.len();
    }
}

/// The products of the first `N` rows.
///
/// # Safety
/// AVX-512F, and that `rows` has at least `N` rows of `vector.len()` elements.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn avx512_rows<const N: usize>(rows: &[f32], vector: &[f32]) -> [f32; N] {
    const LANES: usize = 16;
    let dimension = vector.len();
    let whole = dimension / LANES * LANES;
    let mut sums = [_mm512_setzero_ps(); N];
    for column in (0..whole).step_by(LANES) {
        // SAFETY: `column` + 16 is at most the length of the vector; unaligned load.
        let q = unsafe { _mm512_loadu_ps(vector.as_ptr().add(column)) };
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: there are `N` rows, and the columns lie within one; unaligned load.
            let m = unsafe { _mm512_loadu_ps(rows.as_ptr().add(row * dimension + column)) };
            *sum = _mm512_fmadd_ps(m, q, *sum);
        }
    }
    let mask = (1_u16 << (dimension - whole)).wrapping_sub(1);
    if mask != 0 {
        // SAFETY: the mask selects only elements of the vector; masked-out ones are not read.
        let q = unsafe { _mm512_maskz_loadu_ps(mask, vector.as_ptr().add(whole)) };
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the mask selects only elements of the row; masked-out ones are not read.
            let m =
                unsafe { _mm512_maskz_loadu_ps(mask, rows.as_ptr().add(row * dimension + whole)) };
            *sum = _mm512_fmadd_ps(m, q, *sum);
        }
    }
    let mut out = [0.0; N];
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = _mm512_reduce_add_ps(sum);
    }
    out
}

/// # Safety
/// AVX2 and FMA, and that `matrix` has `out.len()` rows of `vector.len()` elements.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(matrix: &[f32], vector: &[f32], out: &mut [f32]) {
    let mut blocks = out.chunks_exact_mut(ROWS);
    let mut start = 0;
    for results in &mut blocks {
        // SAFETY: `start` is the start of a row with at least `ROWS` - 1 more rows after it.
        results.copy_from_slice(&unsafe { avx2_rows::<ROWS>(&matrix[start..], vector) });
        start += ROWS * vector.len();
    }
    for result in blocks.into_remainder() {
        // SAFETY: `start` is the start of a row.
        [*result] = unsafe { avx2_rows::<1>(&matrix[start..], vector) };
        start += vector.len();
    }
}

/// The products of the first `N` rows.
///
/// # Safety
/// AVX2 and FMA, and that `rows` has at least `N` rows of `vector.len()` elements.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn avx2_rows<const N: usize>(rows: &[f32], vector: &[f32]) -> [f32; N] {
    const LANES: usize = 8;
    let dimension = vector.len();
    let whole = dimension / LANES * LANES;
    let mut sums = [_mm256_setzero_ps(); N];
    for column in (0..whole).step_by(LANES) {
        // SAFETY: `column` + 8 is at most the length of the vector; unaligned load.
        let q = unsafe { _mm256_loadu_ps(vector.as_ptr().add(column)) };
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: there are `N` rows, and the columns lie within one; unaligned load.
            let m = unsafe { _mm256_loadu_ps(rows.as_ptr().add(row * dimension + column)) };
            *sum = _mm256_fmadd_ps(m, q, *sum);
        }
    }
    let mut out = [0.0; N];
    for (row, (out, sum)) in out.iter_mut().zip(sums).enumerate() {
        let mut lanes = [0.0_f32; LANES];
        // SAFETY: `lanes` has eight elements; the store is unaligned.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
        let tail = &rows[row * dimension + whole..][..dimension - whole];
        *out = lanes.iter().sum::<f32>() + scalar::dot(tail, &vector[whole..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_implementation_equals_the_dot_products() {
        for dimension in (1..70).chain([384, 391, 1024]) {
            for rows in [0, 1, 7, 8, 9, 17] {
                let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 1.0;
                let matrix: Vec<f32> = (0..rows * dimension).map(value).collect();
                let vector: Vec<f32> = (0..dimension).map(|i| value(i + 77)).collect();
                let close = |name: &str, out: &[f32]| {
                    for (row, &got) in matrix.chunks_exact(dimension).zip(out) {
                        let expected = scalar::dot(row, &vector);
                        assert!((got - expected).abs() <= 1e-4, "{name} {rows}×{dimension}");
                    }
                };
                let mut out = vec![f32::NAN; rows];
                matrix_vector(&matrix, &vector, &mut out);
                close("dispatched", &out);
                #[cfg(target_arch = "x86_64")]
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    out.fill(f32::NAN);
                    // SAFETY: AVX2 and FMA were detected; the matrix has `rows` rows.
                    unsafe { avx2(&matrix, &vector, &mut out) };
                    close("avx2", &out);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a row for each result")]
    fn a_matrix_of_another_shape_is_refused() {
        matrix_vector(&[0.0; 5], &[0.0; 2], &mut [0.0; 2]);
    }
}
