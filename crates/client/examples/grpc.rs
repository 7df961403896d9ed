//! Lanner over gRPC: start `lanner serve --data db`, then `cargo run --release -p lanner-client
//! --example grpc`.

use lanner::{CollectionConfig, Metric, Payload, Point, QueryRequest, VectorField};
use lanner_client::proto::collection_service_client::CollectionServiceClient;
use lanner_client::proto::point_service_client::PointServiceClient;
use lanner_client::proto::query_service_client::QueryServiceClient;
use lanner_client::{from_model, proto, to_model};
use tonic::transport::Channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7700".to_owned());
    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    let collection = "rust-example".to_owned();

    let config = CollectionConfig::new().with_field("text", VectorField::single(3, Metric::Cosine));
    let mut collections = CollectionServiceClient::new(channel.clone());
    let config = Some(from_model::config(&config));
    let name = collection.clone();
    let request = proto::CreateCollectionRequest { name, config, ..Default::default() };
    collections.create_collection(request).await?;

    // `from_model` sends vectors as little-endian bytes.
    let points = [
        Point::new(1)
            .with_vector("text", vec![1.0, 0.0, 0.0])
            .with_payload(Payload::parse(r#"{"title": "north"}"#)?),
        Point::new(2).with_vector("text", vec![0.0, 1.0, 0.0]),
    ];
    let request = proto::UpsertPointsRequest {
        collection: collection.clone(),
        points: points.iter().map(from_model::point).collect(),
        durability: proto::Durability::Synced.into(),
    };
    PointServiceClient::new(channel.clone()).upsert_points(request).await?;

    let search = QueryRequest::new("text", vec![0.9, 0.1, 0.0]).limit(1).with_payload();
    let search = Some(from_model::search(&search));
    let request = proto::QueryRequest { collection: collection.clone(), search };
    let answer = QueryServiceClient::new(channel).query(request).await?.into_inner();
    for hit in to_model::response(answer.result.unwrap_or_default())?.hits {
        let payload = hit.point.payload.as_ref().map_or("", |payload| payload.as_str());
        println!("{:.3}  {}  {payload}", hit.score, hit.point.id);
    }

    let request = proto::DeleteCollectionRequest { name: collection };
    collections.delete_collection(request).await?;
    Ok(())
}
