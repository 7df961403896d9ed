//! How a text becomes the terms that are indexed and searched.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::InvalidInput;

/// How texts, and queries on them, become terms. Every analyzer lowercases, removes accents of Latin
/// letters and drops words of more than 255 bytes.
///
/// As text: `standard`, a language such as `english`, `cjk`, `ngram:3` or `ngram:2-4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Analyzer {
    /// Words as they are: runs of letters and digits.
    #[default]
    Standard,
    /// Words without the language's stop words, reduced to their stems (Snowball).
    Language(Language),
    /// As [`Self::Standard`], with runs of Chinese, Japanese or Korean characters as pairs of neighbours
    /// (bigrams), since they have no spaces between words.
    Cjk,
    /// All substrings of a word of `min` to `max` characters, for search inside of words.
    Ngram {
        /// Length of the shortest, at least 1.
        min: u8,
        /// Length of the longest, at most 16.
        max: u8,
    },
}

/// Longest substring of [`Analyzer::Ngram`].
const MAX_NGRAM: u8 = 16;

macro_rules! languages {
    ($($variant:ident $name:literal),+ $(,)?) => {
        /// A language with a stemmer.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Language { $($variant),+ }

        impl Language {
            /// All languages.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name in lower case, as in `english`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

languages! {
    Arabic "arabic",
    Danish "danish",
    Dutch "dutch",
    English "english",
    Finnish "finnish",
    French "french",
    German "german",
    Greek "greek",
    Hungarian "hungarian",
    Italian "italian",
    Norwegian "norwegian",
    Portuguese "portuguese",
    Romanian "romanian",
    Russian "russian",
    Spanish "spanish",
    Swedish "swedish",
    Tamil "tamil",
    Turkish "turkish",
}

impl fmt::Display for Analyzer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("standard"),
            Self::Language(language) => f.write_str(language.as_str()),
            Self::Cjk => f.write_str("cjk"),
            Self::Ngram { min, max } if min == max => write!(f, "ngram:{min}"),
            Self::Ngram { min, max } => write!(f, "ngram:{min}-{max}"),
        }
    }
}

impl FromStr for Analyzer {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        let expected = "standard, cjk, ngram:MIN-MAX of 1 to 16 characters, or a language: arabic, \
                        danish, dutch, english, finnish, french, german, greek, hungarian, italian, \
                        norwegian, portuguese, romanian, russian, spanish, swedish, tamil or turkish";
        let other = || InvalidInput::mismatch("analyzer", expected, format!("{text:?}"));
        match text {
            "standard" => return Ok(Self::Standard),
            "cjk" => return Ok(Self::Cjk),
            _ => {}
        }
        if let Some(lengths) = text.strip_prefix("ngram:") {
            let (min, max) = lengths.split_once('-').unwrap_or((lengths, lengths));
            let length = |text: &str| text.parse::<u8>().map_err(|_| other());
            let (min, max) = (length(min)?, length(max)?);
            let fits = 1 <= min && min <= max && max <= MAX_NGRAM;
            return if fits { Ok(Self::Ngram { min, max }) } else { Err(other()) };
        }
        let found = Language::ALL.iter().find(|language| language.as_str() == text);
        found.map(|&language| Self::Language(language)).ok_or_else(other)
    }
}

impl Serialize for Analyzer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Analyzer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: InvalidInput| serde::de::Error::custom(error.problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let languages = Language::ALL.iter().map(|&language| Analyzer::Language(language));
        let ngrams = [Analyzer::Ngram { min: 3, max: 3 }, Analyzer::Ngram { min: 1, max: 16 }];
        for analyzer in languages.chain([Analyzer::Standard, Analyzer::Cjk]).chain(ngrams) {
            assert_eq!(analyzer.to_string().parse(), Ok(analyzer));
        }
        for wrong in ["", "English", "klingon", "ngram", "ngram:0", "ngram:4-2", "ngram:1-17"] {
            let error = wrong.parse::<Analyzer>().unwrap_err().to_string();
            assert!(
                error.starts_with("analyzer: expected standard, cjk, ngram:MIN-MAX"),
                "{error}"
            );
            assert!(error.ends_with(&format!("got {wrong:?}")), "{error}");
        }
    }
}
