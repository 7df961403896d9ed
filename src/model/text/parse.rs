//! Reads the query language of text fields.

use std::iter::Peekable;
use std::str::Chars;

use super::{Occur, TextClause, TextPattern};
use crate::model::InvalidInput;

/// Reads clauses; those without a sign get `occur`.
///
/// # Errors
/// As [`super::TextQuery::parse`].
pub fn parse(text: &str, occur: Occur) -> Result<Vec<TextClause>, InvalidInput> {
    let mut reader = Reader { rest: text.chars().peekable() };
    let mut clauses = Vec::new();
    while let Some(clause) = reader.clause(occur)? {
        clauses.push(clause);
    }
    Ok(clauses)
}

struct Reader<'t> {
    rest: Peekable<Chars<'t>>,
}

impl Reader<'_> {
    fn clause(&mut self, occur: Occur) -> Result<Option<TextClause>, InvalidInput> {
        while self.rest.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(&first) = self.rest.peek() else { return Ok(None) };
        let occur = match first {
            '+' => Occur::Required,
            '-' => Occur::Excluded,
            _ => occur,
        };
        if matches!(first, '+' | '-') {
            self.rest.next();
        }
        let pattern = match self.rest.next_if_eq(&'"') {
            Some(_) => self.phrase()?,
            None => self.word()?,
        };
        Ok(Some(TextClause { occur, pattern }))
    }

    /// The rest of a phrase, behind its first quote.
    fn phrase(&mut self) -> Result<TextPattern, InvalidInput> {
        let mut words = String::new();
        loop {
            match self.rest.next() {
                Some('"') => break,
                Some('\\') => words.extend(self.rest.next()),
                Some(other) => words.push(other),
                None => {
                    let begun = words.chars().take(40).collect::<String>();
                    let got = format!("the end after \"{begun}");
                    return Err(InvalidInput::mismatch("text", "a closing quote", got));
                }
            }
        }
        let slop = match self.rest.next_if_eq(&'~') {
            Some(_) => self.number("a number after ~")?.unwrap_or(0),
            None => 0,
        };
        Ok(TextPattern::Phrase { words, slop })
    }

    fn word(&mut self) -> Result<TextPattern, InvalidInput> {
        let mut word = String::new();
        while let Some(next) = self.rest.next_if(|c| !c.is_whitespace() && *c != '"') {
            match next {
                '\\' => word.extend(self.rest.next()),
                '~' if !word.is_empty() => {
                    let changes = self.number("1 or 2 after ~")?.unwrap_or(1);
                    let changes = u8::try_from(changes).unwrap_or(u8::MAX);
                    return Ok(TextPattern::Fuzzy { word, changes });
                }
                '*' if !word.is_empty() && self.is_at_end() => {
                    return Ok(TextPattern::Prefix(word));
                }
                other => word.push(other),
            }
        }
        Ok(TextPattern::Words(word))
    }

    fn is_at_end(&mut self) -> bool {
        self.rest.peek().is_none_or(|c| c.is_whitespace())
    }

    /// Digits up to the end of the word; `None` without any.
    fn number(&mut self, expected: &'static str) -> Result<Option<u32>, InvalidInput> {
        let mut digits = String::new();
        while let Some(next) = self.rest.next_if(|c| !c.is_whitespace()) {
            digits.push(next);
        }
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse().map(Some);
        number.map_err(|_| {
            let got: String = digits.chars().take(40).collect();
            InvalidInput::mismatch("text", expected, format!("{got:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Occur, TextPattern)> {
        let clauses = parse(text, Occur::Optional).unwrap();
        clauses.into_iter().map(|clause| (clause.occur, clause.pattern)).collect()
    }

    fn words(text: &str) -> TextPattern {
        TextPattern::Words(text.into())
    }

    #[test]
    fn signs_quotes_and_suffixes_are_read() {
        use Occur::{Excluded, Optional, Required};
        let phrase = |words: &str, slop| TextPattern::Phrase { words: words.into(), slop };
        let fuzzy = |word: &str, changes| TextPattern::Fuzzy { word: word.into(), changes };
        assert_eq!(
            read("a +b -c \"d e\" +\"f  g\"~3 h* i~ j~2 IL-6"),
            [
                (Optional, words("a")),
                (Required, words("b")),
                (Excluded, words("c")),
                (Optional, phrase("d e", 0)),
                (Required, phrase("f  g", 3)),
                (Optional, TextPattern::Prefix("h".into())),
                (Optional, fuzzy("i", 1)),
                (Optional, fuzzy("j", 2)),
                (Optional, words("IL-6")),
            ]
        );
    }

    #[test]
    fn what_is_no_operator_is_text() {
        assert_eq!(read(" \t\n"), []);
        assert_eq!(read("a*b * ~ c:d [e TO f]").len(), 7);
        assert_eq!(
            read(r"\+a b\*"),
            [(Occur::Optional, words("+a")), (Occur::Optional, words("b*"))]
        );
        assert_eq!(read("- +"), [(Occur::Excluded, words("")), (Occur::Required, words(""))]);
        assert_eq!(read("a\"b\"").len(), 2);
        let required = parse("a -b", Occur::Required).unwrap();
        assert_eq!((required[0].occur, required[1].occur), (Occur::Required, Occur::Excluded));
    }

    #[test]
    fn half_a_quote_and_half_a_number_are_errors() {
        let error = |text: &str| parse(text, Occur::Optional).unwrap_err().to_string();
        assert_eq!(error("a \"b c"), "text: expected a closing quote, got the end after \"b c");
        assert_eq!(error("a~x"), "text: expected 1 or 2 after ~, got \"x\"");
        assert_eq!(error("\"a\"~-1"), "text: expected a number after ~, got \"-1\"");
    }
}
