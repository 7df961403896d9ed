//! Payload paths that are declared over gRPC, by messages and by the client's backend.

mod support;

use lanner::{
    CollectionConfig, DatabaseOptions, Durability, Error, ErrorKind, FacetRequest, Filter, JobKind,
    JobState, Metric, Payload, PayloadType, Point, VectorField,
};
use lanner_client::messages::{jobs, ordered};
use lanner_client::{Backend, ClientError, Credentials, Remote, proto};
use lanner_server::ServerConfig;
use support::grpc::Server;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A server with the collection `books` of ten points, one of which has a text as its `year`.
async fn library() -> Server {
    let server = Server::start_config(DatabaseOptions::new(), ServerConfig::default()).await;
    let config = CollectionConfig::new()
        .with_field("v", VectorField::single(2, Metric::L2))
        .with_payload("shelf", PayloadType::Keyword);
    let books = server.database.create_collection("books", config).unwrap();
    let book = |id: u64| {
        let year = if id == 7 { "\"MM\"".to_owned() } else { (2000 + id % 3).to_string() };
        let text = format!("{{\"shelf\": \"art\", \"year\": {year}}}");
        let payload = Payload::parse(&text).unwrap();
        Point::new(id).with_vector("v", vec![id as f32, 1.0]).with_payload(payload)
    };
    books.upsert((0..10).map(book)).unwrap();
    books.flush().unwrap();
    server
}

async fn begin(
    server: &Server,
    path: &str,
    payload_type: proto::PayloadType,
) -> Result<proto::Job, Status> {
    let (name, path) = ("books".to_owned(), path.to_owned());
    let request = proto::DeclarePayloadPathRequest { name, path, r#type: payload_type.into() };
    let answer = server.collections().declare_payload_path(request).await?;
    Ok(answer.into_inner().job.unwrap())
}

/// How a job ended.
async fn ended(server: &Server, id: u64) -> proto::Job {
    let watch = server.jobs().watch_job(proto::WatchJobRequest { id }).await;
    let (mut answers, mut last) = (watch.unwrap().into_inner(), None);
    while let Some(answer) = answers.message().await.unwrap() {
        last = answer.job;
    }
    last.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_is_a_job_that_names_a_point_of_another_type() {
    let server = library().await;
    let books = server.database.collection("books").unwrap();
    let begun = begin(&server, "year", proto::PayloadType::Integer).await.unwrap();
    assert_eq!((begun.kind(), &*begun.collection), (proto::JobKind::Declare, "books"));
    let failed = ended(&server, begun.id).await;
    let failure = failed.failure.unwrap();
    assert_eq!(failure.code, Code::InvalidArgument as i32);
    let expected = "point 7.payload.year: expected an integer of 64 bits with a sign, got \"MM\"";
    assert_eq!(failure.reason, expected);
    assert_eq!(books.config().payload.len(), 1);

    books.delete(vec![7.into()], Default::default()).unwrap();
    let begun = begin(&server, "year", proto::PayloadType::Integer).await.unwrap();
    assert_eq!(ended(&server, begun.id).await.state(), proto::JobState::Done);
    let request = ordered::from_facet("books", &FacetRequest::new("year"));
    let counts = server.points().facet_points(request).await.unwrap().into_inner();
    let counts = ordered::to_counts(counts).unwrap().counts;
    assert_eq!(counts.iter().map(|found| found.count).collect::<Vec<_>>(), [4, 3, 2]);
    let request = proto::GetCollectionRequest { name: "books".into() };
    let info = server.collections().get_collection(request).await.unwrap().into_inner();
    let info = info.collection.unwrap();
    let year = info.config.unwrap().payload["year"];
    assert_eq!(year, i32::from(proto::PayloadType::Integer));
    assert!(info.pending_paths.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_declared_is_refused_with_its_place() {
    let server = library().await;
    let cases = [
        ("shelf", proto::PayloadType::Integer, "payload.shelf", "with the type keyword"),
        ("year", proto::PayloadType::Unspecified, "payload.year", "keyword, integer, float"),
        ("", proto::PayloadType::Integer, "payload", "paths of at most 256 bytes"),
    ];
    for (path, payload_type, field, message) in cases {
        let status = begin(&server, path, payload_type).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{path}");
        assert!(status.message().contains(message), "{status}");
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
    }
    let request = proto::DeclarePayloadPathRequest { name: "none".into(), ..Default::default() };
    let status = server.collections().declare_payload_path(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_declares_and_waits() {
    let server = library().await;
    let address = server.address.to_string();
    let declared = tokio::task::spawn_blocking(move || {
        let remote = Remote::connect(&address, &Credentials::default()).unwrap();
        let job = remote.declare("books", "year", PayloadType::Integer).unwrap();
        let error = remote.wait_for(&job, &mut |_| {}).unwrap_err();
        let ClientError::Engine(Error::Shared { kind, reason }) = error else { panic!("{error}") };
        assert_eq!(kind, ErrorKind::InvalidArgument);
        assert!(reason.starts_with("point 7.payload.year: "), "{reason}");
        remote.delete("books", vec![7.into()], Durability::Synced).unwrap();
        let job = remote.declare("books", "year", PayloadType::Integer).unwrap();
        assert_eq!((job.kind, &*job.collection), (JobKind::Declare, "books"));
        remote.wait_for(&job, &mut |_| {}).unwrap();
        let again = remote.declare("books", "year", PayloadType::Integer).unwrap();
        assert_eq!(again.state, JobState::Done);
        assert!(remote.info("books").unwrap().pending_paths.is_empty());
        remote.count("books", Some(&Filter::eq("year", 2001))).unwrap()
    });
    assert_eq!(declared.await.unwrap(), 2);
    let job = server.database.jobs().pop().unwrap().info();
    assert_eq!(jobs::to_info(jobs::from_info(job.clone())).unwrap(), job);
}
