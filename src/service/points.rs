//! `PointService`.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert::{from_model, to_model};
use super::proto::point_service_server::PointService;
use super::proto::{
    CountPointsRequest, CountPointsResponse, DeletePointsRequest, DeletePointsResponse,
    GetPointsRequest, GetPointsResponse, PointError, ScrollPointsRequest, ScrollPointsResponse,
    StreamUpsertPointsRequest, StreamUpsertPointsResponse, UpsertPointsRequest,
    UpsertPointsResponse,
};
use super::{blocking, on_collection, status};
use crate::model::{InvalidInput, Problem};
use crate::{Collection, Database};

/// Page of a scroll that does not say how many points it wants.
const SCROLL_LIMIT: usize = 100;
/// Answers of a stream that may wait for the client before the server stops reading.
const STREAM_ANSWERS: usize = 4;

/// The service on a database; `stopping` turns true when open streams should end.
pub struct Points {
    pub database: Arc<Database>,
    pub stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl PointService for Points {
    async fn upsert_points(
        &self,
        request: Request<UpsertPointsRequest>,
    ) -> Result<Response<UpsertPointsResponse>, Status> {
        let UpsertPointsRequest { collection, points, durability } = request.into_inner();
        let receipt = on_collection(&self.database, collection, move |collection| {
            let durability = to_model::durability(durability)?;
            let mut builder = collection.batch();
            for (index, point) in points.into_iter().enumerate() {
                to_model::push_point(&mut builder, point)
                    .map_err(|error| error.within(format!("points[{index}]")))?;
            }
            collection.upsert_batch(builder.finish(), durability)
        })
        .await?;
        let receipt = Some(from_model::receipt(&receipt));
        Ok(Response::new(UpsertPointsResponse { receipt }))
    }

    type StreamUpsertPointsStream = ReceiverStream<Result<StreamUpsertPointsResponse, Status>>;

    async fn stream_upsert_points(
        &self,
        request: Request<Streaming<StreamUpsertPointsRequest>>,
    ) -> Result<Response<Self::StreamUpsertPointsStream>, Status> {
        let (answers, stream) = mpsc::channel(STREAM_ANSWERS);
        let (database, stopping) = (self.database.clone(), self.stopping.clone());
        tokio::spawn(async move {
            let upsert = stream_upsert(&database, request.into_inner(), stopping, &answers);
            if let Err(status) = upsert.await {
                // A client that is gone needs no answer.
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_points(
        &self,
        request: Request<GetPointsRequest>,
    ) -> Result<Response<GetPointsResponse>, Status> {
        let GetPointsRequest { collection, ids, include } = request.into_inner();
        let points = on_collection(&self.database, collection, move |collection| {
            collection.get(&to_model::point_ids(ids)?, to_model::include(include))
        })
        .await?;
        let points = points.iter().flatten().map(from_model::point).collect();
        Ok(Response::new(GetPointsResponse { points }))
    }

    async fn delete_points(
        &self,
        request: Request<DeletePointsRequest>,
    ) -> Result<Response<DeletePointsResponse>, Status> {
        let DeletePointsRequest { collection, ids, durability, filter } = request.into_inner();
        let receipt = on_collection(&self.database, collection, move |collection| {
            let durability = to_model::durability(durability)?;
            match filter {
                None => collection.delete(to_model::point_ids(ids)?, durability),
                Some(filter) if ids.is_empty() => {
                    collection.delete_where(&to_model::filter(filter)?, durability)
                }
                Some(_) => {
                    let (expected, got) = ("no ids beside a filter", format!("{}", ids.len()));
                    Err(InvalidInput::new("ids", Problem::Mismatch { expected, got }).into())
                }
            }
        })
        .await?;
        let receipt = Some(from_model::receipt(&receipt));
        Ok(Response::new(DeletePointsResponse { receipt }))
    }

    async fn scroll_points(
        &self,
        request: Request<ScrollPointsRequest>,
    ) -> Result<Response<ScrollPointsResponse>, Status> {
        let ScrollPointsRequest { collection, after, limit, include, filter } =
            request.into_inner();
        let page = on_collection(&self.database, collection, move |collection| {
            let after = after.map(|id| to_model::point_id(Some(id), "after")).transpose()?;
            let limit = if limit == 0 { SCROLL_LIMIT } else { limit as usize };
            let filter = filter.map(to_model::filter).transpose()?;
            let include = to_model::include(include);
            collection.scroll_where(filter.as_ref(), after.as_ref(), limit, include)
        })
        .await?;
        let points = page.points.iter().map(from_model::point).collect();
        let next = page.next.as_ref().map(from_model::point_id);
        Ok(Response::new(ScrollPointsResponse { points, next }))
    }

    async fn count_points(
        &self,
        request: Request<CountPointsRequest>,
    ) -> Result<Response<CountPointsResponse>, Status> {
        let CountPointsRequest { collection, filter } = request.into_inner();
        let count = on_collection(&self.database, collection, |collection| match filter {
            Some(filter) => collection.count_where(&to_model::filter(filter)?),
            None => Ok(collection.count()),
        })
        .await?;
        Ok(Response::new(CountPointsResponse { count }))
    }
}

/// Reads, writes and answers one request after the other, until the client or the server ends
/// the stream. HTTP/2 holds the client back while a write or an answer is under way.
async fn stream_upsert(
    database: &Arc<Database>,
    mut requests: Streaming<StreamUpsertPointsRequest>,
    mut stopping: watch::Receiver<bool>,
    answers: &mpsc::Sender<Result<StreamUpsertPointsResponse, Status>>,
) -> Result<(), Status> {
    let mut name = String::new();
    for request_index in 0.. {
        let request = tokio::select! {
            request = requests.message() => request.map_err(status::oversized)?,
            _ = stopping.wait_for(|stopping| *stopping) => None,
        };
        let Some(request) = request else { return Ok(()) };
        if !request.collection.is_empty() {
            name.clone_from(&request.collection);
        }
        let (database, name) = (database.clone(), name.clone());
        let answer = blocking(move || write(&database.collection(&name)?, request_index, request));
        if answers.send(Ok(answer.await?)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes the valid points of a request and reports the others.
fn write(
    collection: &Collection,
    request_index: u64,
    request: StreamUpsertPointsRequest,
) -> crate::Result<StreamUpsertPointsResponse> {
    let durability = to_model::durability(request.durability)?;
    if request.points.is_empty() {
        let problem = Problem::Missing { expected: "at least one point" };
        return Err(InvalidInput::new("points", problem).into());
    }
    let mut builder = collection.batch();
    let mut errors = Vec::new();
    for (index, point) in (0..).zip(request.points) {
        let id = point.id.clone();
        if let Err(error) = to_model::push_point(&mut builder, point) {
            errors.push(PointError { index, id, message: error.to_string() });
        }
    }
    let receipt = if builder.is_empty() {
        None
    } else {
        Some(from_model::receipt(&collection.upsert_batch(builder.finish(), durability)?))
    };
    Ok(StreamUpsertPointsResponse { request_index, receipt, errors })
}
