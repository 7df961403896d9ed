//! What is left after damage, and who may open what.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::Random;
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, Error, ErrorKind, Include,
    Metric, MultiVector, PayloadType, Point, Query, QueryRequest, SparseVector, TextField,
    TextQuery, VectorField,
};
use lanner_storage::{LocalDirectory, SectionFile, SectionInfo};

fn config() -> CollectionConfig {
    CollectionConfig::new()
        .with_field("tokens", tokens().half_precision())
        .with_field("v", VectorField::single(8, Metric::Cosine).compressed(compression()))
        .with_field("w", VectorField::sparse())
        .with_payload("a", PayloadType::Integer)
        .with_payload("k", PayloadType::Keyword)
        .with_text("words", TextField::new(["k"]))
}

fn sparse(at: u32) -> SparseVector {
    SparseVector::new([at, 60 + at % 7, 99], [1.0, 0.5 + at as f32, 0.25]).unwrap()
}

fn tokens() -> VectorField {
    let encoding = "fde:repetitions=2:planes=2:block=2".parse().unwrap();
    VectorField::multi(4, Metric::Dot).encoded(encoding)
}

fn compression() -> lanner::Compression {
    "lvq8:4/lvq8".parse().unwrap()
}

/// What every point has.
const PAYLOAD: &str = "{\"a\":1,\"k\":[\"x\",null]}";

/// Enough for codes.
const POINTS: u64 = 1100;

/// Two collections with one sealed segment each.
fn create(root: &Path) {
    let mut random = Random::new(1);
    let database = Database::open(root).unwrap();
    for name in ["damaged", "sound"] {
        let collection = database.create_collection(name, config()).unwrap();
        let points = (0..POINTS).map(|id| {
            let point = if id < 10 { Point::new(id) } else { Point::new(format!("id-{id}")) };
            point
                .with_vector("v", random.vector(8))
                .with_vector("tokens", random.multi(4, 2))
                .with_vector("w", sparse(id as u32 % 50))
                .with_payload(lanner::Payload::parse(PAYLOAD).unwrap())
        });
        collection.upsert(points).unwrap();
        // The codes of tokens are calibrated when this returns.
        collection.optimize().unwrap();
    }
}

fn section_files(root: &Path) -> Vec<PathBuf> {
    let segment = root.join("collections/1/1");
    let paths = fs::read_dir(&segment).unwrap().map(|entry| entry.unwrap().path());
    // The copy of the manifest's entry is for repairs alone.
    let mut files: Vec<PathBuf> = paths.filter(|path| !path.ends_with("entry.sec")).collect();
    files.sort();
    let what = "points, payload index, text, of two fields vectors and two codes, and of one vectors \
                and an inverted index";
    assert_eq!(files.len(), 11, "{what}");
    files
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// Opens the database and returns why `damaged` is unusable; everything else must work.
fn refusal(root: &Path) -> Error {
    let database = Database::open(root).unwrap();
    let sound = database.collection("sound").unwrap();
    assert_eq!(sound.count(), POINTS);
    assert_eq!(sound.query(&QueryRequest::new("v", vec![1.0; 8])).unwrap().hits.len(), 10);
    sound.upsert([Point::new(1).with_vector("v", vec![1.0; 8])]).unwrap();
    assert_eq!(database.collections().len(), 2, "the damaged one is listed");
    database.collection("damaged").map(drop).unwrap_err()
}

/// Large sections are not read when a collection is opened.
fn is_read_on_demand(section: &SectionInfo) -> bool {
    let large = ["vectors", "primary", "secondary", "payloads"];
    let lists = ["blocks.0", "maxima.0", "ends.0", "postings.0"];
    [large, lists].as_flattened().contains(&section.name.as_str())
}

/// All sections of the first segment of `damaged` that hold something, with their file.
fn sections(root: &Path) -> Vec<(PathBuf, SectionInfo)> {
    let directory = LocalDirectory::new(root);
    let mut found = Vec::new();
    for path in section_files(root) {
        let relative = path.strip_prefix(root).unwrap().to_str().unwrap();
        let file = SectionFile::open(&directory, relative).unwrap();
        let filled = file.sections().iter().filter(|section| section.len > 0);
        found.extend(filled.map(|section| (path.clone(), section.clone())));
    }
    found
}

/// Whether a message names file and section.
fn names(text: &str, path: &Path, section: &SectionInfo) -> bool {
    let named = format!("corrupted in section `{}`", section.name);
    text.contains(path.to_str().unwrap()) && text.contains(&named)
}

#[test]
fn a_flipped_byte_in_a_section_that_numbers_are_taken_from_is_found_at_open() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    let sections = sections(folder.path());
    let (large, small): (Vec<_>, Vec<_>) =
        sections.into_iter().partition(|(_, section)| is_read_on_demand(section));
    // Postings and positions are read on demand, too, but here they fit into a block with their ends,
    // which opening reads.
    assert_eq!((large.len(), small.len()), (11, 52), "{small:?}");
    for (path, section) in small {
        let at = (section.offset + section.len / 2) as usize;
        flip(&path, at);
        let error = refusal(folder.path());
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert!(names(&error.to_string(), &path, &section), "{error}");
        flip(&path, at);
    }
    let database = Database::open(folder.path()).unwrap();
    let collection = database.collection("damaged").unwrap();
    assert_eq!(collection.count(), POINTS, "mended");
    let segment = &collection.info().segments[0];
    let of_index = |status: &lanner::IndexStatus| match status {
        lanner::IndexStatus::Ready { size_bytes, .. } => *size_bytes,
        _ => 0,
    };
    // Calibrations of scans are files of their own.
    let size = segment.size_bytes + segment.indexes.values().map(of_index).sum::<u64>();
    let mut read = 0;
    assert!(collection.verify(|bytes| read += bytes).is_empty());
    assert!(read > size * 9 / 10 && read <= size, "{read} of {size} bytes were verified");
}

/// Everything that reads what may be damaged: it may find nonsense or an error, but no end.
fn read_all(collection: &Collection) {
    for query in [
        QueryRequest::new("v", vec![1.0; 8]).limit(500).with_payload().with_vectors(),
        QueryRequest::new("v", vec![-1.0; 8]).limit(500).exact(),
        QueryRequest::new("v", vec![0.5; 8]).limit(1100).rerank(1100),
        QueryRequest::new("tokens", MultiVector::from_flat(4, vec![1.0; 8]).unwrap()).limit(500),
        QueryRequest::new("v", lanner::PointId::from(5)),
        QueryRequest::new("w", Query::Vector(sparse(3).into())).limit(500),
        QueryRequest::new("words", TextQuery::words("x")).limit(500),
        QueryRequest::new("words", TextQuery::parse("\"x x\" +x*").unwrap()).limit(500),
    ] {
        if let Ok(answer) = collection.query(&query) {
            assert!(answer.hits.iter().all(|hit| !hit.score.is_nan()));
        }
    }
    for id in 0..10 {
        let _ = collection.get(&[id.into()], Include::ALL);
    }
    let _ = collection.scroll(None, 2000, Include::ALL);
    assert_eq!(collection.count(), POINTS, "ids are checked at open");
}

#[test]
fn damage_that_opening_does_not_see_is_named_by_verify_and_never_merged() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    let files: Vec<PathBuf> = section_files(folder.path());
    for (path, section) in sections(folder.path()) {
        if !is_read_on_demand(&section) {
            continue;
        }
        let sound = fs::read(&path).unwrap();
        let bytes = section.offset as usize..(section.offset + section.len) as usize;
        let middle = bytes.start + bytes.len() / 2;
        for damaged in [middle..middle + 1, bytes] {
            let mut spoilt = sound.clone();
            spoilt[damaged].iter_mut().for_each(|byte| *byte = !*byte | 0x80);
            fs::write(&path, spoilt).unwrap();
            let database = Database::open(folder.path()).unwrap();
            let collection = database.collection("damaged").unwrap();
            read_all(&collection);
            let damage = collection.verify(|_| {});
            assert_eq!(damage.len(), 1, "{damage:?}");
            assert_eq!(damage[0].kind(), ErrorKind::Corrupted);
            assert!(names(&damage[0].to_string(), &path, &section), "{damage:?}");
            assert!(database.collection("sound").unwrap().verify(|_| {}).is_empty());

            // There is something to merge: a deleted row, and then a second segment.
            let gone = Point::new(5000).with_vector("v", vec![1.0; 8]);
            collection.upsert([gone]).unwrap();
            collection.flush().unwrap();
            let error = collection.optimize().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupted);
            assert!(names(&error.to_string(), &path, &section), "{error}");
            let info = collection.info();
            let told = info.background_error.unwrap();
            assert!(names(&told, &path, &section), "{told}");
            assert_eq!(info.segments[0].number, Some(1), "the damaged segment stays as it is");
            // Everything else goes on.
            collection.delete(vec![5000.into()], Durability::Synced).unwrap();
            collection.flush().unwrap();
            read_all(&collection);
            drop((collection, database));
            fs::write(&path, &sound).unwrap();
        }
    }
    let database = Database::open(folder.path()).unwrap();
    let collection = database.collection("damaged").unwrap();
    assert!(collection.verify(|_| {}).is_empty());
    collection.delete(vec![0.into()], Durability::Synced).unwrap();
    collection.optimize().unwrap();
    assert!(files.iter().all(|file| !file.exists()), "mended, it is merged");
    assert_eq!(collection.count(), POINTS - 1);
    assert!(collection.verify(|_| {}).is_empty());
}

/// The file of the only index, and whether queries search it.
fn index_file(root: &Path, collection: &Collection) -> (PathBuf, bool) {
    let info = collection.info();
    let segment = &info.segments[0];
    let ready = matches!(segment.indexes.get("v"), Some(lanner::IndexStatus::Ready { .. }));
    let file = segment.files.iter().find(|file| file.name.starts_with("../"));
    let name = file.map_or("none", |file| file.name.trim_start_matches("../"));
    (root.join("collections/1").join(name), ready)
}

#[test]
fn an_index_whose_file_is_lost_is_built_again() {
    for kind in ["graph", "ivf"] {
        let folder = tempfile::tempdir().unwrap();
        let open = || DatabaseOptions::new().index_rows(1000).open(folder.path()).unwrap();
        let mut random = Random::new(9);
        let path = {
            let database = open();
            let field = VectorField::single(8, Metric::Dot).compressed("lvq8".parse().unwrap());
            let field = field.indexed(kind.parse().unwrap());
            let config = CollectionConfig::new().with_field("v", field);
            let collection = database.create_collection("c", config).unwrap();
            let point = |id: u64| Point::new(id).with_vector("v", random.vector(8));
            collection.upsert((0..POINTS).map(point)).unwrap();
            collection.optimize().unwrap();
            index_file(folder.path(), &collection).0
        };
        fs::remove_file(&path).unwrap();
        let database = open();
        let collection = database.collection("c").unwrap();
        collection.optimize().unwrap();
        let (again, ready) = index_file(folder.path(), &collection);
        assert!(ready && again != path && again.exists());
        assert!(collection.verify(|_| {}).is_empty());
    }
}

#[test]
fn no_index_is_built_of_damaged_codes() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    // Calibrations were made when the codes were written: without these, indexes are built again.
    for collection in fs::read_dir(folder.path().join("collections")).unwrap() {
        for numbered in fs::read_dir(collection.unwrap().path()).unwrap() {
            let numbered = numbered.unwrap().path();
            if numbered.join("index.sec").exists() {
                fs::remove_dir_all(numbered).unwrap();
            }
        }
    }
    let primary = sections(folder.path()).into_iter().rfind(|(_, info)| info.name == "primary");
    let (path, section) = primary.unwrap();
    flip(&path, section.offset as usize);
    // Few enough for an index now.
    let database = DatabaseOptions::new().index_rows(1000).open(folder.path()).unwrap();
    let sound = database.collection("sound").unwrap();
    sound.optimize().unwrap();
    assert!(sound.info().segments[0].indexes.contains_key("v"));
    let damaged = database.collection("damaged").unwrap();
    let error = damaged.optimize().unwrap_err();
    assert!(names(&error.to_string(), &path, &section), "{error}");
    let files = &damaged.info().segments[0].files;
    let indexes = files.iter().filter(|file| file.name.starts_with("../"));
    assert_eq!(indexes.count(), 0, "`tokens` has no encodings, and needs none");
}

#[test]
fn an_unsound_payload_is_an_error_of_its_block_alone() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    let payloads = sections(folder.path()).into_iter().find(|(_, info)| info.name == "payloads");
    let (path, section) = payloads.unwrap();
    // Of the first two rows: no JSON, and no UTF-8.
    let mut bytes = fs::read(&path).unwrap();
    bytes[section.offset as usize] = b'[';
    bytes[section.offset as usize + PAYLOAD.len() + 2] = 0xff;
    fs::write(&path, bytes).unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.collection("damaged").unwrap();
    for id in [0, 1, 2] {
        let error = collection.get(&[id.into()], Include::ALL).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        assert!(names(&error.to_string(), &path, &section), "{error}");
        assert!(error.to_string().contains("block 0"), "{error}");
        let without = Include { payload: false, vectors: true };
        assert!(collection.get(&[id.into()], without).unwrap()[0].is_some());
    }
}

#[test]
fn damaged_vectors_are_never_returned() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    for (path, section) in sections(folder.path()) {
        if section.name != "vectors" {
            continue;
        }
        // The last block, of a point that is written last.
        let at = (section.offset + section.len - 1) as usize;
        flip(&path, at);
        let database = Database::open(folder.path()).unwrap();
        let collection = database.collection("damaged").unwrap();
        let last = || lanner::PointId::from(format!("id-{}", POINTS - 1));
        for include in [Include::ALL, Include { payload: false, vectors: true }] {
            let error = collection.get(&[last()], include).unwrap_err();
            assert!(names(&error.to_string(), &path, &section), "{error}");
        }
        let error = collection.scroll(None, 10_000, Include::ALL).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupted);
        let fields = [("field-0.sec", "tokens"), ("field-1.sec", "v"), ("field-2.sec", "w")];
        let field = fields.iter().find(|(file, _)| path.ends_with(file)).unwrap().1;
        let error = collection.query(&QueryRequest::new(field, last())).unwrap_err();
        assert!(names(&error.to_string(), &path, &section), "{error}");
        drop((collection, database));
        flip(&path, at);
    }
}

#[test]
fn the_scrubber_finds_damage_that_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    let vectors = sections(folder.path()).into_iter().find(|(_, info)| info.name == "vectors");
    let (path, section) = vectors.unwrap();
    flip(&path, section.offset as usize);
    let options = DatabaseOptions::new().scrub(std::time::Duration::ZERO, u64::MAX);
    let database = options.open(folder.path()).unwrap();
    let collection = database.collection("damaged").unwrap();
    let told = loop {
        match collection.info().background_error {
            Some(told) => break told,
            None => std::thread::yield_now(),
        }
    };
    assert!(names(&told, &path, &section), "{told}");
    assert_eq!(database.collection("sound").unwrap().info().background_error, None);
}

#[test]
fn a_damaged_copy_of_the_manifest_entry_is_named_by_verify_and_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    let path = folder.path().join("collections/1/1/entry.sec");
    flip(&path, 64);
    let database = Database::open(folder.path()).unwrap();
    let collection = database.collection("damaged").unwrap();
    read_all(&collection);
    let damage = collection.verify(|_| {});
    assert!(damage.len() == 1 && damage[0].to_string().contains("entry.sec"), "{damage:?}");
}

#[test]
fn background_merges_leave_damaged_segments_alone_and_sealing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    let vectors = sections(folder.path()).into_iter().find(|(_, info)| info.name == "vectors");
    let (path, section) = vectors.unwrap();
    flip(&path, section.offset as usize);
    let database = Database::open(folder.path()).unwrap();
    let collection = database.collection("damaged").unwrap();
    // More deleted rows than a segment may have.
    let gone = (10..500).map(|id| format!("id-{id}").into()).collect();
    collection.delete(gone, Durability::Synced).unwrap();
    let mut sealed = 0;
    // Sealing comes first, so that it may take a few until there is time for a merge.
    while sealed < 4 || collection.info().background_error.is_none() {
        let point = Point::new(6000 + sealed).with_vector("v", vec![1.0; 8]);
        collection.upsert([point]).unwrap();
        collection.flush().unwrap();
        sealed += 1;
        assert!(sealed < 1000, "a merge is tried");
    }
    let info = collection.info();
    let text = info.background_error.unwrap();
    assert!(names(&text, &path, &section), "{text}");
    let numbers: Vec<_> = info.segments.iter().map(|segment| segment.number).collect();
    assert_eq!(numbers[0], Some(1));
    assert!(numbers.len() > 1, "the others were sealed: {numbers:?}");
    assert_eq!(collection.count(), POINTS - 490 + sealed);
}

#[test]
fn a_missing_truncated_or_exchanged_file_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    for path in section_files(folder.path()) {
        let name = path.file_name().unwrap();
        let bytes = fs::read(&path).unwrap();

        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(refusal(folder.path()).kind(), ErrorKind::Corrupted);

        fs::copy(folder.path().join("collections/2/1").join(name), &path).unwrap();
        if fs::read(&path).unwrap() != bytes {
            let error = refusal(folder.path());
            assert!(error.to_string().contains(name.to_str().unwrap()), "{error}");
            let sound = "a sound file, but not the one that was sealed";
            assert_eq!(error.kind(), ErrorKind::Corrupted, "{sound}");
        }

        fs::remove_file(&path).unwrap();
        assert!(refusal(folder.path()).to_string().contains(name.to_str().unwrap()));
        fs::write(&path, &bytes).unwrap();
    }
    assert!(Database::open(folder.path()).unwrap().collection("damaged").is_ok());
}

#[test]
fn a_damaged_collection_can_be_deleted_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    flip(&section_files(folder.path())[0], 70);
    let database = Database::open(folder.path()).unwrap();
    assert!(database.collection("damaged").is_err());
    database.delete_collection("damaged").unwrap();
    let collection = database.create_collection("damaged", config()).unwrap();
    assert_eq!(collection.count(), 0);
    assert!(!folder.path().join("collections/1").exists());
}

#[test]
fn a_second_owner_a_foreign_folder_and_a_newer_format_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let locked = Database::open(folder.path()).map(drop).unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::FailedPrecondition);
    assert!(locked.to_string().contains(&format!("process {}", std::process::id())), "{locked}");
    drop(database);
    fs::write(folder.path().join("LANNER"), "lanner database\nformat 99\n").unwrap();
    let newer = Database::open(folder.path()).map(drop).unwrap_err();
    assert_eq!(newer.kind(), ErrorKind::Unsupported);

    let foreign = tempfile::tempdir().unwrap();
    fs::write(foreign.path().join("notes.txt"), "mine").unwrap();
    let refused = Database::open(foreign.path()).map(drop).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::FailedPrecondition);
    assert_eq!(fs::read_dir(foreign.path()).unwrap().count(), 1, "nothing was created");
}

#[test]
fn a_handle_that_outlives_its_database_keeps_the_lock_and_refuses_writes() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    let point = || Point::new(1).with_vector("v", vec![1.0; 8]);
    collection.upsert([point()]).unwrap();
    drop(database);
    assert!(matches!(collection.upsert([point()]), Err(Error::Closing)));
    assert!(matches!(collection.flush(), Err(Error::Closing)));
    assert_eq!(collection.count(), 1, "reading goes on");
    assert!(Database::open(folder.path()).is_err());
    drop(collection);
    assert_eq!(Database::open(folder.path()).unwrap().collection("c").unwrap().count(), 1);
}

#[test]
fn leftovers_of_builds_cut_short_are_swept_and_what_is_unknown_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    create(folder.path());
    for leftover in ["collections/1/7", "collections/1/8.tmp", "collections/9/1"] {
        let leftover = folder.path().join(leftover);
        fs::create_dir_all(&leftover).unwrap();
        fs::write(leftover.join("points.sec"), "half a file").unwrap();
    }
    drop(Database::open(folder.path()).unwrap());
    let names = |path: &str| fs::read_dir(folder.path().join(path)).unwrap().count();
    // The segment, the calibration of its single-vector field, and the copy of the manifest.
    assert_eq!((names("collections"), names("collections/1")), (2, 3));
    for kept in ["lost/1-7/points.sec", "lost/collection-9/1/points.sec"] {
        assert!(folder.path().join(kept).exists(), "{kept}");
    }
}

#[test]
fn collections_are_created_once_listed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let collection = database.create_collection("c", config()).unwrap();
    let exists = database.create_collection("c", config()).map(drop).unwrap_err();
    assert_eq!(exists.kind(), ErrorKind::AlreadyExists);
    let named = database.create_collection("../c", config()).map(drop).unwrap_err();
    assert_eq!(named.kind(), ErrorKind::InvalidArgument);
    database.delete_collection("c").unwrap();
    let gone = collection.upsert([Point::new(1).with_vector("v", vec![1.0; 8])]).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    assert_eq!(database.delete_collection("c").unwrap_err().kind(), ErrorKind::NotFound);
    assert!(database.collections().is_empty());
}

/// Each batch writes the same version to all ids, so a torn write or a snapshot that changes
/// would show two versions.
#[test]
fn queries_see_whole_batches_while_writers_seal_and_merge() {
    const IDS: u64 = 30;
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().seal_bytes(4_000).open(folder.path()).unwrap();
    let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    let write = |version: u64| {
        let point = |id: u64| Point::new(id).with_vector("v", vec![version as f32]);
        let mut builder = collection.batch();
        (0..IDS).for_each(|id| builder.push(point(id)).unwrap());
        collection.upsert_batch(builder.finish(), Durability::Buffered).unwrap();
    };
    write(1);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (2..=200).for_each(write));
        let mut last = 0.0;
        while !writer.is_finished() {
            let answer = collection.query(&QueryRequest::new("v", vec![1.0]).limit(100)).unwrap();
            assert_eq!(answer.hits.len(), IDS as usize);
            let version = answer.hits[0].score;
            assert!(answer.hits.iter().all(|hit| hit.score == version), "one version");
            assert!(version >= last, "time does not run backwards");
            last = version;
        }
    });
    collection.optimize().unwrap();
    assert_eq!(collection.info().segments.len(), 1);
    assert_eq!(collection.count(), IDS);
}

#[test]
fn concurrent_writers_share_commits_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8_u64 {
            let collection = &collection;
            scope.spawn(move || {
                for index in 0..25 {
                    let id = writer * 100 + index;
                    collection.upsert([Point::new(id).with_vector("v", vec![1.0])]).unwrap();
                }
            });
        }
    });
    assert_eq!(collection.count(), 200);
    assert_eq!(collection.info().sequence, 200);
    drop((collection, database));
    assert_eq!(Database::open(folder.path()).unwrap().collection("c").unwrap().count(), 200);
}

/// Every write fills a segment, so writers always wait for room while others join their groups.
#[test]
fn writers_that_wait_for_sealing_are_all_answered() {
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().seal_bytes(1).open(folder.path()).unwrap();
    let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..6_u64 {
            let collection = &collection;
            scope.spawn(move || {
                for index in 0..60 {
                    let id = writer * 100 + index;
                    collection.upsert([Point::new(id).with_vector("v", vec![1.0])]).unwrap();
                }
            });
        }
    });
    assert_eq!(collection.count(), 360);
    collection.optimize().unwrap();
    assert_eq!(collection.count(), 360);
}

#[test]
fn verify_optimize_delete_and_drop_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOptions::new().seal_bytes(3_000).open(folder.path()).unwrap();
    let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
    let collection = database.create_collection("c", config).unwrap();
    let point = |id: u64| Point::new(id).with_vector("v", vec![id as f32]);
    let dropped = |error: Error| assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let optimizing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let optimizer = scope.spawn(|| {
            loop {
                if let Err(error) = collection.optimize() {
                    optimizing.store(false, std::sync::atomic::Ordering::Relaxed);
                    return dropped(error);
                }
            }
        });
        let verifier = scope.spawn(|| {
            while optimizing.load(std::sync::atomic::Ordering::Relaxed) {
                let damage = collection.verify(|_| {});
                assert!(damage.is_empty(), "{damage:?}");
            }
        });
        for round in 0..40_u64 {
            let first = round * 50;
            collection.upsert((first..first + 50).map(point)).unwrap();
            let gone = (first..first + 40).map(Into::into).collect();
            collection.delete(gone, Durability::Buffered).unwrap();
            assert_eq!(collection.count(), 10 * (round + 1));
        }
        let query = QueryRequest::new("v", vec![1.0]).limit(1000);
        assert_eq!(collection.query(&query).unwrap().hits.len(), 400);
        database.delete_collection("c").unwrap();
        dropped(collection.upsert([point(1)]).unwrap_err());
        optimizer.join().unwrap();
        verifier.join().unwrap();
    });
    assert!(!folder.path().join("collections/1").exists());
}

/// The encoding of one point overflows, so that nothing that is learned of it is a number.
#[test]
fn a_point_that_cannot_be_coded_keeps_no_other_from_being_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).unwrap();
    let config = CollectionConfig::new().with_field("tokens", tokens());
    let collection = database.create_collection("c", config).unwrap();
    let mut random = Random::new(1);
    let mut multi = |id: u64| Point::new(id).with_vector("tokens", random.multi(4, 2));
    collection.upsert((0..POINTS).map(&mut multi)).unwrap();
    let large = MultiVector::from_flat(4, vec![3e38; 8]).unwrap();
    if let Err(error) = collection.upsert([Point::new(POINTS).with_vector("tokens", large)]) {
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "refused at the door: {error}");
    }
    let count = collection.count();
    collection.optimize().unwrap();
    collection.upsert([multi(5000)]).unwrap();
    collection.optimize().unwrap();
    drop((collection, database));
    let database = Database::open(folder.path()).unwrap();
    let collection = database.collection("c").unwrap();
    assert_eq!(collection.count(), count + 1);
    assert!(collection.verify(|_| {}).is_empty());
    assert_eq!(collection.info().background_error, None);
}
