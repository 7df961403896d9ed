//! An index as it is searched, whatever its kind.

use super::graph::{self, Adjacency};
use super::ivf::{IvfParts, Lists};
use super::{CodeScores, Depth, Effort, Scratch};
use crate::model::IndexKind;

/// How much wider a search becomes that found too few accepted rows.
const WIDEN: usize = 4;

/// What was built, before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuiltIndex {
    /// A graph.
    Graph {
        /// As [`Adjacency`] reads them.
        edges: Vec<u32>,
        /// Room for neighbours of a row.
        degree: usize,
        /// Where searches start.
        entry: u32,
    },
    /// Lists.
    Ivf(IvfParts),
    /// None: all rows are scored.
    Flat,
}

/// An index as it is searched.
#[derive(Debug, Clone, Copy)]
pub enum IndexView<'a> {
    /// A graph, and where searches start.
    Graph(Adjacency<'a>, u32),
    /// Lists.
    Ivf(Lists<'a>),
}

/// What is looked for in an index.
pub struct Ask<'a, A: Fn(u32) -> bool> {
    /// The query and the codes.
    pub codes: CodeScores<'a>,
    /// How far to look, and how many rows to find.
    pub depth: Depth,
    /// Rows that may be found.
    pub accept: A,
    /// The share of rows that are accepted, as far as it is known; 1 if all are.
    pub share: f64,
    /// The search becomes wider until it found so many, if there are.
    pub least: usize,
    /// It does not become wider once it scored so many rows.
    pub most_scored: u64,
    /// A row that the search must not see, not even on its way.
    pub hidden: Option<u32>,
}

impl BuiltIndex {
    /// Graph, lists or neither.
    pub fn kind(&self) -> IndexKind {
        match self {
            Self::Graph { .. } => IndexKind::Graph,
            Self::Ivf(_) => IndexKind::Ivf,
            Self::Flat => IndexKind::Flat,
        }
    }

    /// The index as it is searched, if there is one.
    pub fn view(&self) -> Option<IndexView<'_>> {
        match self {
            Self::Graph { edges, degree, entry } => {
                Some(IndexView::Graph(Adjacency::new(edges, *degree), *entry))
            }
            Self::Ivf(parts) => Some(IndexView::Ivf(parts.lists())),
            Self::Flat => None,
        }
    }
}

impl IndexView<'_> {
    /// Graph or lists.
    pub fn kind(&self) -> IndexKind {
        match self {
            Self::Graph(..) => IndexKind::Graph,
            Self::Ivf(_) => IndexKind::Ivf,
        }
    }

    /// The widest search that makes sense: all rows, or all lists.
    pub fn widest(&self) -> usize {
        match self {
            Self::Graph(graph, _) => graph.rows() as usize,
            Self::Ivf(lists) => lists.count(),
        }
    }

    /// Looks for accepted rows; `found` becomes the best of them, best first, at most
    /// `depth.rerank`. Where few rows are accepted, the search is as much wider, and wider still
    /// while too few were found: whatever the filter has to do with the query, the rows that come
    /// are the best of those seen.
    pub fn search<A: Fn(u32) -> bool>(
        &self,
        ask: &Ask<'_, A>,
        scratch: &mut Scratch,
        found: &mut Vec<(f32, u32)>,
    ) -> Effort {
        let widest = self.widest();
        let scale = 1.0 / ask.share.clamp(1e-6, 1.0);
        let scaled = |count: usize| (count as f64 * scale).ceil() as usize;
        let mut window = scaled(ask.depth.window).min(widest).max(1);
        let mut capacity = scaled(ask.depth.rerank);
        let mut total = Effort::default();
        loop {
            total += self.once(ask, scratch, window, capacity);
            found.clear();
            // Lists have asked before they kept a row; a graph keeps all, as ways to others.
            let asked = matches!(self, Self::Ivf(_));
            let best = scratch.beam.rows().filter(|&(_, row)| asked || (ask.accept)(row));
            found.extend(best.take(ask.depth.rerank));
            let enough = found.len() >= ask.least.min(ask.depth.rerank);
            if enough || window >= widest || total.scored + total.scanned > ask.most_scored {
                return total;
            }
            window = (window * WIDEN).min(widest);
            capacity = (capacity * WIDEN).max(window);
        }
    }

    fn once<A: Fn(u32) -> bool>(
        &self,
        ask: &Ask<'_, A>,
        scratch: &mut Scratch,
        window: usize,
        capacity: usize,
    ) -> Effort {
        match self {
            Self::Graph(graph, entry) => {
                let capacity = capacity.min(graph.rows() as usize).max(window);
                let beam = graph::Width { window, capacity };
                graph::search(graph, *entry, &ask.codes, ask.hidden, scratch, beam)
            }
            Self::Ivf(lists) => {
                let keep = ask.depth.rerank;
                let accept = |row| Some(row) != ask.hidden && (ask.accept)(row);
                lists.search(&ask.codes, scratch, window, keep, accept)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;
    use crate::index::fixture::{Fixture, ROWS};
    use crate::index::graph::GraphSettings;
    use crate::index::ivf::{self, IvfSettings};
    use crate::index::{BuildProgress, with_scratch};
    use crate::model::Metric;

    fn indexes(fixture: &Fixture) -> [BuiltIndex; 2] {
        let (distances, rows) = (fixture.distances(), fixture.rows());
        let progress = BuildProgress::default();
        let settings =
            GraphSettings { max_degree: 16, window_size: 50, alpha: 1.2, prune_to: 14, seed: 1 };
        let graph = graph::build(&distances, &rows, settings, &progress);
        let (edges, entry) = graph.unwrap();
        let settings = IvfSettings { lists: Some(60), seed: 1 };
        let (codec, records) = (&fixture.codec, &fixture.records);
        let parts = ivf::build(&distances, codec, records, &rows, settings, &progress).unwrap();
        [BuiltIndex::Graph { edges, degree: 16, entry }, BuiltIndex::Ivf(parts)]
    }

    fn find<A: Fn(u32) -> bool>(index: &BuiltIndex, ask: &Ask<'_, A>) -> (Vec<(f32, u32)>, Effort) {
        let mut found = Vec::new();
        let effort = with_scratch(|scratch| index.view().unwrap().search(ask, scratch, &mut found));
        (found, effort)
    }

    #[test]
    fn a_search_becomes_wider_until_it_found_enough_far_away() {
        let fixture = Fixture::clustered(Metric::L2);
        let indexes = indexes(&fixture);
        let query = fixture.query(3);
        // The one in a hundred that is farthest from the query.
        let all = fixture.exact(&query, ROWS as usize, |_| true);
        let far: Vec<u32> = all[all.len() - 30..].iter().map(|&(_, row)| row).collect();
        for index in &indexes {
            let ask = |share, least, most_scored| Ask {
                codes: fixture.scores(&query),
                depth: Depth { window: 4, rerank: 20 },
                accept: |row| far.contains(&row),
                share,
                least,
                most_scored,
                hidden: None,
            };
            // What the filter has to do with the query is not known: 0.01 is its true share.
            for share in [0.01, 0.5, 1.0] {
                let (found, effort) = find(index, &ask(share, 20, u64::MAX));
                assert_eq!(found, fixture.exact(&query, 20, |row| far.contains(&row)), "{share}");
                assert!(effort.scored + effort.scanned > u64::from(ROWS) / 2, "{effort:?}");
            }
            let (found, _) = find(index, &ask(1.0, 100, u64::MAX));
            assert_eq!(found.len(), 20, "no more than the depth says");
            let (found, narrow) = find(index, &ask(1.0, 0, u64::MAX));
            assert!(found.is_empty(), "what is not asked for is not looked for");
            let (found, stopped) = find(index, &ask(1.0, 20, 0));
            assert!(found.is_empty() && stopped == narrow, "{stopped:?} is too much already");
        }
    }

    #[test]
    fn no_row_is_asked_about_twice() {
        let fixture = Fixture::clustered(Metric::L2);
        let query = fixture.query(5);
        for index in &indexes(&fixture) {
            let asked = RefCell::new(Vec::new());
            let ask = Ask {
                codes: fixture.scores(&query),
                depth: Depth { window: 10, rerank: 30 },
                accept: |row| {
                    asked.borrow_mut().push(row);
                    row % 3 == 0
                },
                share: 1.0,
                least: 0,
                most_scored: u64::MAX,
                hidden: None,
            };
            let (found, _) = find(index, &ask);
            let (asked, found_rows) = (asked.into_inner(), found.iter().map(|&(_, row)| row));
            let different: BTreeSet<u32> = asked.iter().copied().collect();
            assert_eq!(asked.len(), different.len(), "{:?}", index.kind());
            assert!(found.len() > 5 && found_rows.clone().all(|row| different.contains(&row)));
        }
    }

    #[test]
    fn hits_are_accepted_and_best_first_and_one_row_is_hidden() {
        let fixture = Fixture::clustered(Metric::Cosine);
        for index in &indexes(&fixture) {
            let query = fixture.codec.query(&fixture.vectors[50]);
            let ask = Ask {
                codes: fixture.scores(&query),
                depth: Depth { window: 40, rerank: 15 },
                accept: |row| row % 2 == 0,
                share: 0.5,
                least: 10,
                most_scored: u64::MAX,
                hidden: Some(50),
            };
            let (found, _) = find(index, &ask);
            assert!(found.len() == 15 && found.is_sorted_by(|a, b| a.0 >= b.0), "{found:?}");
            let exact = fixture.exact(&query, 15, |row| row % 2 == 0 && row != 50);
            assert_eq!(found[..5], exact[..5]);
            assert!(found.iter().all(|&(_, row)| row % 2 == 0 && row != 50), "{found:?}");
        }
    }
}
