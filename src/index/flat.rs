//! No index: all rows are scored. It is calibrated as indexes are, since how many of the best rows
//! have to be scored again depends on the codes.

use super::{Effort, Scores, Scratch};

/// Rows that are scored at once.
const BLOCK_ROWS: u32 = 512;

/// Scores rows 0..`rows`; the beam of `scratch` holds the best `keep` of those accepted.
pub fn search(
    codes: &impl Scores,
    scratch: &mut Scratch,
    rows: u32,
    keep: usize,
    accept: impl Fn(u32) -> bool,
) -> Effort {
    let Scratch { beam, rows: ids, scores, .. } = scratch;
    beam.reset(1, keep);
    for first in (0..rows).step_by(BLOCK_ROWS as usize) {
        ids.clear();
        ids.extend(first..rows.min(first.saturating_add(BLOCK_ROWS)));
        scores.resize(ids.len(), 0.0);
        codes.score(ids, scores);
        for (&row, &score) in ids.iter().zip(&*scores) {
            if score >= beam.threshold() && accept(row) {
                beam.push(score, row);
            }
        }
    }
    Effort { expanded: 0, scored: 0, scanned: rows.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::fixture::{Fixture, ROWS};
    use crate::model::Metric;

    #[test]
    fn the_best_accepted_rows_are_found() {
        let fixture = Fixture::clustered(Metric::Dot);
        let (query, mut scratch) = (fixture.query(2), Scratch::default());
        let codes = fixture.scores(&query);
        for rows in [0, 1, BLOCK_ROWS, ROWS] {
            let even = |row| row % 2 == 0;
            let effort = search(&codes, &mut scratch, rows, 10, even);
            let found: Vec<(f32, u32)> = scratch.beam.rows().collect();
            assert_eq!(found, fixture.exact(&query, 10, |row| even(row) && row < rows));
            assert_eq!(effort.scanned, u64::from(rows));
        }
    }
}
