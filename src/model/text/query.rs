//! Queries on text fields.

use super::parse::parse;
use crate::model::{InvalidInput, check_range, limits};

/// A query of words.
///
/// ```
/// use lanner::TextQuery;
///
/// // All words are optional; nothing in the text is an operator.
/// let plain = TextQuery::words("how do neural networks learn?");
/// // `+` requires, `-` excludes, quotes are phrases, `*` and `~` match similar words.
/// let parsed = TextQuery::parse(r#"+neural "deep learning"~2 -review netw* lerning~1"#)?;
/// # let _ = (plain, parsed);
/// # Ok::<(), lanner::InvalidInput>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TextQuery {
    /// The clauses; see [`Occur`] for how they combine.
    pub clauses: Vec<TextClause>,
}

/// One part of a [`TextQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TextClause {
    /// Whether hits need it.
    pub occur: Occur,
    /// What it matches.
    pub pattern: TextPattern,
}

/// Whether hits need a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Occur {
    /// Adds to the score. A query without required clauses finds what matches at least one of these.
    #[default]
    Optional,
    /// Adds to the score, and hits match it.
    Required,
    /// No hit matches it.
    Excluded,
}

/// What a clause of a [`TextQuery`] matches. All texts are analyzed like those of the field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TextPattern {
    /// Any of the words; all of them where the clause is required, and all of them in this order where
    /// it is excluded.
    Words(String),
    /// The words in this order at one path, with at most `slop` other words between the first and the
    /// last in all.
    Phrase {
        /// The words.
        words: String,
        /// Most words in between, 0 to 100.
        slop: u32,
    },
    /// Words that begin with this. Scored as if they were one word.
    Prefix(String),
    /// Words that this becomes with a few changes: a letter inserted, removed or replaced, or two
    /// neighbours exchanged. Scored as if they were one word, of which an occurrence counts
    /// 1 / (1 + changes).
    Fuzzy {
        /// The word.
        word: String,
        /// Most changes, 1 or 2.
        changes: u8,
    },
}

/// Largest slop of a phrase.
const MAX_SLOP: usize = 100;

impl TextQuery {
    /// Any of the words of a text, none of which is an operator: for questions as people type them.
    pub fn words(text: impl Into<String>) -> Self {
        let pattern = TextPattern::Words(text.into());
        Self { clauses: vec![TextClause { occur: Occur::Optional, pattern }] }
    }

    /// Reads a query in which `+word` is required, `-word` excluded, `"some words"` are a phrase
    /// (`"some words"~2` with up to two words in between), `word*` stands for words that begin so, and
    /// `word~1` or `word~2` for words with up to so many changes (`word~` is `word~1`). A backslash
    /// takes the next character as it is.
    ///
    /// # Errors
    /// [`InvalidInput`] at `text` for a quote without its partner, or a number that is none.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        Ok(Self { clauses: parse(text, Occur::Optional)? })
    }

    /// As [`Self::parse`], with every word required that has no `-`: how filters read `match`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn parse_required(text: &str) -> Result<Self, InvalidInput> {
        Ok(Self { clauses: parse(text, Occur::Required)? })
    }

    /// Checks the size of the query.
    ///
    /// # Errors
    /// [`InvalidInput`] at `text`: no or too many clauses, too much text, or a number out of bounds.
    pub(crate) fn validate(&self) -> Result<(), InvalidInput> {
        check_range("text: clauses", 1, limits::MAX_TEXT_TERMS, self.clauses.len())?;
        let (mut bytes, mut expanded) = (0, 0);
        for clause in &self.clauses {
            bytes += clause.pattern.text().len();
            match clause.pattern {
                TextPattern::Phrase { slop, .. } => {
                    check_range("text: slop", 0, MAX_SLOP, slop as usize)?;
                }
                TextPattern::Fuzzy { changes, .. } => {
                    check_range("text: changes", 1, 2, changes.into())?;
                    expanded += 1;
                }
                TextPattern::Prefix(_) => expanded += 1,
                TextPattern::Words(_) => {}
            }
        }
        check_range("text: bytes", 1, limits::MAX_TEXT_QUERY_BYTES, bytes)?;
        let path = "text: words with * or ~";
        check_range(path, 0, limits::MAX_EXPANDED_WORDS, expanded)?;
        if self.clauses.iter().all(|clause| clause.occur == Occur::Excluded) {
            let expected = "a word that hits may have";
            return Err(InvalidInput::mismatch("text", expected, "only excluded words"));
        }
        Ok(())
    }
}

impl TextPattern {
    /// The words of the pattern.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Words(words) | Self::Phrase { words, .. } => words,
            Self::Prefix(word) | Self::Fuzzy { word, .. } => word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bounded() {
        let check = |query: TextQuery| query.validate().map_err(|error| error.to_string());
        assert_eq!(check(TextQuery::words("a")), Ok(()));
        assert!(check(TextQuery::words("")).unwrap_err().starts_with("text: bytes: expected 1 to"));
        assert!(check(TextQuery::words("x".repeat((64 << 10) + 1))).is_err());
        let parsed = |text: &str| TextQuery::parse(text).unwrap();
        assert_eq!(check(parsed("")).unwrap_err(), "text: clauses: expected 1 to 1024, got 0");
        assert!(check(parsed(&"a ".repeat(1025))).unwrap_err().starts_with("text: clauses"));
        assert!(
            check(parsed(&"a~ ".repeat(17))).unwrap_err().starts_with("text: words with * or ~")
        );
        assert!(check(parsed("\"a b\"~101")).unwrap_err().starts_with("text: slop: expected 0 to"));
        let error = check(parsed("-a -b")).unwrap_err();
        assert_eq!(error, "text: expected a word that hits may have, got only excluded words");
    }
}
