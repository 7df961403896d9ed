//! Encoding of multi-vectors as one vector, for candidate retrieval.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{FdeSettings, Generator, InvalidInput};

/// Block dimension of the automatic encoding.
const BLOCK_DIMENSION: usize = 16;

/// Encoding of a multi-vector as one vector, by which candidates are retrieved.
///
/// As text: `auto`, or `fde` and then, after colons, whatever differs from the default:
/// `repetitions=20`, `planes=5`, `block=16` (0 keeps the token dimension), `final=1280`, `seed=42`,
/// `carve=0.7`, `empty` to leave empty cells empty, `google` for the reference generator.
///
/// ```
/// use lanner::Encoding;
///
/// let encoding: Encoding = "fde:repetitions=10:block=8".parse()?;
/// assert_eq!(encoding.dimension(128)?, 10 * 32 * 8);
/// # Ok::<(), lanner::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Fixed-dimensional encodings of 20 repetitions of 2⁵ cells of 16 dimensions, or of the token
    /// dimension if that is smaller.
    #[default]
    Auto,
    /// Fixed-dimensional encodings (MUVERA, arXiv 2405.19504) with these parameters.
    Fde(FdeSettings),
}

impl Encoding {
    /// True for [`Self::Auto`].
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// The parameters for tokens of dimension `token_dimension`.
    pub fn fde(&self, token_dimension: usize) -> FdeSettings {
        match self {
            Self::Auto => FdeSettings {
                inner_projection: (token_dimension > BLOCK_DIMENSION).then_some(BLOCK_DIMENSION),
                ..FdeSettings::default()
            },
            Self::Fde(settings) => settings.clone(),
        }
    }

    /// Dimension of the encodings for tokens of dimension `token_dimension`.
    ///
    /// # Errors
    /// If a parameter is out of bounds; the path names it.
    pub fn dimension(&self, token_dimension: usize) -> Result<usize, InvalidInput> {
        let settings = self.fde(token_dimension);
        settings.dimension(token_dimension).map_err(|error| error.within("encoding"))
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Fde(settings) = self else { return f.write_str("auto") };
        let default = FdeSettings::default();
        f.write_str("fde")?;
        for (name, number, default) in [
            ("repetitions", settings.repetitions, default.repetitions),
            ("planes", settings.simhash_projections, default.simhash_projections),
            ("block", settings.inner_projection.unwrap_or(0), BLOCK_DIMENSION),
            ("final", settings.final_projection.unwrap_or(0), 0),
        ] {
            if number != default {
                write!(f, ":{name}={number}")?;
            }
        }
        if settings.seed != default.seed {
            write!(f, ":seed={}", settings.seed)?;
        }
        if let Some(cosine) = settings.ball_carving {
            write!(f, ":carve={cosine}")?;
        }
        f.write_str(if settings.fill_empty_cells { "" } else { ":empty" })?;
        f.write_str(if settings.generator == Generator::Google { ":google" } else { "" })
    }
}

impl FromStr for Encoding {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let malformed = || {
            let expected = "auto, or fde with [:repetitions=N][:planes=N][:block=N][:final=N]\
                            [:seed=N][:carve=COSINE][:empty][:google]";
            InvalidInput::mismatch("encoding", expected, text)
        };
        let mut parts = text.split(':');
        match parts.next() {
            Some("auto") if text == "auto" => return Ok(Self::Auto),
            Some("fde") => {}
            _ => return Err(malformed()),
        }
        let mut settings = FdeSettings::default();
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let number = || value.parse::<usize>().map_err(|_| malformed());
            match name {
                "repetitions" => settings.repetitions = number()?,
                "planes" => settings.simhash_projections = number()?,
                "block" => settings.inner_projection = Some(number()?).filter(|&block| block > 0),
                "final" => settings.final_projection = Some(number()?),
                "seed" => settings.seed = value.parse().map_err(|_| malformed())?,
                "carve" => {
                    settings.ball_carving = Some(value.parse().map_err(|_| malformed())?);
                }
                "empty" if value.is_empty() => settings.fill_empty_cells = false,
                "google" if value.is_empty() => settings.generator = Generator::Google,
                _ => return Err(malformed()),
            }
        }
        Ok(Self::Fde(settings))
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
    fn text_is_read_back() {
        for text in [
            "auto",
            "fde",
            "fde:repetitions=10:planes=4:block=8:final=640:seed=7:carve=0.7:empty:google",
            "fde:block=0",
        ] {
            let encoding: Encoding = text.parse().unwrap();
            assert_eq!(encoding.to_string(), text);
        }
        for text in ["", "auto:planes=3", "muvera", "fde:planes", "fde:planes=-1", "fde:empty=1"] {
            let error = text.parse::<Encoding>().unwrap_err().to_string();
            assert!(error.starts_with("encoding: expected auto, or fde"), "{text}: {error}");
        }
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
