//! Learns edges from queries.
//!
//! Where queries are not distributed like rows, the rows that a query needs together are not near
//! each other, and a walk over edges between near rows leaves some of them out. RoarGraph (Chen et
//! al., VLDB 2024, arXiv 2408.08933, §4) connects the nearest row of a query, its *pivot*, to the
//! query's other neighbours, pruned by the rule of the graph, and these back to it. Deviations:
//!
//! - A sample of a few hundred queries has neighbours among a small part of the rows, and moves no
//!   other edges. So each row is moved to where queries are ([`Transport`]), as one more query.
//! - The neighbours of queries are found with the graph itself, not by scoring all rows.
//! - Learned edges complete the nearest edges of the graph within the same degree, instead of
//!   edges from a second search of each row: near rows have to be connected for any query.
//!
//! docs/decisions/0024-graphs-that-learn-from-queries.md has the measurements.

use std::sync::atomic::Ordering;

use rayon::prelude::*;

use super::super::{Adjacency, NO_ROW, Width, search};
use super::{Builder, GraphSettings, Worker};
use crate::index::{BuildProgress, CodeScores};
use crate::kernels::codes::CodeKernel;
use crate::quantization::{Codec, PrimaryQuery, RowDistances, Transport, hash};

/// Number of nearest rows of a query that are connected, and the search window that finds them.
const NEIGHBOURS: usize = 100;
const WINDOW: usize = 120;
/// Pruning factor of the edges of a pivot; more than 1 would leave those to near rows only.
const PIVOT_ALPHA: f32 = 0.95;
/// Edges of the graph that a row keeps, the nearest: this many eighths of the maximum degree.
const KEPT_EIGHTHS: usize = 3;
/// Number of queries searched before their neighbours are connected.
const BATCH: usize = 4096;
/// Number of rows from which the map to queries is learned.
const TRANSPORT_ROWS: usize = 16_384;

/// The codes of a graph's rows, and queries to learn from.
#[derive(Debug, Clone, Copy)]
pub struct Lessons<'a> {
    /// The codec of the codes.
    pub codec: &'a Codec,
    /// The records of all rows, and trailing padding.
    pub records: &'a [u8],
    /// Representative queries.
    pub queries: &'a [PrimaryQuery],
    /// Maximum number of edges of a row to learn.
    pub degree: usize,
}

/// A graph with learned edges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taught {
    /// Edges in the format of [`Adjacency`].
    pub edges: Vec<u32>,
    /// Neighbour slots per row.
    pub degree: usize,
}

/// Replaces the farther edges of a graph of `rows` by fewer edges learned from queries. `None` if
/// cancelled.
pub fn learn(
    distances: &RowDistances<'_>,
    rows: &[u32],
    (edges, entry): (&[u32], u32),
    lessons: Lessons<'_>,
    settings: GraphSettings,
    progress: &BuildProgress,
) -> Option<Taught> {
    let slots = lessons.degree;
    let learned = GraphSettings { max_degree: slots, prune_to: slots, ..settings };
    let none = vec![NO_ROW; distances.rows() as usize * slots];
    let mut learned = Builder { distances, settings: learned, edges: none, entry };
    let graph = Adjacency::new(edges, settings.max_degree);
    let mut order = rows.to_vec();
    order.sort_by_cached_key(|&row| hash(settings.seed, u64::from(row)));
    let transport = transport(distances, &order, lessons);
    progress.start(rows.len() as u64);
    let found = learned.neighbours(&graph, lessons, lessons.queries);
    learned.project(&found);
    for batch in order.chunks(BATCH) {
        if progress.cancelled.load(Ordering::Relaxed) {
            return None;
        }
        // Without a map, as for codes that are not finite, the sample is all there is to learn.
        if let Some(transport) = &transport {
            let queries = moved(distances, batch, transport, lessons.codec);
            let found = learned.neighbours(&graph, lessons, &queries);
            learned.project(&found);
        }
        progress.done.fetch_add(batch.len() as u64, Ordering::Relaxed);
    }
    learned.reverse(&order);
    let degree = (settings.max_degree * KEPT_EIGHTHS / 8).max(1) + slots;
    let settings = GraphSettings { max_degree: degree, prune_to: degree, ..settings };
    Some(Taught { edges: join(&learned, &graph, rows, settings), degree })
}

/// The map from rows to queries, in the space of the codes.
fn transport(
    distances: &RowDistances<'_>,
    order: &[u32],
    lessons: Lessons<'_>,
) -> Option<Transport> {
    let rows = decoded(distances, &order[..order.len().min(TRANSPORT_ROWS)]);
    let layout = lessons.codec.primary_layout();
    let queries: Vec<f32> =
        lessons.queries.iter().flat_map(|query| query.rounded(layout)).collect();
    if rows.is_empty() || queries.is_empty() {
        return None;
    }
    Transport::learn(&rows, &queries, distances.dimension()).ok()
}

/// The decoded codes of rows, shape [n, dimension].
fn decoded(distances: &RowDistances<'_>, rows: &[u32]) -> Vec<f32> {
    let (mut all, mut one) = (Vec::with_capacity(rows.len() * distances.dimension()), Vec::new());
    for &row in rows {
        distances.decode(row, &mut one);
        all.extend_from_slice(&one);
    }
    all
}

/// The queries that rows are moved to.
fn moved(
    distances: &RowDistances<'_>,
    rows: &[u32],
    transport: &Transport,
    codec: &Codec,
) -> Vec<PrimaryQuery> {
    let queries = transport.queries(&decoded(distances, rows));
    let queries = queries.par_chunks_exact(distances.dimension());
    queries.map(|query| codec.reduced_query(query.to_vec())).collect()
}

impl<'a> Builder<'a> {
    /// The nearest rows of each query, nearest first.
    fn neighbours(
        &self,
        graph: &Adjacency<'_>,
        Lessons { codec, records, .. }: Lessons<'_>,
        queries: &[PrimaryQuery],
    ) -> Vec<Vec<u32>> {
        let kernel = CodeKernel::detect();
        let width = Width { window: WINDOW, capacity: WINDOW };
        let find = |worker: &mut Worker<'a>, query: &PrimaryQuery| {
            let scores = CodeScores { codec, kernel, records, query };
            search(graph, self.entry, &scores, None, &mut worker.scratch, width);
            worker.scratch.beam.rows().take(NEIGHBOURS).map(|(_, row)| row).collect()
        };
        queries.par_iter().map_init(|| self.worker(), find).collect()
    }

    /// Adds edges from the pivot of each query to its other neighbours, and prunes them.
    fn project(&mut self, neighbours: &[Vec<u32>]) {
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        for found in neighbours {
            let Some((&pivot, others)) = found.split_first() else { continue };
            pairs.extend(others.iter().map(|&other| (pivot, other)));
        }
        pairs.par_sort_unstable();
        let chosen: Vec<(u32, Vec<u32>)> = pairs
            .par_chunk_by(|a, b| a.0 == b.0)
            .map_init(|| self.worker(), |worker, pairs| (pairs[0].0, self.projected(worker, pairs)))
            .collect();
        for (row, neighbours) in &chosen {
            self.set(*row, neighbours);
        }
    }

    fn projected(&self, worker: &mut Worker<'a>, pairs: &[(u32, u32)]) -> Vec<u32> {
        let pivot = pairs[0].0;
        let mut all = self.graph().neighbours(pivot).to_vec();
        all.extend(pairs.iter().map(|&(_, other)| other));
        let mut chosen = Vec::new();
        let measured: Vec<(f32, u32)> = worker.pruner.measure(pivot, &all).collect();
        let degree = self.settings.max_degree;
        worker.pruner.prune(pivot, measured, PIVOT_ALPHA, degree, &mut chosen);
        chosen
    }

    /// Adds the reverse of all edges.
    fn reverse(&mut self, rows: &[u32]) {
        let forward = self.edges.clone();
        let forward = Adjacency::new(&forward, self.settings.max_degree);
        for batch in rows.chunks(BATCH) {
            let back = batch.iter().flat_map(|&row| {
                forward.neighbours(row).iter().map(move |&neighbour| (neighbour, row))
            });
            self.add(back.collect(), self.settings.alpha);
        }
    }
}

/// The nearest edges of the graph and the learned ones, with all rows connected.
fn join(
    learned: &Builder<'_>,
    graph: &Adjacency<'_>,
    rows: &[u32],
    settings: GraphSettings,
) -> Vec<u32> {
    let none = vec![NO_ROW; learned.distances.rows() as usize * settings.max_degree];
    let mut joined =
        Builder { distances: learned.distances, settings, edges: none, entry: learned.entry };
    let kept = settings.max_degree - learned.settings.max_degree;
    let both = |worker: &mut Worker<'_>, &row: &u32| {
        let mut near: Vec<(f32, u32)> = worker.pruner.measure(row, graph.neighbours(row)).collect();
        near.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut all: Vec<u32> = near.into_iter().take(kept).map(|(_, row)| row).collect();
        for &other in learned.graph().neighbours(row) {
            if all.len() < settings.max_degree && !all.contains(&other) {
                all.push(other);
            }
        }
        all
    };
    let edges: Vec<Vec<u32>> = rows.par_iter().map_init(|| learned.worker(), both).collect();
    for (&row, neighbours) in rows.iter().zip(&edges) {
        joined.set(row, neighbours);
    }
    joined.connect(rows);
    joined.edges
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::index::Scratch;
    use crate::index::fixture::{Fixture, recall};
    use crate::index::graph::build;
    use crate::model::{LvqCode, Metric};

    const HALF: u64 = 8;
    const SETTINGS: GraphSettings =
        GraphSettings { max_degree: 16, window_size: 50, alpha: 1.2, prune_to: 14, seed: 42 };

    /// Uniform in −1..1.
    fn float(seed: u64, index: u64) -> f32 {
        (hash(seed, index) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    }

    /// A vector whose halves have these deviations.
    fn vector(seed: u64, first: f32, second: f32) -> Vec<f32> {
        (0..2 * HALF).map(|i| float(seed, i) * if i < HALF { first } else { second }).collect()
    }

    /// Rows that are near each other by their second half.
    fn rows() -> Fixture {
        let rows = (0..3000).map(|row| vector(row, 0.4, 1.0)).collect();
        Fixture::new(Metric::Cosine, LvqCode::Lvq8, rows)
    }

    /// Queries that rank rows by their first half.
    fn queries(fixture: &Fixture, first: u64, count: u64) -> Vec<PrimaryQuery> {
        let query = |number: u64| fixture.codec.query(&vector(1_000_000 + number, 1.0, 0.1));
        (first..first + count).map(query).collect()
    }

    fn taught(
        fixture: &Fixture,
        listed: &[u32],
        queries: &[PrimaryQuery],
    ) -> (Vec<u32>, Taught, u32) {
        let (distances, progress) = (fixture.distances(), BuildProgress::default());
        let (edges, entry) = build(&distances, listed, None, SETTINGS, &progress).unwrap();
        let (codec, records) = (&fixture.codec, &*fixture.records);
        let lessons = Lessons { codec, records, queries, degree: 6 };
        let taught = learn(&distances, listed, (&edges, entry), lessons, SETTINGS, &progress);
        (edges, taught.unwrap(), entry)
    }

    /// Mean number of rows scored by the narrowest search with this recall of the ten best.
    fn scored(
        fixture: &Fixture,
        (graph, entry): (Adjacency<'_>, u32),
        queries: &[PrimaryQuery],
        target: f64,
    ) -> f64 {
        let mut scratch = Scratch::default();
        for window in 10..400 {
            let (mut sum, mut scored) = (0.0, 0);
            for query in queries {
                let width = Width { window, capacity: window };
                let scores = fixture.scores(query);
                scored += search(&graph, entry, &scores, None, &mut scratch, width).scored;
                let found: Vec<(f32, u32)> = scratch.beam.rows().take(10).collect();
                sum += recall(&found, &fixture.exact(query, 10, |_| true));
            }
            if sum >= target * queries.len() as f64 {
                return scored as f64 / queries.len() as f64;
            }
        }
        f64::INFINITY
    }

    #[test]
    fn queries_unlike_the_rows_are_answered_with_less_work() {
        let fixture = rows();
        let (plain, taught, entry) = taught(&fixture, &fixture.rows(), &queries(&fixture, 0, 200));
        let asked = queries(&fixture, 1000, 100);
        let plain = Adjacency::new(&plain, SETTINGS.max_degree);
        let learned = Adjacency::new(&taught.edges, taught.degree);
        for target in [0.9, 0.98] {
            let before = scored(&fixture, (plain, entry), &asked, target);
            let after = scored(&fixture, (learned, entry), &asked, target);
            assert!(after < 0.75 * before, "{target}: {after} of {before}");
        }
    }

    #[test]
    fn edges_are_sound_and_reach_every_listed_row_and_no_other() {
        let fixture = rows();
        let listed: Vec<u32> = fixture.rows().into_iter().filter(|row| row % 7 != 3).collect();
        // Also where there is nothing to learn: equal queries, and those that are the rows.
        let equal = vec![queries(&fixture, 5, 1)[0].clone(); 80];
        let alike = listed.iter().map(|&row| fixture.codec.query(&fixture.vectors[row as usize]));
        for queries in [queries(&fixture, 0, 80), equal, alike.collect(), Vec::new()] {
            let (_, Taught { edges, degree }, entry) = taught(&fixture, &listed, &queries);
            assert_eq!(degree, 12);
            let graph = Adjacency::new(&edges, degree);
            let (mut reached, mut open) = (BTreeSet::from([entry]), vec![entry]);
            while let Some(row) = open.pop() {
                let neighbours = graph.neighbours(row);
                let different: BTreeSet<u32> = neighbours.iter().copied().collect();
                assert_eq!(different.len(), neighbours.len(), "row {row} has an edge twice");
                assert!(!different.contains(&row), "row {row} has an edge to itself");
                open.extend(neighbours.iter().filter(|&&next| reached.insert(next)));
            }
            assert_eq!(reached.into_iter().collect::<Vec<u32>>(), listed);
        }
    }

    #[test]
    fn what_is_learned_does_not_depend_on_the_number_of_threads() {
        let fixture = rows();
        let queries = queries(&fixture, 0, 80);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| taught(&fixture, &fixture.rows(), &queries).1)
        };
        let one = with(1);
        assert_eq!(with(2), one);
        assert_eq!(with(3), one);
    }

    #[test]
    fn a_cancelled_build_learns_nothing() {
        let fixture = rows();
        let (distances, progress) = (fixture.distances(), BuildProgress::default());
        let (edges, entry) = build(&distances, &fixture.rows(), None, SETTINGS, &progress).unwrap();
        progress.cancelled.store(true, Ordering::Relaxed);
        let queries = queries(&fixture, 0, 80);
        let (codec, records) = (&fixture.codec, &*fixture.records);
        let lessons = Lessons { codec, records, queries: &queries, degree: 6 };
        let rows = fixture.rows();
        assert!(learn(&distances, &rows, (&edges, entry), lessons, SETTINGS, &progress).is_none());
    }
}
