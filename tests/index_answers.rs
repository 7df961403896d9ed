//! What indexes answer: how, with which recall for which target, and where points are equal, lack a
//! vector, or are huge or tiny.

mod common;

use common::clusters::{Clusters, by_id, fill, recall, sources};
use common::{Random, exact_top_k};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, IndexKind, IndexStatus, Metric,
    MultiVector, Point, PointId, QueryRequest, Vector, VectorField,
};

const DIMENSION: usize = 64;
const CLUSTERS: usize = 200;

fn config(metric: Metric, index: &str) -> CollectionConfig {
    let field = VectorField::single(DIMENSION, metric);
    CollectionConfig::new().with_field("v", field.indexed(index.parse().unwrap()))
}

fn open(folder: &tempfile::TempDir) -> Database {
    DatabaseOptions::new().index_rows(1000).open(folder.path()).unwrap()
}

/// The index of each sealed segment that has one.
fn kinds(collection: &Collection) -> Vec<IndexKind> {
    let segments = collection.info().segments;
    let kind = |status: &IndexStatus| match status {
        IndexStatus::Ready { report, .. } => Some(report.kind),
        _ => None,
    };
    segments.iter().filter_map(|segment| segment.indexes.get("v").and_then(kind)).collect()
}

#[test]
fn answers_say_how_they_came_about() {
    let mut random = Random::new(2);
    let clusters = Clusters::new(&mut random, 50, DIMENSION);
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder);
    let collection = database.create_collection("c", config(Metric::L2, "graph")).unwrap();
    let points = clusters.points(&mut random, 0..3000);
    fill(&collection, &points);
    collection.optimize().unwrap();
    let query = clusters.vector(&mut random);
    let request = QueryRequest::new("v", query.clone()).explain();

    let answer = collection.query(&request.clone().target_recall(0.9)).unwrap();
    let estimated = answer.estimated_recall.unwrap();
    assert!((0.85..1.0).contains(&estimated), "{estimated}");
    let stages = answer.explanation.unwrap().stages;
    let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ["search", "rerank"]);
    assert!(stages[0].rows < 1500 && stages[0].bytes > 0, "{:?}", stages[0]);

    // What is in memory is scanned beside the search.
    let found = collection.upsert([Point::new(9000).with_vector("v", query.clone())]);
    found.unwrap();
    let answer = collection.query(&request).unwrap();
    assert_eq!(answer.hits[0].point.id, 9000.into());
    assert_eq!(sources(&answer, "scan"), ["vectors"]);
    assert_eq!(sources(&answer, "search").len(), 1);

    // Exact queries do not know of indexes.
    let answer = collection.query(&request.clone().exact()).unwrap();
    assert_eq!(sources(&answer, "search"), [""; 0]);
    assert_eq!(answer.estimated_recall, Some(1.0));
    let mut all = by_id(&points);
    all.insert(9000.into(), Point::new(9000).with_vector("v", query.clone()));
    let expected = exact_top_k(&all, "v", Metric::L2, &Vector::from(query), 10);
    let expected: Vec<PointId> = expected.into_iter().map(|(id, _)| id).collect();
    assert!(answer.hits.iter().map(|hit| &hit.point.id).eq(&expected));

    // A window says how far to go: from nearly nothing to everything.
    let wide = collection.query(&request.clone().search_window(3000).rerank(1000)).unwrap();
    assert_eq!(wide.hits, answer.hits);
    let [narrow] = &sources(&collection.query(&request.search_window(2)).unwrap(), "search")[..]
    else {
        panic!("one search")
    };
    assert!(narrow.ends_with("window 2"), "{narrow}");
}

/// Recall at three targets; each has to be reached, but for one in a hundred.
fn check_targets(name: &str, collection: &Collection, held_out: &[Vec<f32>]) {
    for target in [0.9_f32, 0.95, 0.99] {
        let found = recall(collection, held_out, |request| request.target_recall(target));
        let request = QueryRequest::new("v", held_out[0].clone()).target_recall(target).explain();
        let answer = collection.query(&request).unwrap();
        let (estimated, searched) = (answer.estimated_recall.unwrap(), sources(&answer, "search"));
        println!("{name}, target {target}: {found:.4}, estimated {estimated:.4}, {searched:?}");
        assert!(!searched.is_empty(), "{name}: an index was searched");
        // A lower bound by 83 queries of what reached the target: less, and never more than is found.
        assert!(estimated >= target - 0.06, "{name}, target {target}: estimated {estimated}");
        assert!(f64::from(estimated) <= found + 0.02, "{name}, target {target}: {estimated}");
        assert!(found >= f64::from(target) - 0.01, "{name}, target {target}: {found}");
    }
}

fn with_training(
    folder: &tempfile::TempDir,
    config: CollectionConfig,
    queries: &[Vec<f32>],
) -> (Database, Collection) {
    let database = open(folder);
    let queries = [("v".to_owned(), MultiVector::from_rows(queries).unwrap().into())].into();
    let collection = database.create_collection_with("c", config, &queries).unwrap();
    (database, collection)
}

#[test]
fn a_target_recall_is_reached_for_queries_like_those_of_the_calibration() {
    let mut random = Random::new(3);
    let clusters = Clusters::new(&mut random, CLUSTERS, DIMENSION);
    let points = clusters.points(&mut random, 0..12_000);
    // Between the clusters: farther from their neighbours than points are from theirs.
    let mut query = || -> Vec<f32> {
        let (a, b) = (clusters.vector(&mut random), clusters.vector(&mut random));
        a.iter().zip(&b).map(|(a, b)| 0.7 * a + 0.3 * b).collect()
    };
    let queries: Vec<Vec<f32>> = (0..1000).map(|_| query()).collect();
    let (training, held_out) = queries.split_at(500);
    for index in ["graph", "ivf"] {
        let folder = tempfile::tempdir().unwrap();
        let (_database, collection) =
            with_training(&folder, config(Metric::Cosine, index), training);
        fill(&collection, &points);
        collection.optimize().unwrap();
        let info = collection.info();
        let IndexStatus::Ready { report, .. } = &info.segments[0].indexes["v"] else {
            panic!("{:?}", info.segments[0].indexes)
        };
        assert!(report.calibration.from_user && report.calibration.queries == 166);
        check_targets(index, &collection, held_out);
    }
}

#[test]
fn a_target_that_no_search_reaches_is_reached_by_a_scan() {
    let mut random = Random::new(4);
    // Without clusters: neighbours lie in many lists.
    let points: Vec<Point> =
        (0..3800_u64).map(|id| Point::new(id).with_vector("v", random.vector(32))).collect();
    let queries: Vec<Vec<f32>> = (0..30).map(|_| random.vector(32)).collect();
    let folder = tempfile::tempdir().unwrap();
    let database = open(&folder);
    // Good codes, all lists of which take more work than a scan; codes that forget nearly all.
    for (compression, index, target, expected) in [
        ("lvq4:4", "ivf:lists=30", 0.98, "vectors"),
        ("lvq4:4", "graph:degree=8:window=10", 0.98, "vectors"),
        // No sample of a few hundred queries can show so much.
        ("lvq8", "ivf:lists=30", 0.999, "vectors"),
    ] {
        let field = VectorField::single(32, Metric::L2).compressed(compression.parse().unwrap());
        let config = CollectionConfig::new().with_field("v", field.indexed(index.parse().unwrap()));
        let name = format!("{compression}-{index}").replace([':', '='], "-");
        let collection = database.create_collection(&name, config).unwrap();
        fill(&collection, &points);
        collection.optimize().unwrap();
        assert_eq!(kinds(&collection).len(), 1);
        let request = QueryRequest::new("v", queries[0].clone()).explain();
        let answer = collection.query(&request.clone().target_recall(target)).unwrap();
        assert_eq!(sources(&answer, "scan"), [expected], "{name}");
        let estimated = answer.estimated_recall.unwrap();
        assert!(sources(&answer, "search").is_empty() && estimated >= target - 0.01, "{name}");
        let found = recall(&collection, &queries, |request| request.target_recall(target));
        assert!(found >= 0.99, "{name}: {found}");
        // What is within reach is searched for, and so is what nobody asks for.
        let answer = collection.query(&request.clone().target_recall(0.5)).unwrap();
        assert!(!sources(&answer, "search").is_empty() || compression == "lvq4:4", "{name}");
        // The default is a promise, too: codes that forget nearly all do not keep it.
        let answer = collection.query(&request).unwrap();
        let (scanned, estimated) = (sources(&answer, "scan"), answer.estimated_recall);
        match compression {
            "lvq8" => assert!(scanned != ["vectors"] && estimated < Some(1.0), "{name}"),
            _ => assert!(scanned == ["vectors"] && estimated == Some(1.0), "{name}"),
        }
        // Depths that are set by hand are not changed.
        let answer = collection.query(&request.search_window(3)).unwrap();
        assert_eq!(sources(&answer, "search").len(), 1, "{name}");
    }
}

#[test]
fn points_that_are_equal_are_all_found() {
    let mut random = Random::new(5);
    let clusters = Clusters::new(&mut random, 100, DIMENSION);
    // Each vector thirty times, and one of them half as often as all others together.
    let vectors = clusters.vectors(&mut random, 100);
    let vector = |id: u64| vectors[if id < 1500 { 0 } else { id as usize % 100 }].clone();
    let points: Vec<Point> =
        (0..4500).map(|id| Point::new(id).with_vector("v", vector(id))).collect();
    for (metric, index) in [
        (Metric::L2, "graph"),
        (Metric::Cosine, "graph"),
        (Metric::Dot, "graph"),
        (Metric::L2, "ivf"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let database = open(&folder);
        let collection = database.create_collection("c", config(metric, index)).unwrap();
        fill(&collection, &points);
        collection.optimize().unwrap();
        assert_eq!(kinds(&collection).len(), 1);
        let found = recall(&collection, &vectors, |request| request.limit(10));
        assert!(found >= 0.95, "{metric:?} {index}: recall {found}");
        // As many as are asked for, also where most of the graph is one vector; by the index, since
        // the depth is set by hand.
        for limit in [10, 100, 1000] {
            let request = QueryRequest::new("v", vectors[0].clone()).limit(limit).explain();
            let request = request.search_window(2 * limit).rerank(limit);
            let answer = collection.query(&request).unwrap();
            assert_eq!(answer.hits.len(), limit, "{metric:?} {index}");
            assert_eq!(sources(&answer, "search").len(), 1, "{metric:?} {index}");
        }
    }
}

#[test]
fn some_points_without_a_vector_and_vectors_of_any_size_are_fine() {
    let mut random = Random::new(6);
    let clusters = Clusters::new(&mut random, 50, 8);
    for (name, scale) in [("usual", 1.0), ("huge", 1e15), ("tiny", 1e-30)] {
        for metric in [Metric::L2, Metric::Dot, Metric::Cosine] {
            for index in ["graph", "ivf"] {
                let folder = tempfile::tempdir().unwrap();
                let field = VectorField::single(8, metric);
                let field = field.indexed(index.parse().unwrap());
                let other = VectorField::single(2, Metric::Dot);
                let config =
                    CollectionConfig::new().with_field("other", other).with_field("v", field);
                let database = open(&folder);
                let collection = database.create_collection("c", config).unwrap();
                let mut with_vector = Vec::new();
                let points: Vec<Point> = (0..2500_u64)
                    .map(|id| match id % 5 {
                        0 => Point::new(id).with_vector("other", vec![1.0, 2.0]),
                        _ => {
                            let vector = clusters.vector(&mut random);
                            let vector: Vec<f32> = vector.iter().map(|x| x * scale).collect();
                            with_vector.push(vector.clone());
                            Point::new(id).with_vector("v", vector)
                        }
                    })
                    .collect();
                fill(&collection, &points);
                collection.optimize().unwrap();
                assert_eq!(kinds(&collection).len(), 1, "{name} {metric:?} {index}");
                for query in &with_vector[..20] {
                    let answer = collection.query(&QueryRequest::new("v", query.clone())).unwrap();
                    assert_eq!(answer.hits.len(), 10, "{name} {metric:?} {index}");
                    for hit in &answer.hits {
                        assert!(!hit.score.is_nan(), "{name} {metric:?} {index}: {hit:?}");
                        let PointId::Number(id) = hit.point.id else { panic!() };
                        assert!(id % 5 != 0, "{name} {metric:?} {index}: {id} has no vector");
                    }
                }
            }
        }
    }
}
