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
    /// The index as it is searched.
    pub fn view(&self) -> IndexView<'_> {
        match self {
            Self::Graph { edges, degree, entry } => {
                IndexView::Graph(Adjacency::new(edges, *degree), *entry)
            }
            Self::Ivf(parts) => IndexView::Ivf(parts.lists()),
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
    fn widest(&self) -> usize {
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
            let best = scratch.beam.rows().filter(|&(_, row)| (ask.accept)(row));
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
