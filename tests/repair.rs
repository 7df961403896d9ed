//! Repairs: what is sound stays, what is missing is said, and nothing of one collection, of another
//! folder or of somebody else gets in its way.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::images::{copy_folder, crash_image, files, flip, points, read};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, ErrorKind, Metric, Point,
    RepairReport, VectorField,
};
use lanner_storage::{CommitFault, CommitFaults};

fn config() -> CollectionConfig {
    CollectionConfig::new().with_field("v", VectorField::single(4, Metric::Dot))
}

fn write(collection: &Collection, ids: std::ops::Range<u64>) {
    let point = |id| Point::new(id).with_vector("v", vec![1.0, 2.0, 3.0, id as f32]);
    collection.upsert(ids.map(point)).unwrap();
}

/// Collections `a` and `b` as a kill leaves them: each with a segment, and with writes behind it.
fn image() -> (tempfile::TempDir, [Vec<Point>; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let found = ["a", "b"].map(|name| {
        let collection = database.create_collection(name, config()).unwrap();
        write(&collection, 0..100);
        collection.flush().unwrap();
        write(&collection, 100..150);
        points(&collection).unwrap()
    });
    (crash_image(folder.path()), found)
}

fn copies(root: &Path, id: u32) -> Vec<PathBuf> {
    let manifests = files(&root.join(format!("collections/{id}"))).into_iter();
    manifests.filter(|path| path.ends_with("manifest.sec")).collect()
}

fn assert_whole(root: &Path, expected: &[Vec<Point>; 2], what: &str) {
    for (name, expected) in ["a", "b"].iter().zip(expected) {
        let found = read(root, name).unwrap_or_else(|error| panic!("{what}: {name}: {error}"));
        assert!(&found == expected, "{what}: {name}: {} points", found.len());
    }
}

/// Puts something where it does not belong.
type Stray = fn(&Path);

/// What was not written by a collection itself is no part of it.
#[test]
fn copies_of_other_collections_change_nothing() {
    let (image, expected) = image();
    let strays: [(&str, Stray); 3] = [
        ("the folder again under another number", |root| {
            copy_folder(&root.join("collections/1"), &root.join("collections/9"));
        }),
        ("the copy of another one's manifest", |root| {
            let from = copies(root, 1).pop().unwrap();
            let name = from.parent().unwrap().file_name().unwrap().to_owned();
            let other = copies(root, 2).pop().unwrap();
            let to = other.parent().unwrap().parent().unwrap().join(name);
            fs::create_dir_all(&to).unwrap();
            fs::copy(from, to.join("manifest.sec")).unwrap();
            let newer = to.with_file_name("manifest-99");
            fs::create_dir(&newer).unwrap();
            fs::copy(other, newer.join("manifest.sec")).unwrap();
        }),
        ("copies that changed places", |root| {
            let [one, two] = [1, 2].map(|id| copies(root, id).pop().unwrap());
            let first = fs::read(&one).unwrap();
            fs::copy(&two, &one).unwrap();
            fs::write(&two, first).unwrap();
        }),
    ];
    for (what, stray) in strays {
        for is_opened_first in [false, true] {
            let damaged = crash_image(image.path());
            stray(damaged.path());
            if is_opened_first {
                assert_whole(damaged.path(), &expected, what);
            }
            let report = Database::repair(damaged.path()).unwrap();
            let lost: Vec<&String> = report
                .collections
                .iter()
                .filter(|of| ["a", "b"].contains(&&*of.name))
                .flat_map(|of| &of.missing)
                .collect();
            assert!(lost.is_empty(), "{what}: {lost:?}");
            assert_whole(damaged.path(), &expected, what);
            let again = Database::repair(damaged.path()).unwrap();
            assert_eq!(again, RepairReport::default(), "{what}");
        }
    }
}

/// Whichever table of the catalog is damaged, no deleted collection takes the place of a living one.
#[test]
fn deleted_collections_do_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    {
        let database = Database::open(folder.path()).unwrap();
        for name in ["docs", "secret"] {
            let collection = database.create_collection(name, config()).unwrap();
            write(&collection, 0..5);
            collection.flush().unwrap();
        }
    }
    let database = Database::open(folder.path()).unwrap();
    for name in ["secret", "docs"] {
        database.delete_collection(name).unwrap();
    }
    let collection = database.create_collection("docs", config()).unwrap();
    write(&collection, 100..131);
    collection.flush().unwrap();
    let expected = points(&collection).unwrap();
    drop((collection, database));
    drop(Database::open(folder.path()).unwrap());
    let image = crash_image(folder.path());
    let tables = files(&image.path().join("catalog")).into_iter();
    let tables: Vec<PathBuf> = tables
        .filter(|path| path.extension().is_some_and(|extension| extension == "sst"))
        .map(|path| path.strip_prefix(image.path()).unwrap().to_owned())
        .collect();
    assert!(tables.len() > 1, "{tables:?}");
    for table in tables {
        let damaged = crash_image(image.path());
        flip(&damaged.path().join(&table), 60, 0);
        Database::repair(damaged.path()).unwrap();
        {
            let database = Database::open(damaged.path()).unwrap();
            let names: Vec<String> =
                database.collections().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["docs"], "{table:?}");
            assert_eq!(points(&database.collection("docs").unwrap()).unwrap(), expected);
        }
        assert_eq!(Database::repair(damaged.path()).unwrap(), RepairReport::default());
    }
}

#[test]
fn a_repair_that_was_cut_short_is_gone_on_with() {
    let (image, expected) = image();
    let notes = image.path().join("repair.json");
    let noted = r#"{"catalog": ["a bit"], "collections": [
        {"name": "a", "done": [], "missing": ["writes 7 to 8"]},
        {"name": "gone", "done": ["deleted it, as it was before"], "missing": []}]}"#;
    fs::write(&notes, noted).unwrap();
    let error = Database::open(image.path()).err().unwrap();
    assert!(error.to_string().contains("a repair was cut short"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Corrupted);
    let report = Database::repair(image.path()).unwrap();
    assert_eq!(report.catalog[0], "a bit");
    let of = |name: &str| report.collections.iter().find(|of| of.name == name).unwrap();
    assert_eq!(of("a").missing[0], "writes 7 to 8");
    assert_eq!(of("gone").done, ["deleted it, as it was before"]);
    assert!(!notes.exists());
    assert_whole(image.path(), &expected, "after it");
    // Notes that are damaged say at least that there were some.
    fs::write(&notes, "{").unwrap();
    assert!(Database::open(image.path()).is_err());
    let report = Database::repair(image.path()).unwrap();
    assert!(report.catalog[0].contains("notes of an earlier repair"), "{:?}", report.catalog);
    assert_whole(image.path(), &expected, "after damaged notes");
}

/// The process dies behind the commit of a deletion, before it is promised.
#[test]
fn a_deletion_that_was_cut_short_is_finished() {
    let (image, _) = image();
    let promise = image.path().join("committed/1");
    let before = fs::read(&promise).unwrap();
    let killed = {
        let faults = CommitFaults::default();
        let options = DatabaseOptions::new().commit_faults(faults.clone());
        let database = options.open(image.path()).unwrap();
        // The deletion is committed, and that its files are gone is not.
        faults.fail(1, 1, CommitFault::Before);
        database.delete_collection("a").unwrap();
        crash_image(image.path())
    };
    fs::write(killed.path().join("committed/1"), &before).unwrap();
    for opening in 0..3 {
        let database = Database::open(killed.path()).unwrap();
        let names: Vec<String> = database.collections().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["b"], "opening {opening}");
    }
}

#[test]
fn what_keeps_one_collection_from_being_repaired_is_said_and_no_other_suffers() {
    let (image, [of_a, _]) = image();
    fs::remove_dir_all(image.path().join("collections/2")).unwrap();
    fs::write(image.path().join("collections/2"), "no folder").unwrap();
    // A newer copy of `a` that is damaged stands where the repaired one is to be written.
    let newest = copies(image.path(), 1).pop().unwrap();
    let version: u64 = {
        let name = newest.parent().unwrap().file_name().unwrap().to_str().unwrap();
        name.strip_prefix("manifest-").unwrap().parse().unwrap()
    };
    let next = image.path().join(format!("collections/1/manifest-{}", version + 1));
    fs::create_dir(&next).unwrap();
    fs::write(next.join("manifest.sec"), "damaged").unwrap();
    let segment = files(&image.path().join("collections/1"))
        .into_iter()
        .find(|path| path.ends_with("points.sec"))
        .unwrap();
    fs::write(segment, "cut").unwrap();

    let report = Database::repair(image.path()).unwrap();
    let of = |name: &str| report.collections.iter().find(|of| of.name == name).unwrap();
    assert!(of("a").missing.iter().any(|line| line.contains("a segment of 100 rows")));
    let failed = report.collections.iter().find(|of| of.name != "a").unwrap();
    assert!(failed.missing.iter().any(|line| line.contains("could not be repaired")), "{failed:?}");
    let found = read(image.path(), "a").unwrap();
    assert_eq!(found, of_a[100..], "what was not in the damaged segment");
}

/// The copy of a segment's entry, and the file that names the format, can be made of what there is.
#[test]
fn what_can_be_made_again_is() {
    let (image, expected) = image();
    let entry = files(image.path()).into_iter().find(|path| path.ends_with("entry.sec")).unwrap();
    flip(&entry, 30, 3);
    let report = Database::repair(image.path()).unwrap();
    let [of_a] = &report.collections[..] else { panic!("{report:?}") };
    assert!(of_a.missing.is_empty() && of_a.done[0].contains("entry.sec"), "{of_a:?}");
    assert_eq!(Database::repair(image.path()).unwrap(), RepairReport::default());

    for text in [Some("lanner datXbase\nformat 2\n"), None] {
        let file = image.path().join("LANNER");
        fs::remove_file(&file).unwrap();
        text.into_iter().for_each(|text| fs::write(&file, text).unwrap());
        assert!(Database::open(image.path()).is_err());
        let report = Database::repair(image.path()).unwrap();
        assert!(report.catalog[0].contains("LANNER"), "{report:?}");
        assert_whole(image.path(), &expected, "with a file LANNER again");
    }
    // A folder that is none of ours stays so.
    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("photo.jpg"), "x").unwrap();
    assert!(Database::repair(foreign.path()).is_err());
    assert_eq!(fs::read_dir(foreign.path()).unwrap().count(), 1);
}

#[test]
fn files_of_others_are_never_removed() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    for ids in [0..100, 100..200] {
        write(&collection, ids);
        collection.flush().unwrap();
    }
    let notes = files(folder.path())
        .into_iter()
        .filter(|path| path.ends_with("points.sec") || path.ends_with("manifest.sec"))
        .map(|path| path.with_file_name("note.txt"));
    let notes: Vec<PathBuf> = notes.collect();
    assert!(notes.len() >= 3, "{notes:?}");
    notes.iter().for_each(|note| fs::write(note, "mine").unwrap());
    collection.optimize().unwrap();
    write(&collection, 200..300);
    collection.flush().unwrap();
    drop((collection, database));
    let database = Database::open(folder.path()).unwrap();
    database.delete_collection("c").unwrap();
    let left = files(folder.path()).into_iter().filter(|path| path.ends_with("note.txt")).count();
    assert_eq!(left, notes.len());
    assert!(files(folder.path()).iter().all(|path| !path.ends_with("points.sec")));
}
