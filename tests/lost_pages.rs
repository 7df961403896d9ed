//! A disk that loses parts of mapped files: an error of the collection that needs them, and never
//! the end of the process, a wrong answer, or a segment made of what could not be read.

mod common;

use std::fs;
use std::path::PathBuf;

use common::Random;
use common::images::{files, truncate};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, ErrorKind, Include,
    Metric, Payload, Point, QueryRequest, VectorField,
};

const POINTS: u64 = 2000;

fn create(database: &Database, name: &str) -> Collection {
    let field = VectorField::single(64, Metric::Dot).compressed("lvq8".parse().unwrap());
    let config = CollectionConfig::new().with_field("v", field);
    let collection = database.create_collection(name, config).unwrap();
    let mut random = Random::new(1);
    let payload = || Payload::parse(&format!("{{\"text\":\"{}\"}}", "x".repeat(100))).unwrap();
    let points = (0..POINTS)
        .map(|id| Point::new(id).with_vector("v", random.vector(64)).with_payload(payload()));
    collection.upsert(points).unwrap();
    collection.optimize().unwrap();
    collection
}

/// What needs most of the file, and fails if it is lost.
fn read(collection: &Collection, file: &str) -> lanner::Result<()> {
    let query = QueryRequest::new("v", vec![1.0; 64]).limit(10);
    match file {
        "field-0.sec" => collection.query(&query.exact()).map(drop),
        "codes-0.sec" => collection.query(&query).map(drop),
        _ => collection.scroll(None, 5000, Include { payload: true, vectors: false }).map(drop),
    }
}

#[test]
fn a_lost_page_is_an_error_of_its_collection() {
    for file in ["field-0.sec", "codes-0.sec", "points.sec"] {
        let folder = tempfile::tempdir().unwrap();
        let open = || DatabaseOptions::new().threads(2).open(folder.path()).unwrap();
        let database = open();
        let (collection, other) = (create(&database, "c"), create(&database, "other"));
        read(&collection, file).unwrap();
        let in_first = |path: &PathBuf| path.starts_with(folder.path().join("collections/1"));
        let path =
            files(folder.path()).into_iter().find(|path| path.ends_with(file) && in_first(path));
        let path = path.unwrap();
        let sound = fs::read(&path).unwrap();
        // What lies behind the end of a file cannot be read, as in a bad sector.
        truncate(&path, 8192);
        for _ in 0..2 {
            let error = read(&collection, file).unwrap_err();
            assert!(error.to_string().contains(file), "{error}");
            assert_eq!(error.kind(), ErrorKind::Unavailable);
        }
        let damage = collection.verify(|_| {});
        assert!(damage.iter().any(|error| error.to_string().contains(file)), "{damage:?}");
        collection.delete(vec![1.into()], Durability::Synced).ok();
        assert!(collection.optimize().is_err(), "nothing is made of it");
        for name in ["field-0.sec", "codes-0.sec", "points.sec"] {
            read(&other, name).unwrap();
        }
        assert!(other.verify(|_| {}).is_empty());
        drop((collection, other, database));
        fs::write(&path, &sound).unwrap();
        let database = open();
        let collection = database.collection("c").unwrap();
        read(&collection, file).unwrap();
        assert!(collection.verify(|_| {}).is_empty());
        assert!(collection.count() >= POINTS - 1);
    }
}
