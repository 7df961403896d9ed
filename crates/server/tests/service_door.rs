//! The door of the server: web pages, keys, budgets and patience, with clients that do as they like.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use lanner::{CollectionConfig, DatabaseOptions, Metric, Payload, Point, VectorField};
use lanner_client::{from_model, proto};
use lanner_server::{KeyRing, NewKey, Role, ServerConfig, ServerLimits};
use prost::Message;
use prost::bytes::Bytes;
use support::grpc::{Server, message, search};
use support::http2::{Connection, framed, grpc, http1, outcome};
use tonic::{Code, Status};

/// What a page makes a browser send: to delete the collection `secret`, in 13 bytes.
const DELETION: &[u8] = b"\0\0\0\0\x08\x0a\x06secret";
const DELETE: &str = "/lanner.v1.CollectionService/DeleteCollection";

async fn server(config: ServerConfig) -> Server {
    let server = Server::start_config(DatabaseOptions::new(), config).await;
    let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
    server.database.create_collection("secret", config).unwrap();
    server
}

fn limited(limits: ServerLimits) -> ServerConfig {
    ServerConfig { limits, ..ServerConfig::default() }
}

/// The bytes of requests that `/metrics` says were received and are not answered yet.
async fn received_bytes(server: &Server) -> u64 {
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let (_, text) = http1(server.address, request).await;
    let used = "lanner_budget_used_bytes{budget=\"received\"} ";
    let used = text.lines().find_map(|line| line.strip_prefix(used)).expect("a gauge");
    used.parse().expect("a whole number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_cannot_delete_a_collection() {
    let server = server(ServerConfig::default()).await;
    let own = format!("{}", server.address);
    let cases = [
        (&*own, "text/plain", "origin: http://evil.example\r\n", "403"),
        (&*own, "text/plain", "", "505"),
        (&*own, "application/grpc", "", "505"),
        ("evil.example", "text/plain", "", "403"),
        ("evil.example:7700", "application/grpc", "", "403"),
    ];
    for (host, kind, origin, status) in cases {
        let head = format!(
            "POST {DELETE} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\n{origin}\
             content-length: {}\r\nconnection: close\r\n\r\n",
            DELETION.len()
        );
        let request = [head.as_bytes(), DELETION].concat();
        let (head, body) = http1(server.address, &request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{host} {kind}: {head} {body}");
        assert!(server.database.collection("secret").is_ok(), "{host} {kind}");
    }

    // Over HTTP/2, which pages reach by TLS.
    let connection = Connection::open(server.address).await;
    let request = || Request::post(format!("http://127.0.0.1{DELETE}"));
    let plain = request().header("content-type", "text/plain").body(()).unwrap();
    assert_eq!(connection.send(plain, DELETION).await.status(), 415);
    let from_page = request().header("content-type", "application/grpc");
    let from_page = from_page.header("origin", "https://evil.example").body(()).unwrap();
    let (code, text) = outcome(connection.send(from_page, DELETION).await).await;
    assert_eq!((code, &*text), (7, "origin: expected none, got \"https://evil.example\""));
    let rebound = Request::post(format!("http://evil.example{DELETE}"));
    let rebound = rebound.header("content-type", "application/grpc").body(()).unwrap();
    assert_eq!(outcome(connection.send(rebound, DELETION).await).await.0, 7);
    assert!(server.database.collection("secret").is_ok());
    // The same bytes from a client delete it.
    let request = grpc("CollectionService/DeleteCollection").body(()).unwrap();
    assert_eq!(outcome(connection.send(request, DELETION).await).await.0, 0);
    assert!(server.database.collection("secret").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_for_metrics_and_health() {
    let allowed_hosts = vec!["db.example.org".to_owned()];
    let server = server(ServerConfig { allowed_hosts, ..ServerConfig::default() }).await;
    let ask = async |request: &str| {
        let request = format!("{request}\r\nconnection: close\r\n\r\n");
        http1(server.address, request.as_bytes()).await
    };
    let own = server.address;
    for (path, expected) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let (head, body) = ask(&format!("GET {path} HTTP/1.1\r\nhost: {own}")).await;
        assert!(head.starts_with("HTTP/1.1 200") && body == expected, "{head} {body}");
    }
    for (request, status) in [
        ("GET /metrics HTTP/1.1\r\nhost: db.example.org:7700", 200),
        ("GET /metrics HTTP/1.1\r\nhost: evil.example", 403),
        ("GET /metrics HTTP/1.1\r\nhost: localhost\r\norigin: null", 403),
        ("POST /metrics HTTP/1.1\r\nhost: localhost", 405),
        ("GET / HTTP/1.1\r\nhost: localhost", 505),
    ] {
        let (head, _) = ask(request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {head}");
    }
    let (_, text) = ask("GET /metrics HTTP/1.1\r\nhost: localhost").await;
    for line in [
        "lanner_requests_total{method=\"/healthz\",code=\"0\"} 1",
        "lanner_requests_total{method=\"/metrics\",code=\"7\"} 2",
        "lanner_request_seconds_count{method=\"/readyz\"} 1",
        "lanner_requests_in_progress 1",
        "lanner_budget_used_bytes{budget=\"work\"} 0",
        "lanner_unsealed_bytes{collection=\"secret\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

/// Every method of the service, and what comes with it.
fn methods() -> BTreeSet<String> {
    let files = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap().file;
    let mut paths = BTreeSet::from([
        "/grpc.health.v1.Health/Check".to_owned(),
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned(),
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo".to_owned(),
        "/no.such.Service/Method".to_owned(),
    ]);
    for file in &files {
        for service in &file.service {
            let path = |method: &str| format!("/{}.{}/{method}", file.package(), service.name());
            paths.extend(service.method.iter().map(|method| path(method.name())));
        }
    }
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_nothing_but_unauthenticated() {
    let keys = KeyRing::new(&[("test", "0123456789abcdef", Role::ReadWrite)], None).unwrap();
    let config = ServerConfig { keys: Some(Arc::new(keys)), ..ServerConfig::default() };
    let server = server(config).await;
    let connection = Connection::open(server.address).await;
    let wrong = ["", "0123456789abcdef", "Bearer", "Bearer x", "Basic 0123456789abcdef"];
    for path in methods() {
        for authorization in wrong {
            let request = Request::post(format!("http://evil.example{path}"))
                .header("content-type", "application/grpc")
                .header("authorization", authorization);
            let answer = connection.send(request.body(()).unwrap(), DELETION).await;
            assert_eq!(outcome(answer).await.0, 16, "{path} {authorization:?}");
        }
    }
    for verb in ["GET", "POST", "OPTIONS", "DELETE"] {
        for path in ["/", "/metrics", "/healthz", "/readyz", "/x", DELETE] {
            let request =
                format!("{verb} {path} HTTP/1.1\r\nhost: x.y\r\nconnection: close\r\n\r\n");
            let (head, body) = http1(server.address, request.as_bytes()).await;
            assert!(head.starts_with("HTTP/1.1 401"), "{verb} {path}: {head}");
            assert!(body.starts_with("UNAUTHENTICATED"), "{verb} {path}: {body}");
        }
    }
    assert!(server.database.collection("secret").is_ok());
    let request = grpc("CollectionService/DeleteCollection");
    let request = request.header("authorization", "Bearer 0123456789abcdef").body(()).unwrap();
    assert_eq!(outcome(connection.send(request, DELETION).await).await.0, 0);
    let request = "GET /healthz HTTP/1.1\r\nhost: db.example.org\r\n\
                   authorization: Bearer 0123456789abcdef\r\nconnection: close\r\n\r\n";
    assert!(http1(server.address, request.as_bytes()).await.0.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_allow_what_they_say_and_are_rotated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let made = |name: &str, role, collections: &[String]| {
        NewKey::generate(name, role, collections).unwrap()
    };
    let names = ["mine".to_owned(), "new".to_owned()];
    let admin = made("admin", Role::ReadWrite, &[]);
    let reader = made("reader", Role::ReadOnly, &[]);
    let tenant = made("tenant", Role::ReadWrite, &names);
    let lines = [&admin.line, &reader.line, &tenant.line].map(String::as_str);
    std::fs::write(&path, lines.join("\n")).unwrap();
    let keys = Arc::new(KeyRing::new(&[], Some(&path)).unwrap());
    let config = ServerConfig { keys: Some(keys.clone()), ..ServerConfig::default() };
    let server = server(config).await;

    let connection = Connection::open(server.address).await;
    let call = async |key: &NewKey, method: &str, body: Vec<u8>| {
        let request = grpc(method).header("authorization", format!("Bearer {}", key.key));
        outcome(connection.send(request.body(()).unwrap(), &framed(&body)).await).await
    };
    let create = |name: &str| {
        let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
        let config = Some(from_model::config(&config));
        let name = name.to_owned();
        proto::CreateCollectionRequest { name, config, ..Default::default() }.encode_to_vec()
    };
    let count = |name: &str| {
        proto::CountPointsRequest { collection: name.to_owned(), filter: None }.encode_to_vec()
    };
    let (create_method, count_method) =
        ("CollectionService/CreateCollection", "PointService/CountPoints");
    assert_eq!(call(&admin, create_method, create("mine")).await.0, 0);
    assert_eq!(call(&reader, count_method, count("secret")).await.0, 0);
    let (code, text) = call(&reader, create_method, create("x")).await;
    assert_eq!((code, &*text), (7, "this needs a read-write key, and the given one is read-only"));
    assert_eq!(call(&tenant, count_method, count("mine")).await.0, 0);
    assert_eq!(call(&tenant, create_method, create("new")).await.0, 0);
    // Whether it exists makes no difference.
    for name in ["secret", "nowhere"] {
        let (code, text) = call(&tenant, count_method, count(name)).await;
        assert_eq!(code, 7, "{text}");
        assert_eq!(call(&tenant, create_method, create(name)).await.0, 7);
        assert_eq!(
            call(&tenant, "CollectionService/DeleteCollection", DELETION[5..].to_vec()).await.0,
            7
        );
    }
    let upsert = proto::StreamUpsertPointsRequest {
        collection: "secret".into(),
        points: vec![message(1, &[1.0])],
        durability: 0,
    };
    let stream = call(&tenant, "PointService/StreamUpsertPoints", upsert.encode_to_vec()).await;
    assert_eq!(stream.0, 7, "{stream:?}");
    assert_eq!(server.database.collection("secret").unwrap().count(), 0);

    let request = grpc("CollectionService/ListCollections");
    let request = request.header("authorization", format!("Bearer {}", tenant.key));
    let mut answer = connection.send(request.body(()).unwrap(), &framed(&[])).await;
    let list = answer.body_mut().data().await.unwrap().unwrap();
    let list = proto::ListCollectionsResponse::decode(&list[5..]).unwrap();
    let listed: Vec<_> = list.collections.into_iter().map(|summary| summary.name).collect();
    assert_eq!(listed, ["mine", "new"]);

    // Rotated: the connection stays.
    let next = made("admin", Role::ReadWrite, &[]);
    std::fs::write(&path, &next.line).unwrap();
    keys.reload().unwrap();
    assert_eq!(call(&admin, count_method, count("mine")).await.0, 16);
    assert_eq!(call(&next, count_method, count("mine")).await.0, 0);
}

fn payload(bytes: usize) -> Payload {
    Payload::parse(&format!("{{\"text\":\"{}\"}}", "x".repeat(bytes))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_end_where_they_are_full() {
    let limits = ServerLimits { page_bytes: 100_000, ..ServerLimits::default() };
    let server = server(limited(limits)).await;
    let collection = server.database.collection("secret").unwrap();
    let point = |id: u64| Point::new(id).with_vector("v", vec![1.0]).with_payload(payload(30_000));
    collection.upsert((0..10).map(point)).unwrap();
    let include = Some(proto::Include { payload: true, vectors: false });
    let ids = |ids: &[u64]| ids.iter().map(|&id| from_model::point_id(&id.into())).collect();

    // A thousand times the same one.
    let get = |ids| proto::GetPointsRequest { collection: "secret".into(), ids, include };
    let answer = server.points().get_points(get(ids(&[7; 1000]))).await.unwrap().into_inner();
    assert_eq!((answer.points.len(), answer.next), (4, Some(4)));
    let answer = server.points().get_points(get(ids(&[99, 1, 2, 3]))).await.unwrap().into_inner();
    assert_eq!((answer.points.len(), answer.next), (3, None));

    let (mut after, mut pages) = (None, Vec::new());
    loop {
        let request = proto::ScrollPointsRequest {
            collection: "secret".into(),
            after,
            limit: 1000,
            include,
            ..Default::default()
        };
        let page = server.points().scroll_points(request).await.unwrap().into_inner();
        pages.push(page.points.len());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [4, 4, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_more_memory_than_there_is_are_refused() {
    let limits =
        ServerLimits { work_bytes: 2 << 20, request_bytes: 1 << 20, ..ServerLimits::default() };
    let server = server(limited(limits)).await;
    let collection = server.database.collection("secret").unwrap();
    let point = |id: u64| Point::new(id).with_vector("v", vec![id as f32]);
    let large = point(0).with_payload(payload(100_000));
    collection.upsert([large].into_iter().chain((1..5000).map(point))).unwrap();

    let refused = |result: Result<_, Status>, text: &str| {
        let status = result.map(drop).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.message().contains(text), "{status:?}");
    };
    // Four answers with the same large payload fit not, one does.
    let one = proto::SearchRequest {
        include: Some(proto::Include { payload: true, vectors: false }),
        ..search("v", vec![-1.0], 1)
    };
    server.search_in("secret", one.clone()).await.unwrap();
    let batch = |searches| proto::BatchQueryRequest { collection: "secret".into(), searches };
    let answers = server.queries().batch_query(batch(vec![one; 4])).await;
    refused(
        answers.map(drop),
        "answers to queries: expected at most 1048576 bytes of memory for one",
    );
    // Candidates of many queries come piece by piece; those of one count at once.
    let window = |rows: u32| {
        let mut search = search("v", vec![1.0], 1);
        search.params = Some(proto::SearchParams { rerank: Some(rows), ..Default::default() });
        search
    };
    let answers = server.queries().batch_query(batch(vec![window(100_000); 3])).await;
    assert_eq!(answers.unwrap().into_inner().results.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_large_when_it_is_decoded_is_refused_before() {
    let limits = ServerLimits { connection_bytes: 8 << 20, ..ServerLimits::default() };
    let server = server(limited(limits)).await;
    let connection = Connection::open(server.address).await;
    // 100,000 empty searches: 200 kB on the wire, more than 50 MB in memory.
    let searches = vec![proto::SearchRequest::default(); 100_000];
    let bomb = proto::BatchQueryRequest { collection: "secret".into(), searches }.encode_to_vec();
    assert!(bomb.len() < 210_000);
    let request = || grpc("QueryService/BatchQuery").body(()).unwrap();
    let (code, text) = outcome(connection.send(request(), &framed(&bomb)).await).await;
    assert_eq!(code, 8, "{text}");
    assert!(text.contains("decoded messages: expected at most 8388608 bytes"), "{text}");
    // Malformed bytes are the client's mistake.
    for malformed in [&[0xff; 20][..], b"\x0a\x50short"] {
        let (code, text) = outcome(connection.send(request(), &framed(malformed)).await).await;
        assert_eq!(code, 3, "{text}");
        assert!(text.starts_with("malformed message"), "{text}");
    }
    let cut = &framed(&bomb)[..100];
    assert_eq!(outcome(connection.send(request(), cut).await).await.0, 3);
    let compressed = [&[1][..], &framed(b"")[1..]].concat();
    assert_eq!(outcome(connection.send(request(), &compressed).await).await.0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_messages_are_counted_and_end() {
    let limits = ServerLimits {
        connection_bytes: 400_000,
        message: Duration::from_secs(3),
        ..ServerLimits::default()
    };
    let server = server(limited(limits)).await;
    let connection = Connection::open(server.address).await;
    let part = [&framed(&[0; 500_000])[..200_000], &[]].concat();
    let mut open = Vec::new();
    let send_part = async || {
        let request = grpc("PointService/UpsertPoints").body(()).unwrap();
        let (response, mut stream) = connection.start(request).await;
        stream.send_data(Bytes::from(part.clone()), false).unwrap();
        (response, stream)
    };
    for _ in 0..2 {
        open.push(send_part().await);
    }
    // Two fit, 16 KiB of each uncounted. The third is sent when they were read, so that it is the
    // one that finds no place.
    let both_are_read =
        async { while received_bytes(&server).await < 2 * (200_000 - (16 << 10)) {} };
    tokio::time::timeout(Duration::from_secs(30), both_are_read).await.expect("two are counted");
    let (response, _third) = send_part().await;
    let (code, text) = outcome(response.await.unwrap()).await;
    assert_eq!(code, 8, "{text}");
    // The two time out.
    for (response, _stream) in open {
        let (code, text) = outcome(response.await.unwrap()).await;
        assert_eq!(code, 4, "{text}");
    }
    // All is given back.
    let count = proto::CountPointsRequest { collection: "secret".into(), filter: None };
    assert_eq!(server.points().count_points(count).await.unwrap().into_inner().count, 0);
    let upsert = proto::UpsertPointsRequest {
        collection: "secret".into(),
        points: vec![from_model::point(
            &Point::new(1).with_vector("v", vec![1.0]).with_payload(payload(100_000)),
        )],
        durability: 0,
    };
    let request = grpc("PointService/UpsertPoints").body(()).unwrap();
    let upsert = framed(&upsert.encode_to_vec());
    assert_eq!(outcome(connection.send(request, &upsert).await).await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_whose_clients_are_silent_or_do_not_read() {
    let limits = ServerLimits {
        handshake: Duration::from_millis(200),
        unread: Duration::from_millis(200),
        ..ServerLimits::default()
    };
    let server = server(limited(limits)).await;
    // Silent from the start: the end of the stream is all there is to read.
    let mut silent = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut answer).await.ok();
    assert!(answer.is_empty() || answer.len() < 100, "{answer:?}");
    // An answer of 2 MB, of which 64 kB fit into the window and are never read.
    let collection = server.database.collection("secret").unwrap();
    let point =
        |id: u64| Point::new(id).with_vector("v", vec![1.0]).with_payload(payload(1_000_000));
    collection.upsert([point(1), point(2)]).unwrap();
    let connection = Connection::open(server.address).await;
    let request = proto::ScrollPointsRequest {
        collection: "secret".into(),
        include: Some(proto::Include { payload: true, vectors: false }),
        ..Default::default()
    };
    let head = grpc("PointService/ScrollPoints").body(()).unwrap();
    let unread = connection.send(head, &framed(&request.encode_to_vec())).await;
    assert_eq!(unread.status(), 200);
    connection.closed.await.unwrap();
    drop(unread);
    // Others are served.
    server.points().scroll_points(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_requests_as_there_are_places() {
    let limits = ServerLimits { requests: 1, ..ServerLimits::default() };
    let server = server(limited(limits)).await;
    let connection = Connection::open(server.address).await;
    let stream = grpc("PointService/StreamUpsertPoints").body(()).unwrap();
    let (head, _open) = connection.start(stream).await;
    // The answer to a stream starts when it was admitted.
    assert_eq!(head.await.unwrap().status(), 200);
    let health = Request::get("http://127.0.0.1/healthz").body(()).unwrap();
    assert_eq!(connection.send(health, b"").await.status(), 503);
    let request = grpc("PointService/UpsertPoints").body(()).unwrap();
    let (code, text) = outcome(connection.send(request, &framed(b"")).await).await;
    assert_eq!((code, &*text), (8, "expected at most 1 requests at a time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_as_many_connections_as_there_are_places() {
    let limits = ServerLimits { connections: 2, ..ServerLimits::default() };
    let server = server(limited(limits)).await;
    let health = || Request::get("http://127.0.0.1/healthz").body(()).unwrap();
    let (first, second) =
        (Connection::open(server.address).await, Connection::open(server.address).await);
    for connection in [&first, &second] {
        assert_eq!(connection.send(health(), b"").await.status(), 200);
    }
    let mut third = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let read = tokio::io::AsyncReadExt::read(&mut third, &mut [0]).await;
    assert!(read.is_err() || read.is_ok_and(|bytes| bytes == 0));
    assert_eq!(first.send(health(), b"").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_key_does_not_keep_a_connection() {
    let keys = KeyRing::new(&[("test", "0123456789abcdef", Role::ReadWrite)], None).unwrap();
    let limits = ServerLimits { silence: Duration::from_millis(500), ..ServerLimits::default() };
    let config = ServerConfig { keys: Some(Arc::new(keys)), limits, ..ServerConfig::default() };
    let server = server(config).await;
    let connection = Connection::open(server.address).await;
    // Bytes come all the time, and no key.
    while !connection.closed.is_finished() {
        let request = grpc("QueryService/Query").body(()).unwrap();
        let Ok((answer, _)) = connection.try_start(request).await else { break };
        if let Ok(answer) = answer.await {
            assert_eq!(outcome(answer).await.0, 16);
        }
    }
    connection.closed.await.unwrap();
}
