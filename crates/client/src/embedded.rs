//! The backend that opens a database folder in this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::backend::{Backend, Refused, Writer};
use crate::error::Result;
use lanner::{
    Collection, CollectionConfig, CollectionInfo, Database, Durability, FacetRequest,
    FacetResponse, Filter, FusionRequest, FusionResponse, GroupRequest, GroupResponse, Include,
    Job, JobInfo, OrderedPage, OrderedScroll, PayloadType, PayloadUpdate, Point, PointId,
    QueryRequest, QueryResponse, ScrollPage, Selection, TrainingQueries, UpdateReceipt,
    WriteReceipt,
};

/// How often a job that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A database folder.
pub struct Embedded(Database);

impl Embedded {
    /// A database that is open.
    pub fn new(database: Database) -> Self {
        Self(database)
    }

    /// Opens the folder; creates it if it is missing or empty.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self(Database::open(folder)?))
    }
}

impl Backend for Embedded {
    fn create(
        &self,
        name: &str,
        config: &CollectionConfig,
        training_queries: &BTreeMap<String, TrainingQueries>,
    ) -> Result<()> {
        self.0.create_collection_with(name, config.clone(), training_queries)?;
        Ok(())
    }

    fn drop_collection(&self, name: &str) -> Result<()> {
        Ok(self.0.delete_collection(name)?)
    }

    fn list(&self) -> Result<Vec<(String, Result<u64, String>)>> {
        let count = |found: lanner::Result<Collection>| {
            found.map(|collection| collection.count()).map_err(|error| error.to_string())
        };
        let collections = self.0.collections();
        Ok(collections.into_iter().map(|(name, found)| (name, count(found))).collect())
    }

    fn info(&self, name: &str) -> Result<CollectionInfo> {
        Ok(self.0.collection(name)?.info())
    }

    fn writer<'b>(&'b self, name: &str, durability: Durability) -> Result<Box<dyn Writer + 'b>> {
        let collection = self.0.collection(name)?;
        Ok(Box::new(EmbeddedWriter { collection, durability, stored: 0 }))
    }

    fn delete(&self, name: &str, ids: Vec<PointId>) -> Result<WriteReceipt> {
        Ok(self.0.collection(name)?.delete(ids, Durability::Synced)?)
    }

    fn delete_where(&self, name: &str, filter: &Filter) -> Result<WriteReceipt> {
        Ok(self.0.collection(name)?.delete_where(filter, Durability::Synced)?)
    }

    fn update_payloads(
        &self,
        name: &str,
        points: &Selection,
        update: &PayloadUpdate,
    ) -> Result<UpdateReceipt> {
        Ok(self.0.collection(name)?.update_payloads(points, update, Durability::Synced)?)
    }

    fn update_vectors(&self, name: &str, points: Vec<Point>) -> Result<UpdateReceipt> {
        Ok(self.0.collection(name)?.update_vectors(points, Durability::Synced)?)
    }

    fn get(&self, name: &str, ids: &[PointId], include: Include) -> Result<Vec<Point>> {
        let found = self.0.collection(name)?.get(ids, include)?;
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
        Ok(self.0.collection(name)?.scroll_where(filter, after, limit, include)?)
    }

    fn scroll_ordered(&self, name: &str, request: &OrderedScroll) -> Result<OrderedPage> {
        Ok(self.0.collection(name)?.scroll_ordered(request)?)
    }

    fn facet(&self, name: &str, request: &FacetRequest) -> Result<FacetResponse> {
        Ok(self.0.collection(name)?.facet(request)?)
    }

    fn count(&self, name: &str, filter: Option<&Filter>) -> Result<u64> {
        let collection = self.0.collection(name)?;
        Ok(filter.map_or_else(|| Ok(collection.count()), |f| collection.count_where(f))?)
    }

    fn query(&self, name: &str, request: &QueryRequest) -> Result<QueryResponse> {
        Ok(self.0.collection(name)?.query(request)?)
    }

    fn fuse(&self, name: &str, request: &FusionRequest) -> Result<FusionResponse> {
        Ok(self.0.collection(name)?.fuse(request)?)
    }

    fn query_groups(&self, name: &str, request: &GroupRequest) -> Result<GroupResponse> {
        Ok(self.0.collection(name)?.query_groups(request)?)
    }

    fn verify(&self, name: &str) -> Result<JobInfo> {
        Ok(self.0.collection(name)?.start_verify()?.info())
    }

    fn flush(&self, name: &str) -> Result<()> {
        Ok(self.0.collection(name)?.flush()?)
    }

    fn train(&self, name: &str, field: &str, queries: Option<&TrainingQueries>) -> Result<JobInfo> {
        let collection = self.0.collection(name)?;
        let job = match queries {
            Some(queries) => collection.start_train(field, queries.clone())?,
            None => collection.start_train_on_recent(field)?,
        };
        Ok(job.info())
    }

    fn optimize(&self, name: &str) -> Result<JobInfo> {
        Ok(self.0.collection(name)?.start_optimize()?.info())
    }

    fn wait_for(&self, job: &JobInfo, on_progress: &mut dyn FnMut(&JobInfo)) -> Result<()> {
        let job = self.0.job(job.id)?;
        while !job.wait_for(LOOK_EVERY) {
            on_progress(&job.info());
        }
        Ok(job.wait()?)
    }

    fn jobs(&self) -> Result<Vec<JobInfo>> {
        Ok(self.0.jobs().iter().map(Job::info).collect())
    }

    fn cancel(&self, id: u64) -> Result<()> {
        self.0.job(id)?.cancel();
        Ok(())
    }

    fn declare(&self, name: &str, path: &str, payload_type: PayloadType) -> Result<JobInfo> {
        Ok(self.0.collection(name)?.start_declare(path, payload_type)?.info())
    }
}

struct EmbeddedWriter {
    collection: Collection,
    durability: Durability,
    stored: u64,
}

impl Writer for EmbeddedWriter {
    fn write(&mut self, points: Vec<Point>) -> Result<()> {
        let mut batch = self.collection.batch();
        for point in points {
            let id = point.id.clone();
            batch.push(point).map_err(|error| error.within(format!("point {id}")))?;
        }
        self.stored += self.collection.upsert_batch(batch.finish(), self.durability)?.affected;
        Ok(())
    }

    fn write_valid(&mut self, points: Vec<Point>, refused: &mut Vec<Refused>) -> Result<()> {
        let mut batch = self.collection.batch();
        for (index, point) in points.into_iter().enumerate() {
            let id = point.id.clone();
            if let Err(error) = batch.push(point) {
                refused.push(Refused { index, id, reason: error.to_string() });
            }
        }
        if !batch.is_empty() {
            self.stored += self.collection.upsert_batch(batch.finish(), self.durability)?.affected;
        }
        Ok(())
    }

    fn stored(&self) -> u64 {
        self.stored
    }
}
