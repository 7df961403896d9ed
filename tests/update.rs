//! Partial updates change what they name and nothing else: in memory, sealed, merged, reopened and
//! after a crash, while others write, and bit for bit.

mod common;

use std::collections::BTreeMap;

use common::Random;
use common::filters::matches;
use common::images::{crash_image, points, read};
use lanner::{
    Collection, CollectionConfig, Compression, Database, Durability, ErrorKind, Filter, Include,
    Metric, Payload, PayloadType, PayloadUpdate, Point, PointId, Selection, VectorField,
};
use serde_json::{Map, Value, json};

fn config() -> CollectionConfig {
    CollectionConfig::new()
        .with_field("text", VectorField::single(3, Metric::Cosine))
        .with_field("tokens", VectorField::multi(2, Metric::Dot).half_precision().pooled(2))
        .with_payload("meta.year", PayloadType::Integer)
}

fn payload(value: &Value) -> Payload {
    Payload::parse(&value.to_string()).unwrap()
}

fn merge(value: &Value) -> PayloadUpdate {
    PayloadUpdate::Merge(payload(value))
}

fn ids(ids: impl IntoIterator<Item = u64>) -> Selection {
    Selection::Ids(ids.into_iter().map(PointId::from).collect())
}

fn matching(filter: Filter) -> Selection {
    Selection::Matching(filter)
}

/// JSON Merge Patch on values, as RFC 7386 writes it.
fn patched(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = if let Value::Object(target) = target { target } else { Map::new() };
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.remove(name)),
            value => {
                let before = target.remove(name).unwrap_or(Value::Null);
                target.insert(name.clone(), patched(before, value));
            }
        }
    }
    target.into()
}

/// What points hold: payloads as values, so that the order of members does not count.
type Model = BTreeMap<PointId, (Option<Value>, Point)>;

fn model_of(points: Vec<Point>) -> Model {
    let entry = |mut point: Point| {
        let payload = point.payload.take().map(|payload| payload.to_map().into());
        (point.id.clone(), (payload, point))
    };
    points.into_iter().map(entry).collect()
}

fn check(collection: &Collection, model: &Model) {
    assert_eq!(&model_of(points(collection).unwrap()), model);
}

fn point(random: &mut Random, id: u64) -> Point {
    let mut point = Point::new(id).with_vector("text", random.vector(3));
    if !id.is_multiple_of(3) {
        point = point.with_vector("tokens", random.multi(2, 1 + id as usize % 5));
    }
    if id.is_multiple_of(4) {
        return point;
    }
    let year = 2000 + random.below(5);
    point.with_payload(payload(&json!({"meta": {"year": year}, "n": id % 7, "keep": "x"})))
}

/// A random update of payloads of random points, done to both.
fn update_payloads(random: &mut Random, collection: &Collection, model: &mut Model) {
    let year = 2000 + random.below(5) as i64;
    let by_filter = Filter::eq("meta.year", year);
    let some: Vec<u64> = (0..20).map(|_| random.below(140) as u64).collect();
    let by_ids = Filter::ids(some.iter().copied());
    let (selection, filter) = match random.below(2) {
        0 => (matching(by_filter.clone()), by_filter),
        _ => (ids(some), by_ids),
    };
    let patch = json!({"meta": {"year": year + 1, "by": "merge"}, "n": null, "new": [1, null]});
    let kind = random.below(3);
    let update = match kind {
        0 => PayloadUpdate::Set(payload(&json!({"meta": {"year": year + 2}}))),
        1 => merge(&patch),
        _ => PayloadUpdate::Delete(vec!["keep".into(), "meta.by".into()]),
    };
    let mut changed = 0;
    for (id, (before, _)) in &mut *model {
        if !matches(&filter, id, before.as_ref().unwrap_or(&Value::Null)) {
            continue;
        }
        changed += 1;
        *before = match (kind, before.take()) {
            (0, _) => Some(json!({"meta": {"year": year + 2}})),
            (1, before) => Some(patched(before.unwrap_or(Value::Null), &patch)),
            (_, before) => before.map(|mut value| {
                value.as_object_mut().unwrap().remove("keep");
                value.get_mut("meta").and_then(Value::as_object_mut).map(|meta| meta.remove("by"));
                value
            }),
        };
    }
    let updated = collection.update_payloads(&selection, &update, Durability::Buffered).unwrap();
    assert_eq!(updated.write.affected, changed);
    let absent = match &selection {
        Selection::Ids(ids) => ids.iter().filter(|id| !model.contains_key(id)).cloned().collect(),
        Selection::Matching(_) => Vec::new(),
    };
    let distinct: std::collections::BTreeSet<PointId> = absent.into_iter().collect();
    assert_eq!(updated.missing.into_iter().collect::<std::collections::BTreeSet<_>>(), distinct);
}

/// New vectors of a random field of some points. What is stored of them is what an upsert stores.
fn update_vectors(random: &mut Random, collection: &Collection, model: &mut Model) {
    let first = random.below(90) as u64;
    let changes: Vec<Point> = (first..first + 10)
        .map(|id| match random.below(2) {
            0 => Point::new(id).with_vector("text", random.vector(3)),
            _ => Point::new(id).with_vector("tokens", random.multi(2, 4)),
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let other = database.create_collection("o", config()).unwrap();
    other.upsert(changes.clone()).unwrap();
    for (id, (_, stored)) in model_of(points(&other).unwrap()) {
        if let Some((_, point)) = model.get_mut(&id) {
            point.vectors.extend(stored.vectors);
        }
    }
    let there = changes.iter().filter(|point| model.contains_key(&point.id)).count() as u64;
    let updated = collection.update_vectors(changes, Durability::Buffered).unwrap();
    assert_eq!((updated.write.affected, updated.missing.len() as u64), (there, 10 - there));
}

#[test]
fn updates_change_what_they_name_and_nothing_else() {
    let mut random = Random::new(11);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    collection.upsert((0..100).map(|id| point(&mut random, id))).unwrap();
    collection.flush().unwrap();
    collection.upsert((80..130).map(|id| point(&mut random, id))).unwrap();
    collection.delete(vec![3.into(), 85.into()], Durability::Buffered).unwrap();
    let mut model = model_of(points(&collection).unwrap());
    for round in 0..24 {
        update_payloads(&mut random, &collection, &mut model);
        if round % 3 == 0 {
            update_vectors(&mut random, &collection, &mut model);
        }
        check(&collection, &model);
        match round {
            8 => collection.flush().unwrap(),
            16 => collection.optimize().unwrap(),
            _ => {}
        }
        check(&collection, &model);
    }
    let image = crash_image(folder.path());
    assert_eq!(model_of(read(image.path(), "c").unwrap()), model);
    drop((collection, database));
    assert_eq!(model_of(read(folder.path(), "c").unwrap()), model);
}

#[test]
fn nothing_that_others_write_is_lost() {
    const THREADS: usize = 4;
    const TURNS: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    let point = |id: u64| {
        let payload = payload(&json!({"state": "free", "meta": {"year": 2000}}));
        Point::new(id).with_vector("text", vec![1.0, id as f32, 0.0]).with_payload(payload)
    };
    collection.upsert((0..50).map(point)).unwrap();
    collection.flush().unwrap();
    let write = |thread: usize| {
        for turn in 0..TURNS {
            let own = merge(&json!({format!("t{thread}"): turn}));
            collection.update_payloads(&ids([0]), &own, Durability::Buffered).unwrap();
            let vector = vec![thread as f32 + 1.0, turn as f32, 1.0];
            let vectors = [Point::new(1 + thread as u64).with_vector("text", vector)];
            collection.update_vectors(vectors, Durability::Buffered).unwrap();
        }
    };
    // Whoever changes what it chose by has it for itself.
    let claim = |thread: usize| {
        let taken = merge(&json!({"meta": {"year": 3000 + thread}}));
        let free = matching(Filter::eq("meta.year", 2000));
        let updated = collection.update_payloads(&free, &taken, Durability::Buffered).unwrap();
        updated.write.affected
    };
    let claimed: u64 = std::thread::scope(|scope| {
        let work = |thread| {
            scope.spawn(move || {
                write(thread);
                claim(thread)
            })
        };
        let threads: Vec<_> = (0..THREADS).map(work).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(claimed, 50);
    let found = collection.get(&[0.into()], Include::PAYLOAD).unwrap().remove(0).unwrap();
    let found = found.payload.unwrap().to_map();
    assert!((0..THREADS).all(|thread| found[&format!("t{thread}")] == TURNS - 1), "{found:?}");
    assert_eq!(found["state"], "free");
}

#[test]
fn many_points_are_updated_by_several_writes() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let field = VectorField::single(2048, Metric::Dot).compressed(Compression::none());
    let config = CollectionConfig::new().with_field("v", field);
    let collection = database.create_collection("c", config).unwrap();
    let point = |id: u64| Point::new(id).with_vector("v", vec![id as f32; 2048]);
    let before = collection.upsert((0..1500).map(point)).unwrap();
    let all = matching(!Filter::ids([7]));
    let updated =
        collection.update_payloads(&all, &merge(&json!({"a": 1})), Durability::Buffered).unwrap();
    assert_eq!((updated.write.affected, updated.write.sequence), (1499, before.sequence + 2));
    let untouched = collection.get(&[7.into(), 8.into()], Include::ALL).unwrap();
    let payloads: Vec<bool> =
        untouched.iter().map(|point| point.as_ref().unwrap().payload.is_some()).collect();
    assert_eq!((payloads, collection.count()), (vec![false, true], 1500));
}

#[test]
fn dropped_vectors_are_carried_as_their_codes_hold_them() {
    let mut random = Random::new(5);
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let compression: Compression = "lvq8/lvq8/drop-raw".parse().unwrap();
    let field = VectorField::single(16, Metric::L2).compressed(compression);
    let config = CollectionConfig::new().with_field("v", field);
    let collection = database.create_collection("c", config).unwrap();
    let written: Vec<Point> =
        (0..2000).map(|id| Point::new(id).with_vector("v", random.vector(16))).collect();
    collection.upsert(written.clone()).unwrap();
    collection.flush().unwrap();
    let dropped = points(&collection).unwrap();
    assert!(dropped.iter().all(|point| point.reconstructed.contains("v")));
    assert!(dropped.iter().zip(&written).any(|(found, written)| found.vectors != written.vectors));
    let mut before = dropped.clone();
    for turn in 0..3 {
        let update = merge(&json!({"turn": turn}));
        let all = matching(Filter::all([]));
        collection.update_payloads(&all, &update, Durability::Buffered).unwrap();
        let carried = points(&collection).unwrap();
        for (carried, before) in carried.iter().zip(&before) {
            assert_eq!(carried.payload.as_ref().unwrap().to_map()["turn"], turn);
            assert_eq!(carried.vectors, before.vectors);
        }
        // The same codes are made again, but for the rounding of their ranges: a code that is one
        // greater or less stands for 2/255 more or less.
        collection.optimize().unwrap();
        before = points(&collection).unwrap();
        assert!(before.iter().all(|point| point.reconstructed.contains("v")));
        let drift = before.iter().zip(&dropped).map(|(a, b)| distance(a, b)).fold(0.0, f32::max);
        println!("turn {turn}: {drift}");
        assert!(drift < 0.002, "turn {turn}: {drift}");
    }
}

/// The largest difference between elements of the vectors of two points.
fn distance(a: &Point, b: &Point) -> f32 {
    let values = |point: &Point| point.vectors["v"].as_ref().values().to_vec();
    values(a).iter().zip(values(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn what_cannot_be_done_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    let mut random = Random::new(1);
    collection.upsert((0..5).map(|id| point(&mut random, id))).unwrap();
    let model = model_of(points(&collection).unwrap());
    let payloads = |points: &Selection, update: &PayloadUpdate| {
        let error = collection.update_payloads(points, update, Durability::Synced).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    };
    let vectors = |points: Vec<Point>| {
        let error = collection.update_vectors(points, Durability::Synced).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    };
    let one = merge(&json!({"a": 1}));
    assert_eq!(payloads(&ids([]), &one), "ids: expected 1 to 100000, got 0");
    let wrong = merge(&json!({"meta": {"year": "x"}}));
    assert!(payloads(&ids([1]), &wrong).starts_with("payload.meta.year: expected an integer"));
    let filter = matching(Filter::eq("meta.year", "x"));
    assert!(payloads(&filter, &one).starts_with("filter.meta.year: expected an integer"));
    let text = |id: u64, dimension| Point::new(id).with_vector("text", vec![1.0; dimension]);
    assert_eq!(vectors(Vec::new()), "points: expected 1 to 100000, got 0");
    let error = vectors(vec![text(1, 3), text(2, 4)]);
    assert_eq!(error, "points[1].vectors.text: expected 3 dimensions, got 4");
    let error = vectors(vec![text(1, 3), text(1, 3)]);
    assert_eq!(error, "points[1].id: expected each id once, got 1 twice");
    let error = vectors(vec![text(1, 3).with_payload(payload(&json!({})))]);
    assert_eq!(error, "points[0].payload: expected vectors alone, got a payload");
    check(&collection, &model);
    // The payload of one becomes too long: that of none changes.
    let long = json!({"long": "x".repeat(600_000)});
    let set = PayloadUpdate::Set(payload(&long));
    collection.update_payloads(&ids([2]), &set, Durability::Synced).unwrap();
    let model = model_of(points(&collection).unwrap());
    let error = payloads(&ids([1, 2]), &merge(&json!({"more": "x".repeat(600_000)})));
    assert!(error.starts_with("point 2.payload: expected at most 1048576 bytes"), "{error}");
    check(&collection, &model);
}
