//! What programs need from a database, wherever it is.

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

/// When calls end before they are done.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// Time that a call may take. Waiting for a job is not meant, and a local database looks at it in
    /// queries only.
    pub timeout: Option<Duration>,
    /// Ends calls when it is cancelled; local writes end with the batch that is being written.
    pub cancelled: Option<CancelToken>,
}

/// A database in a folder or behind a server.
pub trait Backend: Send + Sync {
    /// The same database, with limits to its calls.
    fn within(&self, limits: Limits) -> Box<dyn Backend>;

    /// Creates a collection, with queries to train its compression on by field.
    fn create(
        &self,
        name: &str,
        config: &CollectionConfig,
        training_queries: &BTreeMap<String, TrainingQueries>,
    ) -> Result<()>;

    /// Deletes a collection.
    fn drop_collection(&self, name: &str) -> Result<()>;

    /// All collections by name, with their number of points or why they are unusable.
    fn list(&self) -> Result<Vec<(String, Result<u64, String>)>>;

    /// Describes a collection.
    fn info(&self, name: &str) -> Result<CollectionInfo>;

    /// Opens a collection for writing batch after batch.
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

    /// Replaces vectors of points: those of the fields that each names.
    fn update_vectors(
        &self,
        name: &str,
        points: Vec<Point>,
        durability: Durability,
    ) -> Result<UpdateReceipt>;

    /// The points of these ids that exist, in their order.
    fn get(&self, name: &str, ids: &[PointId], include: Include) -> Result<Vec<Point>>;

    /// Up to `limit` points with an id after `after`, of those that match a filter, in the order of ids.
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

    /// How many points have each value of a payload path.
    fn facet(&self, name: &str, request: &FacetRequest) -> Result<FacetResponse>;

    /// Number of points, or of those that match a filter.
    fn count(&self, name: &str, filter: Option<&Filter>) -> Result<u64>;

    /// Answers a query.
    fn query(&self, name: &str, request: &QueryRequest) -> Result<QueryResponse>;

    /// Answers several queries, reading each vector once for all of them where that is possible.
    fn query_batch(&self, name: &str, requests: &[QueryRequest]) -> Result<Vec<QueryResponse>>;

    /// Answers several queries and makes one ranking out of theirs.
    fn fuse(&self, name: &str, request: &FusionRequest) -> Result<FusionResponse>;

    /// Finds the best groups of points that share a value.
    fn query_groups(&self, name: &str, request: &GroupRequest) -> Result<GroupResponse>;

    /// Begins to compare all files of a collection with their checksums.
    fn verify(&self, name: &str) -> Result<JobInfo>;

    /// Moves everything into sealed segments.
    fn flush(&self, name: &str) -> Result<()>;

    /// Begins to train the compression of a field on queries, or else on those that came to it lately.
    fn train(&self, name: &str, field: &str, queries: Option<&TrainingQueries>) -> Result<JobInfo>;

    /// Begins to merge segments.
    fn optimize(&self, name: &str) -> Result<JobInfo>;

    /// Waits for a job, and tells how far it is now and then.
    fn wait_for(&self, job: &JobInfo, on_progress: &mut dyn FnMut(&JobInfo)) -> Result<()>;

    /// The jobs that have not ended, and the last that have.
    fn jobs(&self) -> Result<Vec<JobInfo>>;

    /// Asks a job to end.
    fn cancel(&self, id: u64) -> Result<()>;

    /// Begins to declare a payload path.
    fn declare(&self, name: &str, path: &str, payload_type: PayloadType) -> Result<JobInfo>;
}

/// Writes batches of points.
pub trait Writer {
    /// Writes a batch and waits until it is acknowledged.
    fn write(&mut self, points: Vec<Point>) -> Result<()>;

    /// Writes points that are given in columns and waits until they are acknowledged. All of them are
    /// checked before the first is written. Many go to a server in several messages, each written
    /// whole or not at all.
    ///
    /// # Errors
    /// [`lanner::InvalidInput`] naming the first refused point, as `points[i]`; then none is written.
    fn write_columns(&mut self, points: PointColumns<'_>) -> Result<()>;

    /// Writes the valid points of a batch, waits until they are acknowledged, and adds the others to
    /// `refused`; also those of an error that comes later.
    fn write_valid(&mut self, points: Vec<Point>, refused: &mut Vec<Refused>) -> Result<()>;

    /// Points acknowledged so far.
    fn stored(&self) -> u64;
}

/// A point that was not written, because it is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the batch.
    pub index: usize,
    /// Its id.
    pub id: PointId,
    /// What was expected and what came, with the field.
    pub reason: String,
}
