//! Re-scores candidates found by codes, with the best data of the row.

use rayon::prelude::*;

use super::scorer::{Row, Scorer};
use crate::field::{FieldCodes, TokenStore};
use crate::kernels;
use crate::model::{ElementsRef, Score};
use crate::multivector::{TokenQuery, TokenScorer};
use crate::segment::SegmentReader;

/// Kernels read token codes once for up to so many vectors of a query.
const VECTORS_AT_ONCE: usize = 8;
/// Bytes of token codes to read per thread, at least: handing over costs as much as reading a tenth.
const PART_BYTES: usize = 512 << 10;

/// Rows whose codes are prefetched ahead, and rows whose first byte is.
const ROWS_AHEAD: usize = 2;
const ROWS_TOUCHED: usize = 16;

/// The elements of a row, values as f32.
pub fn widen<'a>(elements: ElementsRef<'a>, buffer: &'a mut Vec<f32>) -> Row<'a> {
    match elements {
        ElementsRef::F32(elements) => Row::Values(elements),
        ElementsRef::F16(elements) => {
            kernels::widen(elements, buffer);
            Row::Values(buffer)
        }
        ElementsRef::Entries(entries) => Row::Entries(entries),
    }
}

/// Scores rows by their secondary codes, or by their vectors where there are none.
pub fn rescore_rows(
    reader: &dyn SegmentReader,
    field: usize,
    rows: &[u32],
    scorer: &Scorer,
    visit: &mut dyn FnMut(u32, Score),
) {
    if let Some(tokens) = reader.field(field).codes().and_then(FieldCodes::tokens) {
        let query = scorer.tokens(tokens.codec(), None);
        let vectors = scorer.query().len() / scorer.dimension().max(1);
        let work = tokens.row_bytes() * vectors.div_ceil(VECTORS_AT_ONCE);
        let mut part = (PART_BYTES / work.max(1)).max(1);
        if rayon::current_num_threads() == 1 || rows.len() < 2 * part {
            part = rows.len().max(1);
        }
        let score = |rows: &[u32]| score_tokens(tokens, &query, rows);
        let scores: Vec<f32> = match rows.len() > part {
            true => rows.par_chunks(part).flat_map_iter(score).collect(),
            false => score(rows),
        };
        rows.iter().zip(scores).for_each(|(&row, score)| visit(row, Score(score)));
        return;
    }
    let mut buffer = Vec::new();
    if let Some(codes) = reader.field(field).codes().filter(|codes| codes.has_secondary()) {
        let query = codes.codec().and_then(|codec| scorer.secondary(codec));
        if let Some(scores) = query.and_then(|query| codes.rescore(query, rows)) {
            rows.iter().zip(scores).for_each(|(&row, score)| visit(row, Score(score)));
            return;
        }
        for (index, &row) in rows.iter().enumerate() {
            if let Some(&after) = rows.get(index + 1) {
                codes.prefetch_secondary(after);
            }
            codes.reconstruct(row, &mut buffer);
            visit(row, scorer.score(Row::Values(&buffer)));
        }
        return;
    }
    score_vectors(reader, field, rows, scorer, visit);
}

/// MaxSim of a query and rows by token codes.
fn score_tokens(tokens: &TokenStore, query: &TokenQuery, rows: &[u32]) -> Vec<f32> {
    let mut kernel = TokenScorer::default();
    // Up front, what overlaps the translations of addresses; later rows by and by.
    rows.iter().take(ROWS_TOUCHED).for_each(|&row| tokens.touch(row));
    rows.iter().take(ROWS_AHEAD).for_each(|&row| tokens.prefetch(row));
    let score = |(index, &row): (usize, &u32)| {
        rows.get(index + ROWS_TOUCHED).into_iter().for_each(|&row| tokens.touch(row));
        rows.get(index + ROWS_AHEAD).into_iter().for_each(|&row| tokens.prefetch(row));
        tokens.score(&mut kernel, query, row)
    };
    rows.iter().enumerate().map(score).collect()
}

/// Scores rows by their vectors, which must be kept.
pub fn score_vectors(
    reader: &dyn SegmentReader,
    field: usize,
    rows: &[u32],
    scorer: &Scorer,
    visit: &mut dyn FnMut(u32, Score),
) {
    let mut buffer = Vec::new();
    reader.field(field).visit_rows(rows, &mut |row, elements| {
        visit(row, scorer.score(widen(elements, &mut buffer)));
    });
}

/// The score of a row by its vector, or by its codes where vectors were dropped.
pub fn exact_score(
    reader: &dyn SegmentReader,
    field: usize,
    row: u32,
    scorer: &Scorer,
) -> Option<Score> {
    let mut score = None;
    if is_dropped(reader, field) {
        rescore_rows(reader, field, &[row], scorer, &mut |_, shown| score = Some(shown));
        return score;
    }
    score_vectors(reader, field, &[row], scorer, &mut |_, exact| score = Some(exact));
    score
}

/// Whether the vectors of a single-vector field were dropped, so that its codes are the most
/// precise data.
pub fn is_dropped(reader: &dyn SegmentReader, field: usize) -> bool {
    let of_single = reader.field(field).codes().is_some_and(|codes| codes.tokens().is_none());
    of_single && !reader.field(field).has_raw()
}
