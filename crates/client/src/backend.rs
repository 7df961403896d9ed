//! The interface to a database, embedded or remote.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::columns::PointColumns;
use crate::error::Result;
use lanner::{
    CancelToken, CollectionConfig, CollectionInfo, Durability, FacetRequest, FacetResponse, Filter,
    FusionRequest, FusionResponse, GroupRequest, GroupResponse, Include, JobInfo, OrderedPage,
    OrderedScroll, PayloadType, PayloadUpdate, Point, PointId, QueryRequest, QueryResponse,
    ScrollPage, Selection, TrainingQueries, UpdateReceipt, WriteReceipt,
};

/// Limits of calls.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Timeout of a call. Waiting for a job is exempt, and an embedded database only applies it to
    /// queries.
    pub timeout: Option<Duration>,
    /// Cancels calls; embedded writes stop after the current batch.
    pub cancelled: Option<CancelToken>,
}

/// A database in a folder or behind a server.
pub trait Backend: Send + Sync {
    /// The same database, with limits on its calls.
    fn within(&self, limits: Limits) -> Box<dyn Backend>;

    /// Creates a collection, with training queries for its compression by field name.
    fn create(
        &self,
        name: &str,
        config: &CollectionConfig,
        training_queries: &BTreeMap<String, TrainingQueries>,
    ) -> Result<()>;

    /// Deletes a collection.
    fn drop_collection(&self, name: &str) -> Result<()>;

    /// All collections by name, with their number of points or the reason why they are unusable.
    fn list(&self) -> Result<Vec<(String, Result<u64, String>)>>;

    /// Describes a collection.
    fn info(&self, name: &str) -> Result<CollectionInfo>;

    /// Opens a collection for writing in batches.
    fn writer<'b>(&'b self, name: &str, durability: Durability) -> Result<Box<dyn Writer + 'b>>;

    /// Deletes points.
    fn delete(&self, name: &str, ids: Vec<PointId>, durability: Durability)
    -> Result<WriteReceipt>;

    /// Deletes the points that match a filter.
    fn delete_where(
        &self,
        name: &str,
        filter: &Filter,
        durability: Durability,
    ) -> Result<WriteReceipt>;

    /// Changes the payloads of points.
    fn update_payloads(
        &self,
        name: &str,
        points: &Selection,
        update: &PayloadUpdate,
        durability: Durability,
    ) -> Result<UpdateReceipt>;

    /// Replaces vectors of points: only those of the fields in each point.
    fn update_vectors(
        &self,
        name: &str,
        points: Vec<Point>,
        durability: Durability,
    ) -> Result<UpdateReceipt>;

    /// The points with these ids that exist, in the order of the ids.
    fn get(&self, name: &str, ids: &[PointId], include: Include) -> Result<Vec<Point>>;

    /// Up to `limit` points with an id after `after`, optionally only those that match a filter, in
    /// id order.
    fn scroll(
        &self,
        name: &str,
        filter: Option<&Filter>,
        after: Option<&PointId>,
        limit: usize,
        include: Include,
    ) -> Result<ScrollPage>;

    /// A page of points in the order of a payload path.
    fn scroll_ordered(&self, name: &str, request: &OrderedScroll) -> Result<OrderedPage>;

    /// Counts points by value at a payload path.
    fn facet(&self, name: &str, request: &FacetRequest) -> Result<FacetResponse>;

    /// Number of points, optionally only those that match a filter.
    fn count(&self, name: &str, filter: Option<&Filter>) -> Result<u64>;

    /// Answers a query.
    fn query(&self, name: &str, request: &QueryRequest) -> Result<QueryResponse>;

    /// Answers several queries, reading each vector once for all of them where possible.
    fn query_batch(&self, name: &str, requests: &[QueryRequest]) -> Result<Vec<QueryResponse>>;

    /// Answers several queries and fuses their rankings.
    fn fuse(&self, name: &str, request: &FusionRequest) -> Result<FusionResponse>;

    /// Finds the best groups of points that share a value.
    fn query_groups(&self, name: &str, request: &GroupRequest) -> Result<GroupResponse>;

    /// Starts a job that verifies the checksums of all files of a collection.
    fn verify(&self, name: &str) -> Result<JobInfo>;

    /// Moves all writes into sealed segments.
    fn flush(&self, name: &str) -> Result<()>;

    /// Starts a job that trains the compression of a field on queries, by default on its recent
    /// ones.
    fn train(&self, name: &str, field: &str, queries: Option<&TrainingQueries>) -> Result<JobInfo>;

    /// Starts a job that merges segments.
    fn optimize(&self, name: &str) -> Result<JobInfo>;

    /// Waits for a job, and reports its progress from time to time.
    fn wait_for(&self, job: &JobInfo, on_progress: &mut dyn FnMut(&JobInfo)) -> Result<()>;

    /// The unfinished jobs, and the last finished ones.
    fn jobs(&self) -> Result<Vec<JobInfo>>;

    /// Requests cancellation of a job.
    fn cancel(&self, id: u64) -> Result<()>;

    /// Starts a job that declares a payload path.
    fn declare(&self, name: &str, path: &str, payload_type: PayloadType) -> Result<JobInfo>;
}

/// Writes batches of points.
pub trait Writer {
    /// Writes a batch and waits for its acknowledgement.
    fn write(&mut self, points: Vec<Point>) -> Result<()>;

    /// Writes points given in columns and waits for their acknowledgement. All are validated before
    /// the first is written. Many points are sent to a server in several messages, each of which is
    /// written atomically.
    ///
    /// # Errors
    /// [`lanner::InvalidInput`] naming the first invalid point, at `points[i]`; then none is
    /// written.
    fn write_columns(&mut self, points: PointColumns<'_>) -> Result<()>;

    /// Writes the valid points of a batch, waits for their acknowledgement, and appends the others
    /// to `refused`, even if an error follows.
    fn write_valid(&mut self, points: Vec<Point>, refused: &mut Vec<Refused>) -> Result<()>;

    /// Number of points acknowledged so far.
    fn stored(&self) -> u64;
}

/// A point that was not written because it is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Index in the batch.
    pub index: usize,
    /// Id of the point.
    pub id: PointId,
    /// Field, expected and actual value.
    pub reason: String,
}
