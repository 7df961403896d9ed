//! An index that cannot be built is reported and tried again, and holds nothing else up.

mod common;

use std::sync::Arc;

use common::Random;
use common::clusters::{Clusters, fill};
use common::disk::Disk;
use lanner::{
    Collection, CollectionConfig, DatabaseOptions, Durability, Error, ErrorKind, IndexStatus,
    Metric, QueryRequest, VectorField,
};

const DIMENSION: usize = 16;

fn statuses(collection: &Collection) -> Vec<(u64, IndexStatus)> {
    let segments = collection.info().segments.into_iter();
    let status =
        |segment: lanner::SegmentInfo| Some((segment.number?, segment.indexes.get("v")?.clone()));
    segments.filter_map(status).collect()
}

/// The segment whose index has failed, once one has; and why.
fn failed(collection: &Collection, after: u64) -> (u64, String) {
    loop {
        for (number, status) in statuses(collection) {
            if let IndexStatus::Failed { reason } = status
                && number > after
            {
                return (number, reason);
            }
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_failed_build_is_reported_and_tried_again_and_holds_nothing_up() {
    let mut random = Random::new(1);
    let clusters = Clusters::new(&mut random, 30, DIMENSION);
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::new(folder.path());
    disk.refuse(Some("index.sec"));
    let options = DatabaseOptions::new().index_rows(1000).threads(1);
    let database = options.open_with(folder.path(), Arc::new(disk.clone())).unwrap();
    let field = VectorField::single(DIMENSION, Metric::L2).indexed("ivf".parse().unwrap());
    let config = CollectionConfig::new().with_field("v", field);
    let collection = database.create_collection("c", config).unwrap();
    fill(&collection, &clusters.points(&mut random, 0..2000));
    collection.flush().unwrap();

    let (first, reason) = failed(&collection, 0);
    assert!(reason.contains("index.sec"), "{reason}");
    assert_eq!(collection.info().background_error, None);
    let request = QueryRequest::new("v", clusters.vector(&mut random)).explain();
    let answer = collection.query(&request).unwrap();
    assert_eq!(answer.explanation.unwrap().stages[0].name, "scan");

    // A seal and a merge, which nobody asks for: a fifth of the rows is gone.
    let gone = (0..500_u64).map(Into::into).collect();
    collection.delete(gone, Durability::Synced).unwrap();
    fill(&collection, &clusters.points(&mut random, 5000..5100));
    collection.flush().unwrap();
    // The new segment was a new try.
    let (second, _) = failed(&collection, first);
    assert!(statuses(&collection).iter().all(|&(number, _)| number != first));

    let error = collection.optimize().unwrap_err();
    assert!(matches!(error, Error::IndexesMissing { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("index.sec"), "{error}");
    let [(third, IndexStatus::Failed { .. })] = statuses(&collection)[..] else {
        panic!("{:?}", statuses(&collection))
    };
    assert!(third > second, "all else was done");
    assert_eq!(collection.count(), 1600);
    let folders = std::fs::read_dir(folder.path().join("collections/1")).unwrap().count();
    assert_eq!(folders, 2, "a segment and the copy of the manifest: nothing is left of the rest");

    disk.refuse(None);
    collection.optimize().unwrap();
    assert!(
        matches!(statuses(&collection)[..], [(number, IndexStatus::Ready { .. })] if number == third)
    );
    let answer = collection.query(&request).unwrap();
    assert_eq!(answer.explanation.unwrap().stages[0].name, "search");
}
