//! Builds the indexes of sealed segments, one at a time. Sealing and merging never wait for it, and
//! queries scan codes until an index is ready.
//!
//! An index is written into its own folder and becomes visible with the commit of the manifest that
//! references it: a crash leaves nothing, or a folder that is removed on opening. A merge drops the
//! indexes of its sources and cancels a build on them. A damaged index loses no data: it is
//! rebuilt. A failed build is reported and retried later; nothing else waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use lanner_storage::{IndexEntry, Manifest, StorageError};
use rayon::ThreadPool;

use super::index_work::IndexOf;
use super::inherited::Inherited;
use super::install::NewFolder;
use super::optimizer::Run;
use super::state::SealedSlot;
use super::writer::State;
use super::{IndexStatus, Inner};
use crate::error::{Error, Result};
use crate::field::vectors::write_index;
use crate::field::{FieldCodes, FieldIndex, IndexReport};
use crate::index::graph::{self, Earlier, GraphSettings, Lessons};
use crate::index::ivf::{self, IvfSettings};
use crate::index::{BuildProgress, BuiltIndex, Calibration, Copies, MAX_ROWS, distinct};
use crate::jobs::Next;
use crate::kernels::codes::CodeKernel;
use crate::model::{IndexKind, IndexSettings, Metric, PreparedQueries, VectorField, VectorKind};
use crate::quantization::{ExpectedQueries, PrimaryQuery, is_held_out};
use crate::query::{CalibrationSample, Subject};
use crate::segment::{SealedSegment, SegmentReader};
use crate::threads::Pace;

/// Seed of insertion orders and initial centroids.
const SEED: u64 = 42;
/// Multi fields with `auto` get an index over encodings from this multiple of the rows on.
const MULTI_ROWS: u64 = 50;
/// Fewer training queries, without those held out, say too little of where queries are.
const LEAST_TEACHERS: usize = 50;
/// k and recall at which the costs of indexes are compared.
const COMPARED: (usize, f32) = (10, 0.95);

enum Task {
    Build(Arc<Build>),
    /// Recalibrate an index with recent queries.
    Recalibrate(Arc<Build>),
    /// Drop a damaged index.
    Drop(IndexOf),
}

/// An index build.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) segment: Arc<SealedSegment>,
    pub(super) field: usize,
    pub(super) progress: Arc<BuildProgress>,
    pub(super) started: Instant,
    /// An indexed source of the segment to start from.
    inherited: Option<Inherited>,
}

/// An index in its own folder, not yet referenced by a manifest.
struct NewIndex<'i> {
    folder: NewFolder<'i>,
    entry: IndexEntry,
    opened: Option<FieldIndex>,
    kind: IndexKind,
    /// Number of rows with a vector.
    rows: usize,
}

/// A calibrated index.
struct BestIndex {
    index: BuiltIndex,
    /// Rows with the same code as one in the index.
    copies: Vec<[u32; 2]>,
    report: IndexReport,
}

/// The rows of a segment with a vector in a field.
pub(super) fn present(segment: &SealedSegment, field: usize) -> Vec<u32> {
    let absent = segment.field(field).absent();
    let present = |row: &u32| !absent.is_some_and(|absent| absent.contains(*row));
    (0..segment.rows()).filter(present).collect()
}

impl Build {
    /// A build that starts now.
    pub(super) fn new(segment: Arc<SealedSegment>, field: usize) -> Self {
        let (progress, started) = (Arc::default(), Instant::now());
        Self { segment, field, progress, started, inherited: None }
    }

    pub(super) fn number(&self) -> u64 {
        self.segment.entry().number
    }
}

impl Inner {
    /// Drops a damaged index, builds a missing one, or recalibrates one.
    pub(super) fn index_next(&self) -> Next {
        let task = match self.next_index() {
            Ok(task) => task,
            Err(next) => return next,
        };
        match task {
            Task::Build(build) => {
                let built = self.build_index(&build);
                self.note_build(&build, built);
            }
            Task::Recalibrate(build) => {
                let measured = self.recalibrate(&build);
                self.lock().work.indexing.running = None;
                if let Err(error) = measured {
                    let number = build.number();
                    tracing::warn!(collection = %self.name, number, %error, "not recalibrated");
                }
            }
            Task::Drop(index) => {
                let dropped = self.drop_index(index);
                let mut state = self.lock();
                state.work.indexing.damaged.remove(&index);
                if let Err(error) = dropped {
                    tracing::error!(collection = %self.name, %error, "an index stays damaged");
                    state.work.damaged.insert(index.0, error.to_string());
                }
            }
        }
        Next::Now
    }

    fn note_build(&self, build: &Build, built: Result<()>) {
        let (mut state, index) = (self.lock(), (build.number(), build.field));
        let there = state.segments.sealed.iter().any(|slot| slot.segment.entry().number == index.0);
        state.work.indexing.running = None;
        match built {
            Ok(()) => drop(state.work.indexing.failures.succeed(&index)),
            Err(error) => {
                tracing::error!(collection = %self.name, %error, "an index could not be built");
                if there {
                    let failures = &mut state.work.indexing.failures;
                    failures.fail(index, error.to_string(), build.started, Instant::now());
                }
            }
        }
    }

    /// The next task, or when to check again.
    fn next_index(&self) -> Result<Task, Next> {
        let mut state = self.lock();
        if state.stopped.is_some() || state.work.is_optimizing() {
            return Err(Next::WhenAsked);
        }
        if let Some(index) = state.work.indexing.damaged.first().copied() {
            return Ok(Task::Drop(index));
        }
        // Segments about to be merged are not indexed.
        let merging = self.merge_candidates(&state).unwrap_or_default();
        let now = Instant::now();
        let found = self
            .missing_indexes(&state, now)
            .find(|(slot, _)| !merging.contains(&slot.segment.entry().number));
        if let Some((slot, field)) = found {
            let build = Arc::new(Build::new(slot.segment.clone(), field));
            state.work.indexing.running = Some(build.clone());
            return Ok(Task::Build(build));
        }
        if let Some(build) = self.next_recalibration(&mut state) {
            state.work.indexing.running = Some(build.clone());
            return Ok(Task::Recalibrate(build));
        }
        Err(state.work.indexing.failures.next_retry(now).map_or(Next::WhenAsked, Next::At))
    }

    /// Fields of segments whose index is missing and due.
    fn missing_indexes<'s>(
        &'s self,
        state: &'s State,
        now: Instant,
    ) -> impl Iterator<Item = (&'s SealedSlot, usize)> {
        let fields = 0..self.fields.len();
        state
            .segments
            .sealed
            .iter()
            .flat_map(move |slot| fields.clone().map(move |field| (slot, field)))
            .filter(|(slot, field)| self.wants_index(&slot.segment, *field))
            .filter(move |(slot, field)| {
                let key = (slot.segment.entry().number, *field);
                let paused = state.work.indexing.failures.paused_until(&key, now).is_some();
                !paused && !state.work.damaged.contains_key(&key.0)
            })
    }

    /// Whether an index is missing and due; `false` if the state is locked.
    pub(super) fn is_index_missing(&self) -> bool {
        let Ok(state) = self.state.try_lock() else { return false };
        self.missing_indexes(&state, Instant::now()).next().is_some()
    }

    fn wants_index(&self, segment: &SealedSegment, field: usize) -> bool {
        let settings = self.fields.values().nth(field);
        let present = || match segment.field(field).absent() {
            Some(absent) => u64::from(segment.rows()) - absent.len(),
            None => u64::from(segment.rows()),
        };
        let Some(settings) = settings else { return false };
        let Some(coded) = segment.field(field).coded() else { return false };
        // Scans of centroids need no calibration: each query learns how far to go.
        let is_flat = || !self.is_indexed(settings, present());
        coded.index.is_none()
            && segment.rows() < MAX_ROWS
            && coded.codes.codec().is_some()
            && !(coded.codes.has_lists() && is_flat())
    }

    /// Whether a segment with so many vectors of a field is searched by an index.
    pub(super) fn is_indexed(&self, field: &VectorField, present: u64) -> bool {
        self.index_kinds(field, present) != [IndexKind::Flat]
    }

    /// The kinds of index to choose the best from for a segment with `present` vectors. Flat segments
    /// are calibrated, too, since their re-ranking budget and recall estimate come only from
    /// calibration.
    fn index_kinds(&self, field: &VectorField, present: u64) -> &'static [IndexKind] {
        use IndexKind::{Auto, Flat, Graph, Ivf};
        // Lists by centroid are less work up to there.
        let by_centroids = field.kind == VectorKind::Multi
            && field.index.kind() == Auto
            && field.metric != Metric::L2;
        let more = if by_centroids { MULTI_ROWS } else { 1 };
        let least = u64::from(self.options.index_rows).saturating_mul(more);
        let kind = if present < least { Flat } else { field.index.kind() };
        match kind {
            Graph => &[Graph],
            Ivf => &[Ivf],
            Auto => &[Ivf, Graph],
            Flat => &[Flat],
        }
    }

    /// Whether an index build is in progress or due now.
    pub(super) fn has_index_work(&self, state: &State) -> bool {
        state.work.indexing.running.is_some()
            || !state.work.indexing.damaged.is_empty()
            || !state.work.indexing.recalibrate.is_empty()
            || self.missing_indexes(state, Instant::now()).next().is_some()
    }

    /// Cancels the build of an index of one of these segments, which were removed.
    pub(super) fn cancel_index_of(&self, segments: &[u64]) {
        let mut state = self.lock();
        state.work.indexing.forget(segments);
        let running = state.work.indexing.running.as_ref();
        if let Some(build) = running.filter(|build| segments.contains(&build.number())) {
            build.progress.cancelled.store(true, Ordering::Relaxed);
        }
    }

    fn build_index(&self, build: &Build) -> Result<()> {
        let Some((name, field)) = self.fields.iter().nth(build.field) else { return Ok(()) };
        let Some(codes) = build.segment.field(build.field).codes() else { return Ok(()) };
        if !self
            .is_sound(&build.segment, |segment, go_on| segment.field_damage(build.field, go_on))?
        {
            return Ok(());
        }
        let found = self.find_index(build, (name, field), codes, self.scheduler.urgent_pool())?;
        let Some(NewIndex { folder, entry, opened, kind, rows }) = found else { return Ok(()) };
        let segment = build.number();
        let mut published = false;
        self.install(&[folder], |segments, _| {
            let there = |slot: &SealedSlot| slot.segment.entry().number == segment;
            published = segments.sealed.iter().any(there);
            segments.manifest.indexes.extend(published.then_some(entry));
        })?;
        if let Some(opened) = opened.filter(|_| published) {
            build.segment.attach_index(build.field, opened);
        }
        tracing::info!(
            collection = %self.name,
            segment,
            field = name,
            kind = kind.as_str(),
            rows,
            seconds = build.started.elapsed().as_secs_f64(),
            published,
            "index built"
        );
        Ok(())
    }

    /// Builds the best index of a field and writes it into its own folder. `None` if cancelled.
    fn find_index(
        &self,
        build: &Build,
        (name, field): (&str, &VectorField),
        codes: &FieldCodes,
        pool: &ThreadPool,
    ) -> Result<Option<NewIndex<'_>>> {
        let rows = present(&build.segment, build.field);
        let find = || self.best_index(build, name, field, codes, &rows);
        let Some(best) = pool.install(find)? else { return Ok(None) };
        build.segment.check_pages()?;
        let folder = self.new_folder(&mut self.lock());
        let (opened, entry) = self.write_best(&folder, build, (name, field), &best)?;
        let (kind, rows) = (best.report.kind, rows.len());
        Ok(Some(NewIndex { folder, entry, opened, kind, rows }))
    }

    /// Writes an index into its folder, and opens it.
    fn write_best(
        &self,
        new: &NewFolder<'_>,
        build: &Build,
        (name, field): (&str, &VectorField),
        best: &BestIndex,
    ) -> Result<(Option<FieldIndex>, IndexEntry)> {
        let directory = &*self.store.directory;
        let index = (&best.index, &*best.copies);
        let file = write_index(directory, &new.path, index, &best.report, field.memory)?;
        let entry = IndexEntry {
            segment: build.number(),
            field: name.to_owned(),
            number: new.number,
            file,
            calibration: None,
        };
        Ok((build.segment.open_index(directory, &new.path, build.field, &entry)?, entry))
    }

    /// Calibrates a newly written segment that is too small for an index, so that its first query
    /// already has a recall estimate; or, if requested, builds its indexes, starting from those of
    /// its sources. Returns the folders, and their entries for the manifest. Failures are retried
    /// later.
    ///
    /// # Errors
    /// [`Error::Closing`] if cancelled.
    pub(super) fn index_new(
        &self,
        segment: Option<&Arc<SealedSegment>>,
        sources: &[SealedSlot],
        run: &Run<'_>,
    ) -> Result<(Vec<NewFolder<'_>>, Vec<IndexEntry>)> {
        let (mut folders, mut entries) = (Vec::new(), Vec::new());
        let large = segment.is_some_and(|segment| segment.rows() >= self.options.index_rows);
        let Some(segment) = segment.filter(|_| run.indexes || !large) else {
            return Ok((folders, entries));
        };
        for field in 0..self.fields.len() {
            let found = self.index_field((segment, sources), field, run);
            if run.is_cancelled() {
                return Err(Error::Closing);
            }
            match found {
                Ok(Some((folder, entry))) => {
                    folders.push(folder);
                    entries.push(entry);
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(collection = %self.name, %error, "indexed or calibrated later");
                }
            }
        }
        Ok((folders, entries))
    }

    fn index_field(
        &self,
        (segment, sources): (&Arc<SealedSegment>, &[SealedSlot]),
        index: usize,
        run: &Run<'_>,
    ) -> Result<Option<(NewFolder<'_>, IndexEntry)>> {
        let Some((name, field)) = self.fields.iter().nth(index) else { return Ok(None) };
        let codes = segment.field(index).codes().filter(|_| self.wants_index(segment, index));
        let Some(codes) = codes else { return Ok(None) };
        let (progress, inherited) =
            (run.progress.clone(), Inherited::of(sources, index, run.progress));
        let build = Build { progress, inherited, ..Build::new(segment.clone(), index) };
        let found = self.find_index(&build, (name, field), codes, run.pool)?;
        let Some(NewIndex { folder, entry, opened: Some(opened), .. }) = found else {
            return Ok(None);
        };
        segment.attach_index(index, opened);
        Ok(Some((folder, entry)))
    }

    /// Drops a damaged index. The segment is reopened without it; running queries keep the old one.
    fn drop_index(&self, (number, field): IndexOf) -> Result<()> {
        let of_segment = |slot: &&SealedSlot| slot.segment.entry().number == number;
        let (sealed, indexes, new) = {
            let mut state = self.lock();
            let indexes = state.segments.manifest.indexes.iter();
            let indexes = indexes.filter(|index| index.segment == number).cloned();
            let indexes = indexes.collect::<Vec<_>>();
            (state.segments.sealed.clone(), indexes, self.new_folder(&mut state))
        };
        let Some(slot) = sealed.iter().find(of_segment) else { return Ok(()) };
        let entry = slot.segment.entry().clone();
        let segment = Arc::new(self.open_segment(entry, &self.config(), &sealed)?);
        let name = self.fields.keys().nth(field);
        let keeps = |entry: &IndexEntry| Some(&entry.field) != name && self.attach(&segment, entry);
        let kept: Vec<IndexEntry> = indexes.into_iter().filter(keeps).collect();
        self.install(&[new], |segments, _| {
            for slot in &mut segments.sealed {
                if slot.segment.entry().number == number {
                    slot.segment = segment.clone();
                }
            }
            let indexes = &mut segments.manifest.indexes;
            indexes.retain(|entry| entry.segment != number || kept.contains(entry));
        })
    }

    /// Verifies all indexes; damaged ones are dropped and rebuilt.
    pub(super) fn check_indexes(&self) -> Result<()> {
        let segments: Vec<Arc<SealedSegment>> =
            self.lock().segments.sealed.iter().map(|slot| slot.segment.clone()).collect();
        for segment in segments {
            let damage = segment.index_damage(&mut |_| !self.cancelled.load(Ordering::Relaxed));
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(Error::Closing);
            }
            self.note_damage(segment.entry().number, &damage);
        }
        Ok(())
    }

    /// Records damaged indexes of a segment, by field.
    pub(super) fn note_damage(&self, segment: u64, damage: &[(usize, StorageError)]) {
        for (field, error) in damage {
            tracing::error!(collection = %self.name, %error, "an index is built again");
            self.lock().work.indexing.damaged.insert((segment, *field));
        }
        self.wake();
    }

    /// The calibration subject of a build, for a flat index or another kind. Ends early when the
    /// build is cancelled.
    pub(super) fn subject<'s>(
        &self,
        build: &Build,
        codes: &FieldCodes,
        sample: (&'s CalibrationSample, bool),
        pace: &Pace<'_>,
    ) -> Result<Subject<'s>> {
        let reader: Arc<dyn SegmentReader> = build.segment.clone();
        Subject::new(reader, &self.config(), build.field, codes, sample, pace)
    }

    /// The calibrated index that the settings request; the cheapest if there are several
    /// candidates. `None` if cancelled.
    fn best_index(
        &self,
        build: &Build,
        name: &str,
        field: &VectorField,
        codes: &FieldCodes,
        rows: &[u32],
    ) -> Result<Option<BestIndex>> {
        let earlier = build.inherited.as_ref().and_then(|source| source.graph(build.field));
        let kinds = match self.index_kinds(field, rows.len() as u64) {
            // The best kind for most of the rows is taken for all of them.
            kinds if earlier.is_some() && kinds.contains(&IndexKind::Graph) => &[IndexKind::Graph],
            kinds => kinds,
        };
        let known = self.known_queries(build.field, (name, field))?;
        let sample = self.calibration_sample(build, (name, field), rows, &known)?;
        // An index holds one of several equal rows; a scan scores them all.
        let (different, copies) = match kinds {
            [IndexKind::Flat] => (Vec::new(), Vec::new()),
            _ => distinct(rows, |row| codes.record(row)),
        };
        let teachers = teachers(field, codes, kinds, known.given.as_ref());
        let mut built = Vec::new();
        for &kind in kinds {
            let rows = (&*different, earlier.as_ref());
            let index = build_kind(kind, (codes, &teachers), rows, field.index, &build.progress);
            let Some(index) = index else { return Ok(None) };
            built.push(index);
        }
        let pace = Pace::full(&build.progress.cancelled);
        let is_flat = kinds == [IndexKind::Flat];
        let subject = self.subject(build, codes, (&sample, is_flat), &pace)?;
        let calibrate = |index: &BuiltIndex| {
            let view = index.view();
            let index = view.as_ref().map(|view| (view, Copies::new(&copies)));
            subject.calibrate(codes, index, &pace)
        };
        let measured: Vec<Calibration> = built.iter().map(calibrate).collect();
        if build.progress.cancelled.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let (k, target) = COMPARED;
        let costs: Vec<(IndexKind, f32)> = kinds
            .iter()
            .zip(&measured)
            .map(|(&kind, calibration)| (kind, calibration.cost(k, target).min(f32::MAX)))
            .collect();
        let candidates = built.into_iter().zip(measured).zip(&costs);
        let best = candidates.min_by(|a, b| a.1.1.total_cmp(&b.1.1));
        Ok(best.map(|((index, calibration), _)| {
            let report = report(&index, teachers.len(), calibration, costs.clone());
            BestIndex { index, copies, report }
        }))
    }

    /// Attaches the indexes of a manifest to their segments, and drops the entries of missing or
    /// damaged ones, which are rebuilt.
    pub(super) fn open_indexes(&self, sealed: &[SealedSlot], manifest: &mut Manifest) {
        manifest.indexes.retain(|entry| {
            let slot = sealed.iter().find(|slot| slot.segment.entry().number == entry.segment);
            slot.is_some_and(|slot| self.attach(&slot.segment, entry))
        });
    }

    /// Attaches an index of a manifest to its segment; `false` if it is damaged.
    fn attach(&self, segment: &SealedSegment, entry: &IndexEntry) -> bool {
        let field = self.fields.keys().position(|name| *name == entry.field);
        let Some(field) = field else { return false };
        let folder = self.segment_folder(entry.number);
        match segment.open_index(&*self.store.directory, &folder, field, entry) {
            Ok(Some(index)) => {
                segment.attach_index(field, index);
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(collection = %self.name, %error, "an index is built again");
                false
            }
        }
    }

    /// The state of a segment's indexes, by field.
    pub(super) fn index_statuses(
        &self,
        state: &State,
        segment: &SealedSegment,
    ) -> std::collections::BTreeMap<String, IndexStatus> {
        let number = segment.entry().number;
        let running = state.work.indexing.running.as_ref();
        let status = |(field, name): (usize, &String)| {
            let build = running.filter(|build| build.number() == number && build.field == field);
            let status = match (segment.field(field).index(), build) {
                (Some(index), _) => {
                    let calibration = Calibration::clone(&index.calibration());
                    let report = IndexReport { calibration, ..index.report().clone() };
                    IndexStatus::Ready { report, size_bytes: index.size_bytes() }
                }
                (None, Some(build)) => IndexStatus::Building {
                    done: build.progress.done.load(Ordering::Relaxed),
                    total: build.progress.total.load(Ordering::Relaxed),
                    seconds: build.started.elapsed().as_secs_f64(),
                },
                (None, None) if self.wants_index(segment, field) => {
                    match state.work.indexing.failures.reason(&(number, field)) {
                        Some(reason) => IndexStatus::Failed { reason: reason.to_owned() },
                        None => IndexStatus::Waiting,
                    }
                }
                (None, None) => return None,
            };
            Some((name.clone(), status))
        };
        self.fields.keys().enumerate().filter_map(status).collect()
    }
}

/// The queries that a graph over codes learns from, of those that were given: all that are not held out
/// for calibration. None if there are too few.
fn teachers(
    field: &VectorField,
    codes: &FieldCodes,
    kinds: &[IndexKind],
    given: Option<&PreparedQueries>,
) -> Vec<PrimaryQuery> {
    let (Some(codec), Some(given)) = (codes.codec(), given) else { return Vec::new() };
    let learns = kinds.contains(&IndexKind::Graph)
        && field.index.graph().learned_degree() > 0
        && codec.primary_layout().dimension() <= ExpectedQueries::MOST_DIMENSIONS
        // Training queries of multi fields are tokens of many queries, not queries.
        && !codes.is_multi();
    let teachers = (0..given.len()).filter(|&query| learns && !is_held_out(query));
    let teachers: Vec<PrimaryQuery> =
        teachers.map(|query| codec.query(given.get(query, field.dimension))).collect();
    if teachers.len() < LEAST_TEACHERS { Vec::new() } else { teachers }
}

fn build_kind(
    kind: IndexKind,
    (codes, teachers): (&FieldCodes, &[PrimaryQuery]),
    (rows, earlier): (&[u32], Option<&Earlier<'_>>),
    settings: IndexSettings,
    progress: &BuildProgress,
) -> Option<BuiltIndex> {
    if kind == IndexKind::Flat {
        return Some(BuiltIndex::Flat);
    }
    let codec = codes.codec()?;
    let distances = codec.row_distances(CodeKernel::detect(), codes.primary());
    if kind == IndexKind::Ivf {
        let settings = IvfSettings { lists: settings.lists().lists, seed: SEED };
        let parts = ivf::build(&distances, codec, codes.primary(), rows, settings, progress)?;
        return Some(BuiltIndex::Ivf(parts));
    }
    let settings = settings.graph();
    let degree = settings.max_degree();
    let settings = GraphSettings {
        max_degree: degree,
        window_size: settings.window_size(),
        alpha: settings.alpha(),
        prune_to: settings.prune_to(),
        learned: settings.learned_degree(),
        seed: SEED,
    };
    let lessons = Lessons { codec, records: codes.primary(), queries: teachers };
    let (edges, entry) = graph::build(&distances, rows, earlier, lessons, settings, progress)?;
    Some(BuiltIndex::Graph { edges, degree, entry })
}

fn report(
    index: &BuiltIndex,
    teachers: usize,
    calibration: Calibration,
    costs: Vec<(IndexKind, f32)>,
) -> IndexReport {
    let kind = index.kind();
    let none =
        IndexReport { kind, degree: 0, entry: 0, lists: 0, taught_by: 0, calibration, costs };
    match *index {
        BuiltIndex::Graph { degree, entry, .. } => {
            IndexReport { degree, entry, taught_by: teachers, ..none }
        }
        BuiltIndex::Ivf(ref parts) => IndexReport { lists: parts.lists().count(), ..none },
        BuiltIndex::Flat => none,
    }
}
