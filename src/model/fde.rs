//! Parameters of fixed-dimensional encodings, and their bounds.
//!
//! Their meaning is explained in [`crate::multivector::encoding::fde`].

use serde::{Deserialize, Serialize};

use super::{InvalidInput, Problem, check_range, limits};

/// Most dimensions of an encoding, before and after the final projection.
pub const MAX_FDE_DIMENSION: usize = 1 << 20;
/// Most repetitions.
const MAX_REPETITIONS: usize = 1024;
/// Most hyperplanes per repetition; more would exceed [`MAX_FDE_DIMENSION`] in any case.
const MAX_SIMHASH_PROJECTIONS: usize = 20;
/// Most elements of the matrix of hyperplanes and inner projections (256 MiB), and most signs of a
/// final projection (32 MiB).
const MAX_MATRIX_ELEMENTS: usize = 1 << 26;
const MAX_SIGNS: usize = 1 << 28;

/// Generator of hyperplanes, projections and the order of cells.
///
/// The output of a variant never changes, so that segments encoded with it stay searchable. Better
/// numbers get a new variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Generator {
    /// The paper's construction: dense random signs scaled by 1/√d as projections, cells in binary
    /// order.
    #[default]
    Paper,
    /// Numbers and layout of Google's reference (`graph-mining`, `fixed_dimensional_encoding`):
    /// unscaled count sketches as projections, cells in Gray-code order.
    Google,
}

/// Parameters of fixed-dimensional encodings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FdeSettings {
    /// R, number of repetitions: independent draws of planes and projections.
    pub repetitions: usize,
    /// k, hyperplanes per repetition: 2^k cells.
    pub simhash_projections: usize,
    /// Dimension of a block; `None` keeps the token dimension.
    pub inner_projection: Option<usize>,
    /// Final dimension that all blocks together are projected to; `None` keeps them.
    pub final_projection: Option<usize>,
    /// Fill empty cells of documents with the nearest token.
    pub fill_empty_cells: bool,
    /// Seed of planes and projections; the Google generator uses its low 32 bits.
    pub seed: u64,
    /// Generator of the random numbers.
    pub generator: Generator,
    /// Before encoding, query tokens whose cosine with another is at least this are replaced by
    /// their sum ([`carve_balls`](crate::multivector::encoding::fde::carve_balls)).
    pub ball_carving: Option<f32>,
}

impl Default for FdeSettings {
    /// The paper's 10,240 dimensions: 20 repetitions of 2⁵ cells of 16 dimensions, filled.
    fn default() -> Self {
        Self {
            repetitions: 20,
            simhash_projections: 5,
            inner_projection: Some(16),
            final_projection: None,
            fill_empty_cells: true,
            seed: 42,
            generator: Generator::Paper,
            ball_carving: None,
        }
    }
}

impl FdeSettings {
    /// 2^k, cells per repetition.
    pub fn cells(&self) -> usize {
        1 << self.simhash_projections.min(MAX_SIMHASH_PROJECTIONS)
    }

    /// Dimension of an encoding of tokens of `token_dimension`.
    ///
    /// # Errors
    /// If a parameter is out of bounds; the path names it.
    pub fn dimension(&self, token_dimension: usize) -> Result<usize, InvalidInput> {
        self.validate(token_dimension)?;
        Ok(self.final_projection.unwrap_or(self.full_dimension(token_dimension)))
    }

    /// Dimension before the final projection.
    pub fn full_dimension(&self, token_dimension: usize) -> usize {
        let block = self.inner_projection.unwrap_or(token_dimension);
        self.repetitions.saturating_mul(self.cells()).saturating_mul(block)
    }

    /// Checks every parameter before anything is allocated.
    ///
    /// # Errors
    /// If a parameter is out of bounds; the path names it.
    pub fn validate(&self, token_dimension: usize) -> Result<(), InvalidInput> {
        check_range("token_dimension", 1, limits::MAX_DIMENSION, token_dimension)?;
        check_range("repetitions", 1, MAX_REPETITIONS, self.repetitions)?;
        let planes = self.simhash_projections;
        check_range("simhash_projections", 0, MAX_SIMHASH_PROJECTIONS, planes)?;
        let projected = self.inner_projection.unwrap_or(0);
        if self.inner_projection.is_some() {
            check_range("inner_projection", 1, token_dimension, projected)?;
        }
        let full = self.full_dimension(token_dimension);
        let path = "repetitions · 2^simhash_projections · dimension of a block";
        check_range(path, 1, MAX_FDE_DIMENSION, full)?;
        let elements = token_dimension * self.repetitions * (planes + projected);
        let path = "token dimension · repetitions · (simhash_projections + inner_projection)";
        check_range(path, 0, MAX_MATRIX_ELEMENTS, elements)?;
        if let Some(reduced) = self.final_projection {
            check_range("final_projection", 1, full, reduced)?;
            if self.generator == Generator::Paper {
                let path = "dimension before the final projection · final_projection";
                check_range(path, 1, MAX_SIGNS, full.saturating_mul(reduced))?;
            }
        }
        match self.ball_carving {
            // NaN is in no range.
            Some(threshold) if !(-1.0..=1.0).contains(&threshold) => {
                let got = threshold.to_string();
                let problem = Problem::Mismatch { expected: "a cosine from −1 to 1", got };
                Err(InvalidInput::new("ball_carving", problem))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut FdeSettings)) -> String {
        let mut settings = FdeSettings::default();
        change(&mut settings);
        settings.dimension(128).unwrap_err().to_string()
    }

    #[test]
    fn the_default_has_the_papers_dimensions() {
        assert_eq!(FdeSettings::default().dimension(128), Ok(10_240));
        let plain = FdeSettings { inner_projection: None, ..FdeSettings::default() };
        assert_eq!(plain.dimension(128), Ok(20 * 32 * 128));
        let reduced = FdeSettings { final_projection: Some(1280), ..plain };
        assert_eq!(reduced.dimension(128), Ok(1280));
    }

    #[test]
    fn numbers_out_of_bounds_are_named() {
        assert_eq!(problem(|s| s.repetitions = 0), "repetitions: expected 1 to 1024, got 0");
        let planes = problem(|s| s.simhash_projections = 31);
        assert_eq!(planes, "simhash_projections: expected 0 to 20, got 31");
        let planes = problem(|s| s.simhash_projections = usize::MAX);
        assert!(planes.starts_with("simhash_projections: expected 0 to 20"), "{planes}");
        let inner = problem(|s| s.inner_projection = Some(129));
        assert_eq!(inner, "inner_projection: expected 1 to 128, got 129");
        let inner = problem(|s| s.inner_projection = Some(0));
        assert_eq!(inner, "inner_projection: expected 1 to 128, got 0");
        let full = problem(|s| s.simhash_projections = 15);
        assert!(full.ends_with("expected 1 to 1048576, got 10485760"), "{full}");
        let last = problem(|s| s.final_projection = Some(10_241));
        assert_eq!(last, "final_projection: expected 1 to 10240, got 10241");
        let last = problem(|s| s.final_projection = Some(0));
        assert_eq!(last, "final_projection: expected 1 to 10240, got 0");
        for threshold in [f32::NAN, 1.5, -2.0] {
            let ball = problem(|s| s.ball_carving = Some(threshold));
            assert!(ball.starts_with("ball_carving: expected a cosine"), "{ball}");
        }
    }

    #[test]
    fn matrices_that_would_not_fit_are_refused() {
        let wide = FdeSettings {
            repetitions: 16,
            simhash_projections: 0,
            inner_projection: Some(65_536),
            ..FdeSettings::default()
        };
        let matrix = wide.dimension(65_536).unwrap_err().to_string();
        assert!(matrix.contains("expected 0 to 67108864, got 68719476736"), "{matrix}");
        let signs = FdeSettings {
            inner_projection: None,
            final_projection: Some(40_000),
            ..FdeSettings::default()
        };
        let signs = signs.dimension(128).unwrap_err().to_string();
        assert!(signs.contains("final_projection: expected 1 to 268435456"), "{signs}");
    }
}
