//! `CollectionService`.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::convert::{from_model, to_model};
use super::proto::collection_service_server::CollectionService;
use super::proto::{
    CollectionSummary, CreateCollectionRequest, CreateCollectionResponse, DeleteCollectionRequest,
    DeleteCollectionResponse, FlushCollectionRequest, FlushCollectionResponse,
    GetCollectionRequest, GetCollectionResponse, ListCollectionsRequest, ListCollectionsResponse,
    OptimizeCollectionRequest, OptimizeCollectionResponse, TrainCollectionRequest,
    TrainCollectionResponse, VerifyCollectionRequest, VerifyCollectionResponse,
};
use super::{blocking, on_collection};
use crate::Database;

/// The service on a database.
pub struct Collections(pub Arc<Database>);

#[tonic::async_trait]
impl CollectionService for Collections {
    async fn create_collection(
        &self,
        request: Request<CreateCollectionRequest>,
    ) -> Result<Response<CreateCollectionResponse>, Status> {
        let (database, request) = (self.0.clone(), request.into_inner());
        blocking(move || {
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
        let name = request.into_inner().name;
        let info = on_collection(&self.0, name, |collection| Ok(collection.info())).await?;
        let collection = Some(from_model::info(&info));
        Ok(Response::new(GetCollectionResponse { collection }))
    }

    async fn list_collections(
        &self,
        _request: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let summary = |(name, found): (String, crate::Result<crate::Collection>)| match found {
            Ok(collection) => CollectionSummary { name, points: collection.count(), error: None },
            Err(error) => CollectionSummary { name, points: 0, error: Some(error.to_string()) },
        };
        let collections = self.0.collections().into_iter().map(summary).collect();
        Ok(Response::new(ListCollectionsResponse { collections }))
    }

    async fn delete_collection(
        &self,
        request: Request<DeleteCollectionRequest>,
    ) -> Result<Response<DeleteCollectionResponse>, Status> {
        let (database, name) = (self.0.clone(), request.into_inner().name);
        blocking(move || database.delete_collection(&name)).await?;
        Ok(Response::new(DeleteCollectionResponse {}))
    }

    async fn flush_collection(
        &self,
        request: Request<FlushCollectionRequest>,
    ) -> Result<Response<FlushCollectionResponse>, Status> {
        let name = request.into_inner().name;
        on_collection(&self.0, name, |collection| collection.flush()).await?;
        Ok(Response::new(FlushCollectionResponse {}))
    }

    async fn optimize_collection(
        &self,
        request: Request<OptimizeCollectionRequest>,
    ) -> Result<Response<OptimizeCollectionResponse>, Status> {
        let name = request.into_inner().name;
        on_collection(&self.0, name, |collection| collection.optimize()).await?;
        Ok(Response::new(OptimizeCollectionResponse {}))
    }

    async fn train_collection(
        &self,
        request: Request<TrainCollectionRequest>,
    ) -> Result<Response<TrainCollectionResponse>, Status> {
        let TrainCollectionRequest { name, field, queries } = request.into_inner();
        on_collection(&self.0, name, move |collection| {
            let Some(queries) = queries else { return collection.train_on_recent(&field) };
            let queries = to_model::training_queries([(field.clone(), queries)])?;
            queries.into_values().try_for_each(|queries| collection.train(&field, queries))
        })
        .await?;
        Ok(Response::new(TrainCollectionResponse {}))
    }

    async fn verify_collection(
        &self,
        request: Request<VerifyCollectionRequest>,
    ) -> Result<Response<VerifyCollectionResponse>, Status> {
        let name = request.into_inner().name;
        let damage = on_collection(&self.0, name, |collection| Ok(collection.verify(|_| {})));
        let damage = damage.await?.iter().map(ToString::to_string).collect();
        Ok(Response::new(VerifyCollectionResponse { damage }))
    }
}
