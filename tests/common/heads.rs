//! Queries, keys and values like those of an attention head: far from each other, with few
//! directions that matter.

/// Dimension of all vectors.
pub const D: usize = 32;
/// Directions with most of the variance.
const RANK: usize = 6;

/// A reproducible normal number.
fn normal(seed: u64, index: usize) -> f32 {
    let bits = |part: u64| {
        let mut z = (seed << 40) ^ (index as u64 * 2 + part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (radius, angle) = ((-2.0 * (1.0 - bits(0)).ln()).sqrt(), std::f64::consts::TAU * bits(1));
    (radius * angle.cos()) as f32
}

/// Vectors around a mean, shape [n, D]. Those of one `side` lie in the same directions.
fn vectors(side: u64, seed: u64, n: usize, spread: f32) -> Vec<f32> {
    let mut all = Vec::with_capacity(n * D);
    for row in 0..n {
        let parts: [f32; RANK] = std::array::from_fn(|part| {
            spread * normal(seed, row * (RANK + D) + part) / (part + 1) as f32
        });
        all.extend((0..D).map(|at| {
            // All heads mix the directions in the same way.
            let mixed: f32 =
                parts.iter().enumerate().map(|(part, x)| x * normal(99, part * D + at)).sum();
            let noise = 0.3 * normal(seed, row * (RANK + D) + RANK + at);
            1.5 * normal(side, at) + mixed + noise
        }));
    }
    all
}

pub fn keys(seed: u64, n: usize) -> Vec<f32> {
    vectors(1, 10 + seed, n, 1.5)
}

pub fn queries(seed: u64, n: usize) -> Vec<f32> {
    vectors(2, 20 + seed, n, 1.5)
}

pub fn values(seed: u64, n: usize) -> Vec<f32> {
    (0..n * D).map(|at| normal(30 + seed, at)).collect()
}
