//! Compression settings of a vector field.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{InvalidInput, Metric, Problem, VectorField, VectorKind, check_range};

/// Compression of a field: the codes that are scanned (*primary*), the code that re-ranks
/// candidates (*secondary*), and whether the raw vectors are kept.
///
/// As text: the primary code, then, after slashes, whatever differs from the default: `auto`,
/// `lvq8:160`, `lvq4:192:sphering/f16`, `auto/lvq8/drop-raw`.
///
/// ```
/// use lanner::{Compression, Primary};
///
/// let compression: Compression = "lvq4:192/lvq8/drop-raw".parse()?;
/// assert!(!compression.keep_raw);
/// assert_eq!(compression.to_string(), "lvq4:192/lvq8/drop-raw");
/// # Ok::<(), lanner::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compression {
    /// The codes that are scanned.
    #[serde(default)]
    pub primary: Primary,
    /// Code that re-ranks the candidates of a scan.
    #[serde(default)]
    pub secondary: Secondary,
    /// Keep the raw vectors. If false, returned vectors are reconstructed from their secondary
    /// codes, and exact queries are only as exact as those codes.
    #[serde(default = "keep")]
    pub keep_raw: bool,
}

fn keep() -> bool {
    true
}

/// Primary codes: those that are scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Primary {
    /// No codes: every query is an exact scan.
    None,
    /// The smallest code that preserves the nearest neighbours, measured on held-out vectors.
    #[default]
    Auto,
    /// This code.
    Codes(CodeSettings),
}

/// An explicitly chosen primary code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeSettings {
    /// Scalar quantization.
    pub code: LvqCode,
    /// Dimension after reduction (LeanVec); all dimensions if `None`.
    #[serde(default)]
    pub dimension: Option<usize>,
    /// Method that learns the reduction. If `None`, the one that measures best on the training
    /// queries, or PCA without training queries.
    #[serde(default)]
    pub reduction: Option<ReductionMethod>,
}

/// Locally adaptive vector quantization (LVQ): scalar quantization with a range per vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LvqCode {
    /// 8 bits per dimension.
    Lvq8,
    /// 4 bits per dimension.
    Lvq4,
    /// 4 bits per dimension, and 4 more for the residual, which re-rank.
    Lvq4x4,
    /// 4 bits per dimension, and 8 more for the residual, which re-rank.
    Lvq4x8,
}

/// Method that learns a reduction to fewer dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReductionMethod {
    /// Principal components of the vectors; needs no queries.
    Pca,
    /// Eigenvector search between the principal components of queries and vectors.
    EigenSearch,
    /// Frank–Wolfe, initialized by the eigenvector search.
    FrankWolfe,
    /// The unconstrained optimum, with different maps for queries and vectors.
    Sphering,
}

/// Secondary code: re-ranks the candidates of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Secondary {
    /// The second level of a two-level code; otherwise the raw vectors if they are kept, or LVQ8.
    /// The residual code with 4 bits for the tokens of a multi field.
    #[default]
    Auto,
    /// The vectors as stored.
    Raw,
    /// 8 bits per dimension.
    Lvq8,
    /// 4 bits per dimension.
    Lvq4,
    /// Half precision.
    F16,
    /// Multi fields: the nearest of many centroids, and 8 bits per dimension for the rest.
    Residual8,
    /// Multi fields: the nearest of many centroids, and 4 bits per dimension for the rest.
    Residual4,
    /// Multi fields: the nearest of many centroids, and 2 bits per dimension for the rest.
    Residual2,
}

impl Default for Compression {
    fn default() -> Self {
        Self { primary: Primary::Auto, secondary: Secondary::Auto, keep_raw: true }
    }
}

impl Compression {
    /// No codes: every query is an exact scan.
    pub fn none() -> Self {
        Self { primary: Primary::None, ..Self::default() }
    }

    /// This code over all dimensions.
    pub fn lvq(code: LvqCode) -> Self {
        Self::codes(CodeSettings { code, dimension: None, reduction: None })
    }

    /// LeanVec: this code over `dimension` learned dimensions.
    pub fn leanvec(code: LvqCode, dimension: usize) -> Self {
        Self::codes(CodeSettings { code, dimension: Some(dimension), reduction: None })
    }

    fn codes(settings: CodeSettings) -> Self {
        Self { primary: Primary::Codes(settings), ..Self::default() }
    }

    /// Sets the secondary code.
    #[must_use]
    pub fn with_secondary(self, secondary: Secondary) -> Self {
        Self { secondary, ..self }
    }

    /// Drops the raw vectors.
    #[must_use]
    pub fn drop_raw(self) -> Self {
        Self { keep_raw: false, ..self }
    }

    /// The secondary code with `auto` resolved. Meaningless for two-level codes, whose second level
    /// re-ranks.
    pub fn resolved_secondary(self) -> Secondary {
        match self.secondary {
            Secondary::Auto if self.keep_raw => Secondary::Raw,
            Secondary::Auto => Secondary::Lvq8,
            chosen => chosen,
        }
    }

    fn is_explicit(self) -> bool {
        matches!(self.primary, Primary::Codes(_)) || self.secondary != Secondary::Auto
    }

    /// Checks the settings against their field.
    ///
    /// # Errors
    /// [`InvalidInput`] at the setting that is out of bounds or conflicts with another.
    pub(super) fn validate(&self, field: &VectorField) -> Result<(), InvalidInput> {
        let refuse = |path: &str, expected: &'static str, got: String| {
            Err(InvalidInput::mismatch(path, expected, got))
        };
        let multi = field.kind == VectorKind::Multi;
        if multi && field.metric == Metric::L2 && (self.is_explicit() || !self.keep_raw) {
            let expected = "`auto` or `none` for a multi field under l2, whose vectors are scanned";
            return refuse("compression", expected, self.to_string());
        }
        let of_tokens = [Secondary::Residual8, Secondary::Residual4, Secondary::Residual2];
        if of_tokens.contains(&self.secondary) && !multi {
            let expected = "auto, raw, lvq8, lvq4 or f16 for a single-vector field";
            return refuse("compression.secondary", expected, self.secondary.to_string());
        }
        if let Primary::Codes(settings) = self.primary {
            let two_levels = matches!(settings.code, LvqCode::Lvq4x4 | LvqCode::Lvq4x8);
            if let Some(dimension) = settings.dimension {
                check_range("compression.dimension", 1, field.coded_dimension(), dimension)?;
                if two_levels {
                    let expected = "lvq8 or lvq4 with a reduced dimension";
                    return refuse("compression.code", expected, settings.code.to_string());
                }
            } else if let Some(reduction) = settings.reduction {
                let expected = "a reduced dimension with a reduction";
                return refuse("compression.reduction", expected, reduction.to_string());
            }
            if two_levels && multi {
                let expected = "lvq8 or lvq4 for a multi field, whose tokens re-rank";
                return refuse("compression.code", expected, settings.code.to_string());
            }
            if two_levels && self.secondary != Secondary::Auto {
                let expected = "`auto` for a two-level code, whose second level re-ranks";
                return refuse("compression.secondary", expected, self.secondary.to_string());
            }
        }
        if !self.keep_raw && (self.primary == Primary::None || self.secondary == Secondary::Raw) {
            let expected = "true where nothing else holds the vectors";
            return refuse("compression.keep_raw", expected, "false".into());
        }
        Ok(())
    }
}

/// Names of the variants of an enum, the same in JSON, on the command line and in messages.
macro_rules! names {
    ($type:ty, $what:literal, $($value:path => $name:literal),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($value => $name),+ })
            }
        }

        impl FromStr for $type {
            type Err = InvalidInput;

            fn from_str(text: &str) -> Result<Self, InvalidInput> {
                const EXPECTED: &str = concat!("one of" $(, " ", $name)+);
                match text {
                    $($name => Ok($value),)+
                    _ => {
                        let problem = Problem::Mismatch { expected: EXPECTED, got: text.into() };
                        Err(InvalidInput::new($what, problem))
                    }
                }
            }
        }
    };
}

names!(LvqCode, "compression.code", Self::Lvq8 => "lvq8", Self::Lvq4 => "lvq4",
    Self::Lvq4x4 => "lvq4x4", Self::Lvq4x8 => "lvq4x8");
names!(ReductionMethod, "compression.reduction", Self::Pca => "pca",
    Self::EigenSearch => "eigen_search", Self::FrankWolfe => "frank_wolfe",
    Self::Sphering => "sphering");
names!(Secondary, "compression.secondary", Self::Auto => "auto", Self::Raw => "raw",
    Self::Lvq8 => "lvq8", Self::Lvq4 => "lvq4", Self::F16 => "f16",
    Self::Residual8 => "residual8", Self::Residual4 => "residual4",
    Self::Residual2 => "residual2");

impl fmt::Display for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Auto => f.write_str("auto"),
            Self::Codes(settings) => settings.fmt(f),
        }
    }
}

impl fmt::Display for CodeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        if let Some(dimension) = self.dimension {
            write!(f, ":{dimension}")?;
        }
        if let Some(reduction) = self.reduction {
            write!(f, ":{reduction}")?;
        }
        Ok(())
    }
}

impl FromStr for Primary {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        match text {
            "none" => return Ok(Self::None),
            "auto" => return Ok(Self::Auto),
            _ => {}
        }
        let mut parts = text.split(':');
        let code = parts.next().unwrap_or_default().parse().map_err(|_| malformed(text))?;
        let dimension = parts.next().map(|part| part.parse().map_err(|_| malformed(text)));
        let reduction = parts.next().map(str::parse);
        if parts.next().is_some() {
            return Err(malformed(text));
        }
        let (dimension, reduction) = (dimension.transpose()?, reduction.transpose()?);
        Ok(Self::Codes(CodeSettings { code, dimension, reduction }))
    }
}

fn malformed(text: &str) -> InvalidInput {
    let expected =
        "none, auto, or a code (lvq8, lvq4, lvq4x4, lvq4x8) with [:dimension[:reduction]]";
    InvalidInput::new("compression", Problem::Mismatch { expected, got: text.into() })
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.primary.fmt(f)?;
        if self.secondary != Secondary::Auto {
            write!(f, "/{}", self.secondary)?;
        }
        f.write_str(if self.keep_raw { "" } else { "/drop-raw" })
    }
}

impl FromStr for Compression {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let mut parts = text.split('/');
        let primary = parts.next().unwrap_or_default().parse()?;
        let mut compression = Self { primary, ..Self::default() };
        for part in parts {
            match part {
                "drop-raw" => compression.keep_raw = false,
                part => compression.secondary = part.parse()?,
            }
        }
        Ok(compression)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Metric;

    #[test]
    fn text_and_json_are_read_back() {
        for text in [
            "auto",
            "none",
            "lvq8",
            "lvq4x8",
            "lvq8:160",
            "lvq4:192:sphering/f16",
            "auto/lvq4",
            "auto/lvq8/drop-raw",
            "lvq4x4/drop-raw",
            "auto/residual2",
        ] {
            let compression: Compression = text.parse().unwrap();
            assert_eq!(compression.to_string(), text);
            let json = serde_json::to_string(&compression).unwrap();
            assert_eq!(serde_json::from_str::<Compression>(&json).unwrap(), compression);
        }
        assert_eq!(serde_json::from_str::<Compression>("{}").unwrap(), Compression::default());
    }

    #[test]
    fn malformed_text_says_what_is_expected() {
        let refused = |text: &str| text.parse::<Compression>().unwrap_err().to_string();
        for text in ["", "lvq2", "lvq8:x", "lvq8:16:pca:1", "pq"] {
            assert!(refused(text).contains("lvq8, lvq4"), "{text}: {}", refused(text));
        }
        assert_eq!(
            refused("lvq8:16:umap"),
            "compression.reduction: expected one of pca eigen_search frank_wolfe sphering, got umap"
        );
        assert!(refused("auto/zip").starts_with("compression.secondary: expected one of"));
    }

    #[test]
    fn settings_that_do_not_go_together_are_refused() {
        let check = |field: VectorField, text: &str| {
            text.parse::<Compression>().unwrap().validate(&field).map_err(|e| e.to_string())
        };
        let field = || VectorField::single(8, Metric::Dot);
        for text in
            ["auto", "none", "lvq8:8", "auto/lvq4", "lvq8:1:pca/f16/drop-raw", "lvq4x8/drop-raw"]
        {
            assert_eq!(check(field(), text), Ok(()), "{text}");
        }
        assert_eq!(
            check(field(), "lvq8:9").unwrap_err(),
            "compression.dimension: expected 1 to 8, got 9"
        );
        for (text, path) in [
            ("lvq4x4:4", "compression.code"),
            ("lvq4x8/f16", "compression.secondary"),
            ("none/drop-raw", "compression.keep_raw"),
            ("auto/raw/drop-raw", "compression.keep_raw"),
        ] {
            assert!(check(field(), text).unwrap_err().starts_with(path), "{text}");
        }
    }

    #[test]
    fn codes_of_a_multi_field_are_those_of_its_encodings() {
        let check = |metric: Metric, text: &str| {
            let field = VectorField::multi(8, metric);
            text.parse::<Compression>().unwrap().validate(&field).map_err(|e| e.to_string())
        };
        for text in ["auto", "none", "lvq8", "lvq8:5120:pca", "lvq4:100/lvq4/drop-raw", "auto/f16"]
        {
            assert_eq!(check(Metric::Dot, text), Ok(()), "{text}");
            let explicit = !matches!(text, "auto" | "none");
            assert_eq!(check(Metric::L2, text).is_err(), explicit, "{text}");
        }
        assert_eq!(
            check(Metric::Cosine, "lvq8:5121").unwrap_err(),
            "compression.dimension: expected 1 to 5120, got 5121"
        );
        assert!(check(Metric::Dot, "lvq4x4").unwrap_err().starts_with("compression.code"));
        assert!(check(Metric::L2, "auto/drop-raw").unwrap_err().starts_with("compression:"));
    }
}
