//! A disk that is full, cannot be written or refuses now and then: reads go on, nothing that was
//! acknowledged is lost, and everything works again when there is room, without a restart.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::disk::Disk;
use common::images::{crash_image, points};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, Error, ErrorKind, Metric,
    Point, QueryRequest, TextField, VectorField,
};
use lanner_storage::{CommitFault, CommitFaults};

fn config() -> CollectionConfig {
    CollectionConfig::new().with_field("v", VectorField::single(2, Metric::Dot))
}

fn point(id: u64) -> Point {
    Point::new(id).with_vector("v", vec![id as f32, 1.0])
}

fn write(collection: &Collection, ids: std::ops::Range<u64>) -> lanner::Result<()> {
    collection.upsert(ids.map(point)).map(drop)
}

fn hits(collection: &Collection) -> usize {
    let query = QueryRequest::new("v", vec![1.0, 0.0]).limit(1000);
    collection.query(&query).unwrap().hits.len()
}

fn open(root: &Path, faults: &CommitFaults) -> Database {
    DatabaseOptions::new().commit_faults(faults.clone()).open(root).unwrap()
}

fn folders(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("collections/1")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn writes_go_on_after_a_failed_commit_without_a_restart() {
    for fault in [CommitFault::Before, CommitFault::After] {
        let folder = tempfile::tempdir().unwrap();
        let faults = CommitFaults::default();
        let database = open(folder.path(), &faults);
        let collection = database.create_collection("c", config()).unwrap();
        let other = database.create_collection("other", config()).unwrap();
        write(&collection, 0..10).unwrap();
        faults.fail(0, 1, fault);
        let error = write(&collection, 10..20).unwrap_err();
        assert!(matches!(error, Error::WritesStopped { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(collection.info().background_error.unwrap().contains("no space left"));
        assert_eq!(hits(&collection), 10, "reading goes on");
        write(&other, 0..5).unwrap();
        write(&collection, 20..30).unwrap();
        // The failed write may be there or not, whole.
        let expected = if fault == CommitFault::After { 30 } else { 20 };
        assert_eq!((hits(&collection), collection.count()), (expected, expected as u64));
        assert_eq!(collection.info().background_error, None);
        collection.optimize().unwrap();
        let image = crash_image(folder.path());
        let again = Database::open(image.path()).unwrap();
        let found = points(&again.collection("c").unwrap()).unwrap();
        assert_eq!(found, points(&collection).unwrap());
        assert_eq!(again.collection("other").unwrap().count(), 5);
    }
}

#[test]
fn a_seal_or_merge_whose_commit_failed_is_done_or_not() {
    for fault in [CommitFault::Before, CommitFault::After] {
        for skip in 0..2 {
            let folder = tempfile::tempdir().unwrap();
            let faults = CommitFaults::default();
            let database = open(folder.path(), &faults);
            let collection = database.create_collection("c", config()).unwrap();
            write(&collection, 0..10).unwrap();
            collection.flush().unwrap();
            write(&collection, 5..15).unwrap();
            // Of a seal or of a merge.
            faults.fail(skip, 1, fault);
            let error = collection.optimize().unwrap_err();
            assert!(matches!(error, Error::WritesStopped { .. }), "{fault:?} {skip}: {error}");
            assert_eq!(hits(&collection), 15);
            write(&collection, 15..20).unwrap();
            collection.optimize().unwrap();
            assert_eq!((hits(&collection), collection.count()), (20, 20));
            assert_eq!(folders(folder.path()).len(), 2, "a segment and the copy of the manifest");
            assert!(!folder.path().join("lost").exists());
            assert!(collection.verify(|_| {}).is_empty());
            drop((collection, database));
            assert_eq!(Database::open(folder.path()).unwrap().collection("c").unwrap().count(), 20);
        }
    }
}

#[test]
fn a_full_disk_is_read_and_written_again_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let faults = CommitFaults::default();
    {
        let database = open(folder.path(), &faults);
        let collection = database.create_collection("c", config()).unwrap();
        write(&collection, 0..10).unwrap();
        collection.flush().unwrap();
        write(&collection, 10..20).unwrap();
    }
    faults.set_full(true);
    // Not even opening finds room.
    let database = open(folder.path(), &faults);
    assert!(database.read_only().unwrap().contains("no space left"));
    let collection = database.collection("c").unwrap();
    assert_eq!((hits(&collection), collection.count()), (20, 20));
    for _ in 0..2 {
        let error = write(&collection, 20..30).unwrap_err();
        assert!(error.to_string().contains("no space left"), "{error}");
        assert!(matches!(collection.flush(), Err(Error::WritesStopped { .. })));
    }
    assert!(database.create_collection("d", config()).is_err());
    assert!(database.delete_collection("c").is_err());
    assert!(database.collection("c").is_ok(), "a deletion that failed hides nothing");
    assert_eq!(hits(&collection), 20);

    faults.set_full(false);
    write(&collection, 20..30).unwrap();
    assert_eq!(database.read_only(), None);
    collection.optimize().unwrap();
    assert_eq!((hits(&collection), collection.info().segments.len()), (30, 1));
    database.create_collection("d", config()).unwrap();
    database.delete_collection("c").unwrap();
    assert!(!folder.path().join("collections/1").exists());
}

#[test]
fn points_are_refused_before_the_disk_is_full_and_deleting_works() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(folder.path());
    let options = DatabaseOptions::new().free_bytes(1 << 20);
    let database = options.open_with(folder.path(), Arc::new(disk.clone())).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    write(&collection, 0..10).unwrap();
    disk.set_free_bytes(1000);
    let error = write(&collection, 10..20).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    assert_eq!(error.to_string(), "the disk is full: 1000 bytes are left, and points need 1048576");
    collection.delete((0..5).map(Into::into).collect(), Durability::Synced).unwrap();
    assert_eq!(collection.count(), 5);
    disk.set_free_bytes(1 << 20);
    write(&collection, 10..20).unwrap();
    disk.set_free_bytes(0);
    database.delete_collection("c").unwrap();
}

#[test]
fn builds_that_fail_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(folder.path());
    let database = DatabaseOptions::new().open_with(folder.path(), Arc::new(disk.clone())).unwrap();
    let field = VectorField::single(2, Metric::Dot).compressed("lvq8".parse().unwrap());
    let config = CollectionConfig::new()
        .with_field("v", field)
        .with_field("w", VectorField::sparse())
        .with_text("t", TextField::new(["t"]));
    let collection = database.create_collection("c", config).unwrap();
    for first in [0, 2000] {
        write(&collection, first..first + 2000).unwrap();
        collection.flush().unwrap();
    }
    let before = folders(folder.path());
    let queries = || lanner::MultiVector::from_flat(2, vec![1.0; 8]).unwrap();
    for part in [
        "points.sec",
        "field-0.sec",
        "codes-0.sec",
        "inverted-1.sec",
        "text-0.sec",
        "entry.sec",
        "queries.sec",
    ] {
        disk.refuse(Some(part));
        for _ in 0..3 {
            let failed = match part {
                "queries.sec" => collection.set_training_queries("v", queries()),
                _ => collection.optimize(),
            };
            assert!(failed.unwrap_err().to_string().contains(part));
            assert_eq!(folders(folder.path()), before, "{part}");
        }
        disk.refuse(None);
    }
    collection.optimize().unwrap();
    assert_eq!(collection.count(), 4000);
    assert_eq!(collection.info().segments.len(), 1);
}

#[test]
fn a_disk_that_has_room_again_is_written_without_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let faults = CommitFaults::default();
    write(&open(folder.path(), &faults).create_collection("c", config()).unwrap(), 0..10).unwrap();
    faults.set_full(true);
    let options = DatabaseOptions::new().commit_faults(faults.clone());
    // It looks as often as it scrubs.
    let database = options.scrub(Duration::from_millis(1), 1 << 20).open(folder.path()).unwrap();
    let problems = database.problems();
    assert!(problems.len() == 2 && problems[1].starts_with("collection `c`: "), "{problems:?}");
    faults.set_full(false);
    let started = Instant::now();
    while !database.problems().is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60), "{:?}", database.problems());
        std::thread::yield_now();
    }
    assert_eq!(hits(&database.collection("c").unwrap()), 10);
}

#[test]
fn points_can_be_deleted_when_none_can_be_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(folder.path());
    let options = DatabaseOptions::new().seal_bytes(700);
    let database = options.open_with(folder.path(), Arc::new(disk.clone())).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    disk.refuse(Some("points.sec"));
    let mut written = 0;
    let error = loop {
        match write(&collection, written..written + 10) {
            Ok(()) => written += 10,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::SealFailed { .. }) && written > 0, "{error}");
    // Some of each segment: one without points is sealed without the file.
    for id in (0..written).step_by(2) {
        collection.delete(vec![id.into()], Durability::Synced).unwrap();
    }
    assert_eq!(collection.count(), written - written / 2);
    assert!(collection.problem().unwrap().contains("points.sec"));
    disk.refuse(None);
    collection.flush().unwrap();
    write(&collection, 0..10).unwrap();
    assert_eq!(collection.problem(), None);
}

#[test]
fn what_a_seal_needs_is_there_again_after_it_failed() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(folder.path());
    let database = DatabaseOptions::new().open_with(folder.path(), Arc::new(disk.clone())).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    write(&collection, 0..10).unwrap();
    disk.refuse(Some("points.sec"));
    let error = collection.flush().unwrap_err();
    assert!(matches!(error, Error::SealFailed { .. }), "{error}");
    assert_eq!(hits(&collection), 10);
    disk.refuse(None);
    collection.flush().unwrap();
    assert_eq!((hits(&collection), collection.info().segments.len()), (10, 1));
}

#[test]
fn a_collection_that_ran_out_of_descriptors_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = Database::open(folder.path()).unwrap();
        let collection = database.create_collection("c", config()).unwrap();
        write(&collection, 0..10).unwrap();
        collection.flush().unwrap();
    }
    let disk = Disk::new(folder.path());
    disk.run_out(true);
    let database = DatabaseOptions::new().open_with(folder.path(), Arc::new(disk.clone())).unwrap();
    let error = database.collection("c").map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    disk.run_out(false);
    assert_eq!(hits(&database.collection("c").unwrap()), 10);
}
