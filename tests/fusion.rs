//! Reciprocal rank fusion gives what the formula says, of the rankings that the queries give alone.

mod common;

use std::collections::BTreeMap;

use common::Random;
use lanner::{
    Collection, CollectionConfig, Database, Deadline, Durability, Error, ErrorKind, Filter,
    FusionRequest, FusionResponse, Include, Metric, Payload, PayloadType, Point, PointId,
    QueryRequest, VectorField,
};

struct Fixture {
    random: Random,
    _folder: tempfile::TempDir,
    _database: Database,
    collection: Collection,
}

/// 400 points in a sealed segment and in memory, some without one of the vectors, some deleted.
fn fixture(seed: u64) -> Fixture {
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = CollectionConfig::new()
        .with_field("m", VectorField::multi(3, Metric::Dot))
        .with_field("v", VectorField::single(6, Metric::L2))
        .with_field("w", VectorField::single(4, Metric::Cosine))
        .with_payload("n", PayloadType::Integer);
    let collection = database.create_collection("c", config).unwrap();
    for ids in [0..300_u64, 250..400] {
        let points = ids.map(|id| {
            let payload = Payload::parse(&format!("{{\"n\": {id}}}")).unwrap();
            let mut point = Point::new(id).with_payload(payload);
            if random.below(6) > 0 {
                point = point.with_vector("v", random.vector(6));
            }
            if random.below(6) > 0 {
                let rows = 1 + random.below(3);
                point = point.with_vector("m", random.multi(3, rows));
            }
            point.with_vector("w", random.vector(4))
        });
        collection.upsert(points.collect::<Vec<_>>()).unwrap();
        collection
            .delete(
                (0..9).map(|_| (random.below(250) as u64).into()).collect(),
                Durability::Buffered,
            )
            .unwrap();
        if collection.count() < 300 {
            collection.flush().unwrap();
        }
    }
    assert_eq!(collection.info().segments.len(), 2, "one sealed and one in memory");
    Fixture { random, _folder: folder, _database: database, collection }
}

/// The formula, over the answers to the queries one by one.
fn expected(collection: &Collection, request: &FusionRequest) -> Vec<(PointId, f64)> {
    let mut sums = BTreeMap::<PointId, f64>::new();
    for (index, query) in request.queries.iter().enumerate() {
        let weight = request.weights.as_ref().map_or(1.0, |weights| f64::from(weights[index]));
        for (position, hit) in collection.query(query).unwrap().hits.into_iter().enumerate() {
            let share = weight / (f64::from(request.k) + 1.0 + position as f64);
            if share > 0.0 {
                *sums.entry(hit.point.id).or_default() += share;
            }
        }
    }
    let mut fused: Vec<(PointId, f64)> = sums.into_iter().collect();
    fused.sort_by(|a, b| (b.1 as f32).total_cmp(&(a.1 as f32)).then_with(|| a.0.cmp(&b.0)));
    fused.into_iter().skip(request.offset).take(request.limit).collect()
}

fn check(collection: &Collection, request: &FusionRequest) -> FusionResponse {
    let answer = collection.fuse(request).unwrap();
    let got: Vec<(PointId, f32)> =
        answer.hits.iter().map(|hit| (hit.point.id.clone(), hit.score)).collect();
    let expected = expected(collection, request).into_iter().map(|(id, score)| (id, score as f32));
    assert_eq!(got, expected.collect::<Vec<_>>(), "{request:?}");
    answer
}

fn queries(random: &mut Random) -> [QueryRequest; 3] {
    [
        QueryRequest::new("v", random.vector(6)).limit(60),
        QueryRequest::new("m", random.multi(3, 2)).limit(100),
        QueryRequest::new("w", random.vector(4)).limit(20),
    ]
}

#[test]
fn scores_are_the_sums_of_weighted_reciprocal_ranks() {
    let mut fixture = fixture(1);
    for _ in 0..5 {
        let [v, m, w] = queries(&mut fixture.random);
        let collection = &fixture.collection;
        let three = FusionRequest::new([v.clone(), m.clone(), w.clone()]);
        check(collection, &three);
        check(collection, &three.clone().limit(150));
        check(collection, &three.clone().limit(9).offset(13));
        check(collection, &three.clone().k(0.5).limit(40));
        check(collection, &three.clone().k(1e9).limit(40));
        check(collection, &three.clone().weights([0.25, 3.0, 1.0]).limit(200));
        let without = three.clone().weights([1.0, 0.0, 1.0]).limit(200);
        let pair = FusionRequest::new([v.clone(), w.clone()]).limit(200);
        assert_eq!(check(collection, &without), check(collection, &pair));
        // Equal queries keep their order, and so does one.
        let alone = check(collection, &FusionRequest::new([v.clone()]).limit(60));
        let twice = check(collection, &FusionRequest::new([v.clone(), v.clone()]).limit(60));
        let ids = |answer: &FusionResponse| {
            answer.hits.iter().map(|hit| hit.point.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&alone), ids(&twice));
        assert_eq!(alone.hits[0].score, 1.0 / 61.0);
        assert_eq!(twice.hits[0].score, 2.0 / 61.0);
    }
}

#[test]
fn queries_keep_their_filters_thresholds_and_second_stages() {
    let mut fixture = fixture(2);
    let [v, m, w] = queries(&mut fixture.random);
    let tokens = fixture.random.multi(3, 2);
    let filtered = v.clone().filter(Filter::parse(r#"{"field": "n", "lt": 150}"#).unwrap());
    let threshold = fixture.collection.query(&m).unwrap().hits[10].score;
    let request = FusionRequest::new([
        filtered,
        m.score_threshold(threshold),
        w.rescore("m", tokens, 50),
        QueryRequest::new("w", PointId::from(399)),
    ]);
    let answer = check(&fixture.collection, &request.limit(200));
    assert!(answer.hits.len() > 60 && answer.explanations.is_empty());
}

#[test]
fn equal_scores_are_ordered_by_id() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = CollectionConfig::new()
        .with_field("a", VectorField::single(1, Metric::Dot))
        .with_field("b", VectorField::single(1, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    // The order by one is the reverse of that by the other.
    let point = |id: u64| {
        Point::new(id).with_vector("a", vec![id as f32]).with_vector("b", vec![-(id as f32)])
    };
    collection.upsert((0..6).map(point)).unwrap();
    let by = |field: &str| QueryRequest::new(field, vec![1.0]);
    let answer = check(&collection, &FusionRequest::new([by("a"), by("b")]));
    let ids: Vec<PointId> = answer.hits.iter().map(|hit| hit.point.id.clone()).collect();
    // 1/61 + 1/66 is more than 1/62 + 1/65, that more than 1/63 + 1/64.
    assert_eq!(ids, [0, 5, 1, 4, 2, 3].map(PointId::from));
}

#[test]
fn hits_have_what_is_asked_for_and_explanations_are_the_queries() {
    let mut fixture = fixture(3);
    // What queries ask for themselves does not count.
    let [v, m, _] = queries(&mut fixture.random).map(|query| query.with_vectors().explain());
    let request = FusionRequest::new([m.rescore("v", vec![0.5; 6], 100), v]).limit(5);
    let before = fixture.collection.statistics().answered;
    let plain = fixture.collection.fuse(&request).unwrap();
    assert_eq!(fixture.collection.statistics().answered, before + 2, "each of the queries counts");
    assert!(plain.explanations.is_empty());
    let hits = plain.hits.iter();
    assert!(hits.map(|hit| &hit.point).all(|p| p.payload.is_none() && p.vectors.is_empty()));
    assert_eq!(plain.sequence, fixture.collection.snapshot().sequence);

    let full = request.with_payload().with_vectors().explain();
    let answer = fixture.collection.fuse(&full).unwrap();
    for hit in &answer.hits {
        let stored =
            fixture.collection.get(std::slice::from_ref(&hit.point.id), Include::ALL).unwrap();
        assert_eq!(Some(&hit.point), stored[0].as_ref());
    }
    let names = |index: usize| {
        let stages = &answer.explanations[index].stages;
        stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(answer.explanations.len(), 2);
    assert_eq!((names(0), names(1)), (vec!["scan", "rescore"], vec!["scan"]));
}

#[test]
fn bad_fusions_are_refused_by_name() {
    let mut fixture = fixture(4);
    let [v, m, _] = queries(&mut fixture.random);
    let two = || FusionRequest::new([v.clone(), m.clone()]);
    let wrong = QueryRequest::new("v", vec![1.0]);
    let later = m.clone().offset(2);
    let many = vec![m.clone().limit(1); 65];
    let cases = [
        (FusionRequest::new([]), "queries: expected 1 to 64, got 0"),
        (FusionRequest::new(many.clone()), "queries: expected 1 to 64, got 65"),
        (two().limit(0), "limit: expected 1 to 10000, got 0"),
        (two().limit(10_001), "limit: expected 1 to 10000, got 10001"),
        (two().limit(9_999).offset(2), "offset: expected 0 to 1, got 2"),
        (two().k(0.0), "k: expected a finite number above 0, got 0"),
        (two().k(-1.0), "k: expected a finite number above 0, got -1"),
        (two().k(f32::NAN), "k: expected a finite number above 0, got NaN"),
        (two().k(f32::INFINITY), "k: expected a finite number above 0, got inf"),
        (two().weights([1.0]), "weights: expected one weight a query, got 1 for 2 queries"),
        (two().weights([1.0; 3]), "weights: expected one weight a query, got 3 for 2 queries"),
        (two().weights([0.0, -0.0]), "weights: expected a weight above 0, got only 0"),
        (two().weights([1.0, -0.5]), "weights[1]: expected 0 to 1000000, got -0.5"),
        (two().weights([f32::NAN, 1.0]), "weights[0]: expected 0 to 1000000, got NaN"),
        (two().weights([1.0, f32::INFINITY]), "weights[1]: expected 0 to 1000000, got inf"),
        (
            FusionRequest::new([v.clone(), later]),
            "queries[1].offset: expected 0 in a query to be fused, got 2",
        ),
        (FusionRequest::new([wrong.clone()]), "queries[0].vector: expected 6 dimensions, got 1"),
        (FusionRequest::new([v.clone(), wrong]), "queries[1].vector: expected 6 dimensions, got 1"),
    ];
    for (request, expected) in cases {
        let error = fixture.collection.fuse(&request).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    let most = FusionRequest::new(many.into_iter().take(64)).weights([1e6; 64]);
    let hits = fixture.collection.fuse(&most.k(f32::MIN_POSITIVE)).unwrap().hits;
    assert_eq!((hits.len(), hits[0].score), (1, 64e6), "the bounds themselves work");
    let missing = FusionRequest::new([QueryRequest::new("v", PointId::from(9_999))]);
    let missing = fixture.collection.fuse(&missing).unwrap_err();
    assert_eq!(missing.to_string(), "point 9999 does not exist");
    let late = Deadline::after(std::time::Duration::ZERO);
    let late = fixture.collection.fuse_before(&two(), late);
    assert!(matches!(late, Err(Error::DeadlineExceeded)));
}
