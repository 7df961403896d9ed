//! `CollectionService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::door::Caller;
use super::{in_turn, on_collection};
use lanner::{Collection, Database, TrainingQueries, VectorField};
use lanner_client::messages::filter;
use lanner_client::messages::jobs::from_info;
use lanner_client::proto::collection_service_server::CollectionService;
use lanner_client::proto::{
    CollectionSummary, CreateCollectionRequest, CreateCollectionResponse,
    DeclarePayloadPathRequest, DeclarePayloadPathResponse, DeleteCollectionRequest,
    DeleteCollectionResponse, FlushCollectionRequest, FlushCollectionResponse,
    GetCollectionRequest, GetCollectionResponse, ListCollectionsRequest, ListCollectionsResponse,
    OptimizeCollectionRequest, OptimizeCollectionResponse, TrainCollectionRequest,
    TrainCollectionResponse, VerifyCollectionRequest, VerifyCollectionResponse,
};
use lanner_client::{from_model, to_model};

/// Service implementation.
pub struct Collections(pub Arc<Database>);

#[tonic::async_trait]
impl CollectionService for Collections {
    async fn create_collection(
        &self,
        request: Request<CreateCollectionRequest>,
    ) -> Result<Response<CreateCollectionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (database, request) = (self.0.clone(), request.into_inner());
        caller.access().check_collection(&request.name)?;
        in_turn(&caller, move || {
            let config = to_model::config(request.config)?;
            let queries = to_model::training_queries(request.training_queries)?;
            database.create_collection_with(&request.name, config, &queries)
        })
        .await?;
        Ok(Response::new(CreateCollectionResponse {}))
    }

    async fn get_collection(
        &self,
        request: Request<GetCollectionRequest>,
    ) -> Result<Response<GetCollectionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        let info =
            on_collection(&self.0, &caller, name, |collection| Ok(collection.info())).await?;
        let collection = Some(from_model::info(&info));
        Ok(Response::new(GetCollectionResponse { collection }))
    }

    async fn list_collections(
        &self,
        request: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let summary = |(name, found): (String, lanner::Result<lanner::Collection>)| match found {
            Ok(collection) => CollectionSummary { name, points: collection.count(), error: None },
            Err(error) => CollectionSummary { name, points: 0, error: Some(error.to_string()) },
        };
        let collections = self.0.collections().into_iter();
        let reached = collections.filter(|(name, _)| caller.access().reaches(name));
        let collections = reached.map(summary).collect();
        Ok(Response::new(ListCollectionsResponse { collections }))
    }

    async fn delete_collection(
        &self,
        request: Request<DeleteCollectionRequest>,
    ) -> Result<Response<DeleteCollectionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (database, name) = (self.0.clone(), request.into_inner().name);
        caller.access().check_collection(&name)?;
        in_turn(&caller, move || database.delete_collection(&name)).await?;
        Ok(Response::new(DeleteCollectionResponse {}))
    }

    async fn flush_collection(
        &self,
        request: Request<FlushCollectionRequest>,
    ) -> Result<Response<FlushCollectionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        on_collection(&self.0, &caller, name, |collection| collection.flush()).await?;
        Ok(Response::new(FlushCollectionResponse {}))
    }

    async fn optimize_collection(
        &self,
        request: Request<OptimizeCollectionRequest>,
    ) -> Result<Response<OptimizeCollectionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        let begun = on_collection(&self.0, &caller, name, |collection| collection.start_optimize());
        let job = Some(from_info(begun.await?.info()));
        Ok(Response::new(OptimizeCollectionResponse { job }))
    }

    async fn train_collection(
        &self,
        request: Request<TrainCollectionRequest>,
    ) -> Result<Response<TrainCollectionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let TrainCollectionRequest { name, field, queries } = request.into_inner();
        let work = caller.work().clone();
        let begun = on_collection(&self.0, &caller, name, move |collection| {
            let queries = queries.map(|queries| [(field.clone(), queries)]).into_iter().flatten();
            let mut queries = to_model::training_queries(queries)?;
            let Some(queries) = queries.remove(&field) else {
                return collection.start_train_on_recent(&field);
            };
            let bytes = training_bytes(&collection, &field, &queries);
            let _held = work.reserve("training queries", bytes)?;
            collection.start_train(&field, queries)
        });
        let job = Some(from_info(begun.await?.info()));
        Ok(Response::new(TrainCollectionResponse { job }))
    }

    async fn verify_collection(
        &self,
        request: Request<VerifyCollectionRequest>,
    ) -> Result<Response<VerifyCollectionResponse>, Status> {
        let caller = Caller::of(&request)?;
        let name = request.into_inner().name;
        let begun = on_collection(&self.0, &caller, name, |collection| collection.start_verify());
        let job = Some(from_info(begun.await?.info()));
        Ok(Response::new(VerifyCollectionResponse { job }))
    }

    async fn declare_payload_path(
        &self,
        request: Request<DeclarePayloadPathRequest>,
    ) -> Result<Response<DeclarePayloadPathResponse>, Status> {
        let caller = Caller::of(&request)?;
        let DeclarePayloadPathRequest { name, path, r#type } = request.into_inner();
        let begun = on_collection(&self.0, &caller, name, move |collection| {
            let payload_type = filter::type_to_model(&path, r#type)?;
            collection.start_declare(&path, payload_type)
        });
        let job = Some(from_info(begun.await?.info()));
        Ok(Response::new(DeclarePayloadPathResponse { job }))
    }
}

/// Memory of queries while a field is trained on them: the queries, their prepared copy, and their
/// encodings.
fn training_bytes(collection: &Collection, field: &str, queries: &TrainingQueries) -> u64 {
    let encoded = collection.config().fields.get(field).map_or(0, VectorField::coded_dimension);
    let floats = 2 * queries.vectors().values().len() + queries.len().saturating_mul(encoded);
    4 * floats as u64
}
