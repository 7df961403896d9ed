//! A collection: its points, from the write to what a query sees.
//!
//! [`Collection`] is the handle. Writes go through `writer` (journal, apply, publish) into
//! `state` (segments and tombstones), `optimizer` seals and merges in the background, and reads
//! take the current `snapshot` and never wait for either.

pub(crate) mod codecs;
mod index_work;
mod indexer;
mod info;
mod optimizer;
mod pages;
mod recalibration;
mod record;
mod reservoir;
mod state;
mod statistics;
mod writer;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use lanner_storage::{Catalog, DatabaseLock, Directory, IndexEntry, SegmentEntry};
use roaring::RoaringBitmap;

use self::codecs::Retrain;
pub use self::info::{CollectionInfo, IndexStatus, SegmentInfo};
pub use self::pages::{FoundPoints, PageRoom};
use self::record::Operation;
use self::reservoir::Reservoir;
use self::state::SealedSlot;
use self::statistics::QueryCounters;
pub use self::statistics::QueryStatistics;
pub use self::writer::{Durability, WriteReceipt};
use self::writer::{Pending, State, Stop};
use crate::error::{Error, Result};
use crate::model::{
    CollectionConfig, Filter, Include, InvalidInput, MemoryBudget, Point, PointBatch,
    PointBatchBuilder, PointId, Problem, TrainingQueries, check_range, limits,
};
use crate::multivector::pool_field;
use crate::query::{self, Deadline, FusionRequest, FusionResponse, QueryRequest, QueryResponse};
use crate::segment::{SealedSegment, Snapshot};

/// How a database divides its points into segments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentOptions {
    /// A segment in memory is sealed when its vectors and payloads reach this size, in bytes.
    pub seal_bytes: u64,
    /// Merges do not make segments larger than this, in bytes.
    pub segment_bytes: u64,
    /// So many segments may wait to be sealed before writers have to wait.
    pub frozen_segments: usize,
    /// Segments of fewer rows get no index: their codes are scanned in no time.
    pub index_rows: u32,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            seal_bytes: 64 << 20,
            segment_bytes: 4 << 30,
            frozen_segments: 2,
            index_rows: 10_000,
        }
    }
}

/// The files of a database: shared by its collections, released with the last of them.
#[derive(Debug)]
pub(crate) struct Store {
    pub catalog: Catalog,
    pub directory: Arc<dyn Directory>,
    // Last: other processes may come in once everything above is closed.
    pub _lock: DatabaseLock,
}

/// A handle to a collection; clones are handles to the same one.
#[derive(Clone)]
pub struct Collection(Arc<Inner>);

struct Inner {
    name: String,
    id: u32,
    config: CollectionConfig,
    options: SegmentOptions,
    store: Arc<Store>,
    pool: Arc<rayon::ThreadPool>,
    queue: Mutex<Vec<Pending>>,
    state: Mutex<State>,
    /// Signals every change of `state` that someone may wait for.
    changed: Condvar,
    snapshot: ArcSwap<Snapshot>,
    queries: QueryCounters,
    /// For each field, some of the queries that came.
    reservoirs: Vec<Reservoir>,
    cancelled: AtomicBool,
    /// The threads that seal and merge, and that build indexes.
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// One page of a scroll.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrollPage {
    /// Points in the order of their ids: numbers first, then texts.
    pub points: Vec<Point>,
    /// Where the next page starts (`after`); `None` on the last page.
    pub next: Option<PointId>,
}

impl Collection {
    /// Opens a collection: its segments from the manifest, then what the journal adds.
    ///
    /// # Errors
    /// If a file is damaged or the catalog cannot be read.
    pub(crate) fn open(
        store: Arc<Store>,
        pool: Arc<rayon::ThreadPool>,
        options: SegmentOptions,
        name: String,
        id: u32,
        config: CollectionConfig,
    ) -> Result<Self> {
        let reservoirs = config.fields.values().map(|field| Reservoir::new(field.recent_queries));
        let reservoirs = reservoirs.collect();
        let inner = Arc::new(Inner {
            name,
            id,
            config,
            options,
            store,
            pool,
            queue: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            snapshot: ArcSwap::default(),
            queries: QueryCounters::default(),
            reservoirs,
            cancelled: AtomicBool::new(false),
            workers: Mutex::default(),
        });
        inner.recover()?;
        inner.start("optimizer", Inner::work)?;
        inner.start("indexer", Inner::build_indexes)?;
        Ok(Self(inner))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The settings.
    pub fn config(&self) -> &CollectionConfig {
        &self.0.config
    }

    /// Writes points, replacing those of the same ids. When this returns they are durable and
    /// every query sees them. Of an id that comes twice the last wins.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first refused point, as `points[i]`; nothing is applied.
    pub fn upsert(&self, points: impl IntoIterator<Item = Point>) -> Result<WriteReceipt> {
        let mut builder = self.batch();
        for (index, point) in points.into_iter().enumerate() {
            builder.push(point).map_err(|error| error.within(format!("points[{index}]")))?;
        }
        self.upsert_batch(builder.finish(), Durability::Synced)
    }

    /// Starts a batch for [`Self::upsert_batch`].
    pub fn batch(&self) -> PointBatchBuilder<'_> {
        PointBatchBuilder::new(&self.0.config).pooled_by(pool_field)
    }

    /// Writes a batch that was built for this collection.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty batch; otherwise as any write: the collection was deleted,
    /// the database is closing, or the disk failed. Nothing is applied then.
    pub fn upsert_batch(&self, points: PointBatch, durability: Durability) -> Result<WriteReceipt> {
        check_range("points", 1, limits::MAX_BATCH_POINTS, points.len())?;
        self.0.write(Operation::Upsert(points), durability)
    }

    /// Deletes points by id; ids without a point are skipped. The receipt counts the deleted.
    ///
    /// # Errors
    /// As [`Self::upsert_batch`].
    pub fn delete(&self, ids: Vec<PointId>, durability: Durability) -> Result<WriteReceipt> {
        check_range("ids", 1, limits::MAX_BATCH_POINTS, ids.len())?;
        for (index, id) in ids.iter().enumerate() {
            id.validate().map_err(|error| error.within(format!("ids[{index}]")))?;
        }
        self.0.write(Operation::Delete(ids), durability)
    }

    /// The points of these ids, in their order; `None` where there is none.
    ///
    /// # Errors
    /// If there are too many ids, or a sealed file is damaged.
    pub fn get(&self, ids: &[PointId], include: Include) -> Result<Vec<Option<Point>>> {
        Ok(self.get_within(ids, include, &PageRoom::unlimited())?.points)
    }

    /// Up to `limit` points with an id after `after`, in the order of ids. Points written between
    /// two pages appear if their id is still to come.
    ///
    /// # Errors
    /// If `limit` is out of bounds, or a sealed file is damaged.
    pub fn scroll(
        &self,
        after: Option<&PointId>,
        limit: usize,
        include: Include,
    ) -> Result<ScrollPage> {
        self.scroll_where(None, after, limit, include)
    }

    /// As [`Self::scroll`], over the points that match a filter, if there is one.
    ///
    /// # Errors
    /// As [`Self::scroll`], and [`Error::Invalid`] if the filter does not fit the collection.
    pub fn scroll_where(
        &self,
        filter: Option<&Filter>,
        after: Option<&PointId>,
        limit: usize,
        include: Include,
    ) -> Result<ScrollPage> {
        self.scroll_within(filter, after, limit, include, &PageRoom::unlimited())
    }

    /// The points most similar to a query, best first. Among equal scores the smaller id wins.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown field, a vector that does not fit it, or a limit out of
    /// bounds; [`Error::PointNotFound`] if the query is a point that does not exist.
    pub fn query(&self, request: &QueryRequest) -> Result<QueryResponse> {
        self.query_batch(std::slice::from_ref(request), Deadline::NEVER)?
            .pop()
            .ok_or_else(|| Error::Internal("a query has no answer".into()))
    }

    /// Answers several queries from one snapshot, reading each vector once for all of them.
    ///
    /// # Errors
    /// As [`Self::query`], as `queries[i]`, and [`Error::DeadlineExceeded`]; then none is answered.
    pub fn query_batch(
        &self,
        requests: &[QueryRequest],
        deadline: Deadline,
    ) -> Result<Vec<QueryResponse>> {
        self.query_within(requests, deadline, &MemoryBudget::unlimited())
    }

    /// As [`Self::query_batch`], in so much memory: that of answers stays counted.
    ///
    /// # Errors
    /// As [`Self::query_batch`], and [`Error::Exhausted`].
    pub fn query_within(
        &self,
        requests: &[QueryRequest],
        deadline: Deadline,
        memory: &Arc<MemoryBudget>,
    ) -> Result<Vec<QueryResponse>> {
        let snapshot = self.snapshot();
        let note = |field: usize, query: &[f32]| self.0.note_query(field, query);
        let answers = self.ground(&snapshot, memory, &note).answer(requests, deadline)?;
        self.0.queries.count(&answers);
        Ok(answers)
    }

    fn ground<'g>(
        &'g self,
        snapshot: &'g Snapshot,
        memory: &'g Arc<MemoryBudget>,
        note: query::Note<'g>,
    ) -> query::Ground<'g> {
        query::Ground { snapshot, config: &self.0.config, pool: &self.0.pool, memory, note }
    }

    /// What queries came to since the collection was opened.
    pub fn statistics(&self) -> QueryStatistics {
        self.0.queries.read()
    }

    /// Answers several queries from one snapshot and makes one ranking out of theirs, by
    /// reciprocal rank fusion. Scores are sums of weight / (k + rank), higher is better; among
    /// equal ones the smaller id wins.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no query or too many, a `k` that is not above 0, weights that do not
    /// fit the queries, or a limit out of bounds; as [`Self::query`] for each of the queries, as
    /// `queries[i]`.
    pub fn fuse(&self, request: &FusionRequest) -> Result<FusionResponse> {
        self.fuse_before(request, Deadline::NEVER)
    }

    /// As [`Self::fuse`], if it takes no longer than until the deadline.
    ///
    /// # Errors
    /// As [`Self::fuse`], and [`Error::DeadlineExceeded`].
    pub fn fuse_before(
        &self,
        request: &FusionRequest,
        deadline: Deadline,
    ) -> Result<FusionResponse> {
        self.fuse_within(request, deadline, &MemoryBudget::unlimited())
    }

    /// As [`Self::fuse_before`], in so much memory: that of answers stays counted.
    ///
    /// # Errors
    /// As [`Self::fuse_before`], and [`Error::Exhausted`].
    pub fn fuse_within(
        &self,
        request: &FusionRequest,
        deadline: Deadline,
        memory: &Arc<MemoryBudget>,
    ) -> Result<FusionResponse> {
        let snapshot = self.snapshot();
        let note = |field: usize, query: &[f32]| self.0.note_query(field, query);
        let ground = self.ground(&snapshot, memory, &note);
        query::fuse(&ground, request, |queries| {
            let answers = ground.answer(queries, deadline)?;
            self.0.queries.count(&answers);
            Ok(answers)
        })
    }

    /// Number of points.
    pub fn count(&self) -> u64 {
        self.snapshot().count()
    }

    /// Number of points that match a filter.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the filter does not fit the collection, or if a sealed file is
    /// damaged.
    pub fn count_where(&self, filter: &Filter) -> Result<u64> {
        let condition = filter.resolve(&self.0.config)?;
        let matching = self.snapshot().matching(&condition)?;
        Ok(matching.iter().map(RoaringBitmap::len).sum())
    }

    /// Moves everything written so far into sealed segments, and waits for it.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn flush(&self) -> Result<()> {
        self.0.flush()
    }

    /// Flushes, merges segments into as few as the size limit allows, drops deleted rows, and
    /// waits for all of it and for the indexes. Reads everything that is merged twice: first to see
    /// that it is sound. Indexes are read, too: a damaged one is dropped and built again.
    ///
    /// # Errors
    /// If the files cannot be written; [`Error::SegmentsDamaged`] if some could not be merged;
    /// [`Error::IndexesMissing`] if some index could not be built. All else is done then.
    pub fn optimize(&self) -> Result<()> {
        self.0.optimize(Retrain::IfDrifted)
    }

    /// Trains the compression of a field on queries of the kind that will come, rewrites the
    /// segments with it, and waits for that. The queries are kept for later trainings, in place of
    /// earlier ones. For a single-vector field a [`crate::MultiVector`] will do, with a query a row.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the field is unknown or not compressed, if there are no queries or too
    /// many, or one does not fit the field; and if the files cannot be written.
    pub fn train(&self, field: &str, queries: impl Into<TrainingQueries>) -> Result<()> {
        self.set_training_queries(field, queries)?;
        self.0.optimize(Retrain::Always)
    }

    /// As [`Self::train`], on queries that came to the field lately
    /// ([`VectorField::recent_queries`](crate::VectorField::recent_queries)).
    ///
    /// # Errors
    /// As [`Self::train`], and [`Error::Invalid`] if fewer than 128 queries came.
    pub fn train_on_recent(&self, field: &str) -> Result<()> {
        let (index, settings) = self.0.config.field(field)?;
        let queries = self.0.recent_queries(index, settings.dimension);
        let expected = "queries, or 128 that came to the field lately";
        let missing = || InvalidInput::new("queries", Problem::Missing { expected });
        let queries = queries.filter(|_| settings.is_compressed()).ok_or_else(missing)?;
        self.0.store_queries(field, &queries)?;
        self.0.optimize(Retrain::Always)
    }

    /// Keeps queries of the kind that will come for when the compression of a field is trained,
    /// which is when its first large segment is sealed. [`Self::train`] does so at once.
    ///
    /// # Errors
    /// As [`Self::train`].
    pub fn set_training_queries(
        &self,
        field: &str,
        queries: impl Into<TrainingQueries>,
    ) -> Result<()> {
        let queries = codecs::prepare_queries(&self.0.config, field, &queries.into())?;
        self.0.store_queries(field, &queries)
    }

    /// Reads all sealed files, compares every section with its checksum, and returns an error for
    /// each that differs. `on_bytes` is told how many bytes were read since it was told last; all
    /// of them are the sizes of the files in [`Self::info`], but for a few of each file's frame.
    ///
    /// Opening a collection does not read vectors, codes and payloads, so this finds what opening
    /// does not. Bytes that are in memory are checked as they are there. A damaged index
    /// ([`Error::IndexDamaged`]) is dropped and built again in the background.
    pub fn verify(&self, mut on_bytes: impl FnMut(u64)) -> Vec<Error> {
        let sealed: Vec<Arc<SealedSegment>> =
            self.0.lock().segments.sealed.iter().map(|slot| slot.segment.clone()).collect();
        let mut go_on = |bytes| {
            on_bytes(bytes);
            true
        };
        let mut damage = Vec::new();
        for segment in sealed {
            damage.extend(segment.damage(&mut go_on).into_iter().map(Error::from));
            let indexes = segment.index_damage(&mut go_on);
            self.0.note_damage(segment.entry().number, &indexes);
            damage.extend(indexes.into_iter().map(|(_, error)| Error::IndexDamaged(error)));
        }
        damage
    }

    /// What queries see now. It stays as it is while writes go on.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }

    /// Number of this collection in the catalog.
    pub(crate) fn id(&self) -> u32 {
        self.0.id
    }

    /// Stops writes and background work because the database closes.
    pub(crate) fn close(&self) {
        self.0.stop(Stop::Closing);
    }

    /// Stops writes and background work because the collection was deleted.
    pub(crate) fn dropped(&self) {
        self.0.stop(Stop::Dropped);
    }
}

impl Inner {
    fn start(self: &Arc<Self>, role: &str, work: fn(&Self)) -> Result<()> {
        let inner = self.clone();
        let spawned = std::thread::Builder::new()
            .name(format!("lanner-{role}-{}", self.id))
            .spawn(move || work(&inner))
            .map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))?;
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(spawned);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A writer that panicked may have left operations half-applied in memory: refuse writes,
        // but let `close` and reads of the state go on.
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            state.stopped.get_or_insert_with(|| Stop::Failed("a writer panicked".into()));
            state
        })
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for<'s>(
        &self,
        state: MutexGuard<'s, State>,
        timeout: Duration,
    ) -> MutexGuard<'s, State> {
        let woken = self.changed.wait_timeout(state, timeout);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    fn publish(&self, state: &State) {
        self.snapshot.store(Arc::new(state.segments.snapshot()));
    }

    fn folder(&self) -> String {
        collection_folder(self.id)
    }

    fn segment_folder(&self, number: u64) -> String {
        format!("{}/{number}", self.folder())
    }

    /// Opens a segment; codecs that it has in common with the others are in memory once.
    fn open_segment(&self, entry: SegmentEntry, others: &[SealedSlot]) -> Result<SealedSegment> {
        let (directory, folder) = (&*self.store.directory, self.segment_folder(entry.number));
        let mut segment = SealedSegment::open(directory, &folder, &self.config, entry)?;
        others.iter().for_each(|slot| segment.share_codecs(&slot.segment));
        Ok(segment)
    }

    fn recover(&self) -> Result<()> {
        let catalog = &self.store.catalog;
        let mut state = self.lock();
        let manifest = catalog.manifest(self.id)?;
        for entry in &manifest.segments {
            let segment = self.open_segment(entry.clone(), &state.segments.sealed)?;
            let deleted = match catalog.tombstones(self.id, entry.number)? {
                Some(bytes) => self.tombstones(entry.rows, entry.number, &bytes)?,
                None => RoaringBitmap::new(),
            };
            let (segment, deleted) = (Arc::new(segment), Arc::new(deleted));
            state.segments.sealed.push(SealedSlot { segment, deleted, dirty: false });
        }
        let mut manifest = manifest;
        self.open_indexes(&state.segments.sealed, &mut manifest);
        self.restore_recent_queries(&manifest.recent_queries);
        self.sweep(&manifest)?;
        let after = manifest.sealed_through;
        state.segments.sequence = after;
        state.segments.manifest = manifest;
        catalog.replay_journal(self.id, after, |sequence, record| {
            let operation = Operation::decode(&self.config, sequence, record)?;
            state.segments.apply(sequence, operation).map(drop)
        })?;
        if state.segments.active.segment.size_bytes() >= self.options.seal_bytes {
            state.segments.freeze();
        }
        self.publish(&state);
        Ok(())
    }

    fn tombstones(&self, rows: u32, number: u64, bytes: &[u8]) -> Result<RoaringBitmap> {
        let corrupted = |detail: String| lanner_storage::StorageError::Corrupted {
            path: "catalog".into(),
            section: "tombstones".into(),
            detail: format!("segment {number}: {detail}"),
        };
        let deleted =
            RoaringBitmap::deserialize_from(bytes).map_err(|error| corrupted(error.to_string()))?;
        match deleted.max() {
            Some(row) if row >= rows => Err(corrupted(format!("row {row} of {rows}")).into()),
            _ => Ok(deleted),
        }
    }

    /// Removes folders that the manifest does not name: builds cut short, merged inputs.
    fn sweep(&self, manifest: &lanner_storage::Manifest) -> Result<()> {
        for name in self.store.directory.list(&self.folder())? {
            let segments = manifest.segments.iter().map(|entry| entry.number);
            let queries = manifest.queries.iter().chain(&manifest.recent_queries);
            let numbers = segments.chain(queries.map(|entry| entry.number));
            let numbers = numbers.chain(manifest.indexes.iter().flat_map(IndexEntry::numbers));
            let listed = { numbers }.any(|number| number.to_string() == name);
            if !listed {
                tracing::info!(collection = %self.name, folder = %name, "leftover removed");
                self.store.directory.remove_folder(&format!("{}/{name}", self.folder()))?;
            }
        }
        Ok(())
    }
}

/// The folder of a collection, made from its number and never from its name.
pub(crate) fn collection_folder(id: u32) -> String {
    format!("collections/{id}")
}
