//! Declares payload paths of a collection that already has points.
//!
//! A declaration takes these steps; its job waits for the last one:
//!
//! 1. From the request on, new points are also checked against it ([`Inner::intake`]). Earlier
//!    points are sealed, so that no unchecked ones are left in the journal.
//! 2. The payloads of sealed segments are read and checked without a lock. Merges run before or
//!    after, since they are work of the same lane.
//! 3. One commit of the catalog replaces the settings and the manifest. Nothing has changed before;
//!    afterwards the path is declared, even if the process ends.
//! 4. Each segment without a column for the path is rewritten, as by a merge. Until then, values
//!    are read from its payloads. The job only waits for this step, which continues after a restart.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, Weak};
use std::time::Instant;

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::Inner;
use super::optimizer::number;
use super::state::SealedSlot;
use super::work::mergeable;
use super::writer::State;
use crate::error::{Error, Result};
use crate::index::BuildProgress;
use crate::jobs::{Job, JobKind, Lane, Progress, Worker};
use crate::model::{
    CollectionConfig, DeclaredPath, InvalidInput, Payload, PayloadType, PointId, Problem,
    check_range, limits, object, read_path, validate_path,
};
use crate::segment::{RowPayloads, SegmentReader, Snapshot, View};

/// Number of payloads checked between two checks for cancellation.
const CHECKED_ROWS: usize = 1024;

/// Pending declarations.
#[derive(Debug, Default)]
pub(super) struct Declarations {
    asked: Vec<Declaration>,
}

#[derive(Debug, Clone)]
struct Declaration {
    job: Job,
    path: DeclaredPath,
    /// Sequence number of the last operation not checked against it.
    through: u64,
    asked: Instant,
    /// Progress and cancellation of the check.
    check: Arc<BuildProgress>,
    is_checking: bool,
}

impl Declaration {
    fn is_declared(&self, config: &CollectionConfig) -> bool {
        config.payload.get(&*self.path.name) == Some(&self.path.payload_type)
    }
}

/// Worker of a declaration job.
struct Declarer {
    inner: Weak<Inner>,
    path: DeclaredPath,
    check: Arc<BuildProgress>,
}

impl Worker for Declarer {
    fn progress(&self) -> Progress {
        let waiting = Progress { phase: "waiting", done: 0, total: 0 };
        self.inner.upgrade().map_or(waiting, |inner| inner.declaration_progress(self))
    }

    fn cancelled(&self) {
        self.check.cancelled.store(true, Ordering::Relaxed);
        if let Some(inner) = self.inner.upgrade() {
            inner.settle(&mut inner.lock());
            inner.wake();
        }
    }
}

impl Declarations {
    /// Cancels all checks.
    pub fn halt(&self) {
        for declaration in &self.asked {
            declaration.check.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// Ends the declaration under check after its thread panicked.
    pub fn panicked(&mut self, reason: &str) {
        for declaration in self.asked.extract_if(.., |declaration| declaration.is_checking) {
            declaration.job.end(Err(Error::Internal(reason.to_owned())));
        }
    }

    /// Removes the declaration of a job, if it has not ended.
    fn take(&mut self, job: &Job) -> Option<Declaration> {
        let place = self.asked.iter().position(|declaration| declaration.job.id() == job.id())?;
        Some(self.asked.remove(place))
    }
}

impl Inner {
    /// Starts the declaration of a path.
    pub(super) fn begin_declaration(
        self: &Arc<Self>,
        name: &str,
        payload_type: PayloadType,
    ) -> Result<Job> {
        validate_path(name)?;
        if !self.intake.load().payload.contains_key(name) {
            self.check_room()?;
        }
        let mut state = self.lock();
        if let Some(stop) = self.still_stopped(&mut state) {
            return Err(self.stopped(&stop));
        }
        let path = DeclaredPath { name: name.into(), payload_type };
        self.check_declaration(&path)?;
        let mut others = state.work.declarations.asked.iter();
        let is_same = |other: &&Declaration| other.path == path && !other.job.is_cancelled();
        if let Some(declaration) = others.find(is_same) {
            return Ok(declaration.job.clone());
        }
        // Earlier failures are ignored: the call is a new attempt.
        let asked = Instant::now();
        state.work.failures.try_again(asked);
        let check = Arc::<BuildProgress>::default();
        let inner = Arc::downgrade(self);
        let declarer = Declarer { inner, path: path.clone(), check: check.clone() };
        let job = self.jobs.begin(JobKind::Declare, &self.name, Box::new(declarer));
        if state.segments.config.declared_path(name).is_none() {
            state.segments.freeze();
            self.publish(&state);
        }
        let through = state.segments.sequence;
        let (is_checking, ticket) = (false, job.clone());
        let declaration = Declaration { job, path, through, asked, check, is_checking };
        state.work.declarations.asked.push(declaration);
        self.renew_intake(&state);
        self.settle(&mut state);
        drop(state);
        self.wake();
        Ok(ticket)
    }

    /// Validates a path against those declared or pending.
    fn check_declaration(&self, path: &DeclaredPath) -> Result<(), InvalidInput> {
        let intake = self.intake.load();
        match intake.payload.get(&*path.name) {
            None => check_range("payload", 0, limits::MAX_PATHS, intake.payload.len() + 1),
            Some(declared) if *declared == path.payload_type => Ok(()),
            Some(declared) => {
                let (declared, got) = (declared.as_str(), path.payload_type.as_str());
                let problem = Problem::DeclaredOtherwise { declared, got };
                Err(InvalidInput::new(format!("payload.{}", path.name), problem))
            }
        }
    }

    /// Updates the configuration for checking new points: declared and pending paths.
    pub(super) fn renew_intake(&self, state: &State) {
        let config = &state.segments.config;
        let asked = state.work.declarations.asked.iter();
        let mut coming = asked.filter(|declaration| !declaration.is_declared(config)).peekable();
        if coming.peek().is_none() {
            return self.intake.store(config.clone());
        }
        let mut intake = CollectionConfig::clone(config);
        for Declaration { path, .. } in coming {
            intake.payload.insert(path.name.to_string(), path.payload_type);
        }
        self.intake.store(Arc::new(intake));
    }

    /// Ends declarations that are done, failed or cancelled.
    pub(super) fn settle_declarations(&self, state: &mut State) {
        let asked = std::mem::take(&mut state.work.declarations.asked);
        let before = asked.len();
        for declaration in asked {
            match self.declaration_outcome(state, &declaration) {
                Some(outcome) => declaration.job.end(outcome),
                None => state.work.declarations.asked.push(declaration),
            }
        }
        if state.work.declarations.asked.len() < before {
            self.renew_intake(state);
        }
    }

    /// The outcome of a declaration, if it has ended; `Ok(false)` if it was cancelled. Checks end
    /// by themselves.
    fn declaration_outcome(&self, state: &State, asked: &Declaration) -> Option<Result<bool>> {
        let work = &state.work;
        if asked.job.is_cancelled() {
            return Some(Ok(false));
        }
        if let Some(stop) = &state.stopped {
            return Some(Err(self.stopped(stop)));
        }
        let reason = |lane| work.failures.reason_since(&lane, asked.asked).map(str::to_owned);
        if !asked.is_declared(&state.segments.config) {
            let is_sealed = state.segments.manifest.sealed_through >= asked.through;
            let failed = reason(Lane::Seal).filter(|_| !is_sealed);
            return failed.map(|reason| Err(Error::SealFailed { reason }));
        }
        let lacks = |slot: &&SealedSlot| !slot.segment.has_column(&asked.path);
        if mergeable(state).any(|slot| lacks(&slot)) {
            return reason(Lane::Merge).map(|reason| Err(Error::MergeFailed { reason }));
        }
        let is_complete = !state.segments.sealed.iter().any(|slot| lacks(&slot));
        let damage = work.damage().filter(|_| !is_complete);
        Some(damage.map_or(Ok(true), |reason| Err(Error::SegmentsDamaged { reason })))
    }

    fn declaration_progress(&self, declarer: &Declarer) -> Progress {
        let state = self.lock();
        let mut asked = state.work.declarations.asked.iter();
        let asked = asked.find(|declaration| declaration.path == declarer.path);
        let waiting = Progress { phase: "waiting", done: 0, total: 0 };
        let Some(asked) = asked else { return waiting };
        if asked.is_declared(&state.segments.config) {
            return rewriting_progress(&state, &asked.path);
        }
        if state.segments.manifest.sealed_through < asked.through {
            return Progress { phase: "sealing", ..waiting };
        }
        let total = declarer.check.total.load(Ordering::Relaxed);
        match asked.is_checking {
            true => {
                let done = declarer.check.done.load(Ordering::Relaxed);
                Progress { phase: "checking", done, total }
            }
            false => waiting,
        }
    }

    /// A segment without a column for some declared path that can be rewritten.
    pub(super) fn behind(&self, state: &State) -> Option<Vec<u64>> {
        let config = &state.segments.config;
        let behind = mergeable(state).find(|slot| slot.segment.is_behind(config))?;
        Some(vec![number(behind)])
    }

    /// Checks the payloads for the next declaration, and declares the path; `false` if there is
    /// none.
    pub(super) fn declare_next(&self) -> bool {
        let next = {
            let mut state = self.lock();
            if state.stopped.is_some() {
                return false;
            }
            let segments = &state.segments;
            let (config, sealed) = (segments.config.clone(), segments.manifest.sealed_through);
            let mut asked = state.work.declarations.asked.iter_mut();
            let next = asked.find(|next| next.through <= sealed && !next.is_declared(&config));
            let Some(next) = next else { return false };
            next.is_checking = true;
            next.clone()
        };
        let checked = self.check_payloads(&next);
        let mut state = self.lock();
        // It may have ended meanwhile; the result is discarded then.
        let Some(asked) = state.work.declarations.take(&next.job) else { return true };
        let outcome = match checked {
            _ if asked.job.is_cancelled() => Ok(false),
            Err(error) => Err(error),
            Ok(()) => {
                let asked = Declaration { is_checking: false, ..asked };
                state.work.declarations.asked.push(asked);
                if let Err(error) = self.install_path(state, &next.path) {
                    self.end_declaration(&next.job, error);
                }
                return true;
            }
        };
        self.renew_intake(&state);
        asked.job.end(outcome);
        true
    }

    /// Ends a failed declaration, if it has not ended yet.
    fn end_declaration(&self, job: &Job, error: Error) {
        let mut state = self.lock();
        if let Some(declaration) = state.work.declarations.take(job) {
            self.renew_intake(&state);
            declaration.job.end(Err(error));
        }
    }

    /// Adds a path to the settings: in one commit, with a new version of the manifest, so that the
    /// copy beside the segments counts as newer, too.
    fn install_path(&self, state: MutexGuard<'_, State>, path: &DeclaredPath) -> Result<()> {
        let DeclaredPath { name, payload_type } = path;
        self.install_under(state, &[], |segments, batch| {
            let mut config = CollectionConfig::clone(&segments.config);
            config.payload.insert(name.to_string(), *payload_type);
            batch.put_config(self.id, &self.name, &config)?;
            segments.config = Arc::new(config);
            segments.manifest.settings_generation += 1;
            Ok(())
        })?;
        tracing::info!(collection = %self.name, path = %name, "payload path declared");
        Ok(())
    }

    /// Reads the payloads of all live points in segments without a column for the path. Later
    /// writes have been checked already.
    fn check_payloads(&self, asked: &Declaration) -> Result<()> {
        let snapshot = self.snapshot.load_full();
        let lacks = |view: &&View| !view.reader.has_column(&asked.path);
        let mut views = snapshot.views.iter().filter(lacks);
        let total = views.clone().map(View::live_rows).sum();
        asked.check.total.store(total, Ordering::Relaxed);
        let checked = snapshot.whole(|_| {
            views.try_for_each(|view| {
                let rows = live_rows(view);
                let block = |rows: &[u32]| self.check_rows(asked, view, rows).err();
                let failed = || rows.par_chunks(CHECKED_ROWS).find_map_first(block);
                self.scheduler.pool().install(failed).map_or(Ok(()), Err)
            })
        });
        self.noting_damage(checked)
    }

    fn check_rows(&self, asked: &Declaration, view: &View, rows: &[u32]) -> Result<()> {
        if asked.check.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Closing);
        }
        for &row in rows {
            let payload = view.reader.payload(row)?;
            if let Err(error) = check_value(&asked.path, payload.as_ref()) {
                let id = view.reader.id(row)?;
                self.check_point(&asked.path, &id, error)?;
            }
        }
        asked.check.done.fetch_add(rows.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Fails with `error`, unless the point was replaced by a valid one or deleted since.
    fn check_point(&self, path: &DeclaredPath, id: &PointId, error: InvalidInput) -> Result<()> {
        let now: Arc<Snapshot> = self.snapshot.load_full();
        let payload = match now.find(id)? {
            Some(location) => now.payload(location)?,
            None => return Ok(()),
        };
        match check_value(path, payload.as_ref()) {
            Ok(()) => Ok(()),
            Err(_) => Err(error.within(format!("point {id}.payload")).into()),
        }
    }
}

/// Progress of rewriting, in rows of all segments.
fn rewriting_progress(state: &State, path: &DeclaredPath) -> Progress {
    let (mut done, mut total) = (0, 0);
    for slot in &state.segments.sealed {
        let rows = u64::from(slot.segment.rows());
        total += rows;
        done += if slot.segment.has_column(path) { rows } else { 0 };
    }
    Progress { phase: "merging", done, total }
}

fn live_rows(view: &View) -> Vec<u32> {
    let mut live = RoaringBitmap::new();
    live.insert_range(0..view.reader.rows());
    (live - &*view.deleted).iter().collect()
}

fn check_value(path: &DeclaredPath, payload: Option<&Payload>) -> Result<(), InvalidInput> {
    read_path(&path.name, path.payload_type, &object(payload)).map(drop)
}
