//! Graphs that learn edges from queries to expect: queries that do not look like the rows are answered
//! with less work, also through filters, deletions, merges and a restart.

mod common;

use std::path::Path;

use common::clusters::rows_scored;
use common::words::{Measured, Words};
use common::{Random, ids};
use lanner::{
    Bounds, Collection, CollectionConfig, Database, DatabaseOptions, Deadline, Durability, Filter,
    IndexKind, IndexReport, IndexStatus, Metric, MultiVector, Payload, PayloadType, Point, PointId,
    QueryRequest, VectorField,
};

const HALF: usize = 12;
const ROWS: u64 = 5_000;
/// Codes that know the training queries.
const QUERY_AWARE: &str = "lvq8:20:sphering";

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
    create_coded(database, name, (QUERY_AWARE, index), training)
}

fn create_coded(
    database: &Database,
    name: &str,
    (code, index): (&str, &str),
    training: &[Vec<f32>],
) -> Collection {
    let field = VectorField::single(2 * HALF, Metric::Cosine);
    let field = field.compressed(code.parse().unwrap()).indexed(index.parse().unwrap());
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

fn measure(collection: &Collection, requests: &[QueryRequest]) -> Measured {
    let (mut hits, mut all, mut scored) = (0, 0, 0);
    for request in requests {
        let exact = ids(&collection.query(&request.clone().exact()).unwrap());
        let found = collection.query(&request.clone().explain()).unwrap();
        hits += ids(&found).iter().filter(|id| exact.contains(id)).count();
        all += exact.len();
        scored += rows_scored(&found);
    }
    Measured { recall: hits as f64 / all as f64, scored: scored as f64 / requests.len() as f64 }
}

fn requests(seed: u64, count: usize) -> Vec<QueryRequest> {
    let of = |query| QueryRequest::new("v", query).target_recall(0.95);
    queries(seed, count).into_iter().map(of).collect()
}

#[test]
fn words_take_three_quarters_of_the_work_among_real_texts() {
    let Some(words) = Words::read() else { return };
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    // Recall of the ten best, and rows scored, of a search with this window.
    let measure = |index: &str, windows: &[usize]| -> Vec<Measured> {
        let collection = words.collection(&database, "lvq4:240:sphering", index);
        let learned = if index == "graph" { 334 } else { 0 };
        assert_eq!(report(&collection).taught_by, learned, "a third is held out");
        let of = |&window: &usize| {
            words.measure(&collection, |request| request.search_window(window).rerank(40))
        };
        let measured = windows.iter().map(of).collect();
        drop(collection);
        database.delete_collection("c").unwrap();
        measured
    };
    let plain = &measure("graph:learned=0", &[120])[0];
    let learned = measure("graph", &[70, 80, 90]);
    let enough = learned.iter().find(|measured| measured.recall >= plain.recall);
    for Measured { recall, scored } in learned.iter().chain([plain]) {
        println!("recall {recall:.4}, {scored:.0} rows scored");
    }
    let enough = enough.expect("a window of 90 is enough");
    assert!(plain.recall > 0.94 && enough.scored < 0.75 * plain.scored);
}

#[test]
fn the_report_says_what_a_graph_has_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let training = queries(2, 600);
    for (name, code, index, taught_by) in [
        ("plain", QUERY_AWARE, "graph:learned=0", 0),
        ("alike", "lvq8", "graph", 400),
        ("learned", QUERY_AWARE, "graph:degree=48", 400),
    ] {
        let collection = create_coded(&database, name, (code, index), &training);
        let report = report(&collection);
        assert_eq!((report.kind, report.taught_by), (IndexKind::Graph, taught_by), "{name}");
        let recall = measure(&collection, &requests(3, 60)).recall;
        assert!(recall >= 0.92, "{name}: {recall}");
    }
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
fn what_teaches_little_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let few = queries(8, 73);
    let equal = vec![queries(9, 1).remove(0); 300];
    let mut random = Random::new(1);
    let of_rows: Vec<Vec<f32>> = (0..300).map(|_| vector(&mut random, 0.4, 1.0)).collect();
    for (name, training, taught_by) in
        [("none", &[][..], 0), ("few", &few, 0), ("equal", &equal, 200), ("rows", &of_rows, 200)]
    {
        let collection = create(&database, name, "graph", training);
        assert_eq!(report(&collection).taught_by, taught_by, "{name}");
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

/// Vectors that differ in a few directions: rows most in the last of them, queries most in the first.
fn mixed(random: &mut Random, directions: &[Vec<f32>], is_row: bool) -> Vec<f32> {
    let scale = |at: usize| 0.9_f32.powi(if is_row { directions.len() - at } else { at } as i32);
    let parts: Vec<f32> = (0..directions.len()).map(|at| scale(at) * random.normal()).collect();
    let element = |at: usize| -> f32 {
        let mixed = parts.iter().zip(directions).map(|(part, direction)| part * direction[at]);
        mixed.sum::<f32>() + 0.1 * random.normal()
    };
    (0..directions[0].len()).map(element).collect()
}

#[test]
fn of_unknown_queries_no_more_is_said_than_is_found() {
    let mut random = Random::new(12);
    let directions: Vec<Vec<f32>> =
        (0..20).map(|_| (0..96).map(|_| random.normal()).collect()).collect();
    let folder = tempfile::tempdir().unwrap();
    let options = DatabaseOptions::new().index_rows(2_000).learn_from_queries(false);
    let database = options.open(folder.path()).unwrap();
    let field = VectorField::single(96, Metric::Cosine).indexed("graph".parse().unwrap());
    let field = field.compressed("lvq4:32:pca".parse().unwrap());
    let config = CollectionConfig::new().with_field("v", field);
    let collection = database.create_collection("c", config).unwrap();
    let mut point =
        |id: u64| Point::new(id).with_vector("v", mixed(&mut random, &directions, true));
    let points: Vec<Point> = (0..20_000).map(&mut point).collect();
    collection.upsert(points).unwrap();
    collection.optimize().unwrap();
    let queries: Vec<Vec<f32>> = (0..100).map(|_| mixed(&mut random, &directions, false)).collect();
    for target in [0.9, 0.95, 0.99] {
        let asked = queries.iter().map(|query| QueryRequest::new("v", query.clone()));
        let asked: Vec<QueryRequest> = asked.map(|one| one.target_recall(target)).collect();
        let Measured { recall, scored } = measure(&collection, &asked);
        let said = asked.iter().map(|one| collection.query(one).unwrap().estimated_recall);
        let said = said.map(|said| f64::from(said.unwrap())).sum::<f64>() / asked.len() as f64;
        println!("target {target}: {recall:.3}, {said:.3} was said; {scored:.0} rows");
        assert!(recall >= said - 0.02, "target {target}: {recall}, {said} was said");
    }
}
