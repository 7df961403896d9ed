//! A whole database of each format is kept, and opened for ever.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Random;
use common::images::{copy_folder, crash_image, points};
use lanner::{
    Collection, CollectionConfig, Database, Durability, Filter, Metric, MultiVector, Payload,
    PayloadType, Point, QueryRequest, VectorField,
};
use lanner_storage::{LocalDirectory, read_collection_copy};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/database-v2")
}

fn config() -> CollectionConfig {
    let field = VectorField::single(4, Metric::L2).compressed("lvq8/lvq8".parse().unwrap());
    CollectionConfig::new()
        .with_field("tokens", VectorField::multi(2, Metric::Dot).half_precision())
        .with_field("v", field)
        .with_payload("n", PayloadType::Integer)
}

/// Small numbers alone, which no rounding changes.
fn point(random: &mut Random, id: u64) -> Point {
    let mut values = |count: usize| (0..count).map(|_| random.below(64) as f32).collect();
    let (v, tokens): (Vec<f32>, Vec<f32>) = (values(4), values(4));
    let point = if id.is_multiple_of(3) { Point::new(id) } else { Point::new(format!("id-{id}")) };
    let point = point.with_vector("v", v);
    if id.is_multiple_of(5) {
        return point;
    }
    point
        .with_vector("tokens", MultiVector::from_flat(2, tokens).unwrap())
        .with_payload(Payload::parse(&format!("{{\"n\":{}}}", id % 7)).unwrap())
}

/// Sealed rows with codes, deleted ones, and the journal behind them.
fn write(collection: &Collection) {
    let mut random = Random::new(11);
    collection.upsert((0..1100).map(|id| point(&mut random, id))).unwrap();
    collection.optimize().unwrap();
    collection.delete(vec![0.into(), "id-1".into()], Durability::Synced).unwrap();
    collection.flush().unwrap();
    collection.upsert((1100..1110).map(|id| point(&mut random, id))).unwrap();
    collection.delete(vec![3.into()], Durability::Synced).unwrap();
}

#[test]
fn a_database_of_format_2_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let new = database.create_collection("c", config()).unwrap();
    write(&new);
    if std::env::var_os("LANNER_WRITE_FIXTURES").is_some() {
        keep(folder.path());
    }
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&fixture(), copy.path());
    // Generations of settings came later.
    assert_eq!(generations(copy.path()), (1, vec![0]));
    let database = Database::open(copy.path()).unwrap();
    let old = database.collection("c").unwrap();
    assert_eq!(*old.config(), config());
    assert_eq!(old.count(), 1107);
    assert_eq!(points(&old).unwrap(), points(&new).unwrap());
    assert!(old.verify(|_| {}).is_empty());
    let query = || QueryRequest::new("v", vec![5.0; 4]).limit(20).filter(Filter::eq("n", 3));
    let hits = |collection: &Collection, query| collection.query(&query).unwrap().hits;
    assert_eq!(hits(&old, query().exact()), hits(&new, query().exact()));
    assert_eq!(hits(&old, query()).len(), 20);
    // And written.
    old.upsert([point(&mut Random::new(1), 5000)]).unwrap();
    old.optimize().unwrap();
    assert_eq!(old.count(), 1108);
    assert_eq!(generations(copy.path()), (1, vec![1]));
}

/// The generation of the settings, and those that the segments were built with.
fn generations(folder: &Path) -> (u64, Vec<u64>) {
    let directory = LocalDirectory::new(folder);
    let found = read_collection_copy::<CollectionConfig>(&directory, "collections/1", 1).unwrap();
    let manifest = found.0.unwrap().manifest;
    let of_segments = manifest.segments.iter().map(|segment| segment.settings_generation);
    (manifest.settings_generation, of_segments.collect())
}

/// Keeps the files as a kill would leave them, without those that only people read.
fn keep(root: &Path) {
    let image = crash_image(root);
    fs::remove_dir_all(fixture()).ok();
    copy_folder(image.path(), &fixture());
    for entry in fs::read_dir(fixture().join("catalog")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with("LOG") || name.starts_with("OPTIONS") || name == "LOCK" {
            fs::remove_file(path).unwrap();
        }
    }
    fs::remove_file(fixture().join("LOCK")).unwrap();
}
