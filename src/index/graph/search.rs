//! Greedy search from the entry: the best unexpanded row of the window is expanded until there is
//! none (DiskANN, NeurIPS 2019, Algorithm 1).
//!
//! Unvisited neighbours are prefetched, then scored as one batch, so that memory latency overlaps
//! arithmetic.
//!
//! Where only some rows may be found, all are passed through, and the search goes on until the
//! window is full of accepted rows that are all better than the best row that was not expanded
//! (hnswlib; ACORN, arXiv 2403.04871, §4): however far from the query these rows lie.

use std::collections::BinaryHeap;

use super::Adjacency;
use crate::index::scratch::Scratch;
use crate::index::view::Accepted;
use crate::index::{Effort, Scores};

/// How much a search keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    /// So many of the best rows are expanded.
    pub window: usize,
    /// So many are kept; at least the window.
    pub capacity: usize,
}

/// Fills `scratch.beam` with the best rows found. The `hidden` row is not even passed through, unless
/// searches start there.
pub fn search(
    graph: &Adjacency<'_>,
    entry: u32,
    scores: &impl Scores,
    hidden: Option<u32>,
    scratch: &mut Scratch,
    width: Width,
) -> Effort {
    scratch.beam.reset(width.window, width.capacity);
    scratch.seen.reset(graph.rows());
    scratch.expanded.clear();
    let Scratch { beam, seen, rows, scores: values, expanded, .. } = scratch;
    let mut effort = Effort::default();
    if entry >= graph.rows() {
        return effort;
    }
    seen.insert(&[entry, hidden.unwrap_or(entry)], rows);
    // The hidden row is seen, and not scored.
    rows.truncate(1);
    loop {
        values.resize(rows.len(), 0.0);
        scores.score(rows, values);
        effort.scored += rows.len() as u64;
        let threshold = beam.threshold();
        let mut best = f32::NEG_INFINITY;
        for (&row, &score) in rows.iter().zip(&*values) {
            if score >= threshold {
                // The best is likely to be expanded next.
                if score > best {
                    best = score;
                    graph.prefetch(row);
                }
                beam.push(score, row);
            }
        }
        // What was scored last may all be known or bad: go on until something is to be scored.
        loop {
            let Some((score, next)) = beam.expand() else { return effort };
            effort.expanded += 1;
            expanded.push((score, next));
            // A damaged file may name rows that are not there: they are not seen.
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

/// As [`search`], with the window counting accepted rows alone: `scratch.beam` becomes the best of
/// those. Gives up once it scored more than `most_scored` rows.
pub fn search_accepted(
    graph: &Adjacency<'_>,
    entry: u32,
    scores: &impl Scores,
    accept: impl Fn(u32) -> bool,
    (scratch, width): (&mut Scratch, Width),
    most_scored: u64,
) -> Accepted {
    scratch.beam.reset(width.window, width.capacity);
    scratch.seen.reset(graph.rows());
    let Scratch { beam, seen, rows, scores: values, .. } = scratch;
    let mut outcome =
        Accepted { effort: Effort::default(), accepted: 0, rejected: 0, complete: true };
    if entry >= graph.rows() {
        return outcome;
    }
    // Rows to expand, as entries of a beam turned around: the best is the largest.
    let mut open: BinaryHeap<u64> = BinaryHeap::with_capacity(4 * width.window);
    let mut rejected: Vec<f32> = Vec::new();
    seen.insert(&[entry], rows);
    loop {
        values.resize(rows.len(), 0.0);
        scores.score(rows, values);
        outcome.effort.scored += rows.len() as u64;
        for (&row, &score) in rows.iter().zip(&*values) {
            let is_near = score >= beam.window_threshold();
            if is_near {
                open.push(!crate::index::beam::entry(score, row));
            }
            // What is kept may be more than what is expanded.
            if score >= beam.threshold() && accept(row) {
                beam.push(score, row);
            } else if is_near {
                rejected.push(score);
            }
        }
        loop {
            let next = open.pop().map(|entry| crate::index::beam::parts_of(!entry));
            let threshold = beam.window_threshold();
            let Some((_, next)) = next.filter(|&(score, _)| score >= threshold) else {
                let above = rejected.iter().filter(|&&score| score >= threshold);
                outcome.rejected = above.count() as u64;
                outcome.accepted = beam.rows().take(width.window).count() as u64;
                return outcome;
            };
            if outcome.effort.scored > most_scored {
                outcome.complete = false;
                return outcome;
            }
            outcome.effort.expanded += 1;
            // A damaged file may name rows that are not there: they are not seen.
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
