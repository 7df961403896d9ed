//! `QueryService`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::door::Caller;
use super::on_collection;
use super::slow;
use lanner::Problem;
use lanner::{
    CancelToken, Collection, Database, Deadline, Error, FusionRequest, GroupRequest, GroupResponse,
    InvalidInput, MemoryBudget,
};
use lanner_client::messages::group;
use lanner_client::proto::query_service_server::QueryService;
use lanner_client::proto::{
    BatchQueryRequest, BatchQueryResponse, FuseRequest, FuseResponse, QueryGroupsRequest,
    QueryGroupsResponse, QueryRequest, QueryResponse, SearchRequest,
};
use lanner_client::{from_model, to_model};

/// Service implementation.
pub struct Queries {
    pub database: Arc<Database>,
    /// Queries that take longer are logged.
    pub slow: Option<Duration>,
}

#[tonic::async_trait]
impl QueryService for Queries {
    async fn query(
        &self,
        request: Request<QueryRequest>,
    ) -> Result<Response<QueryResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (deadline, _waiting) = deadline(request.metadata());
        let QueryRequest { collection, search } = request.into_inner();
        let (slow, memory) = (self.slow, caller.work().clone());
        let result = on_collection(&self.database, &caller, collection, move |collection| {
            let search = search.ok_or_else(|| {
                InvalidInput::new("search", Problem::Missing { expected: "a search" })
            })?;
            let requests = vec![to_model::search(search)?];
            let mut answers = slow::watch(slow, collection.name(), requests, |requests| {
                collection.query_within(requests, deadline, &memory)
            })?;
            let answer = answers.pop();
            let answer = answer.ok_or_else(|| Error::Internal("a query has no answer".into()))?;
            Ok(from_model::response(&answer))
        })
        .await?;
        Ok(Response::new(QueryResponse { result: Some(result) }))
    }

    async fn batch_query(
        &self,
        request: Request<BatchQueryRequest>,
    ) -> Result<Response<BatchQueryResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (deadline, _waiting) = deadline(request.metadata());
        let BatchQueryRequest { collection, searches } = request.into_inner();
        let (slow, memory) = (self.slow, caller.work().clone());
        let results = on_collection(&self.database, &caller, collection, move |collection| {
            let requests = batch(searches)?;
            let answers = slow::watch(slow, collection.name(), requests, |requests| {
                collection.query_within(requests, deadline, &memory)
            })?;
            Ok(answers.iter().map(from_model::response).collect())
        })
        .await?;
        Ok(Response::new(BatchQueryResponse { results }))
    }

    async fn fuse(&self, request: Request<FuseRequest>) -> Result<Response<FuseResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (deadline, _waiting) = deadline(request.metadata());
        let mut request = request.into_inner();
        let collection = std::mem::take(&mut request.collection);
        let (slow, memory) = (self.slow, caller.work().clone());
        let response = on_collection(&self.database, &caller, collection, move |collection| {
            let request = to_model::fusion(request)?;
            let started = Instant::now();
            let asked = request.explain;
            let request = FusionRequest { explain: asked || slow.is_some(), ..request };
            let mut answer = collection.fuse_within(&request, deadline, &memory)?;
            if slow.is_some_and(|limit| started.elapsed() > limit) {
                let field = request.queries.first().map_or("", |query| &query.field);
                let queries = request.queries.len();
                slow::log(collection.name(), field, queries, started, &answer.explanations);
            }
            if !asked {
                answer.explanations.clear();
            }
            Ok(from_model::fused(&answer))
        })
        .await?;
        Ok(Response::new(response))
    }

    async fn query_groups(
        &self,
        request: Request<QueryGroupsRequest>,
    ) -> Result<Response<QueryGroupsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (deadline, _waiting) = deadline(request.metadata());
        let mut request = request.into_inner();
        let collection = std::mem::take(&mut request.collection);
        let (slow, memory) = (self.slow, caller.work().clone());
        let response = on_collection(&self.database, &caller, collection, move |collection| {
            let request = group::to_request(request)?;
            let answer = groups(&collection, request, (&deadline, &memory), slow)?;
            Ok(group::from_response(&answer))
        })
        .await?;
        Ok(Response::new(response))
    }
}

/// Answers a group query, and logs it with its plan if it takes too long.
fn groups(
    collection: &Collection,
    request: GroupRequest,
    (deadline, memory): (&Deadline, &Arc<MemoryBudget>),
    slow: Option<Duration>,
) -> lanner::Result<GroupResponse> {
    let started = Instant::now();
    let asked = request.query.explain;
    let query = lanner::QueryRequest { explain: asked || slow.is_some(), ..request.query };
    let request = GroupRequest { query, ..request };
    let mut answer = collection.query_groups_within(&request, deadline, memory)?;
    if slow.is_some_and(|limit| started.elapsed() > limit) {
        let (field, explanations) = (&request.query.field, answer.explanation.as_slice());
        slow::log(collection.name(), field, 1, started, explanations);
    }
    answer.explanation = answer.explanation.filter(|_| asked);
    Ok(answer)
}

fn batch(searches: Vec<SearchRequest>) -> Result<Vec<lanner::QueryRequest>, InvalidInput> {
    let convert = |(index, search)| {
        to_model::search(search).map_err(|error| error.within(format!("queries[{index}]")))
    };
    searches.into_iter().enumerate().map(convert).collect()
}

/// The deadline of a request: from its `grpc-timeout` header (up to eight digits and a unit), and
/// when the returned guard is dropped, as happens when the client disconnects.
///
/// A header that does not follow the protocol sets no deadline, as in tonic itself.
pub fn deadline(metadata: &MetadataMap) -> (Deadline, Waiting) {
    let timeout =
        metadata.get("grpc-timeout").and_then(|value| parse_timeout(value.to_str().ok()?));
    let waiting = Waiting(CancelToken::new());
    (timeout.map_or(Deadline::NEVER, Deadline::after).or_cancelled(&waiting.0), waiting)
}

/// Guard that cancels the call when dropped: nobody waits for its response any more.
pub struct Waiting(CancelToken);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanner::{CollectionConfig, Metric, Point, VectorField};
    use lanner_client::proto::Vector;
    use lanner_client::proto::search_request::Query;
    use lanner_client::proto::vector::Values;

    // Not through a client: tonic's has its own timer, which may be faster.
    #[tokio::test]
    async fn a_passed_deadline_is_reported_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let database = Arc::new(Database::open(folder.path()).unwrap());
        let config = CollectionConfig::new().with_field("v", VectorField::single(1, Metric::Dot));
        let collection = database.create_collection("c", config).unwrap();
        collection.upsert([Point::new(1).with_vector("v", vec![1.0])]).unwrap();
        let values = Some(Values::F32(1.0_f32.to_le_bytes().to_vec().into()));
        let vector = Query::Vector(Vector { values, ..Vector::default() });
        let search = SearchRequest {
            field: "v".into(),
            limit: 1,
            query: Some(vector),
            ..Default::default()
        };
        let ask = async |timeout: Option<&'static str>| {
            let search = Some(search.clone());
            let mut request = Request::new(QueryRequest { collection: "c".into(), search });
            if let Some(timeout) = timeout {
                request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
            }
            request.extensions_mut().insert(Caller::unbounded());
            Queries { database: database.clone(), slow: None }.query(request).await
        };
        assert_eq!(ask(Some("1n")).await.unwrap_err().code(), tonic::Code::DeadlineExceeded);
        assert!(ask(Some("1H")).await.is_ok());
        assert!(ask(None).await.is_ok());
    }

    #[tokio::test]
    async fn nothing_is_worked_out_for_a_client_that_is_gone() {
        const DIMENSION: usize = 64;
        let folder = tempfile::tempdir().unwrap();
        let database = Arc::new(Database::open(folder.path()).unwrap());
        let field = VectorField::single(DIMENSION, Metric::Dot);
        let config = CollectionConfig::new().with_field("v", field);
        let collection = database.create_collection("c", config).unwrap();
        let point = |id: u64| Point::new(id).with_vector("v", vec![1.0 + id as f32; DIMENSION]);
        collection.upsert((0..20_000).map(point)).unwrap();
        let values = bytemuck::cast_slice(&[1.0_f32; DIMENSION]).to_vec();
        let vector = Vector { values: Some(Values::F32(values.into())), ..Vector::default() };
        let search = SearchRequest {
            field: "v".into(),
            limit: 10,
            query: Some(Query::Vector(vector)),
            ..Default::default()
        };
        // Takes seconds.
        let request = BatchQueryRequest { collection: "c".into(), searches: vec![search; 4096] };
        let mut request = Request::new(request);
        request.extensions_mut().insert(Caller::unbounded());
        let queries = Queries { database: database.clone(), slow: None };
        let held = Arc::strong_count(&database);
        {
            let answer = std::pin::pin!(queries.batch_query(request));
            assert!(is_pending(answer).await, "the work has begun");
        }
        while Arc::strong_count(&database) > held {
            tokio::task::yield_now().await;
        }
        assert_eq!(collection.statistics().answered, 0, "answered for nobody");
    }

    /// True if a future is still pending after a poll.
    async fn is_pending(mut future: std::pin::Pin<&mut impl Future>) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(future.as_mut().poll(context).is_pending())
        })
        .await
    }

    #[test]
    fn timeouts_follow_the_protocol() {
        assert_eq!(parse_timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse_timeout("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(parse_timeout("1n"), Some(Duration::from_nanos(1)));
        for malformed in ["", "5", "S", "-1S", "1x", "999999999S", "1 S", "1ä"] {
            assert_eq!(parse_timeout(malformed), None, "{malformed:?}");
        }
    }
}
