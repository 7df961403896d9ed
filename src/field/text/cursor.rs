//! The rows with a term, in order, with how often they have it.

use tantivy::postings::{Postings, SegmentPostings};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocSet, TERMINATED, Term};

use super::TextIndex;
use super::index::Dictionary;
use super::steps::Steps;
use super::terms::Pattern;
use crate::error::Result;

/// Behind all rows.
pub const END: u32 = TERMINATED;

/// The rows of a pattern of a query, in order.
pub enum Cursor {
    /// Postings of one term at one path, and what an occurrence counts.
    One(Box<SegmentPostings>, f32),
    /// Postings of one term at several paths.
    Several(Vec<(SegmentPostings, f32)>),
    /// Rows found in advance, with their occurrences.
    Found { rows: Vec<(u32, f32)>, at: usize },
}

impl Cursor {
    /// The rows of a pattern, at one path or all.
    ///
    /// # Errors
    /// If a sealed file is damaged.
    pub fn open(
        index: &TextIndex,
        pattern: &Pattern,
        path: Option<usize>,
        (bytes, steps): (&mut u64, &Steps<'_>),
    ) -> Result<Self> {
        let paths = index.dictionaries().enumerate();
        let paths = paths.filter(|(at, _)| path.is_none_or(|path| path == *at));
        let mut lists = Vec::new();
        match pattern {
            Pattern::Term(term) => {
                for (_, dictionary) in paths {
                    let list = postings(dictionary, term, IndexRecordOption::WithFreqs, bytes)?;
                    lists.extend(list.map(|list| (list, dictionary.weight())));
                }
                return Ok(match lists.pop() {
                    Some((list, weight)) if lists.is_empty() => Self::One(Box::new(list), weight),
                    last => {
                        lists.extend(last);
                        Self::Several(lists)
                    }
                });
            }
            Pattern::Any(terms) => {
                for (_, dictionary) in paths {
                    for (term, changes) in terms {
                        let list = postings(dictionary, term, IndexRecordOption::WithFreqs, bytes)?;
                        let weight = dictionary.weight() / (1.0 + f32::from(*changes));
                        lists.extend(list.map(|list| (list, weight)));
                    }
                }
            }
            Pattern::Phrase { terms, slop } => {
                let mut found = Vec::new();
                for (_, dictionary) in paths {
                    let wanted = Phrase { terms, slop: *slop };
                    wanted.find(dictionary, &mut found, (&mut *bytes, steps))?;
                }
                return Ok(Self::found(found));
            }
            Pattern::Prefix(_) | Pattern::Fuzzy { .. } => {}
        }
        let mut found = Vec::new();
        for (mut list, weight) in lists {
            while list.doc() != TERMINATED {
                steps.step()?;
                found.push((list.doc(), list.term_freq() as f32 * weight));
                list.advance();
            }
        }
        Ok(Self::found(found))
    }

    /// Rows in any order, whose occurrences are summed.
    fn found(mut found: Vec<(u32, f32)>) -> Self {
        found.sort_by_key(|&(row, _)| row);
        found.dedup_by(|next, sum| {
            let same = next.0 == sum.0;
            sum.1 += if same { next.1 } else { 0.0 };
            same
        });
        Self::Found { rows: found, at: 0 }
    }

    /// Upper bound of the number of rows.
    pub fn size(&self) -> u64 {
        match self {
            Self::One(list, _) => list.size_hint().into(),
            Self::Several(lists) => lists.iter().map(|(list, _)| u64::from(list.size_hint())).sum(),
            Self::Found { rows, .. } => rows.len() as u64,
        }
    }

    /// The current row; [`END`] behind the last.
    #[inline]
    pub fn row(&self) -> u32 {
        match self {
            Self::One(list, _) => list.doc(),
            Self::Several(lists) => lists.iter().map(|(list, _)| list.doc()).min().unwrap_or(END),
            Self::Found { rows, at } => rows.get(*at).map_or(END, |&(row, _)| row),
        }
    }

    /// The weighted number of occurrences in the current row.
    #[inline]
    pub fn occurrences(&self) -> f32 {
        match self {
            Self::One(list, weight) => list.term_freq() as f32 * weight,
            Self::Several(lists) => {
                let row = self.row();
                let here = lists.iter().filter(|(list, _)| list.doc() == row);
                here.map(|(list, weight)| list.term_freq() as f32 * weight).sum()
            }
            Self::Found { rows, at } => rows.get(*at).map_or(0.0, |&(_, occurrences)| occurrences),
        }
    }

    /// Goes to the next row.
    #[inline]
    pub fn advance(&mut self) {
        let row = self.row();
        match self {
            Self::One(list, _) => {
                list.advance();
            }
            Self::Several(lists) => {
                for (list, _) in lists.iter_mut().filter(|(list, _)| list.doc() == row) {
                    list.advance();
                }
            }
            Self::Found { at, .. } => *at += 1,
        }
    }

    /// Goes to the first row that is not before `row`, and says which it is.
    #[inline]
    pub fn seek(&mut self, row: u32) -> u32 {
        match self {
            Self::One(list, _) => seek(list, row),
            Self::Several(lists) => {
                lists.iter_mut().map(|(list, _)| seek(list, row)).min().unwrap_or(END)
            }
            Self::Found { rows, at } => {
                *at += rows[*at..].partition_point(|&(found, _)| found < row);
                rows.get(*at).map_or(END, |&(row, _)| row)
            }
        }
    }
}

#[inline]
fn seek(list: &mut SegmentPostings, row: u32) -> u32 {
    if list.doc() < row { list.seek(row) } else { list.doc() }
}

/// The postings of a term at one path; adds their length to `bytes`.
///
/// # Errors
/// If a sealed file is damaged.
pub fn postings(
    dictionary: Dictionary<'_>,
    term: &str,
    option: IndexRecordOption,
    bytes: &mut u64,
) -> Result<Option<SegmentPostings>> {
    let term = Term::from_field_text(dictionary.field(), term);
    let failed = |error| dictionary.index().failed(&error);
    let Some(info) = dictionary.terms().get_term_info(&term).map_err(failed)? else {
        return Ok(None);
    };
    *bytes += info.postings_range.len() as u64;
    if option.has_positions() {
        *bytes += info.positions_range.len() as u64;
    }
    let read = dictionary.terms().read_postings_from_terminfo(&info, option);
    read.map(Some).map_err(failed)
}

/// Terms in a certain order.
struct Phrase<'q> {
    terms: &'q [(u32, String)],
    slop: u32,
}

impl Phrase<'_> {
    /// Adds the rows with the phrase at one path, with the weighted number of its occurrences: one with
    /// `gap` words between its own counts 1 / (1 + gap), as in Lucene's `SloppyPhraseScorer`.
    fn find(
        &self,
        dictionary: Dictionary<'_>,
        found: &mut Vec<(u32, f32)>,
        (bytes, steps): (&mut u64, &Steps<'_>),
    ) -> Result<()> {
        let Self { terms, slop } = *self;
        let mut lists = Vec::with_capacity(terms.len());
        for (_, term) in terms {
            let list = postings(dictionary, term, IndexRecordOption::WithFreqsAndPositions, bytes)?;
            let Some(list) = list else { return Ok(()) };
            lists.push(list);
        }
        let Some(rarest) = (0..lists.len()).min_by_key(|&at| lists[at].size_hint()) else {
            return Ok(());
        };
        let mut positions = vec![Vec::new(); lists.len()];
        'rows: while lists[rarest].doc() != TERMINATED {
            steps.step()?;
            let row = lists[rarest].doc();
            for list in &mut lists {
                let there = seek(list, row);
                if there != row {
                    if there == TERMINATED {
                        return Ok(());
                    }
                    seek(&mut lists[rarest], there);
                    continue 'rows;
                }
            }
            for (list, positions) in lists.iter_mut().zip(&mut positions) {
                list.positions(positions);
            }
            let occurrences = occurrences(terms, &positions, slop);
            if occurrences > 0.0 {
                found.push((row, occurrences * dictionary.weight()));
            }
            lists[rarest].advance();
        }
        Ok(())
    }
}

fn occurrences(terms: &[(u32, String)], positions: &[Vec<u32>], slop: u32) -> f32 {
    let Some((first, others)) = positions.split_first() else { return 0.0 };
    let mut sum = 0.0;
    let mut at = vec![0; others.len()];
    for &start in first {
        let mut end = start;
        let mut is_there = true;
        for ((positions, at), pair) in others.iter().zip(&mut at).zip(terms.windows(2)) {
            let least = end + (pair[1].0 - pair[0].0);
            // Starts rise, and with them all that follows.
            *at += positions[*at..].partition_point(|&position| position < least);
            match positions.get(*at) {
                Some(&position) => end = position,
                None => {
                    is_there = false;
                    break;
                }
            }
        }
        let span = terms.last().map_or(0, |last| last.0);
        let gap = (end - start).saturating_sub(span);
        if is_there && gap <= slop {
            sum += 1.0 / (1.0 + gap as f32);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(offsets: &[u32], positions: &[&[u32]], slop: u32) -> f32 {
        let terms: Vec<_> = offsets.iter().map(|&offset| (offset, String::new())).collect();
        let positions: Vec<_> = positions.iter().map(|list| list.to_vec()).collect();
        occurrences(&terms, &positions, slop)
    }

    #[test]
    fn phrases_keep_order_and_distance() {
        assert_eq!(count(&[0, 1], &[&[3, 9], &[4, 11]], 0), 1.0);
        assert_eq!(count(&[0, 1], &[&[3, 9], &[4, 11]], 1), 1.5);
        assert_eq!(count(&[0, 1], &[&[5], &[4]], 100), 0.0);
        assert_eq!(count(&[0, 2], &[&[3], &[5]], 0), 1.0);
        assert_eq!(count(&[0, 1, 2], &[&[1, 7], &[2, 8], &[4, 9]], 0), 1.0);
        assert_eq!(count(&[0, 1], &[&[1, 2], &[2, 3]], 0), 2.0);
    }
}
