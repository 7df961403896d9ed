//! From texts to terms.
//!
//! Words are those of Unicode's text segmentation (UAX #29), as in Lucene's `StandardTokenizer`. The
//! filters of a language are those of Lucene's analyzers: lower case, stop words, Snowball's stemmer
//! (for English after removal of the possessive `'s`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tantivy::tokenizer::{
    AsciiFoldingFilter, BoxTokenStream, Language as Stems, LowerCaser, RemoveLongFilter, Stemmer,
    StopWordFilter, TextAnalyzer, Token, TokenStream, Tokenizer,
};
use unicode_segmentation::UnicodeSegmentation;

use crate::model::{Analyzer, Language};

/// Longer words, in bytes, are dropped, as in Lucene.
const MAX_WORD_BYTES: usize = 255;

/// A tantivy analyzer for the settings of a field.
pub fn analyzer(settings: Analyzer) -> TextAnalyzer {
    let kind = match settings {
        Analyzer::Standard | Analyzer::Language(_) => Cut::Words,
        Analyzer::Cjk => Cut::Bigrams,
        Analyzer::Ngram { min, max } => Cut::Substrings(min.into(), max.into()),
    };
    let words = TextAnalyzer::builder(Words { kind, stream: Cuts::default() })
        .filter(RemoveLongFilter::limit(MAX_WORD_BYTES + 1))
        .filter(LowerCaser);
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

/// The terms of a text with their positions; stop words leave gaps.
pub fn terms(analyzer: &mut TextAnalyzer, text: &str) -> Vec<(u32, String)> {
    let mut terms = Vec::new();
    let mut stream = analyzer.token_stream(text);
    while let Some(token) = stream.next() {
        terms.push((token.position as u32, token.text.clone()));
    }
    terms
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
    Substrings(usize, usize),
}

/// The tokenizer of all analyzers.
#[derive(Debug, Clone)]
struct Words {
    kind: Cut,
    stream: Cuts,
}

/// The tokens of a text: ranges of bytes and positions, cut in advance.
#[derive(Debug, Clone, Default)]
struct Cuts {
    cuts: Vec<(usize, usize, usize)>,
    next: usize,
    token: Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = CutStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> CutStream<'a> {
        let stream = &mut self.stream;
        stream.cuts.clear();
        stream.next = 0;
        stream.token.reset();
        match self.kind {
            Cut::Words => {
                let words = text.unicode_word_indices().enumerate();
                stream
                    .cuts
                    .extend(words.map(|(at, (start, word))| (start, start + word.len(), at)));
            }
            Cut::Bigrams => bigrams(text, &mut stream.cuts),
            Cut::Substrings(min, max) => substrings(text, (min, max), &mut stream.cuts),
        }
        CutStream { text, stream }
    }
}

/// Iterates over [`Cuts`].
struct CutStream<'a> {
    text: &'a str,
    stream: &'a mut Cuts,
}

impl TokenStream for CutStream<'_> {
    fn advance(&mut self) -> bool {
        let stream = &mut *self.stream;
        let Some(&(start, end, position)) = stream.cuts.get(stream.next) else { return false };
        stream.next += 1;
        let token = &mut stream.token;
        token.offset_from = start;
        token.offset_to = end;
        token.position = position;
        token.text.clear();
        plain(&self.text[start..end], &mut token.text);
        true
    }

    fn token(&self) -> &Token {
        &self.stream.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.stream.token
    }
}

/// Copies a word without combining accents, apostrophes and a possessive `'s`.
fn plain(word: &str, into: &mut String) {
    if word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        into.push_str(word);
        return;
    }
    let is_apostrophe = |c: char| matches!(c, '\'' | '\u{2019}' | '\u{ff07}');
    let possessive =
        word.strip_suffix(['s', 'S']).and_then(|rest| rest.strip_suffix(is_apostrophe));
    let kept = possessive.unwrap_or(word);
    // Combining diacritical marks: of letters that are spelled as letter and accent.
    let is_mark = |c: char| ('\u{300}'..='\u{36f}').contains(&c);
    into.extend(kept.chars().filter(|&c| !is_apostrophe(c) && !is_mark(c)));
}

fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3134f}')
}

/// Words, with each run of neighbouring CJK characters as its pairs; a lone character stays.
fn bigrams(text: &str, cuts: &mut Vec<(usize, usize, usize)>) {
    let mut position = 0;
    let mut push = |start, end| {
        cuts.push((start, end, position));
        position += 1;
    };
    // The characters of a run, by start and end.
    let mut run: Vec<(usize, usize)> = Vec::new();
    let flush = |run: &mut Vec<(usize, usize)>, push: &mut dyn FnMut(usize, usize)| {
        match run.as_slice() {
            [(start, end)] => push(*start, *end),
            _ => run.windows(2).for_each(|pair| push(pair[0].0, pair[1].1)),
        }
        run.clear();
    };
    for (start, word) in text.unicode_word_indices() {
        if !word.starts_with(is_cjk) {
            flush(&mut run, &mut push);
            push(start, start + word.len());
            continue;
        }
        if run.last().is_some_and(|&(_, end)| end != start) {
            flush(&mut run, &mut push);
        }
        run.extend(word.char_indices().map(|(at, c)| (start + at, start + at + c.len_utf8())));
    }
    flush(&mut run, &mut push);
}

/// All substrings of each word of `min` to `max` characters; a shorter word as a whole.
fn substrings(text: &str, (min, max): (usize, usize), cuts: &mut Vec<(usize, usize, usize)>) {
    for (position, (start, word)) in text.unicode_word_indices().enumerate() {
        // Of what is dropped anyway, not even the pieces.
        if word.len() > MAX_WORD_BYTES {
            continue;
        }
        let ends = word.char_indices().map(|(at, _)| at).chain([word.len()]);
        let bounds: Vec<usize> = ends.map(|at| start + at).collect();
        let characters = bounds.len() - 1;
        if characters < min {
            cuts.push((start, start + word.len(), position));
        }
        for length in min..=max.min(characters) {
            let pieces = bounds.windows(length + 1);
            cuts.extend(pieces.map(|piece| (piece[0], piece[length], position)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(settings: &str, text: &str) -> Vec<String> {
        let mut analyzer = analyzer(settings.parse().unwrap());
        terms(&mut analyzer, text).into_iter().map(|(_, term)| term).collect()
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
        let mut english = analyzer("english".parse().unwrap());
        let found = terms(&mut english, "The patient\u{2019}s Patients were running to libraries");
        let found: Vec<_> = found.iter().map(|(at, term)| (*at, term.as_str())).collect();
        let expected = [(1, "patient"), (2, "patient"), (3, "were"), (4, "run"), (6, "librari")];
        assert_eq!(found, expected);
        assert_eq!(cut("german", "die H\u{e4}user und das Haus"), ["haus", "haus"]);
        assert_eq!(cut("english", "to be or not to be"), Vec::<String>::new());
        for language in Language::ALL {
            assert!(!cut(language.as_str(), "Lanner 2026").is_empty(), "{language:?}");
        }
    }

    #[test]
    fn bigrams_and_substrings_have_no_spaces_to_go_by() {
        let text = "\u{6771}\u{4eac}\u{90fd} rust \u{5927}";
        let expected = ["\u{6771}\u{4eac}", "\u{4eac}\u{90fd}", "rust", "\u{5927}"];
        assert_eq!(cut("cjk", text), expected);
        assert_eq!(cut("ngram:2-3", "a Rust"), ["a", "ru", "us", "st", "rus", "ust"]);
    }
}
