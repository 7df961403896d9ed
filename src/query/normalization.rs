//! Normalised scores, so that those of different fields and metrics can be added.
//!
//! A convex combination of normalised scores ranks better than reciprocal ranks where its weights
//! fit the data (Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval",
//! ACM TOIS 2023, arXiv 2210.11934). The paper combines a lexical and a semantic score with the
//! weights 1 − α and α; here there may be more queries, and weights need not sum to 1, since a common
//! factor changes no rank.

use std::fmt;
use std::str::FromStr;

use super::pieces::Ground;
use super::request::{Hit, QueryRequest};
use crate::model::{InvalidInput, Metric, VectorField, VectorKind};

/// How the scores of one query are mapped to a common scale; higher stays better.
///
/// Minimum, maximum, mean and deviation are those of the hits that take part, as many as the
/// `limit` of the query. They therefore depend on that limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalization {
    /// (s − min) / (max − min), within 0..=1. If all scores are equal, each is 1. A point that the
    /// query did not find gets 0, as the worst hit does.
    MinMax,
    /// (s − mean) / standard deviation (of the population, not of a sample). If all scores are
    /// equal, each is 0. A point that the query did not find gets the value of the worst hit.
    ZScore,
    /// (s − inf) / (max − inf), within 0..=1, where inf is the infimum of the score function
    /// instead of the minimum of the hits: −1 under cosine, and −n for a multi-vector query of n
    /// vectors under cosine. A point that the query did not find gets 0, as does a hit with the
    /// infimum as its score. The infimum of words (BM25) and of sparse vectors is 0. Others under dot and l2 are refused:
    /// their scores have no infimum.
    ///
    /// This is the normalisation of TM2C2 of Bruch et al.: unlike the minimum of a list, the infimum
    /// does not depend on which points were found.
    TheoreticalMinMax,
}

impl Normalization {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MinMax, Self::ZScore, Self::TheoreticalMinMax];

    /// `min-max`, `z-score` or `theoretical-min-max`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MinMax => "min-max",
            Self::ZScore => "z-score",
            Self::TheoreticalMinMax => "theoretical-min-max",
        }
    }
}

impl fmt::Display for Normalization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Normalization {
    type Err = InvalidInput;

    /// Parses the text of [`Self::as_str`].
    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let found = Self::ALL.into_iter().find(|normalization| normalization.as_str() == text);
        let expected = "min-max, z-score or theoretical-min-max";
        found.ok_or_else(|| InvalidInput::mismatch("normalization", expected, text))
    }
}

/// The linear map that normalises the scores of one query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Score that is mapped to 0.
    zero: f64,
    /// Difference of scores that is mapped to 1; 0 if every score is mapped to `constant`.
    unit: f64,
    constant: f64,
    /// Normalised score of a point that the query did not find, and the least of any point.
    missing: f64,
}

impl Scale {
    /// Min-max over the hits.
    pub fn min_max(hits: &[Hit]) -> Self {
        let (min, max) = extremes(hits);
        Self { zero: min, unit: max - min, constant: 1.0, missing: 0.0 }
    }

    /// Theoretical min-max, given the infimum of the score function.
    pub fn theoretical_min_max(hits: &[Hit], infimum: f64) -> Self {
        let (_, max) = extremes(hits);
        // Codes and rounding can put scores just below the infimum.
        Self { zero: infimum, unit: (max - infimum).max(0.0), constant: 0.0, missing: 0.0 }
    }

    /// The z-score over the hits.
    pub fn z_score(hits: &[Hit]) -> Self {
        let (min, max) = extremes(hits);
        if min == max {
            // Compared, since the deviation of equal scores need not round to 0.
            return Self { zero: min, unit: 0.0, constant: 0.0, missing: 0.0 };
        }
        let count = hits.len() as f64;
        let mean = hits.iter().map(|hit| finite(hit.score)).sum::<f64>() / count;
        let square = |hit: &Hit| (finite(hit.score) - mean).powi(2);
        let deviation = (hits.iter().map(square).sum::<f64>() / count).sqrt();
        Self { zero: mean, unit: deviation, constant: 0.0, missing: (min - mean) / deviation }
    }

    /// The normalised score of a hit; never NaN.
    pub fn apply(&self, score: f32) -> f64 {
        if self.unit == 0.0 {
            return self.constant;
        }
        ((finite(score) - self.zero) / self.unit).max(self.missing)
    }

    /// The normalised score of a point that the query did not find.
    pub fn missing(&self) -> f64 {
        self.missing
    }
}

/// The least and the greatest score; 0 and 0 of no hits.
fn extremes(hits: &[Hit]) -> (f64, f64) {
    let scores = || hits.iter().map(|hit| finite(hit.score));
    let (min, max) =
        (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
    if hits.is_empty() { (0.0, 0.0) } else { (min, max) }
}

/// A score as a finite number, whose differences and squares are finite in double precision. Scores
/// of overflowing sums are infinite.
fn finite(score: f32) -> f64 {
    let score = if score.is_nan() { f32::MIN } else { score };
    f64::from(score.clamp(f32::MIN, f32::MAX))
}

/// Infimum of the scores that hits of `request` can have: those of its second stage, if it has one.
///
/// # Errors
/// [`InvalidInput`] if there is no such field, or if its scores have no infimum.
pub fn infimum(ground: &Ground<'_>, request: &QueryRequest) -> Result<f64, InvalidInput> {
    let (name, query) = match &request.rescore {
        Some(rescore) => (&rescore.field, &rescore.query),
        None => (&request.field, &request.query),
    };
    // BM25 adds nothing for a word that is not there.
    if ground.config.text.contains_key(name) {
        return Ok(0.0);
    }
    let (field, settings) = ground.config.field(name)?;
    let vectors = || ground.query_values(field, settings, query) / settings.dimension.max(1) as u64;
    infimum_of(settings, vectors).ok_or_else(|| {
        let expected = "a field whose scores have an infimum (under cosine, of text, or sparse) for theoretical-min-max";
        InvalidInput::mismatch(format!("field {name:?}"), expected, settings.metric.as_str())
    })
}

/// Infimum of the score function of a field, for a query of `vectors` vectors; `None` if scores are
/// not bounded below.
fn infimum_of(settings: &VectorField, vectors: impl FnOnce() -> u64) -> Option<f64> {
    match (settings.metric, settings.kind) {
        (_, VectorKind::Sparse) => Some(0.0),
        (Metric::Cosine, VectorKind::Single) => Some(-1.0),
        (Metric::Cosine, VectorKind::Multi) => Some(-(vectors() as f64)),
        (Metric::Dot | Metric::L2, _) => None,
    }
}
