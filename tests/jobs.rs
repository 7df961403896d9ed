//! Background work: nobody waits for what is not theirs, and who waits learns how it went.

mod common;

use std::sync::Arc;

use common::Random;
use common::clusters::{Clusters, fill};
use common::disk::{Disk, Fate};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, Error, ErrorKind,
    IndexStatus, JobKind, JobState, Metric, Point, QueryRequest, VectorField,
};
use lanner_storage::Directory;

const DIMENSION: usize = 8;

struct World {
    folder: tempfile::TempDir,
    files: Disk,
    database: Database,
    random: Random,
    clusters: Clusters,
}

impl World {
    fn new(options: DatabaseOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Disk::new(folder.path());
        let database = options.open_with(folder.path(), Arc::new(files.clone())).unwrap();
        let mut random = Random::new(7);
        let clusters = Clusters::new(&mut random, 20, DIMENSION);
        Self { folder, files, database, random, clusters }
    }

    fn create(&self, name: &str) -> Collection {
        let field = VectorField::single(DIMENSION, Metric::L2);
        let config = CollectionConfig::new().with_field("v", field);
        self.database.create_collection(name, config).unwrap()
    }

    fn fill(&mut self, collection: &Collection, ids: std::ops::Range<u64>) {
        fill(collection, &self.clusters.points(&mut self.random, ids));
    }

    /// Two segments of so many points each.
    fn two_segments(&mut self, name: &str, points: u64) -> Collection {
        let collection = self.create(name);
        for first in [0, points] {
            self.fill(&collection, first..first + points);
            collection.flush().unwrap();
        }
        collection
    }
}

fn sealed(collection: &Collection) -> usize {
    collection.info().segments.iter().filter(|segment| segment.number.is_some()).count()
}

#[test]
fn what_is_asked_for_again_before_it_began_is_done_once() {
    let mut world = World::new(DatabaseOptions::new());
    let collection = world.two_segments("c", 300);
    world.files.set(Fate::Held("collections/1/3".into()));
    let first = collection.start_optimize().unwrap();
    world.files.wait_until_held();
    world.fill(&collection, 600..700);
    let later: Vec<u64> = (0..600).map(|_| collection.start_optimize().unwrap().id()).collect();
    assert!(later.iter().all(|&id| id == later[0] && id != first.id()), "one for all of them");
    assert_eq!(world.database.jobs().len(), 2);
    let info = first.info();
    assert_eq!((info.state, info.kind), (JobState::Running, JobKind::Optimize));
    assert!(info.collection == "c" && ["sealing", "merging"].contains(&info.phase.as_str()));
    assert!(world.database.job(later[0]).unwrap().info().state == JobState::Running);
    world.files.set(Fate::Created);
    first.wait().unwrap();
    world.database.job(later[0]).unwrap().wait().unwrap();
    assert_eq!((sealed(&collection), collection.count()), (1, 700));
    assert_eq!(first.info().phase, "ended");
    assert!(matches!(world.database.job(99), Err(Error::JobNotFound { id: 99 })));
}

#[test]
fn collections_do_not_wait_for_one_another() {
    let mut world = World::new(DatabaseOptions::new());
    let one = world.two_segments("one", 300);
    // Its merge does not end.
    world.files.set(Fate::Held("collections/1/".into()));
    let job = one.start_optimize().unwrap();
    world.files.wait_until_held();
    assert_eq!(job.info().phase, "merging");
    let two = world.two_segments("two", 300);
    two.optimize().unwrap();
    assert_eq!(sealed(&two), 1);
    world.database.delete_collection("two").unwrap();
    world.create("two");
    // Nor does its seal.
    world.fill(&one, 600..700);
    std::thread::scope(|scope| {
        let flushed = scope.spawn(|| one.flush());
        let three = world.two_segments("three", 300);
        three.optimize().unwrap();
        assert_eq!(job.info().state, JobState::Running);
        world.files.set(Fate::Created);
        flushed.join().unwrap().unwrap();
    });
    job.wait().unwrap();
    assert_eq!(one.count(), 700);
}

#[test]
fn a_merge_that_fails_is_reported_as_that_and_refuses_no_write() {
    let mut world = World::new(DatabaseOptions::new().seal_bytes(20_000));
    let collection = world.two_segments("c", 100);
    // Segments 1 and 2 are sealed; a seal would write points, and so does the merge into 3.
    world.files.set(Fate::Refused("collections/1/3".into()));
    let error = collection.optimize().unwrap_err();
    assert!(matches!(error, Error::MergeFailed { .. }), "{error:?}");
    assert!(error.to_string().starts_with("segments could not be merged: cannot write"), "{error}");
    let why = collection.info().background_error.unwrap();
    assert!(why.contains("collections/1/3"), "{why}");
    let segments = sealed(&collection);
    for first in (1000..9000).step_by(1000) {
        world.fill(&collection, first..first + 1000);
    }
    collection.flush().unwrap();
    assert!(sealed(&collection) > segments, "sealing goes on");
    world.files.set(Fate::Created);
    collection.optimize().unwrap();
    assert_eq!((sealed(&collection), collection.count()), (1, 8200));
    assert_eq!(collection.info().background_error, None);
}

/// Segments on disk, and those of them that have a graph or lists.
fn indexed(collection: &Collection) -> (usize, usize) {
    let info = collection.info();
    let is_ready = |status: &IndexStatus| matches!(status, IndexStatus::Ready { .. });
    let ready = info.segments.iter().filter(|segment| segment.indexes.values().any(is_ready));
    (sealed(collection), ready.count())
}

#[test]
fn merged_segments_serve_queries_until_the_new_one_has_its_index() {
    let mut world = World::new(DatabaseOptions::new().index_rows(500));
    let collection = world.create("c");
    for first in [0, 2000] {
        world.fill(&collection, first..first + 2000);
        collection.flush().unwrap();
        while indexed(&collection).0 != indexed(&collection).1 {
            std::thread::yield_now();
        }
    }
    assert_eq!(indexed(&collection), (2, 2));
    world.files.set(Fate::Held("index.sec".into()));
    let job = collection.start_optimize().unwrap();
    world.files.wait_until_held();
    assert_eq!(indexed(&collection), (2, 2));
    // Deleted meanwhile: not found in the new segment either.
    collection.delete(vec![7.into()], Durability::Buffered).unwrap();
    world.files.set(Fate::Created);
    job.wait().unwrap();
    assert_eq!((indexed(&collection), collection.count()), ((1, 1), 3999));
}

#[test]
fn what_panics_is_a_failure_and_not_the_end() {
    let mut world = World::new(DatabaseOptions::new().index_rows(200));
    let collection = world.create("c");
    world.fill(&collection, 0..2000);
    world.files.set(Fate::Panics("index.sec".into()));
    collection.flush().unwrap();
    let error = collection.optimize().unwrap_err();
    assert!(matches!(&error, Error::IndexesMissing { reason } if reason.contains("panicked")));
    world.files.set(Fate::Panics("points.sec".into()));
    world.fill(&collection, 2000..2100);
    let error = collection.flush().unwrap_err();
    assert!(matches!(&error, Error::SealFailed { reason } if reason.contains("panicked")));
    world.files.set(Fate::Created);
    collection.optimize().unwrap();
    assert_eq!((sealed(&collection), collection.count()), (1, 2100));
    let info = collection.info();
    assert!(matches!(info.segments[0].indexes["v"], IndexStatus::Ready { .. }));
}

#[test]
fn a_cancelled_job_ends_and_leaves_everything_as_sound() {
    let mut world = World::new(DatabaseOptions::new());
    let collection = world.two_segments("c", 2000);
    world.files.set(Fate::Held("collections/1/".into()));
    let queries = lanner::MultiVector::from_flat(DIMENSION, vec![0.5; DIMENSION * 4]).unwrap();
    let job = collection.start_optimize().unwrap();
    world.files.wait_until_held();
    let training = std::thread::scope(|scope| {
        // The queries are written first.
        let asked = scope.spawn(|| collection.start_train("v", queries));
        job.cancel();
        assert!(matches!(job.wait(), Err(Error::JobCancelled { .. })));
        assert_eq!(job.info().state, JobState::Cancelled);
        world.files.set(Fate::Created);
        asked.join().unwrap()
    });
    let training = training.unwrap();
    assert_eq!(training.kind(), JobKind::Train);
    training.wait().unwrap();
    assert_eq!((sealed(&collection), collection.count()), (1, 4000));
    // What nobody asks for is done as before: a segment with many deleted rows is rewritten.
    collection.delete((0..1500).map(Into::into).collect(), Durability::Synced).unwrap();
    while collection.info().segments.iter().any(|segment| segment.deleted > 0) {
        std::thread::yield_now();
    }
    // Nothing was left of what was cancelled.
    let numbers: Vec<Option<u64>> =
        collection.info().segments.iter().map(|segment| segment.number).collect();
    let query = world.clusters.vector(&mut world.random);
    assert_eq!(collection.query(&QueryRequest::new("v", query)).unwrap().hits.len(), 10);
    let folders = world.files.list("collections/1").unwrap();
    let segment = numbers[0].unwrap().to_string();
    assert!(folders.contains(&segment), "{folders:?}");
    let id = |number| Point::new(number).with_vector("v", vec![0.0; DIMENSION]);
    collection.upsert([id(9999_u64)]).unwrap();
    assert!(collection.verify(|_| {}).is_empty());
}

#[test]
fn jobs_end_when_the_collection_or_the_database_does() {
    let mut world = World::new(DatabaseOptions::new());
    let (one, two) = (world.two_segments("one", 300), world.two_segments("two", 300));
    world.files.set(Fate::Held("collections/".into()));
    let jobs = [one.start_optimize().unwrap(), two.start_optimize().unwrap()];
    world.files.wait_until_held();
    std::thread::scope(|scope| {
        scope.spawn(|| world.database.delete_collection("one"));
        let error = jobs[0].wait().unwrap_err();
        assert!(matches!(error, Error::CollectionNotFound { .. }), "{error:?}");
        world.files.set(Fate::Created);
    });
    let World { folder: _folder, database, .. } = world;
    drop(database);
    let ended = jobs[1].info().state;
    let closed = |kind: &ErrorKind| *kind == ErrorKind::Unavailable;
    assert!(
        matches!(&ended, JobState::Done)
            || matches!(&ended, JobState::Failed { kind, .. } if closed(kind)),
        "{ended:?}"
    );
    let refused = two.delete(vec![1.into()], Durability::Synced);
    assert!(matches!(refused, Err(Error::Closing)));
    assert!(matches!(two.start_optimize(), Err(Error::Closing)));
}

#[test]
fn the_memory_of_all_collections_is_bounded_and_the_largest_is_sealed() {
    let limit = 400_000;
    let options = DatabaseOptions::new().seal_bytes(1 << 30).unsealed_bytes(limit);
    let mut world = World::new(options);
    let collections: Vec<Collection> =
        (0..6).map(|number| world.create(&format!("c{number}"))).collect();
    let in_memory = |collection: &Collection| {
        let segments = collection.info().segments.into_iter();
        let memory = segments.filter(|segment| segment.number.is_none());
        memory.map(|segment| segment.size_bytes).sum::<u64>()
    };
    for round in 0..20_u64 {
        for (number, collection) in collections.iter().enumerate() {
            // The first has three times as many points as others.
            let points = if number == 0 { 300 } else { 100 };
            world.fill(collection, round * 1000..round * 1000 + points);
            let all: u64 = collections.iter().map(in_memory).sum();
            assert!(all <= 2 * limit + 100_000, "{all} bytes in memory");
        }
    }
    assert!(sealed(&collections[0]) > 0);
    assert_eq!(collections[0].count(), 20 * 300);
    let all: u64 = collections.iter().map(Collection::count).sum();
    assert_eq!(all, 20 * 800);
}

#[test]
fn files_are_compared_with_their_checksums_in_the_background() {
    let mut world = World::new(DatabaseOptions::new());
    let collection = world.two_segments("c", 300);
    // Nor does it wait for a merge.
    world.files.set(Fate::Held("collections/1/".into()));
    let merge = collection.start_optimize().unwrap();
    world.files.wait_until_held();
    let job = collection.start_verify().unwrap();
    job.wait().unwrap();
    let info = job.info();
    assert_eq!(
        (info.kind, info.state, merge.has_ended()),
        (JobKind::Verify, JobState::Done, false)
    );

    let path = world.folder.path().join("collections/1/2/points.sec");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let job = collection.start_verify().unwrap();
    let error = job.wait().unwrap_err();
    assert!(matches!(error, Error::DamageFound { .. }), "{error:?}");
    assert!(error.to_string().contains("collections/1/2/points.sec"), "{error}");
    let state = job.info().state;
    assert!(matches!(state, JobState::Failed { kind: ErrorKind::Corrupted, .. }), "{state:?}");
    assert!(collection.problem().unwrap().contains("points.sec"), "it is known from now on");

    // One that has not begun is cancelled at once; the others have ended before.
    loop {
        let job = collection.start_verify().unwrap();
        job.cancel();
        match job.wait().unwrap_err() {
            Error::JobCancelled { id } => break assert_eq!(id, job.id()),
            error => assert!(matches!(error, Error::DamageFound { .. }), "{error:?}"),
        }
    }
    world.files.set(Fate::Created);
    let _ = merge.wait();
    world.database.delete_collection("c").unwrap();
    let error = collection.start_verify().unwrap_err();
    assert!(matches!(error, Error::CollectionNotFound { .. }), "{error:?}");
}
