//! Queries by groups: exact ones give what a ranking of all points gives, and others keep what their
//! estimates promise, also where groups go with the query.

mod common;

use std::collections::BTreeMap;

use common::clusters::fill;
use common::filters::matches;
use common::{Random, exact_top_k};
use lanner::{
    Bounds, Collection, CollectionConfig, Database, DatabaseOptions, Durability, Filter,
    FilterValue, GroupRequest, GroupResponse, IndexStatus, Metric, MultiVector, Payload,
    PayloadType, Point, PointId, Query, QueryRequest, Vector, VectorField,
};
use serde_json::{Value, json};

type Groups = Vec<(String, Vec<PointId>)>;

/// The values at `path`, as texts in the order of their type.
fn values(payload: &Value, path: &str) -> Vec<String> {
    let found = payload.get(path).into_iter();
    let found = found.flat_map(|value| value.as_array().cloned().unwrap_or(vec![value.clone()]));
    let mut values: Vec<Value> = found.filter(|value| !value.is_null()).collect();
    values.sort_by_key(|value| (value.as_i64(), value.as_str().map(str::to_owned)));
    values.dedup();
    values.iter().map(Value::to_string).collect()
}

/// Groups of a ranking of all points, the best first.
fn grouped(
    ranking: &[PointId],
    values: impl Fn(&PointId) -> Vec<String>,
    limit: usize,
    size: usize,
) -> Groups {
    let mut groups: Groups = Vec::new();
    for id in ranking {
        for value in values(id) {
            match groups.iter_mut().find(|(known, _)| *known == value) {
                Some((_, hits)) if hits.len() < size => hits.push(id.clone()),
                Some(_) => {}
                None => groups.push((value, vec![id.clone()])),
            }
        }
    }
    groups.truncate(limit);
    groups
}

fn shown(value: &FilterValue) -> String {
    match value {
        FilterValue::Integer(number) => number.to_string(),
        FilterValue::Text(text) => json!(text).to_string(),
        other => panic!("{other:?}"),
    }
}

fn found(answer: &GroupResponse) -> Groups {
    let ids =
        |group: &lanner::HitGroup| group.hits.iter().map(|hit| hit.point.id.clone()).collect();
    answer.groups.iter().map(|group| (shown(&group.value), ids(group))).collect()
}

struct Fixture {
    random: Random,
    _folder: tempfile::TempDir,
    _database: Database,
    collection: Collection,
    points: BTreeMap<PointId, Point>,
    payloads: BTreeMap<PointId, Value>,
}

/// Vectors of small integers, whose scores are exact and often equal.
fn whole(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count).map(|_| random.below(7) as f32 - 3.0).collect()
}

/// 1,500 points in a sealed segment and in memory: of documents of which one has a third of them, with
/// one or more tags, some without any.
fn fixture(seed: u64) -> Fixture {
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = CollectionConfig::new()
        .with_field("m", VectorField::multi(3, Metric::Dot))
        .with_field("v", VectorField::single(6, Metric::L2))
        .with_payload("document", PayloadType::Integer)
        .with_payload("tags", PayloadType::Keyword);
    let collection = database.create_collection("c", config).unwrap();
    let (mut points, mut payloads) = (BTreeMap::new(), BTreeMap::new());
    for ids in [0..1000_u64, 900..1500] {
        let batch = ids.map(|id| {
            let document = match random.below(3) {
                0 => json!(0),
                _ => json!(random.below(150)),
            };
            let mut payload = json!({ "document": document });
            let tag = |random: &mut Random| format!("t{}", random.below(40));
            match random.below(5) {
                0 => {}
                1 => {
                    payload["tags"] = json!([tag(&mut random), tag(&mut random), tag(&mut random)])
                }
                _ => payload["tags"] = json!(tag(&mut random)),
            }
            let rows = 1 + random.below(3);
            let tokens = MultiVector::from_flat(3, whole(&mut random, 3 * rows)).unwrap();
            let mut point = Point::new(id).with_vector("m", tokens);
            if random.below(6) > 0 {
                point = point.with_vector("v", whole(&mut random, 6));
            }
            let point = point.with_payload(Payload::parse(&payload.to_string()).unwrap());
            points.insert(id.into(), point.clone());
            payloads.insert(PointId::from(id), payload);
            point
        });
        let batch: Vec<Point> = batch.collect();
        collection.upsert(batch).unwrap();
        let gone: Vec<PointId> = (0..30).map(|_| (random.below(900) as u64).into()).collect();
        gone.iter().for_each(|id| drop(points.remove(id)));
        collection.delete(gone, Durability::Buffered).unwrap();
        if collection.count() < 1000 {
            collection.flush().unwrap();
        }
    }
    assert_eq!(collection.info().segments.len(), 2, "one sealed and one in memory");
    Fixture { random, _folder: folder, _database: database, collection, points, payloads }
}

impl Fixture {
    fn is_coded(&self) -> bool {
        self.collection.info().segments.iter().any(|segment| !segment.codecs.is_empty())
    }

    fn check(&self, field: &str, metric: Metric, query: &Vector, filter: &Option<Filter>) {
        let passes = |id: &PointId| {
            filter.as_ref().is_none_or(|filter| matches(filter, id, &self.payloads[id]))
        };
        let points = self.points.iter().filter(|(id, _)| passes(id));
        let points: BTreeMap<_, _> =
            points.map(|(id, point)| (id.clone(), point.clone())).collect();
        let ranking = exact_top_k(&points, field, metric, query, points.len());
        let ranking: Vec<PointId> = ranking.into_iter().map(|(id, _)| id).collect();
        for path in ["document", "tags"] {
            let values = |id: &PointId| values(&self.payloads[id], path);
            for (limit, size) in [(1, 1), (10, 3), (60, 40)] {
                let plain = QueryRequest::new(field, Query::Vector(query.clone())).limit(limit);
                for query in [plain.clone(), plain.exact()] {
                    let query = QueryRequest { filter: filter.clone(), ..query };
                    let request = GroupRequest::new(query, path).group_size(size);
                    let answer = self.collection.query_groups(&request).unwrap();
                    let expected = grouped(&ranking, values, limit, size);
                    assert_eq!(found(&answer), expected, "{request:?}");
                    let estimate = answer.estimated_recall;
                    let exact = request.query.params.exact || !self.is_coded();
                    assert!(estimate == Some(1.0) || !exact, "{estimate:?}");
                    for group in &answer.groups {
                        assert!(group.hits.is_sorted_by(|a, b| a.score >= b.score));
                    }
                }
            }
        }
    }
}

#[test]
fn groups_are_those_of_a_ranking_of_all_points() {
    let mut fixture = fixture(1);
    let filters = [
        None,
        Some(Filter::range("document", Bounds::new().lt(60))),
        Some(Filter::eq("document", 999)),
    ];
    for filter in &filters {
        let single = Vector::from(whole(&mut fixture.random, 6));
        fixture.check("v", Metric::L2, &single, filter);
        let tokens = MultiVector::from_flat(3, whole(&mut fixture.random, 6)).unwrap();
        fixture.check("m", Metric::Dot, &tokens.into(), filter);
    }
    fixture.collection.optimize().unwrap();
    let single = Vector::from(whole(&mut fixture.random, 6));
    fixture.check("v", Metric::L2, &single, &None);
}

#[test]
fn groups_have_what_the_query_asks_for() {
    let fixture = fixture(2);
    let mut with_vector = fixture.points.iter().filter(|(_, p)| p.vectors.contains_key("v"));
    let id = with_vector.next_back().unwrap().0;
    let by_point = QueryRequest::new("v", id.clone()).limit(4).with_payload().explain();
    let answer = fixture.collection.query_groups(&GroupRequest::new(by_point, "document")).unwrap();
    assert_eq!(answer.groups.len(), 4);
    let mut hits = answer.groups.iter().flat_map(|group| &group.hits);
    assert!(hits.all(|hit| hit.point.id != *id && hit.point.payload.is_some()));
    let stages = answer.explanation.unwrap().stages;
    assert!(stages.iter().any(|stage| stage.name == "scan"), "{stages:?}");
    // A threshold cuts groups and hits alike.
    let query = QueryRequest::new("v", vec![0.0; 6]).limit(50).score_threshold(-9.0);
    let answer = fixture.collection.query_groups(&GroupRequest::new(query, "tags")).unwrap();
    assert!(!answer.groups.is_empty());
    assert!(answer.groups.iter().flat_map(|group| &group.hits).all(|hit| hit.score >= -9.0));

    let refused =
        |request: GroupRequest| fixture.collection.query_groups(&request).unwrap_err().to_string();
    let query = || QueryRequest::new("v", vec![0.0; 6]);
    let error = refused(GroupRequest::new(query(), "shelf"));
    assert!(error.starts_with("group_by.shelf: the path is not declared"), "{error}");
    let by = |query: QueryRequest| GroupRequest::new(query, "tags");
    assert_eq!(refused(by(query().limit(1001))), "limit: expected 1 to 1000, got 1001");
    assert_eq!(refused(by(query()).group_size(0)), "group_size: expected 1 to 1000, got 0");
    let many = refused(by(query().limit(500)).group_size(21));
    assert_eq!(many, "limit * group_size: expected 1 to 10000, got 10500");
    assert!(refused(by(query().offset(1))).starts_with("offset: expected 0 in a query by groups"));
    let rescored = refused(by(query().rescore("m", PointId::from(3), 50)));
    assert!(rescored.starts_with("rescore: expected no second stage"), "{rescored}");
    let unknown = refused(by(QueryRequest::new("x", vec![0.0; 6])));
    assert!(unknown.contains("no such vector field"), "{unknown}");
}

const DIMENSION: usize = 32;
const TOPICS: usize = 40;

/// Points around centres that are not far apart, with three kinds of groups: `topic`, all of a centre,
/// so that the nearest points are of few groups; `page`, few points; `tags`, two of each point.
fn topics(random: &mut Random, count: u64) -> Vec<Point> {
    let centres: Vec<Vec<f32>> = (0..TOPICS).map(|_| random.vector(DIMENSION)).collect();
    let point = |id: u64| {
        let topic = random.below(TOPICS);
        let near = centres[topic].iter().map(|c| c + 0.8 * random.float()).collect::<Vec<f32>>();
        let payload = json!({
            "topic": topic,
            "page": random.below(2000),
            "tags": [format!("t{topic}"), format!("u{}", random.below(300))],
            "n": id % 10,
        });
        let payload = Payload::parse(&payload.to_string()).unwrap();
        Point::new(id).with_vector("v", near).with_payload(payload)
    };
    (0..count).map(point).collect()
}

/// The mean share of the exact hits of a group that were found.
fn recall(exact: &Groups, found: &Groups) -> f64 {
    let share = |(value, hits): &(String, Vec<PointId>)| {
        let of_value = found.iter().find(|(other, _)| other == value);
        let of_value = of_value.map_or(&[][..], |(_, found)| found);
        hits.iter().filter(|id| of_value.contains(id)).count() as f64 / hits.len() as f64
    };
    exact.iter().map(share).sum::<f64>() / exact.len().max(1) as f64
}

/// 6,000 points in a segment with a sparse graph, which misses some.
fn indexed(random: &mut Random, folder: &std::path::Path) -> (Database, Collection) {
    let database = DatabaseOptions::new().index_rows(2_000).open(folder).unwrap();
    let field = VectorField::single(DIMENSION, Metric::L2)
        .indexed("graph:degree=8:window=20".parse().unwrap());
    let config = CollectionConfig::new()
        .with_field("v", field)
        .with_payload("n", PayloadType::Integer)
        .with_payload("page", PayloadType::Integer)
        .with_payload("tags", PayloadType::Keyword)
        .with_payload("topic", PayloadType::Integer);
    let collection = database.create_collection("c", config).unwrap();
    fill(&collection, &topics(random, 6_000));
    collection.optimize().unwrap();
    let info = collection.info();
    let statuses: Vec<_> = info.segments.iter().flat_map(|s| s.indexes.values()).collect();
    assert!(matches!(statuses[..], [IndexStatus::Ready { .. }]), "{statuses:?}");
    (database, collection)
}

#[test]
fn estimates_claim_no_more_than_holds_and_targets_are_met() {
    let mut random = Random::new(3);
    let folder = tempfile::tempdir().unwrap();
    let (_database, collection) = indexed(&mut random, folder.path());
    let queries: Vec<Vec<f32>> = (0..16).map(|_| random.vector(DIMENSION)).collect();
    let (mut missed, mut by_index) = (0.0, 0);
    for (path, size) in [("topic", 3), ("page", 2), ("tags", 2)] {
        for filter in [None, Some(Filter::range("n", Bounds::new().lt(6)))] {
            for target in [0.5, 0.8] {
                let (mut recalls, mut estimates, mut searched) = (0.0, 0.0, 0);
                for query in &queries {
                    let query = QueryRequest::new("v", query.clone()).limit(8).explain();
                    let query = QueryRequest { filter: filter.clone(), ..query };
                    let ask = |query: QueryRequest| {
                        let request = GroupRequest::new(query, path).group_size(size);
                        collection.query_groups(&request).unwrap()
                    };
                    let exact = found(&ask(query.clone().exact()));
                    let answer = ask(query.target_recall(target));
                    recalls += recall(&exact, &found(&answer));
                    estimates += f64::from(answer.estimated_recall.unwrap());
                    let stages = answer.explanation.unwrap().stages;
                    searched += usize::from(stages.iter().any(|stage| stage.name == "search"));
                }
                let count = queries.len() as f64;
                let (recall, estimate) = (recalls / count, estimates / count);
                let case = format!("{path} {filter:?} {target}");
                println!("{case}: {recall:.4}, estimated {estimate:.4}, {searched} searched");
                assert!(recall >= estimate, "{case}: {recall} < {estimate}");
                assert!(recall >= f64::from(target), "{case}: {recall}");
                assert!(estimate >= f64::from(target) - 0.2, "{case}: {estimate}");
                missed += 1.0 - recall;
                by_index += searched;
            }
        }
    }
    assert!(by_index > 0, "indexes are searched");
    assert!(missed > 0.0, "the searches miss something, or this shows nothing");
}
