//! Sealed files may live elsewhere than in a file system: a database whose segments, codes and
//! copies of manifests are in a store of ranges answers as one on a disk.

use std::sync::Arc;

use lanner::{
    CollectionConfig, Database, DatabaseOptions, Metric, Payload, Point, PointId, Query,
    QueryRequest, SparseVector, TextField, TextQuery, VectorField,
};
use lanner_storage::{Directory, LocalDirectory, MemoryDirectory};

mod common;

const DIMENSION: usize = 16;

fn open(root: &std::path::Path, directory: Arc<dyn Directory>) -> Database {
    DatabaseOptions::new().threads(1).open_with(root, directory).unwrap()
}

/// Ids and scores of the best, for some queries, by codes and by vectors.
fn answers(database: &Database, queries: &[Vec<f32>]) -> Vec<Vec<(PointId, f32)>> {
    let collection = database.collection("c").unwrap();
    let mut answers = Vec::new();
    for query in queries {
        let request = QueryRequest::new("v", query.clone()).limit(10);
        for request in [request.clone(), request.exact()] {
            let hits = collection.query(&request).unwrap().hits;
            answers.push(hits.iter().map(|hit| (hit.point.id.clone(), hit.score)).collect());
        }
    }
    let sparse = SparseVector::new([1, 1000], [1.0, 0.5]).unwrap();
    let request = QueryRequest::new("w", Query::Vector(sparse.into())).limit(20);
    for request in [request.clone(), request.exact()] {
        let hits = collection.query(&request).unwrap().hits;
        assert_eq!(hits.len(), 20);
        answers.push(hits.iter().map(|hit| (hit.point.id.clone(), hit.score)).collect());
    }
    for word in ["w1", "w2 w3"] {
        let request = QueryRequest::new("words", TextQuery::words(word)).limit(20);
        let hits = collection.query(&request).unwrap().hits;
        assert_eq!(hits.len(), 20);
        answers.push(hits.iter().map(|hit| (hit.point.id.clone(), hit.score)).collect());
    }
    answers
}

#[test]
fn a_database_over_ranges_answers_as_one_on_a_disk() {
    let mut random = common::Random::new(11);
    let points: Vec<Point> = (0..3_000)
        .map(|id| {
            let payload = format!("{{\"t\": \"w{} w{}\"}}", id % 7, id % 11);
            let payload = Payload::parse(&payload).unwrap();
            let sparse = SparseVector::new([id as u32 % 5, 1000], [1.0, id as f32]).unwrap();
            let point = Point::new(id).with_vector("v", random.vector(DIMENSION));
            point.with_vector("w", sparse).with_payload(payload)
        })
        .collect();
    let queries: Vec<Vec<f32>> = (0..5).map(|_| random.vector(DIMENSION)).collect();
    let (on_disk, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let memory = Arc::new(MemoryDirectory::new());
    let places: [(&std::path::Path, Arc<dyn Directory>); 2] = [
        (on_disk.path(), Arc::new(LocalDirectory::new(on_disk.path()))),
        (beside.path(), Arc::clone(&memory) as Arc<dyn Directory>),
    ];
    let mut found = Vec::new();
    for (root, directory) in places {
        let database = open(root, Arc::clone(&directory));
        let field = VectorField::single(DIMENSION, Metric::Dot);
        let field = field.compressed("lvq8/f16".parse().unwrap());
        let words = TextField::new(["t"]);
        let config = CollectionConfig::new()
            .with_field("v", field)
            .with_field("w", VectorField::sparse())
            .with_text("words", words);
        let collection = database.create_collection("c", config).unwrap();
        for part in points.chunks(1_000) {
            collection.upsert(part.to_vec()).unwrap();
            collection.flush().unwrap();
        }
        collection.optimize().unwrap();
        assert!(!collection.info().segments[0].codecs.is_empty(), "codes were written and read");
        let before = answers(&database, &queries);
        drop((collection, database));
        // What the manifest names is found again, and sound.
        let database = open(root, directory);
        assert_eq!(answers(&database, &queries), before);
        assert!(database.collection("c").unwrap().verify(|_| {}).is_empty());
        found.push(before);
    }
    assert_eq!(found[0], found[1]);
    assert!(memory.handed_out_bytes() > 0);
    assert!(!beside.path().join("collections").exists(), "no sealed file is on the disk");
}
