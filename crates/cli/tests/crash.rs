//! The server is killed with `kill -9` again and again, during streaming ingest with concurrent
//! deletions: what was acknowledged is there, and no write is there by half.
//!
//! `LANNER_CRASH_ROUNDS` sets the number of kills.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::Random;
use lanner::{
    Collection, CollectionConfig, Database, Include, Metric, Point, PointId, VectorField,
};
use lanner_client::proto::point_service_client::PointServiceClient;
use lanner_client::{from_model, proto};
use support::server::ServerProcess;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

const POINTS: u64 = 20;
const DIMENSION: usize = 128;

/// What the client knows about a batch of points.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Sent,
    Stored,
    DeleteSent,
    Deleted,
    /// Found not to be there, after it was in doubt.
    Absent,
}

type Ledger = Arc<Mutex<BTreeMap<u64, Known>>>;

fn ids(batch: u64) -> Vec<PointId> {
    (0..POINTS).map(|index| (batch * POINTS + index).into()).collect()
}

fn request(batch: u64) -> proto::StreamUpsertPointsRequest {
    let point = |id| Point { id, ..Point::new(0) }.with_vector("v", vec![batch as f32; DIMENSION]);
    let points = ids(batch).into_iter().map(|id| from_model::point(&point(id))).collect();
    proto::StreamUpsertPointsRequest { collection: "c".into(), points, durability: 0 }
}

/// Streams batches from `first` on, until the server is gone; `reached` fires at `acks` answers,
/// and every third stored batch goes to `stored`.
async fn ingest(
    channel: Channel,
    ledger: Ledger,
    first: u64,
    acks: u64,
    reached: oneshot::Sender<()>,
    stored: mpsc::UnboundedSender<u64>,
) {
    let (requests, stream) = mpsc::channel(8);
    let sent = ledger.clone();
    let sender = tokio::spawn(async move {
        for batch in first.. {
            let Ok(place) = requests.reserve().await else { break };
            sent.lock().unwrap().insert(batch, Known::Sent);
            place.send(request(batch));
        }
    });
    let mut reached = Some(reached);
    let mut client = PointServiceClient::new(channel);
    if let Ok(answers) = client.stream_upsert_points(ReceiverStream::new(stream)).await {
        let mut answers = answers.into_inner();
        while let Some(Ok(answer)) = answers.next().await {
            assert!(answer.errors.is_empty() && answer.receipt.is_some(), "{answer:?}");
            let batch = first + answer.request_index;
            ledger.lock().unwrap().insert(batch, Known::Stored);
            if batch.is_multiple_of(3) {
                stored.send(batch).ok();
            }
            if answer.request_index + 1 >= acks
                && let Some(reached) = reached.take()
            {
                reached.send(()).ok();
            }
        }
    }
    sender.abort();
}

/// Deletes the batches that come, until no more come or the server is gone.
async fn delete(channel: Channel, ledger: Ledger, mut stored: mpsc::UnboundedReceiver<u64>) {
    let mut client = PointServiceClient::new(channel);
    while let Some(batch) = stored.recv().await {
        ledger.lock().unwrap().insert(batch, Known::DeleteSent);
        let ids = ids(batch).iter().map(from_model::point_id).collect();
        let request =
            proto::DeletePointsRequest { collection: "c".into(), ids, ..Default::default() };
        let Ok(answer) = client.delete_points(request).await else { return };
        assert_eq!(answer.into_inner().receipt.unwrap().affected, POINTS);
        ledger.lock().unwrap().insert(batch, Known::Deleted);
    }
}

/// Compares the database with the ledger, and settles what was in doubt.
fn check(root: &Path, ledger: &Ledger) -> u64 {
    let database = Database::open(root).unwrap();
    let collection = database.collection("c").unwrap();
    let mut ledger = ledger.lock().unwrap();
    let mut total = 0;
    for (batch, known) in ledger.iter_mut() {
        let present = present(&collection, *batch);
        assert!(present == 0 || present == POINTS, "half of batch {batch}: {present} points");
        match known {
            Known::Stored => assert_eq!(present, POINTS, "batch {batch} was acknowledged"),
            Known::Deleted => assert_eq!(present, 0, "batch {batch} was deleted"),
            Known::Absent => assert_eq!(present, 0, "batch {batch} came back"),
            Known::Sent | Known::DeleteSent => {
                *known = if present == POINTS { Known::Stored } else { Known::Absent };
            }
        }
        total += present;
    }
    assert_eq!(collection.count(), total, "and nothing else is there");
    total
}

fn present(collection: &Collection, batch: u64) -> u64 {
    let points = collection.get(&ids(batch), Include { payload: false, vectors: true }).unwrap();
    let vector = lanner::Vector::from(vec![batch as f32; DIMENSION]);
    let sound = |point: &Point| point.vectors["v"] == vector;
    points.iter().flatten().inspect(|point| assert!(sound(point))).count() as u64
}

fn round(root: &Path, ledger: &Ledger, acks: u64) {
    let mut server = ServerProcess::start(root, &["--seal-mib", "1", "--threads", "1"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = ledger.lock().unwrap().keys().next_back().map_or(0, |last| last + 1);
    runtime.block_on(async {
        let url = format!("http://{}", server.address());
        let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        let (reached, kill) = oneshot::channel();
        let (stored, to_delete) = mpsc::unbounded_channel();
        let delete = tokio::spawn(delete(channel.clone(), ledger.clone(), to_delete));
        let ingest = ingest(channel, ledger.clone(), first, acks, reached, stored);
        let ingest = tokio::spawn(ingest);
        kill.await.unwrap();
        server.kill();
        ingest.await.unwrap();
        delete.await.unwrap();
    });
}

#[test]
fn kill_9_loses_no_acknowledged_write_and_leaves_no_half_of_one() {
    let rounds =
        std::env::var("LANNER_CRASH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let folder = tempfile::tempdir().unwrap();
    let config =
        CollectionConfig::new().with_field("v", VectorField::single(DIMENSION, Metric::L2));
    Database::open(folder.path()).unwrap().create_collection("c", config).map(drop).unwrap();
    let mut random = Random::new(7);
    let ledger = Ledger::default();
    for number in 1..=rounds {
        round(folder.path(), &ledger, 1 + random.below(120) as u64);
        let total = check(folder.path(), &ledger);
        println!("kill {number}: {total} points in {} batches", ledger.lock().unwrap().len());
    }
    let deleted = ledger.lock().unwrap().values().filter(|known| **known == Known::Deleted).count();
    assert!(deleted > 0, "deletions took part");
    let info = Database::open(folder.path()).unwrap().collection("c").unwrap().info();
    assert!(info.segments.iter().any(|s| s.number.is_some()), "sealing took part: {info:?}");
}
