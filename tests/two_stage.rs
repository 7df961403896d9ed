//! Two-stage queries find what the definition says: the best points by one field, ordered by
//! another, over sealed segments and memory, with deletions, missing vectors and filters.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Random, exact_top_k, similarity};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Deadline, Durability, ErrorKind,
    Filter, Hit, Include, Metric, Payload, PayloadType, Point, PointId, Query, QueryRequest,
    Vector, VectorField,
};

type Points = BTreeMap<PointId, Point>;

const DIMENSION: usize = 8;
/// The fields: two single ones, a compressed one without its vectors, and two of many vectors.
const FIELDS: [(&str, Metric); 5] = [
    ("a", Metric::Cosine),
    ("b", Metric::L2),
    ("codes", Metric::Dot),
    ("m", Metric::Dot),
    ("n", Metric::Cosine),
];

fn metric(field: &str) -> Metric {
    FIELDS.iter().find(|(name, _)| *name == field).unwrap().1
}

fn vector(random: &mut Random, field: &str) -> Vector {
    match field {
        "m" | "n" => {
            let rows = 1 + random.below(4);
            random.multi(DIMENSION, rows).into()
        }
        _ => random.vector(DIMENSION).into(),
    }
}

/// A field of many vectors, compared by these themselves, which is what the oracle does.
fn multi(field: &str) -> VectorField {
    VectorField::multi(DIMENSION, metric(field)).compressed("none".parse().unwrap())
}

struct Fixture {
    random: Random,
    _folder: tempfile::TempDir,
    _database: Database,
    collection: Collection,
    points: Points,
}

/// 1,500 points in two sealed segments and in memory: of each field, one in ten has no vector; some
/// are rewritten, some deleted.
fn fixture(seed: u64) -> Fixture {
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().threads(2).open(folder.path()).unwrap();
    let drop_raw = "lvq4/lvq8/drop-raw".parse().unwrap();
    let config = CollectionConfig::new()
        .with_field("a", VectorField::single(DIMENSION, metric("a")))
        .with_field("b", VectorField::single(DIMENSION, metric("b")))
        .with_field("codes", VectorField::single(DIMENSION, metric("codes")).compressed(drop_raw))
        .with_field("m", multi("m"))
        .with_field("n", multi("n"))
        .with_payload("shelf", PayloadType::Integer);
    let collection = database.create_collection("c", config).unwrap();
    for ids in [0..1200_u64, 1100..1300, 1250..1500] {
        let points = ids.clone().map(|id| {
            let shelf = format!("{{\"shelf\": {}}}", random.below(4));
            let mut point = Point::new(id).with_payload(Payload::parse(&shelf).unwrap());
            for (field, _) in FIELDS {
                if random.below(10) > 0 {
                    point = point.with_vector(field, vector(&mut random, field));
                }
            }
            point
        });
        collection.upsert(points.collect::<Vec<_>>()).unwrap();
        let gone = (0..20).map(|_| (random.below(ids.end as usize) as u64).into()).collect();
        collection.delete(gone, Durability::Buffered).unwrap();
        if ids.end < 1500 {
            collection.flush().unwrap();
        }
    }
    assert_eq!(collection.info().segments.len(), 3, "two sealed and one in memory");
    // As they are stored: what was dropped is compared as its codes hold it.
    let stored = collection.scroll(None, 10_000, Include::ALL).unwrap().points;
    let points = stored.into_iter().map(|point| (point.id.clone(), point)).collect();
    Fixture { random, _folder: folder, _database: database, collection, points }
}

/// The query vector that a query stands for, and the points it is made from.
fn meaning(points: &Points, field: &str, query: &Query) -> (Vector, Option<PointId>) {
    match query {
        Query::Vector(vector) => (vector.clone(), None),
        Query::Point(id) => (points[id].vectors[field].clone(), Some(id.clone())),
        _ => unreachable!("a query this oracle does not know"),
    }
}

/// The definition, in double precision.
fn expected(points: &Points, request: &QueryRequest) -> Vec<(PointId, f64)> {
    let rescore = request.rescore.as_ref().unwrap();
    let (first, a) = meaning(points, &request.field, &request.query);
    let (second, b) = meaning(points, &rescore.field, &rescore.query);
    let examples: BTreeSet<PointId> = a.into_iter().chain(b).collect();
    let mut candidates = points.clone();
    candidates.retain(|id, point| {
        let payload = serde_json::from_str(point.payload.as_ref().unwrap().as_str()).unwrap();
        let filter = request.filter.as_ref();
        let matches = filter.is_none_or(|filter| common::filters::matches(filter, id, &payload));
        matches && !examples.contains(id)
    });
    let (field, by) = (&request.field, metric(&request.field));
    let found = exact_top_k(&candidates, field, by, &first, rescore.candidates);
    let mut scored: Vec<(PointId, f64)> = found
        .into_iter()
        .filter_map(|(id, _)| {
            let vector = points[&id].vectors.get(&rescore.field)?;
            Some((id, similarity(metric(&rescore.field), &second, vector)))
        })
        .collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    scored.retain(|(_, score)| request.score_threshold.is_none_or(|t| *score >= t.into()));
    scored.into_iter().skip(request.offset).take(request.limit).collect()
}

fn check(fixture: &Fixture, request: &QueryRequest) -> Vec<Hit> {
    let hits = fixture.collection.query(request).unwrap().hits;
    let expected = expected(&fixture.points, request);
    let ids = |hits: &[Hit]| hits.iter().map(|hit| hit.point.id.clone()).collect::<Vec<_>>();
    let wanted: Vec<PointId> = expected.iter().map(|(id, _)| id.clone()).collect();
    let fields = (&request.field, &request.rescore.as_ref().unwrap().field);
    assert_eq!(ids(&hits), wanted, "{fields:?}");
    for (hit, (_, score)) in hits.iter().zip(&expected) {
        assert!(
            (f64::from(hit.score) - score).abs() < 1e-5 * (1.0 + score.abs()),
            "{} {score}",
            hit.score
        );
    }
    hits
}

#[test]
fn hits_are_the_best_candidates_by_the_other_field() {
    let mut fixture = fixture(1);
    let mut requests = Vec::new();
    for (first, _) in FIELDS {
        for (second, _) in FIELDS {
            for (candidates, limit, offset) in [(100, 10, 0), (30, 20, 7), (1500, 40, 0)] {
                let random = &mut fixture.random;
                let (find, order) = (vector(random, first), vector(random, second));
                let request = QueryRequest::new(first, find).limit(limit).offset(offset);
                // Few enough that codes could have lost one: all of them are compared again.
                let request = request.rescore(second, order, candidates).rerank(1500);
                let hits = check(&fixture, &request);
                assert!(!hits.is_empty());
                let exact = request.clone().exact();
                assert_eq!(check(&fixture, &exact).len(), hits.len());
                requests.extend([request, exact]);
            }
        }
    }
    let batch = fixture.collection.query_batch(&requests, Deadline::NEVER).unwrap();
    for (request, answer) in requests.iter().zip(&batch) {
        assert_eq!(&fixture.collection.query(request).unwrap(), answer);
    }
}

#[test]
fn filters_restrict_the_candidates_and_thresholds_the_hits() {
    let mut fixture = fixture(2);
    let filters = [r#"{"field": "shelf", "eq": 2}"#, r#"{"field": "shelf", "gte": 1}"#];
    for (first, second) in [("a", "m"), ("codes", "n"), ("m", "codes"), ("a", "b")] {
        for filter in filters {
            let random = &mut fixture.random;
            let (find, order) = (vector(random, first), vector(random, second));
            let request = QueryRequest::new(first, find).limit(20).rerank(1500);
            let request = request.rescore(second, order, 60).filter(Filter::parse(filter).unwrap());
            for request in [request.clone(), request.exact()] {
                let all = check(&fixture, &request);
                assert_eq!(all.len(), 20);
                // Between two scores, so that no rounding decides.
                let threshold = f32::midpoint(all[7].score, all[8].score);
                let above = check(&fixture, &request.clone().score_threshold(threshold));
                assert_eq!(above, all[..8]);
                let none = request.clone().score_threshold(all[0].score + 1.0);
                assert!(check(&fixture, &none).is_empty());
            }
        }
    }
}

#[test]
fn points_that_queries_are_made_from_are_left_out() {
    let mut fixture = fixture(3);
    let has = |point: &&Point| ["a", "m", "b"].iter().all(|&f| point.vectors.contains_key(f));
    let ids: Vec<PointId> =
        fixture.points.values().filter(has).map(|point| point.id.clone()).collect();
    for index in [0, ids.len() / 2, ids.len() - 2] {
        let (one, other) = (ids[index].clone(), ids[index + 1].clone());
        let random = &mut fixture.random;
        let (a, m) = (vector(random, "a"), vector(random, "m"));
        let by_one = QueryRequest::new("a", one.clone()).limit(15);
        let by_vector = QueryRequest::new("a", a).limit(15);
        for request in [
            by_one.clone().rescore("m", m, 15),
            by_one.clone().rescore("m", one.clone(), 15),
            by_one.rescore("m", other.clone(), 15),
            // Every point is a candidate: the example would be the best.
            by_vector.rescore("b", other, 1500),
        ] {
            check(&fixture, &request);
        }
    }
}

#[test]
fn a_recommendation_may_order_the_candidates() {
    let mut fixture = fixture(4);
    let with_b: Vec<PointId> = fixture
        .points
        .values()
        .filter(|point| point.vectors.contains_key("b"))
        .map(|point| point.id.clone())
        .collect();
    let Vector::Single(mean) = &fixture.points[&with_b[0]].vectors["b"] else { panic!("single") };
    let query = Query::Recommend { positive: vec![with_b[0].clone()], negative: vec![] };
    let find = vector(&mut fixture.random, "m");
    let request = QueryRequest::new("m", find.clone()).limit(1000).rescore("b", query, 1500);
    let by_example = fixture.collection.query(&request).unwrap().hits;
    let request = QueryRequest::new("m", find).limit(1001).rescore("b", mean.clone(), 1500);
    let mut by_vector = check(&fixture, &request);
    by_vector.retain(|hit| hit.point.id != with_b[0]);
    assert_eq!(by_example, by_vector);
    assert_eq!(by_example.len(), 1000);
}

#[test]
fn much_work_is_shared_by_the_threads() {
    let mut fixture = fixture(5);
    let order = fixture.random.multi(DIMENSION, 300);
    let request = QueryRequest::new("a", fixture.random.vector(DIMENSION)).limit(50);
    let request = request.rescore("m", order, 1500);
    assert_eq!(check(&fixture, &request).len(), 50);
}

#[test]
fn the_first_stage_may_search_an_index() {
    let mut random = Random::new(7);
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().index_rows(2_000).open(folder.path()).unwrap();
    let config = CollectionConfig::new()
        .with_field("a", VectorField::single(DIMENSION, metric("a")))
        .with_field("m", multi("m"));
    let collection = database.create_collection("c", config).unwrap();
    let points: Vec<Point> = (0..2_500_u64)
        .map(|id| {
            let point = Point::new(id).with_vector("a", random.vector(DIMENSION));
            let payload = Payload::parse("{}").unwrap();
            point.with_vector("m", vector(&mut random, "m")).with_payload(payload)
        })
        .collect();
    collection.upsert(points.clone()).unwrap();
    collection.optimize().unwrap();
    let points = points.into_iter().map(|point| (point.id.clone(), point)).collect();
    for tokens in [2, 400] {
        let request = QueryRequest::new("a", random.vector(DIMENSION)).limit(20).explain();
        let order = random.multi(DIMENSION, tokens);
        // Wide enough to find every candidate.
        let request = request.rescore("m", order, 100).search_window(2_000).rerank(1_000);
        let answer = collection.query(&request).unwrap();
        let ids: Vec<PointId> = answer.hits.into_iter().map(|hit| hit.point.id).collect();
        let expected = expected(&points, &request).into_iter().map(|(id, _)| id);
        assert_eq!(ids, expected.collect::<Vec<_>>());
        let stages = answer.explanation.unwrap().stages;
        let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
        assert_eq!(names, ["search", "rerank", "rescore"]);
    }
}

/// All points are candidates, so that the order is that of the field's own queries.
#[test]
fn coded_tokens_order_candidates_as_they_re_rank_their_own() {
    let mut random = Random::new(8);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let tokens =
        VectorField::multi(DIMENSION, Metric::Dot).compressed("lvq8/lvq8".parse().unwrap());
    let encoding = "fde:repetitions=2:planes=2:block=8".parse().unwrap();
    let config = CollectionConfig::new()
        .with_field("tokens", tokens.encoded(encoding))
        .with_field("v", VectorField::single(1, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    let points = (0..1_200_u64).map(|id| {
        let point = Point::new(id).with_vector("v", vec![1.0]);
        match id % 7 {
            0 => point,
            _ => point.with_vector("tokens", vector(&mut random, "m")),
        }
    });
    let points: Vec<Point> = points.collect();
    collection.upsert(points).unwrap();
    collection.flush().unwrap();
    for exact in [false, true] {
        let query = random.multi(DIMENSION, 3);
        let first = QueryRequest::new("v", vec![1.0]).rescore("tokens", query.clone(), 1_200);
        let own = QueryRequest::new("tokens", query).rerank(1_200);
        let ask = |request: QueryRequest| {
            let request = request.limit(1_200).explain();
            collection.query(&if exact { request.exact() } else { request }).unwrap()
        };
        let (answer, own) = (ask(first), ask(own));
        assert_eq!(answer.hits.len(), 1_200 - 172);
        if exact {
            assert_eq!(answer.hits, own.hits);
        } else {
            // Its own hits are scored by their vectors at last, candidates of others by codes.
            let scores = |hits: &[Hit]| -> Vec<(u64, f32)> {
                let number = |hit: &Hit| match hit.point.id {
                    PointId::Number(number) => (number, hit.score),
                    ref id => panic!("{id} was not written"),
                };
                let mut scores: Vec<(u64, f32)> = hits.iter().map(number).collect();
                scores.sort_by_key(|&(id, _)| id);
                scores
            };
            for (coded, own) in scores(&answer.hits).into_iter().zip(scores(&own.hits)) {
                assert!(coded.0 == own.0 && (coded.1 - own.1).abs() < 0.1, "{coded:?} {own:?}");
            }
        }
        let stages = answer.explanation.unwrap().stages;
        let source = if exact { "vectors" } else { "secondary codes" };
        assert_eq!(stages.last().unwrap().source, source);
    }
}

fn small(vectors: &[(u64, f32, Option<[f32; 2]>)]) -> (tempfile::TempDir, Database, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = CollectionConfig::new()
        .with_field("m", VectorField::multi(2, Metric::Dot))
        .with_field("v", VectorField::single(1, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    let point = |&(id, v, m): &(u64, f32, Option<[f32; 2]>)| {
        let point = Point::new(id).with_vector("v", vec![v]);
        match m {
            Some(m) => {
                point.with_vector("m", lanner::MultiVector::from_flat(2, m.to_vec()).unwrap())
            }
            None => point,
        }
    };
    collection.upsert(vectors.iter().map(point).collect::<Vec<_>>()).unwrap();
    (folder, database, collection)
}

fn tokens() -> lanner::MultiVector {
    lanner::MultiVector::from_rows(&[[1.0, 0.0]]).unwrap()
}

#[test]
fn equal_scores_are_ordered_by_id_and_points_without_a_vector_left_out() {
    // Ids against the order of the first stage, and of rows.
    let points = [
        (9, 5.0, Some([1.0, 0.0])),
        (4, 4.0, Some([1.0, 3.0])),
        (7, 3.0, None),
        (2, 2.0, Some([2.0, 0.0])),
        (1, 1.0, Some([9.0, 0.0])),
    ];
    let (_folder, _database, collection) = small(&points);
    let request = QueryRequest::new("v", vec![1.0]).rescore("m", tokens(), 4).limit(4);
    for sealed in [false, true] {
        if sealed {
            collection.flush().unwrap();
        }
        let hits = collection.query(&request).unwrap().hits;
        let got: Vec<(PointId, f32)> =
            hits.into_iter().map(|hit| (hit.point.id, hit.score)).collect();
        assert_eq!(got, [(2.into(), 2.0), (4.into(), 1.0), (9.into(), 1.0)], "not 1: fifth by v");
    }
}

#[test]
fn explain_shows_what_was_rescored_after_the_first_stage() {
    let mut fixture = fixture(6);
    let names = |answer: &lanner::QueryResponse| -> Vec<String> {
        let stages = &answer.explanation.as_ref().unwrap().stages;
        stages.iter().map(|stage| format!("{} {}", stage.name, stage.source)).collect()
    };
    let find = QueryRequest::new("a", vector(&mut fixture.random, "a")).explain();
    let request = find.clone().rescore("codes", vec![0.5; DIMENSION], 1500);
    let answer = fixture.collection.query(&request).unwrap();
    let expected = ["rescore secondary codes", "rescore vectors"];
    assert!(names(&answer).ends_with(&expected.map(String::from)), "{:?}", names(&answer));
    let stages = answer.explanation.unwrap().stages;
    let both = |point: &&Point| ["a", "codes"].iter().all(|&f| point.vectors.contains_key(f));
    let rescored = stages.iter().filter(|stage| stage.name == "rescore");
    let rows: u64 = rescored.clone().map(|stage| stage.rows).sum();
    assert_eq!(rows, fixture.points.values().filter(both).count() as u64);
    // A row has 8 bits for each of 8 dimensions, and what scales them; a vector 32 bytes.
    let bytes: Vec<u64> = rescored.map(|stage| stage.bytes / stage.rows).collect();
    assert!((8..32).contains(&bytes[0]) && bytes[1] == 32, "{bytes:?}");

    let exact = fixture.collection.query(&request.exact()).unwrap();
    let expected = ["rescore reconstructed vectors", "rescore vectors"];
    assert!(names(&exact).ends_with(&expected.map(String::from)), "{:?}", names(&exact));
    let plain = fixture.collection.query(&find).unwrap();
    assert!(names(&plain).iter().all(|name| !name.starts_with("rescore")));
}

#[test]
fn bad_second_stages_are_refused_by_name() {
    let (_folder, _database, collection) = small(&[(1, 1.0, Some([1.0, 0.0])), (2, 1.0, None)]);
    let first = || QueryRequest::new("v", vec![1.0]).limit(5).offset(3);
    let recommend = Query::Recommend { positive: vec![1.into()], negative: vec![] };
    let none = Query::Recommend { positive: vec![], negative: vec![] };
    let cases = [
        (first().rescore("m", tokens(), 7), "rescore.candidates: expected 8 to 100000, got 7"),
        (
            first().rescore("m", tokens(), 100_001),
            "rescore.candidates: expected 8 to 100000, got 100001",
        ),
        (
            first().rescore("x", tokens(), 9),
            "rescore.field \"x\": no such vector field; the collection has: m, v",
        ),
        (
            first().rescore("m", vec![1.0, 0.0], 9),
            "rescore.vector: expected a multi vector, got a single vector",
        ),
        (first().rescore("v", vec![1.0, 0.0], 9), "rescore.vector: expected 1 dimensions, got 2"),
        (
            first().rescore("v", vec![f32::NAN], 9),
            "rescore.vector: expected finite values, got NaN at position 0",
        ),
        (
            first().rescore("m", PointId::from(2), 9),
            "rescore.point: expected a point that has a vector in the queried field, \
             got point 2 without a vector in \"m\"",
        ),
        (
            first().rescore("m", recommend, 9),
            "rescore.field: expected a single-vector field to recommend from, got a multi field",
        ),
        (
            first().rescore("m", tokens(), 100_001).rerank(50),
            "rescore.candidates: expected 8 to 100000, got 100001",
        ),
        (first().rescore("v", none, 9), "rescore.positive: expected 1 to 1000, got 0"),
        (first().rescore("m", tokens(), 20).rerank(19), "rerank: expected 20 to 100000, got 19"),
    ];
    for (request, expected) in cases {
        let error = collection.query(&request).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    let missing = collection.query(&first().rescore("m", PointId::from(77), 9)).unwrap_err();
    assert_eq!(missing.to_string(), "point 77 does not exist");
    let most = first().rescore("m", tokens(), 100_000);
    assert!(collection.query(&most.offset(0)).unwrap().hits.len() == 1, "the bound itself works");
    let batch = [first(), first().rescore("m", tokens(), 7)];
    let error = collection.query_batch(&batch, Deadline::NEVER).unwrap_err().to_string();
    assert_eq!(error, "queries[1].rescore.candidates: expected 8 to 100000, got 7");
}
