//! `PointService`.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::door::Caller;
use super::query::deadline;
use super::{ANSWER_COPIES, on_collection, status};
use lanner::PageRoom;
use lanner::{Collection, Database};
use lanner::{InvalidInput, Problem};
use lanner_client::codec;
use lanner_client::messages::ordered;
use lanner_client::messages::search::count;
use lanner_client::messages::update;
use lanner_client::proto::point_service_server::PointService;
use lanner_client::proto::{
    CountPointsRequest, CountPointsResponse, DeletePointsRequest, DeletePointsResponse,
    FacetPointsRequest, FacetPointsResponse, GetPointsRequest, GetPointsResponse, PointError,
    ScrollPointsRequest, ScrollPointsResponse, StreamUpsertPointsRequest,
    StreamUpsertPointsResponse, UpdatePayloadsRequest, UpdatePayloadsResponse,
    UpdateVectorsRequest, UpdateVectorsResponse, UpsertPointsRequest, UpsertPointsResponse,
};
use lanner_client::{from_model, to_model};

/// Responses of a stream that may be queued before the server stops reading.
const STREAM_ANSWERS: usize = 4;

/// Service implementation.
pub struct Points {
    pub database: Arc<Database>,
    /// Becomes true when open streams should end.
    pub stopping: watch::Receiver<bool>,
    /// Size at which a response is full, in bytes of its points.
    pub page_bytes: u64,
}

#[tonic::async_trait]
impl PointService for Points {
    async fn upsert_points(
        &self,
        request: Request<UpsertPointsRequest>,
    ) -> Result<Response<UpsertPointsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let UpsertPointsRequest { collection, points, durability } = request.into_inner();
        let _turn = caller.turn_to_write().await;
        let receipt = on_collection(&self.database, &caller, collection, move |collection| {
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
        let caller = Caller::of(&request)?;
        let (answers, stream) = mpsc::channel(STREAM_ANSWERS);
        let (database, stopping) = (self.database.clone(), self.stopping.clone());
        let requests = request.into_inner();
        tokio::spawn(codec::counted(caller.received().clone(), async move {
            let upsert = stream_upsert(&database, &caller, requests, stopping, &answers);
            if let Err(status) = upsert.await {
                // A client that is gone needs no response.
                let _ = answers.send(Err(status)).await;
            }
        }));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_points(
        &self,
        request: Request<GetPointsRequest>,
    ) -> Result<Response<GetPointsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let GetPointsRequest { collection, ids, include } = request.into_inner();
        let room = self.room(&caller);
        let response = on_collection(&self.database, &caller, collection, move |collection| {
            let (ids, include) = (to_model::point_ids(ids)?, to_model::include(include));
            let found = collection.get_within(&ids, include, &room)?;
            let points = found.points.iter().flatten().map(from_model::point).collect();
            Ok(GetPointsResponse { points, next: found.next.map(count) })
        })
        .await?;
        Ok(Response::new(response))
    }

    async fn delete_points(
        &self,
        request: Request<DeletePointsRequest>,
    ) -> Result<Response<DeletePointsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let DeletePointsRequest { collection, ids, durability, filter } = request.into_inner();
        let receipt = on_collection(&self.database, &caller, collection, move |collection| {
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

    async fn update_payloads(
        &self,
        request: Request<UpdatePayloadsRequest>,
    ) -> Result<Response<UpdatePayloadsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let UpdatePayloadsRequest { collection, ids, filter, update: payloads, durability } =
            request.into_inner();
        let _turn = caller.turn_to_write().await;
        let updated = on_collection(&self.database, &caller, collection, move |collection| {
            let durability = to_model::durability(durability)?;
            let points = update::to_selection(ids, filter)?;
            collection.update_payloads(&points, &update::to_update(payloads)?, durability)
        })
        .await?;
        let receipt = Some(from_model::receipt(&updated.write));
        let missing = update::from_missing(&updated.missing);
        Ok(Response::new(UpdatePayloadsResponse { receipt, missing }))
    }

    async fn update_vectors(
        &self,
        request: Request<UpdateVectorsRequest>,
    ) -> Result<Response<UpdateVectorsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let UpdateVectorsRequest { collection, points, durability } = request.into_inner();
        let _turn = caller.turn_to_write().await;
        let updated = on_collection(&self.database, &caller, collection, move |collection| {
            let durability = to_model::durability(durability)?;
            collection.update_vectors(update::to_points(points)?, durability)
        })
        .await?;
        let receipt = Some(from_model::receipt(&updated.write));
        let missing = update::from_missing(&updated.missing);
        Ok(Response::new(UpdateVectorsResponse { receipt, missing }))
    }

    async fn scroll_points(
        &self,
        request: Request<ScrollPointsRequest>,
    ) -> Result<Response<ScrollPointsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        let collection = std::mem::take(&mut request.collection);
        let room = self.room(&caller);
        let page = on_collection(&self.database, &caller, collection, move |collection| {
            match request.order_by.take() {
                Some(order_by) => {
                    let request = ordered::to_request(request, order_by)?;
                    let page = collection.scroll_ordered_within(&request, &room)?;
                    Ok(ordered::from_page(&page))
                }
                None => scroll(&collection, request, &room),
            }
        })
        .await?;
        Ok(Response::new(page))
    }

    async fn facet_points(
        &self,
        request: Request<FacetPointsRequest>,
    ) -> Result<Response<FacetPointsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (deadline, _waiting) = deadline(request.metadata());
        let mut request = request.into_inner();
        let collection = std::mem::take(&mut request.collection);
        let memory = caller.work().clone();
        let counts = on_collection(&self.database, &caller, collection, move |collection| {
            collection.facet_within(&ordered::to_facet(request)?, &deadline, &memory)
        })
        .await?;
        Ok(Response::new(ordered::from_counts(&counts)))
    }

    async fn count_points(
        &self,
        request: Request<CountPointsRequest>,
    ) -> Result<Response<CountPointsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let CountPointsRequest { collection, filter } = request.into_inner();
        let count = on_collection(&self.database, &caller, collection, |collection| match filter {
            Some(filter) => collection.count_where(&to_model::filter(filter)?),
            None => Ok(collection.count()),
        })
        .await?;
        Ok(Response::new(CountPointsResponse { count }))
    }
}

impl Points {
    /// Space for the points of a response, which are in memory as points, messages and bytes.
    fn room(&self, caller: &Caller) -> PageRoom {
        PageRoom { bytes: self.page_bytes, copies: ANSWER_COPIES, memory: caller.work().clone() }
    }
}

/// A page in id order.
fn scroll(
    collection: &Collection,
    request: ScrollPointsRequest,
    room: &PageRoom,
) -> lanner::Result<ScrollPointsResponse> {
    let ScrollPointsRequest { after, limit, include, filter, after_value, .. } = request;
    if after_value.is_some() {
        let (expected, got) = ("nothing without `order_by`", "a value");
        return Err(InvalidInput::mismatch("after_value", expected, got).into());
    }
    let after = after.map(|id| to_model::point_id(Some(id), "after")).transpose()?;
    let limit = if limit == 0 { ordered::SCROLL_LIMIT } else { limit as usize };
    let filter = filter.map(to_model::filter).transpose()?;
    let include = to_model::include(include);
    let page = collection.scroll_within(filter.as_ref(), after.as_ref(), limit, include, room)?;
    let points = page.points.iter().map(from_model::point).collect();
    let next = page.next.as_ref().map(from_model::point_id);
    Ok(ScrollPointsResponse { points, next, next_value: None })
}

/// Reads, writes and answers requests one by one, until the client or the server ends the stream.
/// HTTP/2 flow control holds the client back during a write or response.
async fn stream_upsert(
    database: &Arc<Database>,
    caller: &Caller,
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
        let turn = caller.turn_to_write().await;
        let write = move |collection| write(&collection, request_index, request);
        let answer = on_collection(database, caller, name.clone(), write).await?;
        drop(turn);
        caller.message_handled();
        if answers.send(Ok(answer)).await.is_err() {
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
) -> lanner::Result<StreamUpsertPointsResponse> {
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
