//! Recommendation: points as examples of what to find and what not.

mod common;

use std::collections::BTreeMap;

use common::{Random, exact_top_k};
use lanner::{
    Collection, CollectionConfig, Database, ErrorKind, Metric, Point, PointId, Query, QueryRequest,
    VectorField,
};

const DIMENSION: usize = 6;

fn recommend(positive: &[u64], negative: &[u64]) -> QueryRequest {
    let ids = |ids: &[u64]| ids.iter().copied().map(PointId::from).collect();
    let query = Query::Recommend { positive: ids(positive), negative: ids(negative) };
    QueryRequest::new("v", query)
}

/// 1,500 points in a sealed segment and 100 in memory.
fn create(
    metric: Metric,
    compression: &str,
) -> (tempfile::TempDir, Database, Collection, BTreeMap<PointId, Point>) {
    let mut random = Random::new(31);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let field = VectorField::single(DIMENSION, metric).compressed(compression.parse().unwrap());
    let config = CollectionConfig::new()
        .with_field("v", field)
        .with_field("m", VectorField::multi(2, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    let mut points = BTreeMap::new();
    for ids in [0..1500_u64, 1500..1600] {
        let added: Vec<Point> =
            ids.map(|id| Point::new(id).with_vector("v", random.vector(DIMENSION))).collect();
        points.extend(added.iter().map(|point| (point.id.clone(), point.clone())));
        collection.upsert(added).unwrap();
        if points.len() == 1500 {
            collection.flush().unwrap();
        }
    }
    let bare = Point::new(9000)
        .with_vector("m", lanner::MultiVector::from_flat(2, vec![1.0, 2.0]).unwrap());
    collection.upsert([bare]).unwrap();
    (folder, database, collection, points)
}

/// What the examples stand for, from the definition and in double precision.
fn query_vector(
    metric: Metric,
    points: &BTreeMap<PointId, Point>,
    positive: &[u64],
    negative: &[u64],
) -> Vec<f32> {
    let mean = |ids: &[u64], i: usize| {
        let value = |id: &u64| {
            let vector = points[&PointId::from(*id)].vectors["v"].as_ref().values().to_vec();
            let length = vector.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt();
            let scale = if metric == Metric::Cosine { length } else { 1.0 };
            f64::from(vector[i]) / scale
        };
        ids.iter().map(value).sum::<f64>() / ids.len() as f64
    };
    let element = |i| match negative {
        [] => mean(positive, i),
        _ => 2.0 * mean(positive, i) - mean(negative, i),
    };
    (0..DIMENSION).map(|i| element(i) as f32).collect()
}

#[test]
fn recommendations_are_the_neighbours_of_the_mean_without_the_examples() {
    for metric in [Metric::Dot, Metric::Cosine, Metric::L2] {
        for compression in ["none", "lvq8"] {
            let (_folder, _database, collection, points) = create(metric, compression);
            for (positive, negative) in [
                (&[3][..], &[][..]),
                (&[3, 1599], &[]),
                (&[3, 3, 700], &[1550]),
                (&[1, 2, 3, 4], &[5, 6, 1]),
            ] {
                let query = query_vector(metric, &points, positive, negative);
                let examples: Vec<PointId> =
                    positive.iter().chain(negative).copied().map(PointId::from).collect();
                let mut expected = exact_top_k(&points, "v", metric, &query.into(), 100);
                expected.retain(|(id, _)| !examples.contains(id));
                for offset in [0, 3] {
                    let request = recommend(positive, negative).limit(12).offset(offset);
                    let hits = collection.query(&request.rerank(500)).unwrap().hits;
                    assert_eq!(hits.len(), 12);
                    for (hit, (id, score)) in hits.iter().zip(&expected[offset..]) {
                        assert_eq!(&hit.point.id, id, "{metric:?} {compression}");
                        // The oracle's score is of a query that is not scaled.
                        let close = (f64::from(hit.score) - score).abs() < 1e-4;
                        assert!(close, "{} {score} {metric:?}", hit.score);
                    }
                }
            }
        }
    }
}

#[test]
fn one_example_is_the_same_as_the_point_as_query() {
    let (_folder, _database, collection, _) = create(Metric::Cosine, "auto");
    let by_point = QueryRequest::new("v", PointId::from(8));
    let by_example = collection.query(&recommend(&[8], &[])).unwrap();
    let ids = |answer: &lanner::QueryResponse| {
        answer.hits.iter().map(|hit| hit.point.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&by_example), ids(&collection.query(&by_point).unwrap()));
}

#[test]
fn examples_that_are_left_out_cost_no_hits() {
    let (_folder, _database, collection, points) = create(Metric::Dot, "none");
    let examples: Vec<u64> = (0..1000).collect();
    let hits = collection.query(&recommend(&examples, &[]).limit(10_000)).unwrap().hits;
    assert_eq!(hits.len(), points.len() - 1000, "a thousand examples are the most");
    assert!(hits.iter().all(|hit| hit.point.id >= PointId::from(1000)));
}

#[test]
fn bad_examples_are_refused_by_name() {
    let (_folder, _database, collection, _) = create(Metric::Cosine, "none");
    let many: Vec<u64> = (0..1001).collect();
    let multi = QueryRequest { field: "m".into(), ..recommend(&[9000], &[]) };
    let cases = [
        (recommend(&[], &[1]), "positive: expected 1 to 1000, got 0"),
        (recommend(&many, &[]), "positive: expected 1 to 1000, got 1001"),
        (recommend(&[1, 2], &many[..999]), "negative: expected 0 to 998, got 999"),
        (
            recommend(&[1, 9000], &[]),
            "positive[1]: expected a point that has a vector in the queried field, \
             got point 9000 without a vector in \"v\"",
        ),
        (
            recommend(&[1], &[9000]),
            "negative[0]: expected a point that has a vector in the queried field, \
             got point 9000 without a vector in \"v\"",
        ),
        (multi, "field: expected a single-vector field to recommend from, got a multi field"),
    ];
    for (request, expected) in cases {
        let error = collection.query(&request).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    let missing = collection.query(&recommend(&[1], &[77_777])).unwrap_err();
    assert_eq!(missing.to_string(), "point 77777 does not exist");

    // Opposite examples stand for no direction.
    let opposite = [1.0, -1.0].map(|x| vec![x; DIMENSION]);
    let points = (20_000..).zip(opposite).map(|(id, v)| Point::new(id as u64).with_vector("v", v));
    collection.upsert(points).unwrap();
    let error = collection.query(&recommend(&[20_000, 20_001], &[])).unwrap_err().to_string();
    assert!(error.contains("non-zero length"), "{error}");
}
