//! The random numbers of [`Generator::Google`](super::Generator): `std::mt19937` and the
//! distributions of libstdc++, from which the reference implementation draws its planes and
//! sketches.
//!
//! The C++ standard defines the output of the engine, but not how distributions use it; these are
//! GCC's (`bits/random.tcc`, `bits/uniform_int_dist.h`).

/// The 32-bit Mersenne Twister (Matsumoto and Nishimura, 1998) as `std::mt19937`.
struct Engine {
    state: [u32; Self::SIZE],
    next: usize,
}

impl Engine {
    const SIZE: usize = 624;
    const SHIFT: usize = 397;

    fn new(seed: u32) -> Self {
        let mut state = [seed; Self::SIZE];
        for index in 1..Self::SIZE {
            let before = state[index - 1];
            state[index] =
                (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(index as u32);
        }
        Self { state, next: Self::SIZE }
    }

    fn twist(&mut self) {
        for index in 0..Self::SIZE {
            let high = self.state[index] & 0x8000_0000;
            let joined = high | (self.state[(index + 1) % Self::SIZE] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] =
                self.state[(index + Self::SHIFT) % Self::SIZE] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }

    fn draw(&mut self) -> u32 {
        if self.next == Self::SIZE {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// `generate_canonical<float, 24>`: in [0, 1).
    fn canonical(&mut self) -> f32 {
        (self.draw() as f32 / 4_294_967_296.0).min(1.0_f32.next_down())
    }

    /// `uniform_int_distribution<int>(0, bound − 1)`: Lemire's method.
    fn below(&mut self, bound: u32) -> u32 {
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.draw()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// `bernoulli_distribution(0.5)` as a sign; a draw of 53 bits takes two words.
    fn sign(&mut self) -> f32 {
        let (low, high) = (f64::from(self.draw()), f64::from(self.draw()));
        let uniform = (low + high * 4_294_967_296.0) / 18_446_744_073_709_551_616.0;
        if uniform < 0.5 { 1.0 } else { -1.0 }
    }
}

/// The hyperplanes of a repetition, shape [planes, dimension] (the reference matrix is
/// column-major: plane after plane).
pub fn planes(seed: u64, repetition: usize, planes: usize, dimension: usize) -> Vec<f32> {
    let mut engine = engine(seed, repetition);
    let mut values = Vec::with_capacity(planes * dimension + 1);
    // `normal_distribution<float>`: Marsaglia's polar method; the second number of a pair is kept
    // for the next call.
    while values.len() < planes * dimension {
        let x = 2.0 * engine.canonical() - 1.0;
        let y = 2.0 * engine.canonical() - 1.0;
        let square = x * x + y * y;
        if square > 1.0 || square == 0.0 {
            continue;
        }
        let factor = (-2.0 * square.ln() / square).sqrt();
        values.extend([y * factor, x * factor]);
    }
    values.truncate(planes * dimension);
    values
}

/// The count sketch of a repetition, shape [projected, dimension]: one sign per column.
pub fn inner(seed: u64, repetition: usize, projected: usize, dimension: usize) -> Vec<f32> {
    let mut values = vec![0.0; projected * dimension];
    let sketch = CountSketch::new(seed, repetition, dimension, projected);
    for (column, &(row, sign)) in sketch.entries.iter().enumerate() {
        values[row as usize * dimension + column] = sign;
    }
    values
}

fn engine(seed: u64, repetition: usize) -> Engine {
    Engine::new((seed as u32).wrapping_add(repetition as u32))
}

/// A count sketch: adds each input to one output, with a sign (the reference calls it AMS sketch).
#[derive(Debug, Clone, PartialEq)]
pub struct CountSketch {
    /// Output and sign of each input.
    pub entries: Vec<(u32, f32)>,
}

impl CountSketch {
    /// A sketch from `inputs` to `outputs` dimensions.
    pub fn new(seed: u64, repetition: usize, inputs: usize, outputs: usize) -> Self {
        let mut engine = engine(seed, repetition);
        let entries = (0..inputs).map(|_| (engine.below(outputs as u32), engine.sign())).collect();
        Self { entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_mt19937() {
        let mut engine = Engine::new(42);
        assert_eq!([(); 3].map(|()| engine.draw()), [1_608_637_542, 3_421_126_067, 4_083_286_876]);
        // The check in the C++ standard: the 10,000th number of the default seed.
        let mut engine = Engine::new(5489);
        assert_eq!((0..10_000).map(|_| engine.draw()).last(), Some(4_123_659_995));
    }

    #[test]
    fn planes_are_those_of_the_reference() {
        let expected = [1.2219213, -0.51696414, 0.86963594, 0.72133267, 1.5885563, 1.6182171];
        assert_eq!(planes(42, 0, 2, 3), expected);
        assert_eq!(planes(40, 2, 2, 3), expected);
    }

    #[test]
    fn sketches_are_those_of_the_reference() {
        let expected = [
            (5, -1.0),
            (2, -1.0),
            (9, 1.0),
            (7, 1.0),
            (0, -1.0),
            (5, 1.0),
            (11, 1.0),
            (0, -1.0),
            (13, 1.0),
            (0, -1.0),
            (2, 1.0),
            (9, 1.0),
        ];
        assert_eq!(CountSketch::new(42, 0, 128, 16).entries[..12], expected);
        assert_eq!(inner(42, 0, 16, 128)[5 * 128], -1.0);
    }
}
