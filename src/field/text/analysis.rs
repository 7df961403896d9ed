//! From texts to terms.
//!
//! Words are those of Unicode's text segmentation (UAX #29), as in Lucene's `StandardTokenizer`, in
//! lower case and composed (NFC). Those of a language are then compared with its stop words, stemmed by
//! Snowball, and last of all lose their accents.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tantivy::tokenizer::{
    AsciiFoldingFilter, BoxTokenStream, Language as Stems, RemoveLongFilter, Stemmer,
    StopWordFilter, TextAnalyzer, Token, TokenStream, Tokenizer,
};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use crate::model::{Analyzer, Language};

/// Longer words, in bytes, are dropped, as in Lucene.
const MAX_WORD_BYTES: usize = 255;

/// A tantivy analyzer for the settings of a field.
pub fn analyzer(settings: Analyzer) -> TextAnalyzer {
    let cut = match settings {
        Analyzer::Standard | Analyzer::Language(_) => Cut::Words,
        Analyzer::Cjk => Cut::Bigrams,
        Analyzer::Ngram { min, max } => Cut::Substrings { min: min.into(), max: max.into() },
    };
    let words = TextAnalyzer::builder(WordTokenizer { cut, pieces: Pieces::default() })
        .filter(RemoveLongFilter::limit(MAX_WORD_BYTES + 1));
    let Analyzer::Language(language) = settings else {
        return words.filter(AsciiFoldingFilter).build();
    };
    let stems = stems(language);
    let stemmer = Stemmer::new(stems);
    // Stop words and stems are spelled with their accents.
    match StopWordFilter::new(stems) {
        Some(stop) => words.filter(stop).filter(stemmer).filter(AsciiFoldingFilter).build(),
        None => words.filter(stemmer).filter(AsciiFoldingFilter).build(),
    }
}

fn stems(language: Language) -> Stems {
    match language {
        Language::Arabic => Stems::Arabic,
        Language::Danish => Stems::Danish,
        Language::Dutch => Stems::Dutch,
        Language::English => Stems::English,
        Language::Finnish => Stems::Finnish,
        Language::French => Stems::French,
        Language::German => Stems::German,
        Language::Greek => Stems::Greek,
        Language::Hungarian => Stems::Hungarian,
        Language::Italian => Stems::Italian,
        Language::Norwegian => Stems::Norwegian,
        Language::Portuguese => Stems::Portuguese,
        Language::Romanian => Stems::Romanian,
        Language::Russian => Stems::Russian,
        Language::Spanish => Stems::Spanish,
        Language::Swedish => Stems::Swedish,
        Language::Tamil => Stems::Tamil,
        Language::Turkish => Stems::Turkish,
    }
}

/// Visits the terms of a text with their positions until `visit` breaks; stop words leave gaps.
pub fn visit_terms(
    analyzer: &mut TextAnalyzer,
    text: &str,
    visit: &mut dyn FnMut(u32, &str) -> ControlFlow<()>,
) {
    let mut stream = analyzer.token_stream(text);
    while let Some(token) = stream.next() {
        if visit(token.position as u32, &token.text).is_break() {
            return;
        }
    }
}

/// Counts terms that an analyzer makes.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU32>);

impl Counter {
    /// The count since the last call.
    pub fn take(&self) -> u32 {
        // Relaxed: the counter orders nothing else.
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// An analyzer that counts its terms.
pub fn counted(inner: TextAnalyzer, counter: &Counter) -> TextAnalyzer {
    TextAnalyzer::from(Counted { inner, counter: counter.clone() })
}

#[derive(Clone)]
struct Counted {
    inner: TextAnalyzer,
    counter: Counter,
}

impl Tokenizer for Counted {
    type TokenStream<'a> = CountedStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> CountedStream<'a> {
        CountedStream { inner: self.inner.token_stream(text), counter: &self.counter }
    }
}

struct CountedStream<'a> {
    inner: BoxTokenStream<'a>,
    counter: &'a Counter,
}

impl TokenStream for CountedStream<'_> {
    fn advance(&mut self) -> bool {
        let more = self.inner.advance();
        self.counter.0.fetch_add(u32::from(more), Ordering::Relaxed);
        more
    }

    fn token(&self) -> &Token {
        self.inner.token()
    }

    fn token_mut(&mut self) -> &mut Token {
        self.inner.token_mut()
    }
}

/// What becomes a token.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Words,
    /// Words, but pairs of neighbouring CJK characters.
    Bigrams,
    /// Substrings of words, by number of characters.
    Substrings {
        min: usize,
        max: usize,
    },
}

/// The tokenizer of all analyzers.
#[derive(Debug, Clone)]
struct WordTokenizer {
    cut: Cut,
    pieces: Pieces,
}

/// The tokens of a text, cut in advance.
#[derive(Debug, Clone, Default)]
struct Pieces {
    /// The normalised words.
    text: String,
    list: Vec<Piece>,
    next: usize,
    token: Token,
}

/// A token.
#[derive(Debug, Clone)]
struct Piece {
    /// In the normalised text.
    bytes: Range<usize>,
    /// In the text itself.
    offsets: Range<usize>,
    position: usize,
}

/// A CJK character, or a run of others.
struct Unit {
    bytes: Range<usize>,
    offsets: Range<usize>,
    cjk: bool,
    /// Whether nothing is between it and the unit before.
    joined: bool,
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = PieceStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> PieceStream<'a> {
        let pieces = &mut self.pieces;
        pieces.text.clear();
        pieces.list.clear();
        pieces.next = 0;
        pieces.token.reset();
        for (position, (start, word)) in text.unicode_word_indices().enumerate() {
            let offsets = start..start + word.len();
            let from = pieces.text.len();
            normalise(word, &mut pieces.text);
            let bytes = from..pieces.text.len();
            if bytes.is_empty() {
                continue;
            }
            let piece = Piece { bytes, offsets, position };
            match self.cut {
                Cut::Words | Cut::Bigrams => pieces.list.push(piece),
                Cut::Substrings { min, max } => pieces.substrings(&piece, min, max),
            }
        }
        if matches!(self.cut, Cut::Bigrams) {
            pieces.bigrams();
        }
        PieceStream(pieces)
    }
}

impl Pieces {
    /// Cuts words into runs of CJK characters and others, and runs of CJK characters, which may go over
    /// several words without spaces, into pairs of neighbours; a lone character stays.
    fn bigrams(&mut self) {
        let words = std::mem::take(&mut self.list);
        let mut units: Vec<Unit> = Vec::new();
        let mut end = usize::MAX;
        for Piece { bytes, offsets, .. } in words {
            let mut joined = offsets.start == end;
            end = offsets.end;
            for (at, c) in self.text[bytes.clone()].char_indices() {
                let start = bytes.start + at;
                let character = start..start + c.len_utf8();
                let cjk = is_cjk(c);
                match units.last_mut().filter(|last| joined && !cjk && !last.cjk) {
                    Some(last) => last.bytes.end = character.end,
                    None => {
                        let offsets = offsets.clone();
                        units.push(Unit { bytes: character, offsets, cjk, joined });
                    }
                }
                joined = true;
            }
        }
        for run in units.chunk_by(|a, b| a.cjk && b.cjk && b.joined) {
            let pairs = run.windows(2).map(|pair| pair[0].bytes.start..pair[1].bytes.end);
            let alone = run.first().filter(|_| run.len() == 1).map(|unit| unit.bytes.clone());
            for (bytes, unit) in pairs.chain(alone).zip(run) {
                let position = self.list.len();
                self.list.push(Piece { bytes, offsets: unit.offsets.clone(), position });
            }
        }
    }

    /// Adds all substrings of a word of `min` to `max` characters; a shorter word as a whole.
    fn substrings(&mut self, word: &Piece, min: usize, max: usize) {
        // Of what is dropped anyway, not even the pieces.
        if word.bytes.len() > MAX_WORD_BYTES {
            return;
        }
        let ends = self.text[word.bytes.clone()].char_indices().map(|(at, _)| at);
        let ends = ends.chain([word.bytes.len()]).map(|at| word.bytes.start + at);
        let bounds: Vec<usize> = ends.collect();
        let characters = bounds.len() - 1;
        if characters < min {
            self.list.push(word.clone());
        }
        for length in min..=max.min(characters) {
            let pieces = bounds.windows(length + 1).map(|piece| piece[0]..piece[length]);
            self.list.extend(pieces.map(|bytes| Piece { bytes, ..word.clone() }));
        }
    }
}

/// Iterates over [`Pieces`].
struct PieceStream<'a>(&'a mut Pieces);

impl TokenStream for PieceStream<'_> {
    fn advance(&mut self) -> bool {
        let Pieces { text, list, next, token } = &mut *self.0;
        let Some(piece) = list.get(*next) else { return false };
        *next += 1;
        token.offset_from = piece.offsets.start;
        token.offset_to = piece.offsets.end;
        token.position = piece.position;
        token.text.clear();
        token.text.push_str(&text[piece.bytes.clone()]);
        true
    }

    fn token(&self) -> &Token {
        &self.0.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.0.token
    }
}

/// Appends a word in lower case, with its accents composed (NFC), without apostrophes and a possessive
/// `'s`, and without the marks that cannot be composed.
fn normalise(word: &str, into: &mut String) {
    if word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        into.extend(word.bytes().map(|byte| char::from(byte.to_ascii_lowercase())));
        return;
    }
    let is_apostrophe = |c: char| matches!(c, '\'' | '\u{2019}' | '\u{ff07}');
    let possessive =
        word.strip_suffix(['s', 'S']).and_then(|rest| rest.strip_suffix(is_apostrophe));
    let kept = possessive.unwrap_or(word);
    let is_mark = |c: char| ('\u{300}'..='\u{36f}').contains(&c);
    let composed = kept.chars().flat_map(char::to_lowercase).nfc();
    into.extend(composed.filter(|&c| !is_apostrophe(c) && !is_mark(c)));
}

fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}'
        | '\u{20000}'..='\u{3134f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(settings: &str, text: &str) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        visit_terms(&mut analyzer(settings.parse().unwrap()), text, &mut |position, term| {
            found.push((position, term.to_owned()));
            ControlFlow::Continue(())
        });
        found
    }

    fn cut(settings: &str, text: &str) -> Vec<String> {
        terms(settings, text).into_iter().map(|(_, term)| term).collect()
    }

    #[test]
    fn words_are_those_of_unicode() {
        let text =
            "Don't split 3.5 IL-6 caf\u{e9} cafe\u{301} \u{0}nul\u{0} \u{5e9}\u{5dc}\u{5d5}\u{5dd}";
        let hebrew = "\u{5e9}\u{5dc}\u{5d5}\u{5dd}";
        let expected = ["dont", "split", "3.5", "il", "6", "cafe", "cafe", "nul", hebrew];
        assert_eq!(cut("standard", text), expected);
        assert_eq!(cut("standard", " \u{301}\u{200f}?! "), Vec::<String>::new());
        let (long, longer) = ("x".repeat(255), "x".repeat(256));
        assert_eq!(cut("standard", &format!("{longer} {long}")), [long]);
    }

    #[test]
    fn languages_drop_stop_words_and_reduce_to_stems() {
        let found = terms("english", "The patient\u{2019}s Patients were running to libraries");
        let found: Vec<_> = found.iter().map(|(at, term)| (*at, term.as_str())).collect();
        let expected = [(1, "patient"), (2, "patient"), (3, "were"), (4, "run"), (6, "librari")];
        assert_eq!(found, expected);
        assert_eq!(cut("german", "die H\u{e4}user und das Haus"), ["haus", "haus"]);
        assert_eq!(cut("english", "to be or not to be"), Vec::<String>::new());
        // Stop words are found however their accents are spelled.
        assert_eq!(cut("german", "f\u{fc}r fu\u{308}r"), Vec::<String>::new());
        assert_eq!(cut("turkish", "\u{130}stanbul"), cut("turkish", "istanbul"));
        for language in Language::ALL {
            assert!(!cut(language.as_str(), "Lanner 2026").is_empty(), "{language:?}");
        }
    }

    #[test]
    fn bigrams_and_substrings_have_no_spaces_to_go_by() {
        let text = "\u{6771}\u{4eac}\u{90fd} rust \u{5927}";
        let expected = ["\u{6771}\u{4eac}", "\u{4eac}\u{90fd}", "rust", "\u{5927}"];
        assert_eq!(cut("cjk", text), expected);
        assert_eq!(
            cut("cjk", "LG\u{c804}\u{c790} 2024\u{b144}"),
            ["lg", "\u{c804}\u{c790}", "2024", "\u{b144}"]
        );
        let found = terms("cjk", "a \u{6771}\u{4eac}, \u{90fd}");
        let found: Vec<_> = found.iter().map(|(at, term)| (*at, term.as_str())).collect();
        assert_eq!(found, [(0, "a"), (1, "\u{6771}\u{4eac}"), (2, "\u{90fd}")]);
        assert_eq!(cut("ngram:2-3", "a Rust"), ["a", "ru", "us", "st", "rus", "ust"]);
        assert_eq!(cut("ngram:2", "it's anna's"), ["it", "an", "nn", "na"]);
    }
}
