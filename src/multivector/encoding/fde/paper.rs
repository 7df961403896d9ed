//! The random numbers of [`Generator::Paper`](super::Generator): a pure function of seed and
//! position, independent of the order of evaluation.

use crate::quantization::hash;

/// Purpose of a sequence of numbers; each has its own, for any seed.
const PLANES: u64 = 1;
const INNER: u64 = 2;
const FINAL: u64 = 3;

fn stream(seed: u64, repetition: usize, purpose: u64) -> u64 {
    hash(hash(seed, purpose), repetition as u64)
}

/// The hyperplanes of a repetition, shape [planes, dimension]: independent normal elements, by the
/// Box–Muller transform.
pub fn planes(seed: u64, repetition: usize, planes: usize, dimension: usize) -> Vec<f32> {
    let stream = stream(seed, repetition, PLANES);
    // In (0, 1], so that the logarithm is finite.
    let uniform = |index: u64| ((hash(stream, index) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let normal = |index: usize| {
        let pair = index as u64 / 2 * 2;
        let radius = (-2.0 * uniform(pair).ln()).sqrt();
        let (sine, cosine) = (std::f64::consts::TAU * uniform(pair + 1)).sin_cos();
        (radius * if index.is_multiple_of(2) { cosine } else { sine }) as f32
    };
    (0..planes * dimension).map(normal).collect()
}

/// The inner projection of a repetition, shape [projected, dimension]: random signs over
/// √projected.
pub fn inner(seed: u64, repetition: usize, projected: usize, dimension: usize) -> Vec<f32> {
    let stream = stream(seed, repetition, INNER);
    let scale = 1.0 / (projected as f32).sqrt();
    let sign = |index: usize| {
        let bit = hash(stream, index as u64 / 64) >> (index % 64) & 1;
        if bit == 0 { scale } else { -scale }
    };
    (0..projected * dimension).map(sign).collect()
}

/// The signs of a final projection, shape [rows, words]: bit b of a word is the sign of output 32 ·
/// word + b, where 1 means negative.
pub fn final_signs(seed: u64, rows: usize, words: usize) -> Vec<u32> {
    let stream = stream(seed, 0, FINAL);
    (0..rows * words).map(|index| hash(stream, index as u64) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_normal_and_signs_are_even() {
        let planes = planes(7, 3, 40, 1000);
        let n = planes.len() as f64;
        let moment = |power: i32| planes.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / n;
        assert!(moment(1).abs() < 0.02 && moment(3).abs() < 0.1);
        assert!((moment(2) - 1.0).abs() < 0.03 && (moment(4) - 3.0).abs() < 0.2);
        let signs = inner(7, 3, 16, 1000);
        assert!(signs.iter().all(|sign| sign.abs() == 0.25));
        assert!(signs.iter().sum::<f32>().abs() < 4.0 * 16_000_f32.sqrt() * 0.25);
        let bits: u32 = final_signs(7, 100, 10).iter().map(|word| word.count_ones()).sum();
        assert!(bits.abs_diff(16_000) < 400, "{bits}");
    }

    #[test]
    fn repetitions_and_purposes_differ() {
        assert_ne!(planes(1, 0, 1, 8), planes(1, 1, 1, 8));
        assert_ne!(planes(1, 0, 1, 8), planes(2, 0, 1, 8));
        assert_ne!(inner(1, 0, 1, 64), inner(1, 1, 1, 64));
        // A longer sequence starts with the shorter one.
        assert_eq!(planes(1, 0, 1, 8), planes(1, 0, 2, 8)[..8]);
    }
}
