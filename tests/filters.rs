//! Filtered search finds what the exact search over the matching points finds: from one point in
//! a thousand to nine in ten, also where the filter keeps what is near the query or far from it;
//! in memory, sealed, merged and reopened; with codes and without.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::filters::matches;
use common::{Random, exact_top_k, ids};
use lanner::{
    Bounds, Collection, CollectionConfig, Compression, Database, DatabaseOptions, Deadline,
    Durability, ErrorKind, Filter, Include, Metric, Payload, PayloadType, Point, PointId,
    QueryRequest, Vector, VectorField,
};
use serde_json::{Value, json};

const POINTS: u64 = 6000;
const DIMENSION: usize = 16;
/// Matching points of a thousand.
const SHARES: [u64; 8] = [1, 10, 50, 100, 200, 400, 700, 900];

fn config(compression: &str) -> CollectionConfig {
    let compression: Compression = compression.parse().unwrap();
    CollectionConfig::new()
        .with_field("v", VectorField::single(DIMENSION, Metric::Cosine).compressed(compression))
        .with_payload("anywhere", PayloadType::Integer)
        .with_payload("far", PayloadType::Integer)
        .with_payload("lang", PayloadType::Keyword)
        .with_payload("near", PayloadType::Integer)
}

/// What the vectors are compared with to number them from near to far.
fn center() -> Vec<f32> {
    (0..DIMENSION).map(|index| if index < 4 { 1.0 } else { 0.0 }).collect()
}

/// Points with three thousandths each: at random, from near to far, and from far to near.
fn points(random: &mut Random) -> BTreeMap<PointId, Point> {
    let vectors: Vec<Vec<f32>> = (0..POINTS).map(|_| random.vector(DIMENSION)).collect();
    let similarity = |vector: &Vec<f32>| -> f32 {
        let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        center().iter().zip(vector).map(|(a, b)| a * b).sum::<f32>() / length
    };
    let mut order: Vec<usize> = (0..vectors.len()).collect();
    order.sort_by(|&a, &b| similarity(&vectors[b]).total_cmp(&similarity(&vectors[a])));
    let mut points = BTreeMap::new();
    for (rank, index) in order.into_iter().enumerate() {
        let near = rank as u64 * 1000 / POINTS;
        let lang = ["de", "en", "fr"][random.below(3)];
        let payload = json!({
            "near": near,
            "far": 999 - near,
            "anywhere": random.below(1000),
            "lang": lang,
        });
        let id = PointId::from(index as u64);
        let payload = Payload::parse(&payload.to_string()).unwrap();
        let point = Point::new(id.clone()).with_vector("v", vectors[index].clone());
        points.insert(id, point.with_payload(payload));
    }
    points
}

fn json_payload(point: &Point) -> Value {
    point.payload.as_ref().map_or(Value::Null, |payload| payload.to_map().into())
}

/// Half sealed in two segments, some deleted and rewritten, the rest in memory.
fn fill(collection: &Collection, points: &mut BTreeMap<PointId, Point>) {
    let all: Vec<Point> = points.values().cloned().collect();
    let (first, rest) = all.split_at(all.len() / 2);
    let (second, third) = rest.split_at(rest.len() / 2);
    collection.upsert(first.to_vec()).unwrap();
    collection.flush().unwrap();
    collection.upsert(second.to_vec()).unwrap();
    collection.flush().unwrap();
    collection.upsert(third.to_vec()).unwrap();
    let gone: Vec<PointId> = (0..POINTS).step_by(17).map(PointId::from).collect();
    collection.delete(gone.clone(), Durability::Buffered).unwrap();
    points.retain(|id, _| !gone.contains(id));
    // Another payload: the old row must match no more.
    let moved: Vec<Point> = points.values().step_by(13).cloned().collect();
    let payload = |point: &Point| {
        let mut payload = point.payload.as_ref().unwrap().to_map();
        payload["anywhere"] = json!(999 - payload["anywhere"].as_u64().unwrap());
        Payload::try_from(payload).unwrap()
    };
    let moved: Vec<Point> =
        moved.into_iter().map(|p| Point { payload: Some(payload(&p)), ..p }).collect();
    points.extend(moved.iter().map(|point| (point.id.clone(), point.clone())));
    collection.upsert(moved).unwrap();
}

fn filters() -> Vec<Filter> {
    let below = |field: &str, share: u64| {
        Filter::range(field, Bounds::new().lt(share as i64)).and(Filter::exists("lang"))
    };
    let fields = ["anywhere", "near", "far"];
    fields.iter().flat_map(|field| SHARES.map(|share| below(field, share))).collect()
}

/// Share of the exact answer that was found, over all filters; exact queries must find all.
/// Few points are gathered and many checked, and a search of codes reads codes.
fn check(
    collection: &Collection,
    points: &BTreeMap<PointId, Point>,
    random: &mut Random,
    coded: bool,
) -> f64 {
    let noise = random.vector(DIMENSION);
    let query: Vec<f32> = center().iter().zip(&noise).map(|(a, b)| a + 0.3 * b).collect();
    let (mut found, mut wanted) = (0, 0);
    for filter in filters() {
        let matching: BTreeMap<PointId, Point> = points
            .iter()
            .filter(|(id, point)| matches(&filter, id, &json_payload(point)))
            .map(|(id, point)| (id.clone(), point.clone()))
            .collect();
        let count = collection.count_where(&filter).unwrap();
        assert_eq!(count, matching.len() as u64, "{}", filter.to_json());
        let request = QueryRequest::new("v", query.clone()).filter(filter).limit(20);
        let vector = Vector::Single(query.clone());
        let expected: Vec<PointId> = exact_top_k(&matching, "v", Metric::Cosine, &vector, 20)
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        let exact = collection.query(&request.clone().exact()).unwrap();
        assert_eq!(ids(&exact), expected, "{:?}", request.filter);
        let answer = collection.query(&request.clone().explain()).unwrap();
        let stages = &answer.explanation.as_ref().unwrap().stages;
        let has = |name: &str, source: &str| {
            stages.iter().any(|stage| stage.name == name && stage.source.starts_with(source))
        };
        assert_eq!(has("scan", "codes"), coded);
        // The shares of the segments differ from that of all by what chance and updates do.
        let share = 1000 * count / points.len() as u64;
        assert!(share > 110 || (has("filter", "gathered") && !has("filter", "checked")));
        assert!(share < 250 || has("filter", "checked"));
        let answer = ids(&answer);
        assert_eq!(answer.len(), expected.len(), "{:?}", request.filter);
        assert!(answer.iter().all(|id| matching.contains_key(id)), "{:?}", request.filter);
        found += answer.iter().filter(|id| expected.contains(id)).count();
        wanted += expected.len();
    }
    found as f64 / wanted as f64
}

fn open(folder: &Path) -> (Database, Collection) {
    let database = Database::open(folder).unwrap();
    let collection = database.collection("c").unwrap();
    (database, collection)
}

fn scenario(compression: &str, least_recall: f64, seed: u64) {
    let mut random = Random::new(seed);
    let mut points = points(&mut random);
    let coded = compression != "none";
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config(compression)).unwrap();
    fill(&collection, &mut points);
    let mut recalls = vec![check(&collection, &points, &mut random, coded)];
    drop((collection, database));

    let (database, collection) = open(folder.path());
    recalls.push(check(&collection, &points, &mut random, coded));
    collection.optimize().unwrap();
    assert_eq!(collection.info().segments.len(), 1);
    recalls.push(check(&collection, &points, &mut random, coded));
    drop((collection, database));

    let (_database, collection) = open(folder.path());
    assert_eq!(*collection.config(), config(compression));
    recalls.push(check(&collection, &points, &mut random, coded));
    println!("{compression}: recall@20 {recalls:?}");
    assert!(recalls.iter().all(|&recall| recall >= least_recall), "{recalls:?}");
}

#[test]
fn filtered_search_of_vectors_is_exact_at_every_selectivity() {
    scenario("none", 1.0, 1);
}

#[test]
fn filtered_search_of_codes_keeps_its_recall_at_every_selectivity() {
    scenario("lvq4/raw", 0.999, 2);
}

#[test]
fn filtered_search_of_codes_without_vectors_keeps_its_recall() {
    let mut random = Random::new(3);
    let points = points(&mut random);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config("lvq8/lvq8/drop-raw")).unwrap();
    collection.upsert(points.values().cloned()).unwrap();
    collection.flush().unwrap();
    let filter = Filter::range("far", Bounds::new().lt(50)).and(Filter::eq("lang", "en"));
    for request in [
        QueryRequest::new("v", center()).filter(filter.clone()).limit(10),
        QueryRequest::new("v", center()).filter(filter.clone()).limit(10).exact(),
    ] {
        let answer = ids(&collection.query(&request).unwrap());
        let matching: BTreeMap<PointId, Point> = points
            .iter()
            .filter(|(id, point)| matches(&filter, id, &json_payload(point)))
            .map(|(id, point)| (id.clone(), point.clone()))
            .collect();
        let exact = exact_top_k(&matching, "v", Metric::Cosine, &center().into(), 10);
        let found = exact.iter().filter(|(id, _)| answer.contains(id)).count();
        assert_eq!((answer.len(), found), (10, 10));
    }
}

/// Queries, counts and scrolls with filters on paths that are not declared, against the oracle.
fn check_undeclared(
    collection: &Collection,
    points: &BTreeMap<PointId, Point>,
    random: &mut Random,
) {
    for filter in filters().into_iter().step_by(3) {
        let matching: BTreeMap<PointId, Point> = points
            .iter()
            .filter(|(id, point)| matches(&filter, id, &json_payload(point)))
            .map(|(id, point)| (id.clone(), point.clone()))
            .collect();
        assert_eq!(collection.count_where(&filter).unwrap(), matching.len() as u64);
        let query = random.vector(DIMENSION);
        let expected: Vec<PointId> =
            exact_top_k(&matching, "v", Metric::Cosine, &query.clone().into(), 10)
                .into_iter()
                .map(|(id, _)| id)
                .collect();
        let request = QueryRequest::new("v", query).filter(filter.clone()).explain();
        let answer = collection.query(&request.clone().exact()).unwrap();
        assert_eq!(ids(&answer), expected, "{}", filter.to_json());
        let stages = &answer.explanation.as_ref().unwrap().stages;
        let payloads = stages.iter().find(|s| s.name == "filter" && s.source == "payloads");
        assert!(payloads.is_some_and(|stage| stage.rows > 0 && stage.bytes > stage.rows));
        let found = ids(&collection.query(&request.target_recall(0.99)).unwrap());
        assert_eq!(found.len(), expected.len());
        let common = found.iter().filter(|id| expected.contains(id)).count();
        assert!(common + 1 >= expected.len(), "{common}: {}", filter.to_json());
        let (mut scrolled, mut after) = (Vec::new(), None);
        loop {
            let page = collection
                .scroll_where(Some(&filter), after.as_ref(), 700, Include::NOTHING)
                .unwrap();
            scrolled.extend(page.points.into_iter().map(|point| point.id));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(scrolled, matching.keys().cloned().collect::<Vec<_>>());
    }
}

#[test]
fn filters_on_undeclared_paths_are_exact_by_reading_payloads() {
    let mut random = Random::new(6);
    let mut points = points(&mut random);
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().index_rows(1000).open(folder.path()).unwrap();
    let mut config = config("lvq8/raw");
    // One declared path beside others.
    config.payload.retain(|path, _| path == "lang");
    config.fields.get_mut("v").unwrap().index = "graph".parse().unwrap();
    let collection = database.create_collection("c", config).unwrap();
    fill(&collection, &mut points);
    check_undeclared(&collection, &points, &mut random);
    collection.optimize().unwrap();
    check_undeclared(&collection, &points, &mut random);

    let nowhere = Filter::eq("no.where", 1);
    assert_eq!(collection.count_where(&nowhere).unwrap(), 0);
    assert_eq!(collection.count_where(&!nowhere).unwrap(), points.len() as u64);
    let mixed: BTreeMap<PointId, Point> = points
        .iter()
        .filter(|(id, point)| matches(&mixed_filter(), id, &json_payload(point)))
        .map(|(id, point)| (id.clone(), point.clone()))
        .collect();
    let deleted = collection.delete_where(&mixed_filter(), Durability::Buffered).unwrap();
    assert_eq!(deleted.affected, mixed.len() as u64);
    points.retain(|id, _| !mixed.contains_key(id));
    check_undeclared(&collection, &points, &mut random);
    let batch: Vec<QueryRequest> = filters()
        .into_iter()
        .take(4)
        .map(|filter| QueryRequest::new("v", center()).filter(filter).exact())
        .collect();
    let answers = collection.query_batch(&batch, Deadline::NEVER).unwrap();
    for (request, answer) in batch.iter().zip(&answers) {
        assert_eq!(answer.hits, collection.query(request).unwrap().hits);
    }
    let passed = Deadline::after(std::time::Duration::ZERO);
    assert!(collection.query_batch(&batch[..1], passed).is_err());
}

fn mixed_filter() -> Filter {
    Filter::eq("lang", "en")
        .and(Filter::range("near", Bounds::new().gt(99.5).lte(600)))
        .or(Filter::one_of("anywhere", [7, 8, 9]).and(!Filter::exists("nothing")))
}

/// What an index finds of the exact answers, for filters of each field.
fn indexed(index: &str, seed: u64) {
    let mut random = Random::new(seed);
    let points = points(&mut random);
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().index_rows(1000).open(folder.path()).unwrap();
    let mut config = config("lvq8/raw");
    config.fields.get_mut("v").unwrap().index = index.parse().unwrap();
    let collection = database.create_collection("c", config).unwrap();
    collection.upsert(points.values().cloned()).unwrap();
    let gone: Vec<PointId> = (0..POINTS).step_by(17).map(PointId::from).collect();
    collection.delete(gone.clone(), Durability::Buffered).unwrap();
    collection.optimize().unwrap();
    // Rows that are deleted in the segment itself, too.
    let later: Vec<PointId> = (1..POINTS).step_by(17).map(PointId::from).collect();
    collection.delete(later.clone(), Durability::Buffered).unwrap();
    let live = |id: &PointId| !gone.contains(id) && !later.contains(id);
    let mut searches = 0;
    for field in ["anywhere", "near", "far"] {
        let (mut found, mut wanted) = (0, 0);
        for share in SHARES {
            let filter = Filter::range(field, Bounds::new().lt(share as i64));
            let matching: BTreeMap<PointId, Point> = points
                .iter()
                .filter(|(id, point)| live(id) && matches(&filter, id, &json_payload(point)))
                .map(|(id, point)| (id.clone(), point.clone()))
                .collect();
            for _ in 0..5 {
                let noise = random.vector(DIMENSION);
                let query: Vec<f32> =
                    center().iter().zip(&noise).map(|(a, b)| a + 0.3 * b).collect();
                let vector = Vector::Single(query.clone());
                let exact = exact_top_k(&matching, "v", Metric::Cosine, &vector, 10);
                let request = QueryRequest::new("v", query).filter(filter.clone());
                let answer = collection.query(&request.target_recall(0.99).explain()).unwrap();
                let stages = &answer.explanation.as_ref().unwrap().stages;
                let searched = stages.iter().any(|stage| stage.name == "search");
                searches += usize::from(searched);
                assert!(share > 100 || !searched, "few rows are gathered: {stages:?}");
                assert!(share < 400 || searched, "many are searched for: {stages:?}");
                let answer = ids(&answer);
                assert!(answer.iter().all(|id| matching.contains_key(id)));
                assert_eq!(answer.len(), exact.len());
                found += exact.iter().filter(|(id, _)| answer.contains(id)).count();
                wanted += exact.len();
            }
        }
        let recall = found as f64 / wanted as f64;
        println!("{index}, {field}: recall@10 {recall:.4}");
        assert!(recall >= 0.98, "{index}, {field}: {recall}");
    }
    assert!(searches >= 3 * 3 * 5, "the index was searched");
}

#[test]
fn filtered_search_of_a_graph_keeps_its_recall_near_and_far() {
    indexed("graph", 4);
}

#[test]
fn filtered_search_of_lists_keeps_its_recall_near_and_far() {
    indexed("ivf", 5);
}

/// 2,000 points with a number, whose payload is its remainder.
fn numbered() -> (tempfile::TempDir, Database, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = CollectionConfig::new()
        .with_field("v", VectorField::single(2, Metric::Dot).compressed(Compression::none()))
        .with_payload("n", PayloadType::Integer);
    let collection = database.create_collection("c", config).unwrap();
    let point = |id: u64| {
        let payload = Payload::parse(&format!("{{\"n\": {}}}", id % 100)).unwrap();
        Point::new(id).with_vector("v", vec![1.0, id as f32]).with_payload(payload)
    };
    collection.upsert((0..2000).map(point)).unwrap();
    (folder, database, collection)
}

#[test]
fn explain_says_how_a_filter_was_used() {
    let (_folder, _database, collection) = numbered();
    collection.flush().unwrap();
    let explain = |filter: Filter| {
        let request = QueryRequest::new("v", vec![0.0, 1.0]).filter(filter).limit(3).explain();
        let answer = collection.query(&request).unwrap();
        let stages = answer.explanation.as_ref().unwrap().stages.iter();
        let stages: Vec<(String, String, u64)> =
            stages.map(|s| (s.name.clone(), s.source.clone(), s.rows)).collect();
        (ids(&answer), stages)
    };
    let stage = |name: &str, source: &str, rows| (name.to_owned(), source.to_owned(), rows);
    let (found, stages) = explain(Filter::eq("n", 7));
    assert_eq!(found, [1907.into(), 1807.into(), 1707.into()]);
    assert_eq!(stages, [stage("filter", "gathered", 20), stage("scan", "vectors", 20)]);
    let (found, stages) = explain(Filter::range("n", Bounds::new().lt(50)));
    assert_eq!(found, [1949.into(), 1948.into(), 1947.into()]);
    assert_eq!(stages, [stage("filter", "checked", 1000), stage("scan", "vectors", 2000)]);
    let (found, stages) = explain(Filter::eq("n", 100));
    assert_eq!(
        (found.len(), stages),
        (0, vec![stage("filter", "gathered", 0), stage("scan", "vectors", 0)])
    );
}

#[test]
fn each_query_of_a_batch_has_its_own_filter() {
    let (_folder, _database, collection) = numbered();
    for _ in 0..2 {
        let requests: Vec<QueryRequest> = (0..60)
            .map(|index| {
                let request = QueryRequest::new("v", vec![0.0, 1.0]).limit(2);
                match index % 3 {
                    0 => request,
                    1 => request.filter(Filter::eq("n", index)),
                    // Many match, and several queries share the filter.
                    _ => request.filter(Filter::range("n", Bounds::new().lte(index / 20 + 60))),
                }
            })
            .collect();
        let answers = collection.query_batch(&requests, Deadline::NEVER).unwrap();
        for (index, answer) in (0..60_u64).zip(&answers) {
            let best = match index % 3 {
                0 => 1999,
                1 => 1900 + index,
                _ => 1900 + index / 20 + 60,
            };
            assert_eq!(answer.hits[0].point.id, best.into(), "query {index}");
            let alone = collection.query(&requests[index as usize]).unwrap();
            assert_eq!(ids(answer), ids(&alone));
        }
        collection.flush().unwrap();
    }
}

#[test]
fn a_point_as_the_query_and_ids_as_the_filter() {
    let (_folder, _database, collection) = numbered();
    let filter = Filter::ids([3, 5, 7777, 1999]);
    let request = QueryRequest::new("v", PointId::from(1999)).filter(filter.clone());
    assert_eq!(ids(&collection.query(&request).unwrap()), [5.into(), 3.into()]);
    collection.flush().unwrap();
    assert_eq!(ids(&collection.query(&request).unwrap()), [5.into(), 3.into()]);
    assert_eq!(collection.count_where(&filter).unwrap(), 3);
    assert_eq!(collection.count_where(&!filter).unwrap(), 1997);
}

#[test]
fn a_filtered_scroll_walks_the_matching_points() {
    let (_folder, _database, collection) = numbered();
    collection.flush().unwrap();
    collection.delete(vec![107.into()], Durability::Buffered).unwrap();
    let more = Payload::parse("{\"n\": 7}").unwrap();
    let more = Point::new("text").with_vector("v", vec![0.0, 0.0]).with_payload(more);
    collection.upsert([more]).unwrap();
    let filter = Filter::eq("n", 7);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page =
            collection.scroll_where(Some(&filter), after.as_ref(), 6, Include::NOTHING).unwrap();
        seen.extend(page.points.into_iter().map(|point| point.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let numbers = (0..20).map(|hundred| 100 * hundred + 7).filter(|&id| id != 107);
    let expected: Vec<PointId> = numbers.map(PointId::from).chain(["text".into()]).collect();
    assert_eq!(seen, expected);
}

#[test]
fn matching_points_are_deleted_and_stay_deleted() {
    let (folder, database, collection) = numbered();
    collection.flush().unwrap();
    let payload = Payload::parse("{\"n\": 7}").unwrap();
    collection
        .upsert([Point::new(2).with_vector("v", vec![1.0, 1.0]).with_payload(payload)])
        .unwrap();
    let filter = Filter::eq("n", 7).and(!Filter::ids([1907]));
    let receipt = collection.delete_where(&filter, Durability::Synced).unwrap();
    assert_eq!((receipt.affected, receipt.sequence), (20, 3));
    let receipt = collection.delete_where(&filter, Durability::Synced).unwrap();
    assert_eq!((receipt.affected, receipt.sequence), (0, 3));
    drop((collection, database));
    let (_database, collection) = open(folder.path());
    assert_eq!(collection.count(), 1980);
    let left = collection.scroll_where(Some(&Filter::eq("n", 7)), None, 9, Include::NOTHING);
    let left: Vec<PointId> = left.unwrap().points.into_iter().map(|point| point.id).collect();
    assert_eq!(left, [1907.into()]);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_happens() {
    let (_folder, _database, collection) = numbered();
    let request = QueryRequest::new("v", vec![0.0, 1.0]).filter(Filter::eq("n", "x"));
    let error = collection.query(&request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(
        error.to_string(),
        "filter.n: expected an integer of 64 bits with a sign, got \"x\""
    );
    let batch = [QueryRequest::new("v", vec![0.0, 1.0]), request];
    let error = collection.query_batch(&batch, Deadline::NEVER).unwrap_err().to_string();
    assert!(error.starts_with("queries[1].filter.n: expected an integer"), "{error}");

    let sequence = collection.info().sequence;
    let payload = Payload::parse(r#"{"n": "seven"}"#).unwrap();
    let point = Point::new(1).with_vector("v", vec![1.0, 1.0]).with_payload(payload);
    let error = collection.upsert([Point::new(2).with_vector("v", vec![1.0, 1.0]), point]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "points[1].payload.n: expected an integer of 64 bits with a sign, got \"seven\""
    );
    assert_eq!((collection.info().sequence, collection.count()), (sequence, 2000));
    let nothing = Payload::parse(r#"{"n": null, "other": "anything"}"#).unwrap();
    let point = Point::new(3).with_vector("v", vec![1.0, 1.0]).with_payload(nothing);
    collection.upsert([point]).unwrap();
    assert_eq!(collection.count_where(&Filter::is_null("n")).unwrap(), 1);
    assert_eq!(collection.count_where(&!Filter::exists("n")).unwrap(), 1);
}

#[test]
fn declared_paths_are_checked_when_a_collection_is_created() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = || CollectionConfig::new().with_field("v", VectorField::single(2, Metric::Dot));
    let error = database.create_collection("c", config().with_payload("a..b", PayloadType::Float));
    assert!(error.map(drop).unwrap_err().to_string().starts_with("payload: expected paths"));
    let many = (0..65).fold(config(), |config, index| {
        config.with_payload(format!("p{index}"), PayloadType::Float)
    });
    let error = database.create_collection("c", many).map(drop).unwrap_err().to_string();
    assert_eq!(error, "payload: expected 0 to 64, got 65");
}
