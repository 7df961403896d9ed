//! Learns edges from the queries to expect.
//!
//! What is near a row by codes is not what a query needs together: the codes of queries and rows
//! differ (LeanVec-OOD), and so may their distributions. RoarGraph (Chen et al., VLDB 2024, arXiv
//! 2408.08933, §4) connects the nearest row of a query, its *pivot*, to the query's other
//! neighbours, pruned by the rule of the graph, and these back to it. Deviations:
//!
//! - A sample of a few hundred queries has neighbours among a small part of the rows, and changes
//!   little. So each row is a query, too, moved to where queries are, and also as it is where codes
//!   map queries otherwise ([`ExpectedQueries`]).
//! - The neighbours of queries are found with the Vamana graph, not by scoring all rows.
//! - A row keeps its nearest edges of the Vamana graph, since near rows have to be connected for any
//!   query, and those that lead where no other one does. The learned ones replace the others.
//!
//! Where queries are coded as rows are, and none are given, the Vamana graph is left as it is.
//!
//! docs/decisions/0027-edges-from-expected-queries.md has the measurements.

use std::sync::atomic::Ordering;

use rayon::prelude::*;

use super::super::{Adjacency, NO_ROW, Width, search};
use super::{Builder, GraphSettings, Worker};
use crate::index::{BuildProgress, CodeScores};
use crate::kernels::codes::CodeKernel;
use crate::quantization::{Codec, ExpectedQueries, PrimaryQuery, RowDistances};

/// Share of its edges that a row keeps, the nearest: one in this many.
const KEPT_SHARE: usize = 4;
/// Number of rows whose queries are searched before what they found is connected.
const BATCH: usize = 4096;
/// Number of rows from which it is learned where rows are.
const SAMPLE: usize = 16_384;

/// What a graph learns edges from.
#[derive(Debug, Clone, Copy)]
pub struct Lessons<'a> {
    /// The codec of the codes.
    pub codec: &'a Codec,
    /// The records of all rows, and trailing padding.
    pub records: &'a [u8],
    /// Representative queries; none if they are like the rows, or not known.
    pub queries: &'a [PrimaryQuery],
}

impl<'a> Lessons<'a> {
    /// The queries to expect of rows; `None` if they teach nothing.
    pub(super) fn expected(
        &self,
        distances: &RowDistances<'_>,
        rows: &[u32],
    ) -> Option<ExpectedQueries<'a>> {
        // Without queries, it does not matter where rows are.
        let most = if self.queries.is_empty() { 0 } else { SAMPLE };
        let sample = decoded(distances, &rows[..rows.len().min(most)]);
        ExpectedQueries::new(self.codec, &sample, self.queries)
    }
}

impl<'a> Builder<'a> {
    /// Replaces the farther edges of the rows `asked`, among `rows`, by edges learned from the queries
    /// to expect of them, and from those given. `None` if cancelled.
    pub(super) fn learn(
        &mut self,
        (rows, asked): (&[u32], &[u32]),
        lessons: (Lessons<'_>, &ExpectedQueries<'_>),
        progress: &BuildProgress,
    ) -> Option<()> {
        let learned = self.learned(asked, lessons, progress)?;
        self.join(&learned, rows, asked);
        self.connect(rows);
        Some(())
    }

    /// A graph of learned edges alone.
    fn learned(
        &self,
        asked: &[u32],
        (lessons, expected): (Lessons<'_>, &ExpectedQueries<'_>),
        progress: &BuildProgress,
    ) -> Option<Self> {
        let slots = self.settings.learned;
        let settings = GraphSettings { max_degree: slots, prune_to: slots, ..self.settings };
        let edges = vec![NO_ROW; self.distances.rows() as usize * slots];
        let mut learned = Self { distances: self.distances, settings, edges, entry: self.entry };
        learned.project(&self.neighbours(lessons, lessons.queries));
        for batch in asked.chunks(BATCH) {
            let rows = decoded(self.distances, batch);
            for queries in expected.of(&rows).chunks(BATCH) {
                if progress.cancelled.load(Ordering::Relaxed) {
                    return None;
                }
                learned.project(&self.neighbours(lessons, queries));
            }
            progress.done.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        learned.reverse();
        Some(learned)
    }

    /// The nearest rows of each query, nearest first.
    fn neighbours(
        &self,
        Lessons { codec, records, .. }: Lessons<'_>,
        queries: &[PrimaryQuery],
    ) -> Vec<Vec<u32>> {
        let (kernel, window) = (CodeKernel::detect(), self.settings.window_size);
        let width = Width::new(window, window);
        let find = |worker: &mut Worker<'a>, query: &PrimaryQuery| {
            let scores = CodeScores { codec, kernel, records, query };
            search(&self.graph(), self.entry, &scores, None, &mut worker.scratch, width);
            worker.scratch.beam.rows().map(|(_, row)| row).collect()
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
            .map_init(
                || self.worker(),
                |worker, pairs| {
                    let pivot = pairs[0].0;
                    let mut all = self.graph().neighbours(pivot).to_vec();
                    all.extend(pairs.iter().map(|&(_, other)| other));
                    (pivot, self.pruned(worker, pivot, &all))
                },
            )
            .collect();
        for (row, neighbours) in &chosen {
            self.set(*row, neighbours);
        }
    }

    /// Adds the reverse of all edges.
    fn reverse(&mut self) {
        let forward = self.edges.clone();
        let forward = Adjacency::new(&forward, self.settings.max_degree);
        let rows: Vec<u32> = (0..forward.rows()).collect();
        for batch in rows.chunks(BATCH) {
            let back = batch.iter().flat_map(|&row| {
                forward.neighbours(row).iter().map(move |&neighbour| (neighbour, row))
            });
            self.add(back.collect(), self.settings.alpha);
        }
    }

    /// Adds learned edges, which replace the farther edges of the rows `asked`.
    fn join(&mut self, learned: &Self, rows: &[u32], asked: &[u32]) {
        let mut is_asked = vec![false; self.distances.rows() as usize];
        asked.iter().for_each(|&row| is_asked[row as usize] = true);
        // The edges of a row do not depend on those of others.
        for batch in rows.chunks(BATCH) {
            let join = |worker: &mut Worker<'a>, &row: &u32| {
                let new = learned.graph().neighbours(row);
                if is_asked[row as usize] {
                    self.replaced(worker, row, new)
                } else {
                    self.extended(worker, row, new)
                }
            };
            let joined: Vec<Vec<u32>> = batch.par_iter().map_init(|| self.worker(), join).collect();
            for (&row, edges) in batch.iter().zip(&joined) {
                self.set(row, edges);
            }
        }
    }

    /// The nearest edges of a row, the learned ones, and of the others those that none of these leads
    /// to: an edge is superfluous if another one ends nearer to its end than the row is (MRNG; Fu et
    /// al., VLDB 2019, definition 5). Without them, clusters fall apart.
    fn replaced(&self, worker: &mut Worker<'a>, row: u32, new: &[u32]) -> Vec<u32> {
        let own = self.by_distance(worker, row);
        let (near, far) = own.split_at(self.kept(own.len()));
        let mut edges: Vec<u32> = near.iter().map(|&(_, other)| other).collect();
        let unknown = |other: &&u32| !near.iter().any(|(_, known)| known == *other);
        edges.extend(new.iter().filter(unknown));
        for &(distance, other) in far {
            if edges.len() == self.settings.max_degree {
                break;
            }
            let leads = |(there, _): (f32, u32)| there <= distance;
            if !edges.contains(&other) && !worker.pruner.measure(other, &edges).any(leads) {
                edges.push(other);
            }
        }
        edges
    }

    /// All edges of a row and the learned ones, pruned beyond the nearest if there are too many.
    fn extended(&self, worker: &mut Worker<'a>, row: u32, new: &[u32]) -> Vec<u32> {
        let own = self.graph().neighbours(row);
        let unknown = new.iter().copied().filter(|other| !own.contains(other));
        if own.len() + unknown.clone().count() <= self.settings.max_degree {
            return own.iter().copied().chain(unknown).collect();
        }
        let own = self.by_distance(worker, row);
        let mut edges: Vec<u32> = own.into_iter().map(|(_, other)| other).collect();
        let mut far = edges.split_off(self.kept(edges.len()));
        far.extend(unknown);
        edges.extend(self.pruned(worker, row, &far));
        edges
    }

    /// Number of nearest edges that a row keeps of those it has.
    fn kept(&self, edges: usize) -> usize {
        edges.min(self.settings.max_degree / KEPT_SHARE)
    }

    /// The edges of a row with their distances, nearest first.
    fn by_distance(&self, worker: &mut Worker<'a>, row: u32) -> Vec<(f32, u32)> {
        let mut own: Vec<(f32, u32)> =
            worker.pruner.measure(row, self.graph().neighbours(row)).collect();
        own.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        own
    }

    /// As many of these edges as may be learned.
    fn pruned(&self, worker: &mut Worker<'a>, row: u32, edges: &[u32]) -> Vec<u32> {
        let mut chosen = Vec::new();
        let measured: Vec<(f32, u32)> = worker.pruner.measure(row, edges).collect();
        let GraphSettings { alpha, learned, .. } = self.settings;
        // Half of the slack that near edges have: learned edges may be few.
        worker.pruner.prune(row, measured, (1.0 + alpha) / 2.0, learned, &mut chosen);
        chosen
    }
}

/// The decoded codes of rows, shape [n, d].
fn decoded(distances: &RowDistances<'_>, rows: &[u32]) -> Vec<f32> {
    let (mut all, mut one) = (Vec::with_capacity(rows.len() * distances.dimension()), Vec::new());
    for &row in rows {
        distances.decode(row, &mut one);
        all.extend_from_slice(&one);
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::index::Scratch;
    use crate::index::fixture::{Fixture, ROWS, clustered, float, recall};
    use crate::index::graph::build;
    use crate::model::{LvqCode, Metric, ReductionMethod};
    use crate::quantization::leanvec::{Moments, Reduction};

    const HALF: usize = 12;
    const SETTINGS: GraphSettings = GraphSettings {
        max_degree: 32,
        window_size: 60,
        alpha: 1.2,
        prune_to: 28,
        learned: 20,
        seed: 42,
    };

    /// A vector whose halves have these deviations.
    fn vector(seed: u64, first: f32, second: f32) -> Vec<f32> {
        let scale = |i: usize| if i < HALF { first } else { second };
        (0..2 * HALF).map(|i| float(seed, i as u64) * scale(i)).collect()
    }

    fn query(number: u64) -> Vec<f32> {
        vector(1_000_000 + number, 1.0, 0.1)
    }

    /// Codes of rows with maps that know the queries.
    fn coded(metric: Metric, rows: Vec<Vec<f32>>, queries: &[f32], reduced: usize) -> Fixture {
        let (vectors, dimension) = (rows.concat(), rows[0].len());
        let moments = Moments::new(&vectors, queries, dimension);
        let reduction = Reduction::learn(&moments, ReductionMethod::Sphering, reduced, 7).unwrap();
        Fixture::reduced(metric, LvqCode::Lvq8, rows, Some(reduction))
    }

    /// Rows that are near each other by their second half, while queries rank them by their first.
    fn rows() -> Fixture {
        let queries: Vec<f32> = (0..300).flat_map(query).collect();
        coded(Metric::Dot, (0..4000).map(|row| vector(row, 0.4, 1.0)).collect(), &queries, 20)
    }

    fn queries(fixture: &Fixture, numbers: std::ops::Range<u64>) -> Vec<PrimaryQuery> {
        numbers.map(|number| fixture.codec.query(&query(number))).collect()
    }

    fn built(
        fixture: &Fixture,
        listed: &[u32],
        queries: &[PrimaryQuery],
        learned: usize,
    ) -> (Vec<u32>, u32) {
        let (distances, progress) = (fixture.distances(), BuildProgress::default());
        let lessons = Lessons { queries, ..fixture.lessons() };
        let settings = GraphSettings { learned, ..SETTINGS };
        build(&distances, listed, None, lessons, settings, &progress).unwrap()
    }

    /// Mean number of rows scored by the narrowest search that finds 95% of the ten best.
    fn scored(fixture: &Fixture, built: &(Vec<u32>, u32), queries: &[PrimaryQuery]) -> f64 {
        let graph = Adjacency::new(&built.0, SETTINGS.max_degree);
        let mut scratch = Scratch::default();
        for window in (10..600).step_by(2) {
            let (mut sum, mut scored) = (0.0, 0);
            for query in queries {
                let width = Width::new(window, window);
                let scores = fixture.scores(query);
                scored += search(&graph, built.1, &scores, None, &mut scratch, width).scored;
                let found: Vec<(f32, u32)> = scratch.beam.rows().take(10).collect();
                sum += recall(&found, &fixture.exact(query, 10, |_| true));
            }
            if sum >= 0.95 * queries.len() as f64 {
                return scored as f64 / queries.len() as f64;
            }
        }
        f64::INFINITY
    }

    #[test]
    fn queries_unlike_the_rows_are_answered_with_less_work() {
        let fixture = rows();
        let asked = queries(&fixture, 1000..1080);
        let work = |given: &[PrimaryQuery], learned| {
            scored(&fixture, &built(&fixture, &fixture.rows(), given, learned), &asked)
        };
        let (plain, unknown) = (work(&[], 0), work(&[], SETTINGS.learned));
        let known = work(&queries(&fixture, 0..200), SETTINGS.learned);
        assert!(known < 0.92 * plain, "{known} of {plain}");
        // Without queries, rows stand in for them, which is no better for these, and little worse.
        assert!(known < unknown && unknown < 1.15 * plain, "{unknown} of {plain}");
    }

    #[test]
    fn clusters_stay_connected() {
        let rows: Vec<Vec<f32>> = (0..u64::from(ROWS)).map(clustered).collect();
        let queries = (0..60).flat_map(|number| clustered(1_000_000 + number));
        let fixture = coded(Metric::L2, rows, &queries.collect::<Vec<f32>>(), 12);
        let of = |numbers: std::ops::Range<u64>| -> Vec<PrimaryQuery> {
            let vectors = numbers.map(|number| clustered(1_000_000 + number));
            vectors.map(|vector| fixture.codec.query(&vector)).collect()
        };
        let (given, asked) = (of(0..60), of(100..200));
        let work = |given: &[PrimaryQuery], learned| {
            scored(&fixture, &built(&fixture, &fixture.rows(), given, learned), &asked)
        };
        let plain = work(&[], 0);
        for given in [&given[..], &[]] {
            let learned = work(given, SETTINGS.learned);
            println!("{learned} of {plain}");
            assert!(learned < 1.1 * plain, "{learned} of {plain}");
        }
    }

    #[test]
    fn near_rows_alone_teach_nothing() {
        let fixture = Fixture::clustered(Metric::Cosine);
        let rows = fixture.rows();
        assert_eq!(built(&fixture, &rows, &[], SETTINGS.learned), built(&fixture, &rows, &[], 0));
    }

    #[test]
    fn edges_are_sound_and_reach_every_listed_row_and_no_other() {
        let fixture = rows();
        let listed: Vec<u32> = fixture.rows().into_iter().filter(|row| row % 7 != 3).collect();
        // Also where there is nothing to learn: equal queries, and those that are the rows.
        let equal = vec![queries(&fixture, 5..6)[0].clone(); 80];
        let alike = listed.iter().map(|&row| fixture.codec.query(&fixture.vectors[row as usize]));
        for given in [queries(&fixture, 0..80), equal, alike.collect(), Vec::new()] {
            let (edges, entry) = built(&fixture, &listed, &given, SETTINGS.learned);
            let graph = Adjacency::new(&edges, SETTINGS.max_degree);
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
        let given = queries(&fixture, 0..80);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| built(&fixture, &fixture.rows(), &given, SETTINGS.learned))
        };
        let one = with(1);
        assert_eq!(with(3), one);
        assert_ne!(built(&fixture, &fixture.rows(), &given, 0), one);
    }
}
