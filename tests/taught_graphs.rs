//! Graphs that learn edges from training queries: queries that do not look like the rows are
//! answered with less work, also through filters, deletions, merges and a restart.

mod common;

use std::path::Path;

use common::Random;
use lanner::{
    Bounds, Collection, CollectionConfig, Database, DatabaseOptions, Deadline, Durability, Filter,
    IndexKind, IndexReport, IndexStatus, Metric, MultiVector, Payload, PayloadType, Point, PointId,
    QueryRequest, QueryResponse, VectorField,
};

const HALF: usize = 12;
const ROWS: u64 = 5_000;

/// A vector whose halves have these deviations.
fn vector(random: &mut Random, first: f32, second: f32) -> Vec<f32> {
    (0..2 * HALF).map(|i| random.normal() * if i < HALF { first } else { second }).collect()
}

/// Rows are near each other by their second half.
fn point(random: &mut Random, id: u64) -> Point {
    let payload = Payload::parse(&format!("{{\"any\":{}}}", random.below(1000))).unwrap();
    Point::new(id).with_vector("v", vector(random, 0.4, 1.0)).with_payload(payload)
}

/// Queries rank rows by their first half.
fn queries(seed: u64, count: usize) -> Vec<Vec<f32>> {
    let mut random = Random::new(seed);
    (0..count).map(|_| vector(&mut random, 1.0, 0.1)).collect()
}

fn open(folder: &Path) -> Database {
    DatabaseOptions::new().index_rows(2_000).open(folder).unwrap()
}

fn create(database: &Database, name: &str, index: &str, training: &[Vec<f32>]) -> Collection {
    let field = VectorField::single(2 * HALF, Metric::Cosine);
    let field = field.compressed("lvq8".parse().unwrap()).indexed(index.parse().unwrap());
    let mut config = CollectionConfig::new().with_field("v", field);
    config.payload.insert("any".into(), PayloadType::Integer);
    let collection = database.create_collection(name, config).unwrap();
    if !training.is_empty() {
        let training = MultiVector::from_rows(training).unwrap();
        collection.set_training_queries("v", training).unwrap();
    }
    write(&collection, 1, 0..ROWS);
    collection.optimize().unwrap();
    collection
}

fn write(collection: &Collection, seed: u64, ids: std::ops::Range<u64>) {
    let mut random = Random::new(seed);
    let points: Vec<Point> = ids.map(|id| point(&mut random, id)).collect();
    collection.upsert(points).unwrap();
}

/// The report of the only index.
fn report(collection: &Collection) -> IndexReport {
    let info = collection.info();
    let mut statuses = info.segments.iter().flat_map(|segment| segment.indexes.values());
    match (statuses.next(), statuses.next()) {
        (Some(IndexStatus::Ready { report, .. }), None) => report.clone(),
        other => panic!("{other:?}"),
    }
}

fn ids(response: &QueryResponse) -> Vec<PointId> {
    response.hits.iter().map(|hit| hit.point.id.clone()).collect()
}

/// What queries found, and what it took.
struct Measured {
    recall: f64,
    scored: f64,
}

fn measure(collection: &Collection, requests: &[QueryRequest]) -> Measured {
    let (mut hits, mut all, mut scored) = (0, 0, 0);
    for request in requests {
        let exact = ids(&collection.query(&request.clone().exact()).unwrap());
        let found = collection.query(&request.clone().explain()).unwrap();
        hits += ids(&found).iter().filter(|id| exact.contains(id)).count();
        all += exact.len();
        let stages = found.explanation.unwrap().stages.into_iter();
        scored +=
            stages.filter(|stage| stage.name == "search").map(|stage| stage.rows).sum::<u64>();
    }
    Measured { recall: hits as f64 / all as f64, scored: scored as f64 / requests.len() as f64 }
}

fn requests(seed: u64, count: usize) -> Vec<QueryRequest> {
    let of = |query| QueryRequest::new("v", query).target_recall(0.95);
    queries(seed, count).into_iter().map(of).collect()
}

#[test]
fn queries_unlike_the_rows_take_less_work_after_training() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let training = queries(2, 600);
    let plain = create(&database, "plain", "graph:learned=0", &training);
    let taught = create(&database, "taught", "graph", &training);
    assert_eq!((report(&plain).taught_by, report(&plain).costs.len()), (0, 1));
    let IndexReport { kind, taught_by, costs, degree, .. } = report(&taught);
    assert_eq!((kind, taught_by, degree), (IndexKind::Graph, 400, 40));
    assert!(costs.len() == 2 && costs[1].1 < costs[0].1, "{costs:?}");
    let asked = requests(3, 200);
    let (before, after) = (measure(&plain, &asked), measure(&taught, &asked));
    assert!(before.recall >= 0.92 && after.recall >= 0.92, "{} {}", before.recall, after.recall);
    assert!(after.scored > 0.0, "the index was used");
    assert!(after.scored < 0.75 * before.scored, "{} of {}", after.scored, before.scored);
}

#[test]
fn filters_deletions_merges_and_a_restart_keep_the_recall() {
    let folder = tempfile::tempdir().unwrap();
    let training = queries(4, 600);
    let database = open(folder.path());
    let collection = create(&database, "c", "graph", &training);
    for per_mille in [20, 300, 900] {
        let filter = Filter::range("any", Bounds::default().lt(per_mille));
        let asked: Vec<QueryRequest> =
            requests(5, 60).into_iter().map(|request| request.filter(filter.clone())).collect();
        let Measured { recall, .. } = measure(&collection, &asked);
        assert!(recall >= 0.92, "{per_mille} ‰: {recall}");
    }
    let gone: Vec<PointId> = (0..ROWS).step_by(6).map(PointId::from).collect();
    collection.delete(gone, Durability::Buffered).unwrap();
    let asked = requests(6, 100);
    assert!(measure(&collection, &asked).recall >= 0.92, "after deletions");
    write(&collection, 7, ROWS..ROWS + 3_000);
    collection.optimize().unwrap();
    // The merged graph learns anew, from the same queries.
    assert_eq!(report(&collection).taught_by, 400);
    let merged = measure(&collection, &asked);
    assert!(merged.recall >= 0.92, "after a merge: {}", merged.recall);
    let before = report(&collection);
    drop((collection, database));
    let database = open(folder.path());
    let collection = database.collection("c").unwrap();
    assert_eq!(report(&collection), before);
    let again = measure(&collection, &asked);
    assert_eq!((again.recall, again.scored), (merged.recall, merged.scored));
}

#[test]
fn what_teaches_nothing_leaves_the_graph_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let few = queries(8, 94);
    let equal = vec![queries(9, 1).remove(0); 300];
    let mut random = Random::new(1);
    let of_rows: Vec<Vec<f32>> = (0..300).map(|_| vector(&mut random, 0.4, 1.0)).collect();
    for (name, training) in
        [("none", &[][..]), ("few", &few), ("equal", &equal), ("rows", &of_rows)]
    {
        let collection = create(&database, name, "graph", training);
        let report = report(&collection);
        let tried = if training.len() > 94 { 2 } else { 1 };
        assert_eq!(report.costs.len(), tried, "{name}");
        assert!(tried == 2 || report.taught_by == 0, "{name}");
        // More hits than there are rows, and rows as queries.
        let mut all = requests(10, 1).remove(0);
        all.limit = ROWS as usize + 10;
        let answer = collection.query(&all).unwrap();
        assert_eq!(answer.hits.len(), ROWS as usize, "{name}");
        let mut random = Random::new(11);
        let asked: Vec<QueryRequest> = (0..60)
            .map(|_| QueryRequest::new("v", vector(&mut random, 0.4, 1.0)).target_recall(0.95))
            .collect();
        assert!(measure(&collection, &asked).recall >= 0.92, "{name}");
    }
    let collection = database.collection("none").unwrap();
    let narrow = MultiVector::from_rows(&[[1.0, 2.0]]).unwrap();
    let error = collection.set_training_queries("v", narrow).unwrap_err().to_string();
    assert!(error.contains("expected 24 dimensions, got 2"), "{error}");
    assert!(collection.query_batch(&requests(12, 3), Deadline::NEVER).is_ok());
}
