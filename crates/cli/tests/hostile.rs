//! A server under clients that ask for as much as they can: how much memory it takes, and how long
//! those wait that ask for little.
//!
//! `LANNER_HOSTILE_SECONDS` says for how long; latencies are printed and fail nothing. The clients are
//! in this process, and share the machine with the server.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::Random;
use common::clusters::Clusters;
use lanner::{
    CollectionConfig, DatabaseOptions, Metric, MultiVector, Payload, Point, QueryRequest,
    VectorField,
};
use lanner_client::proto::collection_service_client::CollectionServiceClient;
use lanner_client::proto::point_service_client::PointServiceClient;
use lanner_client::proto::query_service_client::QueryServiceClient;
use lanner_client::{from_model, proto};
use support::server::ServerProcess;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::Status;
use tonic::transport::Channel;

const DIMENSION: usize = 96;
const POINTS: u64 = 100_000;
const TOKEN_DIMENSION: usize = 64;
const DOCUMENTS: u64 = 2_000;
/// The id of a point of a megabyte.
const LARGE: u64 = POINTS;
const MOST_BYTES: u64 = 1 << 30;

/// Collections `c` (the field `v`, searched by a graph), `d` (the same, empty) and `m` (documents of 32
/// tokens).
fn fill(root: &Path) -> Clusters {
    let mut random = Random::new(17);
    let clusters = Clusters::new(&mut random, 500, DIMENSION);
    let database = DatabaseOptions::new().open(root).unwrap();
    let field = VectorField::single(DIMENSION, Metric::Cosine);
    let config = CollectionConfig::new().with_field("v", field);
    let collection = database.create_collection("c", config.clone()).unwrap();
    database.create_collection("d", config).unwrap();
    for first in (0..POINTS).step_by(1_000) {
        collection.upsert(clusters.points(&mut random, first..first + 1_000)).unwrap();
    }
    let text = format!("{{\"text\":\"{}\"}}", "x".repeat(1_000_000));
    let vector = clusters.vector(&mut random);
    collection
        .upsert([Point::new(LARGE)
            .with_vector("v", vector)
            .with_payload(Payload::parse(&text).unwrap())])
        .unwrap();
    collection.optimize().unwrap();

    let field = VectorField::multi(TOKEN_DIMENSION, Metric::Dot);
    let config = CollectionConfig::new().with_field("m", field);
    let collection = database.create_collection("m", config).unwrap();
    for first in (0..DOCUMENTS).step_by(500) {
        let document = |id| {
            let tokens = MultiVector::from_flat(TOKEN_DIMENSION, tokens(&mut random, 32)).unwrap();
            Point::new(id).with_vector("m", tokens)
        };
        collection.upsert((first..first + 500).map(document).collect::<Vec<_>>()).unwrap();
    }
    clusters
}

fn tokens(random: &mut Random, count: usize) -> Vec<f32> {
    (0..count).flat_map(|_| random.vector(TOKEN_DIMENSION)).collect()
}

/// Clients of one address, and how their requests ended.
#[derive(Clone)]
struct Crowd {
    address: String,
    clusters: Arc<Clusters>,
    outcomes: Arc<Mutex<BTreeMap<(&'static str, String), u64>>>,
    until: Instant,
}

impl Crowd {
    fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    /// Asks again and again on a connection of its own.
    fn repeat<F>(&self, what: &'static str, ask: impl Fn(Channel) -> F + Send + 'static)
    where
        F: Future<Output = Result<(), Status>> + Send,
    {
        let (crowd, channel) = (self.clone(), self.channel());
        tokio::spawn(async move {
            while Instant::now() < crowd.until {
                let outcome = ask(channel.clone()).await;
                let code =
                    outcome.map_or_else(|status| format!("{:?}", status.code()), |()| "Ok".into());
                *crowd.outcomes.lock().unwrap().entry((what, code)).or_default() += 1;
            }
        });
    }

    fn search(&self, random: &mut Random, limit: usize, exact: bool) -> proto::SearchRequest {
        let request = QueryRequest::new("v", self.clusters.vector(random)).limit(limit);
        from_model::search(&if exact { request.exact() } else { request })
    }

    /// Batches of 4,096 exact queries, and of 60 that want 10,000 hits with their vectors.
    fn batches(&self, random: &mut Random) {
        let mut many: Vec<_> = (0..60).map(|_| self.search(random, 10_000, false)).collect();
        let include = proto::Include { vectors: true, payload: true };
        many.iter_mut().for_each(|search| search.include = Some(include));
        let exact: Vec<_> = (0..4_096).map(|_| self.search(random, 10, true)).collect();
        for (what, searches) in [("exact batches", exact), ("batches of many hits", many)] {
            let request = Arc::new(proto::BatchQueryRequest { collection: "c".into(), searches });
            for _ in 0..3 {
                let request = request.clone();
                self.repeat(what, move |channel| {
                    let request = proto::BatchQueryRequest::clone(&request);
                    async move {
                        let mut client =
                            QueryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
                        client.batch_query(request).await.map(drop)
                    }
                });
            }
        }
    }

    /// Queries of 4,000 tokens.
    fn long_queries(&self, random: &mut Random) {
        let tokens = MultiVector::from_flat(TOKEN_DIMENSION, tokens(random, 4_000)).unwrap();
        let search = from_model::search(&QueryRequest::new("m", tokens).limit(1_000));
        for _ in 0..4 {
            let search = search.clone();
            self.repeat("queries of 4,000 tokens", move |channel| {
                let search = Some(search.clone());
                let request = proto::QueryRequest { collection: "m".into(), search };
                async { QueryServiceClient::new(channel).query(request).await.map(drop) }
            });
        }
    }

    /// Everything again and again: points, vectors, and one large point many times.
    fn readers(&self) {
        let include = Some(proto::Include { vectors: true, payload: true });
        for _ in 0..4 {
            self.repeat("scrolls", move |channel| {
                let request = proto::ScrollPointsRequest {
                    collection: "c".into(),
                    limit: 10_000,
                    include,
                    ..Default::default()
                };
                async {
                    let client = PointServiceClient::new(channel);
                    client
                        .max_decoding_message_size(usize::MAX)
                        .scroll_points(request)
                        .await
                        .map(drop)
                }
            });
            self.repeat("a large point", move |channel| {
                let ids = vec![from_model::point_id(&LARGE.into()); 10_000];
                let request = proto::GetPointsRequest { collection: "c".into(), ids, include };
                async {
                    let client = PointServiceClient::new(channel);
                    client.max_decoding_message_size(usize::MAX).get_points(request).await.map(drop)
                }
            });
        }
    }

    /// Uploads of 8 MiB into a collection of others, and merges of it without end.
    fn writers(&self, random: &mut Random) {
        let points: Vec<_> = (0..20_000)
            .map(|id| {
                from_model::point(&Point::new(id).with_vector("v", self.clusters.vector(random)))
            })
            .collect();
        for _ in 0..2 {
            let points = points.clone();
            self.repeat("uploads", move |channel| {
                let request = proto::UpsertPointsRequest {
                    collection: "d".into(),
                    points: points.clone(),
                    durability: proto::Durability::Buffered.into(),
                };
                async { PointServiceClient::new(channel).upsert_points(request).await.map(drop) }
            });
        }
        for _ in 0..20 {
            self.repeat("optimizes", |channel| {
                let request = proto::OptimizeCollectionRequest { name: "d".into() };
                async {
                    CollectionServiceClient::new(channel)
                        .optimize_collection(request)
                        .await
                        .map(drop)
                }
            });
        }
    }

    /// Connections that say nothing, or half of a request.
    fn silent(&self) {
        for number in 0..300 {
            let (address, until) = (self.address.clone(), self.until);
            tokio::spawn(async move {
                let Ok(mut stream) = TcpStream::connect(address).await else { return };
                if number % 2 == 0 {
                    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.ok();
                }
                tokio::time::sleep_until(until.into()).await;
            });
        }
    }

    /// One client that asks for ten neighbours, one query after the other; milliseconds, sorted.
    async fn good(&self, random: &mut Random) -> Vec<f64> {
        let mut client = QueryServiceClient::new(self.channel());
        let mut latencies = Vec::new();
        while Instant::now() < self.until {
            let search = Some(self.search(random, 10, false));
            let asked = Instant::now();
            client.query(proto::QueryRequest { collection: "c".into(), search }).await.unwrap();
            latencies.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        latencies.sort_unstable_by(f64::total_cmp);
        latencies
    }
}

fn print(what: &str, latencies: &[f64]) {
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    println!(
        "{what}: {} queries, p50 {:.1} ms, p99 {:.1} ms, most {:.0} ms",
        latencies.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// What `/proc` says of the memory of a process, in bytes.
fn memory(process: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let kibibytes = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    kibibytes.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// What threads free is kept by the heaps of the C library: with one a core, two thirds less.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn a_server_has_as_many_heaps_as_cores() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(folder.path(), &[]);
    let environment = std::fs::read(format!("/proc/{}/environ", server.id())).unwrap();
    let variable = b"MALLOC_ARENA_MAX=";
    assert!(environment.split(|&byte| byte == 0).any(|entry| entry.starts_with(variable)));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute of all cores; `make test-long` runs it"]
async fn those_who_ask_for_little_are_served_beside_those_who_ask_for_all() {
    let seconds = std::env::var("LANNER_HOSTILE_SECONDS");
    let seconds = seconds.ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    let folder = tempfile::tempdir().unwrap();
    let clusters = Arc::new(fill(folder.path()));
    let server = ServerProcess::start(folder.path(), &[]);
    let crowd = |seconds| Crowd {
        address: server.address().to_owned(),
        clusters: clusters.clone(),
        outcomes: Arc::default(),
        until: Instant::now() + Duration::from_secs(seconds),
    };
    let mut random = Random::new(18);
    print("alone", &crowd(5).good(&mut random).await);
    let idle = memory(server.id(), "VmRSS:");
    let crowd = crowd(seconds);
    crowd.batches(&mut random);
    crowd.long_queries(&mut random);
    crowd.readers();
    crowd.writers(&mut random);
    crowd.silent();
    print("among hostile ones", &crowd.good(&mut random).await);
    for ((what, code), count) in crowd.outcomes.lock().unwrap().iter() {
        println!("  {what}: {code} {count}");
    }
    let most = memory(server.id(), "VmHWM:");
    println!("memory: {} MiB idle, {} MiB at most", idle >> 20, most >> 20);
    assert!(most - idle <= MOST_BYTES, "{} bytes above idle", most - idle);
}
