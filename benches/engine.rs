//! The engine as a whole: ingest rate, exact scan against a plain read of as much memory, exact
//! MaxSim, and resident memory. Prints a table; `docs/benchmarks.md` keeps the results.
//!
//! `cargo bench --bench engine`, or with the number of points: `-- 200000`.

use std::path::Path;
use std::time::{Duration, Instant};

use lanner::{
    Collection, CollectionConfig, Compression, Database, Deadline, Durability, Metric, MultiVector,
    PointId, QueryRequest, VectorField,
};
use lanner_eval::{NpyMatrix, read_offsets};
use rayon::prelude::*;

const DIMENSION: usize = 384;
const BATCH: usize = 1_000;
const ROUNDS: usize = 15;

fn main() {
    let points = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(400_000);
    println!("{points} points of {DIMENSION} dimensions, {} cores", rayon::current_num_threads());
    println!("instruction sets: {}", lanner::internals::kernels::instruction_sets().join(", "));
    for durability in [Durability::Synced, Durability::Buffered] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Database::open(folder.path()).expect("a database");
        // What is measured is the exact scan; `lanner bench` measures codes.
        let field = VectorField::single(DIMENSION, Metric::Dot).compressed(Compression::none());
        let config = CollectionConfig::new().with_field("v", field);
        let collection = database.create_collection("c", config).expect("a collection");
        let seconds = ingest(&collection, points, durability);
        println!("ingest {durability:?}: {:.0} points/s", points as f64 / seconds);
        if durability == Durability::Synced {
            scan(&collection, points);
        }
    }
    max_sim(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/nfcorpus"));
}

fn ingest(collection: &Collection, points: usize, durability: Durability) -> f64 {
    let block: Vec<f32> = (0..DIMENSION * (BATCH + 1)).map(|i| (i as f32 * 0.37).sin()).collect();
    let started = Instant::now();
    for first in (0..points).step_by(BATCH) {
        let mut batch = collection.batch();
        for id in first..(first + BATCH).min(points) {
            // Another window for each id, so that no two vectors are equal.
            let start = (id * 7) % (DIMENSION * BATCH);
            let vector = lanner::VectorRef::Single(&block[start..start + DIMENSION]);
            batch.push_parts(PointId::from(id as u64), [("v", vector)], None).expect("a point");
        }
        collection.upsert_batch(batch.finish(), durability).expect("a write");
    }
    started.elapsed().as_secs_f64()
}

fn scan(collection: &Collection, points: usize) {
    let bytes = (points * DIMENSION * 4) as f64;
    collection.optimize().expect("optimize");
    let query = QueryRequest::new("v", vec![0.5; DIMENSION]);
    let memory = vec![1_u64; points * DIMENSION / 2];
    let chunk = 64 << 10;
    let read = || -> u64 {
        memory.par_chunks(chunk).map(|chunk| chunk.iter().copied().fold(0, u64::wrapping_add)).sum()
    };
    // Interleaved, so that a noisy neighbour disturbs both alike.
    let (mut reads, mut scans) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        reads.push(timed(|| assert_eq!(std::hint::black_box(read()), memory.len() as u64)));
        scans.push(timed(|| drop(collection.query(&query).expect("an answer"))));
    }
    let rate = |times: &mut Vec<Duration>| bytes / median(times).as_secs_f64() / 1e9;
    let (read, scan) = (rate(&mut reads), rate(&mut scans));
    println!("memory read {read:.1} GB/s, exact scan {scan:.1} GB/s: {:.0}%", 100.0 * scan / read);
    let batch = vec![query; 64];
    let mut batches: Vec<Duration> = (0..3)
        .map(|_| {
            timed(|| drop(collection.query_batch(&batch, Deadline::NEVER).expect("an answer")))
        })
        .collect();
    let each = median(&mut batches) / 64;
    println!("in a batch of 64: {each:.2?} a query, {:.1} GB/s", bytes / each.as_secs_f64() / 1e9);
    drop(memory);
    let [resident, anonymous] = resident_bytes();
    println!(
        "resident memory {:.0} MB, of it not backed by files {:.0} MB; vectors {:.0} MB",
        resident / 1e6,
        anonymous / 1e6,
        bytes / 1e6
    );
}

fn max_sim(data: &Path) {
    if !data.is_dir() {
        println!("MaxSim: skipped, no NFCorpus beside this checkout");
        return;
    }
    let read = |name: &str| {
        let mut matrix = NpyMatrix::open(&data.join(format!("{name}.npy"))).expect("a matrix");
        let mut values = Vec::new();
        matrix.read_rows(0..matrix.rows(), &mut values).expect("rows");
        (matrix.cols(), values)
    };
    let offsets = |name: &str| read_offsets(&data.join(name)).expect("offsets");
    let (dimension, tokens) = read("corpus_tokens.i8");
    let starts = offsets("corpus_tokens_offsets.i64.npy");
    let (_, query_tokens) = read("queries_tokens.f32");
    let query_starts = offsets("queries_tokens_offsets.i64.npy");
    let cut = |values: &[f32], starts: &[u64], index: usize| {
        let range = starts[index] as usize * dimension..starts[index + 1] as usize * dimension;
        MultiVector::from_flat(dimension, values[range].to_vec()).expect("a multi-vector")
    };
    for field in [
        VectorField::multi(dimension, Metric::Dot),
        VectorField::multi(dimension, Metric::Dot).half_precision(),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Database::open(folder.path()).expect("a database");
        let element = field.element;
        let config = CollectionConfig::new().with_field("t", field);
        let collection = database.create_collection("c", config).expect("a collection");
        let documents = starts.len() - 1;
        for first in (0..documents).step_by(500) {
            let mut batch = collection.batch();
            for id in first..(first + 500).min(documents) {
                let multi = cut(&tokens, &starts, id);
                let vectors = [("t", multi.as_ref())];
                batch.push_parts(PointId::from(id as u64), vectors, None).expect("a point");
            }
            collection.upsert_batch(batch.finish(), Durability::Synced).expect("a write");
        }
        collection.optimize().expect("optimize");
        let mut times: Vec<Duration> = (0..query_starts.len() - 1)
            .map(|index| {
                let request = QueryRequest::new("t", cut(&query_tokens, &query_starts, index));
                timed(|| drop(collection.query(&request.limit(100)).expect("an answer")))
            })
            .collect();
        println!(
            "exact MaxSim on NFCorpus ({element:?}): median {:.2?} a query",
            median(&mut times)
        );
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Resident memory of this process, and the part of it that is not backed by files.
fn resident_bytes() -> [f64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ["VmRSS:", "RssAnon:"].map(|key| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let kibibytes =
            line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kibibytes.unwrap_or(f64::NAN) * 1024.0
    })
}
