//! What a search of a graph would have found, and done, had it ended earlier.
//!
//! A search that ends by a [`Margin`](super::Margin), or by a narrower window, takes the first steps
//! of one that goes further. So one wide search tells the recall and the work of all margins.

use super::Effort;
use super::beam::Beam;
use super::graph::Watch;

/// A wide search, step by step.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Ranks that margins are measured from.
    ranks: Vec<usize>,
    /// What gaps are divided by; see [`super::length`].
    length: f32,
    /// For each rank, the gap from which the search goes on; and last, the window.
    ends: Vec<Vec<End>>,
    steps: u32,
    effort: Effort,
    /// Scored rows: the score, the row, and the number of rows that were expanded before.
    found: Vec<(f32, u32, u32)>,
}

/// A search ends here, after this much work, unless its limit is at least this.
#[derive(Debug, Clone, Copy)]
struct End {
    least: f32,
    effort: Effort,
}

impl Trace {
    /// Margins from these ranks, for a query of this length.
    pub fn new(ranks: &[usize], length: f32) -> Self {
        let ends = vec![Vec::new(); ranks.len() + 1];
        Self { ranks: ranks.to_vec(), length, ends, ..Self::default() }
    }

    /// Ends the trace: `copies` are the other rows with the code of a row. Of the best, so many distinct
    /// rows are kept, and so many rows in all.
    pub(super) fn end<I: Iterator<Item = u32>>(
        &mut self,
        effort: Effort,
        (distinct, most): (usize, usize),
        copies: impl Fn(u32) -> I,
    ) {
        self.effort = effort;
        self.found.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.found.truncate(distinct);
        let with_copies = |&(score, first, step): &(f32, u32, u32)| {
            std::iter::once(first).chain(copies(first)).map(move |row| (score, row, step))
        };
        self.found = self.found.iter().flat_map(with_copies).take(most).collect();
    }

    /// The rows that were found, best first, with their scores.
    pub fn found(&self) -> impl Iterator<Item = (f32, u32)> {
        self.found.iter().map(|&(score, row, _)| (score, row))
    }

    /// Drops rows.
    pub fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.found.retain(|&(_, row, _)| keep(row));
    }

    /// For each row found, the least gap with which a search ends after it was found; `rank` is the
    /// index of a rank.
    pub fn gaps(&self, rank: usize) -> impl Iterator<Item = (u32, f32)> {
        let least = move |step: u32| {
            let before = self.ends[rank].partition_point(|end| end.effort.expanded < step.into());
            before.checked_sub(1).map_or(0.0, |last| self.ends[rank][last].least)
        };
        self.found.iter().map(move |&(_, row, step)| (row, least(step)))
    }

    /// The work of a search that ends by a gap to the row of a rank, or by its window, and what it
    /// finds, best first. `rank` is the index of a rank.
    pub fn until(
        &self,
        rank: usize,
        gap: f32,
        window: usize,
        found: &mut Vec<(f32, u32)>,
    ) -> Effort {
        let end = |ends: &[End], limit: f32| {
            let at = ends.partition_point(|end| end.least <= limit);
            ends.get(at).map_or(self.effort, |end| end.effort)
        };
        let by_window = self.ends.last().map_or(self.effort, |ends| end(ends, window as f32));
        let by_gap = end(&self.ends[rank], gap);
        let effort = if by_gap.expanded < by_window.expanded { by_gap } else { by_window };
        let before = |&&(_, _, step): &&(f32, u32, u32)| u64::from(step) <= effort.expanded;
        found.clear();
        found.extend(self.found.iter().filter(before).map(|&(score, row, _)| (score, row)));
        effort
    }
}

impl Watch for Trace {
    fn scored(&mut self, rows: &[u32], scores: &[f32]) {
        let steps = self.steps;
        self.found.extend(rows.iter().zip(scores).map(|(&row, &score)| (score, row, steps)));
    }

    fn expands(&mut self, score: f32, beam: &Beam, effort: Effort) {
        let gap = |&rank: &usize| ((beam.score_at(rank) - score) / self.length).max(0.0);
        let limits = self.ranks.iter().map(gap).chain([beam.expanded_rank() as f32]);
        for (ends, least) in self.ends.iter_mut().zip(limits) {
            if ends.last().is_none_or(|last| least > last.least) {
                ends.push(End { least, effort });
            }
        }
        self.steps += 1;
    }
}

#[cfg(test)]
mod tests {
    use crate::index::fixture::Fixture;
    use crate::index::{Ask, Copies, Depth, Margin, Selection, Trace, distinct, with_scratch};
    use crate::model::Metric;

    const RANKS: [usize; 3] = [1, 10, 30];
    const RERANK: usize = 40;

    #[test]
    fn one_wide_search_tells_what_all_that_end_earlier_find_and_cost() {
        let fixture = Fixture::clustered(Metric::L2);
        // Some rows are copies of others.
        let record = |row: u32| if row.is_multiple_of(7) { 0 } else { row };
        let rows = fixture.rows();
        let bytes: Vec<[u8; 4]> = rows.iter().map(|&row| record(row).to_le_bytes()).collect();
        let (rows, pairs) = distinct(&rows, |row| &bytes[row as usize]);
        let index = fixture.graph(&rows);
        let (view, copies) = (index.view().unwrap(), Copies::new(&pairs));
        let mut ended_early = 0;
        for number in 0..20 {
            let query = fixture.query(number);
            let ask = |depth| Ask {
                codes: fixture.scores(&query),
                depth,
                selection: None::<Selection<fn(u32) -> bool>>,
                hidden: Some(5),
            };
            let mut trace = Trace::new(&RANKS, 2.0);
            let wide = ask(Depth::new(300, RERANK));
            with_scratch(|scratch| view.trace(&wide, copies, scratch, &mut trace));
            for (at, rank) in RANKS.into_iter().enumerate() {
                // The gaps with which something more is found.
                let mut gaps: Vec<f32> = trace.gaps(at).map(|(_, gap)| gap).collect();
                assert_eq!(gaps.len(), trace.found().count());
                gaps.sort_unstable_by(f32::total_cmp);
                gaps.dedup();
                for gap in gaps {
                    for window in [3, 30, 300] {
                        let (mut expected, mut found) = (Vec::new(), Vec::new());
                        let effort = trace.until(at, gap, window, &mut expected);
                        // Rounding must not decide where a search ends.
                        let margin = Some(Margin { rank, gap: gap * 2.0 * 1.000_01 });
                        let depth = Depth { margin, ..Depth::new(window, RERANK) };
                        let search =
                            |scratch: &mut _| view.search(&ask(depth), copies, scratch, &mut found);
                        let outcome = with_scratch(search);
                        assert_eq!(outcome.effort, effort, "query {number}, {depth:?}");
                        // Copies are listed with their first.
                        let same = expected.len().min(found.len());
                        assert!(same >= 40.min(expected.len()), "{same}");
                        assert_eq!(found[..same], expected[..same], "query {number}, {depth:?}");
                        ended_early += usize::from(effort.expanded < 200);
                        let gaps = trace.gaps(at);
                        let reached = gaps.filter(|&(_, least)| least <= gap).count();
                        assert!(window < 300 || reached == expected.len(), "{reached}");
                    }
                }
            }
        }
        assert!(ended_early > 100, "{ended_early}");
    }
}
