use std::collections::BTreeSet;

use super::*;
use crate::index::fixture::{Fixture, ROWS, recall};
use crate::index::graph::Width;
use crate::model::Metric;

const METRICS: [Metric; 3] = [Metric::Dot, Metric::Cosine, Metric::L2];

const SETTINGS: GraphSettings = GraphSettings {
    max_degree: 16,
    window_size: 50,
    alpha: 1.2,
    prune_to: 14,
    learned: 12,
    seed: 42,
};

fn built(fixture: &Fixture, rows: &[u32], settings: GraphSettings) -> (Vec<u32>, u32) {
    let (distances, lessons) = (fixture.distances(), fixture.lessons());
    build(&distances, rows, None, lessons, settings, &BuildProgress::default()).unwrap()
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn reachable(graph: Adjacency<'_>, entry: u32) -> BTreeSet<u32> {
    let (mut found, mut open) = (BTreeSet::from([entry]), vec![entry]);
    while let Some(row) = open.pop() {
        for &neighbour in graph.neighbours(row) {
            if found.insert(neighbour) {
                open.push(neighbour);
            }
        }
    }
    found
}

#[test]
fn every_listed_row_is_reached_by_edges_that_are_sound_and_no_other_row_is() {
    for metric in METRICS {
        let fixture = Fixture::clustered(metric);
        let listed: Vec<u32> = (0..ROWS).filter(|row| row % 7 != 3).collect();
        let (edges, entry) = built(&fixture, &listed, SETTINGS);
        let graph = Adjacency::new(&edges, SETTINGS.max_degree);
        assert_eq!(graph.rows(), ROWS);
        for row in 0..ROWS {
            let neighbours = graph.neighbours(row);
            let different: BTreeSet<u32> = neighbours.iter().copied().collect();
            assert_eq!(different.len(), neighbours.len(), "row {row} has an edge twice");
            assert!(!different.contains(&row), "row {row} has an edge to itself");
            assert!(neighbours.is_empty() == (row % 7 == 3), "row {row}: {neighbours:?}");
        }
        let reached: Vec<u32> = reachable(graph, entry).into_iter().collect();
        assert_eq!(reached, listed, "{metric:?}");
    }
}

#[test]
fn a_graph_depends_on_the_seed_and_not_on_the_number_of_threads() {
    let fixture = Fixture::clustered(Metric::L2);
    let rows = fixture.rows();
    let of = |threads, seed| {
        let settings = GraphSettings { seed, ..SETTINGS };
        with_threads(threads, || built(&fixture, &rows, settings))
    };
    let one = of(1, 42);
    assert_eq!(of(1, 42), one);
    assert_eq!(of(2, 42), one);
    assert_eq!(of(3, 42), one);
    assert_ne!(of(2, 43).0, one.0);
}

#[test]
fn a_search_finds_what_scoring_all_rows_does() {
    for metric in METRICS {
        let fixture = Fixture::clustered(metric);
        let (edges, entry) = built(&fixture, &fixture.rows(), SETTINGS);
        let graph = Adjacency::new(&edges, SETTINGS.max_degree);
        let mut scratch = Scratch::default();
        let (mut sum, queries) = (0.0, 100);
        for number in 0..queries {
            let query = fixture.query(number);
            let (scores, width) = (fixture.scores(&query), Width::new(30, 30));
            let effort = search(&graph, entry, &scores, None, &mut scratch, width);
            assert!(effort.scored < u64::from(ROWS) / 2, "{effort:?}");
            let found: Vec<(f32, u32)> = scratch.beam.rows().take(10).collect();
            sum += recall(&found, &fixture.exact(&query, 10, |_| true));
        }
        let mean = sum / queries as f64;
        assert!(mean >= 0.95, "{metric:?}: recall {mean}");
    }
}

/// The graph of the first rows of a fixture, grown into one of its rows that `is_left` keeps and
/// all later rows.
fn grown(fixture: &Fixture, first: u32, is_left: impl Fn(u32) -> bool) -> (Vec<u32>, u32, u64) {
    let (edges, _) = built(fixture, &fixture.rows()[..first as usize], SETTINGS);
    let graph = Adjacency::new(&edges, SETTINGS.max_degree);
    let places =
        (0..ROWS).map(|row| if row < first && is_left(row) { row } else { NO_ROW }).collect();
    let earlier = Earlier { graph, places };
    let rows: Vec<u32> = (0..ROWS).filter(|&row| row >= first || is_left(row)).collect();
    let progress = BuildProgress::default();
    let distances = fixture.distances();
    let (edges, entry) =
        build(&distances, &rows, Some(&earlier), fixture.lessons(), SETTINGS, &progress).unwrap();
    (edges, entry, progress.done.into_inner())
}

#[test]
fn a_graph_grows_from_one_of_most_of_its_rows() {
    let (first, is_left) = (ROWS * 7 / 8, |row: u32| row % 5 != 2);
    for metric in METRICS {
        let fixture = Fixture::clustered(metric);
        let (edges, entry, inserted) = grown(&fixture, first, is_left);
        assert_eq!(inserted, u64::from(ROWS - first), "only the new rows are inserted");
        let graph = Adjacency::new(&edges, SETTINGS.max_degree);
        let is_there = |row: u32| row >= first || is_left(row);
        let reached: Vec<u32> = reachable(graph, entry).into_iter().collect();
        assert_eq!(reached, (0..ROWS).filter(|&row| is_there(row)).collect::<Vec<u32>>());
        for row in 0..ROWS {
            let neighbours = graph.neighbours(row);
            assert!(!neighbours.contains(&row) && neighbours.iter().all(|&next| is_there(next)));
        }
        let (mut scratch, mut sum, queries) = (Scratch::default(), 0.0, 100);
        for number in 0..queries {
            let query = fixture.query(number);
            let (scores, width) = (fixture.scores(&query), Width::new(30, 30));
            search(&graph, entry, &scores, None, &mut scratch, width);
            let found: Vec<(f32, u32)> = scratch.beam.rows().take(10).collect();
            sum += recall(&found, &fixture.exact(&query, 10, is_there));
        }
        let mean = sum / queries as f64;
        assert!(mean >= 0.95, "{metric:?}: recall {mean}");
    }
}

#[test]
fn a_graph_of_few_of_the_rows_is_built_anew() {
    let fixture = Fixture::clustered(Metric::L2);
    let rows: Vec<u32> = (0..ROWS).filter(|&row| row >= 1000 || row % 2 == 0).collect();
    let (edges, entry, inserted) = grown(&fixture, 1000, |row| row % 2 == 0);
    assert_eq!(inserted, 2 * rows.len() as u64);
    assert_eq!((edges, entry), built(&fixture, &rows, SETTINGS));
}

#[test]
fn a_damaged_graph_does_no_harm_to_one_that_grows_from_it() {
    let fixture = Fixture::clustered(Metric::L2);
    let degree = SETTINGS.max_degree;
    let number = |at: usize| hash(7, at as u64) as u32 % (2 * ROWS);
    let edges: Vec<u32> = (0..ROWS as usize * degree).map(number).collect();
    let graph = Adjacency::new(&edges, degree);
    let places = (0..ROWS).map(|row| if row % 3 == 0 { NO_ROW } else { row }).collect();
    let rows = fixture.rows();
    let (distances, progress) = (fixture.distances(), BuildProgress::default());
    let earlier = Earlier { graph, places };
    let (edges, entry) =
        build(&distances, &rows, Some(&earlier), fixture.lessons(), SETTINGS, &progress).unwrap();
    let reached: Vec<u32> = reachable(Adjacency::new(&edges, degree), entry).into_iter().collect();
    assert_eq!(reached, rows);
}

#[test]
fn a_hidden_row_is_not_met() {
    let fixture = Fixture::clustered(Metric::L2);
    let (edges, entry) = built(&fixture, &fixture.rows(), SETTINGS);
    let graph = Adjacency::new(&edges, SETTINGS.max_degree);
    let (mut scratch, width) = (Scratch::default(), Width::new(20, 20));
    let query = fixture.codec.query(&fixture.vectors[77]);
    let scores = fixture.scores(&query);
    let mut found = |hidden| {
        search(&graph, entry, &scores, hidden, &mut scratch, width);
        scratch.beam.rows().map(|(_, row)| row).collect::<Vec<u32>>()
    };
    assert_eq!(found(None)[0], 77);
    let without = found(Some(77));
    assert!(without.len() == 20 && !without.contains(&77), "{without:?}");
    // Searches start at the entry, even if it is hidden.
    assert_eq!(found(Some(entry)), found(None));
}

#[test]
fn few_rows_make_a_graph_too() {
    let fixture = Fixture::clustered(Metric::Dot);
    for rows in [&[][..], &[5], &[5, 2000], &[1, 2, 3, 4, 5, 6, 7, 8]] {
        let (edges, entry) = built(&fixture, rows, SETTINGS);
        let graph = Adjacency::new(&edges, SETTINGS.max_degree);
        let reached: Vec<u32> = reachable(graph, entry).into_iter().collect();
        assert_eq!(reached, if rows.is_empty() { &[0] } else { rows });
    }
}

#[test]
fn progress_counts_up_to_the_total_and_a_cancelled_build_gives_nothing() {
    let fixture = Fixture::clustered(Metric::L2);
    let (distances, rows) = (fixture.distances(), fixture.rows());
    let progress = BuildProgress::default();
    // Progress of an earlier build is reset.
    progress.start(9);
    progress.done.store(9, Ordering::Relaxed);
    assert!(build(&distances, &rows, None, fixture.lessons(), SETTINGS, &progress).is_some());
    let (done, total) = (progress.done.into_inner(), progress.total.into_inner());
    assert_eq!((done, total), (2 * u64::from(ROWS), 2 * u64::from(ROWS)));

    let progress = BuildProgress::default();
    progress.cancelled.store(true, Ordering::Relaxed);
    assert!(build(&distances, &rows, None, fixture.lessons(), SETTINGS, &progress).is_none());
    assert_eq!(progress.done.into_inner(), 0);
}
