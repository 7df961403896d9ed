//! The optional projection of the whole encoding to fewer dimensions.

use super::google::CountSketch;
use super::paper;
use super::settings::{FdeSettings, Generator};

/// Outputs of a word of signs.
const WORD: usize = 32;

/// Adds what each input contributes to the outputs.
#[derive(Debug, Clone, PartialEq)]
pub enum FinalProjection {
    /// Dense random signs, scaled by 1/√outputs; a row of `words` for each input.
    Signs { words: usize, signs: Vec<u32>, scale: f32 },
    /// One output an input.
    Sketch(CountSketch),
}

impl FinalProjection {
    /// The projection of these settings from `inputs` dimensions, if they have one.
    pub fn new(settings: &FdeSettings, inputs: usize) -> Option<Self> {
        let outputs = settings.final_projection?;
        let seed = settings.seed;
        Some(match settings.generator {
            Generator::Paper => {
                let words = outputs.div_ceil(WORD);
                let signs = paper::final_signs(seed, inputs, words);
                Self::Signs { words, signs, scale: 1.0 / (outputs as f32).sqrt() }
            }
            Generator::Google => Self::Sketch(CountSketch::new(seed, 0, inputs, outputs)),
        })
    }

    /// `out` becomes the projection of runs of values, each with the position of its first.
    pub fn apply<'a>(&self, runs: impl Iterator<Item = (usize, &'a [f32])>, out: &mut [f32]) {
        out.fill(0.0);
        for (start, values) in runs {
            for (input, &value) in (start..).zip(values) {
                if value != 0.0 {
                    self.add(input, value, out);
                }
            }
        }
    }

    fn add(&self, input: usize, value: f32, out: &mut [f32]) {
        match self {
            Self::Signs { words, signs, scale } => {
                let bits = (value * scale).to_bits();
                let row = &signs[input * words..][..*words];
                for (outputs, &word) in out.chunks_mut(WORD).zip(row) {
                    for (lane, output) in outputs.iter_mut().enumerate() {
                        *output += f32::from_bits(bits ^ (word << (WORD - 1 - lane) & 1 << 31));
                    }
                }
            }
            Self::Sketch(sketch) => {
                let (output, sign) = sketch.entries[input];
                out[output as usize] += sign * value;
            }
        }
    }
}
