//! Greedy search from the entry: the best unexpanded row of the window is expanded until there is
//! none (DiskANN, NeurIPS 2019, Algorithm 1).
//!
//! Neighbours that were not seen are scored together, after all of them were asked for: the memory
//! of one is on its way while another is scored.

use super::Adjacency;
use crate::index::scratch::Scratch;
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
