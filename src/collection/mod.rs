//! A collection: from writes to the snapshots that queries see.
//!
//! [`Collection`] is the handle. Writes go through `writer` (journal, apply, publish) into `state`
//! (segments and tombstones). In the background, `work` decides what is next, `optimizer` seals and
//! merges, and `indexer` builds indexes; reads use the current `snapshot` and never wait for them.

pub(crate) mod codecs;
mod declaration;
mod grouped;
mod index_work;
mod indexer;
mod info;
mod inherited;
mod install;
mod optimizer;
mod ordered;
mod pages;
mod recalibration;
mod record;
pub(crate) mod recovery;
mod reservoir;
mod state;
mod statistics;
pub(crate) mod unsealed;
mod update;
mod verification;
mod work;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use lanner_storage::{Catalog, DatabaseLock, Directory, StorageError};
use roaring::RoaringBitmap;

pub use self::info::{CollectionInfo, IndexStatus, SegmentInfo};
pub use self::ordered::{OrderedPage, OrderedScroll};
pub use self::pages::PageRoom;
use self::record::Operation;
use self::reservoir::Reservoir;
use self::statistics::QueryCounters;
pub use self::statistics::QueryStatistics;
use self::unsealed::Unsealed;
pub use self::update::UpdateReceipt;
pub use self::writer::{Durability, WriteReceipt};
use self::writer::{Pending, State, Stop};
use crate::error::{Error, Result};
use crate::index::BuildProgress;
use crate::jobs::{Job, JobKind, Jobs, Scheduler, Work};
use crate::model::{
    CollectionConfig, Condition, Filter, Include, InvalidInput, MemoryBudget, PayloadType, Point,
    PointBatch, PointBatchBuilder, PointId, Problem, TrainingQueries, VectorField, check_range,
    limits,
};
use crate::multivector::pool_field;
use crate::query::{
    self, Deadline, FusionRequest, FusionResponse, QueryRequest, QueryResponse, QueryThreads,
};
use crate::segment::{Snapshot, read_entry};

/// Limits on the segments of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentOptions {
    /// Size in bytes of a segment in memory, or of its journal, at which it is sealed.
    pub seal_bytes: u64,
    /// Total size in bytes of the segments in memory of all collections at which the largest is
    /// sealed.
    pub unsealed_bytes: u64,
    /// Maximum size in bytes of a merged segment.
    pub segment_bytes: u64,
    /// Number of segments waiting to be sealed at which writers have to wait.
    pub frozen_segments: usize,
    /// Minimum number of rows for codes: smaller segments are fast to scan exactly, and too small
    /// to train on.
    pub coded_rows: u32,
    /// Minimum number of rows for an index: the codes of smaller segments are fast to scan.
    pub index_rows: u32,
    /// Whether to keep a sample of the queries for calibration.
    pub learns: bool,
    /// Minimum free disk space in bytes for writing points.
    pub free_bytes: u64,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            seal_bytes: 64 << 20,
            unsealed_bytes: 256 << 20,
            segment_bytes: 4 << 30,
            frozen_segments: 2,
            coded_rows: 1_024,
            index_rows: 10_000,
            learns: true,
            free_bytes: 64 << 20,
        }
    }
}

/// The files of a database, shared by its collections and released with the last of them.
#[derive(Debug)]
pub(crate) struct Store {
    pub catalog: Catalog,
    pub directory: Arc<dyn Directory>,
    // Last field: other processes may enter only after everything above is closed.
    pub _lock: DatabaseLock,
}

/// A handle to a collection; clones are handles to the same one.
#[derive(Clone)]
pub struct Collection(Arc<Inner>);

struct Inner {
    name: String,
    id: u32,
    /// The vector fields, which never change. The current settings are in the snapshot.
    fields: BTreeMap<String, VectorField>,
    /// Configuration for checking new points: the settings plus the paths being declared.
    intake: ArcSwap<CollectionConfig>,
    options: SegmentOptions,
    store: Arc<Store>,
    threads: Arc<QueryThreads>,
    queue: Mutex<Vec<Pending>>,
    state: Mutex<State>,
    /// Signals every change of `state` that may be waited for.
    changed: Condvar,
    snapshot: ArcSwap<Snapshot>,
    queries: QueryCounters,
    /// For each field, a sample of recent queries.
    reservoirs: Vec<Reservoir>,
    scheduler: Arc<Scheduler>,
    jobs: Arc<Jobs>,
    unsealed: Arc<Unsealed>,
    /// Cancels background work.
    cancelled: AtomicBool,
    /// Progress and cancellation of seals; counts rows.
    sealing: Arc<BuildProgress>,
}

/// Resources shared by the collections of a database.
#[derive(Clone)]
pub(crate) struct Shared {
    pub store: Arc<Store>,
    /// Threads for queries.
    pub threads: Arc<QueryThreads>,
    pub options: SegmentOptions,
    pub scheduler: Arc<Scheduler>,
    pub jobs: Arc<Jobs>,
    pub unsealed: Arc<Unsealed>,
}

/// One page of a scroll.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrollPage {
    /// Points in the order of their ids: numbers first, then texts.
    pub points: Vec<Point>,
    /// Start of the next page (`after`); `None` on the last page.
    pub next: Option<PointId>,
}

impl Collection {
    /// Opens a collection: its segments from the manifest, then the writes in the journal.
    ///
    /// # Errors
    /// If a file is damaged or the catalog cannot be read.
    pub(crate) fn open(
        shared: Shared,
        name: String,
        id: u32,
        config: CollectionConfig,
    ) -> Result<Self> {
        let reservoirs = config.fields.values().map(|field| Reservoir::new(field.recent_queries));
        let reservoirs = reservoirs.collect();
        let Shared { store, threads, options, scheduler, jobs, unsealed } = shared;
        let inner = Arc::new(Inner {
            name,
            id,
            intake: ArcSwap::from_pointee(config.clone()),
            fields: config.fields,
            options,
            store,
            threads,
            queue: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            snapshot: ArcSwap::default(),
            queries: QueryCounters::default(),
            reservoirs,
            scheduler,
            jobs,
            unsealed,
            cancelled: AtomicBool::new(false),
            sealing: Arc::default(),
        });
        inner.unsealed.join(id, Arc::downgrade(&inner));
        if let Err(error) = inner.recover() {
            inner.unsealed.leave(id);
            return Err(error);
        }
        let unsealed = inner.lock().segments.unsealed_bytes();
        inner.make_room(unsealed);
        let weak: Weak<dyn Work> = Arc::downgrade(&(inner.clone() as Arc<dyn Work>));
        inner.scheduler.join(id, weak);
        Ok(Self(inner))
    }

    /// The name of the collection.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The current settings; payload paths may be declared later.
    pub fn config(&self) -> Arc<CollectionConfig> {
        self.0.config()
    }

    /// Writes points, replacing those with the same ids. On return they are durable and visible to
    /// every query. If an id occurs twice, the last point wins.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first invalid point, as `points[i]`; nothing is applied.
    pub fn upsert(&self, points: impl IntoIterator<Item = Point>) -> Result<WriteReceipt> {
        let mut builder = self.batch();
        for (index, point) in points.into_iter().enumerate() {
            builder.push(point).map_err(|error| error.within(format!("points[{index}]")))?;
        }
        self.upsert_batch(builder.finish(), Durability::Synced)
    }

    /// Starts a batch for [`Self::upsert_batch`].
    pub fn batch(&self) -> PointBatchBuilder {
        PointBatchBuilder::checking(self.0.intake.load_full()).pooled_by(pool_field)
    }

    /// Writes a batch built for this collection. The batch is also checked against payload paths
    /// declared since it was built.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty batch, or as `point ID` for a value that does not match a
    /// path declared since; otherwise as any write: the collection was deleted, the database is
    /// closing, or the disk failed. Nothing is applied then.
    pub fn upsert_batch(&self, points: PointBatch, durability: Durability) -> Result<WriteReceipt> {
        check_range("points", 1, limits::MAX_BATCH_POINTS, points.len())?;
        self.0.write(Operation::Upsert(points), durability)
    }

    /// Deletes points by id; unknown ids are skipped. The receipt counts the deleted points.
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

    /// The points with these ids, in the order of the ids; `None` where there is none.
    ///
    /// # Errors
    /// If there are too many ids, or a sealed file is damaged.
    pub fn get(&self, ids: &[PointId], include: Include) -> Result<Vec<Option<Point>>> {
        Ok(self.get_within(ids, include, &PageRoom::unlimited())?.points)
    }

    /// Up to `limit` points with an id after `after`, in ascending order of ids. Points written
    /// between two pages appear if their id is still ahead.
    ///
    /// # Errors
    /// If `limit` is out of range, or a sealed file is damaged.
    pub fn scroll(
        &self,
        after: Option<&PointId>,
        limit: usize,
        include: Include,
    ) -> Result<ScrollPage> {
        self.scroll_where(None, after, limit, include)
    }

    /// As [`Self::scroll`], over the points that match a filter, if given.
    ///
    /// # Errors
    /// As [`Self::scroll`], and [`Error::Invalid`] if the filter does not match the collection's
    /// settings.
    pub fn scroll_where(
        &self,
        filter: Option<&Filter>,
        after: Option<&PointId>,
        limit: usize,
        include: Include,
    ) -> Result<ScrollPage> {
        self.scroll_within(filter, after, limit, include, &PageRoom::unlimited())
    }

    /// The points most similar to a query, best first; ties by ascending id.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown field, a vector that does not match it, or a limit out of
    /// range; [`Error::PointNotFound`] if the query is a point that does not exist.
    pub fn query(&self, request: &QueryRequest) -> Result<QueryResponse> {
        self.query_batch(std::slice::from_ref(request), Deadline::NEVER)?
            .pop()
            .ok_or_else(|| Error::Internal("a query has no answer".into()))
    }

    /// Executes several queries on one snapshot; each vector is read once for all of them.
    ///
    /// # Errors
    /// As [`Self::query`], with the path `queries[i]`, [`Error::DeadlineExceeded`] and
    /// [`Error::QueryCancelled`]; no query is answered then.
    pub fn query_batch(
        &self,
        requests: &[QueryRequest],
        deadline: Deadline,
    ) -> Result<Vec<QueryResponse>> {
        self.query_within(requests, deadline, &MemoryBudget::unlimited())
    }

    /// As [`Self::query_batch`], within a memory budget. The memory of responses stays counted.
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
        self.answer(&self.ground(&snapshot, memory, &note), requests, &deadline)
    }

    fn answer(
        &self,
        ground: &query::Ground<'_>,
        requests: &[QueryRequest],
        deadline: &Deadline,
    ) -> Result<Vec<QueryResponse>> {
        let answers = ground.snapshot.whole(|_| ground.answer(requests, deadline));
        let answers = self.0.noting_damage(answers)?;
        self.count_answers(answers.iter().map(|answer| answer.estimated_recall));
        Ok(answers)
    }

    fn count_answers(&self, estimates: impl Iterator<Item = Option<f32>>) {
        if self.0.queries.count(estimates) {
            self.0.seal_early();
        }
    }

    fn ground<'g>(
        &'g self,
        snapshot: &'g Snapshot,
        memory: &'g Arc<MemoryBudget>,
        note: query::Note<'g>,
    ) -> query::Ground<'g> {
        query::Ground { snapshot, config: &snapshot.config, threads: &self.0.threads, memory, note }
    }

    /// Statistics of the queries since the collection was opened.
    pub fn statistics(&self) -> QueryStatistics {
        self.0.queries.read()
    }

    /// Executes several queries on one snapshot and merges their rankings, by reciprocal ranks or
    /// by normalised scores; see [`FusionMethod`](crate::FusionMethod). Higher is better, ties by
    /// ascending id.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no query or too many, a `k` that is not above 0, weights that do not
    /// match the queries, a limit out of range, or a field whose scores have no infimum under
    /// [`Normalization::TheoreticalMinMax`](crate::Normalization::TheoreticalMinMax); as [`Self::query`] for each query, with the path
    /// `queries[i]`.
    pub fn fuse(&self, request: &FusionRequest) -> Result<FusionResponse> {
        self.fuse_before(request, Deadline::NEVER)
    }

    /// As [`Self::fuse`], with a deadline.
    ///
    /// # Errors
    /// As [`Self::fuse`], [`Error::DeadlineExceeded`] and [`Error::QueryCancelled`].
    pub fn fuse_before(
        &self,
        request: &FusionRequest,
        deadline: Deadline,
    ) -> Result<FusionResponse> {
        self.fuse_within(request, deadline, &MemoryBudget::unlimited())
    }

    /// As [`Self::fuse_before`], within a memory budget. The memory of responses stays counted.
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
        query::fuse(&ground, request, |queries| self.answer(&ground, queries, &deadline))
    }

    /// Number of points.
    pub fn count(&self) -> u64 {
        self.snapshot().count()
    }

    /// Number of points that match a filter.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the filter does not match the collection's settings, or if a sealed
    /// file is damaged.
    pub fn count_where(&self, filter: &Filter) -> Result<u64> {
        let snapshot = self.snapshot();
        let condition = filter.resolve(&snapshot.config)?;
        let matching = self.matching(&snapshot, &condition)?;
        Ok(matching.iter().map(RoaringBitmap::len).sum())
    }

    /// The live matching rows of each view of a snapshot; payloads are read in parallel.
    fn matching(&self, snapshot: &Snapshot, condition: &Condition) -> Result<Vec<RoaringBitmap>> {
        let matching = || snapshot.whole(|snapshot| snapshot.matching(condition));
        self.0.noting_damage(match snapshot.reads_payloads(condition) {
            true => self.0.threads.short().install(matching),
            false => matching(),
        })
    }

    /// Seals everything written so far, and waits for completion.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn flush(&self) -> Result<()> {
        self.0.flush()
    }

    /// Flushes, merges segments into as few as the size limit allows, drops deleted rows, builds
    /// indexes, and waits for completion. Merged files are read twice, first to verify them.
    /// Indexes are verified too; a damaged one is dropped and rebuilt.
    ///
    /// # Errors
    /// If the files cannot be written; [`Error::SegmentsDamaged`] if some could not be merged;
    /// [`Error::IndexesMissing`] if some index could not be built. Everything else is done then.
    pub fn optimize(&self) -> Result<()> {
        self.start_optimize()?.wait()
    }

    /// As [`Self::optimize`], without waiting. Returns the pending job if one of the same kind has
    /// not started yet.
    ///
    /// # Errors
    /// If the collection cannot be written.
    pub fn start_optimize(&self) -> Result<Job> {
        self.0.begin(JobKind::Optimize)
    }

    /// Declares a payload path and waits until its index is built; see [`Self::start_declare`].
    ///
    /// # Errors
    /// As [`Self::start_declare`]; [`Error::Invalid`] for a point whose value at the path has
    /// another type, in which case the path is not declared; and if files cannot be read or
    /// written.
    pub fn declare(&self, path: &str, payload_type: PayloadType) -> Result<()> {
        self.start_declare(path, payload_type)?.wait()
    }

    /// As [`Self::declare`], without waiting. From now on, points with a value of another type at
    /// the path are rejected. In the background, earlier writes are sealed and their payloads
    /// checked. The path is then declared for good, and segments are rewritten one by one with a
    /// column for it: until that is done, filters read payloads where the column is missing, and
    /// facets, groups and orders by the path fail with [`Error::PathPending`].
    ///
    /// A job that fails or is cancelled before the check is complete has no effect. Afterwards the
    /// path is declared, and the build of its index continues even if the job is cancelled or the
    /// collection is reopened. Declaring a path again with the same type is not an error.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a malformed path, a path declared with another type, or too many
    /// paths; and if the collection cannot be written.
    pub fn start_declare(&self, path: &str, payload_type: PayloadType) -> Result<Job> {
        self.0.begin_declaration(path, payload_type)
    }

    /// Trains the compression of a field on queries like the expected ones, rewrites the segments
    /// with it, and waits for completion. The queries are kept for later trainings, replacing
    /// earlier ones. For a single-vector field a [`crate::MultiVector`] works too, with one query
    /// per row.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the field is unknown or not compressed, if there are no queries or too
    /// many, or one does not match the field; and if the files cannot be written.
    pub fn train(&self, field: &str, queries: impl Into<TrainingQueries>) -> Result<()> {
        self.start_train(field, queries)?.wait()
    }

    /// As [`Self::train`], without waiting: the queries are stored when this returns.
    ///
    /// # Errors
    /// As [`Self::set_training_queries`].
    pub fn start_train(&self, field: &str, queries: impl Into<TrainingQueries>) -> Result<Job> {
        self.set_training_queries(field, queries)?;
        self.0.begin(JobKind::Train)
    }

    /// As [`Self::train`], on recent queries of the field
    /// ([`VectorField::recent_queries`](crate::VectorField::recent_queries)).
    ///
    /// # Errors
    /// As [`Self::train`], and [`Error::Invalid`] if there are fewer than 128 recent queries.
    pub fn train_on_recent(&self, field: &str) -> Result<()> {
        self.start_train_on_recent(field)?.wait()
    }

    /// As [`Self::train_on_recent`], without waiting.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the field is unknown or not compressed, or if there are fewer than 128
    /// recent queries.
    pub fn start_train_on_recent(&self, field: &str) -> Result<Job> {
        let config = self.config();
        let (index, settings) = config.field(field)?;
        if !settings.is_compressed() {
            let expected = "one that is compressed";
            return Err(InvalidInput::mismatch("field", expected, "one that is not").into());
        }
        let queries = self.0.recent_queries(index, settings.dimension);
        let expected = "queries, or 128 that came to the field lately";
        let missing = || InvalidInput::new("queries", Problem::Missing { expected });
        let queries = queries.ok_or_else(missing)?;
        self.0.store_queries(field, &queries)?;
        self.0.begin(JobKind::Train)
    }

    /// Stores training queries like the expected ones, for the next training of the field's
    /// compression, usually when its first large segment is sealed. [`Self::train`] trains at once.
    ///
    /// # Errors
    /// As [`Self::train`].
    pub fn set_training_queries(
        &self,
        field: &str,
        queries: impl Into<TrainingQueries>,
    ) -> Result<()> {
        let queries = codecs::prepare_queries(&self.config(), field, &queries.into())?;
        self.0.store_queries(field, &queries)
    }

    /// Reads all sealed files, compares every section with its checksum, and returns an error for
    /// each mismatch. `on_bytes` gets the number of bytes read since its last call; they add up to
    /// the sizes of the files in [`Self::info`], except for a few bytes of framing per file.
    ///
    /// Opening a collection does not read vectors, codes and payloads, so this finds damage that
    /// opening does not. Cached bytes are checked as cached. A damaged index
    /// ([`Error::IndexDamaged`]) is dropped and rebuilt in the background.
    pub fn verify(&self, mut on_bytes: impl FnMut(u64)) -> Vec<Error> {
        self.0.damage(&mut |bytes| {
            on_bytes(bytes);
            true
        })
    }

    /// As [`Self::verify`], in the background. The job fails with [`Error::DamageFound`] if there
    /// is a mismatch.
    ///
    /// # Errors
    /// If the collection was deleted, or the database is closing.
    pub fn start_verify(&self) -> Result<Job> {
        self.0.begin_verification()
    }

    /// Whether a failure prevents writes.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.state.try_lock().is_ok_and(|state| state.failure().is_some())
    }

    /// Retries writing after a failure.
    pub(crate) fn try_again(&self) {
        let mut state = self.0.lock();
        self.0.still_stopped(&mut state);
    }

    /// The current problem, if any: nothing can be written, background work failed, or data is
    /// damaged.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().problem()
    }

    /// Verifies the folders of all segments as [`Self::verify`] does and records the damaged ones,
    /// which are then reported and no longer merged. `go_on` gets the number of bytes read;
    /// returning `false` ends the check.
    pub(crate) fn scrub(&self, go_on: &mut dyn FnMut(u64) -> bool) {
        self.0.damage_of_segments(go_on);
    }

    /// The current state for queries. It does not change with further writes.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }

    /// Number of this collection in the catalog.
    pub(crate) fn id(&self) -> u32 {
        self.0.id
    }

    /// Starts to stop because the database closes; called for all collections before waiting for
    /// any.
    pub(crate) fn halt(&self) {
        self.0.halt(Stop::Closing);
    }

    /// Stops writes and background work because the database closes.
    pub(crate) fn close(&self) {
        self.0.stop(Stop::Closing);
    }

    /// Stops writes if `delete` deletes the collection; nothing else is committed meanwhile.
    pub(crate) fn drop_by(&self, delete: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut state = self.0.lock();
        delete()?;
        state.stopped = Some(Stop::Dropped);
        Ok(())
    }

    /// Ends the background work of a deleted collection.
    pub(crate) fn end_dropped(&self) {
        self.0.stop(Stop::Dropped);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A writer that panicked may have left operations half-applied in memory: refuse writes,
        // but allow `close` and reads of the state.
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = poisoned.into_inner();
            if !state.is_over() {
                state.stopped = Some(Stop::Broken("a writer panicked".into()));
            }
            state
        })
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a segment is in use, so that its files must exist.
    fn has_segment(&self, number: u64) -> bool {
        let state = self.lock();
        !matches!(state.stopped, Some(Stop::Dropped))
            && state.segments.sealed.iter().any(|slot| slot.segment.entry().number == number)
    }

    /// Damage of the copy of the manifest's entry in a segment's folder, if any.
    fn damaged_entry(&self, number: u64) -> Option<StorageError> {
        match read_entry(&*self.store.directory, &self.segment_folder(number)) {
            Err(Error::Storage(error)) => Some(error),
            _ => None,
        }
    }

    /// The current settings.
    fn config(&self) -> Arc<CollectionConfig> {
        self.snapshot.load().config.clone()
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
}

/// The folder of a collection, named by its id, never by its name.
pub(crate) fn collection_folder(id: u32) -> String {
    format!("collections/{id}")
}
