//! Compression and indexes over gRPC: set, reported, used, and refused by name.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use lanner::{DatabaseOptions, Metric, QueryRequest, VectorField};
use lanner_client::{from_model, proto, to_model};
use support::grpc::{Server, message, search};
use tonic::Code;

fn lvq8() -> proto::Compression {
    let mode = proto::CompressionMode::Codes.into();
    let code = proto::LvqCode::Lvq8.into();
    proto::Compression { mode, code, drop_raw: true, ..Default::default() }
}

fn create_codes(
    compression: proto::Compression,
    queries: Option<Vec<f32>>,
) -> proto::CreateCollectionRequest {
    let field = proto::VectorField {
        dimension: 3,
        kind: proto::VectorKind::Single.into(),
        metric: proto::Metric::Dot.into(),
        compression: Some(compression),
        ..Default::default()
    };
    let fields = [("v".to_owned(), field)].into();
    let config = Some(proto::CollectionConfig { fields, ..Default::default() });
    let query = |values: Vec<f32>| ("v".to_owned(), one_query(values));
    let training_queries = queries.map(query).into_iter().collect();
    proto::CreateCollectionRequest { name: "codes".into(), config, training_queries }
}

fn one_query(values: Vec<f32>) -> proto::TrainingQueries {
    let vectors = Some(from_model::vector(&values.into()));
    proto::TrainingQueries { vectors, lengths: Vec::new() }
}

fn train_codes(
    field: &str,
    queries: Option<proto::TrainingQueries>,
) -> proto::TrainCollectionRequest {
    proto::TrainCollectionRequest { name: "codes".into(), field: field.into(), queries }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_compression_is_refused_and_named() {
    let server = Server::start().await;
    let wide = proto::Compression { dimension: Some(4), ..lvq8() };
    for (request, refused) in [
        (create_codes(proto::Compression { code: 0, ..lvq8() }, None), "compression.code"),
        (create_codes(wide, None), "fields.v.compression.dimension"),
        (create_codes(lvq8(), Some(vec![1.0])), "training_queries.v.queries[0]"),
    ] {
        let status = server.collections().create_collection(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(refused), "{status:?}");
    }
    let request = create_codes(lvq8(), None);
    server.collections().create_collection(request).await.unwrap();
    let queries = one_query(vec![3.0, 2.0, 1.0]);
    for (request, refused) in [
        (train_codes("w", Some(queries)), "no such vector field"),
        (train_codes("v", None), "queries: expected queries"),
    ] {
        let status = server.collections().train_collection(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(refused), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_is_trained_used_and_explained() {
    let server = Server::start().await;
    let request = create_codes(lvq8(), Some(vec![1.0, 2.0, 3.0]));
    server.collections().create_collection(request).await.unwrap();
    let points = (0..1100_u64).map(|id| message(id, &[id as f32, 1.0, -(id as f32)])).collect();
    let request = proto::UpsertPointsRequest { collection: "codes".into(), points, durability: 0 };
    server.points().upsert_points(request).await.unwrap();
    let queries = one_query(vec![3.0, 2.0, 1.0]);
    let begun = server.collections().train_collection(train_codes("v", Some(queries))).await;
    server.ended(begun.unwrap().into_inner().job).await;

    let request = proto::GetCollectionRequest { name: "codes".into() };
    let answer = server.collections().get_collection(request).await.unwrap().into_inner();
    let info = answer.collection.unwrap();
    let codec = &info.segments[0].codecs["v"];
    assert_eq!((codec.code(), codec.dimension), (proto::LvqCode::Lvq8, 3));
    assert_eq!(info.config.unwrap().fields["v"].compression, Some(lvq8()));

    let search = |rerank| proto::QueryRequest {
        collection: "codes".into(),
        search: Some(proto::SearchRequest {
            params: Some(proto::SearchParams {
                exact: false,
                rerank: Some(rerank),
                ..Default::default()
            }),
            include: Some(proto::Include { payload: false, vectors: true }),
            explain: true,
            ..search("v", vec![1.0, 0.0, -1.0], 2)
        }),
    };
    let answer = server.queries().query(search(20)).await.unwrap().into_inner().result.unwrap();
    let best = answer.hits[0].point.as_ref().unwrap();
    assert_eq!(best.id, Some(from_model::point_id(&1099.into())));
    assert!(best.vectors["v"].reconstructed);
    let stages = answer.explanation.unwrap().stages;
    assert_eq!((stages[0].name.as_str(), stages[0].source.as_str()), ("scan", "codes lvq8"));
    assert_eq!((stages[1].name.as_str(), stages[1].rows), ("rerank", 20));
    let status = server.queries().query(search(1)).await.unwrap_err();
    assert!(status.message().contains("rerank: expected 2 to 100000, got 1"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn encodings_are_set_trained_and_explained() {
    let server = Server::start().await;
    let field = VectorField::multi(2, Metric::Cosine)
        .encoded("fde:repetitions=2:planes=2:block=0".parse().unwrap())
        .compressed("lvq8/lvq4".parse().unwrap())
        .pooled(2);
    let config = lanner::CollectionConfig::new().with_field("t", field);
    let name = || "codes".to_owned();
    let create = |config: &lanner::CollectionConfig, lengths: Vec<u32>| {
        let vectors =
            lanner::MultiVector::from_flat(2, vec![0.6, 0.8, 1.0, 0.0, 0.0, 1.0]).unwrap();
        let vectors = Some(from_model::vector(&vectors.into()));
        let queries = proto::TrainingQueries { vectors, lengths };
        proto::CreateCollectionRequest {
            name: name(),
            config: Some(from_model::config(config)),
            training_queries: [("t".to_owned(), queries)].into(),
        }
    };
    for (lengths, refused) in [
        (vec![], "training_queries.t.lengths: expected the number of vectors"),
        (vec![2], "training_queries.t.lengths: expected lengths that add up"),
        (vec![0, 3], "training_queries.t.queries[0]"),
    ] {
        let request = create(&config, lengths);
        let status = server.collections().create_collection(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(refused), "{status:?}");
    }
    server.collections().create_collection(create(&config, vec![1, 2])).await.unwrap();
    let tokens = |id: u64| {
        let angle = id as f32 * 0.01;
        let values = vec![angle.cos(), angle.sin(), angle.cos(), angle.sin()];
        lanner::MultiVector::from_flat(2, values).unwrap()
    };
    let point = |id: u64| lanner::Point::new(id).with_vector("t", tokens(id));
    let points = (0..1100).map(|id| from_model::point(&point(id))).collect();
    let request = proto::UpsertPointsRequest { collection: name(), points, durability: 0 };
    server.points().upsert_points(request).await.unwrap();
    let request = proto::OptimizeCollectionRequest { name: name() };
    let begun = server.collections().optimize_collection(request).await.unwrap();
    server.ended(begun.into_inner().job).await;

    let request = proto::GetCollectionRequest { name: name() };
    let answer = server.collections().get_collection(request).await.unwrap().into_inner();
    let info = answer.collection.unwrap();
    let settings = to_model::config(info.config).unwrap();
    assert_eq!(settings, config, "settings survive the way there and back");
    assert!(info.segments[0].codecs.is_empty(), "what is scanned by centroids needs no encodings");
    assert_eq!(info.segments[0].centroids["t"].count, 64);
    assert!(info.segments[0].indexes.is_empty(), "a scan of centroids has nothing to calibrate");
    let ask = QueryRequest::new("t", tokens(100)).limit(1).rerank(200).explain();
    let answer = server.search_in("codes", from_model::search(&ask)).await.unwrap();
    let id = answer.hits[0].point.as_ref().unwrap().id.clone();
    // The angles come again after 628 points.
    assert!([100, 728].map(|id: u64| Some(from_model::point_id(&id.into()))).contains(&id));
    let stages = answer.explanation.unwrap().stages;
    assert_eq!(stages[0].source, "centroids");
    // Rows of equal scores count as one.
    assert_eq!(stages[1].source, "secondary codes");
    assert!(stages[1].rows >= 200, "{stages:?}");
}

/// The collection `i`, of the field `v` with this index.
fn create_indexed(index: proto::IndexSettings) -> proto::CreateCollectionRequest {
    let config =
        lanner::CollectionConfig::new().with_field("v", VectorField::single(3, Metric::L2));
    let mut config = from_model::config(&config);
    config.fields.get_mut("v").unwrap().index = Some(index);
    proto::CreateCollectionRequest { name: "i".into(), config: Some(config), ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_set_reported_and_searched_for_a_recall() {
    let server = Server::start_with(DatabaseOptions::new().index_rows(1000)).await;
    let graph = proto::IndexKind::Graph.into();
    let settings = |kind, degree| proto::IndexSettings {
        kind,
        graph_max_degree: Some(degree),
        ..Default::default()
    };
    for (bad, refused) in [
        (settings(9, 16), "fields.v.index.kind: expected auto, graph, ivf or flat, got 9"),
        (settings(graph, 7), "fields.v.index.graph_max_degree: expected 8 to 256, got 7"),
    ] {
        let status = server.collections().create_collection(create_indexed(bad)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, refused));
    }
    let request = create_indexed(settings(graph, 16));
    server.collections().create_collection(request).await.unwrap();
    let points = (0..1500_u64).map(|id| {
        let x = id as f32 / 50.0;
        message(id, &[x.sin() * x, x.cos() * x, x])
    });
    let points = points.collect();
    let request = proto::UpsertPointsRequest { collection: "i".into(), points, durability: 0 };
    server.points().upsert_points(request).await.unwrap();
    let optimize = proto::OptimizeCollectionRequest { name: "i".into() };
    let begun = server.collections().optimize_collection(optimize).await.unwrap();
    server.ended(begun.into_inner().job).await;

    let request = proto::GetCollectionRequest { name: "i".into() };
    let answer = server.collections().get_collection(request).await.unwrap().into_inner();
    let info = answer.collection.unwrap();
    assert_eq!(info.config.unwrap().fields["v"].index, Some(settings(graph, 16)));
    let status = info.segments[0].indexes["v"].status.clone();
    let Some(proto::field_index::Status::Ready(ready)) = status else { panic!("{status:?}") };
    assert_eq!((ready.kind, ready.degree, ready.lists), (graph, 16, 0));
    assert!(ready.size_bytes > 1500 * 16 * 4 && !ready.calibrated_by_user);
    assert!(ready.calibration.iter().any(|point| point.k == 10 && point.recall > 0.9));

    let collection = server.database.collection("i").unwrap();
    let ask = |request: &QueryRequest| {
        let search = Some(from_model::search(request));
        let mut queries = server.queries();
        let request = proto::QueryRequest { collection: "i".into(), search };
        async move { queries.query(request).await.map(|answer| answer.into_inner().result) }
    };
    let at = |query: [f32; 3]| QueryRequest::new("v", query.to_vec()).explain();
    // Beside a point, and far from all.
    let (near, far) = ([4.6, 5.28, 7.0], [3.0, 2.0, 7.0]);
    let request = || at(far);
    let targets = [at(near), at(far)].map(|at| [0.9, 0.99].map(|to| at.clone().target_recall(to)));
    for request in targets.concat().into_iter().chain([at(far).search_window(3), at(far).exact()]) {
        let is_near = request.query == at(near).query;
        let answer = to_model::response(ask(&request).await.unwrap().unwrap()).unwrap();
        let embedded = collection.query(&request).unwrap();
        assert_eq!(answer.hits, embedded.hits);
        assert_eq!(answer.estimated_recall, embedded.estimated_recall);
        let stage = &answer.explanation.unwrap().stages[0];
        let window = request.params.search_window;
        // Far from all points, vectors are scored, and the estimate says so.
        let scanned = window.is_none() && answer.estimated_recall == Some(1.0);
        assert_eq!(stage.name, if scanned { "scan" } else { "search" });
        assert!(window.is_none() || stage.source.ends_with("window 3"), "{stage:?}");
        let target = request.params.target_recall.unwrap_or(0.0);
        // By hand, what to expect may not have been measured.
        let estimated = answer.estimated_recall.or(window.map(|_| 1.0)).unwrap();
        // What is far from all points may say less: little was measured that is like it.
        let least = target - if is_near { 0.03 } else { 0.3 };
        assert!(estimated >= least, "{estimated} for {target}, near: {is_near}");
    }
    for (request, refused) in [
        (request().target_recall(0.3), "target_recall: expected 0.5 to 0.999, got 0.3"),
        (request().search_window(0), "search_window: expected 1 to 100000, got 0"),
    ] {
        let status = ask(&request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, refused));
    }
}
