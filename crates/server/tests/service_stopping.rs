//! How the server stops: what was begun is answered in bounded time, and nobody who is idle is waited for.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use std::time::Duration;

use http::Request;
use lanner::DatabaseOptions;
use lanner_client::proto;
use lanner_server::{ServerConfig, ServerLimits};
use prost::Message;
use prost::bytes::Bytes;
use support::grpc::{Server, message};
use support::http2::{Connection, framed, grpc, outcome};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Less than the grace period of the defaults, which requests may take.
const SOON: Duration = Duration::from_secs(10);

async fn server(config: ServerConfig) -> Server {
    let server = Server::start_config(DatabaseOptions::new(), config).await;
    server.create("c").await.unwrap();
    server
}

fn upsert() -> Vec<u8> {
    let points = vec![message(1, &[0.0, 0.6, 0.8])];
    let request = proto::UpsertPointsRequest { collection: "c".into(), points, durability: 0 };
    framed(&request.encode_to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_idle_are_not_waited_for() {
    let server = server(ServerConfig::default()).await;
    // Answers the ping that comes with GOAWAY.
    let answering = Connection::open(server.address).await;
    let health = || Request::get("http://127.0.0.1/healthz").body(()).unwrap();
    assert_eq!(answering.send(health(), b"").await.status(), 200);
    // Says nothing, or nothing more after the start of HTTP/2.
    let silent = TcpStream::connect(server.address).await.unwrap();
    let mut greeting = TcpStream::connect(server.address).await.unwrap();
    greeting.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // Had an answer, and hears nothing any more, as if its process was suspended.
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (requests, mut suspended) = h2::client::handshake(stream).await.unwrap();
    let answered = async {
        let mut requests = requests.ready().await.unwrap();
        let (answer, _) = requests.send_request(health(), true).unwrap();
        answer.await.unwrap().status()
    };
    tokio::select! {
        status = answered => assert_eq!(status, 200),
        ended = &mut suspended => panic!("{ended:?}"),
    }

    server.stop.send(()).unwrap();
    timeout(SOON, server.served).await.expect("idle clients hold the server").unwrap();
    timeout(SOON, answering.closed).await.unwrap().unwrap();
    drop((silent, greeting, suspended));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_answered() {
    let limits = ServerLimits { farewell: Duration::from_millis(50), ..ServerLimits::default() };
    let server = server(ServerConfig { limits, ..ServerConfig::default() }).await;
    let connection = Connection::open(server.address).await;
    let bytes = upsert();
    let (begun, rest) = bytes.split_at(10);
    let head = grpc("PointService/UpsertPoints").body(()).unwrap();
    let (answer, mut body) = connection.start(head).await;
    body.send_data(Bytes::copy_from_slice(begun), false).unwrap();
    // The request has arrived once another one on the same connection is answered.
    let health = Request::get("http://127.0.0.1/healthz").body(()).unwrap();
    assert_eq!(connection.send(health, b"").await.status(), 200);

    let database = server.database.clone();
    server.stop.send(()).unwrap();
    sleep(Duration::from_millis(500)).await;
    body.send_data(Bytes::copy_from_slice(rest), true).unwrap();
    assert_eq!(outcome(answer.await.unwrap()).await, (0, String::new()));
    assert_eq!(database.collection("c").unwrap().count(), 1);
    timeout(SOON, server.served).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_is_cut_off() {
    let grace = Duration::from_millis(300);
    let server = server(ServerConfig { grace, ..ServerConfig::default() }).await;
    let connection = Connection::open(server.address).await;
    let head = grpc("PointService/UpsertPoints").body(()).unwrap();
    let (_answer, mut body) = connection.start(head).await;
    body.send_data(Bytes::copy_from_slice(&upsert()[..10]), false).unwrap();
    let health = Request::get("http://127.0.0.1/healthz").body(()).unwrap();
    assert_eq!(connection.send(health, b"").await.status(), 200);

    server.stop.send(()).unwrap();
    timeout(SOON, server.served).await.unwrap().unwrap();
}
