//! A query analyzed for a field.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::LazyLock;

use levenshtein_automata::{DFA, Distance, LevenshteinAutomatonBuilder, SINK_STATE};
use tantivy::tokenizer::TextAnalyzer;
use tantivy_fst::Automaton;

use super::analysis::{analyzer, visit_terms};
use super::steps::Steps;
use super::{TextIndex, TextPart};
use crate::error::Result;
use crate::model::{
    Analyzer, InvalidInput, Occur, TextClause, TextField, TextPattern, TextQuery, check_range,
    limits,
};

/// The terms that a query asks for in a field.
#[derive(Debug, Clone)]
pub struct TextTerms {
    pub(super) leaves: Vec<Leaf>,
}

/// Terms that are scored as one.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub occur: Occur,
    pub pattern: Pattern,
    /// How often the query asks for it.
    pub count: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Pattern {
    Term(String),
    /// Terms at these positions, relative to the first.
    Phrase {
        terms: Vec<(u32, String)>,
        slop: u32,
    },
    Prefix(String),
    Fuzzy {
        term: String,
        changes: u8,
    },
    /// What a prefix or a term with changes stands for, with the number of changes.
    Any(Vec<(String, u8)>),
}

impl TextTerms {
    /// Analyzes a query like the texts of a field.
    ///
    /// # Errors
    /// [`InvalidInput`] at `text` if the query is not valid or has too many different words.
    pub fn new(field: &TextField, query: &TextQuery) -> Result<Self, InvalidInput> {
        query.validate()?;
        let mut own = analyzer(field.analyzer);
        let mut leaves = Leaves::default();
        for TextClause { occur, pattern } in &query.clauses {
            let occur = *occur;
            let mut found = terms(&mut own, pattern.text())?;
            match pattern {
                TextPattern::Words(_) if occur == Occur::Excluded => {
                    leaves.phrase(occur, found, 0)?
                }
                TextPattern::Phrase { slop, .. } => leaves.phrase(occur, found, *slop)?,
                TextPattern::Fuzzy { changes, .. } if found.len() == 1 => {
                    let term = found.swap_remove(0).1;
                    check_range("text: letters of a word with ~", 1, MAX_FUZZY_BYTES, term.len())?;
                    leaves.push(occur, Pattern::Fuzzy { term, changes: *changes })?;
                }
                TextPattern::Words(_) | TextPattern::Fuzzy { .. } => leaves.words(occur, found)?,
                TextPattern::Prefix(text) => match field.analyzer {
                    Analyzer::Cjk => leaves.phrase(occur, found, 0)?,
                    Analyzer::Ngram { .. } => leaves.words(occur, found)?,
                    // The beginning of a word has no stem.
                    Analyzer::Standard | Analyzer::Language(_) => {
                        let mut plain = terms(&mut analyzer(Analyzer::Standard), text)?;
                        let last = plain.pop();
                        leaves.words(occur, plain)?;
                        if let Some((_, prefix)) = last {
                            leaves.push(occur, Pattern::Prefix(prefix))?;
                        }
                    }
                },
            }
        }
        Ok(Self { leaves: leaves.list })
    }

    /// Number of terms and phrases.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// The same query, with the words in the dictionaries of these parts that its prefixes and words
    /// with changes stand for.
    ///
    /// # Errors
    /// [`InvalidInput`] at `text` for one that stands for more than `most` words, if a sealed file is
    /// damaged, and as [`Steps::check`].
    pub fn expanded<'p>(
        mut self,
        parts: impl Iterator<Item = &'p TextPart> + Clone,
        path: Option<usize>,
        most: usize,
        steps: &Steps<'_>,
    ) -> Result<Self> {
        for leaf in &mut self.leaves {
            let Some(expansion) = Expansion::new(&leaf.pattern) else { continue };
            let mut found = BTreeMap::new();
            for part in parts.clone() {
                steps.check()?;
                expansion.add(&part.index, path, most, &mut found)?;
            }
            leaf.pattern = Pattern::Any(found.into_iter().collect());
        }
        Ok(self)
    }
}

/// The terms of a text, of which no query may have more than [`limits::MAX_TEXT_TERMS`] different ones.
fn terms(analyzer: &mut TextAnalyzer, text: &str) -> Result<Vec<(u32, String)>, InvalidInput> {
    let (mut found, mut different) = (Vec::new(), HashSet::new());
    visit_terms(analyzer, text, &mut |position, term| {
        if !different.contains(term) {
            different.insert(term.to_owned());
        }
        found.push((position, term.to_owned()));
        match different.len() > limits::MAX_TEXT_TERMS {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    if different.len() > limits::MAX_TEXT_TERMS { Err(too_many()) } else { Ok(found) }
}

fn too_many() -> InvalidInput {
    InvalidInput::mismatch("text", "at most 1024 different words", "more")
}

/// Longest word with changes, in bytes: the automaton of a longer one is large.
const MAX_FUZZY_BYTES: usize = 64;
/// Longest phrase, in words.
const MAX_PHRASE_TERMS: usize = 64;

/// Collects leaves, equal ones once.
#[derive(Default)]
struct Leaves {
    list: Vec<Leaf>,
    known: HashMap<(Occur, Pattern), usize>,
}

impl Leaves {
    fn push(&mut self, occur: Occur, pattern: Pattern) -> Result<(), InvalidInput> {
        let Self { list, known } = self;
        let at = *known.entry((occur, pattern.clone())).or_insert_with(|| {
            list.push(Leaf { occur, pattern, count: 0 });
            list.len() - 1
        });
        list[at].count += 1;
        if list.len() > limits::MAX_TEXT_TERMS { Err(too_many()) } else { Ok(()) }
    }

    fn words(&mut self, occur: Occur, terms: Vec<(u32, String)>) -> Result<(), InvalidInput> {
        terms.into_iter().try_for_each(|(_, term)| self.push(occur, Pattern::Term(term)))
    }

    fn phrase(
        &mut self,
        occur: Occur,
        mut terms: Vec<(u32, String)>,
        slop: u32,
    ) -> Result<(), InvalidInput> {
        if terms.len() < 2 {
            return self.words(occur, terms);
        }
        check_range("text: words of a phrase", 0, MAX_PHRASE_TERMS, terms.len())?;
        let first = terms[0].0;
        terms.iter_mut().for_each(|(position, _)| *position -= first);
        self.push(occur, Pattern::Phrase { terms, slop })
    }
}

/// The automata builders for one and for two changes, which take milliseconds to make.
static AUTOMATA: [LazyLock<LevenshteinAutomatonBuilder>; 2] = [
    LazyLock::new(|| LevenshteinAutomatonBuilder::new(1, true)),
    LazyLock::new(|| LevenshteinAutomatonBuilder::new(2, true)),
];

/// Accepts the words with at most so many changes.
pub fn automaton(term: &str, changes: u8) -> DFA {
    AUTOMATA[usize::from(changes > 1)].build_dfa(term)
}

/// As [`automaton`], for dictionaries.
struct Near<'d>(&'d DFA);

impl Automaton for Near<'_> {
    type State = u32;

    fn start(&self) -> u32 {
        self.0.initial_state()
    }

    fn is_match(&self, state: &u32) -> bool {
        matches!(self.0.distance(*state), Distance::Exact(_))
    }

    fn can_match(&self, state: &u32) -> bool {
        *state != SINK_STATE
    }

    fn accept(&self, state: &u32, byte: u8) -> u32 {
        self.0.transition(*state, byte)
    }
}

/// A pattern that stands for words, prepared once for all indexes.
enum Expansion<'p> {
    Prefix(&'p str),
    Fuzzy { term: &'p str, changes: u8, automaton: DFA },
}

impl<'p> Expansion<'p> {
    /// `None` for a pattern that stands for itself.
    fn new(pattern: &'p Pattern) -> Option<Self> {
        match pattern {
            Pattern::Prefix(prefix) => Some(Self::Prefix(prefix)),
            Pattern::Fuzzy { term, changes } => {
                let automaton = automaton(term, *changes);
                Some(Self::Fuzzy { term, changes: *changes, automaton })
            }
            _ => None,
        }
    }

    /// Adds the words of an index.
    fn add(
        &self,
        index: &TextIndex,
        path: Option<usize>,
        most: usize,
        found: &mut BTreeMap<String, u8>,
    ) -> Result<()> {
        let add = &mut |term: &[u8], changes: u8| {
            if let Ok(term) = std::str::from_utf8(term)
                && !found.contains_key(term)
            {
                found.insert(term.to_owned(), changes);
            }
            found.len() <= most
        };
        let dictionaries = index.dictionaries().enumerate();
        for (_, dictionary) in dictionaries.filter(|(at, _)| path.is_none_or(|path| path == *at)) {
            let terms = dictionary.terms().terms();
            let read = match self {
                Self::Prefix(prefix) => terms.range().ge(prefix).into_stream().map(|mut stream| {
                    while let Some((term, _)) = stream.next() {
                        if !term.starts_with(prefix.as_bytes()) || !add(term, 0) {
                            break;
                        }
                    }
                }),
                Self::Fuzzy { automaton, .. } => {
                    terms.search(Near(automaton)).into_stream().map(|mut stream| {
                        while let Some((term, _)) = stream.next() {
                            let changes = match automaton.eval(term) {
                                Distance::Exact(changes) | Distance::AtLeast(changes) => changes,
                            };
                            if !add(term, changes) {
                                break;
                            }
                        }
                    })
                }
            };
            read.map_err(|error| index.failed(&error))?;
        }
        if found.len() <= most {
            return Ok(());
        }
        let got = match self {
            Self::Prefix(prefix) => format!("more for `{prefix}*`"),
            Self::Fuzzy { term, changes, .. } => format!("more for `{term}~{changes}`"),
        };
        let expected = "prefixes and words with changes that stand for at most 1024 words";
        Err(InvalidInput::mismatch("text", expected, got).into())
    }
}
