//! Sealing and merging survive a fault at any file operation: what was acknowledged is there
//! after reopening, whether the fault hit before, during or after the change of the manifest.
//! Indexes are there whole, or not at all and built again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, Include, Metric,
    MultiVector, Payload, Point, PointId, QueryRequest, SparseVector, TextField, TextQuery,
    VectorField,
};
use lanner_storage::{FaultyDirectory, LocalDirectory};

type Expected = BTreeMap<PointId, Point>;

fn open(root: &Path, directory: &FaultyDirectory) -> lanner::Result<Database> {
    DatabaseOptions::new().threads(1).open_with(root, Arc::new(directory.clone()))
}

fn point(id: u64, value: f32) -> Point {
    let sparse = SparseVector::new([id as u32 % 7, 9], [1.0, value + 1.0]).unwrap();
    of_one_field(id, value).with_vector("w", sparse)
}

fn of_one_field(id: u64, value: f32) -> Point {
    let payload = Payload::parse(&format!("{{\"t\": \"w{}\"}}", value as u64)).unwrap();
    Point::new(id).with_vector("v", vec![value]).with_payload(payload)
}

/// What is written besides a few points.
#[derive(Clone, Copy, PartialEq)]
enum Scenario {
    Plain,
    /// As many points as codes need, and training queries.
    Codes,
}

/// Writes, seals and merges until a fault stops it; `expected` follows what was acknowledged.
fn work(database: &Database, scenario: Scenario, expected: &mut Expected) -> lanner::Result<()> {
    let compression = "lvq8/f16".parse()?;
    let field = VectorField::single(1, Metric::Dot).compressed(compression);
    let config = CollectionConfig::new()
        .with_field("v", field)
        .with_field("w", VectorField::sparse())
        .with_text("t", TextField::new(["t"]));
    let collection = database.create_collection("c", config)?;
    if scenario == Scenario::Codes {
        let many: Vec<Point> = (1000..2100).map(|id| point(id, (id - 1000) as f32)).collect();
        collection.upsert(many.clone())?;
        expected.extend(many.into_iter().map(|point| (point.id.clone(), point)));
        for queries in [vec![1.0, 2.0], vec![3.0]] {
            collection.set_training_queries("v", &MultiVector::from_flat(1, queries)?)?;
        }
    }
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
    collection.optimize()?;
    let coded = collection.info().segments.iter().any(|segment| !segment.codecs.is_empty());
    assert_eq!(coded, scenario == Scenario::Codes);
    Ok(())
}

fn check(root: &Path, expected: &Expected) {
    let database = Database::open(root).unwrap();
    let Ok(collection) = database.collection("c") else {
        assert!(expected.is_empty(), "the fault hit before the collection was there");
        assert!(database.collections().is_empty(), "and it is not there by half");
        return;
    };
    let read = || {
        let page = collection.scroll(None, 10_000, Include::ALL).unwrap();
        page.points.into_iter().map(|point| (point.id.clone(), point)).collect::<Expected>()
    };
    assert_eq!(&read(), expected);
    let query = QueryRequest::new("v", vec![1.0]).limit(5);
    let hits = |query| collection.query(query).unwrap().hits;
    assert_eq!(hits(&query), hits(&query.clone().exact()));
    for value in 1..4_u8 {
        let words = TextQuery::words(format!("w{value}"));
        let found = collection.query(&QueryRequest::new("t", words).limit(100)).unwrap().hits;
        let found: Vec<&PointId> = found.iter().map(|hit| &hit.point.id).collect();
        let same = |point: &&Point| point.vectors["v"] == vec![f32::from(value)].into();
        let same: Vec<&PointId> = expected.values().filter(same).map(|point| &point.id).collect();
        assert_eq!(found, same, "points with the word w{value}");
    }
    // What the fault left half-done can be done now.
    collection.upsert([point(100, 5.0)]).unwrap();
    collection.optimize().unwrap();
    collection.delete(vec![100.into()], Durability::Synced).unwrap();
    assert_eq!(&read(), expected);
}

fn operations(scenario: Scenario) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let directory = FaultyDirectory::new(LocalDirectory::new(folder.path()));
    let mut expected = Expected::new();
    let database = open(folder.path(), &directory).unwrap();
    work(&database, scenario, &mut expected).unwrap();
    drop(database);
    check(folder.path(), &expected);
    directory.operations()
}

/// Faults at every `step`th operation.
fn survives(scenario: Scenario, step: usize) {
    let operations = operations(scenario);
    let faults: Vec<u64> = (0..operations).step_by(step).collect();
    assert!(faults.len() > 100, "the faults cover seals and a merge, got {}", faults.len());
    let mut stopped = 0;
    for &fault in &faults {
        let folder = tempfile::tempdir().unwrap();
        let directory = FaultyDirectory::new(LocalDirectory::new(folder.path()));
        directory.fail_from(fault);
        let mut expected = Expected::new();
        if let Ok(database) = open(folder.path(), &directory) {
            // Background merges make a few operations more or less, so the last may not be reached.
            stopped += usize::from(work(&database, scenario, &mut expected).is_err());
        }
        directory.lose_power(|unsynced| unsynced * (fault % 3) / 2).unwrap();
        check(folder.path(), &expected);
    }
    assert!(stopped > faults.len() / 2, "{stopped} of {} faults stopped the work", faults.len());
}

#[test]
fn acknowledged_writes_survive_a_fault_at_any_file_operation() {
    survives(Scenario::Plain, 1);
}

#[test]
fn codes_and_training_queries_survive_faults() {
    // Most operations are writes of rows, one like the other; 17 meets each kind.
    survives(Scenario::Codes, 17);
}

const INDEXED: u64 = 1100;
/// No fewer operations than the publication of an index, the removal of one before it and the copy
/// of the manifest take.
const PUBLICATION: u64 = 40;

fn open_indexed(root: &Path, directory: &FaultyDirectory) -> lanner::Result<Database> {
    let options = DatabaseOptions::new().threads(1).index_rows(1000);
    options.open_with(root, Arc::new(directory.clone()))
}

/// Publishes an index, and then another one in its place. Calls `first` between the two.
fn publish(database: &Database, index: &str, first: impl FnOnce()) -> lanner::Result<()> {
    let field = VectorField::single(1, Metric::L2).compressed("lvq8".parse()?);
    let config = CollectionConfig::new().with_field("v", field.indexed(index.parse()?));
    // Few, so that calibration takes no time.
    let queries = MultiVector::from_flat(1, (0..8).map(|i| 150.3 * i as f32).collect())?;
    let collection =
        database.create_collection_with("c", config, &[("v".into(), queries.into())].into())?;
    collection.upsert((0..INDEXED).map(|id| of_one_field(id, id as f32)))?;
    collection.optimize()?;
    first();
    collection.delete(vec![0.into()], Durability::Synced)?;
    collection.optimize()?;
    assert!(has_index(&collection));
    Ok(())
}

/// Whether an operation comes after the catalog has said what there is, so that what fails there undoes
/// nothing: it serves the copy of the manifest, or removes a folder that was replaced.
fn undoes_nothing(path: &String) -> bool {
    let replaced = ["collections/1/2", "collections/1/3"].contains(&path.as_str());
    path == "collections/1" || path.starts_with("collections/1/manifest-") || replaced
}

fn has_index(collection: &Collection) -> bool {
    let ready = |status: &lanner::IndexStatus| matches!(status, lanner::IndexStatus::Ready { .. });
    let segments = collection.info().segments;
    segments.iter().any(|segment| segment.indexes.values().any(ready))
}

/// Searches that look everywhere find what is there, with the index that is there and with a new
/// one; and no folder is left that nobody names.
fn check_indexed(root: &Path) {
    let directory = FaultyDirectory::new(LocalDirectory::new(root));
    let database = open_indexed(root, &directory).unwrap();
    let collection = database.collection("c").unwrap();
    let count = collection.count();
    assert!([INDEXED, INDEXED - 1].contains(&count), "{count}");
    let query = QueryRequest::new("v", vec![5.2]).limit(9).rerank(1100).search_window(1100);
    let exact = collection.query(&query.clone().exact()).unwrap().hits;
    assert_eq!(collection.query(&query).unwrap().hits, exact);
    collection.optimize().unwrap();
    assert!(has_index(&collection));
    assert_eq!(collection.query(&query).unwrap().hits, exact);
    assert!(collection.verify(|_| {}).is_empty());
    let folders = std::fs::read_dir(root.join("collections/1")).unwrap().count();
    assert_eq!(folders, 4, "queries, a segment, its index, and the copy of the manifest");
}

#[test]
fn indexes_are_published_whole_whatever_operation_fails() {
    for index in ["graph:degree=8:window=20", "ivf:lists=10"] {
        let mut first = 0;
        let end = {
            let folder = tempfile::tempdir().unwrap();
            let directory = FaultyDirectory::new(LocalDirectory::new(folder.path()));
            let database = open_indexed(folder.path(), &directory).unwrap();
            publish(&database, index, || first = directory.operations()).unwrap();
            drop(database);
            let end = directory.operations();
            check_indexed(folder.path());
            end
        };
        // Most operations are writes of rows, one like the other. The last are those of an index.
        let sparse = (first..end - PUBLICATION).step_by(211);
        let faults = (first - PUBLICATION..first).chain(sparse).chain(end - PUBLICATION..end);
        let (mut whole, mut halted) = (0, 0);
        for fault in faults {
            let folder = tempfile::tempdir().unwrap();
            let directory = FaultyDirectory::new(LocalDirectory::new(folder.path()));
            directory.fail_from(fault);
            let database = open_indexed(folder.path(), &directory).unwrap();
            let published = publish(&database, index, || {});
            let refused = directory.refused();
            assert!(!refused.is_empty(), "{index}, fault {fault}");
            let must_fail = !refused.iter().all(undoes_nothing);
            assert_eq!(published.is_err(), must_fail, "{index}, fault {fault}: {refused:?}");
            *if must_fail { &mut halted } else { &mut whole } += 1;
            drop(database);
            directory.lose_power(|unsynced| unsynced * (fault % 3) / 2).unwrap();
            check_indexed(folder.path());
        }
        assert!(whole > 10 && halted > 2 * whole, "{index}: {halted} halted, {whole} whole");
    }
}
