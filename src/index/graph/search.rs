//! Greedy search from the entry: expands the best unexpanded row of the window until there is none
//! (DiskANN, NeurIPS 2019, Algorithm 1).
//!
//! Unvisited neighbours are prefetched, then scored as one batch, so that memory latency overlaps
//! arithmetic.
//!
//! With a filter, ineligible rows are traversed too, and the search goes on until the window is
//! full of eligible rows that are all better than the best unexpanded row (hnswlib; ACORN, arXiv
//! 2403.04871, §4), however far from the query these rows lie.

use std::collections::BinaryHeap;

use super::Adjacency;
use crate::index::beam::Beam;
use crate::index::scratch::Scratch;
use crate::index::view::Accepted;
use crate::index::{Effort, Margin, Scores};

/// Window and capacity of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Width {
    /// Number of best rows to expand.
    pub window: usize,
    /// Number of rows to keep; at least the window.
    pub capacity: usize,
    /// Where the search ends before the window is expanded, and the number of best rows to keep
    /// although they lie beyond.
    pub ending: Option<(Margin, usize)>,
}

impl Width {
    /// Without a margin.
    pub fn new(window: usize, capacity: usize) -> Self {
        Self { window, capacity, ending: None }
    }

    fn reset(self, beam: &mut Beam) {
        beam.reset(self.window, self.capacity);
        if let Some((margin, kept)) = self.ending {
            beam.end_at(margin, kept);
        }
    }
}

/// Observes a search.
pub trait Watch {
    /// Rows were scored.
    fn scored(&mut self, rows: &[u32], scores: &[f32]);

    /// A row with this score is about to be expanded, after this much work.
    fn expands(&mut self, score: f32, beam: &Beam, effort: Effort);
}

/// Observes nothing.
impl Watch for () {
    #[inline(always)]
    fn scored(&mut self, _: &[u32], _: &[f32]) {}

    #[inline(always)]
    fn expands(&mut self, _: f32, _: &Beam, _: Effort) {}
}

/// Fills `scratch.beam` with the best rows found. The `hidden` row is not even traversed, unless it
/// is the entry.
pub fn search(
    graph: &Adjacency<'_>,
    entry: u32,
    scores: &impl Scores,
    hidden: Option<u32>,
    scratch: &mut Scratch,
    width: Width,
) -> Effort {
    search_watched(graph, entry, scores, hidden, (scratch, width), &mut ())
}

/// As [`search`], observed.
pub fn search_watched(
    graph: &Adjacency<'_>,
    entry: u32,
    scores: &impl Scores,
    hidden: Option<u32>,
    (scratch, width): (&mut Scratch, Width),
    watch: &mut impl Watch,
) -> Effort {
    width.reset(&mut scratch.beam);
    scratch.seen.reset(graph.rows());
    scratch.expanded.clear();
    let Scratch { beam, seen, rows, scores: values, expanded, .. } = scratch;
    let mut effort = Effort::default();
    if entry >= graph.rows() {
        return effort;
    }
    seen.insert(&[entry, hidden.unwrap_or(entry)], rows);
    // The hidden row is marked as visited, but not scored.
    rows.truncate(1);
    loop {
        values.resize(rows.len(), 0.0);
        scores.score(rows, values);
        watch.scored(rows, values);
        effort.scored += rows.len() as u64;
        let threshold = beam.threshold();
        let mut best = f32::NEG_INFINITY;
        for (&row, &score) in rows.iter().zip(&*values) {
            if score >= threshold {
                // The best row is likely to be expanded next.
                if score > best {
                    best = score;
                    graph.prefetch(row);
                }
                beam.push(score, row);
            }
        }
        // If everything scored last was bad, or all neighbours are visited: expand on until there
        // is a row to score.
        loop {
            let Some((score, next)) = beam.expand() else { return effort };
            watch.expands(score, beam, effort);
            effort.expanded += 1;
            expanded.push((score, next));
            // Rows that do not exist, from a damaged file, are skipped.
            seen.insert(graph.slots(next), rows);
            for &row in &*rows {
                scores.prefetch(row);
            }
            if let Some(after) = beam.peek() {
                graph.prefetch(after);
            }
            if !rows.is_empty() {
                break;
            }
        }
    }
}

/// As [`search`], but only accepted rows count towards the window and the margin: `scratch.beam`
/// becomes the best of those. Gives up after scoring more than `most_scored` rows.
pub fn search_accepted(
    graph: &Adjacency<'_>,
    entry: u32,
    scores: &impl Scores,
    accept: impl Fn(u32) -> bool,
    (scratch, width): (&mut Scratch, Width),
    most_scored: u64,
) -> Accepted {
    width.reset(&mut scratch.beam);
    scratch.seen.reset(graph.rows());
    let Scratch { beam, seen, rows, scores: values, .. } = scratch;
    let mut outcome =
        Accepted { effort: Effort::default(), accepted: 0, rejected: 0, complete: true };
    if entry >= graph.rows() {
        return outcome;
    }
    // Rows to expand, as inverted beam entries: the best is the largest.
    let mut open: BinaryHeap<u64> = BinaryHeap::with_capacity(4 * width.window.min(128));
    let mut rejected: Vec<f32> = Vec::new();
    seen.insert(&[entry], rows);
    loop {
        values.resize(rows.len(), 0.0);
        scores.score(rows, values);
        outcome.effort.scored += rows.len() as u64;
        for (&row, &score) in rows.iter().zip(&*values) {
            let is_near = score >= beam.limit();
            if is_near {
                open.push(!crate::index::beam::entry(score, row));
            }
            // The capacity may exceed the window.
            if score >= beam.threshold() && accept(row) {
                beam.push(score, row);
            } else if is_near {
                rejected.push(score);
            }
        }
        loop {
            let next = open.pop().map(|entry| crate::index::beam::parts_of(!entry));
            let limit = beam.limit();
            let Some((_, next)) = next.filter(|&(score, _)| score >= limit) else {
                let above = rejected.iter().filter(|&&score| score >= limit);
                outcome.rejected = above.count() as u64;
                let accepted = beam.rows().take(width.window);
                outcome.accepted = accepted.filter(|&(score, _)| score >= limit).count() as u64;
                return outcome;
            };
            if outcome.effort.scored > most_scored {
                outcome.complete = false;
                return outcome;
            }
            outcome.effort.expanded += 1;
            // Rows that do not exist, from a damaged file, are skipped.
            seen.insert(graph.slots(next), rows);
            for &row in &*rows {
                scores.prefetch(row);
            }
            if !rows.is_empty() {
                break;
            }
        }
    }
}
