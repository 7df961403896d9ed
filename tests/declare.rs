//! A payload path that is declared when there are points already answers as one that was declared at
//! first: before, while and after its index is built, through restarts, crashes and full disks, and while
//! others write. The oracle reads the JSON of the payloads.

mod common;
mod declare {
    pub mod world;
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use common::Random;
use common::disk::{Disk, Fate};
use common::filters::matches;
use common::images::{crash_image, flip, points};
use declare::world::{
    LATER, Release, World, check_all, check_filters, config, declare_all, filters,
    needing_a_column, open, parse, payload, point,
};
use lanner::{
    CollectionConfig, Database, DatabaseOptions, Durability, Error, ErrorKind, Filter, IndexStatus,
    JobKind, JobState, Metric, PayloadType, PayloadUpdate, Point, PointId, QueryRequest,
    RepairReport, Selection, VectorField, limits,
};
use lanner_storage::{CommitFault, CommitFaults, LocalDirectory, read_collection_copy};
use serde_json::{Value, json};

/// Which points are there, with their vectors, is nothing that a declaration changes.
#[test]
fn it_answers_as_one_that_was_declared_at_first() {
    let mut world = World::new();
    let before = points(&world.collection).unwrap();
    world.check_filters();
    for (path, _) in LATER {
        assert!(world.reads_payloads(path));
        for refused in needing_a_column(&world.collection, path) {
            assert!(matches!(refused, Err(Error::Invalid(_))), "{path}");
        }
    }
    declare_all(&world.collection);
    assert_eq!(world.types().len(), 1 + LATER.len());
    assert!(world.pending().is_empty());
    assert_eq!(points(&world.collection).unwrap(), before);
    world.check_all();
    // In memory, and sealed with all columns.
    world.write(420..500);
    world.check_all();
    world.collection.flush().unwrap();
    world.check_all();
    world.collection.optimize().unwrap();
    let world = world.reopen();
    assert_eq!(world.types().len(), 1 + LATER.len());
    world.check_all();
}

/// The generation of the settings, and those that the segments were built with, as the catalog has them.
fn generations(folder: &std::path::Path) -> (u64, Vec<u64>) {
    let directory = LocalDirectory::new(folder);
    let found = read_collection_copy::<CollectionConfig>(&directory, "collections/1", 1).unwrap();
    let manifest = found.0.unwrap().manifest;
    let of_segments = manifest.segments.iter().map(|segment| segment.settings_generation);
    (manifest.settings_generation, of_segments.collect())
}

#[test]
fn declarations_raise_the_generation_of_the_settings_and_segments_record_theirs() {
    let world = World::new();
    assert_eq!(generations(world.folder.path()), (1, vec![1, 1]));
    // The declaration writes segment 1 anew as 4: until then the segments are of the settings before.
    world.disk.set(Fate::Held("collections/1/4".into()));
    let job = world.collection.start_declare("year", PayloadType::Integer).unwrap();
    world.disk.wait_until_held();
    assert_eq!(generations(world.folder.path()), (2, vec![1, 1, 1]));
    world.disk.set(Fate::Created);
    job.wait().unwrap();
    assert_eq!(generations(world.folder.path()), (2, vec![2, 2, 2]));
    // What is declared already changes nothing.
    world.collection.declare("year", PayloadType::Integer).unwrap();
    let world = world.reopen();
    declare_all(&world.collection);
    let now = LATER.len() as u64 + 1;
    assert_eq!(generations(world.folder.path()), (now, vec![now; 3]));
    world.collection.optimize().unwrap();
    assert_eq!(generations(world.folder.path()), (now, vec![now]));
    let image = crash_image(world.folder.path());
    drop(Database::open(image.path()).unwrap());
    assert_eq!(generations(image.path()), (now, vec![now]));
}

#[test]
fn a_collection_without_paths_gets_its_first_one() {
    let first = config().fields["v"].clone();
    let mut world = World::empty(CollectionConfig::new().with_field("v", first));
    // Without a point there is nothing to do.
    world.collection.declare("at", PayloadType::Datetime).unwrap();
    world.write(0..200);
    world.collection.flush().unwrap();
    declare_all(&world.collection);
    world.check_all();
    world.reopen().check_all();
}

#[test]
fn while_the_index_is_built_filters_read_payloads() {
    let mut world = World::new();
    // The declaration seals what is in memory as segment 3 and writes 1 anew as 4.
    world.disk.set(Fate::Held("collections/1/4".into()));
    let job = world.collection.start_declare("year", PayloadType::Integer).unwrap();
    world.disk.wait_until_held();
    let info = job.info();
    assert_eq!((info.kind, info.state), (JobKind::Declare, JobState::Running));
    assert_eq!((&*info.phase, info.done), ("merging", 0));
    assert_eq!(world.types()["year"], PayloadType::Integer);
    assert_eq!(world.pending(), BTreeMap::from([("year".into(), 3)]));
    assert!(world.reads_payloads("year") && !world.reads_payloads("lang"));
    world.check_filters();
    world.check_pending("year", "the index of `year` is being built (segments left: 3)");
    // It has the type already.
    let error = world.collection.count_where(&Filter::eq("year", "MM")).unwrap_err().to_string();
    assert_eq!(error, "filter.year: expected an integer of 64 bits with a sign, got \"MM\"");
    let error = world.put(7, json!({"year": "MM"})).unwrap_err().to_string();
    let refused = "payload.year: expected an integer of 64 bits with a sign, got \"MM\"";
    assert_eq!(error, format!("points[0].{refused}"));
    let update = PayloadUpdate::Merge(parse(&json!({"year": "MM"})));
    let selection = Selection::Ids(vec![399.into()]);
    let updated = world.collection.update_payloads(&selection, &update, Durability::Synced);
    assert_eq!(updated.unwrap_err().to_string(), refused);
    // What is written meanwhile counts, and what is deleted does not.
    world.write(200..260);
    world.delete((100..130).collect());
    let update = PayloadUpdate::Merge(parse(&json!({"year": 2011})));
    let selection = Selection::Matching(Filter::eq("year", 2004));
    let updated = world.collection.update_payloads(&selection, &update, Durability::Synced);
    let mut changed = 0;
    for (id, payload) in &mut world.payloads {
        if matches(&Filter::eq("year", 2004), id, payload) {
            payload["year"] = json!(2011);
            changed += 1;
        }
    }
    assert_eq!(updated.unwrap().write.affected, changed);
    world.check_filters();
    // The first of the segments is through, and the next is held.
    world.disk.set(Fate::Held("collections/1/5".into()));
    world.disk.wait_until_held();
    assert_eq!(world.pending(), BTreeMap::from([("year".into(), 2)]));
    let info = job.info();
    assert!(info.done > 0 && info.done < info.total, "{info:?}");
    world.check_pending("year", "the index of `year` is being built (segments left: 2)");
    world.check_filters();
    world.disk.set(Fate::Created);
    job.wait().unwrap();
    assert!(world.pending().is_empty());
    declare_all(&world.collection);
    world.check_all();
}

/// Segments of which no row is left have nothing to wait for.
#[test]
fn deleted_points_hold_nothing_up() {
    let mut world = World::new();
    world.put(1000, json!({"year": "MM"})).unwrap();
    world.collection.flush().unwrap();
    world.put(1001, json!({"year": [1, "MM"]})).unwrap();
    world.delete(vec![1000]);
    world.put(1001, json!({"year": [1, 2]})).unwrap();
    declare_all(&world.collection);
    world.check_all();
    // The journal holds none of it any more.
    world.write(1001..1003);
    let image = crash_image(world.folder.path());
    let database = Database::open(image.path()).unwrap();
    check_all(&database.collection("c").unwrap(), &world.payloads);
}

#[test]
fn a_value_of_another_type_is_named_and_nothing_is_declared() {
    let mut world = World::new();
    let integer = "expected an integer of 64 bits with a sign, got";
    let cases = [
        (5, json!({"year": "MMX"}), format!("point 5.payload.year: {integer} \"MMX\"")),
        (300, json!({"year": [2001, 2.5]}), format!("point 300.payload.year: {integer} 2.5")),
        (449, json!({"year": {"a": 1}}), format!("point 449.payload.year: {integer} an object")),
    ];
    for (id, wrong, message) in cases {
        let right = world.payloads.get(&id.into()).cloned().unwrap_or_else(|| json!({}));
        for is_sealed in [false, true] {
            world.put(id, wrong.clone()).unwrap();
            if is_sealed {
                world.collection.flush().unwrap();
            }
            let error = world.collection.declare("year", PayloadType::Integer).unwrap_err();
            assert_eq!(
                (error.kind(), error.to_string()),
                (ErrorKind::InvalidArgument, message.clone())
            );
            assert_eq!(world.types().len(), 1);
            world.check_filters();
            assert!(world.reads_payloads("year"));
        }
        let mut reopened = world.reopen();
        assert_eq!(reopened.types().len(), 1);
        reopened.put(id, right).unwrap();
        world = reopened;
    }
    // Values of any type are written again, as before.
    world.put(7, json!({"year": "MMX"})).unwrap();
    world.put(7, json!({"year": 2010})).unwrap();
    declare_all(&world.collection);
    world.check_all();
}

/// What is declared stays refused for all who have checked their points before.
#[test]
fn points_are_checked_from_when_it_is_asked_for() {
    let mut world = World::new();
    let right = point(&mut world.random, 600, &json!({"year": 2001}));
    let wrong = point(&mut world.random, 601, &json!({"year": "MM"}));
    let batch = |points: &[&Point]| {
        let mut batch = world.collection.batch();
        points.iter().for_each(|point| batch.push((*point).clone()).unwrap());
        batch.finish()
    };
    let (good, bad) = (batch(&[&right]), batch(&[&right, &wrong]));
    world.disk.set(Fate::Held("collections/1/3".into()));
    let job = world.collection.start_declare("year", PayloadType::Integer).unwrap();
    world.disk.wait_until_held();
    assert_eq!((&*job.info().phase, world.types().len()), ("sealing", 1));
    let refused = "payload.year: expected an integer of 64 bits with a sign, got \"MM\"";
    let error = world.put(602, json!({"year": "MM"})).unwrap_err().to_string();
    assert_eq!(error, format!("points[0].{refused}"));
    let error = world.collection.upsert_batch(bad, Durability::Synced).unwrap_err().to_string();
    assert_eq!(error, format!("point 601.{refused}"));
    assert!(world.collection.get(&[600.into()], Default::default()).unwrap()[0].is_none());
    world.collection.upsert_batch(good, Durability::Synced).unwrap();
    world.payloads.insert(600.into(), json!({"year": 2001}));
    // Filters go by what is declared.
    world.check_filters();
    job.cancel();
    assert!(matches!(job.wait(), Err(Error::JobCancelled { .. })));
    world.put(603, json!({"year": "MM"})).unwrap();
    world.delete(vec![603]);
    world.disk.set(Fate::Created);
    // Columns of what was not declared after all are no hindrance.
    world.collection.declare("year", PayloadType::Integer).unwrap();
    declare_all(&world.collection);
    world.check_all();
}

#[test]
fn what_cannot_be_declared_is_refused_at_once() {
    let world = World::new();
    let refused = |path: &str, payload_type| {
        let error = world.collection.start_declare(path, payload_type).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        error.to_string()
    };
    let error = refused("lang", PayloadType::Integer);
    assert_eq!(error, "payload.lang: the path is declared with the type keyword, not integer");
    assert!(refused("a..b", PayloadType::Integer).starts_with("payload: expected paths of"));
    // Nothing to do.
    let job = world.collection.start_declare("lang", PayloadType::Keyword).unwrap();
    assert_eq!(job.info().state, JobState::Done);
    world.disk.set(Fate::Held("collections/1/3".into()));
    let job = world.collection.start_declare("year", PayloadType::Integer).unwrap();
    world.disk.wait_until_held();
    let same = world.collection.start_declare("year", PayloadType::Integer).unwrap();
    assert_eq!(same.id(), job.id());
    let error = refused("year", PayloadType::Keyword);
    assert_eq!(error, "payload.year: the path is declared with the type integer, not keyword");
    for number in 0..limits::MAX_PATHS - 2 {
        let path = format!("more.{number}");
        world.collection.start_declare(&path, PayloadType::Keyword).unwrap();
    }
    assert_eq!(refused("one.more", PayloadType::Keyword), "payload: expected 0 to 64, got 65");
    world.disk.set(Fate::Created);
    job.wait().unwrap();
    world.collection.declare("more.7", PayloadType::Keyword).unwrap();
    assert_eq!(refused("one.more", PayloadType::Keyword), "payload: expected 0 to 64, got 65");
    world.check_filters();
}

/// A process that dies goes on from where it was: not declared before the commit, pending after it.
#[test]
fn a_crash_at_any_step_leaves_it_undeclared_or_pending() {
    let mut world = World::new();
    let mut images = Vec::new();
    world.disk.set(Fate::Held("collections/1/3".into()));
    let job = world.collection.start_declare("year", PayloadType::Integer).unwrap();
    for next in [4, 5, 6] {
        world.disk.wait_until_held();
        world.write(500 + next..503 + next);
        images.push((crash_image(world.folder.path()), world.payloads.clone()));
        world.disk.set(Fate::Held(format!("collections/1/{next}")));
    }
    world.disk.set(Fate::Created);
    job.wait().unwrap();
    images.push((crash_image(world.folder.path()), world.payloads.clone()));
    for (step, (image, payloads)) in images.iter().enumerate() {
        // Nothing is written anew, so that what was found can be looked at.
        let (disk, faults) = (Disk::new(image.path()), CommitFaults::default());
        disk.set(Fate::Held("collections/1/".into()));
        let _release = Release(disk.clone());
        let database = open(image.path(), &disk, &faults);
        let collection = database.collection("c").unwrap();
        let pending = collection.info().pending_paths;
        let is_declared = collection.config().payload.contains_key("year");
        let expected = [None, Some(3), Some(2), None][step];
        assert_eq!((is_declared, pending.get("year").copied()), (step > 0, expected), "{step}");
        check_filters(&collection, payloads);
        disk.set(Fate::Created);
        declare_all(&collection);
        check_all(&collection, payloads);
        drop((collection, database));
        let report = Database::repair(image.path()).unwrap();
        assert_eq!(report, RepairReport::default(), "{step}");
    }
}

/// What is pending is built without anybody who waits for it.
#[test]
fn it_goes_on_after_reopening() {
    let world = World::new();
    world.disk.refuse(Some("collections/1/4"));
    let error = world.collection.declare("year", PayloadType::Integer).unwrap_err();
    assert!(matches!(error, Error::MergeFailed { .. }), "{error}");
    assert_eq!(world.pending(), BTreeMap::from([("year".into(), 3)]));
    world.check_filters();
    world.disk.set(Fate::Held("points.sec".into()));
    let world = world.reopen();
    world.disk.wait_until_held();
    assert!(world.types().contains_key("year"));
    assert_eq!(world.pending(), BTreeMap::from([("year".into(), 3)]));
    world.disk.set(Fate::Created);
    declare_all(&world.collection);
    world.check_all();
}

/// The commit of the settings fails, and was done or not: what is on the disk counts.
#[test]
fn a_failed_commit_is_found_out_by_the_next_write() {
    for (fault, is_declared) in [(CommitFault::Before, false), (CommitFault::After, true)] {
        let mut world = World::new();
        world.collection.flush().unwrap();
        world.faults.fail(0, 1, fault);
        let error = world.collection.declare("year", PayloadType::Integer).unwrap_err();
        assert!(matches!(error, Error::WritesStopped { .. }), "{error}");
        world.check_filters();
        world.write(700..710);
        assert_eq!(world.types().contains_key("year"), is_declared);
        let wrong = world.put(711, json!({"year": "MM"}));
        assert_eq!(wrong.is_err(), is_declared);
        world.delete(vec![711]);
        world.payloads.remove(&711.into());
        world.check_filters();
        declare_all(&world.collection);
        world.check_all();
        world.reopen().check_all();
    }
}

#[test]
fn a_full_disk_is_said_and_declaring_goes_on_when_there_is_room() {
    let world = World::new();
    world.disk.set_free_bytes(1);
    let error = world.collection.start_declare("year", PayloadType::Integer).unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    world.disk.set_free_bytes(u64::MAX);
    // What was written before cannot be sealed.
    world.disk.refuse(Some("collections/1/3"));
    let error = world.collection.declare("year", PayloadType::Integer).unwrap_err();
    assert!(matches!(error, Error::SealFailed { .. }), "{error}");
    assert_eq!(world.types().len(), 1);
    world.disk.refuse(Some("manifest.sec"));
    declare_all(&world.collection);
    world.disk.refuse(None);
    world.check_all();
    world.reopen().check_all();
}

/// A payload that cannot be read cannot be checked.
#[test]
fn a_damaged_payload_keeps_a_path_undeclared() {
    let world = World::new();
    let path = world.folder.path().join("collections/1/1/points.sec");
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(9).position(|window| window == b"{\"at\":\"20" as &[u8]);
    let at = at.unwrap_or_else(|| bytes.windows(6).position(|w| w == b"\"lang\"").unwrap());
    flip(&path, at + 3, 0);
    let world = world.reopen();
    let error = world.collection.declare("year", PayloadType::Integer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert_eq!(world.types().len(), 1);
    assert!(world.collection.problem().is_some_and(|problem| problem.contains("points.sec")));
}

/// A segment whose vectors are damaged is not written anew, and keeps the path pending.
#[test]
fn a_damaged_segment_is_left_alone() {
    let world = World::new();
    let path = world.folder.path().join("collections/1/1/field-0.sec");
    flip(&path, 200, 1);
    let error = world.collection.declare("year", PayloadType::Integer).unwrap_err();
    assert!(matches!(error, Error::SegmentsDamaged { .. }), "{error}");
    assert_eq!(world.pending(), BTreeMap::from([("year".into(), 1)]));
    let filter = Filter::eq("year", 2003);
    let expected = world.payloads.iter().filter(|(id, payload)| matches(&filter, id, payload));
    assert_eq!(world.collection.count_where(&filter).unwrap(), expected.count() as u64);
    world.check_pending("year", "the index of `year` is being built (segments left: 1)");
}

/// The settings come back from the copy beside the segments, as new as they were.
#[test]
fn a_repair_restores_what_was_declared() {
    let world = World::new();
    world.disk.refuse(Some("collections/1/5"));
    let error = world.collection.declare("year", PayloadType::Integer).unwrap_err();
    assert!(matches!(error, Error::MergeFailed { .. }), "{error}");
    let image = crash_image(world.folder.path());
    std::fs::remove_dir_all(image.path().join("catalog")).unwrap();
    let report = Database::repair(image.path()).unwrap();
    assert!(!report.collections.is_empty());
    let database = Database::open(image.path()).unwrap();
    let collection = database.collection("c").unwrap();
    assert_eq!(collection.config().payload["year"], PayloadType::Integer);
    declare_all(&collection);
    check_all(&collection, &world.payloads);
}

/// A seal that began before the path was declared, and would end after it, is done again: who has waited for
/// the path relies on its columns.
#[test]
fn a_seal_meanwhile_has_the_column() {
    let mut world = World::new();
    world.collection.flush().unwrap();
    // The lane that checks payloads is held, and so is a seal that begins while it is.
    world.disk.set(Fate::Held("collections/1/4".into()));
    let first = world.collection.start_declare("at", PayloadType::Datetime).unwrap();
    world.disk.wait_until_held();
    let second = world.collection.start_declare("year", PayloadType::Integer).unwrap();
    world.write(500..520);
    world.disk.set(Fate::Held("points.sec".into()));
    std::thread::scope(|scope| {
        let flushed = scope.spawn(|| world.collection.flush());
        world.disk.wait_until_so_many_are_held(2);
        world.disk.set(Fate::Held("collections/1/5".into()));
        first.wait().unwrap();
        second.wait().unwrap();
        assert!(world.pending().is_empty());
        world.disk.set(Fate::Created);
        flushed.join().unwrap().unwrap();
    });
    assert!(world.pending().is_empty());
    let sealed = world.collection.info().segments.into_iter().filter_map(|found| found.number);
    assert!(!sealed.clone().any(|number| number == 5), "{:?}", sealed.collect::<Vec<_>>());
    declare_all(&world.collection);
    world.check_all();
}

/// Cancelled when it is declared already, only the waiting ends.
#[test]
fn cancelling_later_leaves_it_declared() {
    let world = World::new();
    world.disk.set(Fate::Held("collections/1/4".into()));
    let job = world.collection.start_declare("year", PayloadType::Integer).unwrap();
    world.disk.wait_until_held();
    job.cancel();
    assert!(matches!(job.wait(), Err(Error::JobCancelled { .. })));
    assert_eq!(world.pending(), BTreeMap::from([("year".into(), 3)]));
    world.disk.set(Fate::Created);
    declare_all(&world.collection);
    world.check_all();
}

/// Everything that writes, merges and reads, while paths are declared one after the other.
#[test]
fn others_write_merge_and_query_meanwhile() {
    let mut world = World::new();
    let ended = AtomicBool::new(false);
    let collection = world.collection.clone();
    let mut written = BTreeMap::new();
    std::thread::scope(|scope| {
        let (ended, other) = (&ended, collection.clone());
        let writer = scope.spawn(move || {
            let (mut random, mut written, mut round) = (Random::new(3), BTreeMap::new(), 0_u64);
            while !ended.load(Ordering::Relaxed) {
                round += 1;
                let ids = 1000 + round % 40 * 10..1000 + round % 40 * 10 + 12;
                let of_round: Vec<(u64, Value)> =
                    ids.map(|id| (id, payload(&mut random))).collect();
                let points = of_round.iter().map(|(id, payload)| point(&mut random, *id, payload));
                other.upsert(points.collect::<Vec<_>>()).unwrap();
                written
                    .extend(of_round.into_iter().map(|(id, payload)| (id.into(), Some(payload))));
                let id = PointId::from(1000 + round % 400);
                other.delete(vec![id.clone()], Durability::Buffered).unwrap();
                written.insert(id, None);
                if round.is_multiple_of(10) {
                    other.flush().unwrap();
                }
            }
            written
        });
        let other = collection.clone();
        scope.spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                for filter in filters() {
                    let request = QueryRequest::new("v", vec![1.0, 1.0]).filter(filter);
                    other.query(&request).unwrap();
                }
                for (path, _) in LATER {
                    for found in needing_a_column(&other, path) {
                        let expected = |error: &Error| {
                            matches!(error, Error::PathPending { .. } | Error::Invalid(_))
                        };
                        assert!(found.as_ref().err().is_none_or(expected), "{found:?}");
                    }
                }
            }
        });
        for (number, (path, payload_type)) in LATER.into_iter().enumerate() {
            let job = collection.start_declare(path, payload_type).unwrap();
            if number.is_multiple_of(2) {
                collection.optimize().unwrap();
            }
            job.wait().unwrap();
        }
        ended.store(true, Ordering::Relaxed);
        written = writer.join().unwrap();
    });
    for (id, payload) in written {
        match payload {
            Some(payload) => drop(world.payloads.insert(id, payload)),
            None => drop(world.payloads.remove(&id)),
        }
    }
    world.check_all();
    drop(collection);
    world.reopen().check_all();
}

/// Compressed and indexed segments keep their codes and get their indexes with the column.
#[test]
fn indexed_segments_are_indexed_when_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let options = DatabaseOptions::new().index_rows(2000);
    let database = options.open(folder.path()).unwrap();
    let config = CollectionConfig::new().with_field("v", VectorField::single(8, Metric::L2));
    let collection = database.create_collection("c", config).unwrap();
    let mut random = Random::new(5);
    let points = (0..4000_u64).map(|id| {
        let payload = parse(&json!({"n": id % 10}));
        Point::new(id).with_vector("v", random.vector(8)).with_payload(payload)
    });
    collection.upsert(points.collect::<Vec<_>>()).unwrap();
    collection.optimize().unwrap();
    collection.declare("n", PayloadType::Integer).unwrap();
    let info = collection.info();
    let [segment] = info.segments.as_slice() else { panic!("one segment") };
    assert!(matches!(segment.indexes["v"], IndexStatus::Ready { .. }), "{segment:?}");
    assert!(segment.codecs.contains_key("v"));
    let request = QueryRequest::new("v", vec![0.1; 8]).limit(20).filter(Filter::eq("n", 3));
    let exact = collection.query(&request.clone().exact()).unwrap().hits;
    assert!(exact.iter().all(|hit| hit.point.id.to_string().ends_with('3')));
    let found: BTreeSet<PointId> =
        collection.query(&request).unwrap().hits.into_iter().map(|hit| hit.point.id).collect();
    let same = exact.iter().filter(|hit| found.contains(&hit.point.id)).count();
    assert!(same >= 18, "{same} of 20");
}
