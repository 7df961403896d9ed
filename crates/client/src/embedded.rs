//! The backend for a database folder in this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, Limits, Refused, Writer};
use crate::columns::PointColumns;
use crate::error::{ClientError, Result};
use lanner::{
    CancelToken, Collection, CollectionConfig, CollectionInfo, Database, Deadline, Durability,
    FacetRequest, FacetResponse, Filter, FusionRequest, FusionResponse, GroupRequest,
    GroupResponse, Include, Job, JobInfo, MemoryBudget, OrderedPage, OrderedScroll, PayloadType,
    PayloadUpdate, Point, PointBatchBuilder, PointId, QueryRequest, QueryResponse, ScrollPage,
    Selection, TrainingQueries, UpdateReceipt, WriteReceipt,
};

/// Polling interval of [`Backend::wait_for`].
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A database folder, opened in this process.
pub struct Embedded {
    database: Arc<Database>,
    limits: Limits,
}

impl Embedded {
    /// Wraps an open database.
    pub fn new(database: Database) -> Self {
        Self { database: Arc::new(database), limits: Limits::default() }
    }

    /// Opens the folder; creates it if it is missing or empty.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self::new(Database::open(folder)?))
    }

    /// The deadline of a call that starts now.
    fn deadline(&self) -> Deadline {
        let deadline = self.limits.timeout.map_or(Deadline::NEVER, Deadline::after);
        match &self.limits.cancelled {
            Some(token) => deadline.or_cancelled(token),
            None => deadline,
        }
    }
}

impl Backend for Embedded {
    fn within(&self, limits: Limits) -> Box<dyn Backend> {
        Box::new(Self { database: self.database.clone(), limits })
    }

    fn create(
        &self,
        name: &str,
        config: &CollectionConfig,
        training_queries: &BTreeMap<String, TrainingQueries>,
    ) -> Result<()> {
        self.database.create_collection_with(name, config.clone(), training_queries)?;
        Ok(())
    }

    fn drop_collection(&self, name: &str) -> Result<()> {
        Ok(self.database.delete_collection(name)?)
    }

    fn list(&self) -> Result<Vec<(String, Result<u64, String>)>> {
        let count = |found: lanner::Result<Collection>| {
            found.map(|collection| collection.count()).map_err(|error| error.to_string())
        };
        let collections = self.database.collections();
        Ok(collections.into_iter().map(|(name, found)| (name, count(found))).collect())
    }

    fn info(&self, name: &str) -> Result<CollectionInfo> {
        Ok(self.database.collection(name)?.info())
    }

    fn writer<'b>(&'b self, name: &str, durability: Durability) -> Result<Box<dyn Writer + 'b>> {
        let collection = self.database.collection(name)?;
        let cancelled = self.limits.cancelled.clone();
        Ok(Box::new(EmbeddedWriter { collection, durability, cancelled, stored: 0 }))
    }

    fn delete(
        &self,
        name: &str,
        ids: Vec<PointId>,
        durability: Durability,
    ) -> Result<WriteReceipt> {
        Ok(self.database.collection(name)?.delete(ids, durability)?)
    }

    fn delete_where(
        &self,
        name: &str,
        filter: &Filter,
        durability: Durability,
    ) -> Result<WriteReceipt> {
        Ok(self.database.collection(name)?.delete_where(filter, durability)?)
    }

    fn update_payloads(
        &self,
        name: &str,
        points: &Selection,
        update: &PayloadUpdate,
        durability: Durability,
    ) -> Result<UpdateReceipt> {
        Ok(self.database.collection(name)?.update_payloads(points, update, durability)?)
    }

    fn update_vectors(
        &self,
        name: &str,
        points: Vec<Point>,
        durability: Durability,
    ) -> Result<UpdateReceipt> {
        Ok(self.database.collection(name)?.update_vectors(points, durability)?)
    }

    fn get(&self, name: &str, ids: &[PointId], include: Include) -> Result<Vec<Point>> {
        let found = self.database.collection(name)?.get(ids, include)?;
        Ok(found.into_iter().flatten().collect())
    }

    fn scroll(
        &self,
        name: &str,
        filter: Option<&Filter>,
        after: Option<&PointId>,
        limit: usize,
        include: Include,
    ) -> Result<ScrollPage> {
        Ok(self.database.collection(name)?.scroll_where(filter, after, limit, include)?)
    }

    fn scroll_ordered(&self, name: &str, request: &OrderedScroll) -> Result<OrderedPage> {
        Ok(self.database.collection(name)?.scroll_ordered(request)?)
    }

    fn facet(&self, name: &str, request: &FacetRequest) -> Result<FacetResponse> {
        let collection = self.database.collection(name)?;
        let memory = MemoryBudget::unlimited();
        Ok(collection.facet_within(request, &self.deadline(), &memory)?)
    }

    fn count(&self, name: &str, filter: Option<&Filter>) -> Result<u64> {
        let collection = self.database.collection(name)?;
        Ok(filter.map_or_else(|| Ok(collection.count()), |f| collection.count_where(f))?)
    }

    fn query(&self, name: &str, request: &QueryRequest) -> Result<QueryResponse> {
        let mut answers = self.query_batch(name, std::slice::from_ref(request))?;
        let missing = || lanner::Error::Internal("a query has no answer".into());
        Ok(answers.pop().ok_or_else(missing)?)
    }

    fn query_batch(&self, name: &str, requests: &[QueryRequest]) -> Result<Vec<QueryResponse>> {
        Ok(self.database.collection(name)?.query_batch(requests, self.deadline())?)
    }

    fn fuse(&self, name: &str, request: &FusionRequest) -> Result<FusionResponse> {
        Ok(self.database.collection(name)?.fuse_before(request, self.deadline())?)
    }

    fn query_groups(&self, name: &str, request: &GroupRequest) -> Result<GroupResponse> {
        let collection = self.database.collection(name)?;
        let memory = MemoryBudget::unlimited();
        Ok(collection.query_groups_within(request, &self.deadline(), &memory)?)
    }

    fn verify(&self, name: &str) -> Result<JobInfo> {
        Ok(self.database.collection(name)?.start_verify()?.info())
    }

    fn flush(&self, name: &str) -> Result<()> {
        Ok(self.database.collection(name)?.flush()?)
    }

    fn train(&self, name: &str, field: &str, queries: Option<&TrainingQueries>) -> Result<JobInfo> {
        let collection = self.database.collection(name)?;
        let job = match queries {
            Some(queries) => collection.start_train(field, queries.clone())?,
            None => collection.start_train_on_recent(field)?,
        };
        Ok(job.info())
    }

    fn optimize(&self, name: &str) -> Result<JobInfo> {
        Ok(self.database.collection(name)?.start_optimize()?.info())
    }

    fn wait_for(&self, job: &JobInfo, on_progress: &mut dyn FnMut(&JobInfo)) -> Result<()> {
        let job = self.database.job(job.id)?;
        while !job.wait_for(LOOK_EVERY) {
            check(self.limits.cancelled.as_ref())?;
            on_progress(&job.info());
        }
        Ok(job.wait()?)
    }

    fn jobs(&self) -> Result<Vec<JobInfo>> {
        Ok(self.database.jobs().iter().map(Job::info).collect())
    }

    fn cancel(&self, id: u64) -> Result<()> {
        self.database.job(id)?.cancel();
        Ok(())
    }

    fn declare(&self, name: &str, path: &str, payload_type: PayloadType) -> Result<JobInfo> {
        Ok(self.database.collection(name)?.start_declare(path, payload_type)?.info())
    }
}

/// Fails if the call was cancelled.
fn check(cancelled: Option<&CancelToken>) -> Result<()> {
    match cancelled {
        Some(token) if token.is_cancelled() => Err(ClientError::Cancelled),
        _ => Ok(()),
    }
}

struct EmbeddedWriter {
    collection: Collection,
    durability: Durability,
    cancelled: Option<CancelToken>,
    stored: u64,
}

impl EmbeddedWriter {
    fn store(&mut self, batch: PointBatchBuilder) -> Result<()> {
        self.stored += self.collection.upsert_batch(batch.finish(), self.durability)?.affected;
        Ok(())
    }
}

impl Writer for EmbeddedWriter {
    fn write(&mut self, points: Vec<Point>) -> Result<()> {
        let mut batch = self.collection.batch();
        for point in points {
            let id = point.id.clone();
            batch.push(point).map_err(|error| error.within(format!("point {id}")))?;
        }
        self.store(batch)
    }

    fn write_columns(&mut self, points: PointColumns<'_>) -> Result<()> {
        let mut batch = self.collection.batch();
        points.fill(&mut batch)?;
        check(self.cancelled.as_ref())?;
        self.store(batch)
    }

    fn write_valid(&mut self, points: Vec<Point>, refused: &mut Vec<Refused>) -> Result<()> {
        let mut batch = self.collection.batch();
        for (index, point) in points.into_iter().enumerate() {
            let id = point.id.clone();
            if let Err(error) = batch.push(point) {
                refused.push(Refused { index, id, reason: error.to_string() });
            }
        }
        if batch.is_empty() { Ok(()) } else { self.store(batch) }
    }

    fn stored(&self) -> u64 {
        self.stored
    }
}
