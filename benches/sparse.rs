//! Sparse fields: seconds to write and seal, bytes, and times of queries one by one on one core, with
//! the numbers of rows that are scored.
//!
//! `cargo bench --bench sparse -- DOCUMENTS.npz QUERIES.npz`; `benches/peers/run.sh sparse 100000 FOLDER`
//! makes both.

use std::path::Path;
use std::time::{Duration, Instant};

use lanner::{
    Collection, CollectionConfig, DatabaseOptions, Durability, Entry, PointId, Query, QueryRequest,
    SparseVector, VectorField, VectorRef,
};
use lanner_eval::SparseMatrix;

const BATCH: usize = 1_000;
const ROUNDS: usize = 3;

fn main() {
    let files: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument.ends_with(".npz")).collect();
    let [documents, queries] = files.as_slice() else {
        println!("skipped: expected DOCUMENTS.npz QUERIES.npz");
        return;
    };
    let open = |path: &String| SparseMatrix::open(Path::new(path)).expect("a sparse matrix");
    let (documents, queries) = (open(documents), open(queries));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = DatabaseOptions::new().open(folder.path()).expect("a database");
    let config = CollectionConfig::new().with_field("s", VectorField::sparse());
    let collection = database.create_collection("c", config).expect("a collection");
    let started = Instant::now();
    write(&collection, &documents);
    let written = started.elapsed();
    collection.optimize().expect("optimize");
    println!(
        "{} documents written in {written:.2?}, sealed and merged after {:.2?}",
        documents.rows(),
        started.elapsed()
    );
    for segment in collection.info().segments {
        for file in segment.files {
            println!("  {} {} bytes", file.name, file.size_bytes);
        }
    }
    let queries: Vec<SparseVector> = (0..queries.rows())
        .map(|row| {
            let (indices, values) = queries.row(row);
            SparseVector::new(indices.iter().copied(), values.iter().copied()).expect("a vector")
        })
        .collect();
    for limit in [10, 100] {
        ask(&collection, &queries, limit);
    }
}

fn write(collection: &Collection, documents: &SparseMatrix) {
    let mut entries = Vec::new();
    for first in (0..documents.rows()).step_by(BATCH) {
        let mut batch = collection.batch();
        for row in first..(first + BATCH).min(documents.rows()) {
            let (indices, values) = documents.row(row);
            entries.clear();
            entries
                .extend(indices.iter().zip(values).map(|(&index, &value)| Entry { index, value }));
            let vectors = [("s", VectorRef::Sparse(&entries))];
            batch.push_parts(PointId::from(row as u64), vectors, None).expect("a point");
        }
        collection.upsert_batch(batch.finish(), Durability::Buffered).expect("a write");
    }
}

fn ask(collection: &Collection, queries: &[SparseVector], limit: usize) {
    let (mut times, mut rows, mut bytes) = (Vec::new(), 0, 0);
    for round in 0..=ROUNDS {
        for query in queries {
            let request = QueryRequest::new("s", Query::Vector(query.clone().into())).limit(limit);
            let request = if round == 0 { request.explain() } else { request };
            let started = Instant::now();
            let answer = collection.query(&request).expect("an answer");
            match answer.explanation {
                Some(explanation) => {
                    rows += explanation.stages[0].rows;
                    bytes += explanation.stages[0].bytes;
                }
                None => times.push(started.elapsed()),
            }
        }
    }
    times.sort();
    let at = |share: f64| times[(times.len() as f64 * share) as usize];
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    println!(
        "limit {limit}: median {:.1?}, mean {mean:.1?}, p95 {:.1?}; {} rows scored and {} bytes of lists a query",
        at(0.5),
        at(0.95),
        rows / queries.len() as u64,
        bytes / queries.len() as u64
    );
}
