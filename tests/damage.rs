//! Flipped bits and cut files of every kind, RocksDB's included: each is an error that names a
//! file, or makes no difference to any point. No other collection is harmed, and nothing dies.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::Random;
use common::images::{copy_folder, crash_image, files, flip, points, truncate};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, ErrorKind, Filter, Metric, Payload,
    PayloadType, Point, PointId, Query, QueryRequest, SparseVector, TextField, TextQuery,
    VectorField,
};

const POINTS: u64 = 1100;

fn config() -> CollectionConfig {
    let small = VectorField::single(8, Metric::L2).compressed("lvq8:4/lvq8".parse().unwrap());
    let lost =
        VectorField::single(4, Metric::Dot).compressed("lvq8/lvq8/drop-raw".parse().unwrap());
    let encoding = "fde:repetitions=2:planes=2:block=2".parse().unwrap();
    CollectionConfig::new()
        .with_field("codes", lost)
        .with_field("sparse", VectorField::sparse())
        .with_field("tokens", VectorField::multi(4, Metric::Dot).encoded(encoding))
        .with_field("v", small.indexed("graph:degree=8:window=20".parse().unwrap()))
        .with_payload("n", PayloadType::Integer)
        .with_text("words", TextField::new(["t"]))
}

fn sparse(at: usize) -> SparseVector {
    SparseVector::new([at as u32, 60 + at as u32 % 7, 99], [1.0, 0.5 + at as f32, 0.25]).unwrap()
}

fn payload(n: usize, word: usize) -> Payload {
    Payload::parse(&format!("{{\"n\":{n},\"t\":\"w{word} and w{n}\"}}")).unwrap()
}

/// A database with files of every kind, as a kill leaves it: two collections, sealed and indexed
/// rows, deleted ones, training queries, and writes in the journal.
fn image() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().index_rows(1000).open(folder.path()).unwrap();
    let mut random = Random::new(3);
    for name in ["damaged", "sound"] {
        let collection = database.create_collection(name, config()).unwrap();
        let queries = lanner::MultiVector::from_flat(8, random.vector(64)).unwrap();
        collection.set_training_queries("v", queries).unwrap();
        let mut point = |id: u64| {
            let id = if id < 20 { Point::new(id) } else { Point::new(format!("id-{id}")) };
            id.with_vector("v", random.vector(8))
                .with_vector("codes", random.vector(4))
                .with_vector("tokens", random.multi(4, 2))
                .with_vector("sparse", sparse(random.below(50)))
                .with_payload(payload(random.below(9), random.below(5)))
        };
        collection.upsert((0..POINTS).map(&mut point)).unwrap();
        collection.optimize().unwrap();
        collection.delete((0..5).map(Into::into).collect(), Default::default()).unwrap();
        collection.flush().unwrap();
        collection.upsert((POINTS..POINTS + 10).map(&mut point)).unwrap();
    }
    crash_image(folder.path())
}

/// All that a user may read and that no approximation has a part in.
#[derive(Debug, PartialEq)]
struct Content {
    points: Vec<Point>,
    counts: Vec<u64>,
    /// The points with each of some words, with their scores.
    words: Vec<Vec<(PointId, f32)>>,
    /// The best points for some sparse vectors, with their scores.
    sparse: Vec<Vec<(PointId, f32)>>,
}

fn content(collection: &Collection) -> lanner::Result<Content> {
    let filter = |n: i64| Filter::eq("n", n);
    let counts = (0..9).map(|n| collection.count_where(&filter(n))).collect::<Result<_, _>>()?;
    let words = |word: usize| {
        let query = QueryRequest::new("words", TextQuery::words(format!("w{word} and"))).limit(500);
        let hits = collection.query(&query)?.hits;
        Ok(hits.into_iter().map(|hit| (hit.point.id, hit.score)).collect())
    };
    let words = (0..5).map(words).collect::<lanner::Result<_>>()?;
    let best = |at: usize| {
        let query = QueryRequest::new("sparse", Query::Vector(sparse(at).into())).limit(50);
        let hits = collection.query(&query)?.hits;
        Ok(hits.into_iter().map(|hit| (hit.point.id, hit.score)).collect())
    };
    let sparse = (0..50).step_by(9).map(best).collect::<lanner::Result<_>>()?;
    Ok(Content { points: points(collection)?, counts, words, sparse })
}

fn open(root: &Path) -> lanner::Result<Database> {
    // Indexes that are damaged are not built again while this looks.
    DatabaseOptions::new().index_rows(u32::MAX).threads(1).open(root)
}

/// Whether damage to a file was named; if not it made no difference.
fn is_named(root: &Path, file: &Path, expected: &BTreeMap<String, Content>, what: &str) -> bool {
    let in_catalog = file.starts_with("catalog") || file.starts_with("LANNER");
    let names = |text: &str| {
        let name = file.file_name().unwrap().to_str().unwrap();
        text.contains(name) || (in_catalog && text.contains("catalog"))
    };
    let database = match open(root) {
        Ok(database) => database,
        Err(error) => {
            assert!(in_catalog, "{what}: the database does not open: {error}");
            assert!(names(&error.to_string()) || error.to_string().contains("LANNER"), "{error}");
            return true;
        }
    };
    let mut named = false;
    for (name, expected) in expected {
        let harmed = file.starts_with("collections/2") || file.starts_with("committed/2");
        let found = database.collection(name).and_then(|collection| {
            let found = content(&collection)?;
            let damage = collection.verify(|_| {});
            Ok((found, damage))
        });
        match found {
            Ok((found, damage)) => {
                assert!(found == *expected, "{what}: other points in `{name}`");
                for error in damage {
                    assert!(names(&error.to_string()), "{what}: {error}");
                    named = true;
                }
            }
            Err(error) => {
                assert!(in_catalog || (name == "sound") == harmed, "{what}: {name} is harmed");
                assert!(names(&error.to_string()), "{what}: {error}");
                assert_eq!(error.kind(), ErrorKind::Corrupted, "{what}: {error}");
                named = true;
            }
        }
    }
    named
}

fn campaign(seed: u64, trials: usize) {
    let image = image();
    let expected: BTreeMap<String, Content> = {
        let copy = crash_image(image.path());
        let database = open(copy.path()).unwrap();
        let collections = database.collections().into_iter();
        collections.map(|(name, found)| (name, content(&found.unwrap()).unwrap())).collect()
    };
    // Another file than those of `kinds` would be one that nobody has thought of.
    let all = files(image.path());
    let relative = |path: &PathBuf| path.strip_prefix(image.path()).unwrap().to_owned();
    let chosen: Vec<PathBuf> = all.iter().map(relative).filter(|path| is_read(path)).collect();
    assert!(chosen.len() > 30, "{chosen:?}");
    let mut random = Random::new(seed);
    let work = tempfile::tempdir().unwrap();
    let (mut named, mut flips) = (0, 0);
    for trial in 0..trials {
        let file = &chosen[trial % chosen.len()];
        let root = work.path().join(trial.to_string());
        copy_folder(image.path(), &root);
        let path = root.join(file);
        let len = fs::metadata(&path).unwrap().len();
        let what = if random.below(4) == 0 || len == 0 {
            let left = random.below(len as usize + 1) as u64;
            truncate(&path, left);
            format!("{} cut to {left} of {len} bytes", file.display())
        } else {
            flips += 1;
            let (at, bit) = (random.below(len as usize), random.below(8) as u8);
            flip(&path, at, bit);
            format!("{} with bit {bit} of byte {at} flipped", file.display())
        };
        named += usize::from(is_named(&root, file, &expected, &what));
        fs::remove_dir_all(&root).unwrap();
    }
    println!("{trials} trials, {flips} of them flips, in {} files: {named} named", chosen.len());
    assert!(named > trials / 2);
}

/// Files whose content is read: not those that say who owns the folder, or that only people read.
fn is_read(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let unread = ["LOCK", "LOG", "IDENTITY"].contains(&name) || name.starts_with("OPTIONS");
    !unread && !name.starts_with("LOG.old")
}

#[test]
fn damage_is_named_or_makes_no_difference() {
    campaign(1, 150);
}

#[test]
#[ignore = "a long campaign: make test-long"]
fn damage_is_named_or_makes_no_difference_at_length() {
    campaign(2, 10_000);
}
