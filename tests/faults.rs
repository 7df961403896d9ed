//! A collection stays a map through any mixture of writes, seals and merges with commits that fail,
//! files that cannot be created, kills and losses of power: what was acknowledged is there, and
//! what was refused is there whole or not at all. RocksDB's files take part in all of it.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::Random;
use common::disk::Disk;
use common::images::{crash_image, files, points, truncate};
use lanner::{
    Collection, CollectionConfig, Database, DatabaseOptions, Durability, Metric, Point, PointId,
    QueryRequest, VectorField,
};
use lanner_storage::{CommitFault, CommitFaults};

const STEPS: usize = 40;
type Points = BTreeMap<PointId, Point>;

/// How often each kind of fault was met, so that a campaign cannot pass without any.
#[derive(Debug, Default)]
struct Counts {
    refused: u64,
    kills: u64,
    power_losses: u64,
    builds_failed: u64,
    lost_buffered: u64,
}

struct Run {
    random: Random,
    folder: tempfile::TempDir,
    faults: CommitFaults,
    disk: Disk,
    opened: Option<(Database, Collection)>,
    expected: Points,
    /// What else may be found after a loss of power: the states since the last write that waited
    /// for the disk, and that one.
    history: Vec<Points>,
    /// How much of each log was forced to the disk by then.
    durable: BTreeMap<PathBuf, u64>,
    promise: Vec<u8>,
    counts: Counts,
}

fn config() -> CollectionConfig {
    CollectionConfig::new().with_field("v", VectorField::single(2, Metric::Dot))
}

fn open(root: &Path, faults: &CommitFaults, disk: &Disk) -> (Database, Collection) {
    // So small that segments seal and merge in the background after a few steps.
    let options = DatabaseOptions::new().threads(1).seal_bytes(700).commit_faults(faults.clone());
    let database = options.open_with(root, Arc::new(disk.clone())).unwrap();
    let collection = database.collection("c").unwrap();
    assert_eq!(database.collection("other").unwrap().count(), 3, "it is not harmed");
    (database, collection)
}

fn logs(root: &Path) -> impl Iterator<Item = (PathBuf, u64)> {
    let logs = files(&root.join("catalog")).into_iter();
    logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")).map(|path| {
        let len = fs::metadata(&path).map_or(0, |found| found.len());
        (PathBuf::from(path.file_name().unwrap()), len)
    })
}

impl Run {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        {
            let database = Database::open(folder.path()).unwrap();
            database.create_collection("c", config()).unwrap();
            let other = database.create_collection("other", config()).unwrap();
            other.upsert((0..3).map(|id| point(id, 1))).unwrap();
        }
        let (faults, disk) = (CommitFaults::default(), Disk::new(folder.path()));
        let opened = Some(open(folder.path(), &faults, &disk));
        let random = Random::new(seed);
        let (expected, history, durable) = (Points::new(), vec![Points::new()], BTreeMap::new());
        let (promise, counts) = (promise(folder.path()), Counts::default());
        Self { random, folder, faults, disk, opened, expected, history, durable, promise, counts }
    }

    fn collection(&self) -> Collection {
        self.opened.as_ref().unwrap().1.clone()
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0..=6 => self.write(),
            7 => self.build(Collection::flush),
            8 => self.build(Collection::optimize),
            9..=11 => {
                let fault = [CommitFault::Before, CommitFault::After][self.random.below(2)];
                let (skip, count) = (self.random.below(3) as u64, 1 + self.random.below(2) as u64);
                self.faults.fail(skip, count, fault);
                self.write();
            }
            12 => {
                let part = ["points.sec", "field-0.sec", "manifest.sec"][self.random.below(3)];
                self.disk.refuse(Some(part));
                self.build(Collection::flush);
                self.disk.refuse(None);
            }
            13 => {
                self.faults.set_full(true);
                self.write();
                self.build(Collection::optimize);
                self.faults.set_full(false);
            }
            14 => self.kill(),
            _ => self.lose_power(),
        }
        assert_eq!(found(&self.collection()), self.expected);
    }

    fn write(&mut self) {
        let synced = self.random.below(2) == 0;
        let durability = if synced { Durability::Synced } else { Durability::Buffered };
        let (collection, mut next) = (self.collection(), self.expected.clone());
        let ids: Vec<u64> =
            (0..1 + self.random.below(8)).map(|_| self.random.below(40) as u64).collect();
        let written = if self.random.below(3) == 0 {
            let ids: Vec<PointId> = ids.into_iter().map(Into::into).collect();
            next.retain(|id, _| !ids.contains(id));
            collection.delete(ids, durability)
        } else {
            let points: Vec<Point> =
                ids.into_iter().map(|id| point(id, self.random.below(200) as u8)).collect();
            next.extend(points.iter().map(|point| (point.id.clone(), point.clone())));
            let mut batch = collection.batch();
            points.into_iter().for_each(|point| batch.push(point).unwrap());
            collection.upsert_batch(batch.finish(), durability)
        };
        match written {
            Ok(_) => self.expected = next.clone(),
            Err(_) => {
                self.counts.refused += 1;
                assert_eq!(found(&collection), self.expected, "reading goes on as before");
                self.settle(next.clone());
            }
        }
        self.history.push(self.expected.clone());
        if synced && written.is_ok() {
            self.is_durable();
        }
    }

    /// Writes until that works again, and finds out whether the refused write is there.
    fn settle(&mut self, other: Points) {
        self.faults.set_full(false);
        let collection = self.collection();
        let nothing = || collection.delete(vec![999.into()], Durability::Buffered);
        let mut tries = 0;
        while nothing().is_err() {
            tries += 1;
            assert!(tries < 10, "it works again when the disk does");
        }
        let found = found(&collection);
        assert!(found == self.expected || found == other, "half of a write");
        self.expected = found;
    }

    fn build(&mut self, build: fn(&Collection) -> lanner::Result<()>) {
        let collection = self.collection();
        match build(&collection) {
            Ok(()) => self.is_durable(),
            Err(_) => {
                self.counts.builds_failed += 1;
                self.disk.refuse(None);
                self.settle(self.expected.clone());
            }
        }
    }

    fn is_durable(&mut self) {
        self.history = vec![self.expected.clone()];
        let (_disk, _commits) = (self.disk.hold(), self.faults.hold());
        self.durable = logs(self.folder.path()).collect();
        self.promise = promise(self.folder.path());
    }

    /// The files as they are between two operations.
    fn image(&self) -> tempfile::TempDir {
        let (_disk, _commits) = (self.disk.hold(), self.faults.hold());
        crash_image(self.folder.path())
    }

    fn kill(&mut self) {
        self.counts.kills += 1;
        self.go_on_in(self.image());
    }

    fn lose_power(&mut self) {
        self.counts.power_losses += 1;
        let image = self.image();
        // A seal or merge in the background may have waited for the disk since.
        let all = promise(image.path()) != self.promise;
        for (name, len) in logs(image.path()).collect::<Vec<_>>() {
            let durable = self.durable.get(&name).copied().unwrap_or(0).min(len);
            let durable = if all { len } else { durable };
            let kept = durable + self.random.below((len - durable) as usize + 1) as u64;
            truncate(&image.path().join("catalog").join(&name), kept);
        }
        let (before, history) = (self.expected.clone(), self.history.clone());
        self.go_on_in(image);
        let found = found(&self.collection());
        assert!(history.contains(&found), "neither a state there was nor all acknowledged");
        self.counts.lost_buffered += u64::from(found != before);
        self.expected = found;
        self.is_durable();
    }

    fn go_on_in(&mut self, image: tempfile::TempDir) {
        self.faults = CommitFaults::default();
        self.opened = None;
        self.folder = image;
        self.disk = Disk::new(self.folder.path());
        self.opened = Some(open(self.folder.path(), &self.faults, &self.disk));
        // What the log had is in RocksDB's tables by now.
        self.is_durable();
    }

    fn finish(mut self) -> Counts {
        self.disk.refuse(None);
        self.faults.fail(0, 0, CommitFault::Before);
        self.settle(self.expected.clone());
        let collection = self.collection();
        collection.optimize().unwrap();
        assert_eq!(found(&collection), self.expected);
        assert!(collection.verify(|_| {}).is_empty());
        let folders = fs::read_dir(self.folder.path().join("collections/1")).unwrap();
        let names: Vec<_> = folders.map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.len() <= 2, "a segment and the copy of the manifest: {names:?}");
        self.counts
    }
}

/// What was noted to be durable.
fn promise(root: &Path) -> Vec<u8> {
    fs::read(root.join("committed/1")).unwrap()
}

fn point(id: u64, version: u8) -> Point {
    Point::new(id).with_vector("v", vec![f32::from(version), id as f32])
}

fn found(collection: &Collection) -> Points {
    let found = points(collection).unwrap();
    assert_eq!(collection.count(), found.len() as u64);
    let query = QueryRequest::new("v", vec![1.0, 0.0]).limit(100);
    assert_eq!(collection.query(&query).unwrap().hits.len(), found.len());
    found.into_iter().map(|point| (point.id.clone(), point)).collect()
}

fn campaign(seeds: std::ops::Range<u64>) {
    let mut total = Counts::default();
    for seed in seeds.clone() {
        let mut run = Run::new(seed);
        for _ in 0..STEPS {
            run.step();
        }
        let counts = run.finish();
        total.refused += counts.refused;
        total.kills += counts.kills;
        total.power_losses += counts.power_losses;
        total.builds_failed += counts.builds_failed;
        total.lost_buffered += counts.lost_buffered;
    }
    println!("{} seeds: {total:?}", seeds.end - seeds.start);
    let seeds = seeds.end - seeds.start;
    assert!(total.refused > seeds && total.kills > seeds && total.power_losses > seeds);
    assert!(total.builds_failed > seeds / 2 && total.lost_buffered > 0);
}

#[test]
fn a_collection_is_a_map_whatever_fails() {
    campaign(0..12);
}

#[test]
#[ignore = "a long campaign: make test-long"]
fn a_collection_is_a_map_whatever_fails_at_length() {
    campaign(1000..2000);
}
