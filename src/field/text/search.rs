//! BM25 over the rows of an index.
//!
//! A query without required words is evaluated by MaxScore (Turtle and Flood, "Query evaluation:
//! strategies and optimizations", 1995): words whose bounds together stay below the threshold find no
//! rows of their own, and are only looked up for rows that other words found.

use super::cursor::{Cursor, END};
use super::{Statistics, Steps, TextIndex, TextTerms};
use crate::error::Result;
use crate::model::{Occur, TextField};

/// Scores are compared with bounds that are summed in another order, and in another precision.
const ROUNDING: f64 = 1.0 - 1e-5;

/// BM25 for a query: Σ idf · f / (f + k1 · (1 − b + b · length / average)) over the words of the query,
/// where f is the weighted number of occurrences in the text (as in Lucene since version 8, without the
/// constant factor k1 + 1).
#[derive(Debug, Clone)]
pub struct Bm25 {
    /// Upper bound of what each leaf adds to a score.
    weights: Vec<f32>,
    /// k1 · (1 − b).
    constant: f32,
    /// k1 · b / average.
    by_length: f32,
}

/// Work of a search.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scored {
    /// Rows of which at least one word was scored.
    pub rows: u64,
    /// Bytes of the postings of the words.
    pub bytes: u64,
}

/// A query prepared for an index.
pub struct TextSearch<'q> {
    bm25: &'q Bm25,
    index: &'q TextIndex,
    leaves: Vec<Open>,
    bytes: u64,
    steps: &'q Steps<'q>,
}

/// A row, and what its length adds to the denominator of each word.
#[derive(Clone, Copy)]
struct Here {
    row: u32,
    norm: f32,
}

struct Open {
    occur: Occur,
    cursor: Cursor,
    weight: f32,
    /// What it adds to the score of the current row.
    part: f32,
}

/// Gets a row and its score; returns the score below which rows are of no use.
pub type Offer<'o> = &'o mut dyn FnMut(u32, f32) -> Result<f32>;

impl Bm25 {
    /// The scores of a query in a field.
    pub fn new(field: &TextField, statistics: Statistics) -> Self {
        let TextField { k1, b, .. } = *field;
        let average = statistics.average as f32;
        let by_length = if average > 0.0 { k1 * b / average } else { 0.0 };
        Self { weights: statistics.weights, constant: k1 * (1.0 - b), by_length }
    }
}

impl<'q> TextSearch<'q> {
    /// Opens the postings of a query, whose words are expanded.
    ///
    /// # Errors
    /// If a sealed file is damaged, and as [`Steps::check`].
    pub fn new(
        index: &'q TextIndex,
        terms: &TextTerms,
        bm25: &'q Bm25,
        steps: &'q Steps<'q>,
    ) -> Result<Self> {
        let mut bytes = 0;
        let leaves = terms.leaves.iter().zip(&bm25.weights).map(|(leaf, &weight)| {
            let cursor = Cursor::open(index, &leaf.pattern, None, (&mut bytes, steps))?;
            Ok(Open { occur: leaf.occur, cursor, weight, part: 0.0 })
        });
        let leaves = leaves.collect::<Result<_>>()?;
        Ok(Self { bm25, index, leaves, bytes, steps })
    }

    /// Bytes of the postings of the words.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Offers the rows that match, in order, except those whose scores are below the threshold.
    ///
    /// # Errors
    /// Those of `offer`, and as [`Steps::check`].
    pub fn search(mut self, threshold: f32, offer: Offer<'_>) -> Result<Scored> {
        let rows = match self.leaves.iter().any(|leaf| leaf.occur == Occur::Required) {
            true => self.conjunction(offer)?,
            false => self.disjunction(threshold, offer)?,
        };
        Ok(Scored { rows, bytes: self.bytes })
    }

    /// Scores those of the given rows, in ascending order, that match.
    pub fn score(mut self, rows: &[u32], found: &mut dyn FnMut(u32, f32)) {
        for &row in rows {
            if let Some(score) = self.at(row) {
                found(row, score);
            }
        }
    }

    fn conjunction(&mut self, offer: Offer<'_>) -> Result<u64> {
        let mut required: Vec<usize> = (0..self.leaves.len())
            .filter(|&leaf| self.leaves[leaf].occur == Occur::Required)
            .collect();
        required.sort_by_key(|&leaf| self.leaves[leaf].cursor.size());
        let (mut scored, mut row) = (0, 0);
        'rows: loop {
            self.steps.step()?;
            for &leaf in &required {
                let there = self.leaves[leaf].cursor.seek(row);
                if there == END {
                    return Ok(scored);
                }
                if there != row {
                    row = there;
                    continue 'rows;
                }
            }
            if let Some(score) = self.at(row) {
                scored += 1;
                offer(row, score)?;
            }
            row += 1;
        }
    }

    /// The score of a row if it matches; rows are asked for in order.
    fn at(&mut self, row: u32) -> Option<f32> {
        let length = self.index.lengths()[row as usize];
        let norm = self.bm25.constant + self.bm25.by_length * length;
        let mut is_there = false;
        for leaf in &mut self.leaves {
            let here = leaf.cursor.seek(row) == row;
            leaf.part = 0.0;
            match leaf.occur {
                Occur::Excluded if here => return None,
                Occur::Required if !here => return None,
                Occur::Excluded => {}
                Occur::Optional | Occur::Required => {
                    is_there |= here;
                    if here {
                        leaf.part = leaf.saturated(norm);
                    }
                }
            }
        }
        is_there.then(|| self.sum())
    }

    /// The parts summed in the order of the query, so that equal rows score alike in every index.
    fn sum(&self) -> f32 {
        self.leaves.iter().map(|leaf| f64::from(leaf.part)).sum::<f64>() as f32
    }

    fn is_excluded(&mut self, row: u32) -> bool {
        let mut excluded = self.leaves.iter_mut().filter(|leaf| leaf.occur == Occur::Excluded);
        excluded.any(|leaf| leaf.cursor.seek(row) == row)
    }

    fn disjunction(&mut self, mut threshold: f32, offer: Offer<'_>) -> Result<u64> {
        let mut bounds = Bounds::new(&self.leaves);
        let mut scored = 0;
        bounds.raise(threshold);
        loop {
            self.steps.step()?;
            let essential = bounds.essential();
            let rows = essential.iter().map(|&leaf| self.leaves[leaf].cursor.row());
            let row = rows.min().unwrap_or(END);
            if row == END {
                return Ok(scored);
            }
            scored += 1;
            let norm =
                self.bm25.constant + self.bm25.by_length * self.index.lengths()[row as usize];
            self.leaves.iter_mut().for_each(|leaf| leaf.part = 0.0);
            let mut score = 0.0;
            for &leaf in essential {
                let leaf = &mut self.leaves[leaf];
                if leaf.cursor.row() == row {
                    leaf.part = leaf.saturated(norm);
                    score += f64::from(leaf.part);
                    leaf.cursor.advance();
                }
            }
            let here = Here { row, norm };
            if self.looked_up(&bounds, here, score, threshold) && !self.is_excluded(row) {
                let score = self.sum();
                if score >= threshold {
                    threshold = offer(row, score)?;
                    bounds.raise(threshold);
                }
            }
        }
    }

    /// Adds the words that find no rows of their own; false as soon as the row cannot reach the
    /// threshold.
    fn looked_up(
        &mut self,
        bounds: &Bounds,
        Here { row, norm }: Here,
        mut score: f64,
        threshold: f32,
    ) -> bool {
        for (leaf, most) in bounds.others().rev() {
            if score + most < f64::from(threshold) * ROUNDING {
                return false;
            }
            let leaf = &mut self.leaves[leaf];
            if leaf.cursor.seek(row) == row {
                leaf.part = leaf.saturated(norm);
                score += f64::from(leaf.part);
            }
        }
        true
    }
}

impl Open {
    fn saturated(&self, norm: f32) -> f32 {
        let occurrences = self.cursor.occurrences();
        self.weight * occurrences / (occurrences + norm)
    }
}

/// The optional words by their bounds, smallest first.
struct Bounds {
    order: Vec<usize>,
    /// Sums of the bounds up to each.
    sums: Vec<f64>,
    /// The first `first` of them cannot reach the threshold together.
    first: usize,
}

impl Bounds {
    fn new(leaves: &[Open]) -> Self {
        let mut order: Vec<usize> =
            (0..leaves.len()).filter(|&leaf| leaves[leaf].occur == Occur::Optional).collect();
        order.sort_by(|&a, &b| leaves[a].weight.total_cmp(&leaves[b].weight));
        let sums = order.iter().scan(0.0, |sum, &leaf| {
            *sum += f64::from(leaves[leaf].weight);
            Some(*sum)
        });
        Self { sums: sums.collect(), order, first: 0 }
    }

    fn raise(&mut self, threshold: f32) {
        let least = f64::from(threshold) * ROUNDING;
        self.first = self.sums.partition_point(|&sum| sum < least);
    }

    /// The words that find rows.
    fn essential(&self) -> &[usize] {
        &self.order[self.first..]
    }

    /// The others, each with what it and those before it add at most.
    fn others(&self) -> impl DoubleEndedIterator<Item = (usize, f64)> + '_ {
        self.order[..self.first].iter().copied().zip(self.sums[..self.first].iter().copied())
    }
}
