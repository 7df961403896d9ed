//! The parts of a text around what a query finds in it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use levenshtein_automata::{DFA, Distance};
use tantivy::tokenizer::{TextAnalyzer, TokenStream};

use super::TextTerms;
use super::analysis::analyzer;
use super::terms::{Pattern, automaton};
use crate::model::{Occur, TextField};

/// Most matches of a text that are looked at.
const MOST_MARKS: usize = 10_000;

/// What a query asks for, to be found in texts.
pub struct Marker {
    analyzer: TextAnalyzer,
    /// By term, the leaves of the query that ask for it, and whether as a part of a phrase.
    terms: HashMap<String, Vec<(usize, bool)>>,
    prefixes: Vec<(usize, String)>,
    fuzzy: Vec<(usize, DFA)>,
    phrases: Vec<Phrase>,
}

/// A phrase of the query: its leaf, its terms with their positions from the first, and the most words in
/// between in all.
struct Phrase {
    leaf: usize,
    terms: Vec<(u32, String)>,
    slop: u32,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// Bytes of the text.
    pub range: Range<usize>,
    /// What the query found, as bytes of the excerpt, ascending.
    pub matches: Vec<Range<usize>>,
    /// Different parts of the query, and matches.
    pub rank: (usize, usize),
}

/// A match, and the part of the query that it is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    start: usize,
    end: usize,
    leaf: usize,
}

/// By term, the positions and bytes of a text where a phrase may have it.
type Places = HashMap<String, Vec<(u32, Range<usize>)>>;

impl Marker {
    /// Finds what a query asks for, or adds to the score, in the texts of a field.
    pub fn new(field: &TextField, query: &TextTerms) -> Self {
        let mut marker = Self {
            analyzer: analyzer(field.analyzer),
            terms: HashMap::new(),
            prefixes: Vec::new(),
            fuzzy: Vec::new(),
            phrases: Vec::new(),
        };
        let wanted = query.leaves.iter().filter(|leaf| leaf.occur != Occur::Excluded);
        for (number, leaf) in wanted.enumerate() {
            let terms = &mut marker.terms;
            match &leaf.pattern {
                Pattern::Term(term) => terms.entry(term.clone()).or_default().push((number, false)),
                Pattern::Phrase { terms: parts, slop } => {
                    for (_, term) in parts {
                        terms.entry(term.clone()).or_default().push((number, true));
                    }
                    let (terms, slop) = (parts.clone(), *slop);
                    marker.phrases.push(Phrase { leaf: number, terms, slop });
                }
                Pattern::Prefix(prefix) => marker.prefixes.push((number, prefix.clone())),
                Pattern::Fuzzy { term, changes } => {
                    marker.fuzzy.push((number, automaton(term, *changes)));
                }
                Pattern::Any(words) => {
                    for (word, _) in words {
                        terms.entry(word.clone()).or_default().push((number, false));
                    }
                }
            }
        }
        marker
    }

    /// The best excerpts of a text, at most `count` of at most about `length` characters, in the order
    /// of the text; none if nothing is found in it.
    pub fn excerpts(&mut self, text: &str, count: usize, length: usize) -> Vec<Excerpt> {
        let marks = self.marks(text);
        let mut windows = windows(text, &marks, length);
        windows.sort_by_key(|(range, rank)| (std::cmp::Reverse(*rank), range.start));
        let mut excerpts: Vec<Excerpt> = Vec::new();
        for (core, rank) in windows {
            let range = widened(text, core, length);
            let is_apart =
                |other: &Excerpt| range.end <= other.range.start || other.range.end <= range.start;
            if excerpts.len() < count && excerpts.iter().all(is_apart) {
                let matches = joined(&marks, &range);
                excerpts.push(Excerpt { range, matches, rank });
            }
        }
        excerpts.sort_by_key(|excerpt| excerpt.range.start);
        excerpts
    }

    /// What is found in a text, in its order.
    fn marks(&mut self, text: &str) -> Vec<Mark> {
        let (mut marks, mut places) = (Vec::new(), Places::new());
        let mut stream = self.analyzer.token_stream(text);
        while let Some(token) = stream.next()
            && marks.len() < MOST_MARKS
        {
            let range = token.offset_from..token.offset_to;
            let mut mark = |leaf| marks.push(Mark { start: range.start, end: range.end, leaf });
            let known = self.terms.get(&token.text);
            for &(leaf, in_phrase) in known.into_iter().flatten() {
                if !in_phrase {
                    mark(leaf);
                }
            }
            let begins = |(_, prefix): &&(usize, String)| token.text.starts_with(prefix.as_str());
            self.prefixes.iter().filter(begins).for_each(|(leaf, _)| mark(*leaf));
            let is_near = |(_, automaton): &&(usize, DFA)| {
                matches!(automaton.eval(&token.text), Distance::Exact(_))
            };
            self.fuzzy.iter().filter(is_near).for_each(|(leaf, _)| mark(*leaf));
            if known.is_some_and(|leaves| leaves.iter().any(|(_, in_phrase)| *in_phrase)) {
                let of_term = places.entry(token.text.clone()).or_default();
                of_term.push((token.position as u32, range.clone()));
            }
        }
        self.phrases.iter().for_each(|phrase| phrase.mark(&places, &mut marks));
        marks.sort_unstable();
        marks
    }
}

impl Phrase {
    /// Adds the words of each occurrence.
    fn mark(&self, places: &Places, marks: &mut Vec<Mark>) {
        let of = |term: &String| places.get(term).map_or(&[][..], Vec::as_slice);
        let Some(((_, first), others)) = self.terms.split_first() else { return };
        for (position, range) in of(first) {
            let (mut found, mut between) = (vec![range.clone()], 0);
            let complete = others.iter().all(|(distance, term)| {
                let least = position + distance + between;
                let places = of(term);
                let next = places.get(places.partition_point(|(at, _)| *at < least));
                let within = |at: u32| at - least + between <= self.slop;
                let Some((at, range)) = next.filter(|(at, _)| within(*at)) else { return false };
                between += at - least;
                found.push(range.clone());
                true
            });
            if complete && marks.len() < MOST_MARKS {
                let leaf = self.leaf;
                let mark = |range: Range<usize>| Mark { start: range.start, end: range.end, leaf };
                marks.extend(found.into_iter().map(mark));
            }
        }
    }
}

/// The bytes from each match to the last one that fits into the length, with their rank.
fn windows(text: &str, marks: &[Mark], length: usize) -> Vec<(Range<usize>, (usize, usize))> {
    let mut found = Vec::new();
    let mut leaves = BTreeMap::<usize, usize>::new();
    let mut end = 0;
    for (start, mark) in marks.iter().enumerate() {
        while let Some(next) = marks.get(end)
            && (end <= start
                || text[mark.start..next.end.max(mark.start)].chars().count() <= length)
        {
            *leaves.entry(next.leaf).or_default() += 1;
            end += 1;
        }
        let last = marks[start..end].iter().map(|mark| mark.end).max().unwrap_or(mark.end);
        found.push((mark.start..last, (leaves.len(), end - start)));
        if let Some(count) = leaves.get_mut(&mark.leaf) {
            *count -= 1;
            if *count == 0 {
                leaves.remove(&mark.leaf);
            }
        }
    }
    found
}

/// A range with as much of the text around it as fits into the length, cut between words.
fn widened(text: &str, core: Range<usize>, length: usize) -> Range<usize> {
    let free = length.saturating_sub(text[core.clone()].chars().count());
    let back = |characters: usize| {
        let mut before = text[..core.start].char_indices().rev();
        characters.checked_sub(1).map_or(Some(core.start), |n| before.nth(n).map(|(at, _)| at))
    };
    let forth = |characters: usize| {
        let after = text[core.end..].char_indices().map(|(at, _)| core.end + at);
        after.chain([text.len()]).nth(characters)
    };
    // What one side does not need is left to the other.
    let before = text[..core.start].chars().rev().take(free).count();
    let after = text[core.end..].chars().take(free).count();
    let left = before.min((free / 2).max(free.saturating_sub(after)));
    let right = after.min(free - left);
    let start = back(left).unwrap_or(0);
    let end = forth(right).unwrap_or(text.len());
    let space = |c: char| c.is_whitespace();
    let start = match start {
        0 => 0,
        start if text[..start].ends_with(space) => start,
        start => text[start..core.start].find(space).map_or(start, |at| start + at),
    };
    let end = match end {
        end if end == text.len() || text[end..].starts_with(space) => end,
        end => text[core.end..end].rfind(space).map_or(end, |at| core.end + at),
    };
    let part = &text[start..end];
    let trimmed = part.trim_start();
    let start = start + part.len() - trimmed.len();
    start..start + trimmed.trim_end().len()
}

/// The matches in a range, relative to it; those that overlap or touch as one.
fn joined(marks: &[Mark], range: &Range<usize>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for mark in marks.iter().filter(|mark| range.start <= mark.start && mark.end <= range.end) {
        let (start, end) = (mark.start - range.start, mark.end - range.start);
        match found.last_mut().filter(|last| start <= last.end) {
            Some(last) => last.end = last.end.max(end),
            None => found.push(start..end),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TextQuery;

    /// The excerpts of a text with `[` and `]` around matches.
    fn shown(
        settings: &str,
        query: &str,
        text: &str,
        (count, length): (usize, usize),
    ) -> Vec<String> {
        let field = TextField::new(["t"]).analyzed(settings.parse().unwrap());
        let terms = TextTerms::new(&field, &TextQuery::parse(query).unwrap()).unwrap();
        let excerpts = Marker::new(&field, &terms).excerpts(text, count, length);
        let show = |excerpt: Excerpt| {
            let part = &text[excerpt.range];
            let (mut shown, mut end) = (String::new(), 0);
            for Range { start, end: next } in excerpt.matches {
                shown += &format!("{}[{}]", &part[end..start], &part[start..next]);
                end = next;
            }
            shown + &part[end..]
        };
        excerpts.into_iter().map(show).collect()
    }

    #[test]
    fn words_are_marked_as_they_are_written() {
        let text = "Running RUNS; the runner's run.";
        assert_eq!(
            shown("english", "run", text, (1, 99)),
            ["[Running] [RUNS]; the runner's [run]."]
        );
        assert_eq!(shown("standard", "run", text, (1, 99)), ["Running RUNS; the runner's [run]."]);
        assert_eq!(
            shown("standard", "run*", text, (1, 99)),
            ["[Running] [RUNS]; the [runner's] [run]."]
        );
        assert_eq!(
            shown("standard", "rums~1 -the", text, (1, 99)),
            ["Running [RUNS]; the runner's run."]
        );
        assert_eq!(shown("standard", "walk", text, (1, 99)), Vec::<String>::new());
        let text = "Caf\u{e9} \u{6771}\u{4eac}\u{90fd}";
        assert_eq!(
            shown("standard", "cafe", text, (1, 99)),
            ["[Caf\u{e9}] \u{6771}\u{4eac}\u{90fd}"]
        );
        assert_eq!(shown("ngram:2", "af", "cafe of", (1, 99)), ["[cafe] of"]);
    }

    #[test]
    fn phrases_are_marked_where_they_are_whole() {
        let text = "light of the sky, sky blue light, blue sky light";
        let found = |query: &str| shown("standard", query, text, (1, 99)).remove(0);
        assert_eq!(found("\"sky light\""), "light of the sky, sky blue light, blue [sky] [light]");
        assert_eq!(
            found("\"sky light\"~1"),
            "light of the sky, [sky] blue [light], blue [sky] [light]"
        );
        assert_eq!(
            found("\"sky blue\" the"),
            "light of [the] sky, [sky] [blue] light, blue sky light"
        );
    }

    #[test]
    fn the_best_part_of_a_long_text_is_cut_between_words() {
        let filler = "lorem ipsum dolor sit amet ".repeat(40);
        let text = format!("{filler}one thing {filler}one and two together {filler}two");
        let found = shown("standard", "one two", &text, (1, 40));
        assert_eq!(found, ["sit amet [one] and [two] together lorem"]);
        let found = shown("standard", "one two", &text, (3, 24));
        assert_eq!(
            found,
            ["sit amet [one] thing", "amet [one] and [two]", "ipsum dolor sit amet [two]"]
        );
        // Without spaces it is cut between characters.
        let text = "\u{6771}".repeat(50) + "\u{5927}\u{962a}" + &"\u{4eac}".repeat(50);
        let found = shown("cjk", "\u{5927}\u{962a}", &text, (1, 6));
        assert_eq!(found[0].chars().filter(|c| !"[]".contains(*c)).count(), 6);
    }

    #[test]
    fn no_text_is_too_odd() {
        for text in ["", " ", "\u{0}", "\u{301}\u{301}", "one", "\u{202e}one\u{202c}"] {
            for (count, length) in [(1, 1), (3, 2), (1, 1000)] {
                for excerpt in shown("standard", "one two", text, (count, length)) {
                    assert!(excerpt.contains("[one]"));
                }
            }
        }
        let many = "one ".repeat(20_000);
        assert_eq!(shown("standard", "one", &many, (2, 11)).len(), 2);
    }
}
