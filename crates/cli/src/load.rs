//! Many clients at once: queries a second and latencies over gRPC, beside those in this process.
//!
//! Server, clients and engine share this machine, as they do in a small installation; what the
//! clients take of it is part of the result. Each client has a connection of its own and asks its
//! next query when it has the answer to the last.

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};

use super::error::{CliError, Result};
use lanner::{Collection, Database, QueryRequest};
use lanner_client::proto::query_service_client::QueryServiceClient;
use lanner_client::{from_model, proto};
use lanner_eval::{Answered, LatencyRecorder, Load};
use lanner_server::{ServerConfig, serve};

/// The fastest of some runs of so many clients, each of which asks all requests.
pub fn measure(
    database: &Arc<Database>,
    collection: &str,
    requests: &[QueryRequest],
    clients: usize,
    runs: u8,
) -> Result<Load> {
    let faster = |best: &mut Answered, run: Answered| {
        if run.qps > best.qps {
            *best = run;
        }
    };
    let mut load = Load { clients, ..Load::default() };
    for _ in 0..runs {
        faster(
            &mut load.in_process,
            in_process(&database.collection(collection)?, requests, clients)?,
        );
        faster(&mut load.served, served(database.clone(), collection, requests, clients)?);
    }
    Ok(load)
}

/// Asks all requests from each of so many threads of this process.
fn in_process(
    collection: &Collection,
    requests: &[QueryRequest],
    clients: usize,
) -> Result<Answered> {
    let ask = |first: usize| -> Result<LatencyRecorder> {
        let mut latencies = LatencyRecorder::new();
        for request in in_turn(requests, first, clients) {
            let started = Instant::now();
            collection.query(request)?;
            latencies.record(started.elapsed());
        }
        Ok(latencies)
    };
    let started = Instant::now();
    let parts = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..clients).map(|first| scope.spawn(move || ask(first))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(lost()))).collect()
    });
    answered(started, parts)
}

/// Serves the database on a free port of this machine, and asks all requests from each of so many
/// connections.
fn served(
    database: Arc<Database>,
    collection: &str,
    requests: &[QueryRequest],
    clients: usize,
) -> Result<Answered> {
    let message = |request: &QueryRequest| proto::QueryRequest {
        collection: collection.to_owned(),
        search: Some(from_model::search(request)),
    };
    let messages: Arc<[proto::QueryRequest]> = requests.iter().map(message).collect();
    // The same threads as `lanner serve` has, and others for the clients.
    let (serving, asking) = (runtime()?, runtime()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let (address, server) = serving.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = serve(database, listener, ServerConfig::default(), async {
            let _ = stopped.await;
        });
        Ok::<_, CliError>((address, tokio::spawn(server)))
    })?;
    let answered = asking.block_on(ask_server(&format!("http://{address}"), &messages, clients));
    // The receiver is there as long as the server runs.
    let _ = stop.send(());
    serving.block_on(server).map_err(failed)?.map_err(failed)?;
    answered
}

async fn ask_server(
    address: &str,
    messages: &Arc<[proto::QueryRequest]>,
    clients: usize,
) -> Result<Answered> {
    let mut connected = Vec::with_capacity(clients);
    for _ in 0..clients {
        let endpoint = Endpoint::from_shared(address.to_owned()).map_err(failed)?;
        let mut client = QueryServiceClient::new(endpoint.connect().await.map_err(failed)?);
        // The first query opens the stream and fills caches.
        if let Some(first) = messages.first() {
            client.query(first.clone()).await?;
        }
        connected.push(client);
    }
    let started = Instant::now();
    let asked = connected
        .into_iter()
        .enumerate()
        .map(|(first, client)| tokio::spawn(ask_in_turn(client, messages.clone(), first, clients)));
    let asked: Vec<_> = asked.collect();
    let mut parts = Vec::with_capacity(clients);
    for task in asked {
        parts.push(task.await.unwrap_or_else(|_| Err(lost())));
    }
    answered(started, parts)
}

async fn ask_in_turn(
    mut client: QueryServiceClient<Channel>,
    messages: Arc<[proto::QueryRequest]>,
    first: usize,
    clients: usize,
) -> Result<LatencyRecorder> {
    let mut latencies = LatencyRecorder::new();
    for message in in_turn(&messages, first, clients) {
        let message = message.clone();
        let started = Instant::now();
        client.query(message).await?;
        latencies.record(started.elapsed());
    }
    Ok(latencies)
}

/// All requests, for each client from another one on.
fn in_turn<T>(requests: &[T], client: usize, clients: usize) -> impl Iterator<Item = &T> {
    let (before, from) = requests.split_at(requests.len() * client / clients);
    from.iter().chain(before)
}

fn answered(started: Instant, parts: Vec<Result<LatencyRecorder>>) -> Result<Answered> {
    let seconds = started.elapsed().as_secs_f64();
    let mut latencies = LatencyRecorder::new();
    for part in parts {
        latencies.merge(part?);
    }
    Ok(Answered {
        qps: latencies.len() as f64 / seconds,
        latency_ms: latencies.percentiles_ms().unwrap_or_default(),
    })
}

fn runtime() -> Result<Runtime> {
    Runtime::new().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Usage(format!("cannot measure over gRPC: {error}"))
}

fn lost() -> CliError {
    CliError::Usage("a measuring thread panicked".into())
}
