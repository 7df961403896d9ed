//! The life of an index: built in the background beside queries and writes, published whole, kept
//! when the collection is reopened, gone with its segment, and built again when it is damaged.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use common::Random;
use common::clusters::{Clusters, answers, by_id, fill, recall, sources};
use lanner::{
    Collection, CollectionConfig, CollectionInfo, Database, DatabaseOptions, Durability,
    IndexStatus, Metric, Point, QueryRequest, Vector, VectorField,
};

const DIMENSION: usize = 32;

/// Codes of a fixed kind: two collections of the same points have the same.
fn config(index: &str) -> CollectionConfig {
    let field = VectorField::single(DIMENSION, Metric::L2).compressed("lvq8".parse().unwrap());
    CollectionConfig::new().with_field("v", field.indexed(index.parse().unwrap()))
}

fn open(folder: &Path) -> Database {
    DatabaseOptions::new().index_rows(1000).open(folder).unwrap()
}

fn status(info: &CollectionInfo) -> Option<IndexStatus> {
    info.segments.iter().find_map(|segment| segment.indexes.get("v").cloned())
}

fn is_ready(collection: &Collection) -> bool {
    matches!(status(&collection.info()), Some(IndexStatus::Ready { .. }))
}

fn requests(queries: &[Vec<f32>]) -> Vec<QueryRequest> {
    queries.iter().map(|query| QueryRequest::new("v", query.clone()).explain()).collect()
}

fn hits(collection: &Collection, queries: &[Vec<f32>]) -> Vec<Vec<lanner::Hit>> {
    answers(collection, &requests(queries)).into_iter().map(|answer| answer.hits).collect()
}

/// The numbered folders of the first collection, and the files in them; there are no others but the
/// copy of the manifest.
fn files(folder: &Path) -> Vec<(u64, Vec<String>)> {
    let names = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let root = folder.join("collections/1");
    let number = |name: &String| name.parse().unwrap_or_else(|_| panic!("leftover {name}"));
    let (copies, folders): (Vec<String>, Vec<String>) =
        names(&root).into_iter().partition(|name| name.starts_with("manifest-"));
    assert_eq!(copies.len(), 1, "{copies:?}");
    let mut files: Vec<(u64, Vec<String>)> =
        folders.iter().map(|name| (number(name), names(&root.join(name)))).collect();
    files.sort();
    files
}

fn index_file(folder: &Path) -> PathBuf {
    let files = files(folder);
    let (number, _) = files.iter().find(|(_, names)| names == &["index.sec"]).unwrap();
    folder.join(format!("collections/1/{number}/index.sec"))
}

#[test]
fn until_an_index_is_there_queries_scan_and_afterwards_they_search() {
    let mut random = Random::new(1);
    let clusters = Clusters::new(&mut random, 60, DIMENSION);
    let points = clusters.points(&mut random, 0..6000);
    let queries = clusters.vectors(&mut random, 10);
    for index in ["graph", "ivf", "auto"] {
        let folder = tempfile::tempdir().unwrap();
        let database = open(folder.path());
        let flat = database.create_collection("flat", config("flat")).unwrap();
        fill(&flat, &points);
        flat.optimize().unwrap();
        let scanned = hits(&flat, &queries);
        let collection = database.create_collection("c", config(index)).unwrap();
        fill(&collection, &points);
        collection.flush().unwrap();
        let (mut scans, mut last) = (0, None);
        while !is_ready(&collection) {
            for (answer, expected) in answers(&collection, &requests(&queries)).iter().zip(&scanned)
            {
                if sources(answer, "search").is_empty() {
                    scans += 1;
                    assert_eq!(&answer.hits, expected, "{index}");
                    assert_eq!(answer.estimated_recall, None, "nothing is measured yet");
                }
            }
            let now = status(&collection.info());
            if let Some(IndexStatus::Building { done, total, seconds }) = now {
                assert!(done <= total && seconds >= 0.0, "{index}: {done} of {total}");
            }
            assert!(now.is_some(), "it waits, is built, or is there");
            last = now.or(last);
        }
        assert!(scans > 0, "{index}: some queries came first");
        println!("{index}: {scans} scans, {last:?}");
        for answer in answers(&collection, &requests(&queries)) {
            assert_eq!(sources(&answer, "search").len(), 1);
        }
    }
}

#[test]
fn a_merge_that_inserts_into_a_graph_keeps_its_promise() {
    let mut random = Random::new(11);
    let clusters = Clusters::new(&mut random, 60, DIMENSION);
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let collection = database.create_collection("c", config("graph")).unwrap();
    let points = clusters.points(&mut random, 0..8000);
    fill(&collection, &points[..6000]);
    collection.optimize().unwrap();

    // A seventh of its rows is gone when the others come.
    let gone: Vec<lanner::PointId> = (0..6000).step_by(7).map(lanner::PointId::from).collect();
    collection.delete(gone.clone(), Durability::Synced).unwrap();
    fill(&collection, &points[6000..]);
    collection.optimize().unwrap();
    assert_eq!(collection.info().segments.iter().filter(|s| s.number.is_some()).count(), 1);
    let queries = clusters.vectors(&mut random, 100);
    let found = answers(&collection, &requests(&queries));
    for found in &found {
        assert!(!sources(found, "search").is_empty(), "by the graph");
        assert!(found.hits.iter().all(|hit| !gone.contains(&hit.point.id)), "{:?}", found.hits);
    }
    let mean = recall(&collection, &queries, |query| query);
    let promised = f64::from(found[0].estimated_recall.unwrap());
    assert!(mean >= 0.98 - 0.01 && promised <= mean + 0.01, "{mean} of {promised}");
}

#[test]
fn a_build_says_how_far_it_is() {
    let mut random = Random::new(2);
    let clusters = Clusters::new(&mut random, 60, DIMENSION);
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().index_rows(1000).segment_bytes(1).open(folder.path());
    let database = database.unwrap();
    // Two segments that are not merged, and are built slowly: one has to wait.
    let collection = database.create_collection("c", config("graph:degree=64:window=400")).unwrap();
    for first in [0, 4000] {
        fill(&collection, &clusters.points(&mut random, first..first + 4000));
        collection.flush().unwrap();
    }
    let (mut waiting, mut shares) = (false, Vec::new());
    loop {
        let info = collection.info();
        let statuses: Vec<&IndexStatus> =
            info.segments.iter().filter_map(|segment| segment.indexes.get("v")).collect();
        assert_eq!(statuses.len(), 2, "{info:?}");
        let ready = |status: &&IndexStatus| matches!(status, IndexStatus::Ready { .. });
        if statuses.iter().all(ready) {
            break;
        }
        waiting |= statuses.contains(&&IndexStatus::Waiting);
        for status in statuses {
            if let IndexStatus::Building { done, total, .. } = *status
                && total > 0
            {
                shares.push(done as f64 / total as f64);
                assert_eq!(status.remaining_seconds().is_some(), done > 0, "{status:?}");
            }
        }
        std::thread::yield_now();
    }
    assert!(waiting, "the second waits for the first");
    let part = shares.iter().filter(|share| (0.01..0.99).contains(*share)).count();
    assert!(part > 2 && shares.iter().all(|share| *share <= 1.0), "{shares:?}");
    collection.optimize().unwrap();
}

#[test]
fn an_index_is_kept_when_the_collection_is_reopened() {
    let mut random = Random::new(3);
    let clusters = Clusters::new(&mut random, 40, DIMENSION);
    let queries = clusters.vectors(&mut random, 50);
    for index in ["graph", "ivf"] {
        let folder = tempfile::tempdir().unwrap();
        let before = {
            let database = open(folder.path());
            let collection = database.create_collection("c", config(index)).unwrap();
            fill(&collection, &clusters.points(&mut random, 0..3000));
            collection.optimize().unwrap();
            assert!(is_ready(&collection));
            (hits(&collection, &queries), files(folder.path()), status(&collection.info()))
        };
        assert_eq!(before.1.len(), 2, "a segment and its index: {:?}", before.1);
        for _ in 0..2 {
            let database = open(folder.path());
            let collection = database.collection("c").unwrap();
            let answers = answers(&collection, &requests(&queries));
            assert!(answers.iter().all(|answer| sources(answer, "search").len() == 1));
            assert_eq!(answers.into_iter().map(|a| a.hits).collect::<Vec<_>>(), before.0);
            collection.optimize().unwrap();
            assert_eq!(files(folder.path()), before.1, "nothing was built again");
            assert_eq!(status(&collection.info()), before.2);
        }
    }
}

#[test]
fn merges_and_deletions_take_indexes_away() {
    let mut random = Random::new(4);
    let clusters = Clusters::new(&mut random, 40, DIMENSION);
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let collection = database.create_collection("c", config("graph")).unwrap();
    for first in [0, 1500] {
        fill(&collection, &clusters.points(&mut random, first..first + 1500));
        collection.optimize().unwrap();
        let indexes = files(folder.path());
        let indexes = indexes.iter().filter(|(_, names)| names == &["index.sec"]);
        assert_eq!(indexes.count(), 1, "{:?}", files(folder.path()));
    }
    let before = files(folder.path());
    // Enough for the segment to be rewritten, by itself.
    let gone = (0..1000_u64).map(Into::into).collect();
    collection.delete(gone, Durability::Synced).unwrap();
    collection.optimize().unwrap();
    let after = files(folder.path());
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(after[0].0 > before[1].0, "segment and index are new: {before:?} {after:?}");
    assert!(is_ready(&collection));

    // Too few are left for an index.
    let gone = (1000..2500_u64).map(Into::into).collect();
    collection.delete(gone, Durability::Synced).unwrap();
    collection.optimize().unwrap();
    assert_eq!(files(folder.path()).len(), 1);
    assert_eq!(status(&collection.info()), None);

    fill(&collection, &clusters.points(&mut random, 5000..9000));
    collection.flush().unwrap();
    // An index is being built now, or will be.
    database.delete_collection("c").unwrap();
    assert!(!folder.path().join("collections/1").exists());
    drop(collection);
    drop(database);
    assert!(open(folder.path()).collections().is_empty());
}

#[test]
fn a_build_that_is_cut_short_is_started_again() {
    let mut random = Random::new(5);
    let clusters = Clusters::new(&mut random, 40, DIMENSION);
    let folder = tempfile::tempdir().unwrap();
    let slow = "graph:degree=64:window=1000";
    let database = open(folder.path());
    let collection = database.create_collection("c", config(slow)).unwrap();
    fill(&collection, &clusters.points(&mut random, 0..5000));
    collection.flush().unwrap();
    let building = |collection: &Collection| {
        matches!(status(&collection.info()), Some(IndexStatus::Building { done: 1.., .. }))
    };
    while !building(&collection) {
        std::thread::yield_now();
    }
    drop(collection);
    // Does not wait for the end of the build.
    drop(database);
    assert_eq!(files(folder.path()).len(), 1, "nothing is left of it");
    // What a process that was killed may leave.
    fs::create_dir(folder.path().join("collections/1/77.tmp")).unwrap();
    fs::create_dir(folder.path().join("collections/1/78")).unwrap();
    fs::write(folder.path().join("collections/1/78/index.sec"), "half").unwrap();

    let database = open(folder.path());
    let collection = database.collection("c").unwrap();
    assert_eq!(files(folder.path()).iter().filter(|(number, _)| *number >= 77).count(), 0);
    // A merge stops the build of what it takes apart.
    while !building(&collection) {
        std::thread::yield_now();
    }
    collection.delete(vec![7.into()], Durability::Synced).unwrap();
    collection.optimize().unwrap();
    assert!(is_ready(&collection));
    assert_eq!(files(folder.path()).len(), 2);
}

/// The sections of a file: name, first byte, length.
fn sections(bytes: &[u8]) -> Vec<(String, usize, usize)> {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let trailer = bytes.len() - 40;
    let (table, len) = (number(trailer), number(trailer + 8));
    bytes[table..table + len]
        .chunks_exact(72)
        .enumerate()
        .map(|(index, entry)| {
            let name = entry[..48].split(|&byte| byte == 0).next().unwrap();
            let at = table + 72 * index;
            (String::from_utf8(name.to_vec()).unwrap(), number(at + 48), number(at + 56))
        })
        .collect()
}

fn check_damage(damage: &[lanner::Error], expected: Option<&str>) {
    assert_eq!(damage.len(), usize::from(expected.is_some()), "{damage:?}");
    for (error, expected) in damage.iter().zip(expected) {
        assert!(matches!(error, lanner::Error::IndexDamaged(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(expected) && text.contains("`optimize` builds"), "{text}");
    }
}

#[test]
fn a_damaged_index_never_harms_and_is_built_again() {
    let mut random = Random::new(6);
    let clusters = Clusters::new(&mut random, 40, DIMENSION);
    let points = clusters.points(&mut random, 0..1500);
    let queries = clusters.vectors(&mut random, 20);
    for index in ["graph:degree=16:window=40", "ivf"] {
        let folder = tempfile::tempdir().unwrap();
        {
            let database = open(folder.path());
            let collection = database.create_collection("c", config(index)).unwrap();
            fill(&collection, &points);
            collection.optimize().unwrap();
        }
        let sound = fs::read(index_file(folder.path())).unwrap();
        // Checksums of blocks are damaged in tests/damage.rs.
        let mut sections = sections(&sound);
        sections.retain(|(name, ..)| name != "block_checksums");
        assert_eq!(sections.len(), if index == "ivf" { 5 } else { 2 }, "{sections:?}");
        let frame =
            [("header", 3, 8), ("table", sound.len() - 100, 8), ("trailer", sound.len() - 9, 4)];
        let frame = frame.map(|(name, first, len)| (name.to_owned(), first, len));
        for (name, first, len) in sections.into_iter().chain(frame) {
            // Elsewhere, opening compares all with its checksum: one damage is as good as another.
            let lazy = ["edges", "list_rows", "list_codes"].contains(&name.as_str());
            let damages = if lazy { &["one bit", "all ones", "noise"][..] } else { &["one bit"] };
            for &damage in damages {
                let mut bytes = sound.clone();
                let section = &mut bytes[first..first + len];
                match damage {
                    "one bit" => section[len / 2] ^= 4,
                    "all ones" => section.fill(0xff),
                    _ => section.iter_mut().for_each(|byte| *byte = random.next() as u8),
                }
                let path = index_file(folder.path());
                fs::write(&path, &bytes).unwrap();
                let database = open(folder.path());
                let collection = database.collection("c").unwrap();
                let found = hits(&collection, &queries);
                assert!(found.iter().flatten().all(|hit| !hit.score.is_nan()));
                // What opening does not find, verification and `optimize` do.
                if damage == "one bit" {
                    let damaged = collection.verify(|_| {});
                    let expected =
                        lazy.then(|| format!("index.sec` is corrupted in section `{name}`"));
                    check_damage(&damaged, expected.as_deref());
                }
                collection.optimize().unwrap();
                assert_ne!(index_file(folder.path()), path, "{index} {name}: built again");
                let found = recall(&collection, &queries, |request| request);
                assert!(found >= 0.9, "{index} {name} {damage}: {found}");
                assert!(is_ready(&collection));
                assert_eq!(files(folder.path()).len(), 2, "the damaged one is gone");
                assert!(collection.verify(|_| {}).is_empty());
                drop(collection);
                drop(database);
                assert_eq!(fs::read(index_file(folder.path())).unwrap(), sound, "the same");
            }
        }
        // A file that is not there.
        fs::remove_file(index_file(folder.path())).unwrap();
        let database = open(folder.path());
        let collection = database.collection("c").unwrap();
        collection.optimize().unwrap();
        assert!(is_ready(&collection), "{index}");
    }
}

#[test]
fn queries_are_right_while_indexes_come_and_segments_go() {
    let mut random = Random::new(7);
    let clusters = Clusters::new(&mut random, 40, DIMENSION);
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let collection = database.create_collection("c", config("auto")).unwrap();
    let points = clusters.points(&mut random, 0..6000);
    // These are deleted before the threads start, and come back in no answer.
    fill(&collection, &points);
    let gone: Vec<_> = points.iter().step_by(10).map(|point| point.id.clone()).collect();
    collection.delete(gone.clone(), Durability::Synced).unwrap();
    let mut live = by_id(&points);
    live.retain(|id, _| !gone.contains(id));
    let queries = clusters.vectors(&mut random, 30);
    let stop = AtomicBool::new(false);
    let check = |collection: &Collection| {
        let (mut asked, mut good, mut searches) = (0, 0, 0);
        while !stop.load(Ordering::Relaxed) {
            for query in &queries {
                let request = QueryRequest::new("v", query.clone()).explain();
                let answer = collection.query(&request).unwrap();
                let exact = collection.query(&request.exact()).unwrap();
                let least = exact.hits[9].score;
                asked += 10;
                good += answer.hits.iter().filter(|hit| hit.score >= least).count();
                searches += usize::from(!sources(&answer, "search").is_empty());
                let query = Vector::from(query.clone());
                for hit in &answer.hits {
                    let point = live.get(&hit.point.id).expect("a point that is there");
                    let score = common::similarity(Metric::L2, &query, &point.vectors["v"]);
                    let close = (f64::from(hit.score) - score).abs() < 1e-3 * (1.0 - score);
                    assert!(close, "{hit:?} {score}");
                }
            }
        }
        (asked, good, searches)
    };
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| check(&collection))).collect();
        for round in 0..3_u64 {
            collection.flush().unwrap();
            collection.optimize().unwrap();
            // Something to merge: another point comes and goes, far from all queries.
            let far = Point::new(10_000 + round).with_vector("v", vec![100.0; DIMENSION]);
            collection.upsert([far]).unwrap();
            collection.flush().unwrap();
            collection.delete(vec![(10_000 + round).into()], Durability::Synced).unwrap();
        }
        collection.optimize().unwrap();
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for (asked, good, searches) in results {
        let recall = good as f64 / asked as f64;
        println!("{asked} hits asked, recall {recall}, {searches} searches");
        assert!(recall >= 0.95 && searches > 0, "{recall} {searches}");
    }
    // Tombstones of rows that are in the index: fewer than a rewrite takes.
    let gone: Vec<_> = live.keys().step_by(7).cloned().collect();
    collection.delete(gone.clone(), Durability::Synced).unwrap();
    // By hand, since a calibration may prefer to scan beside deletions.
    let requests = requests(&queries).into_iter().map(|request| request.search_window(100));
    for answer in answers(&collection, &requests.collect::<Vec<_>>()) {
        assert_eq!((sources(&answer, "search").len(), answer.hits.len()), (1, 10));
        assert!(answer.hits.iter().all(|hit| !gone.contains(&hit.point.id)), "a deleted point");
    }
}
