//! Scalar reference implementations of the kernels.
//!
//! They sum in double precision, so that they serve as an oracle rather than as another rounding.

#[cfg(test)]
use half::f16;

/// Dot product Σ aᵢ·bᵢ over the shorter length.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>() as f32
}

/// Squared Euclidean distance Σ (aᵢ − bᵢ)² over the shorter length.
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum::<f64>() as f32
}

/// Each value widened to single precision.
#[cfg(test)]
pub fn widen(values: &[f16]) -> Vec<f32> {
    values.iter().map(|value| value.to_f32()).collect()
}
