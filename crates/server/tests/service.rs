//! The gRPC service, with a real server and the generated clients.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use lanner::{
    FusionRequest, Include, Metric, Normalization, Point, PointId, QueryRequest, Vector,
    VectorField,
};
use lanner_client::proto::{self, search_request, vector::Values};
use lanner_client::{from_model, to_model};
use support::grpc::{MESSAGE_BYTES, Server, message, point, search};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A point whose vector is given in this form.
fn with_values(id: u64, field: &str, values: Values, rows: Option<u32>) -> proto::Point {
    let vector = proto::Vector { values: Some(values), rows, ..Default::default() };
    proto::Point {
        id: Some(from_model::point_id(&id.into())),
        vectors: [(field.to_owned(), vector)].into(),
        payload_json: None,
    }
}

fn floats(values: &[f32]) -> Values {
    Values::Floats(proto::FloatValues { values: values.to_vec() })
}

#[tokio::test(flavor = "multi_thread")]
async fn points_go_in_and_come_out_in_every_form() {
    let server = Server::start().await;
    let values = [0.0, 0.6, 0.8];
    let bytes: Vec<u8> = values.iter().flat_map(|x: &f32| x.to_le_bytes()).collect();
    let halves: Vec<u8> =
        [0.0, 3.0, 4.0].iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
    let forms = [
        with_values(1, "v", floats(&values), None),
        with_values(2, "v", Values::F32(bytes.into()), None),
        with_values(3, "v", Values::F16(halves.into()), None),
        with_values(4, "m", floats(&[1.0, 2.0, 3.0, 4.0]), Some(2)),
    ];
    let receipt = server.upsert(forms.to_vec()).await.unwrap();
    assert_eq!((receipt.affected, receipt.sequence), (4, 1));
    assert_eq!(receipt.durability(), proto::Durability::Synced);

    let request = proto::GetPointsRequest {
        collection: "c".into(),
        ids: [3, 9, 1, 2, 4].map(|id: u64| from_model::point_id(&id.into())).to_vec(),
        include: Some(proto::Include { payload: true, vectors: true }),
    };
    let answer = server.points().get_points(request).await.unwrap().into_inner();
    let points: Vec<Point> =
        answer.points.into_iter().map(|point| to_model::point(point).unwrap()).collect();
    let expected = Vector::from(values.to_vec());
    assert_eq!(
        points.iter().map(|p| p.id.clone()).collect::<Vec<_>>(),
        [3, 1, 2, 4].map(Into::into)
    );
    assert!(points[..3].iter().all(|point| point.vectors["v"] == expected));
    assert_eq!(points[3].vectors["m"].as_ref().dimension(), 2);

    let request = proto::DeletePointsRequest {
        collection: "c".into(),
        ids: [1, 77].map(|id: u64| from_model::point_id(&id.into())).to_vec(),
        durability: proto::Durability::Buffered.into(),
        filter: None,
    };
    let receipt = server.points().delete_points(request).await.unwrap().into_inner().receipt;
    let receipt = receipt.unwrap();
    assert_eq!((receipt.affected, receipt.durability()), (1, proto::Durability::Buffered));
    let request = proto::CountPointsRequest { collection: "c".into(), filter: None };
    assert_eq!(server.points().count_points(request).await.unwrap().into_inner().count, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_equal_the_embedded_ones() {
    let server = Server::start().await;
    let points = (0..50_u64).map(|id| {
        let x = id as f32;
        let tokens = lanner::MultiVector::from_flat(2, vec![x, 1.0, 2.0, -x]).unwrap();
        let payload = lanner::Payload::parse(&format!("{{\"n\":{id}}}")).unwrap();
        point(id, &[x.sin(), x.cos(), 0.5]).with_vector("m", tokens).with_payload(payload)
    });
    server.upsert(points.map(|point| from_model::point(&point)).collect()).await.unwrap();
    let tokens = lanner::MultiVector::from_flat(2, vec![0.5, 1.0, 1.0, 0.25]).unwrap();
    let requests = [
        QueryRequest::new("v", vec![0.3, 0.2, 0.1]).limit(7).offset(2).with_payload(),
        QueryRequest::new("m", tokens).limit(9).with_vectors(),
        QueryRequest::new("v", lanner::PointId::from(3)),
    ];
    let collection = server.database.collection("c").unwrap();
    for request in &requests {
        let answer = server.search(from_model::search(request)).await.unwrap();
        let answer = to_model::response(answer).unwrap();
        assert_eq!(answer, collection.query(request).unwrap());
    }
    let batch = proto::BatchQueryRequest {
        collection: "c".into(),
        searches: requests.iter().map(from_model::search).collect(),
    };
    let results = server.queries().batch_query(batch).await.unwrap().into_inner().results;
    for (request, result) in requests.iter().zip(results) {
        assert_eq!(to_model::response(result).unwrap(), collection.query(request).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_points_are_named_and_nothing_is_applied() {
    let server = Server::start().await;
    server.upsert(vec![message(1, &[1.0, 0.0, 0.0])]).await.unwrap();
    let v = |values: &[f32]| with_values(2, "v", floats(values), None);
    let m = |values: &[f32], rows| with_values(2, "m", floats(values), Some(rows));
    let payload = |text: &str| proto::Point {
        payload_json: Some(text.to_owned()),
        ..message(2, &[1.0, 0.0, 0.0])
    };
    let cases = [
        (v(&[1.0]), "points[1].vectors.v: expected 3 dimensions, got 1"),
        (v(&[1.0, f32::NAN, 0.0]), "expected finite values, got NaN at position 1"),
        (v(&[1.0, 0.0, f32::NEG_INFINITY]), "expected finite values, got -inf at position 2"),
        (v(&[0.0, 0.0, 0.0]), "non-zero length under the cosine metric"),
        (m(&[], 0), "expected at least one vector, got none"),
        (m(&[1.0, 2.0, 3.0], 2), "3 values in 2 rows"),
        (m(&[1.0, 2.0, 3.0], 1), "points[1].vectors.m: expected 2 dimensions, got 3"),
        (
            with_values(2, "v", Values::F32(vec![0; 13].into()), None),
            "expected a multiple of 4 bytes in `f32`, got 13",
        ),
        (with_values(2, "nope", floats(&[1.0]), None), "the collection has: m, v"),
        (payload("[1]"), "payload: expected a JSON object"),
        (proto::Point { id: None, ..message(2, &[1.0, 0.0, 0.0]) }, "points[1].id: expected"),
    ];
    for (bad, expected) in cases {
        let good = message(3, &[0.0, 1.0, 0.0]);
        let status = server.upsert(vec![good, bad]).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert!(status.message().contains(expected), "{} / {expected}", status.message());
        let details = status.get_error_details();
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert!(violation.field.starts_with("points[1]"), "{}", violation.field);
        assert_eq!(server.count(), 1, "{expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_and_examples_reach_the_engine() {
    let server = Server::start().await;
    let vectors = [[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]];
    let points = (0..).zip(vectors).map(|(id, vector)| message(id, &vector)).collect();
    server.upsert(points).await.unwrap();
    let found = |answer: proto::SearchResponse| -> Vec<PointId> {
        answer.hits.into_iter().map(|hit| to_model::point(hit.point.unwrap()).unwrap().id).collect()
    };
    let query = search("v", vec![1.0, 0.0, 0.0], 10);
    let above = proto::SearchRequest { score_threshold: Some(0.7), ..query.clone() };
    assert_eq!(found(server.search(above).await.unwrap()), [0.into(), 1.into()]);
    let none = proto::SearchRequest { score_threshold: Some(f32::NAN), ..query.clone() };
    let status = server.search(none).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("score_threshold: expected a number"), "{status:?}");

    let ids = |ids: &[u64]| ids.iter().map(|&id| from_model::point_id(&id.into())).collect();
    let examples = |positive: &[u64], negative: &[u64]| {
        let examples = proto::RecommendQuery { positive: ids(positive), negative: ids(negative) };
        let recommend = Some(search_request::Query::Recommend(examples));
        proto::SearchRequest { query: recommend, ..query.clone() }
    };
    assert_eq!(found(server.search(examples(&[0], &[3])).await.unwrap()), [1.into(), 2.into()]);
    let code = |result: Result<_, Status>| result.map(drop).unwrap_err().code();
    assert_eq!(code(server.search(examples(&[], &[3])).await), Code::InvalidArgument);
    assert_eq!(code(server.search(examples(&[0, 44], &[])).await), Code::NotFound);
    let request = QueryRequest::new(
        "v",
        lanner::Query::Recommend { positive: vec![1.into(), "a".into()], negative: vec![2.into()] },
    );
    let request = request.score_threshold(-0.5).limit(3);
    assert_eq!(to_model::search(from_model::search(&request)).unwrap(), request);
}

/// 40 points with one vector, and two of three of them with tokens.
async fn server_with_tokens() -> Server {
    let server = Server::start().await;
    let points = (0..40_u64).map(|id| {
        let x = id as f32;
        let point = point(id, &[x.sin(), x.cos(), 0.5]);
        from_model::point(&match id % 3 {
            0 => point,
            _ => point.with_vector("m", tokens(&[x, 1.0, 2.0, -x])),
        })
    });
    server.upsert(points.collect()).await.unwrap();
    server
}

fn tokens(values: &[f32]) -> lanner::MultiVector {
    lanner::MultiVector::from_flat(2, values.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stages_answer_like_the_embedded_ones() {
    let server = server_with_tokens().await;
    let collection = server.database.collection("c").unwrap();
    let by_v = || QueryRequest::new("v", vec![0.3, 0.2, 0.1]).limit(6).offset(1);
    let like = lanner::Query::Recommend { positive: vec![7.into()], negative: vec![8.into()] };
    let requests = [
        by_v().rescore("m", tokens(&[0.5, 1.0]), 20).score_threshold(2.0),
        by_v().rescore("m", PointId::from(4), 20).with_payload(),
        by_v().rescore("v", like, 12),
        QueryRequest::new("m", PointId::from(5)).rescore("v", vec![1.0, 0.0, 0.0], 15),
    ];
    for request in &requests {
        let message = from_model::search(request);
        assert_eq!(&to_model::search(message.clone()).unwrap(), request);
        let answer = to_model::response(server.search(message).await.unwrap()).unwrap();
        assert_eq!(answer, collection.query(request).unwrap());
        assert!(!answer.hits.is_empty());
    }
    let explained = by_v().rescore("m", tokens(&[0.5, 1.0]), 20).explain();
    let answer = server.search(from_model::search(&explained)).await.unwrap();
    let stages = answer.explanation.unwrap().stages;
    assert_eq!(stages.last().map(|stage| stage.name.as_str()), Some("rescore"));

    let message = from_model::search(&by_v().rescore("m", tokens(&[0.5, 1.0]), 20));
    let rescore = message.rescore.clone().unwrap();
    for (bad, expected) in [
        (proto::Rescore { query: None, ..rescore.clone() }, "rescore.query: expected `vector`"),
        (proto::Rescore { candidates: 0, ..rescore.clone() }, "rescore.candidates: expected 7 to"),
        (proto::Rescore { field: "v".into(), ..rescore }, "rescore.vector: expected a single"),
    ] {
        let bad = proto::SearchRequest { rescore: Some(bad), ..message.clone() };
        let status = server.search(bad).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(expected), "{}", status.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fused_answers_equal_the_embedded_ones() {
    let server = server_with_tokens().await;
    let collection = server.database.collection("c").unwrap();
    let fuse = async |message: proto::FuseRequest| -> Result<_, Status> {
        let answer = server.queries().fuse(message).await?.into_inner();
        Ok(to_model::fused(answer).unwrap())
    };
    let by_v = QueryRequest::new("v", vec![0.3, 0.2, 0.1]).limit(15);
    let by_m = QueryRequest::new("m", tokens(&[0.5, 1.0])).limit(12);
    let two = || FusionRequest::new([by_v.clone(), by_m.clone()]);
    let requests = [
        two(),
        two().weights([0.5, 2.0]).k(3.5).limit(7).offset(2).with_vectors(),
        FusionRequest::new([by_m.clone().rescore("v", vec![1.0, 0.0, 0.0], 20)]),
        two().weights([0.5, 2.0]).scores(Normalization::MinMax),
        two().scores(Normalization::ZScore).limit(3),
        FusionRequest::new([by_v.clone()]).scores(Normalization::TheoreticalMinMax),
    ];
    for request in &requests {
        let message = from_model::fusion("c", request);
        assert_eq!(&to_model::fusion(message.clone()).unwrap(), request);
        assert_eq!(fuse(message).await.unwrap(), collection.fuse(request).unwrap());
    }
    let message = from_model::fusion("c", &two());
    let unset = proto::FuseRequest { k: None, explain: true, ..message.clone() };
    let answer = fuse(unset).await.unwrap();
    assert_eq!(answer.hits, collection.fuse(&two()).unwrap().hits, "k is 60 if it is not set");
    let stages = answer.explanations.iter().map(|explanation| explanation.stages.len());
    assert_eq!(stages.collect::<Vec<_>>(), [1, 1]);

    let mut broken = message.clone();
    broken.queries[1].query = None;
    for (bad, expected) in [
        (proto::FuseRequest { queries: vec![], ..message.clone() }, "queries: expected 1 to 64"),
        (proto::FuseRequest { limit: 0, ..message.clone() }, "limit: expected 1 to 10000, got 0"),
        (proto::FuseRequest { k: Some(0.0), ..message.clone() }, "k: expected a finite number"),
        (
            proto::FuseRequest { normalization: 1, ..message.clone() },
            "k: expected no `k` with a `normalization`, got 60",
        ),
        (
            proto::FuseRequest { normalization: 4, k: None, ..message.clone() },
            "normalization: expected a known normalization, got 4",
        ),
        (
            proto::FuseRequest { normalization: 3, k: None, ..message.clone() },
            "queries[1].field \"m\": expected a field whose scores have an infimum (under cosine, of text, or sparse)",
        ),
        (proto::FuseRequest { weights: vec![1.0], ..message.clone() }, "weights: expected one"),
        (broken, "queries[1].query: expected `vector`"),
    ] {
        let status = fuse(bad).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(expected), "{}", status.message());
    }
    let unknown = proto::FuseRequest { collection: "nope".into(), ..message };
    assert_eq!(fuse(unknown).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_memory_is_set_and_files_are_verified() {
    let server = Server::start().await;
    let cold = VectorField::single(2, Metric::Dot).in_memory(lanner::Memory::Cold);
    let config = lanner::CollectionConfig::new().with_field("v", cold);
    let config = Some(from_model::config(&config));
    let request = proto::CreateCollectionRequest { name: "m".into(), config, ..Default::default() };
    server.collections().create_collection(request).await.unwrap();
    let points = vec![message(1, &[1.0, 2.0])];
    let request = proto::UpsertPointsRequest { collection: "m".into(), points, durability: 0 };
    server.points().upsert_points(request).await.unwrap();
    let request = proto::FlushCollectionRequest { name: "m".into() };
    server.collections().flush_collection(request).await.unwrap();

    let request = proto::GetCollectionRequest { name: "m".into() };
    let info = server.collections().get_collection(request).await.unwrap().into_inner();
    let info = info.collection.unwrap();
    assert_eq!(info.config.unwrap().fields["v"].memory(), proto::Memory::Cold);
    let file = info.segments[0].files.iter().find(|file| file.name == "field-0.sec").unwrap();
    assert_eq!(file.memory(), proto::FileMemory::Random);
    let request = proto::VerifyCollectionRequest { name: "m".into() };
    let verified = server.collections().verify_collection(request).await.unwrap();
    let job = verified.into_inner().job.unwrap();
    assert_eq!(job.kind(), proto::JobKind::Verify);
    let request = proto::WatchJobRequest { id: job.id };
    let mut stream = server.jobs().watch_job(request).await.unwrap().into_inner();
    let mut last = job;
    while let Some(answer) = stream.message().await.unwrap() {
        last = answer.job.unwrap();
    }
    assert_eq!((last.state(), last.failure), (proto::JobState::Done, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_requests_have_the_right_code() {
    let server = Server::start().await;
    server.upsert(vec![message(1, &[1.0, 0.0, 0.0])]).await.unwrap();
    let code = |result: Result<proto::SearchResponse, Status>| result.unwrap_err().code();
    let query = || search("v", vec![1.0, 0.0, 0.0], 1);
    for limit in [0, 10_001] {
        let bad = proto::SearchRequest { limit, ..query() };
        assert_eq!(code(server.search(bad).await), Code::InvalidArgument);
    }
    let unknown = proto::SearchRequest { field: "nope".into(), ..query() };
    assert_eq!(code(server.search(unknown).await), Code::InvalidArgument);
    let none = proto::SearchRequest { query: None, ..query() };
    assert_eq!(code(server.search(none).await), Code::InvalidArgument);
    let missing = search_request::Query::Point(from_model::point_id(&9.into()));
    let missing = proto::SearchRequest { query: Some(missing), ..query() };
    assert_eq!(code(server.search(missing).await), Code::NotFound);

    let request = proto::QueryRequest { collection: "nope".into(), search: Some(query()) };
    let status = server.queries().query(request).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "collection `nope` does not exist");

    assert_eq!(server.create("c").await.unwrap_err().code(), Code::AlreadyExists);
    for name in ["", "Upper", "../x", &"x".repeat(65)] {
        assert_eq!(server.create(name).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let field = proto::VectorField { dimension: 3, kind: 1, metric: 99, ..Default::default() };
    let fields = [("v".to_owned(), field)].into();
    let config = proto::CollectionConfig { fields, ..Default::default() };
    let request = proto::CreateCollectionRequest {
        name: "d".into(),
        config: Some(config),
        ..Default::default()
    };
    let status = server.collections().create_collection(request).await.unwrap_err();
    assert_eq!(status.message(), "fields.v.metric: expected dot, cosine or l2, got 99");

    let request = proto::UpsertPointsRequest {
        collection: "c".into(),
        points: vec![message(1, &[1.0, 0.0, 0.0])],
        durability: 7,
    };
    let status = server.points().upsert_points(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_message_says_the_limit() {
    let server = Server::start().await;
    let huge = Values::F32(vec![0; MESSAGE_BYTES + 1].into());
    let status = server.upsert(vec![with_values(1, "v", huge, None)]).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains(&MESSAGE_BYTES.to_string()), "{status}");
    assert_eq!(server.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_stores_what_is_valid_and_reports_the_rest() {
    let server = Server::start().await;
    let request = |collection: &str, points| proto::StreamUpsertPointsRequest {
        collection: collection.to_owned(),
        points,
        durability: 0,
    };
    let requests = vec![
        request("c", vec![message(1, &[1.0, 0.0, 0.0]), message(2, &[1.0])]),
        request("", vec![message(3, &[0.0; 3])]),
        request("", vec![message(4, &[0.0, 1.0, 0.0])]),
    ];
    let stream = tokio_stream::iter(requests);
    let mut answers = server.points().stream_upsert_points(stream).await.unwrap().into_inner();
    let mut got = Vec::new();
    while let Some(answer) = answers.next().await {
        got.push(answer.unwrap());
    }
    assert_eq!(got.iter().map(|a| a.request_index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(got[0].receipt.as_ref().unwrap().affected, 1);
    assert_eq!(got[0].errors[0].index, 1);
    assert_eq!(got[0].errors[0].message, "vectors.v: expected 3 dimensions, got 1");
    assert!(got[1].receipt.is_none() && got[1].errors.len() == 1);
    assert!(got[2].errors.is_empty());
    assert_eq!(server.count(), 2);

    let stream = tokio_stream::iter(vec![request("nope", vec![message(1, &[1.0, 0.0, 0.0])])]);
    let mut answers = server.points().stream_upsert_points(stream).await.unwrap().into_inner();
    assert_eq!(answers.next().await.unwrap().unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_listed_described_and_deleted() {
    let server = Server::start().await;
    server.create("b").await.unwrap();
    server.upsert(vec![message(1, &[1.0, 0.0, 0.0])]).await.unwrap();
    let flush = proto::FlushCollectionRequest { name: "c".into() };
    server.collections().flush_collection(flush).await.unwrap();
    let optimize = proto::OptimizeCollectionRequest { name: "c".into() };
    let begun = server.collections().optimize_collection(optimize).await.unwrap();
    server.ended(begun.into_inner().job).await;
    let list = server.collections().list_collections(proto::ListCollectionsRequest {}).await;
    let list = list.unwrap().into_inner().collections;
    let names: Vec<(&str, u64)> = list.iter().map(|c| (c.name.as_str(), c.points)).collect();
    assert_eq!(names, [("b", 0), ("c", 1)]);
    let get = proto::GetCollectionRequest { name: "c".into() };
    let info = server.collections().get_collection(get).await.unwrap().into_inner();
    let info = info.collection.unwrap();
    assert_eq!((info.points, info.segments.len(), info.segments[0].files.len()), (1, 1, 3));
    let delete = proto::DeleteCollectionRequest { name: "c".into() };
    server.collections().delete_collection(delete.clone()).await.unwrap();
    let again = server.collections().delete_collection(delete).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_begun_listed_watched_and_cancelled() {
    let server = Server::start().await;
    server.upsert(vec![message(1, &[1.0, 0.0, 0.0])]).await.unwrap();
    let optimize = proto::OptimizeCollectionRequest { name: "c".into() };
    let begun = server.collections().optimize_collection(optimize).await.unwrap().into_inner();
    let job = begun.job.unwrap();
    assert_eq!((job.id, job.kind(), &*job.collection), (1, proto::JobKind::Optimize, "c"));
    server.ended(Some(job)).await;
    let listed = server.jobs().list_jobs(proto::ListJobsRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.jobs.len(), 1);
    let got = server.jobs().get_job(proto::GetJobRequest { id: 1 }).await.unwrap().into_inner();
    let ended = got.job.unwrap();
    assert_eq!((ended.state(), &*ended.phase), (proto::JobState::Done, "ended"));
    // What has ended is not cancelled any more.
    server.jobs().cancel_job(proto::CancelJobRequest { id: 1 }).await.unwrap();
    let got = server.jobs().get_job(proto::GetJobRequest { id: 1 }).await.unwrap().into_inner();
    assert_eq!(got.job.unwrap().state(), proto::JobState::Done);
    for status in [
        server.jobs().get_job(proto::GetJobRequest { id: 7 }).await.unwrap_err(),
        server.jobs().cancel_job(proto::CancelJobRequest { id: 7 }).await.unwrap_err(),
        server.jobs().watch_job(proto::WatchJobRequest { id: 7 }).await.unwrap_err(),
    ] {
        let message = "job 7 does not exist, or it ended long ago";
        assert_eq!((status.code(), status.message()), (Code::NotFound, message));
    }
    let optimize = proto::OptimizeCollectionRequest { name: "nope".into() };
    let status = server.collections().optimize_collection(optimize).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn scroll_pages_follow_each_other() {
    let server = Server::start().await;
    let points = (0..7).map(|id| message(id, &[1.0, id as f32, 0.0])).collect();
    server.upsert(points).await.unwrap();
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let request = proto::ScrollPointsRequest {
            collection: "c".into(),
            after,
            limit: 3,
            ..Default::default()
        };
        let page = server.points().scroll_points(request).await.unwrap().into_inner();
        ids.extend(page.points.into_iter().map(|p| to_model::point_id(p.id, "id").unwrap()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(ids, (0..7).map(lanner::PointId::from).collect::<Vec<_>>());
}

/// A server with the collection `books`, of three points with payloads.
async fn server_with_books() -> Server {
    let server = Server::start().await;
    let config = lanner::CollectionConfig::new()
        .with_field("v", VectorField::single(2, Metric::Dot))
        .with_payload("lang", lanner::PayloadType::Keyword)
        .with_payload("meta.year", lanner::PayloadType::Integer);
    let request = proto::CreateCollectionRequest {
        name: "books".into(),
        config: Some(from_model::config(&config)),
        ..Default::default()
    };
    server.collections().create_collection(request).await.unwrap();
    let info = proto::GetCollectionRequest { name: "books".into() };
    let info = server.collections().get_collection(info).await.unwrap().into_inner();
    assert_eq!(to_model::config(info.collection.unwrap().config).unwrap(), config);

    let books = [
        r#"{"lang": "en", "meta": {"year": 1851}}"#,
        r#"{"lang": ["en", "de"], "meta": {"year": 1999}}"#,
        r#"{"lang": "de"}"#,
    ];
    let books = (1..).zip(books).map(|(id, payload)| book(id, payload)).collect();
    server.points().upsert_points(books_upsert(books)).await.unwrap();
    server
}

fn book(id: u64, payload: &str) -> proto::Point {
    proto::Point {
        id: Some(from_model::point_id(&id.into())),
        vectors: [("v".to_owned(), from_model::vector(&vec![id as f32, 1.0].into()))].into(),
        payload_json: Some(payload.to_owned()),
    }
}

fn books_upsert(points: Vec<proto::Point>) -> proto::UpsertPointsRequest {
    proto::UpsertPointsRequest { collection: "books".into(), points, durability: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_restrict_queries_counts_scrolls_and_deletions() {
    let server = server_with_books().await;
    let english = lanner::Filter::eq("lang", "en");
    let json = proto::filter::Condition::Json(english.to_json().to_string());
    for filter in [from_model::filter(&english), proto::Filter { condition: Some(json) }] {
        let filter = Some(filter);
        let found = server.search_in("books", search_filtered(filter.clone())).await.unwrap();
        let found: Vec<_> =
            found.hits.into_iter().map(|hit| hit.point.unwrap().id.unwrap()).collect();
        assert_eq!(found, [2, 1].map(|id: u64| from_model::point_id(&id.into())));
        let count =
            proto::CountPointsRequest { collection: "books".into(), filter: filter.clone() };
        assert_eq!(server.points().count_points(count).await.unwrap().into_inner().count, 2);
        let collection = "books".into();
        let scroll = proto::ScrollPointsRequest { collection, filter, ..Default::default() };
        let page = server.points().scroll_points(scroll).await.unwrap().into_inner();
        assert_eq!(page.points.len(), 2);
    }
    let delete = |ids, filter| proto::DeletePointsRequest {
        collection: "books".into(),
        ids,
        filter,
        ..Default::default()
    };
    let both = delete(vec![from_model::point_id(&1.into())], Some(from_model::filter(&english)));
    let status = server.points().delete_points(both).await.unwrap_err();
    assert!(status.message().contains("ids: expected no ids beside a filter"), "{status:?}");
    let english = delete(Vec::new(), Some(from_model::filter(&english)));
    let deleted = server.points().delete_points(english).await.unwrap().into_inner();
    assert_eq!(deleted.receipt.unwrap().affected, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn undeclared_paths_are_filtered_by_reading_payloads() {
    let server = server_with_books().await;
    let more = vec![book(4, r#"{"sold": 3.5}"#), book(5, r#"{"sold": [1, 4]}"#)];
    server.points().upsert_points(books_upsert(more)).await.unwrap();
    let sold = lanner::Filter::range("sold", lanner::Bounds::new().gt(1).lte(4));
    let filter = Some(from_model::filter(&sold));
    let search = proto::SearchRequest { explain: true, ..search_filtered(filter) };
    let found = server.search_in("books", search).await.unwrap();
    let ids: Vec<_> = found.hits.into_iter().map(|hit| hit.point.unwrap().id.unwrap()).collect();
    assert_eq!(ids, [5, 4].map(|id: u64| from_model::point_id(&id.into())));
    let stages = found.explanation.unwrap().stages;
    let payloads = stages.iter().find(|stage| stage.source == "payloads").unwrap();
    assert!(payloads.name == "filter" && payloads.rows > 0, "{stages:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_and_vectors_are_updated_by_id_and_by_filter() {
    use proto::update_payloads_request::Update;
    let server = server_with_books().await;
    let id = |id: u64| from_model::point_id(&id.into());
    let english = Some(from_model::filter(&lanner::Filter::eq("lang", "en")));
    let update = |ids, filter, update| proto::UpdatePayloadsRequest {
        collection: "books".into(),
        ids,
        filter,
        update,
        durability: 0,
    };
    let payload = async |number: u64| {
        let request = proto::GetPointsRequest {
            collection: "books".into(),
            ids: vec![id(number)],
            include: Some(from_model::include(lanner::Include::ALL)),
        };
        let found = server.points().get_points(request).await.unwrap().into_inner();
        to_model::point(found.points.into_iter().next().unwrap()).unwrap()
    };
    let sold = Some(Update::MergeJson("{\"sold\": 2}".into()));
    let merge = update(Vec::new(), english.clone(), sold.clone());
    let answer = server.points().update_payloads(merge).await.unwrap().into_inner();
    assert_eq!((answer.receipt.unwrap().affected, answer.missing.len()), (2, 0));
    let delete = Some(Update::Delete(proto::PayloadPaths { paths: vec!["meta".into()] }));
    let delete = update(vec![id(1), id(9)], None, delete);
    let answer = server.points().update_payloads(delete).await.unwrap().into_inner();
    assert_eq!((answer.receipt.unwrap().affected, answer.missing), (1, vec![id(9)]));
    assert_eq!(payload(1).await.payload.unwrap().as_str(), r#"{"lang":"en","sold":2}"#);
    let set = update(vec![id(3)], None, Some(Update::SetJson("{}".into())));
    server.points().update_payloads(set).await.unwrap();
    assert_eq!(payload(3).await.payload.unwrap().as_str(), "{}");

    let vector = from_model::vector(&vec![5.0, 6.0].into());
    let point = |number| proto::PointVectors {
        id: Some(id(number)),
        vectors: [("v".to_owned(), vector.clone())].into(),
    };
    let request =
        |points| proto::UpdateVectorsRequest { collection: "books".into(), points, durability: 0 };
    let vectors = request(vec![point(1), point(9)]);
    let answer = server.points().update_vectors(vectors).await.unwrap().into_inner();
    assert_eq!((answer.receipt.unwrap().affected, answer.missing), (1, vec![id(9)]));
    let updated = payload(1).await;
    assert_eq!(updated.vectors["v"], vec![5.0, 6.0].into());
    assert_eq!(updated.payload.unwrap().as_str(), r#"{"lang":"en","sold":2}"#);

    for (request, field) in [
        (update(vec![id(1)], english, sold), "ids"),
        (update(vec![id(1)], None, None), "update"),
        (update(vec![id(1)], None, Some(Update::SetJson("[]".into()))), "payload"),
    ] {
        let status = server.points().update_payloads(request).await.unwrap_err();
        let details = status.get_error_details();
        let violation = details.bad_request().unwrap().field_violations[0].clone();
        assert_eq!((status.code(), &*violation.field), (Code::InvalidArgument, field));
    }
    let twice = request(vec![point(1), point(1)]);
    let status = server.points().update_vectors(twice).await.unwrap_err();
    assert!(status.message().contains("points[1].id: expected each id once"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_payloads_that_do_not_fit_are_refused() {
    let server = server_with_books().await;
    let wrong = books_upsert(vec![book(9, r#"{"meta": {"year": "1999"}}"#)]);
    let status = server.points().upsert_points(wrong).await.unwrap_err();
    let violation = &status.get_error_details().bad_request().unwrap().field_violations[0].clone();
    assert_eq!(
        (status.code(), &*violation.field),
        (Code::InvalidArgument, "points[0].payload.meta.year")
    );

    let wrong = from_model::filter(&lanner::Filter::eq("meta.year", "1999"));
    let status = server.search_in("books", search_filtered(Some(wrong))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("filter.meta.year: expected an integer"), "{status:?}");
    let empty = proto::Filter { condition: None };
    let status = server.search_in("books", search_filtered(Some(empty))).await.unwrap_err();
    assert!(status.message().contains("filter: expected a condition"), "{status:?}");
}

fn search_filtered(filter: Option<proto::Filter>) -> proto::SearchRequest {
    proto::SearchRequest { filter, ..search("v", vec![1.0, 0.0], 5) }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer() {
    let server = Server::start().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel.clone());
    for service in ["", "lanner.v1.PointService"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);
    }
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(server.channel.clone());
    let stream = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    let answer = stream.into_inner().next().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"lanner.v1.QueryService"), "{names:?}");
}

/// LVQ8 codes alone.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_answers_what_was_sent_and_ends_open_streams() {
    let server = Server::start().await;
    let (requests, stream) = mpsc::channel(4);
    let request = |id| proto::StreamUpsertPointsRequest {
        collection: "c".into(),
        points: vec![message(id, &[1.0, 0.0, 0.0])],
        durability: 0,
    };
    requests.send(request(1)).await.unwrap();
    let answers = server.points().stream_upsert_points(ReceiverStream::new(stream)).await;
    let mut answers = answers.unwrap().into_inner();
    assert_eq!(answers.next().await.unwrap().unwrap().request_index, 0);
    server.stop.send(()).unwrap();
    // The stream stays open on this side; the server ends it.
    while let Some(answer) = answers.next().await {
        answer.unwrap();
    }
    server.served.await.unwrap();
    let collection = server.database.collection("c").unwrap();
    assert!(collection.get(&[1.into()], Include::NOTHING).unwrap()[0].is_some());
    drop(requests);
}

/// The body of an answer to a plain HTTP request, as a scraper makes it.
async fn get(server: &Server, path: &str) -> (String, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: lanner\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_there_to_be_scraped() {
    let server = Server::start().await;
    server.create("empty").await.unwrap();
    let vector = [0.0, 0.6, 0.8];
    server.upsert(vec![message(1, &vector), message(2, &vector)]).await.unwrap();
    let (head, before) = get(&server, "/metrics").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    for line in [
        "# TYPE lanner_points gauge",
        "lanner_points{collection=\"c\"} 2",
        "lanner_points{collection=\"empty\"} 0",
        "lanner_segments{collection=\"c\"} 1",
        "lanner_indexes_missing{collection=\"c\"} 0",
        "lanner_background_errors{collection=\"c\"} 0",
        "lanner_collection_unusable{collection=\"c\"} 0",
        "lanner_read_only 0",
        "# TYPE lanner_query_estimated_recall summary",
        "lanner_query_estimated_recall_count{collection=\"c\"} 0",
    ] {
        assert!(before.lines().any(|found| found == line), "{line}\n{before}");
    }
    for _ in 0..3 {
        server.search(search("v", vector.to_vec(), 1)).await.unwrap();
    }
    // Scans find all.
    let (_, after) = get(&server, "/metrics").await;
    for line in [
        "lanner_query_estimated_recall_sum{collection=\"c\"} 3",
        "lanner_query_estimated_recall_count{collection=\"c\"} 3",
        "lanner_query_estimated_recall_count{collection=\"empty\"} 0",
    ] {
        assert!(after.lines().any(|found| found == line), "{line}\n{after}");
    }
    let (head, _) = get(&server, "/other").await;
    assert!(!head.contains("text/plain; version=0.0.4"), "{head}");
}
