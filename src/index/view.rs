//! An index of any kind, as it is searched.

use super::copies::Copies;
use super::graph::{self, Adjacency};
use super::ivf::{Goal, IvfParts, Lists};
use super::{CodeScores, Depth, Effort, Scratch, Trace};
use crate::model::IndexKind;

/// Maximum number of copies (rows with equal codes) returned in addition to the distinct rows
/// requested.
const MOST_COPIES: usize = 8192;
/// Matching rows lie away from the query if their share near it is below this fraction of their
/// overall share.
const RARER_NEARBY: f64 = 0.5;
/// The same for IVF lists, which tell nothing about the nearness of rows in further lists.
const RARER_IN_LISTS: f64 = 0.9;

/// A built index, before it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuiltIndex {
    /// A graph.
    Graph {
        /// Edges in the format of [`Adjacency`].
        edges: Vec<u32>,
        /// Neighbour slots per row.
        degree: usize,
        /// Entry point of searches.
        entry: u32,
    },
    /// IVF lists.
    Ivf(IvfParts),
    /// No index: all rows are scored.
    Flat,
}

/// An index as it is searched.
#[derive(Debug, Clone, Copy)]
pub enum IndexView<'a> {
    /// A graph and its entry point.
    Graph(Adjacency<'a>, u32),
    /// IVF lists.
    Ivf(Lists<'a>),
}

/// Eligible rows of a search.
pub struct Selection<A: Fn(u32) -> bool> {
    /// Whether a row is eligible.
    pub accept: A,
    /// Estimated share of eligible rows.
    pub share: f64,
    /// The search gives up after scoring this many rows.
    pub most_scored: u64,
}

/// Parameters of an index search.
pub struct Ask<'a, A: Fn(u32) -> bool> {
    /// The query and the codes.
    pub codes: CodeScores<'a>,
    /// Search window and number of rows to find.
    pub depth: Depth,
    /// Eligible rows; all if not set.
    pub selection: Option<Selection<A>>,
    /// A row that must be neither returned nor traversed.
    pub hidden: Option<u32>,
}

/// Result of a search among some of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Work done.
    pub effort: Effort,
    /// Rows near the query that were eligible.
    pub accepted: u64,
    /// Rows near the query that were not.
    pub rejected: u64,
    /// Whether the search went to its full depth.
    pub complete: bool,
}

impl Accepted {
    /// Whether rows near the query are eligible much more rarely than others: eligible rows then
    /// lie far away, where searches are not calibrated.
    pub fn lies_away(&self, share: f64, rarer: f64) -> bool {
        self.share() < share * rarer
    }

    /// Share of the rows near the query that are eligible.
    pub fn share(&self) -> f64 {
        self.accepted as f64 / (self.accepted + self.rejected).max(1) as f64
    }
}

/// Result of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Work done.
    pub effort: Effort,
    /// Whether the calibrated recall applies; if not, nearer rows may have been missed.
    pub trusted: bool,
}

impl BuiltIndex {
    /// The kind of index.
    pub fn kind(&self) -> IndexKind {
        match self {
            Self::Graph { .. } => IndexKind::Graph,
            Self::Ivf(_) => IndexKind::Ivf,
            Self::Flat => IndexKind::Flat,
        }
    }

    /// The index as it is searched; `None` for a flat one.
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
    /// The kind of index.
    pub fn kind(&self) -> IndexKind {
        match self {
            Self::Graph(..) => IndexKind::Graph,
            Self::Ivf(_) => IndexKind::Ivf,
        }
    }

    /// The widest useful window: all rows, or all lists.
    pub fn widest(&self) -> usize {
        match self {
            Self::Graph(graph, _) => graph.rows() as usize,
            Self::Ivf(lists) => lists.count(),
        }
    }

    /// Finds the best eligible rows and writes them to `found`, best first: at most `depth.rerank`,
    /// plus their copies.
    ///
    /// If not all rows are eligible, only eligible ones count towards window and margin, so that the
    /// search goes as far as needed, however the selection correlates with the query. The result is
    /// not trusted if the search gave up, or if rows near the query are eligible more rarely than
    /// others.
    pub fn search<A: Fn(u32) -> bool>(
        &self,
        ask: &Ask<'_, A>,
        copies: Copies<'_>,
        scratch: &mut Scratch,
        found: &mut Vec<(f32, u32)>,
    ) -> Outcome {
        found.clear();
        let outcome = match &ask.selection {
            None => Outcome { effort: self.among_all(ask, scratch), trusted: true },
            Some(selection) => {
                let went = self.among_accepted(ask, selection, copies, scratch);
                let rarer = match self {
                    Self::Graph(..) => RARER_NEARBY,
                    Self::Ivf(_) => RARER_IN_LISTS,
                };
                let trusted = went.complete && !went.lies_away(selection.share, rarer);
                Outcome { effort: went.effort, trusted }
            }
        };
        for (score, first) in scratch.beam.rows().take(ask.depth.rerank) {
            let is_accepted =
                |row: u32| ask.selection.as_ref().is_none_or(|some| (some.accept)(row));
            if copies.is_empty() {
                // Kept rows have been prefetched.
                found.push((score, first));
                continue;
            }
            let equal = std::iter::once(first).chain(copies.of(first));
            found.extend(equal.filter(|&row| is_accepted(row)).map(|row| (score, row)));
            if found.len() >= ask.depth.rerank + MOST_COPIES {
                found.truncate(ask.depth.rerank + MOST_COPIES);
                break;
            }
        }
        outcome
    }

    /// Traces a search of a graph among all rows; of other kinds, nothing. `trace` is new.
    pub fn trace<A: Fn(u32) -> bool>(
        &self,
        ask: &Ask<'_, A>,
        copies: Copies<'_>,
        scratch: &mut Scratch,
        trace: &mut Trace,
    ) {
        let Self::Graph(graph, entry) = self else { return };
        let rerank = ask.depth.rerank;
        let (codes, place) = (&ask.codes, (scratch, width(graph, ask.depth)));
        let effort = graph::search_watched(graph, *entry, codes, ask.hidden, place, trace);
        trace.end(effort, (rerank, rerank + MOST_COPIES), |row| copies.of(row));
    }

    fn among_all<A: Fn(u32) -> bool>(&self, ask: &Ask<'_, A>, scratch: &mut Scratch) -> Effort {
        let Depth { window, rerank, .. } = ask.depth;
        match self {
            Self::Graph(graph, entry) => {
                let width = width(graph, ask.depth);
                graph::search(graph, *entry, &ask.codes, ask.hidden, scratch, width)
            }
            Self::Ivf(lists) => {
                let window = window.clamp(1, self.widest().max(1));
                let accept = |row| Some(row) != ask.hidden;
                let goal = Goal { probes: window, accepted: 0, most_scored: u64::MAX };
                lists.search(&ask.codes, scratch, goal, rerank, accept).effort
            }
        }
    }

    fn among_accepted<A: Fn(u32) -> bool>(
        &self,
        ask: &Ask<'_, A>,
        selection: &Selection<A>,
        copies: Copies<'_>,
        scratch: &mut Scratch,
    ) -> Accepted {
        let Depth { window, rerank, .. } = ask.depth;
        let accept = |row| Some(row) != ask.hidden && copies.any(row, &selection.accept);
        let most_scored = selection.most_scored;
        match self {
            Self::Graph(graph, entry) => {
                let place = (scratch, width(graph, ask.depth));
                graph::search_accepted(graph, *entry, &ask.codes, accept, place, most_scored)
            }
            Self::Ivf(lists) => {
                let window = window.clamp(1, self.widest().max(1));
                let accepted = (window * lists.rows.len() / lists.count().max(1)) as u64;
                let goal = Goal { probes: window, accepted, most_scored };
                lists.search(&ask.codes, scratch, goal, rerank, accept)
            }
        }
    }
}

/// The rows of a graph that a search to this depth expands and keeps.
fn width(graph: &Adjacency<'_>, depth: Depth) -> graph::Width {
    let rows = graph.rows() as usize;
    let window = depth.window.clamp(1, rows.max(1));
    let capacity = depth.rerank.min(rows).max(window);
    let ending = depth.margin.map(|margin| (margin, depth.rerank));
    graph::Width { window, capacity, ending }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    use super::*;
    use crate::index::fixture::{Fixture, ROWS, clustered, recall};
    use crate::index::ivf::{self, IvfSettings};
    use crate::index::{BuildProgress, distinct, with_scratch};
    use crate::model::{LvqCode, Metric};

    fn indexes(fixture: &Fixture) -> [BuiltIndex; 2] {
        indexes_of(fixture, &fixture.rows())
    }

    fn indexes_of(fixture: &Fixture, rows: &[u32]) -> [BuiltIndex; 2] {
        let distances = fixture.distances();
        let progress = BuildProgress::default();
        let settings = IvfSettings { lists: Some(60), seed: 1 };
        let (codec, records) = (&fixture.codec, &fixture.records);
        let parts = ivf::build(&distances, codec, records, rows, settings, &progress).unwrap();
        [fixture.graph(rows), BuiltIndex::Ivf(parts)]
    }

    fn find<A: Fn(u32) -> bool>(
        index: &BuiltIndex,
        copies: Copies<'_>,
        ask: &Ask<'_, A>,
    ) -> (Vec<(f32, u32)>, Outcome) {
        let (mut found, view) = (Vec::new(), index.view().unwrap());
        let outcome = with_scratch(|scratch| view.search(ask, copies, scratch, &mut found));
        (found, outcome)
    }

    #[test]
    fn what_lies_far_from_the_query_is_found_or_not_trusted() {
        let fixture = Fixture::clustered(Metric::L2);
        let indexes = indexes(&fixture);
        let query = fixture.query(3);
        let all: Vec<u32> =
            fixture.exact(&query, ROWS as usize, |_| true).iter().map(|&(_, row)| row).collect();
        for index in &indexes {
            for (name, rows, trusted) in [
                ("the farthest", &all[all.len() - 300..], false),
                ("all but the nearest third", &all[1000..], false),
                ("all but the very nearest", &all[5..], true),
            ] {
                let accept = |row| rows.contains(&row);
                let ask = |most_scored| Ask {
                    codes: fixture.scores(&query),
                    depth: Depth::new(20, 20),
                    selection: Some(Selection {
                        accept,
                        share: rows.len() as f64 / f64::from(ROWS),
                        most_scored,
                    }),
                    hidden: None,
                };
                let (found, outcome) = find(index, Copies::default(), &ask(u64::MAX));
                let kind = index.kind();
                if kind == IndexKind::Graph {
                    assert_eq!(outcome.trusted, trusted, "{kind:?} {name}: {outcome:?}");
                }
                assert_eq!(found.len(), 20, "{kind:?} {name}");
                // A graph traverses the rows in between, however far; lists are scanned on.
                let exact = fixture.exact(&query, 10, accept);
                if kind == IndexKind::Graph || outcome.trusted {
                    assert!(recall(&found, &exact) >= 0.8, "{kind:?} {name}");
                }
                let (_, stopped) = find(index, Copies::default(), &ask(50));
                assert!(!stopped.trusted || trusted, "{kind:?} {name}: {stopped:?}");
                assert!(stopped.effort.scored + stopped.effort.scanned < 1500, "{stopped:?}");
            }
        }
    }

    #[test]
    fn a_wider_search_finds_no_less_among_what_is_accepted() {
        let fixture = Fixture::clustered(Metric::Cosine);
        for index in &indexes(&fixture) {
            let mut sums = Vec::new();
            for window in [2, 8, 32, 128] {
                let mut sum = 0.0;
                for number in 0..40 {
                    let query = fixture.query(number);
                    let accept = |row: u32| (row / 3).is_multiple_of(5);
                    let ask = Ask {
                        codes: fixture.scores(&query),
                        depth: Depth::new(window, 20),
                        selection: Some(Selection { accept, share: 0.2, most_scored: u64::MAX }),
                        hidden: None,
                    };
                    let (found, _) = find(index, Copies::default(), &ask);
                    sum += recall(&found, &fixture.exact(&query, 10, accept)) / 40.0;
                }
                sums.push(sum);
            }
            assert!(sums.is_sorted() && sums[3] > 0.99, "{:?}: {sums:?}", index.kind());
        }
    }

    #[test]
    fn more_rows_than_the_window_are_found_also_where_one_is_missing() {
        let fixture = Fixture::clustered(Metric::L2);
        for index in &indexes(&fixture) {
            let depth = Depth::new(10, 100);
            let (mut among_all, mut among_others) = (0.0, 0.0);
            for number in 0..40 {
                let query = fixture.query(number);
                let codes = fixture.scores(&query);
                let exact = fixture.exact(&query, 100, |row| row > 0);
                let selection = None::<Selection<fn(u32) -> bool>>;
                let ask = Ask { codes, depth, selection, hidden: None };
                among_all += recall(&find(index, Copies::default(), &ask).0, &exact) / 40.0;
                let others = Selection { accept: |row| row > 0, share: 1.0, most_scored: u64::MAX };
                let Ask { codes, depth, .. } = ask;
                let ask = Ask { codes, depth, selection: Some(others), hidden: None };
                among_others += recall(&find(index, Copies::default(), &ask).0, &exact) / 40.0;
            }
            let kind = index.kind();
            assert!(among_others > among_all - 0.01, "{kind:?}: {among_others}, {among_all}");
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
                depth: Depth::new(10, 30),
                selection: Some(Selection {
                    accept: |row| {
                        asked.borrow_mut().push(row);
                        row % 3 == 0
                    },
                    share: 1.0 / 3.0,
                    most_scored: u64::MAX,
                }),
                hidden: None,
            };
            let (found, _) = find(index, Copies::default(), &ask);
            let (asked, found_rows) = (asked.take(), found.iter().map(|&(_, row)| row));
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
                depth: Depth::new(40, 15),
                selection: Some(Selection {
                    accept: |row| row % 2 == 0,
                    share: 0.5,
                    most_scored: u64::MAX,
                }),
                hidden: Some(50),
            };
            let (found, _) = find(index, Copies::default(), &ask);
            assert!(found.len() == 15 && found.is_sorted_by(|a, b| a.0 >= b.0), "{found:?}");
            let exact = fixture.exact(&query, 15, |row| row % 2 == 0 && row != 50);
            assert_eq!(found[..5], exact[..5]);
            assert!(found.iter().all(|&(_, row)| row % 2 == 0 && row != 50), "{found:?}");
        }
    }

    #[test]
    fn rows_that_are_equal_count_as_one_and_are_all_found() {
        // 25 copies of each vector.
        for metric in [Metric::Dot, Metric::Cosine, Metric::L2] {
            let vectors = (0..u64::from(ROWS)).map(|row| clustered(row % 120));
            let fixture = Fixture::new(metric, LvqCode::Lvq8, vectors.collect());
            let distances = fixture.distances();
            let (different, pairs) = distinct(&fixture.rows(), |row| distances.record(row));
            assert_eq!((different.len(), pairs.len()), (120, ROWS as usize - 120));
            let copies = Copies::new(&pairs);
            let query = fixture.codec.query(&fixture.vectors[31]);
            for index in &indexes_of(&fixture, &different) {
                let ask = Ask {
                    codes: fixture.scores(&query),
                    depth: Depth::new(10, 4),
                    selection: None::<Selection<fn(u32) -> bool>>,
                    hidden: None,
                };
                let (mut found, _) = find(index, copies, &ask);
                found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                assert_eq!(found, fixture.exact(&query, 100, |_| true), "{metric:?}");
                // The first copy is not eligible, others are.
                let accept = |row: u32| row >= 240;
                let some = Selection { accept, share: 0.9, most_scored: u64::MAX };
                let Ask { codes, depth, hidden, .. } = ask;
                let ask = Ask { codes, depth, selection: Some(some), hidden };
                let (mut found, _) = find(index, copies, &ask);
                found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                assert_eq!(found, fixture.exact(&query, 92, accept), "{metric:?}");
            }
        }
    }
}
