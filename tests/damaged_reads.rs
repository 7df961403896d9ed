//! Vectors and codes that are damaged are no data: neither a score is made of them nor a point.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Random;
use common::images::{files, flip};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, ErrorKind, Metric, MultiVector, Point,
    QueryRequest, QueryResponse, Vector, VectorField,
};

const DIMENSION: usize = 64;
const ROWS: u64 = 4_000;

fn vector(random: &mut Random, is_multi: bool) -> Vector {
    match is_multi {
        false => random.vector(DIMENSION).into(),
        true => MultiVector::from_flat(DIMENSION, random.vector(2 * DIMENSION)).unwrap().into(),
    }
}

fn build(root: &Path, field: VectorField, is_multi: bool) {
    let database = DatabaseOptions::new().index_rows(u32::MAX).open(root).unwrap();
    let config = CollectionConfig::new().with_field("v", field);
    let collection = database.create_collection("c", config).unwrap();
    let mut random = Random::new(3);
    for first in (0..ROWS).step_by(1_000) {
        let points = (first..first + 1_000)
            .map(|id| Point::new(id).with_vector("v", vector(&mut random, is_multi)));
        collection.upsert(points).unwrap();
    }
    collection.flush().unwrap();
}

fn ask(collection: &Collection, is_multi: bool) -> Vec<lanner::Result<QueryResponse>> {
    let mut random = Random::new(4);
    let ask = |exact| {
        let request = QueryRequest::new("v", vector(&mut random, is_multi));
        collection.query(&if exact { request.exact() } else { request })
    };
    [true, false].into_iter().cycle().take(20).map(ask).collect()
}

/// Flips the highest bit of an exponent in the middle of a file, and compares what queries answer.
fn check(root: &Path, is_multi: bool, file: &str, what: &str) {
    let database = Database::open(root).unwrap();
    let collection = database.collection("c").unwrap();
    let sound: Vec<QueryResponse> =
        ask(&collection, is_multi).into_iter().collect::<lanner::Result<_>>().unwrap();
    drop((collection, database));
    let paths = files(&root.join("collections"));
    let path: &PathBuf = paths.iter().find(|path| path.ends_with(file)).unwrap();
    let middle = fs::metadata(path).unwrap().len() as usize / 2;
    flip(path, middle | 3, 6);
    let database = Database::open(root).unwrap();
    let collection = database.collection("c").unwrap();
    let mut named = 0;
    for (answer, sound) in ask(&collection, is_multi).into_iter().zip(&sound) {
        match answer {
            Ok(answer) => assert_eq!(answer.hits, sound.hits, "{what}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupted, "{what}");
                assert!(error.to_string().contains(file), "{what}: {error}");
                named += 1;
            }
        }
    }
    assert!(named > 0, "{what}: no query met it");
    assert!(collection.problem().unwrap().contains(file), "{what}: it was noted");
}

#[test]
fn queries_that_meet_damage_fail_and_name_it() {
    for (compression, file) in [
        ("none", "field-0.sec"),
        ("lvq8", "field-0.sec"),
        ("lvq8", "codes-0.sec"),
        ("lvq8/f16/drop-raw", "secondary-0.sec"),
        ("lvq8/lvq8/drop-raw", "secondary-0.sec"),
    ] {
        for is_multi in [false, true] {
            let field = match is_multi {
                false => VectorField::single(DIMENSION, Metric::Dot),
                true => {
                    let encoding = "fde:repetitions=2:planes=2".parse().unwrap();
                    VectorField::multi(DIMENSION, Metric::Dot).encoded(encoding)
                }
            };
            // Encodings of vectors without structure find too little: all vectors are scored.
            if is_multi && file == "codes-0.sec" {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let compression = match (is_multi, compression) {
                (true, "lvq8/lvq8/drop-raw") => "auto/lvq8/drop-raw",
                (_, compression) => compression,
            };
            build(folder.path(), field.compressed(compression.parse().unwrap()), is_multi);
            check(folder.path(), is_multi, file, &format!("{compression}, multi: {is_multi}"));
        }
    }
}
