//! Searches of a graph that end by a margin: how far they go depends on the query, and the margin is
//! that of the hits that are asked for. Filters, and queries that nothing is known of, have none.

mod common;

use std::path::Path;

use common::clusters::{Clusters, fill, rows_scored, sources};
use common::words::Words;
use common::{Random, ids};
use lanner::{
    Bounds, Collection, CollectionConfig, Database, DatabaseOptions, Durability, Filter, Metric,
    MultiVector, Payload, PayloadType, Point, PointId, QueryRequest, VectorField,
};

const DIMENSION: usize = 32;

/// Points within and between clusters: some queries are much harder than others.
fn filled(
    folder: &Path,
    metric: Metric,
    random: &mut Random,
    are_known: bool,
) -> (Database, Collection, Vec<Point>) {
    let database = DatabaseOptions::new().index_rows(1000).open(folder).unwrap();
    let field = VectorField::single(DIMENSION, metric);
    let mut config =
        CollectionConfig::new().with_field("v", field.indexed("graph".parse().unwrap()));
    config.payload.insert("any".into(), PayloadType::Integer);
    let clusters = Clusters::new(random, 60, DIMENSION);
    let point = |id: u64| {
        let (vector, other) = (clusters.vector(random), random.vector(DIMENSION));
        let mixed =
            vector.iter().zip(&other).map(|(a, b)| a + if id.is_multiple_of(2) { *b } else { 0.0 });
        let payload = Payload::parse(&format!("{{\"any\":{}}}", random.below(1000))).unwrap();
        Point::new(id).with_vector("v", mixed.collect::<Vec<f32>>()).with_payload(payload)
    };
    let points: Vec<Point> = (0..6_000).map(point).collect();
    let collection = database.create_collection("c", config).unwrap();
    let queries: Vec<Vec<f32>> = (0..600).map(|_| query(&points, random)).collect();
    if are_known {
        let training = MultiVector::from_rows(&queries).unwrap();
        collection.set_training_queries("v", training).unwrap();
    }
    fill(&collection, &points);
    collection.optimize().unwrap();
    (database, collection, points)
}

/// Near a point, some nearer than others.
fn query(points: &[Point], random: &mut Random) -> Vec<f32> {
    let vector = &points[random.below(points.len())].vectors["v"];
    let noise = random.float();
    vector.as_ref().values().iter().map(|x| x + noise * random.normal()).collect()
}

#[test]
fn hard_queries_go_further_than_easy_ones_and_the_target_is_reached() {
    let mut random = Random::new(1);
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection, points) = filled(folder.path(), Metric::L2, &mut random, true);
    let held_out: Vec<Vec<f32>> = (0..100).map(|_| query(&points, &mut random)).collect();
    let ask = |query: &[f32], limit: usize| {
        QueryRequest::new("v", query.to_vec()).limit(limit).target_recall(0.95).explain()
    };
    let search = |request: QueryRequest| {
        let found = sources(&collection.query(&request).unwrap(), "search");
        let [source] = &found[..] else { panic!("{found:?}") };
        source.split(", ").nth(2).map(str::to_owned)
    };
    let of_hit = |source: Option<String>| {
        source.map(|source| source.split(" of hit ").nth(1).unwrap().parse::<usize>().unwrap())
    };
    let found_of = |queries: &[Vec<f32>], k: usize| {
        let hits = queries.iter().map(|query| {
            let exact = ids(&collection.query(&ask(query, k).exact()).unwrap());
            let found = ids(&collection.query(&ask(query, k)).unwrap());
            found.iter().filter(|id| exact.contains(id)).count()
        });
        hits.sum::<usize>() as f64 / (k * queries.len()) as f64
    };
    let easy = &held_out[0];
    assert_eq!(of_hit(search(ask(easy, 10))), Some(10));
    assert_eq!(of_hit(search(ask(easy, 7))), Some(10), "that of the next larger number");
    assert_eq!(of_hit(search(ask(easy, 150))), None, "more than were measured");
    assert_eq!(of_hit(search(ask(easy, 10).search_window(20))), None, "a window is a window");
    let filter = Filter::range("any", Bounds::default().lt(900));
    assert_eq!(of_hit(search(ask(easy, 10).filter(filter))), None, "among some of the rows");

    let found: Vec<u64> = held_out
        .iter()
        .map(|query| rows_scored(&collection.query(&ask(query, 10)).unwrap()))
        .collect();
    let (least, most) = (found.iter().min().unwrap(), found.iter().max().unwrap());
    assert!(*most > 2 * least, "{least} to {most} rows");
    for k in [1, 7, 10, 100] {
        let recall = found_of(&held_out, k);
        assert!(recall >= 0.94, "k {k}: {recall}");
    }
    // Deletions all over, and of what is nearest to some of the queries.
    let mut gone: Vec<PointId> = (0..6_000).step_by(11).map(|id: u64| id.into()).collect();
    for query in &held_out[..5] {
        gone.extend(ids(&collection.query(&ask(query, 40).exact()).unwrap()));
    }
    collection.delete(gone, Durability::Buffered).unwrap();
    assert_eq!(of_hit(search(ask(&held_out[50], 10))), Some(10), "deletions are no filter");
    for (queries, least) in [(&held_out[..5], 0.9), (&held_out[5..], 0.94)] {
        let recall = found_of(queries, 10);
        assert!(recall >= least, "{} queries after deletions: {recall}", queries.len());
    }
}

#[test]
fn the_margin_of_rows_is_not_that_of_unknown_queries() {
    let mut random = Random::new(3);
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection, points) = filled(folder.path(), Metric::L2, &mut random, false);
    for number in 0..60 {
        let target = [0.9, 0.95, 0.98, 0.99][number % 4];
        let request = QueryRequest::new("v", query(&points, &mut random)).target_recall(target);
        let searched = sources(&collection.query(&request.explain()).unwrap(), "search");
        assert!(searched.iter().all(|source| !source.contains("margin")), "{searched:?}");
    }
}

#[test]
fn the_length_of_a_query_under_dot_changes_nothing() {
    let mut random = Random::new(2);
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection, points) = filled(folder.path(), Metric::Dot, &mut random, true);
    // The first queries of a collection are searched further.
    for _ in 0..200 {
        let request = QueryRequest::new("v", query(&points, &mut random)).target_recall(0.9);
        collection.query(&request).unwrap();
    }
    let mut by_margin = 0;
    for number in 0..60 {
        let query = query(&points, &mut random);
        let target = [0.9, 0.95, 0.98, 0.99][number % 4];
        let ask = |factor: f32| {
            let query: Vec<f32> = query.iter().map(|x| factor * x).collect();
            let request = QueryRequest::new("v", query).target_recall(target).explain();
            collection.query(&request).unwrap()
        };
        // Powers of two do not round.
        let usual = ask(1.0);
        by_margin += usize::from(sources(&usual, "search").iter().any(|s| s.contains("margin")));
        for factor in [1.0 / 1024.0, 64.0] {
            let other = ask(factor);
            assert_eq!(
                (ids(&other), rows_scored(&other)),
                (ids(&usual), rows_scored(&usual)),
                "{factor}"
            );
        }
    }
    assert!(by_margin > 0);
}

#[test]
fn words_among_real_texts_are_found_with_less_work_than_by_any_window() {
    let Some(words) = Words::read() else { return };
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = words.collection(&database, "lvq4:240:pca", "graph");
    // The first queries of a collection are searched further.
    words.measure(&collection, |request| request.target_recall(0.5));
    let margin = words.measure(&collection, |request| request.target_recall(0.985));
    println!("by a margin: recall {:.4}, {:.0} rows scored", margin.recall, margin.scored);
    assert!(margin.recall >= 0.98);
    for width in [128, 192, 256] {
        let window = words.measure(&collection, |request| request.search_window(width).rerank(40));
        println!("window {width}: recall {:.4}, {:.0} rows scored", window.recall, window.scored);
        assert!(window.recall < margin.recall || margin.scored < 0.92 * window.scored);
    }
}
