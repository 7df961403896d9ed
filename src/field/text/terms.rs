//! A query analyzed for a field.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use levenshtein_automata::{DFA, Distance, LevenshteinAutomatonBuilder, SINK_STATE};
use tantivy_fst::Automaton;

use super::analysis::{analyzer, terms};
use super::{TextIndex, TextPart};
use crate::error::Result;
use crate::model::{
    Analyzer, InvalidInput, Occur, TextField, TextPattern, TextQuery, check_range, limits,
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
        let mut plain = analyzer(Analyzer::Standard);
        let mut leaves = Leaves::default();
        for clause in &query.clauses {
            let occur = clause.occur;
            let found = terms(&mut own, clause.pattern.text());
            match &clause.pattern {
                TextPattern::Words(_) if occur == Occur::Excluded => leaves.phrase(occur, found, 0),
                TextPattern::Phrase { slop, .. } => leaves.phrase(occur, found, *slop),
                TextPattern::Fuzzy { changes, .. } if found.len() == 1 => {
                    for (_, term) in found {
                        leaves.push(occur, Pattern::Fuzzy { term, changes: *changes });
                    }
                }
                TextPattern::Words(_) | TextPattern::Fuzzy { .. } => {
                    found.into_iter().for_each(|(_, term)| leaves.push(occur, Pattern::Term(term)));
                }
                // The beginning of a word has no stem.
                TextPattern::Prefix(text) => {
                    if let Some((_, last)) = terms(&mut plain, text).pop() {
                        leaves.push(occur, Pattern::Prefix(last));
                    }
                }
            }
        }
        let leaves = leaves.list;
        check_range("text: different words", 0, limits::MAX_TEXT_TERMS, leaves.len())?;
        Ok(Self { leaves })
    }

    /// Number of terms and phrases.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    /// The same query, with the words in the dictionaries of these parts that its prefixes and words
    /// with changes stand for.
    ///
    /// # Errors
    /// [`InvalidInput`] at `text` for one that stands for more than [`limits::MAX_EXPANSIONS`] words,
    /// and if a sealed file is damaged.
    pub fn expanded<'p>(
        mut self,
        parts: impl Iterator<Item = &'p TextPart> + Clone,
        path: Option<usize>,
    ) -> Result<Self> {
        for leaf in &mut self.leaves {
            if !matches!(leaf.pattern, Pattern::Prefix(_) | Pattern::Fuzzy { .. }) {
                continue;
            }
            let mut found = BTreeMap::new();
            for part in parts.clone() {
                expand(&part.index, path, &leaf.pattern, &mut found)?;
            }
            leaf.pattern = Pattern::Any(found.into_iter().collect());
        }
        Ok(self)
    }
}

/// Collects leaves, equal ones once.
#[derive(Default)]
struct Leaves {
    list: Vec<Leaf>,
    known: HashMap<(Occur, Pattern), usize>,
}

impl Leaves {
    fn push(&mut self, occur: Occur, pattern: Pattern) {
        let Self { list, known } = self;
        let at = *known.entry((occur, pattern.clone())).or_insert_with(|| {
            list.push(Leaf { occur, pattern, count: 0 });
            list.len() - 1
        });
        list[at].count += 1;
    }

    fn phrase(&mut self, occur: Occur, mut terms: Vec<(u32, String)>, slop: u32) {
        match terms.len() {
            0 => {}
            1 => terms.drain(..).for_each(|(_, term)| self.push(occur, Pattern::Term(term))),
            _ => {
                let first = terms[0].0;
                terms.iter_mut().for_each(|(position, _)| *position -= first);
                self.push(occur, Pattern::Phrase { terms, slop });
            }
        }
    }
}

/// Accepts the words with at most so many changes.
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

/// Adds the words of an index that a pattern stands for.
fn expand(
    index: &TextIndex,
    path: Option<usize>,
    pattern: &Pattern,
    found: &mut BTreeMap<String, u8>,
) -> Result<()> {
    let add = &mut |term: &[u8], changes: u8| {
        if let Ok(term) = std::str::from_utf8(term)
            && !found.contains_key(term)
        {
            found.insert(term.to_owned(), changes);
        }
        match found.len() > limits::MAX_EXPANSIONS {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let dictionaries = index.dictionaries().enumerate();
    for (_, dictionary) in dictionaries.filter(|(at, _)| path.is_none_or(|path| path == *at)) {
        let terms = dictionary.terms().terms();
        let read = match pattern {
            Pattern::Prefix(prefix) => {
                let stream = terms.range().ge(prefix).into_stream();
                stream.map(|mut stream| {
                    while let Some((term, _)) = stream.next() {
                        if !term.starts_with(prefix.as_bytes()) || add(term, 0).is_break() {
                            break;
                        }
                    }
                })
            }
            Pattern::Fuzzy { term, changes } => {
                let dfa = LevenshteinAutomatonBuilder::new(*changes, true).build_dfa(term);
                terms.search(Near(&dfa)).into_stream().map(|mut stream| {
                    while let Some((term, _)) = stream.next() {
                        let changes = match dfa.eval(term) {
                            Distance::Exact(changes) | Distance::AtLeast(changes) => changes,
                        };
                        if add(term, changes).is_break() {
                            break;
                        }
                    }
                })
            }
            _ => Ok(()),
        };
        read.map_err(|error| index.failed(&error))?;
    }
    if found.len() > limits::MAX_EXPANSIONS {
        let got = match pattern {
            Pattern::Prefix(prefix) => format!("more for `{prefix}*`"),
            Pattern::Fuzzy { term, changes } => format!("more for `{term}~{changes}`"),
            _ => "more".into(),
        };
        let expected = "prefixes and words with changes that stand for at most 1024 words";
        return Err(InvalidInput::mismatch("text", expected, got).into());
    }
    Ok(())
}
