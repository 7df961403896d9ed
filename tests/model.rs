//! A collection behaves like a map, through any mixture of writes, deletions, flushes, merges
//! and reopenings.

use std::collections::BTreeMap;

use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, Include, Metric,
    MultiVector, Payload, Point, PointId, QueryRequest, VectorField,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Upsert(Vec<(u8, u8)>),
    Delete(Vec<u8>),
    Flush,
    Optimize,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let ids = || proptest::collection::vec(0_u8..40, 1..8);
    prop_oneof![
        6 => proptest::collection::vec((0_u8..40, any::<u8>()), 1..12).prop_map(Step::Upsert),
        4 => ids().prop_map(Step::Delete),
        1 => Just(Step::Flush),
        1 => Just(Step::Optimize),
        2 => Just(Step::Reopen),
    ]
}

fn id(number: u8) -> PointId {
    // Both kinds of ids, so that their order and files are exercised, too.
    if number.is_multiple_of(3) { format!("id-{number}").into() } else { u64::from(number).into() }
}

/// A point whose every part tells its version; some parts are missing in some versions.
fn point(number: u8, version: u8) -> Point {
    let value = f32::from(version);
    let mut point = Point::new(id(number)).with_vector("v", vec![value, 1.0]);
    if !version.is_multiple_of(4) {
        let rows = usize::from(version % 4);
        let tokens = MultiVector::from_flat(1, vec![value; rows]).unwrap();
        point = point.with_vector("tokens", tokens);
    }
    if !version.is_multiple_of(5) {
        let payload = Payload::parse(&format!("{{\"version\": {version}}}")).unwrap();
        point = point.with_payload(payload);
    }
    point
}

fn open(folder: &std::path::Path) -> (Database, Collection) {
    // So small that segments seal and merge in the background after a few steps.
    let database = DatabaseOptions::new().threads(1).seal_bytes(700).open(folder).unwrap();
    let config = CollectionConfig::new()
        .with_field("v", VectorField::single(2, Metric::Dot))
        .with_field("tokens", VectorField::multi(1, Metric::Dot));
    let collection = match database.collection("c") {
        Ok(collection) => collection,
        Err(_) => database.create_collection("c", config).unwrap(),
    };
    (database, collection)
}

fn check(collection: &Collection, expected: &BTreeMap<PointId, Point>) {
    assert_eq!(collection.count(), expected.len() as u64);
    let page = collection.scroll(None, 1000, Include::ALL).unwrap();
    assert_eq!(page.points, expected.values().cloned().collect::<Vec<_>>());
    let ids: Vec<PointId> = (0..40).map(id).collect();
    let found = collection.get(&ids, Include::ALL).unwrap();
    for (id, found) in ids.iter().zip(found) {
        assert_eq!(found.as_ref(), expected.get(id));
    }
    let answer = collection.query(&QueryRequest::new("v", vec![1.0, 0.0]).limit(100)).unwrap();
    let mut best: Vec<(f32, PointId)> = expected
        .values()
        .map(|point| (point.vectors["v"].as_ref().values()[0], point.id.clone()))
        .collect();
    best.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let got: Vec<_> = answer.hits.into_iter().map(|hit| (hit.score, hit.point.id)).collect();
    assert_eq!(got, best);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_collection_is_a_map(steps in proptest::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut expected = BTreeMap::new();
        let mut opened = Some(open(folder.path()));
        for step in steps {
            let collection = opened.as_ref().unwrap().1.clone();
            match step {
                Step::Upsert(points) => {
                    let points: Vec<Point> =
                        points.into_iter().map(|(number, version)| point(number, version)).collect();
                    let count = points.len() as u64;
                    expected.extend(points.iter().map(|point| (point.id.clone(), point.clone())));
                    prop_assert_eq!(collection.upsert(points).unwrap().affected, count);
                }
                Step::Delete(numbers) => {
                    let ids: Vec<PointId> = numbers.into_iter().map(id).collect();
                    let before = expected.len();
                    expected.retain(|id, _| !ids.contains(id));
                    let receipt = collection.delete(ids, Durability::Buffered).unwrap();
                    prop_assert_eq!(receipt.affected, (before - expected.len()) as u64);
                }
                Step::Flush => collection.flush().unwrap(),
                Step::Optimize => {
                    collection.optimize().unwrap();
                    let info = collection.info();
                    prop_assert!(info.segments.len() <= 1);
                    prop_assert!(info.segments.iter().all(|segment| segment.deleted == 0));
                }
                Step::Reopen => {
                    drop(collection);
                    drop(opened.take());
                    opened = Some(open(folder.path()));
                }
            }
            check(&opened.as_ref().unwrap().1, &expected);
        }
    }
}
