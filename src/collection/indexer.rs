//! Builds the indexes of sealed segments, one after the other, on a thread of its own: sealing and
//! merging never wait for it, and queries scan codes until an index is there.
//!
//! An index is written into a folder of its own and appears with the commit of the manifest that
//! names it: a crash leaves nothing or a folder that is swept at open. A merge takes the indexes of
//! its inputs away, and stops the build of one. A damaged index is no lost data: it is built again.
//! A build that fails is reported and tried again later; nothing else waits for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use lanner_storage::{IndexEntry, Manifest, StorageError};

use super::index_work::IndexOf;
use super::install::NewFolder;
use super::optimizer::WorkerGuard;
use super::state::SealedSlot;
use super::writer::State;
use super::{IndexStatus, Inner};
use crate::error::{Error, Result};
use crate::index::graph::{self, GraphSettings};
use crate::index::ivf::{self, IvfSettings};
use crate::index::{BuildProgress, BuiltIndex, Calibration, Copies, MAX_ROWS, distinct};
use crate::kernels::codes::CodeKernel;
use crate::model::{IndexKind, IndexSettings, VectorField};
use crate::query::Subject;
use crate::segment::{
    FieldCodes, FieldIndex, IndexReport, SealedSegment, SegmentReader, write_index,
};

/// Chooses orders of insertion and first centroids.
const SEED: u64 = 42;
/// Indexes are compared by the work that this recall of the ten nearest rows takes.
const COMPARED: (usize, f32) = (10, 0.95);

enum Task {
    Build(Arc<Job>),
    /// Measure an index by the queries that came.
    Recalibrate(Arc<Job>),
    /// Drop a damaged index.
    Drop(IndexOf),
}

/// The build of an index.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) segment: Arc<SealedSegment>,
    pub(super) field: usize,
    pub(super) progress: BuildProgress,
    pub(super) started: Instant,
}

/// An index, calibrated.
struct BestIndex {
    index: BuiltIndex,
    /// Rows with the same code as one in the index.
    copies: Vec<[u32; 2]>,
    report: IndexReport,
}

/// The rows of a segment with a vector in a field.
pub(super) fn present(segment: &SealedSegment, field: usize) -> Vec<u32> {
    let absent = segment.absent(field);
    let present = |row: &u32| !absent.is_some_and(|absent| absent.contains(*row));
    (0..segment.rows()).filter(present).collect()
}

impl Job {
    /// A job that begins now.
    pub(super) fn new(segment: Arc<SealedSegment>, field: usize) -> Self {
        let (progress, started) = (BuildProgress::default(), Instant::now());
        Self { segment, field, progress, started }
    }

    pub(super) fn number(&self) -> u64 {
        self.segment.entry().number
    }
}

impl Inner {
    /// The indexer's thread: drops what is damaged and builds what is missing until the collection
    /// closes.
    pub(super) fn build_indexes(&self) {
        let _guard = WorkerGuard(self);
        while let Some(task) = self.next_index() {
            match task {
                Task::Build(job) => {
                    let built = self.build_index(&job);
                    self.note_build(&job, built);
                }
                Task::Recalibrate(job) => {
                    let measured = self.recalibrate(&job);
                    self.lock().work.indexing.running = None;
                    if let Err(error) = measured {
                        let number = job.number();
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
            self.changed.notify_all();
        }
    }

    fn note_build(&self, job: &Job, built: Result<()>) {
        let (mut state, index) = (self.lock(), (job.number(), job.field));
        let there = state.segments.sealed.iter().any(|slot| slot.segment.entry().number == index.0);
        state.work.indexing.running = None;
        match built {
            Ok(()) => state.work.indexing.succeed(index),
            Err(error) => {
                tracing::error!(collection = %self.name, %error, "an index could not be built");
                if there {
                    state.work.indexing.fail(index, error.to_string(), Instant::now());
                }
            }
        }
    }

    fn next_index(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.is_over() {
                return None;
            }
            if state.stopped.is_some() {
                state = self.wait(state);
                continue;
            }
            // Merges make new segments of those there are: what they take apart is not indexed.
            let merging = self.merge_candidates(&state).unwrap_or_default();
            let optimizing = state.work.optimize_done < state.work.optimize_asked;
            let damaged = state.work.indexing.damaged.first().copied();
            if let Some(index) = damaged.filter(|_| !optimizing) {
                return Some(Task::Drop(index));
            }
            let now = Instant::now();
            let found = self
                .missing_indexes(&state, now)
                .find(|(slot, _)| !merging.contains(&slot.segment.entry().number))
                .filter(|_| !optimizing);
            if let Some((slot, field)) = found {
                let job = Arc::new(Job::new(slot.segment.clone(), field));
                state.work.indexing.running = Some(job.clone());
                return Some(Task::Build(job));
            }
            if let Some(job) = self.next_recalibration(&mut state).filter(|_| !optimizing) {
                state.work.indexing.running = Some(job.clone());
                return Some(Task::Recalibrate(job));
            }
            state = match state.work.indexing.next_retry(now) {
                Some(at) => self.wait_for(state, at - now),
                None => self.wait(state),
            };
        }
    }

    /// The fields of segments that should have an index by now and have none.
    fn missing_indexes<'s>(
        &'s self,
        state: &'s State,
        now: Instant,
    ) -> impl Iterator<Item = (&'s SealedSlot, usize)> {
        let fields = 0..self.config.fields.len();
        state
            .segments
            .sealed
            .iter()
            .flat_map(move |slot| fields.clone().map(move |field| (slot, field)))
            .filter(|(slot, field)| self.wants_index(&slot.segment, *field))
            .filter(move |(slot, field)| {
                let key = (slot.segment.entry().number, *field);
                !state.work.indexing.is_paused(key, now) && !state.work.damaged.contains_key(&key.0)
            })
    }

    fn wants_index(&self, segment: &SealedSegment, field: usize) -> bool {
        let settings = self.config.fields.values().nth(field);
        let present = || match segment.absent(field) {
            Some(absent) => u64::from(segment.rows()) - absent.len(),
            None => u64::from(segment.rows()),
        };
        let Some(settings) = settings else { return false };
        segment.codes(field).is_some()
            && segment.index(field).is_none()
            && segment.rows() < MAX_ROWS
            && !self.index_kinds(settings, present()).is_empty()
    }

    /// The indexes of a field among which a segment with so many vectors takes the best; none is
    /// built if there is none. Codes are calibrated even where all of them are scanned, since nothing
    /// else says how many candidates have to be re-ranked, and what to expect of it.
    fn index_kinds(&self, field: &VectorField, present: u64) -> &'static [IndexKind] {
        use IndexKind::{Auto, Flat, Graph, Ivf};
        let kind =
            if present < u64::from(self.options.index_rows) { Flat } else { field.index.kind };
        match kind {
            Graph => &[Graph],
            Ivf => &[Ivf],
            Auto => &[Ivf, Graph],
            Flat => &[Flat],
        }
    }

    /// Whether an index is built or will be, without a pause before.
    pub(super) fn has_index_work(&self, state: &State) -> bool {
        state.work.indexing.running.is_some()
            || !state.work.indexing.damaged.is_empty()
            || !state.work.indexing.recalibrate.is_empty()
            || self.missing_indexes(state, Instant::now()).next().is_some()
    }

    /// Stops the build of an index of one of these segments, which are gone.
    pub(super) fn cancel_index_of(&self, segments: &[u64]) {
        let mut state = self.lock();
        state.work.indexing.forget(segments);
        let running = state.work.indexing.running.as_ref();
        if let Some(job) = running.filter(|job| segments.contains(&job.number())) {
            job.progress.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Stops the build of an index.
    pub(super) fn cancel_index(&self) {
        if let Some(job) = &self.lock().work.indexing.running {
            job.progress.cancelled.store(true, Ordering::Relaxed);
        }
    }

    fn build_index(&self, job: &Job) -> Result<()> {
        let Some((name, field)) = self.config.fields.iter().nth(job.field) else { return Ok(()) };
        let Some(codes) = job.segment.codes(job.field) else { return Ok(()) };
        if !self.is_sound(&job.segment, |segment, go_on| segment.field_damage(job.field, go_on))? {
            return Ok(());
        }
        let rows = present(&job.segment, job.field);
        let build = || self.best_index(job, name, field, codes, &rows);
        let Some(best) = self.pool.install(build)? else { return Ok(()) };
        job.segment.check_pages()?;
        let new = self.new_folder(&mut self.lock());
        let (opened, entry) = self.write_best(&new, job, (name, field), &best)?;
        let segment = job.number();
        let mut published = false;
        self.install(&[new], |segments, _| {
            let there = |slot: &SealedSlot| slot.segment.entry().number == segment;
            published = segments.sealed.iter().any(there);
            segments.manifest.indexes.extend(published.then_some(entry));
        })?;
        if let Some(opened) = opened.filter(|_| published) {
            job.segment.attach_index(job.field, opened);
        }
        tracing::info!(
            collection = %self.name,
            segment,
            field = name,
            kind = best.report.kind.as_str(),
            rows = rows.len(),
            seconds = job.started.elapsed().as_secs_f64(),
            published,
            "index built"
        );
        Ok(())
    }

    /// Writes an index into its folder, and opens it.
    fn write_best(
        &self,
        new: &NewFolder<'_>,
        job: &Job,
        (name, field): (&str, &VectorField),
        best: &BestIndex,
    ) -> Result<(Option<FieldIndex>, IndexEntry)> {
        let directory = &*self.store.directory;
        let index = (&best.index, &*best.copies);
        let file = write_index(directory, &new.path, index, &best.report, field.memory)?;
        let entry = IndexEntry {
            segment: job.number(),
            field: name.to_owned(),
            number: new.number,
            file,
            calibration: None,
        };
        Ok((job.segment.open_index(directory, &new.path, job.field, &entry)?, entry))
    }

    /// Calibrates the scans of a segment that was just written and is too small for indexes, so that
    /// it promises what was measured from its first query on. Returns the folders, and what the
    /// manifest has to name. What fails is tried again like an index.
    pub(super) fn calibrate_scans(
        &self,
        segment: Option<&Arc<SealedSegment>>,
    ) -> (Vec<NewFolder<'_>>, Vec<IndexEntry>) {
        let fields = 0..self.config.fields.len();
        let of_segment = |segment| fields.clone().map(move |field| (segment, field));
        let calibrated = segment.into_iter().flat_map(of_segment);
        let calibrated = calibrated.map(|(segment, field)| self.calibrate_scan(segment, field));
        let note = |calibrated: Result<Option<_>>| {
            calibrated.unwrap_or_else(|error| {
                tracing::warn!(collection = %self.name, %error, "scans are calibrated later");
                None
            })
        };
        calibrated.filter_map(note).unzip()
    }

    fn calibrate_scan(
        &self,
        segment: &Arc<SealedSegment>,
        index: usize,
    ) -> Result<Option<(NewFolder<'_>, IndexEntry)>> {
        let Some((name, field)) = self.config.fields.iter().nth(index) else { return Ok(None) };
        if !self.wants_index(segment, index) || segment.rows() >= self.options.index_rows {
            return Ok(None);
        }
        let Some(codes) = segment.codes(index) else { return Ok(None) };
        let rows = present(segment, index);
        let job = Job::new(segment.clone(), index);
        let build = || self.best_index(&job, name, field, codes, &rows);
        let Some(best) = self.pool.install(build)? else { return Ok(None) };
        segment.check_pages()?;
        let new = self.new_folder(&mut self.lock());
        let (opened, entry) = self.write_best(&new, &job, (name, field), &best)?;
        let Some(opened) = opened else { return Ok(None) };
        segment.attach_index(index, opened);
        Ok(Some((new, entry)))
    }

    /// Drops a damaged index. The segment is opened once more without it, so that queries which
    /// have begun keep what they have.
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
        let segment = Arc::new(self.open_segment(slot.segment.entry().clone(), &sealed)?);
        let name = self.config.fields.keys().nth(field);
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

    /// Compares the indexes with their checksums; those that differ are dropped and built again.
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

    /// Notes damaged indexes of a segment, by field.
    pub(super) fn note_damage(&self, segment: u64, damage: &[(usize, StorageError)]) {
        for (field, error) in damage {
            tracing::error!(collection = %self.name, %error, "an index is built again");
            self.lock().work.indexing.damaged.insert((segment, *field));
        }
        self.changed.notify_all();
    }

    /// The index that the settings ask for, calibrated; of several the one of the least work.
    /// `None` if the build was cancelled.
    fn best_index(
        &self,
        job: &Job,
        name: &str,
        field: &VectorField,
        codes: &FieldCodes,
        rows: &[u32],
    ) -> Result<Option<BestIndex>> {
        let kinds = self.index_kinds(field, rows.len() as u64);
        let sample = self.calibration_sample(job, (name, field), rows)?;
        // One of equal rows stands for all of them in an index; a scan meets them anyway.
        let (different, copies) = match kinds {
            [IndexKind::Flat] => (Vec::new(), Vec::new()),
            _ => distinct(rows, |row| codes.record(row)),
        };
        let mut built = Vec::new();
        for &kind in kinds {
            let index = build(kind, codes, &different, field.index, &job.progress);
            let Some(index) = index else { return Ok(None) };
            built.push(index);
        }
        let reader: Arc<dyn SegmentReader> = job.segment.clone();
        let subject = Subject::new(reader, &self.config, job.field, codes, &sample)?;
        let calibrate = |index: &BuiltIndex| {
            let view = index.view();
            subject.calibrate(codes, view.as_ref().map(|view| (view, Copies::new(&copies))))
        };
        let measured: Vec<Calibration> = built.iter().map(calibrate).collect();
        let (k, target) = COMPARED;
        let costs: Vec<(IndexKind, f32)> = kinds
            .iter()
            .zip(&measured)
            .map(|(&kind, calibration)| (kind, calibration.cost(k, target).min(f32::MAX)))
            .collect();
        let candidates = built.into_iter().zip(measured).zip(&costs);
        let best = candidates.min_by(|a, b| a.1.1.total_cmp(&b.1.1));
        Ok(best.map(|((index, calibration), _)| {
            let report = report(&index, calibration, costs.clone());
            BestIndex { index, copies, report }
        }))
    }

    /// Attaches the indexes of a manifest to their segments, and drops the entries of those that
    /// are gone or damaged: they are built again.
    pub(super) fn open_indexes(&self, sealed: &[SealedSlot], manifest: &mut Manifest) {
        manifest.indexes.retain(|entry| {
            let slot = sealed.iter().find(|slot| slot.segment.entry().number == entry.segment);
            slot.is_some_and(|slot| self.attach(&slot.segment, entry))
        });
    }

    /// Attaches an index of a manifest to its segment; `false` if it is damaged.
    fn attach(&self, segment: &SealedSegment, entry: &IndexEntry) -> bool {
        let field = self.config.fields.keys().position(|name| *name == entry.field);
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

    /// How far the indexes of a segment are, by field.
    pub(super) fn index_statuses(
        &self,
        state: &State,
        segment: &SealedSegment,
    ) -> std::collections::BTreeMap<String, IndexStatus> {
        let number = segment.entry().number;
        let running = state.work.indexing.running.as_ref();
        let status = |(field, name): (usize, &String)| {
            let job = running.filter(|job| job.number() == number && job.field == field);
            let status = match (segment.index(field), job) {
                (Some(index), _) => {
                    let calibration = Calibration::clone(&index.calibration());
                    let report = IndexReport { calibration, ..index.report().clone() };
                    IndexStatus::Ready { report, size_bytes: index.size_bytes() }
                }
                (None, Some(job)) => IndexStatus::Building {
                    done: job.progress.done.load(Ordering::Relaxed),
                    total: job.progress.total.load(Ordering::Relaxed),
                    seconds: job.started.elapsed().as_secs_f64(),
                },
                (None, None) if self.wants_index(segment, field) => {
                    match state.work.indexing.failure((number, field)) {
                        Some(reason) => IndexStatus::Failed { reason: reason.to_owned() },
                        None => IndexStatus::Waiting,
                    }
                }
                (None, None) => return None,
            };
            Some((name.clone(), status))
        };
        self.config.fields.keys().enumerate().filter_map(status).collect()
    }
}

fn build(
    kind: IndexKind,
    codes: &FieldCodes,
    rows: &[u32],
    settings: IndexSettings,
    progress: &BuildProgress,
) -> Option<BuiltIndex> {
    if kind == IndexKind::Flat {
        return Some(BuiltIndex::Flat);
    }
    let distances = codes.codec().row_distances(CodeKernel::detect(), codes.primary());
    if kind == IndexKind::Ivf {
        let settings = IvfSettings { lists: settings.lists, seed: SEED };
        let parts =
            ivf::build(&distances, codes.codec(), codes.primary(), rows, settings, progress)?;
        return Some(BuiltIndex::Ivf(parts));
    }
    let degree = settings.resolved_degree();
    let settings = GraphSettings {
        max_degree: degree,
        window_size: settings.resolved_window(),
        alpha: settings.resolved_alpha(),
        prune_to: settings.resolved_prune_to(),
        seed: SEED,
    };
    let (edges, entry) = graph::build(&distances, rows, settings, progress)?;
    Some(BuiltIndex::Graph { edges, degree, entry })
}

fn report(
    index: &BuiltIndex,
    calibration: Calibration,
    costs: Vec<(IndexKind, f32)>,
) -> IndexReport {
    let (degree, entry, lists) = match index {
        BuiltIndex::Graph { degree, entry, .. } => (*degree, *entry, 0),
        BuiltIndex::Ivf(parts) => (0, 0, parts.lists().count()),
        BuiltIndex::Flat => (0, 0, 0),
    };
    IndexReport { kind: index.kind(), degree, entry, lists, calibration, costs }
}
