//! The optional projection of the whole encoding to fewer dimensions.

use super::google::CountSketch;
use super::paper;
use crate::kernels::products::ProductKernel;
use crate::model::{FdeSettings, Generator};

/// Outputs per word of signs.
const WORD: usize = 32;

/// A projection, applied by adding the contribution of each input to the outputs.
#[derive(Debug, Clone, PartialEq)]
pub enum FinalProjection {
    /// Dense random signs, scaled by 1/√outputs; one row of `words` per input.
    Signs { words: usize, signs: Vec<u32>, scale: f32 },
    /// One output per input.
    Sketch(CountSketch),
}

impl FinalProjection {
    /// The final projection of these settings, if they have one, from `inputs` dimensions.
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

    /// Writes the projection of a sparse input to `out`; runs of values come with the position of
    /// their first.
    pub fn apply<'a>(
        &self,
        kernel: ProductKernel,
        runs: impl Iterator<Item = (usize, &'a [f32])>,
        out: &mut [f32],
    ) {
        out.fill(0.0);
        let inputs = runs.flat_map(|(start, values)| (start..).zip(values));
        for (input, &value) in inputs.filter(|&(_, &value)| value != 0.0) {
            match self {
                Self::Signs { words, signs, scale } => {
                    kernel.add_signed(value * scale, &signs[input * words..][..*words], out);
                }
                Self::Sketch(sketch) => {
                    let (output, sign) = sketch.entries[input];
                    out[output as usize] += sign * value;
                }
            }
        }
    }
}
