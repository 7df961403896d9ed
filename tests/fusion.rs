//! Fusion gives what its formulas say, of the rankings that the queries give alone.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::Random;
use lanner::{
    Collection, CollectionConfig, Database, Deadline, Durability, Error, ErrorKind, Filter,
    FusionMethod, FusionRequest, FusionResponse, Include, Metric, Normalization, Payload,
    PayloadType, Point, PointId, QueryRequest, Vector, VectorField,
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
        .with_field("c", VectorField::multi(3, Metric::Cosine))
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
            let rows = 1 + random.below(4);
            point.with_vector("w", random.vector(4)).with_vector("c", random.multi(3, rows))
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

/// What a list gives its hits and a point that it lacks; `infimum` is that of the scores.
fn shares(method: FusionMethod, infimum: f64, list: &[f64]) -> (Vec<f64>, f64) {
    let Some((&max, &min)) = list.first().zip(list.last()) else { return (Vec::new(), 0.0) };
    let count = list.len() as f64;
    let over = |zero: f64| list.iter().map(move |score| (score - zero) / (max - zero)).collect();
    match method {
        FusionMethod::Rrf { k } => {
            let share = |rank| 1.0 / (f64::from(k) + rank as f64);
            ((1..=list.len()).map(share).collect(), 0.0)
        }
        FusionMethod::Scores { normalization } => match normalization {
            Normalization::MinMax if min == max => (vec![1.0; list.len()], 0.0),
            Normalization::MinMax => (over(min), 0.0),
            Normalization::TheoreticalMinMax => (over(infimum), 0.0),
            Normalization::ZScore if min == max => (vec![0.0; list.len()], 0.0),
            Normalization::ZScore => {
                let mean = list.iter().sum::<f64>() / count;
                let square = list.iter().map(|score| score * score).sum::<f64>() / count;
                let deviation = (square - mean * mean).sqrt();
                let z: Vec<f64> = list.iter().map(|score| (score - mean) / deviation).collect();
                let missing = z[z.len() - 1];
                (z, missing)
            }
        },
    }
}

/// The formula, over the answers to the queries one by one.
fn expected(
    collection: &Collection,
    request: &FusionRequest,
    infima: &[f64],
) -> Vec<(PointId, f64)> {
    let mut lists = Vec::new();
    for (index, query) in request.queries.iter().enumerate() {
        let weight = request.weights.as_ref().map_or(1.0, |weights| f64::from(weights[index]));
        let hits = collection.query(query).unwrap().hits;
        let scores: Vec<f64> = hits.iter().map(|hit| hit.score.into()).collect();
        let infimum = infima.get(index).copied().unwrap_or(0.0);
        let (shares, missing) = shares(request.method, infimum, &scores);
        let found: BTreeMap<PointId, f64> =
            hits.into_iter().map(|hit| hit.point.id).zip(shares).collect();
        if weight > 0.0 {
            lists.push((weight, found, missing));
        }
    }
    let ids: BTreeSet<&PointId> = lists.iter().flat_map(|(_, found, _)| found.keys()).collect();
    let sum = |id: &PointId| {
        let share = |(weight, found, missing): &(f64, BTreeMap<PointId, f64>, f64)| {
            weight * found.get(id).unwrap_or(missing)
        };
        (id.clone(), lists.iter().map(share).sum())
    };
    let mut fused: Vec<(PointId, f64)> = ids.into_iter().map(sum).collect();
    fused.sort_by(|a, b| (b.1 as f32).total_cmp(&(a.1 as f32)).then_with(|| a.0.cmp(&b.0)));
    fused.into_iter().skip(request.offset).take(request.limit).collect()
}

fn check(collection: &Collection, request: &FusionRequest) -> FusionResponse {
    let answer = collection.fuse(request).unwrap();
    let got: Vec<(PointId, f32)> =
        answer.hits.iter().map(|hit| (hit.point.id.clone(), hit.score)).collect();
    let expected =
        expected(collection, request, &[]).into_iter().map(|(id, score)| (id, score as f32));
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

/// As [`check`], where rounding may decide: scores nearly as expected, sorted, of the same points.
fn check_scores(collection: &Collection, request: &FusionRequest, infima: &[f64]) {
    let answer = collection.fuse(request).unwrap();
    let all = FusionRequest { limit: 1000, offset: 0, ..request.clone() };
    let scores: BTreeMap<PointId, f64> = expected(collection, &all, infima).into_iter().collect();
    let expected = expected(collection, request, infima);
    assert_eq!(answer.hits.len(), expected.len());
    for (hit, (_, expected)) in answer.hits.iter().zip(&expected) {
        let got = f64::from(hit.score);
        assert!((got - expected).abs() < 1e-5, "{got} {expected} {request:?}");
        assert!((got - scores[&hit.point.id]).abs() < 1e-5, "{:?} {request:?}", hit.point.id);
    }
    let ordered = |pair: &[lanner::Hit]| {
        let [a, b] = pair else { unreachable!() };
        a.score > b.score || (a.score == b.score && a.point.id < b.point.id)
    };
    assert!(answer.hits.windows(2).all(ordered), "{request:?}");
}

#[test]
fn scores_are_normalised_over_the_hits_of_each_query() {
    let mut fixture = fixture(5);
    for round in 0..5 {
        let [v, m, w] = queries(&mut fixture.random);
        let collection = &fixture.collection;
        for normalization in [Normalization::MinMax, Normalization::ZScore] {
            let three = FusionRequest::new([v.clone(), m.clone(), w.clone()]).scores(normalization);
            check_scores(collection, &three.clone().limit(200), &[]);
            check_scores(collection, &three.clone().limit(9).offset(13), &[]);
            check_scores(collection, &three.clone().weights([0.25, 3.0, 0.0]).limit(200), &[]);
            let one = FusionRequest::new([v.clone().limit(1), w.clone().limit(1 + round)]);
            check_scores(collection, &one.scores(normalization), &[]);
        }
        let tokens = QueryRequest::new("c", fixture.random.multi(3, 4)).limit(50);
        let point = QueryRequest::new("c", PointId::from(390 + round as u64)).limit(50);
        let second = v.clone().rescore("c", fixture.random.multi(3, 2), 80);
        let id = PointId::from(390 + round as u64);
        let stored = collection.get(&[id], Include::ALL).unwrap().swap_remove(0).unwrap();
        let Vector::Multi(multi) = &stored.vectors["c"] else { panic!("a multi field") };
        let count = multi.values().len() as f64 / 3.0;
        let request = FusionRequest::new([w, tokens, point, second]).limit(200);
        let request = request.scores(Normalization::TheoreticalMinMax);
        check_scores(collection, &request, &[-1.0, -4.0, -count, -2.0]);
    }
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
    let [v, m, w] = queries(&mut fixture.random);
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
            FusionRequest::new([w.clone(), m.clone()]).scores(Normalization::TheoreticalMinMax),
            "queries[1].field \"m\": expected a field whose scores have an infimum (under cosine, of text, or sparse) for \
             theoretical-min-max, got dot",
        ),
        (
            FusionRequest::new([w.rescore("v", vec![0.5; 6], 60)])
                .scores(Normalization::TheoreticalMinMax),
            "queries[0].field \"v\": expected a field whose scores have an infimum (under cosine, of text, or sparse) for \
             theoretical-min-max, got l2",
        ),
        (
            two().scores(Normalization::MinMax).weights([1.0, -0.5]),
            "weights[1]: expected 0 to 1000000, got -0.5",
        ),
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
