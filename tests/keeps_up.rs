//! Whether indexes keep up with updates: clients that write, delete and query all the time.
//!
//! `LANNER_KEEPS_UP_SECONDS` says for how long; latencies are printed and fail nothing.

mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Random;
use common::clusters::Clusters;
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, IndexKind, IndexStatus,
    Metric, Point, QueryRequest, VectorField,
};

const DIMENSION: usize = 96;
const POINTS: u64 = 200_000;
const CLIENTS: u64 = 16;
const UPSERTS_PER_SECOND: u64 = 300;
const DELETES_PER_SECOND: u64 = 30;

/// What a collection consists of.
#[derive(Debug, Default, Clone, Copy)]
struct Shares {
    rows: u64,
    under_index: u64,
    dead: u64,
    in_memory: u64,
    segments: usize,
}

fn shares(collection: &Collection) -> Shares {
    let mut shares = Shares::default();
    for segment in collection.info().segments {
        shares.rows += segment.rows;
        shares.dead += segment.deleted;
        shares.segments += 1;
        let indexed = segment.indexes.get("v").is_some_and(|status| {
            matches!(status, IndexStatus::Ready { report, .. } if report.kind != IndexKind::Flat)
        });
        match segment.number {
            None => shares.in_memory += segment.rows,
            Some(_) if indexed => shares.under_index += segment.rows,
            Some(_) => {}
        }
    }
    shares
}

fn open(root: &std::path::Path) -> (Database, Collection) {
    let database = DatabaseOptions::new().open(root).unwrap();
    let collection = database.collection("c").unwrap_or_else(|_| {
        let field = VectorField::single(DIMENSION, Metric::Cosine);
        let config = CollectionConfig::new().with_field("v", field);
        database.create_collection("c", config).unwrap()
    });
    (database, collection)
}

/// Latencies in microseconds, and how many points were written and deleted.
#[derive(Default)]
struct Load {
    latencies: Mutex<Vec<u64>>,
    upserted: AtomicU64,
    deleted: AtomicU64,
    over: AtomicBool,
}

impl Load {
    /// One client: queries all the time, and writes when it is time to.
    fn client(&self, collection: &Collection, clusters: &Clusters, seed: u64, started: Instant) {
        let mut random = Random::new(seed);
        let due = |rate: u64| started.elapsed().as_millis() as u64 * rate / 1000;
        while !self.over.load(Ordering::Relaxed) {
            if self.upserted.load(Ordering::Relaxed) < due(UPSERTS_PER_SECOND) {
                self.upserted.fetch_add(1, Ordering::Relaxed);
                let id = random.below(POINTS as usize) as u64;
                let point = Point::new(id).with_vector("v", clusters.vector(&mut random));
                let mut batch = collection.batch();
                batch.push(point).unwrap();
                collection.upsert_batch(batch.finish(), Durability::Buffered).unwrap();
            }
            if self.deleted.load(Ordering::Relaxed) < due(DELETES_PER_SECOND) {
                self.deleted.fetch_add(1, Ordering::Relaxed);
                let id = random.below(POINTS as usize) as u64;
                collection.delete(vec![id.into()], Durability::Buffered).unwrap();
            }
            let query = QueryRequest::new("v", clusters.vector(&mut random));
            let asked = Instant::now();
            collection.query(&query).unwrap();
            self.latencies.lock().unwrap().push(asked.elapsed().as_micros() as u64);
        }
    }

    /// Prints what the queries since the `since`-th took, and returns how many there were by now.
    fn print(&self, since: usize, what: &str) -> usize {
        let mut latencies = self.latencies.lock().unwrap()[since..].to_vec();
        latencies.sort_unstable();
        if !latencies.is_empty() {
            let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| percentile(&latencies, share));
            let count = latencies.len();
            println!(
                "{what}: {count} queries, p50 {p50:.2} ms, p99 {p99:.2} ms, most {most:.0} ms"
            );
        }
        since + latencies.len()
    }
}

fn percentile(sorted: &[u64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share) as usize] as f64 / 1000.0
}

/// Runs the clients for a while; the mean shares of the second half.
fn run(collection: &Collection, clusters: &Clusters, time: Duration, what: &str) -> (f64, f64) {
    let (load, started) = (Load::default(), Instant::now());
    let (mut under_index, mut dead, mut looks, mut told) = (0.0, 0.0, 0.0, 0);
    std::thread::scope(|scope| {
        for seed in 0..CLIENTS {
            scope.spawn({
                let (load, seed) = (&load, 100 + seed);
                move || load.client(collection, clusters, seed, started)
            });
        }
        while started.elapsed() < time {
            std::thread::park_timeout(Duration::from_secs(1));
            let now = shares(collection);
            if started.elapsed() > time / 2 {
                under_index += now.under_index as f64 / now.rows as f64;
                dead += now.dead as f64 / now.rows as f64;
                looks += 1.0;
            }
            if started.elapsed().as_secs().is_multiple_of(20) {
                println!("{what} {:>4} s: {now:?}", started.elapsed().as_secs());
                told = load.print(told, "  since then");
                let query = QueryRequest::new("v", clusters.vector(&mut Random::new(told as u64)));
                let plan = collection.query(&query.explain()).unwrap().explanation.unwrap();
                for stage in plan.stages {
                    println!("    {}: {} rows of {}", stage.name, stage.rows, stage.source);
                }
            }
        }
        load.over.store(true, Ordering::Relaxed);
    });
    load.print(0, what);
    println!(
        "{what}: {} upserts, {} deletes; in the second half {:.0}% of rows under an index, {:.0}% dead",
        load.upserted.into_inner(),
        load.deleted.into_inner(),
        100.0 * under_index / looks,
        100.0 * dead / looks,
    );
    (under_index / looks, dead / looks)
}

#[test]
#[ignore = "takes minutes; `make test-long` runs it"]
fn indexes_keep_up_with_updates() {
    let seconds = std::env::var("LANNER_KEEPS_UP_SECONDS");
    let seconds = seconds.ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(600);
    let mut random = Random::new(11);
    let clusters = Clusters::new(&mut random, 500, DIMENSION);
    let folder = tempfile::tempdir().unwrap();
    let (database, collection) = open(folder.path());
    for first in (0..POINTS).step_by(1000) {
        let mut batch = collection.batch();
        for id in first..first + 1000 {
            batch.push(Point::new(id).with_vector("v", clusters.vector(&mut random))).unwrap();
        }
        collection.upsert_batch(batch.finish(), Durability::Buffered).unwrap();
    }
    let time = Duration::from_secs(seconds);
    let (under_index, dead) = run(&collection, &clusters, time, "from scratch");
    assert!(under_index >= 0.8, "{under_index} of the rows are under an index");
    assert!(dead <= 0.3, "{dead} of the rows are dead");
    drop((collection, database));
    let (_database, collection) = open(folder.path());
    let (under_index, dead) = run(&collection, &clusters, time / 4, "after a restart");
    assert!(under_index >= 0.8, "{under_index} of the rows are under an index");
    assert!(dead <= 0.3, "{dead} of the rows are dead");
}
