//! How the many vectors of a point become one, by which candidates are found.

use serde::{Deserialize, Serialize};

use super::{FdeSettings, InvalidInput};

/// Dimensions of a block of the automatic encoding.
const BLOCK_DIMENSION: usize = 16;

/// How the many vectors of a point become one, by which candidates are found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Encoding {
    /// Fixed-dimensional encodings of 20 repetitions of 2⁵ cells of 16 dimensions, or of as many as
    /// the tokens have if these are fewer.
    #[default]
    Auto,
    /// Fixed-dimensional encodings (MUVERA, arXiv 2405.19504) with these parameters.
    Fde(FdeSettings),
}

impl Encoding {
    /// Whether it is the automatic one.
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// The parameters for tokens of this dimension.
    pub fn fde(&self, token_dimension: usize) -> FdeSettings {
        match self {
            Self::Auto => FdeSettings {
                inner_projection: (token_dimension > BLOCK_DIMENSION).then_some(BLOCK_DIMENSION),
                ..FdeSettings::default()
            },
            Self::Fde(settings) => settings.clone(),
        }
    }

    /// Dimension of the encodings of tokens of this dimension.
    ///
    /// # Errors
    /// If a parameter is out of its bounds; the path names it.
    pub fn dimension(&self, token_dimension: usize) -> Result<usize, InvalidInput> {
        let settings = self.fde(token_dimension);
        settings.dimension(token_dimension).map_err(|error| error.within("encoding"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_automatic_encoding_fits_every_dimension_of_tokens() {
        for (tokens, expected) in [(1, 640), (8, 5120), (16, 10_240), (17, 10_240), (4096, 10_240)]
        {
            assert_eq!(Encoding::Auto.dimension(tokens), Ok(expected), "{tokens}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let settings = FdeSettings { simhash_projections: 40, ..FdeSettings::default() };
        let error = Encoding::Fde(settings).dimension(128).unwrap_err().to_string();
        assert_eq!(error, "encoding.simhash_projections: expected 0 to 20, got 40");
    }

    #[test]
    fn json_names_what_differs_from_the_default() {
        let encoding: Encoding = serde_json::from_str(r#"{"fde": {"repetitions": 10}}"#).unwrap();
        let expected = FdeSettings { repetitions: 10, ..FdeSettings::default() };
        assert_eq!(encoding, Encoding::Fde(expected));
        assert_eq!(serde_json::from_str::<Encoding>(r#""auto""#).unwrap(), Encoding::Auto);
        assert!(serde_json::from_str::<Encoding>(r#"{"fde": {"reps": 10}}"#).is_err());
    }
}
