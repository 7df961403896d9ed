//! The backend that talks to a server.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Range;

use tokio::runtime::Runtime;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};

use crate::backend::{Backend, Refused, Writer};
use crate::credentials::{Authorization, Credentials};
use crate::error::{ClientError, Result};
use crate::messages::{
    compression, from_model, group, index, jobs, memory, ordered, to_model, update,
};
use crate::proto;
use crate::proto::collection_service_client::CollectionServiceClient;
use crate::proto::job_service_client::JobServiceClient;
use crate::proto::point_service_client::PointServiceClient;
use crate::proto::query_service_client::QueryServiceClient;
use lanner::SegmentFile;
use lanner::{
    CollectionConfig, CollectionInfo, Durability, FacetRequest, FacetResponse, Filter,
    FusionRequest, FusionResponse, GroupRequest, GroupResponse, Include, JobInfo, JobState,
    OrderedPage, OrderedScroll, PayloadUpdate, Point, PointId, QueryRequest, QueryResponse,
    ScrollPage, SegmentInfo, Selection, TrainingQueries, UpdateReceipt, WriteReceipt,
};

/// Bytes of vectors and payloads in one message; servers read up to 64 MiB by default.
const MESSAGE_BYTES: usize = 16 << 20;
/// Where servers listen that were not told otherwise.
const DEFAULT_PORT: u16 = 7700;
/// Largest answer that is read: 10,000 points with large vectors.
const ANSWER_BYTES: usize = 1 << 30;

/// A connection that adds the key to requests.
type Authorized = InterceptedService<Channel, Authorization>;

/// A server.
pub struct Remote {
    runtime: Runtime,
    channel: Authorized,
}

impl Remote {
    /// Connects to `host:port` (port 7700 if there is none), encrypted if the credentials say how.
    pub fn connect(address: &str, credentials: &Credentials) -> Result<Self> {
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
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        let endpoint = match tls {
            Some(tls) => endpoint.tls_config(tls).map_err(|error| failed(&error))?,
            None => endpoint,
        };
        let channel = runtime.block_on(endpoint.connect()).map_err(|error| failed(&error))?;
        let channel = InterceptedService::new(channel, credentials.authorization()?);
        Ok(Self { runtime, channel })
    }

    fn wait<T>(
        &self,
        answer: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T> {
        Ok(self.runtime.block_on(answer)?.into_inner())
    }

    fn collections(&self) -> CollectionServiceClient<Authorized> {
        CollectionServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    fn jobs_of(&self) -> JobServiceClient<Authorized> {
        JobServiceClient::new(self.channel.clone())
    }

    fn queries(&self) -> QueryServiceClient<Authorized> {
        QueryServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    fn points(&self) -> PointServiceClient<Authorized> {
        PointServiceClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }
}

impl Backend for Remote {
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
        self.wait(self.collections().create_collection(request)).map(drop)
    }

    fn drop_collection(&self, name: &str) -> Result<()> {
        let request = proto::DeleteCollectionRequest { name: name.to_owned() };
        self.wait(self.collections().delete_collection(request)).map(drop)
    }

    fn list(&self) -> Result<Vec<(String, Result<u64, String>)>> {
        let request = proto::ListCollectionsRequest {};
        let answer = self.wait(self.collections().list_collections(request))?;
        let summary = |summary: proto::CollectionSummary| {
            let found = summary.error.map_or(Ok(summary.points), Err);
            (summary.name, found)
        };
        Ok(answer.collections.into_iter().map(summary).collect())
    }

    fn info(&self, name: &str) -> Result<CollectionInfo> {
        let request = proto::GetCollectionRequest { name: name.to_owned() };
        let answer = self.wait(self.collections().get_collection(request))?;
        info(answer.collection.unwrap_or_default())
    }

    fn writer<'b>(&'b self, name: &str, durability: Durability) -> Result<Box<dyn Writer + 'b>> {
        Ok(Box::new(RemoteWriter { remote: self, name: name.to_owned(), durability, stored: 0 }))
    }

    fn delete(&self, name: &str, ids: Vec<PointId>) -> Result<WriteReceipt> {
        let request = proto::DeletePointsRequest {
            collection: name.to_owned(),
            ids: ids.iter().map(from_model::point_id).collect(),
            durability: proto::Durability::Synced.into(),
            filter: None,
        };
        let answer = self.wait(self.points().delete_points(request))?;
        Ok(to_model::receipt(answer.receipt)?)
    }

    fn delete_where(&self, name: &str, filter: &Filter) -> Result<WriteReceipt> {
        let request = proto::DeletePointsRequest {
            collection: name.to_owned(),
            durability: proto::Durability::Synced.into(),
            filter: Some(from_model::filter(filter)),
            ..Default::default()
        };
        let answer = self.wait(self.points().delete_points(request))?;
        Ok(to_model::receipt(answer.receipt)?)
    }

    fn update_payloads(
        &self,
        name: &str,
        points: &Selection,
        payloads: &PayloadUpdate,
    ) -> Result<UpdateReceipt> {
        let request = update::from_update(name, points, payloads);
        let answer = self.wait(self.points().update_payloads(request))?;
        Ok(update::to_receipt(answer.receipt, answer.missing)?)
    }

    fn update_vectors(&self, name: &str, points: Vec<Point>) -> Result<UpdateReceipt> {
        let request = proto::UpdateVectorsRequest {
            collection: name.to_owned(),
            points: points.iter().map(update::from_point).collect(),
            durability: proto::Durability::Synced.into(),
        };
        let answer = self.wait(self.points().update_vectors(request))?;
        Ok(update::to_receipt(answer.receipt, answer.missing)?)
    }

    fn get(&self, name: &str, ids: &[PointId], include: Include) -> Result<Vec<Point>> {
        let (mut points, mut rest) = (Vec::new(), ids);
        // An answer ends where it is full; the next one goes on from there.
        loop {
            let request = proto::GetPointsRequest {
                collection: name.to_owned(),
                ids: rest.iter().map(from_model::point_id).collect(),
                include: Some(from_model::include(include)),
            };
            let answer = self.wait(self.points().get_points(request))?;
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
        let answer = self.wait(self.points().scroll_points(request))?;
        let points = answer.points.into_iter().map(to_model::point).collect::<Result<_, _>>()?;
        let next = answer.next.map(|id| to_model::point_id(Some(id), "next")).transpose()?;
        Ok(ScrollPage { points, next })
    }

    fn scroll_ordered(&self, name: &str, request: &OrderedScroll) -> Result<OrderedPage> {
        let request = ordered::from_request(name, request);
        Ok(ordered::to_page(self.wait(self.points().scroll_points(request))?)?)
    }

    fn facet(&self, name: &str, request: &FacetRequest) -> Result<FacetResponse> {
        let request = ordered::from_facet(name, request);
        Ok(ordered::to_counts(self.wait(self.points().facet_points(request))?)?)
    }

    fn count(&self, name: &str, filter: Option<&Filter>) -> Result<u64> {
        let filter = filter.map(from_model::filter);
        let request = proto::CountPointsRequest { collection: name.to_owned(), filter };
        Ok(self.wait(self.points().count_points(request))?.count)
    }

    fn query(&self, name: &str, request: &QueryRequest) -> Result<QueryResponse> {
        let search = Some(from_model::search(request));
        let request = proto::QueryRequest { collection: name.to_owned(), search };
        let answer = self.wait(self.queries().query(request))?;
        Ok(to_model::response(answer.result.unwrap_or_default())?)
    }

    fn fuse(&self, name: &str, request: &FusionRequest) -> Result<FusionResponse> {
        let request = from_model::fusion(name, request);
        Ok(to_model::fused(self.wait(self.queries().fuse(request))?)?)
    }

    fn query_groups(&self, name: &str, request: &GroupRequest) -> Result<GroupResponse> {
        let request = group::from_request(name, request);
        Ok(group::to_response(self.wait(self.queries().query_groups(request))?)?)
    }

    fn verify(&self, name: &str) -> Result<JobInfo> {
        let request = proto::VerifyCollectionRequest { name: name.to_owned() };
        let begun = self.wait(self.collections().verify_collection(request))?;
        Ok(jobs::to_info(begun.job.unwrap_or_default())?)
    }

    fn flush(&self, name: &str) -> Result<()> {
        let request = proto::FlushCollectionRequest { name: name.to_owned() };
        self.wait(self.collections().flush_collection(request)).map(drop)
    }

    fn train(&self, name: &str, field: &str, queries: Option<&TrainingQueries>) -> Result<JobInfo> {
        let request = proto::TrainCollectionRequest {
            name: name.to_owned(),
            field: field.to_owned(),
            queries: queries.map(from_model::training_queries),
        };
        let begun = self.wait(self.collections().train_collection(request))?;
        Ok(jobs::to_info(begun.job.unwrap_or_default())?)
    }

    fn optimize(&self, name: &str) -> Result<JobInfo> {
        let request = proto::OptimizeCollectionRequest { name: name.to_owned() };
        let begun = self.wait(self.collections().optimize_collection(request))?;
        Ok(jobs::to_info(begun.job.unwrap_or_default())?)
    }

    fn wait_for(&self, job: &JobInfo, on_progress: &mut dyn FnMut(&JobInfo)) -> Result<()> {
        let id = job.id;
        let mut stream = self.wait(self.jobs_of().watch_job(proto::WatchJobRequest { id }))?;
        while let Some(answer) = self.runtime.block_on(stream.message())? {
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
        let answer = self.wait(self.jobs_of().list_jobs(proto::ListJobsRequest {}))?;
        Ok(answer.jobs.into_iter().map(jobs::to_info).collect::<lanner::Result<_>>()?)
    }

    fn cancel(&self, id: u64) -> Result<()> {
        self.wait(self.jobs_of().cancel_job(proto::CancelJobRequest { id })).map(drop)
    }
}

struct RemoteWriter<'r> {
    remote: &'r Remote,
    name: String,
    durability: Durability,
    stored: u64,
}

impl RemoteWriter<'_> {
    fn send(&mut self, points: Vec<proto::Point>) -> Result<()> {
        let request = proto::UpsertPointsRequest {
            collection: self.name.clone(),
            points,
            durability: from_model::durability(self.durability).into(),
        };
        let answer = self.remote.wait(self.remote.points().upsert_points(request))?;
        self.stored += to_model::receipt(answer.receipt)?.affected;
        Ok(())
    }
}

impl Writer for RemoteWriter<'_> {
    fn write(&mut self, points: Vec<Point>) -> Result<()> {
        let mut parts = parts(&points).into_iter();
        parts.try_for_each(|part| self.send(points[part].iter().map(from_model::point).collect()))
    }

    fn write_valid(&mut self, points: Vec<Point>, refused: &mut Vec<Refused>) -> Result<()> {
        if points.is_empty() {
            return Ok(());
        }
        let parts = parts(&points);
        let starts: Vec<usize> = parts.iter().map(|part| part.start).collect();
        let (collection, durability) = (self.name.clone(), from_model::durability(self.durability));
        let requests = parts.into_iter().map(move |part| proto::StreamUpsertPointsRequest {
            collection: collection.clone(),
            points: points[part].iter().map(from_model::point).collect(),
            durability: durability.into(),
        });
        let requests = tonic::codegen::tokio_stream::iter(requests);
        let mut answers = self.remote.wait(self.remote.points().stream_upsert_points(requests))?;
        for start in starts {
            let answer = self.remote.runtime.block_on(answers.message())?;
            // A server that shuts down ends streams without an error.
            let answer = answer.ok_or(ClientError::StreamEnded)?;
            for proto::PointError { index, id, message: reason } in answer.errors {
                let (index, id) = (start + index as usize, to_model::point_id(id, "errors.id")?);
                refused.push(Refused { index, id, reason });
            }
            if let Some(receipt) = answer.receipt {
                self.stored += to_model::receipt(Some(receipt))?.affected;
            }
        }
        Ok(())
    }

    fn stored(&self) -> u64 {
        self.stored
    }
}

/// Cuts points into messages, each of which is small unless one point alone is not.
fn parts(points: &[Point]) -> Vec<Range<usize>> {
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, point) in points.iter().enumerate() {
        let size = point.size_bytes() as usize;
        if bytes + size > MESSAGE_BYTES && index > start {
            parts.push(start..index);
            (start, bytes) = (index, 0);
        }
        bytes += size;
    }
    parts.push(start..points.len());
    parts
}

/// An address with the port that servers listen on, unless it has one.
fn with_port(address: &str) -> String {
    let host = address.rsplit_once(']').map_or(address, |(_, after)| after);
    match address.contains("://") || host.contains(':') {
        true => address.to_owned(),
        false => format!("{address}:{DEFAULT_PORT}"),
    }
}

fn info(info: proto::CollectionInfo) -> Result<CollectionInfo> {
    let file = |file: proto::SegmentFile| SegmentFile {
        name: file.name,
        size_bytes: file.size_bytes,
        sections: file.sections.into_iter().map(|s| (s.name, s.size_bytes)).collect(),
        memory: memory::to_file(file.memory),
    };
    let codec = |(name, codec)| Ok((name, compression::to_report(codec)?));
    let status = |(name, status)| Ok((name, index::to_status(status)?));
    let segment = |segment: proto::SegmentInfo| -> Result<SegmentInfo> {
        Ok(SegmentInfo {
            number: segment.number,
            rows: segment.rows,
            deleted: segment.deleted,
            size_bytes: segment.size_bytes,
            files: segment.files.into_iter().map(file).collect(),
            codecs: segment.codecs.into_iter().map(codec).collect::<Result<_>>()?,
            indexes: segment.indexes.into_iter().map(status).collect::<Result<_>>()?,
        })
    };
    Ok(CollectionInfo {
        name: info.name,
        config: to_model::config(info.config)?,
        points: info.points,
        sequence: info.sequence,
        segments: info.segments.into_iter().map(segment).collect::<Result<_>>()?,
        background_error: info.background_error,
        training_failures: info.training_failures.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
