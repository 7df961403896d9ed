//! Facets, scrolls in an order and queries by groups, over gRPC: what comes back is what the engine says.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use lanner::{
    Collection, CollectionConfig, DatabaseOptions, FacetRequest, Filter, GroupRequest, Metric,
    OrderBy, OrderedScroll, Payload, PayloadType, Point, QueryRequest, VectorField,
};
use lanner_client::messages::{group, ordered};
use lanner_client::{from_model, proto};
use lanner_server::ServerConfig;
use support::grpc::Server;
use tonic::Code;
use tonic_types::StatusExt;

/// A server with 40 books.
async fn library() -> (Server, Collection) {
    let server = Server::start_config(DatabaseOptions::new(), ServerConfig::default()).await;
    let config = CollectionConfig::new()
        .with_field("v", VectorField::single(2, Metric::L2))
        .with_payload("added", PayloadType::Datetime)
        .with_payload("open", PayloadType::Boolean)
        .with_payload("price", PayloadType::Float)
        .with_payload("shelf", PayloadType::Keyword)
        .with_payload("year", PayloadType::Integer);
    let books = server.database.create_collection("books", config).unwrap();
    let book = |id: u64| {
        let shelf = ["art", "maths", "music"][id as usize % 3];
        let text = format!(
            "{{\"year\": {}, \"shelf\": [\"{shelf}\", \"all\"], \"open\": {}, \"price\": {}, \"added\": \"2024-05-{:02}\"}}",
            2000 + id * 7 % 10,
            id.is_multiple_of(4),
            id as f64 / 4.0,
            1 + id % 9
        );
        let vector = vec![id as f32, (id * 11 % 13) as f32];
        Point::new(id).with_vector("v", vector).with_payload(Payload::parse(&text).unwrap())
    };
    books.upsert((0..40).map(book)).unwrap();
    (server, books)
}

#[tokio::test(flavor = "multi_thread")]
async fn facets_are_those_of_the_engine() {
    let (server, books) = library().await;
    for path in ["added", "open", "price", "shelf", "year"] {
        let plain = FacetRequest::new(path);
        for request in [plain.clone(), plain.filter(Filter::eq("open", true)).limit(3)] {
            let message = ordered::from_facet("books", &request);
            assert_eq!(ordered::to_facet(message.clone()).unwrap(), request);
            let answer = server.points().facet_points(message).await.unwrap().into_inner();
            let answer = ordered::to_counts(answer).unwrap();
            assert_eq!(answer, books.facet(&request).unwrap());
            assert!(!answer.counts.is_empty());
        }
    }
    let none = ordered::from_facet("books", &FacetRequest::new("price").limit(0));
    let status = server.points().facet_points(none.clone()).await.unwrap_err();
    assert_eq!(status.message(), "limit: expected 1 to 10000, got 0");
    let bad = proto::FacetPointsRequest { path: "tags".into(), limit: 10, ..none };
    let status = server.points().facet_points(bad).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "path.tags");
}

#[tokio::test(flavor = "multi_thread")]
async fn ordered_pages_follow_each_other() {
    let (server, books) = library().await;
    for path in ["added", "open", "price", "shelf", "year"] {
        for order in [OrderBy::ascending(path), OrderBy::descending(path)] {
            let mut request = OrderedScroll::new(order).limit(7).with_payload();
            let mut ids = Vec::new();
            loop {
                let message = ordered::from_request("books", &request);
                let order_by = message.order_by.clone().unwrap();
                assert_eq!(ordered::to_request(message.clone(), order_by).unwrap(), request);
                let page = server.points().scroll_points(message).await.unwrap().into_inner();
                let page = ordered::to_page(page).unwrap();
                assert_eq!(page, books.scroll_ordered(&request).unwrap());
                ids.extend(page.points.iter().map(|point| point.id.clone()));
                let Some(next) = page.next else { break };
                request = request.after(next);
            }
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 40, "each once");
        }
    }
    let by_year = ordered::from_request("books", &OrderedScroll::new(OrderBy::ascending("year")));
    let value = Some(proto::filter_value::Value::Integer(7));
    let value = Some(proto::FilterValue { value });
    for (bad, field) in [
        (
            proto::ScrollPointsRequest {
                after: Some(from_model::point_id(&7.into())),
                ..by_year.clone()
            },
            "after_value",
        ),
        (proto::ScrollPointsRequest { after_value: value.clone(), ..by_year.clone() }, "after"),
        (
            proto::ScrollPointsRequest { after_value: value, order_by: None, ..by_year.clone() },
            "after_value",
        ),
        (
            proto::ScrollPointsRequest {
                order_by: Some(proto::OrderBy { path: "year".into(), direction: 9 }),
                ..by_year
            },
            "order_by.direction",
        ),
    ] {
        let status = server.points().scroll_points(bad).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_those_of_the_engine() {
    let (server, books) = library().await;
    let query = || QueryRequest::new("v", vec![3.0, 4.0]).limit(4);
    let requests = [
        GroupRequest::new(query().with_payload(), "shelf"),
        GroupRequest::new(query().filter(Filter::eq("open", true)).exact(), "year").group_size(2),
        GroupRequest::new(query().with_vectors(), "added").group_size(1),
    ];
    for request in &requests {
        let message = group::from_request("books", request);
        assert_eq!(&group::to_request(message.clone()).unwrap(), request);
        let answer = server.queries().query_groups(message).await.unwrap().into_inner();
        let answer = group::to_response(answer).unwrap();
        assert_eq!(answer, books.query_groups(request).unwrap());
        assert_eq!((answer.groups.len(), answer.estimated_recall), (4, Some(1.0)));
    }
    let explained = group::from_request("books", &GroupRequest::new(query().explain(), "year"));
    let answer = server.queries().query_groups(explained.clone()).await.unwrap().into_inner();
    assert!(!answer.explanation.unwrap().stages.is_empty());
    for (bad, message) in [
        (
            proto::QueryGroupsRequest { search: None, ..explained.clone() },
            "search: expected a search",
        ),
        (
            proto::QueryGroupsRequest { group_by: "x".into(), ..explained.clone() },
            "group_by.x: the path",
        ),
        (
            proto::QueryGroupsRequest { group_size: 0, ..explained },
            "group_size: expected 1 to 1000, got 0",
        ),
    ] {
        let status = server.queries().query_groups(bad).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(message), "{}", status.message());
    }
}
