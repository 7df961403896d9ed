//! What is measured of a segment, when it is written and later by the queries that came, is kept or
//! not there at all: no folder is left behind, and none that the manifest names is taken for lost.

mod common;

use std::fs;
use std::path::Path;

use common::Random;
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, IndexStatus, Metric,
    Point, QueryRequest, VectorField,
};
use lanner_storage::{CommitFault, CommitFaults};

const DIMENSION: usize = 8;
/// Enough for codes, and too few for an index.
const POINTS: u64 = 1100;

fn open(root: &Path, faults: &CommitFaults) -> Database {
    DatabaseOptions::new().threads(1).commit_faults(faults.clone()).open(root).unwrap()
}

fn create(database: &Database) -> Collection {
    let mut random = Random::new(3);
    let field =
        VectorField::single(DIMENSION, Metric::Dot).compressed("lvq8:4/lvq8".parse().unwrap());
    let config = CollectionConfig::new().with_field("v", field);
    let collection = database.create_collection("c", config).unwrap();
    let point = |id: u64| Point::new(id).with_vector("v", random.vector(DIMENSION));
    collection.upsert((0..POINTS).map(point)).unwrap();
    collection
}

/// The numbers of the folders of the collection, in their order.
fn folders(root: &Path) -> Vec<u64> {
    let entries = fs::read_dir(root.join("collections/1")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut numbers: Vec<u64> = names.filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// What was measured of the only segment.
fn report(collection: &Collection) -> IndexStatus {
    let status = collection.info().segments[0].indexes["v"].clone();
    assert!(matches!(status, IndexStatus::Ready { .. }), "{status:?}");
    status
}

#[test]
fn a_calibration_is_there_with_its_segment_or_not_at_all() {
    for fault in [None, Some(CommitFault::Before), Some(CommitFault::After)] {
        let folder = tempfile::tempdir().unwrap();
        let faults = CommitFaults::default();
        {
            let database = open(folder.path(), &faults);
            let collection = create(&database);
            if let Some(fault) = fault {
                faults.fail(0, 1, fault);
                collection.flush().unwrap_err();
                // A write finds out what is there.
                collection.delete(vec![POINTS.into()], Durability::Synced).unwrap();
            }
            collection.flush().unwrap();
            report(&collection);
            assert_eq!(folders(folder.path()).len(), 2, "segment and calibration, {fault:?}");
        }
        let before = folders(folder.path());
        let database = open(folder.path(), &faults);
        report(&database.collection("c").unwrap());
        assert_eq!(folders(folder.path()), before, "{fault:?}");
        assert!(!folder.path().join("lost").exists(), "{fault:?}");
    }
}

#[test]
fn what_queries_that_came_have_taught_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let faults = CommitFaults::default();
    let mut random = Random::new(4);
    let mut ask = |collection: &Collection, queries: usize| {
        for _ in 0..queries {
            collection.query(&QueryRequest::new("v", random.vector(DIMENSION))).unwrap();
        }
    };
    let learned = {
        let database = open(folder.path(), &faults);
        let collection = create(&database);
        collection.optimize().unwrap();
        let first = report(&collection);
        ask(&collection, 300);
        // Waits for what is measured.
        collection.optimize().unwrap();
        let learned = report(&collection);
        assert_ne!(learned, first);
        learned
    };
    let before = folders(folder.path());
    assert_eq!(before.len(), 4, "segment, two calibrations, queries: {before:?}");
    let after = {
        let database = open(folder.path(), &faults);
        let collection = database.collection("c").unwrap();
        assert_eq!(report(&collection), learned);
        assert_eq!(folders(folder.path()), before);
        // What twice as many queries teach takes the place of it.
        ask(&collection, 300);
        collection.optimize().unwrap();
        let after = folders(folder.path());
        assert!(after.len() == 4 && after != before, "{after:?} after {before:?}");
        // Nothing stays of a try that fails, whether or not this waits for it.
        faults.fail(0, 1, CommitFault::Before);
        ask(&collection, 700);
        let _ = collection.optimize();
        collection.delete(vec![POINTS.into()], Durability::Synced).unwrap();
        assert_eq!(folders(folder.path()), after);
        after
    };
    let database = open(folder.path(), &faults);
    report(&database.collection("c").unwrap());
    assert_eq!(folders(folder.path()), after);
    assert!(!folder.path().join("lost").exists());
}
