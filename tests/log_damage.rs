//! Damage to RocksDB's files is named, or makes no difference: nothing is lost in silence, and no
//! segment is deleted because the catalog has lost it.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Random;
use common::images::{crash_image, files, flip, log, points, read, truncate};
use lanner::{Collection, CollectionConfig, Database, ErrorKind, Metric, Point, VectorField};

const DIMENSION: usize = 64;

fn config() -> CollectionConfig {
    let field = VectorField::single(DIMENSION, Metric::Dot).compressed("none".parse().unwrap());
    CollectionConfig::new().with_field("v", field)
}

fn write(collection: &Collection, random: &mut Random, batches: std::ops::Range<u64>) {
    for batch in batches {
        let point =
            |index| Point::new(batch * 20 + index).with_vector("v", random.vector(DIMENSION));
        collection.upsert((0..20).map(point)).unwrap();
    }
}

/// A database as it is after a kill: unsealed writes, or a sealed segment before them.
fn image(sealed: bool) -> (tempfile::TempDir, Vec<Point>) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    let mut random = Random::new(1);
    write(&collection, &mut random, 0..20);
    if sealed {
        collection.flush().unwrap();
        write(&collection, &mut random, 20..24);
    }
    (crash_image(folder.path()), points(&collection).unwrap())
}

/// The segments of the collection, wherever they are.
fn segments(root: &Path) -> usize {
    files(root).iter().filter(|path| path.ends_with("points.sec")).count()
}

/// Damage that was done is an error that names a file of the catalog, or makes no difference.
fn check(root: &Path, expected: &[Point], what: &str) -> bool {
    match read(root, "c") {
        Ok(found) => {
            assert_eq!(found.len(), expected.len(), "{what}");
            assert!(found == expected, "{what}: other points");
            false
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("catalog"), "{what}: {text}");
            assert_eq!(error.kind(), ErrorKind::Corrupted, "{what}: {text}");
            true
        }
    }
}

#[test]
fn a_flipped_bit_of_the_log_is_named() {
    for sealed in [false, true] {
        let (image, expected) = image(sealed);
        let path = log(image.path());
        let sound = fs::read(&path).unwrap();
        let mut random = Random::new(2);
        // The case of the issue, the first header, and the rest at random.
        let places = [sound.len() / 2, sound.len() * 3 / 10, 4, 5, 6].into_iter();
        let places: Vec<usize> = places.chain((0..40).map(|_| random.below(sound.len()))).collect();
        for at in places {
            let damaged = crash_image(image.path());
            let bit = (random.next() % 8) as u8;
            flip(&log(damaged.path()), at, bit);
            assert!(check(damaged.path(), &expected, &format!("byte {at} bit {bit}")));
            assert_eq!(segments(damaged.path()), usize::from(sealed), "no segment is deleted");
        }
    }
}

#[test]
fn a_log_that_lost_its_end_is_not_a_shorter_one() {
    for sealed in [false, true] {
        let (image, expected) = image(sealed);
        let len = fs::metadata(log(image.path())).unwrap().len();
        for cut in [1, 7, 100, 10_000, len / 2, len - 1, len] {
            let damaged = crash_image(image.path());
            truncate(&log(damaged.path()), len - cut);
            assert!(check(damaged.path(), &expected, &format!("{cut} bytes less")));
            assert_eq!(segments(damaged.path()), usize::from(sealed));
        }
        let damaged = crash_image(image.path());
        fs::remove_file(log(damaged.path())).unwrap();
        assert!(check(damaged.path(), &expected, "no log"));
    }
}

#[test]
fn a_write_that_was_never_acknowledged_may_be_cut_short() {
    let (image, expected) = image(false);
    let path = log(image.path());
    let bytes = fs::read(&path).unwrap();
    // The start of a record, as a kill in the middle of a write leaves it.
    let half = crash_image(image.path());
    fs::write(log(half.path()), [&bytes[..], &bytes[..20]].concat()).unwrap();
    assert!(!check(half.path(), &expected, "twenty bytes of a record"));
}

/// Where the pieces of records start in a log of RocksDB.
fn pieces(log: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (Vec::new(), 0);
    while at + 7 <= log.len() {
        let left = (32 << 10) - at % (32 << 10);
        if left < 7 {
            at += left;
            continue;
        }
        starts.push(at);
        at += 7 + usize::from(u16::from_le_bytes([log[at + 4], log[at + 5]]));
    }
    starts
}

#[test]
fn a_damaged_length_does_not_end_the_log() {
    let (image, expected) = image(false);
    let sound = fs::read(log(image.path())).unwrap();
    let starts = pieces(&sound);
    assert!(starts.len() > 20);
    for &start in &starts {
        for bit in [6, 7] {
            let damaged = crash_image(image.path());
            flip(&log(damaged.path()), start + 5, bit);
            let bytes = fs::read(log(damaged.path())).unwrap();
            assert!(check(damaged.path(), &expected, &format!("byte {} bit {bit}", start + 5)));
            assert_eq!(fs::read(log(damaged.path())).unwrap(), bytes, "nothing was changed");
        }
    }
    // Only the write with the damaged length is missing then.
    let damaged = crash_image(image.path());
    flip(&log(damaged.path()), starts[starts.len() - 3] + 5, 6);
    let report = Database::repair(damaged.path()).unwrap();
    assert_eq!(read(damaged.path(), "c").unwrap().len(), expected.len() - 20, "{report:?}");
    assert!(report.collections[0].missing[0].starts_with("writes "), "{report:?}");
}

#[test]
fn a_manifest_that_is_cut_short_takes_no_table_with_it() {
    let (image, expected) = image(false);
    for reopened in 0..3 {
        let tables = |root: &Path| {
            let files = files(&root.join("catalog")).into_iter();
            files.filter(|path| path.extension().is_some_and(|e| e == "sst")).count()
        };
        let manifest = manifest(image.path());
        let len = fs::metadata(image.path().join(&manifest)).unwrap().len();
        for cut in [1, 5, 40, 80, 120] {
            let damaged = crash_image(image.path());
            truncate(&damaged.path().join(&manifest), len - cut);
            let before = tables(damaged.path());
            if check(damaged.path(), &expected, &format!("reopened {reopened}, {cut} bytes less")) {
                assert_eq!(tables(damaged.path()), before, "reopened {reopened}, {cut} bytes less");
            }
            let report = Database::repair(damaged.path()).unwrap();
            assert!(read(damaged.path(), "c").unwrap() == expected, "cut {cut}: {report:?}");
        }
        drop(Database::open(image.path()).unwrap());
    }
}

/// The `MANIFEST` in use, in the folder of a database.
fn manifest(root: &Path) -> PathBuf {
    let name = fs::read_to_string(root.join("catalog/CURRENT")).unwrap();
    Path::new("catalog").join(name.trim_end())
}

#[test]
fn a_manifest_that_lost_its_end_brings_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut random = Random::new(9);
    // What was deleted, and a collection that was, are in tables that the end of the MANIFEST names.
    let database = Database::open(root).unwrap();
    database.create_collection("gone", config()).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    write(&collection, &mut random, 0..15);
    collection.flush().unwrap();
    drop((collection, database));
    let database = Database::open(root).unwrap();
    database.delete_collection("gone").unwrap();
    let collection = database.collection("c").unwrap();
    collection.delete((0..10).map(Into::into).collect(), lanner::Durability::Synced).unwrap();
    write(&collection, &mut random, 20..21);
    collection.flush().unwrap();
    drop((collection, database));
    let database = Database::open(root).unwrap();
    let collection = database.collection("c").unwrap();
    write(&collection, &mut random, 30..31);
    let expected = points(&collection).unwrap();
    assert_eq!(expected.len(), 300 - 10 + 40);
    let image = crash_image(root);
    drop((collection, database));
    let path = manifest(image.path());
    let len = fs::metadata(image.path().join(&path)).unwrap().len();
    let mut refused = 0;
    for left in (1..len).rev().step_by(29) {
        for zeros in [false, true] {
            let damaged = crash_image(image.path());
            let file = damaged.path().join(&path);
            truncate(&file, left);
            if zeros {
                truncate(&file, len);
            }
            let before = files(&damaged.path().join("catalog")).len();
            let what = format!("{left} of {len} bytes, then zeros: {zeros}");
            if check(damaged.path(), &expected, &what) {
                refused += 1;
                let after = files(&damaged.path().join("catalog")).len();
                assert!(after >= before, "{what}: {after} files of {before}");
            }
            let report = Database::repair(damaged.path()).unwrap();
            let found = read(damaged.path(), "c").unwrap();
            assert!(found == expected, "{what}: {} points, {report:?}", found.len());
            assert!(read(damaged.path(), "gone").is_err(), "{what}: {report:?}");
        }
    }
    assert!(refused > 5, "{refused}");
}

#[test]
fn repair_brings_no_deleted_point_back_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    let mut random = Random::new(11);
    for round in 0..3 {
        write(&collection, &mut random, round * 5..round * 5 + 5);
        let ids = (round * 100..round * 100 + 10).map(Into::into).collect();
        collection.delete(ids, lanner::Durability::Synced).unwrap();
        collection.flush().unwrap();
    }
    write(&collection, &mut random, 20..21);
    let expected = points(&collection).unwrap();
    let image = crash_image(folder.path());
    for start in pieces(&fs::read(log(image.path())).unwrap()) {
        let damaged = crash_image(image.path());
        flip(&log(damaged.path()), start + 12, 2);
        let report = Database::repair(damaged.path()).unwrap();
        let found = read(damaged.path(), "c").unwrap();
        // At most the write with the flipped bit is missing, which is told then.
        let told = report.collections.iter().any(|repaired| !repaired.missing.is_empty());
        assert!(found == expected || told, "byte {start}: {} points, {report:?}", found.len());
        let is_deleted = |point: &Point| {
            (0..3).any(|round| (0..10).any(|id| point.id == (round * 100 + id).into()))
        };
        assert!(!found.iter().any(is_deleted), "byte {start}: {} points, {report:?}", found.len());
    }
}

#[test]
fn what_was_deleted_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    for name in ["gone", "kept"] {
        let collection = database.create_collection(name, config()).unwrap();
        write(&collection, &mut Random::new(7), 0..5);
    }
    let before = fs::metadata(log(folder.path())).unwrap().len();
    database.delete_collection("gone").unwrap();
    let image = crash_image(folder.path());
    let after = fs::metadata(log(image.path())).unwrap().len();
    // The record of the deletion is cut off, cut short, damaged, or gone with all of the log.
    for what in ["cut off", "cut short", "damaged", "missing"] {
        let damaged = crash_image(image.path());
        let path = log(damaged.path());
        match what {
            "cut off" => truncate(&path, before),
            "cut short" => truncate(&path, after - 1),
            "damaged" => flip(&path, before as usize + 20, 1),
            _ => fs::remove_file(&path).unwrap(),
        }
        assert!(read(damaged.path(), "gone").is_err(), "{what}");
        Database::repair(damaged.path()).unwrap();
        let database = Database::open(damaged.path()).unwrap();
        assert!(database.collection("gone").is_err(), "{what}, after a repair");
        database.delete_collection("gone").ok();
        drop(database);
        assert!(read(damaged.path(), "gone").unwrap_err().kind() == ErrorKind::NotFound);
        if ["cut short", "damaged"].contains(&what) {
            assert_eq!(read(damaged.path(), "kept").unwrap().len(), 100, "{what}");
        }
    }
    drop(database);
    assert!(
        folder.path().join("committed/1").exists(),
        "it is promised until it is out of the log"
    );
    drop(Database::open(folder.path()).unwrap());
    assert!(!folder.path().join("committed/1").exists());
}

#[test]
fn a_catalog_that_is_missing_is_not_an_empty_one() {
    let (image, expected) = image(true);
    let moved = image.path().join("elsewhere");
    fs::rename(image.path().join("catalog"), &moved).unwrap();
    let error = Database::open(image.path()).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    assert!(error.to_string().contains("the catalog is missing"), "{error}");
    assert_eq!(segments(image.path()), 1);
    fs::rename(moved, image.path().join("catalog")).unwrap();
    assert_eq!(read(image.path(), "c").unwrap(), expected);
}

#[test]
fn every_file_of_the_catalog_may_be_cut_short() {
    let (image, expected) = image(true);
    for path in files(&image.path().join("catalog")) {
        let name = path.strip_prefix(image.path()).unwrap();
        let len = fs::metadata(&path).unwrap().len();
        for left in [len.saturating_sub(1), len / 2, 0] {
            let damaged = crash_image(image.path());
            truncate(&damaged.path().join(name), left);
            check(damaged.path(), &expected, &format!("{} of {len} bytes: {left}", name.display()));
            assert_eq!(segments(damaged.path()), 1);
        }
        let damaged = crash_image(image.path());
        fs::remove_file(damaged.path().join(name)).unwrap();
        check(damaged.path(), &expected, &format!("{} is missing", name.display()));
        assert_eq!(segments(damaged.path()), 1);
    }
}

#[test]
fn repair_keeps_what_is_sound_and_says_what_is_missing() {
    let (image, expected) = image(true);
    let sound = crash_image(image.path());
    assert_eq!(Database::repair(sound.path()).unwrap(), Default::default());
    assert_eq!(read(sound.path(), "c").unwrap(), expected);

    // The middle of the log: some writes before the segment, which are in it, or behind it.
    let len = fs::metadata(log(image.path())).unwrap().len() as usize;
    for at in [len / 10, len / 2, len * 95 / 100] {
        let damaged = crash_image(image.path());
        flip(&log(damaged.path()), at, 3);
        assert!(check(damaged.path(), &expected, "flipped"));
        let report = Database::repair(damaged.path()).unwrap();
        assert!(report.catalog[0].contains(".log"), "{report:?}");
        let found = read(damaged.path(), "c").unwrap();
        assert!(found.len() >= 400 && found.iter().all(|point| expected.contains(point)));
        let missing = expected.len() - found.len();
        let told = report.collections.iter().any(|repaired| !repaired.missing.is_empty());
        assert_eq!(told, missing > 0, "{missing} points are missing: {report:?}");
        assert!(damaged.path().join("lost/catalog-1").exists());
        assert_eq!(Database::repair(damaged.path()).unwrap(), Default::default());
    }

    // No catalog at all: what was sealed comes back by the copy of the manifest.
    let damaged = crash_image(image.path());
    fs::remove_dir_all(damaged.path().join("catalog")).unwrap();
    let report = Database::repair(damaged.path()).unwrap();
    assert_eq!(report.collections[0].name, "c");
    assert_eq!(report.collections[0].missing, ["writes 21 to 24"]);
    assert_eq!(read(damaged.path(), "c").unwrap(), expected[..400]);
    let database = Database::open(damaged.path()).unwrap();
    write(&database.collection("c").unwrap(), &mut Random::new(5), 30..31);
    assert_eq!(database.collection("c").unwrap().count(), 420);
    database.create_collection("d", config()).unwrap();
}

#[test]
fn repair_keeps_what_is_behind_the_damage() {
    let (image, expected) = image(false);
    let len = fs::metadata(log(image.path())).unwrap().len() as usize;
    for at in [len / 10, len / 3, len / 2] {
        let damaged = crash_image(image.path());
        flip(&log(damaged.path()), at, 3);
        let report = Database::repair(damaged.path()).unwrap();
        let found = read(damaged.path(), "c").unwrap();
        assert_eq!(found.len(), expected.len() - 20, "byte {at}: {report:?}");
        assert!(found.iter().all(|point| expected.contains(point)));
    }
}

#[test]
fn repair_reads_a_sound_log_whatever_else_is_damaged() {
    let (image, expected) = image(true);
    let catalog = image.path().join("catalog");
    let manifest = fs::read_to_string(catalog.join("CURRENT")).unwrap();
    let tables: Vec<String> = files(&catalog)
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let named = ["CURRENT", manifest.trim_end()].map(str::to_owned);
    for name in named.iter().chain(&tables) {
        for how in ["removed", "empty", "flipped"] {
            let damaged = crash_image(image.path());
            let path = damaged.path().join("catalog").join(name);
            match how {
                "removed" => fs::remove_file(&path).unwrap(),
                "empty" => truncate(&path, 0),
                _ => flip(&path, fs::metadata(&path).unwrap().len() as usize / 2, 5),
            }
            let report = Database::repair(damaged.path()).unwrap();
            let found = read(damaged.path(), "c").unwrap();
            assert!(found == expected, "{name} {how}: {} points, {report:?}", found.len());
            assert!(!damaged.path().join("catalog.repair").exists());
        }
    }
    // A repair that was cut short between its last two steps.
    let half = crash_image(image.path());
    let catalog = half.path().join("catalog");
    fs::rename(&catalog, half.path().join("catalog.repair")).unwrap();
    Database::repair(half.path()).unwrap();
    assert_eq!(read(half.path(), "c").unwrap(), expected);
    // A file in its place.
    let file = crash_image(image.path());
    fs::remove_dir_all(file.path().join("catalog")).unwrap();
    fs::write(file.path().join("catalog"), "mine").unwrap();
    Database::repair(file.path()).unwrap();
    assert_eq!(read(file.path(), "c").unwrap(), expected[..400]);
    assert_eq!(fs::read_to_string(file.path().join("lost/catalog-1")).unwrap(), "mine");
}

#[test]
fn damage_beside_the_rows_is_found_while_the_collection_is_open() {
    let (image, _) = image(true);
    let database = Database::open(image.path()).unwrap();
    let collection = database.collection("c").unwrap();
    let verify = || collection.verify(|_| ()).iter().map(|e| e.to_string()).collect::<Vec<_>>();
    assert_eq!(verify(), Vec::<String>::new());
    let sections = files(&image.path().join("collections"));
    for path in sections.iter().filter(|path| path.extension().is_some_and(|e| e == "sec")) {
        let len = fs::metadata(path).unwrap().len() as usize;
        let name = path.file_name().unwrap().to_str().unwrap();
        // The header, and the trailer.
        for at in [3, len - 9] {
            flip(path, at, 1);
            let damage = verify();
            assert!(damage.iter().any(|error| error.contains(name)), "{name} {at}: {damage:?}");
            if name == "manifest.sec" {
                // It was written anew meanwhile.
                assert_eq!(verify(), Vec::<String>::new());
                break;
            }
            flip(path, at, 1);
        }
    }
    let copies = fs::read_dir(image.path().join("collections/1")).unwrap();
    let is_copy =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("manifest-");
    let copy = copies.map(|entry| entry.unwrap().path()).find(is_copy).unwrap();
    fs::remove_dir_all(&copy).unwrap();
    assert!(verify()[0].contains("there is no copy of the manifest"));
    assert!(copy.exists(), "it was written anew");
    assert_eq!(verify(), Vec::<String>::new());
    assert!(collection.problem().unwrap().contains("points.sec"), "it was noted");
    assert!(database.problems()[0].starts_with("collection `c`"), "{:?}", database.problems());
}

#[test]
fn repair_takes_damaged_segments_out() {
    let (image, expected) = image(true);
    let ids = files(image.path()).into_iter().find(|path| path.ends_with("points.sec")).unwrap();
    flip(&ids, 70, 0);
    let report = Database::repair(image.path()).unwrap();
    let missing = &report.collections[0].missing;
    assert!(missing.len() == 1 && missing[0].starts_with("a segment of 400 rows"), "{report:?}");
    assert!(missing[0].contains("points.sec"), "{report:?}");
    assert_eq!(read(image.path(), "c").unwrap(), expected[400..]);
    assert_eq!(segments(&image.path().join("lost")), 1, "it is kept");
}

#[test]
fn nothing_that_lanner_did_not_write_is_touched() {
    let (image, expected) = image(true);
    let root = image.path();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("precious"), "mine").unwrap();
    fs::create_dir(root.join("collections/lost+found")).unwrap();
    fs::write(root.join("collections/notes.txt"), "mine").unwrap();
    fs::write(root.join("collections/1/README"), "mine").unwrap();
    fs::create_dir(root.join("collections/1/07")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), root.join("collections/1/9.tmp")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), root.join("collections/5")).unwrap();
    let empty = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(empty.path(), root.join("collections/6")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", root.join("collections/77")).unwrap();
    std::os::unix::fs::symlink("/nonexistent", root.join("collections/1/79.tmp")).unwrap();
    fs::write(root.join("collections/1/0.tmp"), "mine").unwrap();
    fs::create_dir(root.join("collections/1/87.tmp")).unwrap();
    assert_eq!(read(root, "c").unwrap(), expected);
    for kept in
        ["lost+found", "notes.txt", "1/README", "1/07", "5", "6", "77", "1/79.tmp", "1/0.tmp"]
    {
        let path = root.join("collections").join(kept);
        assert!(fs::symlink_metadata(path).is_ok(), "{kept}");
    }
    assert!(!root.join("collections/1/87.tmp").exists(), "a leftover of ours goes");
    let database = Database::open(root).unwrap();
    database.delete_collection("c").unwrap();
    assert!(root.join("collections/1/README").exists() && segments(root) == 0);
    assert_eq!(fs::read_to_string(elsewhere.path().join("precious")).unwrap(), "mine");
}

#[test]
fn a_collection_with_settings_of_a_newer_version_is_unusable_alone() {
    let (image, expected) = image(true);
    {
        let catalog = lanner_storage::Catalog::open(image.path()).unwrap();
        let mut batch = lanner_storage::Batch::new();
        let newer: std::collections::BTreeMap<&str, &str> = [("invented", "later")].into();
        batch.create_collection(2, "newer", &newer).unwrap();
        catalog.commit(batch, lanner_storage::Sync::Yes).unwrap();
    }
    let database = Database::open(image.path()).unwrap();
    let error = database.collection("newer").map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("invented"), "{error}");
    assert_eq!(points(&database.collection("c").unwrap()).unwrap(), expected);
}
