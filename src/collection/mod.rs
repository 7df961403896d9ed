//! A collection: its points, from the write to what a query sees.
//!
//! [`Collection`] is the handle. Writes go through `writer` (journal, apply, publish) into
//! `state` (segments and tombstones). In the background `work` says what is next, `optimizer` seals and
//! merges and `indexer` builds indexes; reads take the current `snapshot` and never wait for any.

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

/// How a database divides its points into segments.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentOptions {
    /// A segment in memory is sealed when it or its journal reaches this size, in bytes.
    pub seal_bytes: u64,
    /// When the segments in memory of all collections together reach this size, in bytes, the largest
    /// is sealed.
    pub unsealed_bytes: u64,
    /// Merges do not make segments larger than this, in bytes.
    pub segment_bytes: u64,
    /// So many segments may wait to be sealed before writers have to wait.
    pub frozen_segments: usize,
    /// Segments of fewer rows get no codes: they are scanned exactly in no time, and are too small to learn
    /// from.
    pub coded_rows: u32,
    /// Segments of fewer rows get no index: their codes are scanned in no time.
    pub index_rows: u32,
    /// Whether queries that come are kept to learn from.
    pub learns: bool,
    /// Points are refused when fewer bytes than this are left on the disk.
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
    /// The vector fields, which never change. All settings, as they are now, are in the snapshot.
    fields: BTreeMap<String, VectorField>,
    /// What new points are checked against: the settings, and the paths that are to be declared.
    intake: ArcSwap<CollectionConfig>,
    options: SegmentOptions,
    store: Arc<Store>,
    threads: Arc<QueryThreads>,
    queue: Mutex<Vec<Pending>>,
    state: Mutex<State>,
    /// Signals every change of `state` that someone may wait for.
    changed: Condvar,
    snapshot: ArcSwap<Snapshot>,
    queries: QueryCounters,
    /// For each field, some of the queries that came.
    reservoirs: Vec<Reservoir>,
    scheduler: Arc<Scheduler>,
    jobs: Arc<Jobs>,
    unsealed: Arc<Unsealed>,
    /// Whether background work is to end.
    cancelled: AtomicBool,
    /// The same for seals, whose rows are counted here.
    sealing: Arc<BuildProgress>,
}

/// What the collections of a database share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub store: Arc<Store>,
    /// Queries run here.
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
    /// Where the next page starts (`after`); `None` on the last page.
    pub next: Option<PointId>,
}

impl Collection {
    /// Opens a collection: its segments from the manifest, then what the journal adds.
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

    /// The name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The settings, as they are now: payload paths may be declared later.
    pub fn config(&self) -> Arc<CollectionConfig> {
        self.0.config()
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
    pub fn batch(&self) -> PointBatchBuilder {
        PointBatchBuilder::checking(self.0.intake.load_full()).pooled_by(pool_field)
    }

    /// Writes a batch that was built for this collection. If a payload path was declared since, it is
    /// checked against that, too.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an empty batch, or as `point ID`, for a value of another type than that of a
    /// path that was declared since; otherwise as any write: the collection was deleted,
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
    /// As [`Self::query`], as `queries[i]`, [`Error::DeadlineExceeded`] and [`Error::QueryCancelled`];
    /// then none is answered.
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
    /// As [`Self::fuse`], [`Error::DeadlineExceeded`] and [`Error::QueryCancelled`].
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
        query::fuse(&ground, request, |queries| self.answer(&ground, queries, &deadline))
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
        let snapshot = self.snapshot();
        let condition = filter.resolve(&snapshot.config)?;
        let matching = self.matching(&snapshot, &condition)?;
        Ok(matching.iter().map(RoaringBitmap::len).sum())
    }

    /// The live rows of each view of a snapshot that match; payloads are read in parallel.
    fn matching(&self, snapshot: &Snapshot, condition: &Condition) -> Result<Vec<RoaringBitmap>> {
        let matching = || snapshot.whole(|snapshot| snapshot.matching(condition));
        self.0.noting_damage(match snapshot.reads_payloads(condition) {
            true => self.0.threads.short().install(matching),
            false => matching(),
        })
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
        self.start_optimize()?.wait()
    }

    /// As [`Self::optimize`], without waiting. Who asks while a job of the same kind has not begun
    /// gets that one.
    ///
    /// # Errors
    /// If nothing can be written.
    pub fn start_optimize(&self) -> Result<Job> {
        self.0.begin(JobKind::Optimize)
    }

    /// Declares a payload path of the collection, and waits until it has an index: see
    /// [`Self::start_declare`].
    ///
    /// # Errors
    /// As [`Self::start_declare`]; [`Error::Invalid`] naming a point, if one has a value of another type at
    /// the path, which is then not declared; and if files cannot be read or written.
    pub fn declare(&self, path: &str, payload_type: PayloadType) -> Result<()> {
        self.start_declare(path, payload_type)?.wait()
    }

    /// As [`Self::declare`], without waiting. From now on, no point is written that has a value of another
    /// type at the path. In the background, what was written so far is sealed and its payloads are
    /// checked. Then the path is declared, for good, and the segments are written anew, one by one,
    /// with a column of it: until that is done, filters read payloads where there is none, and facets,
    /// groups and orders by the path are refused with [`Error::PathPending`].
    ///
    /// A job that fails or is cancelled before the check has ended has changed nothing. Afterwards, the
    /// path is declared, and building its index goes on, also when the job is cancelled or the
    /// collection is opened again. A path that is declared with this type already is no error.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a malformed path, one that is declared with another type, or too many; and if
    /// nothing can be written.
    pub fn start_declare(&self, path: &str, payload_type: PayloadType) -> Result<Job> {
        self.0.begin_declaration(path, payload_type)
    }

    /// Trains the compression of a field on queries of the kind that will come, rewrites the
    /// segments with it, and waits for that. The queries are kept for later trainings, in place of
    /// earlier ones. For a single-vector field a [`crate::MultiVector`] will do, with a query a row.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the field is unknown or not compressed, if there are no queries or too
    /// many, or one does not fit the field; and if the files cannot be written.
    pub fn train(&self, field: &str, queries: impl Into<TrainingQueries>) -> Result<()> {
        self.start_train(field, queries)?.wait()
    }

    /// As [`Self::train`], without waiting: the queries are kept when this returns.
    ///
    /// # Errors
    /// As [`Self::set_training_queries`].
    pub fn start_train(&self, field: &str, queries: impl Into<TrainingQueries>) -> Result<Job> {
        self.set_training_queries(field, queries)?;
        self.0.begin(JobKind::Train)
    }

    /// As [`Self::train`], on queries that came to the field lately
    /// ([`VectorField::recent_queries`](crate::VectorField::recent_queries)).
    ///
    /// # Errors
    /// As [`Self::train`], and [`Error::Invalid`] if fewer than 128 queries came.
    pub fn train_on_recent(&self, field: &str) -> Result<()> {
        self.start_train_on_recent(field)?.wait()
    }

    /// As [`Self::train_on_recent`], without waiting.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the field is unknown or not compressed, or if fewer than 128 queries
    /// came.
    pub fn start_train_on_recent(&self, field: &str) -> Result<Job> {
        let config = self.config();
        let (index, settings) = config.field(field)?;
        let queries = self.0.recent_queries(index, settings.dimension);
        let expected = "queries, or 128 that came to the field lately";
        let missing = || InvalidInput::new("queries", Problem::Missing { expected });
        let queries = queries.filter(|_| settings.is_compressed()).ok_or_else(missing)?;
        self.0.store_queries(field, &queries)?;
        self.0.begin(JobKind::Train)
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
        let queries = codecs::prepare_queries(&self.config(), field, &queries.into())?;
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
        self.0.damage(&mut |bytes| {
            on_bytes(bytes);
            true
        })
    }

    /// As [`Self::verify`], in the background. The job fails with [`Error::DamageFound`] if something
    /// differs.
    ///
    /// # Errors
    /// If the collection was deleted, or the database closes.
    pub fn start_verify(&self) -> Result<Job> {
        self.0.begin_verification()
    }

    /// Whether a failure keeps it from being written.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.state.try_lock().is_ok_and(|state| state.failure().is_some())
    }

    /// Tries to write again if nothing could be written.
    pub(crate) fn try_again(&self) {
        let mut state = self.0.lock();
        self.0.still_stopped(&mut state);
    }

    /// What is wrong with it, if anything: nothing can be written, work in the background failed, or
    /// something is damaged.
    pub fn problem(&self) -> Option<String> {
        self.0.lock().problem()
    }

    /// Checks the folders of all segments as [`Self::verify`] does and notes what is damaged, which is
    /// then reported and no longer merged. `go_on` is told how many bytes were read; `false` ends it.
    pub(crate) fn scrub(&self, go_on: &mut dyn FnMut(u64) -> bool) {
        self.0.damage_of_segments(go_on);
    }

    /// What queries see now. It stays as it is while writes go on.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }

    /// Number of this collection in the catalog.
    pub(crate) fn id(&self) -> u32 {
        self.0.id
    }

    /// Begins to stop because the database closes: each collection is told before one is waited for.
    pub(crate) fn halt(&self) {
        self.0.halt(Stop::Closing);
    }

    /// Stops writes and background work because the database closes.
    pub(crate) fn close(&self) {
        self.0.stop(Stop::Closing);
    }

    /// Stops writes if the collection was deleted by `delete`, during which nothing else is committed.
    pub(crate) fn drop_by(&self, delete: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut state = self.0.lock();
        delete()?;
        state.stopped = Some(Stop::Dropped);
        Ok(())
    }

    /// Ends the background work of a collection that was deleted.
    pub(crate) fn end_dropped(&self) {
        self.0.stop(Stop::Dropped);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A writer that panicked may have left operations half-applied in memory: refuse writes,
        // but let `close` and reads of the state go on.
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

    /// Whether a segment is in use, so that its files must be there.
    fn has_segment(&self, number: u64) -> bool {
        let state = self.lock();
        !matches!(state.stopped, Some(Stop::Dropped))
            && state.segments.sealed.iter().any(|slot| slot.segment.entry().number == number)
    }

    /// What is wrong with the copy of the manifest's entry in the folder of a segment.
    fn damaged_entry(&self, number: u64) -> Option<StorageError> {
        match read_entry(&*self.store.directory, &self.segment_folder(number)) {
            Err(Error::Storage(error)) => Some(error),
            _ => None,
        }
    }

    /// The settings, as they are now.
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

/// The folder of a collection, made from its number and never from its name.
pub(crate) fn collection_folder(id: u32) -> String {
    format!("collections/{id}")
}
