//! The backend for a server.

mod calls;
mod info;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use self::calls::Attempts;
use self::writer::RemoteWriter;
use crate::backend::{Backend, Limits, Writer};
use crate::credentials::{Authorization, Credentials};
use crate::cut::cut;
use crate::error::{ClientError, Result};
use crate::messages::{filter, from_model, group, jobs, ordered, text, to_model, update};
use crate::proto;
use crate::proto::collection_service_client::CollectionServiceClient;
use crate::proto::job_service_client::JobServiceClient;
use crate::proto::point_service_client::PointServiceClient;
use crate::proto::query_service_client::QueryServiceClient;
use lanner::{
    CollectionConfig, CollectionInfo, Durability, FacetRequest, FacetResponse, Filter,
    FusionRequest, FusionResponse, GroupRequest, GroupResponse, Include, JobInfo, JobState,
    OrderedPage, OrderedScroll, PayloadType, PayloadUpdate, Point, PointId, Query, QueryRequest,
    QueryResponse, ScrollPage, Selection, TrainingQueries, UpdateReceipt, WriteReceipt, limits,
};

/// Bytes of vectors and payloads per message; servers read up to 64 MiB by default.
const MESSAGE_BYTES: usize = 16 << 20;
/// Default port of servers.
const DEFAULT_PORT: u16 = 7700;
/// Timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Default number of retries.
const RETRIES: u32 = 4;
/// Largest response to accept: 10,000 points with large vectors.
const ANSWER_BYTES: usize = 1 << 30;

/// A connection that adds the key to requests.
type Authorized = InterceptedService<Channel, Authorization>;

/// A connection to a server.
pub struct Remote {
    connection: Arc<Connection>,
    limits: Limits,
}

struct Connection {
    runtime: Runtime,
    channel: Authorized,
    retries: u32,
}

impl Remote {
    /// Connects to `host:port` (default port 7700), encrypted if the credentials include root
    /// certificates.
    pub fn connect(address: &str, credentials: &Credentials) -> Result<Self> {
        Self::connect_with(address, credentials, RETRIES)
    }

    /// As [`Self::connect`], with the number of retries while the server is unavailable or short of
    /// memory.
    pub fn connect_with(address: &str, credentials: &Credentials, retries: u32) -> Result<Self> {
        let failed = |error: &dyn std::error::Error| {
            let detail = match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            };
            ClientError::Connect { address: address.to_owned(), detail }
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        let tls = credentials.tls()?;
        let address = &with_port(address);
        let url = match (address.contains("://"), &tls) {
            (true, _) => address.clone(),
            (false, Some(_)) => format!("https://{address}"),
            (false, None) => format!("http://{address}"),
        };
        if url.starts_with("https://") && tls.is_none() {
            return Err(ClientError::Credentials {
                what: address.to_owned(),
                problem: "expected the roots of a certificate (--ca) for an https address",
            });
        }
        let endpoint = Endpoint::from_shared(url)
            .map_err(|error| failed(&error))?
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        let endpoint = match tls {
            Some(tls) => endpoint.tls_config(tls).map_err(|error| failed(&error))?,
            None => endpoint,
        };
        let channel = runtime.block_on(endpoint.connect()).map_err(|error| failed(&error))?;
        let channel = InterceptedService::new(channel, credentials.authorization()?);
        let connection = Arc::new(Connection { runtime, channel, retries });
        Ok(Self { connection, limits: Limits::default() })
    }

    fn collections(&self) -> CollectionServiceClient<Authorized> {
        CollectionServiceClient::new(self.connection.channel.clone())
            .max_decoding_message_size(ANSWER_BYTES)
    }

    fn jobs_of(&self) -> JobServiceClient<Authorized> {
        JobServiceClient::new(self.connection.channel.clone())
    }

    fn queries(&self) -> QueryServiceClient<Authorized> {
        QueryServiceClient::new(self.connection.channel.clone())
            .max_decoding_message_size(ANSWER_BYTES)
    }

    fn points(&self) -> PointServiceClient<Authorized> {
        PointServiceClient::new(self.connection.channel.clone())
            .max_decoding_message_size(ANSWER_BYTES)
    }
}

/// Calls a method of a service and waits for its response.
macro_rules! call {
    ($remote:ident, $attempts:ident, $service:ident.$method:ident, $message:expr) => {
        $remote.ask(Attempts::$attempts, $message, async |message| {
            $remote.$service().$method(message).await
        })
    };
}

impl Backend for Remote {
    fn within(&self, limits: Limits) -> Box<dyn Backend> {
        Box::new(Self { connection: self.connection.clone(), limits })
    }

    fn create(
        &self,
        name: &str,
        config: &CollectionConfig,
        training_queries: &BTreeMap<String, TrainingQueries>,
    ) -> Result<()> {
        let (name, config) = (name.to_owned(), Some(from_model::config(config)));
        let queries = training_queries.iter();
        let training_queries =
            queries.map(|(name, q)| (name.clone(), from_model::training_queries(q))).collect();
        let request = proto::CreateCollectionRequest { name, config, training_queries };
        call!(self, One, collections.create_collection, request).map(drop)
    }

    fn drop_collection(&self, name: &str) -> Result<()> {
        let request = proto::DeleteCollectionRequest { name: name.to_owned() };
        call!(self, One, collections.delete_collection, request).map(drop)
    }

    fn list(&self) -> Result<Vec<(String, Result<u64, String>)>> {
        let request = proto::ListCollectionsRequest {};
        let answer = call!(self, Many, collections.list_collections, request)?;
        let summary = |summary: proto::CollectionSummary| {
            let found = summary.error.map_or(Ok(summary.points), Err);
            (summary.name, found)
        };
        Ok(answer.collections.into_iter().map(summary).collect())
    }

    fn info(&self, name: &str) -> Result<CollectionInfo> {
        let request = proto::GetCollectionRequest { name: name.to_owned() };
        let answer = call!(self, Many, collections.get_collection, request)?;
        info::to_info(answer.collection.unwrap_or_default())
    }

    fn writer<'b>(&'b self, name: &str, durability: Durability) -> Result<Box<dyn Writer + 'b>> {
        Ok(Box::new(RemoteWriter::new(self, name, durability)))
    }

    fn delete(
        &self,
        name: &str,
        ids: Vec<PointId>,
        durability: Durability,
    ) -> Result<WriteReceipt> {
        let request = proto::DeletePointsRequest {
            collection: name.to_owned(),
            ids: ids.iter().map(from_model::point_id).collect(),
            durability: from_model::durability(durability).into(),
            filter: None,
        };
        let answer = call!(self, Many, points.delete_points, request)?;
        Ok(to_model::receipt(answer.receipt)?)
    }

    fn delete_where(
        &self,
        name: &str,
        filter: &Filter,
        durability: Durability,
    ) -> Result<WriteReceipt> {
        let request = proto::DeletePointsRequest {
            collection: name.to_owned(),
            durability: from_model::durability(durability).into(),
            filter: Some(from_model::filter(filter)),
            ..Default::default()
        };
        let answer = call!(self, Many, points.delete_points, request)?;
        Ok(to_model::receipt(answer.receipt)?)
    }

    fn update_payloads(
        &self,
        name: &str,
        points: &Selection,
        payloads: &PayloadUpdate,
        durability: Durability,
    ) -> Result<UpdateReceipt> {
        let request = update::from_update(name, points, payloads, durability);
        let answer = call!(self, Many, points.update_payloads, request)?;
        Ok(update::to_receipt(answer.receipt, answer.missing)?)
    }

    fn update_vectors(
        &self,
        name: &str,
        points: Vec<Point>,
        durability: Durability,
    ) -> Result<UpdateReceipt> {
        let request = proto::UpdateVectorsRequest {
            collection: name.to_owned(),
            points: points.iter().map(update::from_point).collect(),
            durability: from_model::durability(durability).into(),
        };
        let answer = call!(self, Many, points.update_vectors, request)?;
        Ok(update::to_receipt(answer.receipt, answer.missing)?)
    }

    fn get(&self, name: &str, ids: &[PointId], include: Include) -> Result<Vec<Point>> {
        let (mut points, mut rest) = (Vec::new(), ids);
        // A response ends when it is full; the next one continues from there.
        loop {
            let request = proto::GetPointsRequest {
                collection: name.to_owned(),
                ids: rest.iter().map(from_model::point_id).collect(),
                include: Some(from_model::include(include)),
            };
            let answer = call!(self, Many, points.get_points, request)?;
            for point in answer.points {
                points.push(to_model::point(point)?);
            }
            match answer.next.map(|next| next as usize) {
                Some(next) if (1..rest.len()).contains(&next) => rest = &rest[next..],
                _ => return Ok(points),
            }
        }
    }

    fn scroll(
        &self,
        name: &str,
        filter: Option<&Filter>,
        after: Option<&PointId>,
        limit: usize,
        include: Include,
    ) -> Result<ScrollPage> {
        let request = proto::ScrollPointsRequest {
            collection: name.to_owned(),
            after: after.map(from_model::point_id),
            limit: limit.try_into().unwrap_or(u32::MAX),
            include: Some(from_model::include(include)),
            filter: filter.map(from_model::filter),
            ..Default::default()
        };
        let answer = call!(self, Many, points.scroll_points, request)?;
        let points = answer.points.into_iter().map(to_model::point).collect::<Result<_, _>>()?;
        let next = answer.next.map(|id| to_model::point_id(Some(id), "next")).transpose()?;
        Ok(ScrollPage { points, next })
    }

    fn scroll_ordered(&self, name: &str, request: &OrderedScroll) -> Result<OrderedPage> {
        let request = ordered::from_request(name, request);
        Ok(ordered::to_page(call!(self, Many, points.scroll_points, request)?)?)
    }

    fn facet(&self, name: &str, request: &FacetRequest) -> Result<FacetResponse> {
        let request = ordered::from_facet(name, request);
        Ok(ordered::to_counts(call!(self, Many, points.facet_points, request)?)?)
    }

    fn count(&self, name: &str, filter: Option<&Filter>) -> Result<u64> {
        let filter = filter.map(from_model::filter);
        let request = proto::CountPointsRequest { collection: name.to_owned(), filter };
        Ok(call!(self, Many, points.count_points, request)?.count)
    }

    fn query(&self, name: &str, request: &QueryRequest) -> Result<QueryResponse> {
        let search = Some(from_model::search(request));
        let request = proto::QueryRequest { collection: name.to_owned(), search };
        let answer = call!(self, Many, queries.query, request)?;
        Ok(to_model::response(answer.result.unwrap_or_default())?)
    }

    fn query_batch(&self, name: &str, requests: &[QueryRequest]) -> Result<Vec<QueryResponse>> {
        let mut answers = Vec::with_capacity(requests.len());
        for part in query_parts(requests) {
            let searches = part.iter().map(from_model::search).collect();
            let request = proto::BatchQueryRequest { collection: name.to_owned(), searches };
            let answer = call!(self, Many, queries.batch_query, request)?;
            for result in answer.results {
                answers.push(to_model::response(result)?);
            }
        }
        Ok(answers)
    }

    fn fuse(&self, name: &str, request: &FusionRequest) -> Result<FusionResponse> {
        let request = from_model::fusion(name, request);
        Ok(to_model::fused(call!(self, Many, queries.fuse, request)?)?)
    }

    fn query_groups(&self, name: &str, request: &GroupRequest) -> Result<GroupResponse> {
        let request = group::from_request(name, request);
        Ok(group::to_response(call!(self, Many, queries.query_groups, request)?)?)
    }

    fn verify(&self, name: &str) -> Result<JobInfo> {
        let request = proto::VerifyCollectionRequest { name: name.to_owned() };
        let begun = call!(self, Many, collections.verify_collection, request)?;
        Ok(jobs::to_info(begun.job.unwrap_or_default())?)
    }

    fn flush(&self, name: &str) -> Result<()> {
        let request = proto::FlushCollectionRequest { name: name.to_owned() };
        call!(self, Many, collections.flush_collection, request).map(drop)
    }

    fn train(&self, name: &str, field: &str, queries: Option<&TrainingQueries>) -> Result<JobInfo> {
        let request = proto::TrainCollectionRequest {
            name: name.to_owned(),
            field: field.to_owned(),
            queries: queries.map(from_model::training_queries),
        };
        let begun = call!(self, Many, collections.train_collection, request)?;
        Ok(jobs::to_info(begun.job.unwrap_or_default())?)
    }

    fn optimize(&self, name: &str) -> Result<JobInfo> {
        let request = proto::OptimizeCollectionRequest { name: name.to_owned() };
        let begun = call!(self, Many, collections.optimize_collection, request)?;
        Ok(jobs::to_info(begun.job.unwrap_or_default())?)
    }

    fn wait_for(&self, job: &JobInfo, on_progress: &mut dyn FnMut(&JobInfo)) -> Result<()> {
        let id = job.id;
        let endless = Self {
            connection: self.connection.clone(),
            limits: Limits { timeout: None, ..self.limits.clone() },
        };
        let request = proto::WatchJobRequest { id };
        let mut stream = call!(endless, Many, jobs_of.watch_job, request)?;
        while let Some(answer) = endless.within_limits(stream.message())? {
            let info = jobs::to_info(answer.job.unwrap_or_default())?;
            match info.state {
                JobState::Running => on_progress(&info),
                JobState::Done => return Ok(()),
                JobState::Failed { kind, reason } => {
                    return Err(lanner::Error::Shared { kind, reason }.into());
                }
                JobState::Cancelled => return Err(lanner::Error::JobCancelled { id }.into()),
            }
        }
        Err(ClientError::Stopped { id })
    }

    fn jobs(&self) -> Result<Vec<JobInfo>> {
        let answer = call!(self, Many, jobs_of.list_jobs, proto::ListJobsRequest {})?;
        Ok(answer.jobs.into_iter().map(jobs::to_info).collect::<lanner::Result<_>>()?)
    }

    fn cancel(&self, id: u64) -> Result<()> {
        let request = proto::CancelJobRequest { id };
        call!(self, Many, jobs_of.cancel_job, request).map(drop)
    }

    fn declare(&self, name: &str, path: &str, payload_type: PayloadType) -> Result<JobInfo> {
        let request = proto::DeclarePayloadPathRequest {
            name: name.to_owned(),
            path: path.to_owned(),
            r#type: filter::type_from_model(payload_type).into(),
        };
        let begun = call!(self, Many, collections.declare_payload_path, request)?;
        Ok(jobs::to_info(begun.job.unwrap_or_default())?)
    }
}

/// Splits queries into small requests, unless a single query is large.
fn query_parts(requests: &[QueryRequest]) -> impl Iterator<Item = &[QueryRequest]> {
    let size = |request: &QueryRequest| match &request.query {
        Query::Vector(vector) => 4 * vector.as_ref().values().len(),
        Query::Text(text) => text::size_bytes(text),
        Query::Point(_) | Query::Recommend { .. } => 0,
    };
    let of_count = requests.chunks(limits::MAX_BATCH_QUERIES);
    of_count.flat_map(move |requests| {
        cut(requests.iter().map(size), MESSAGE_BYTES).into_iter().map(|part| &requests[part])
    })
}

/// Adds the default port to an address without one.
fn with_port(address: &str) -> String {
    let host = address.rsplit_once(']').map_or(address, |(_, after)| after);
    match address.contains("://") || host.contains(':') {
        true => address.to_owned(),
        false => format!("{address}:{DEFAULT_PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_by_their_bytes() {
        let query = |length: usize| QueryRequest::new("v", vec![1.0; length]);
        let lengths = |requests: &[QueryRequest]| {
            query_parts(requests).map(<[QueryRequest]>::len).collect::<Vec<_>>()
        };
        let half = MESSAGE_BYTES / 8;
        assert!(lengths(&[]).is_empty());
        assert_eq!(lengths(&[query(half), query(half), query(1)]), [2, 1]);
        assert_eq!(lengths(&[query(3 * half), query(1), query(3 * half)]), [1, 1, 1]);
        assert_eq!(lengths(&vec![query(1); limits::MAX_BATCH_QUERIES + 1]), [4096, 1]);
    }

    #[test]
    fn addresses_without_a_port_get_one() {
        for (given, expected) in [
            ("localhost", "localhost:7700"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[::1]", "[::1]:7700"),
            ("[::1]:80", "[::1]:80"),
            ("https://db.example.org", "https://db.example.org"),
        ] {
            assert_eq!(with_port(given), expected);
        }
    }
}
