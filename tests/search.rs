//! Exact search finds what the definition says: for each metric, kind and element type, over
//! points in memory and in sealed segments, with deletions and missing vectors.

mod common;

use std::collections::BTreeMap;

use common::{Random, exact_top_k, ids};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, ElementType, Error,
    ErrorKind, Include, Metric, Point, PointId, QueryRequest, Vector, VectorField, VectorKind,
};

const METRICS: [Metric; 3] = [Metric::Dot, Metric::Cosine, Metric::L2];

fn vector(random: &mut Random, kind: VectorKind, dimension: usize) -> Vector {
    match kind {
        VectorKind::Single => random.vector(dimension).into(),
        _ => {
            let rows = 1 + random.below(5);
            random.multi(dimension, rows).into()
        }
    }
}

/// 300 points, some without a vector, some rewritten, some deleted, spread over two sealed
/// segments and memory.
fn fill(
    collection: &Collection,
    kind: VectorKind,
    random: &mut Random,
) -> BTreeMap<PointId, Point> {
    let dimension = collection.config().fields["v"].dimension;
    let mut expected = BTreeMap::new();
    for part in 0..3 {
        let points: Vec<Point> = (0..100)
            .map(|index| {
                let id = PointId::from(part * 80 + index);
                let point = Point::new(id).with_vector("other", vec![1.0]);
                match random.below(10) {
                    0 => point,
                    _ => point.with_vector("v", vector(random, kind, dimension)),
                }
            })
            .collect();
        expected.extend(points.iter().map(|point| (point.id.clone(), point.clone())));
        collection.upsert(points).unwrap();
        let gone: Vec<PointId> = (0..10).map(|_| (random.below(260) as u64).into()).collect();
        collection.delete(gone.clone(), Durability::Buffered).unwrap();
        expected.retain(|id, _| !gone.contains(id));
        if part < 2 {
            collection.flush().unwrap();
        }
    }
    assert_eq!(collection.count(), expected.len() as u64);
    assert_eq!(collection.info().segments.len(), 3, "two sealed and one in memory");
    expected
}

fn check(metric: Metric, kind: VectorKind, element: ElementType, seed: u64) {
    let mut random = Random::new(seed);
    let dimension = 1 + random.below(70);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let field = VectorField { kind, element, ..VectorField::single(dimension, metric) };
    let config = CollectionConfig::new()
        .with_field("v", field)
        .with_field("other", VectorField::single(1, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    let points = fill(&collection, kind, &mut random);
    // Half precision keeps 11 bits of each of the values.
    let tolerance = if element == ElementType::F16 { 3e-3 } else { 1e-5 };
    for _ in 0..10 {
        let query = vector(&mut random, kind, dimension);
        let answer = collection.query(&QueryRequest::new("v", query.clone()).limit(20)).unwrap();
        let all = exact_top_k(&points, "v", metric, &query, points.len());
        assert_eq!(answer.hits.len(), 20);
        for (hit, (_, score)) in answer.hits.iter().zip(&all) {
            let scale = tolerance * dimension as f64 * 5.0;
            assert!((f64::from(hit.score) - score).abs() <= scale, "{metric:?} {kind:?}");
            let own = &all.iter().find(|(id, _)| *id == hit.point.id).expect("a live point").1;
            assert!((f64::from(hit.score) - own).abs() <= scale, "the score is the point's own");
        }
        if element == ElementType::F32 {
            let got: Vec<_> = answer.hits.iter().map(|hit| hit.point.id.clone()).collect();
            let expected: Vec<_> = all.iter().take(20).map(|(id, _)| id.clone()).collect();
            assert_eq!(got, expected, "{metric:?} {kind:?} in {dimension} dimensions");
        }
    }
}

#[test]
fn single_vectors_of_every_metric_and_element() {
    for (seed, metric) in (1..).zip(METRICS) {
        check(metric, VectorKind::Single, ElementType::F32, seed);
        check(metric, VectorKind::Single, ElementType::F16, seed + 10);
    }
}

#[test]
fn multi_vectors_of_every_metric_and_element() {
    for (seed, metric) in (1..).zip(METRICS) {
        check(metric, VectorKind::Multi, ElementType::F32, seed);
        check(metric, VectorKind::Multi, ElementType::F16, seed + 10);
    }
}

fn numbered(count: u64) -> (tempfile::TempDir, Database, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = CollectionConfig::new()
        .with_field("m", VectorField::multi(2, Metric::Dot))
        .with_field("v", VectorField::single(1, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    let point = |id: u64| Point::new(id).with_vector("v", vec![(id / 2) as f32]);
    collection.upsert((0..count).map(point)).unwrap();
    (folder, database, collection)
}

#[test]
fn equal_scores_are_ordered_by_id_however_points_are_stored() {
    let (_folder, _database, collection) = numbered(10);
    let expected: Vec<PointId> = [8, 9, 6, 7, 4].map(PointId::from).to_vec();
    let request = QueryRequest::new("v", vec![1.0]).limit(5);
    assert_eq!(ids(&collection.query(&request).unwrap()), expected);
    collection.flush().unwrap();
    let rewritten = Point::new(9).with_vector("v", vec![4.0]);
    collection.upsert([rewritten]).unwrap();
    assert_eq!(ids(&collection.query(&request).unwrap()), expected);
    collection.optimize().unwrap();
    assert_eq!(ids(&collection.query(&request).unwrap()), expected);
}

#[test]
fn offset_limit_and_parts_of_points() {
    let (_folder, _database, collection) = numbered(6);
    let request = QueryRequest::new("v", vec![1.0]).offset(4).limit(5).with_vectors();
    let answer = collection.query(&request).unwrap();
    assert_eq!(ids(&answer), [0.into(), 1.into()]);
    assert_eq!(answer.hits[0].point.vectors["v"], Vector::Single(vec![0.0]));
    assert_eq!(answer.sequence, 1);
    let all = collection.query(&QueryRequest::new("v", vec![1.0]).limit(10_000)).unwrap();
    assert_eq!(all.hits.len(), 6, "fewer points than the limit are no error");
}

#[test]
fn a_point_as_the_query_is_left_out_of_its_own_hits() {
    let (_folder, _database, collection) = numbered(6);
    let request = QueryRequest::new("v", PointId::from(5)).limit(2);
    assert_eq!(ids(&collection.query(&request).unwrap()), [4.into(), 2.into()]);
    let missing = collection.query(&QueryRequest::new("v", PointId::from(77))).unwrap_err();
    assert_eq!(missing.to_string(), "point 77 does not exist");
    let without = collection.query(&QueryRequest::new("m", PointId::from(5))).unwrap_err();
    assert_eq!(without.kind(), ErrorKind::InvalidArgument);
}

/// Hits that score `threshold` or more, of all hits.
fn at_least(all: &[lanner::Hit], threshold: f32, limit: usize) -> Vec<lanner::Hit> {
    all.iter().filter(|hit| hit.score >= threshold).take(limit).cloned().collect()
}

#[test]
fn a_threshold_keeps_the_hits_that_score_as_much() {
    for (seed, metric) in (20..).zip(METRICS) {
        for compression in ["none", "lvq8", "lvq4/lvq8/drop-raw"] {
            let mut random = Random::new(seed);
            let folder = tempfile::tempdir().unwrap();
            let database = Database::open(folder.path()).unwrap();
            let field = VectorField::single(8, metric).compressed(compression.parse().unwrap());
            let config = CollectionConfig::new().with_field("v", field);
            let collection = database.create_collection("c", config).unwrap();
            let point = |id: u64, v: Vec<f32>| Point::new(id).with_vector("v", v);
            collection.upsert((0..1500).map(|id| point(id, random.vector(8)))).unwrap();
            collection.flush().unwrap();
            collection.upsert((1400..1600).map(|id| point(id, random.vector(8)))).unwrap();
            for _ in 0..5 {
                let query = QueryRequest::new("v", random.vector(8));
                // All candidates are re-ranked, so that both find everything.
                let coded = query.clone().rerank(2000).limit(1600);
                let exact = query.exact().limit(1600);
                for request in [&coded, &exact] {
                    let all = collection.query(request).unwrap().hits;
                    assert_eq!(all.len(), 1600);
                    for rank in [0, 7, 200, 1599] {
                        let threshold = all[rank].score;
                        for (limit, offset) in [(1600, 0), (50, 0), (20, 5)] {
                            let request = request.clone().limit(limit).offset(offset);
                            let got = collection.query(&request.score_threshold(threshold));
                            let expected = at_least(&all, threshold, limit + offset);
                            let expected = &expected[offset.min(expected.len())..];
                            assert_eq!(got.unwrap().hits, expected, "{metric:?} {compression}");
                        }
                    }
                    let above = request.clone().score_threshold(all[0].score + 1.0);
                    assert!(collection.query(&above).unwrap().hits.is_empty());
                    let any = request.clone().score_threshold(f32::NEG_INFINITY);
                    assert_eq!(collection.query(&any).unwrap().hits, all);
                }
            }
        }
    }
}

#[test]
fn bad_queries_are_refused_by_name() {
    let (_folder, _database, collection) = numbered(3);
    let request = || QueryRequest::new("v", vec![1.0]);
    let cases = [
        (request().limit(0), "limit: expected 1 to 10000, got 0"),
        (request().limit(10_001), "limit: expected 1 to 10000, got 10001"),
        (request().offset(9_999).limit(2), "offset: expected 0 to 9998, got 9999"),
        (request().score_threshold(f32::NAN), "score_threshold: expected a number, got NaN"),
        (
            QueryRequest::new("nope", vec![1.0]),
            "field \"nope\": no such vector field; the collection has: m, v",
        ),
        (QueryRequest::new("v", vec![1.0, 2.0]), "vector: expected 1 dimensions, got 2"),
        (
            QueryRequest::new("v", vec![f32::NAN]),
            "vector: expected finite values, got NaN at position 0",
        ),
        (
            QueryRequest::new("m", vec![1.0, 2.0]),
            "vector: expected a multi vector, got a single vector",
        ),
    ];
    for (request, expected) in cases {
        let error = collection.query(&request).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    let batch = [request(), request().limit(0)];
    let error = collection.query_batch(&batch, lanner::Deadline::NEVER).unwrap_err();
    assert_eq!(error.to_string(), "queries[1].limit: expected 1 to 10000, got 0");
}

#[test]
fn a_passed_deadline_stops_a_query() {
    let (_folder, _database, collection) = numbered(3);
    let deadline = lanner::Deadline::after(std::time::Duration::ZERO);
    let error = collection.query_batch(&[QueryRequest::new("v", vec![1.0])], deadline);
    assert!(matches!(error, Err(Error::DeadlineExceeded)));
}

#[test]
fn batches_answer_like_single_queries() {
    let mut random = Random::new(5);
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().threads(2).open(folder.path()).unwrap();
    let config = CollectionConfig::new()
        .with_field("a", VectorField::single(9, Metric::Cosine))
        .with_field("b", VectorField::multi(3, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    collection
        .upsert((0..500_u64).map(|id| {
            Point::new(id)
                .with_vector("a", random.vector(9))
                .with_vector("b", random.multi(3, 1 + id as usize % 4))
        }))
        .unwrap();
    let requests: Vec<QueryRequest> = (0..40)
        .map(|index| match index % 2 {
            0 => QueryRequest::new("a", random.vector(9)).limit(7),
            _ => QueryRequest::new("b", random.multi(3, 2)).limit(9),
        })
        .collect();
    let batch = collection.query_batch(&requests, lanner::Deadline::NEVER).unwrap();
    for (request, answer) in requests.iter().zip(&batch) {
        assert_eq!(&collection.query(request).unwrap(), answer);
    }
}

#[test]
fn scroll_walks_all_points_in_the_order_of_ids() {
    let (_folder, _database, collection) = numbered(25);
    collection.upsert([Point::new("text").with_vector("v", vec![1.0])]).unwrap();
    collection.flush().unwrap();
    collection.delete(vec![3.into(), 24.into()], Durability::Synced).unwrap();
    collection.upsert([Point::new(7).with_vector("v", vec![9.0])]).unwrap();
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = collection.scroll(after.as_ref(), 4, Include::ALL).unwrap();
        assert!(page.points.len() <= 4);
        seen.extend(page.points);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let expected: Vec<PointId> =
        (0..24).filter(|&id| id != 3).map(PointId::from).chain([PointId::from("text")]).collect();
    assert_eq!(seen.iter().map(|point| point.id.clone()).collect::<Vec<_>>(), expected);
    assert_eq!(seen[6].vectors["v"], Vector::Single(vec![9.0]), "the newest version of 7");
    assert!(collection.scroll(None, 0, Include::NOTHING).is_err());
}
