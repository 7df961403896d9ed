//! Sealing and merging survive a fault at any file operation: what was acknowledged is there
//! after reopening, whether the fault hit before, during or after the change of the manifest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lanner::{
    CollectionConfig, Database, DatabaseOptions, Durability, Include, Metric, Point, PointId,
    VectorField,
};
use lanner_storage::{FaultyDirectory, LocalDirectory};

type Expected = BTreeMap<PointId, Point>;

fn open(root: &Path, directory: &FaultyDirectory) -> lanner::Result<Database> {
    DatabaseOptions::new().threads(1).open_with(root, Arc::new(directory.clone()))
}

fn point(id: u64, value: f32) -> Point {
    Point::new(id).with_vector("v", vec![value])
}

/// Writes, seals and merges until a fault stops it; `expected` follows what was acknowledged.
fn work(database: &Database, expected: &mut Expected) -> lanner::Result<()> {
    let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
    let collection = database.create_collection("c", config)?;
    for round in 0..3_u64 {
        let points: Vec<Point> =
            (0..5).map(|index| point(round * 3 + index, round as f32 + 1.0)).collect();
        collection.upsert(points.clone())?;
        expected.extend(points.into_iter().map(|point| (point.id.clone(), point)));
        let gone = PointId::from(round * 3 + 1);
        collection.delete(vec![gone.clone()], Durability::Synced)?;
        expected.remove(&gone);
        collection.flush()?;
    }
    collection.optimize()
}

fn check(root: &Path, expected: &Expected) {
    let database = Database::open(root).unwrap();
    let Ok(collection) = database.collection("c") else {
        assert!(expected.is_empty(), "the fault hit before the collection was there");
        assert!(database.collections().is_empty(), "and it is not there by half");
        return;
    };
    let read = || {
        let page = collection.scroll(None, 1000, Include::ALL).unwrap();
        page.points.into_iter().map(|point| (point.id.clone(), point)).collect::<Expected>()
    };
    assert_eq!(&read(), expected);
    // What the fault left half-done can be done now.
    collection.upsert([point(100, 5.0)]).unwrap();
    collection.optimize().unwrap();
    collection.delete(vec![100.into()], Durability::Synced).unwrap();
    assert_eq!(&read(), expected);
}

fn operations() -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let directory = FaultyDirectory::new(LocalDirectory::new(folder.path()));
    let mut expected = Expected::new();
    let database = open(folder.path(), &directory).unwrap();
    work(&database, &mut expected).unwrap();
    drop(database);
    check(folder.path(), &expected);
    directory.operations()
}

#[test]
fn acknowledged_writes_survive_a_fault_at_any_file_operation() {
    let operations = operations();
    assert!(operations > 100, "the faults cover seals and a merge, got {operations}");
    let mut stopped = 0;
    for fault in 0..operations {
        let folder = tempfile::tempdir().unwrap();
        let directory = FaultyDirectory::new(LocalDirectory::new(folder.path()));
        directory.fail_from(fault);
        let mut expected = Expected::new();
        if let Ok(database) = open(folder.path(), &directory) {
            // Background merges make a few operations more or less, so the last may not be reached.
            stopped += u64::from(work(&database, &mut expected).is_err());
        }
        directory.lose_power(|unsynced| unsynced * (fault % 3) / 2).unwrap();
        check(folder.path(), &expected);
    }
    assert!(stopped > operations / 2, "{stopped} of {operations} faults stopped the work");
}
