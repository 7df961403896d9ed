//! The write path: validate (done by the caller), journal, apply, publish.
//!
//! Group commit: every writer queues its operation and then takes the lock. The first to get it
//! commits everything queued as one batch with one sync; the others find their result when they get
//! the lock. Sequence numbers, journal order and apply order are thus the same.

use std::sync::mpsc;
use std::sync::{MutexGuard, PoisonError};
use std::time::Instant;

use lanner_storage::{Batch, Sync};

use super::Inner;
use super::record::Operation;
use super::state::Segments;
use super::work::Work;
use crate::error::{Error, Result};
use crate::jobs::Lane;
use crate::model::PointBatch;
use crate::segment::Snapshot;

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After a sync to disk: the write survives power loss.
    #[default]
    Synced,
    /// After a write to the operating system: the write survives the death of this process, but a
    /// power loss may lose the last moments (never half of a write).
    Buffered,
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteReceipt {
    /// Sequence number of the operation in its collection.
    pub sequence: u64,
    /// Number of points written or deleted.
    pub affected: u64,
    /// Durability of the write.
    pub durability: Durability,
}

/// A queued write.
pub(super) struct Pending {
    operation: Operation,
    record: Vec<u8>,
    durability: Durability,
    reply: mpsc::Sender<Result<WriteReceipt>>,
}

/// State guarded by the writer lock.
#[derive(Default)]
pub(super) struct State {
    pub segments: Segments,
    pub work: Work,
    /// The reason why writes are refused, if they are.
    pub stopped: Option<Stop>,
    /// Number of times the segments were reloaded; results built from earlier ones are useless.
    pub epoch: u64,
    /// Folders of failed commits; the manifest on disk may reference them.
    pub doubtful: Vec<u64>,
}

impl State {
    /// Whether writing has ended for good.
    pub fn is_over(&self) -> bool {
        !matches!(self.stopped, None | Some(Stop::Failed(_)))
    }

    /// The current problem, if any: nothing can be written, background work failed, or data is
    /// damaged.
    pub fn problem(&self) -> Option<String> {
        self.failure().or_else(|| self.work.failure()).or_else(|| self.work.damage())
    }

    /// The reason why nothing can be written, though the collection is in use.
    pub fn failure(&self) -> Option<String> {
        match &self.stopped {
            Some(Stop::Failed(reason) | Stop::Broken(reason)) => Some(reason.clone()),
            _ => None,
        }
    }
}

/// Why writes are refused.
#[derive(Debug, Clone)]
pub(super) enum Stop {
    /// A write failed and left the state on disk unknown; the next write tries to recover.
    Failed(String),
    /// A thread panicked.
    Broken(String),
    /// Memory is full and sealing fails; the next write retries.
    NoRoom(String),
    /// The collection was deleted.
    Dropped,
    /// The database is closing.
    Closing,
}

impl Inner {
    /// Journals, applies and publishes an operation.
    pub(super) fn write(
        &self,
        operation: Operation,
        durability: Durability,
    ) -> Result<WriteReceipt> {
        if matches!(operation, Operation::Upsert(_)) {
            self.check_room_for_points()?;
        }
        let deletes = matches!(operation, Operation::Delete(_));
        let record = operation.encode()?;
        let (reply, answer) = mpsc::channel();
        self.queue().push(Pending { operation, record, durability, reply });
        // The lock is held until all results are sent: whoever gets it finds its own write either
        // done or still queued.
        let (state, stop) = match deletes {
            true => self.wait_to_delete(self.lock()),
            false => self.wait_for_room(self.lock()),
        };
        if let Ok(answer) = answer.try_recv() {
            return answer;
        }
        let group = self.take_group(deletes);
        match stop {
            Some(stop) => self.refuse(group, &stop),
            None => self.commit_group(state, group),
        }
        answer.try_recv().unwrap_or_else(|_| {
            Err(Error::Internal("a write was neither committed nor refused".into()))
        })
    }

    /// Writes the points that `make` derives from the current snapshot, with other writers
    /// excluded; `None` if it derives none.
    ///
    /// # Errors
    /// As [`Self::write`], and the errors of `make`; nothing is applied then.
    pub(super) fn rewrite(
        &self,
        durability: Durability,
        make: impl FnOnce(&Snapshot) -> Result<PointBatch>,
    ) -> Result<Option<WriteReceipt>> {
        self.check_room_for_points()?;
        let (state, stop) = self.wait_for_room(self.lock());
        if let Some(stop) = stop {
            return Err(self.stopped(&stop));
        }
        // Published under the lock: it equals the current segments, and queued writes come later.
        let points = self.snapshot.load_full().whole(make)?;
        if points.is_empty() {
            return Ok(None);
        }
        let operation = Operation::Upsert(points);
        let record = operation.encode()?;
        let (reply, answer) = mpsc::channel();
        self.commit_group(state, vec![Pending { operation, record, durability, reply }]);
        let lost = |_| Err(Error::Internal("an update was neither committed nor refused".into()));
        answer.try_recv().unwrap_or_else(lost).map(Some)
    }

    /// Refuses points if disk or memory is full, after waiting for memory.
    fn check_room_for_points(&self) -> Result<()> {
        self.check_room()?;
        if self.unsealed.wait_for_room() {
            return Ok(());
        }
        let reason = "the points of all collections in memory are being sealed too slowly";
        Err(Error::SealFailed { reason: reason.into() })
    }

    fn queue(&self) -> MutexGuard<'_, Vec<Pending>> {
        // Pushing to and taking a vector leaves it intact even if a thread dies in between.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the queue; with `deletes` only its deletes, since there may be no room for points.
    fn take_group(&self, deletes: bool) -> Vec<Pending> {
        let mut queue = self.queue();
        if !deletes {
            return std::mem::take(&mut *queue);
        }
        let is_delete = |pending: &mut Pending| matches!(pending.operation, Operation::Delete(_));
        queue.extract_if(.., is_delete).collect()
    }

    /// Keeps the writes whose points match the current declarations. The others, checked against
    /// earlier ones, fail.
    fn admit(&self, group: Vec<Pending>) -> Vec<Pending> {
        let config = self.intake.load_full();
        let admit = |mut pending: Pending| {
            let Operation::Upsert(points) = &mut pending.operation else { return Some(pending) };
            match points.fit(&config) {
                Ok(()) => Some(pending),
                Err(error) => {
                    let _ = pending.reply.send(Err(error.into()));
                    None
                }
            }
        };
        group.into_iter().filter_map(admit).collect()
    }

    fn commit_group(&self, mut state: MutexGuard<'_, State>, group: Vec<Pending>) {
        let mut group = self.admit(group);
        if group.is_empty() {
            return;
        }
        let first = state.segments.sequence + 1;
        let bytes: u64 = group.iter().map(|pending| pending.record.len() as u64).sum();
        if let Err(error) = self.commit(first, &mut group) {
            let stop = Stop::Failed(error.to_string());
            state.stopped = Some(stop.clone());
            self.settle(&mut state);
            return self.refuse(group, &stop);
        }
        state.segments.active.journal_bytes += bytes;
        let mut answers = Vec::with_capacity(group.len());
        for (sequence, pending) in (first..).zip(group) {
            let applied = state.segments.apply(sequence, pending.operation);
            if let Err(error) = &applied {
                state.stopped = Some(Stop::Failed(error.to_string()));
                self.settle(&mut state);
            }
            let durability = pending.durability;
            let receipt = applied.map(|affected| WriteReceipt { sequence, affected, durability });
            answers.push((pending.reply, receipt));
        }
        if state.segments.active.is_full(self.options.seal_bytes) || self.is_dear(&mut state) {
            state.segments.freeze();
            self.wake();
        } else if state.segments.is_worn() {
            // Some segment has become worth rewriting.
            self.scheduler.ask(self.id, &[Lane::Merge]);
        }
        self.publish(&state);
        // Only now: a confirmed write is visible to the next query.
        for (reply, answer) in answers {
            let _ = reply.send(answer);
        }
        let unsealed = state.segments.unsealed_bytes();
        drop(state);
        self.make_room(unsealed);
    }

    fn commit(&self, first: u64, group: &mut [Pending]) -> Result<()> {
        let mut batch = Batch::new();
        let mut sync = Sync::No;
        for (sequence, pending) in (first..).zip(group) {
            batch.append_journal(self.id, sequence, std::mem::take(&mut pending.record));
            if pending.durability == Durability::Synced {
                sync = Sync::Yes;
            }
        }
        Ok(self.store.catalog.commit(batch, sync)?)
    }

    /// Whether queries have scanned the active segment so often that it should be sealed.
    fn is_dear(&self, state: &mut State) -> bool {
        let (answered, now) = (self.queries.answered(), Instant::now());
        let active = &mut state.segments.active;
        active.last_sequence > 0 && {
            active.begun.get_or_insert((now, answered));
            active.is_dear(self.options.index_rows, answered, now)
        }
    }

    /// Seals the active segment if queries have scanned it too often. Skipped if a writer holds the
    /// lock; a later query tries again.
    pub(super) fn seal_early(&self) {
        let Ok(mut state) = self.state.try_lock() else { return };
        let room = state.segments.frozen.len() < self.options.frozen_segments;
        if state.stopped.is_none() && room && self.is_dear(&mut state) {
            state.segments.freeze();
            self.publish(&state);
            drop(state);
            self.wake();
        }
    }

    /// The reason why nothing can be written, after an attempt to recover.
    pub(super) fn still_stopped(&self, state: &mut State) -> Option<Stop> {
        if state.stopped.is_some() && !state.is_over() {
            self.revive(state);
        }
        state.stopped.clone()
    }

    /// Waits while too many segments wait to be sealed; also returns the reason if writing cannot
    /// go on.
    pub(super) fn wait_for_room<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
    ) -> (MutexGuard<'s, State>, Option<Stop>) {
        loop {
            if let Some(stop) = self.still_stopped(&mut state) {
                return (state, Some(stop));
            }
            if state.segments.frozen.len() < self.options.frozen_segments {
                return (state, None);
            }
            if let Some(reason) = state.work.failures.tell(&Lane::Seal, Instant::now()) {
                self.wake();
                return (state, Some(Stop::NoRoom(reason)));
            }
            state = self.wait(state);
        }
    }

    /// As [`Self::wait_for_room`], except when sealing fails: deletes free memory.
    fn wait_to_delete<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
    ) -> (MutexGuard<'s, State>, Option<Stop>) {
        loop {
            let stop = self.still_stopped(&mut state);
            let has_room = state.segments.frozen.len() < self.options.frozen_segments;
            if stop.is_some() || has_room || state.work.failures.reason(&Lane::Seal).is_some() {
                return (state, stop);
            }
            state = self.wait(state);
        }
    }

    /// Updates the memory accounting, and freezes the largest collection's segment if the total is
    /// too large.
    pub(super) fn make_room(&self, (active, frozen): (u64, u64)) {
        let largest = self.unsealed.note(self.id, active, frozen);
        // Without holding a lock: it may be another collection, whose writer may be doing the same
        // with this one.
        let Some(largest) = largest.and_then(|largest| largest.upgrade()) else { return };
        let mut state = largest.lock();
        if state.stopped.is_none() {
            state.segments.freeze();
            largest.publish(&state);
            let (active, frozen) = state.segments.unsealed_bytes();
            drop(state);
            largest.unsealed.note(largest.id, active, frozen);
            largest.wake();
        }
    }

    /// Refuses points on a nearly full disk: the rest is needed for deletes, merges and recovery.
    pub(super) fn check_room(&self) -> Result<()> {
        let needed_bytes = self.options.free_bytes;
        match self.store.directory.free_bytes() {
            Some(free_bytes) if free_bytes < needed_bytes => {
                Err(Error::DiskFull { free_bytes, needed_bytes })
            }
            _ => Ok(()),
        }
    }

    fn refuse(&self, group: Vec<Pending>, stop: &Stop) {
        for pending in group {
            let _ = pending.reply.send(Err(self.stopped(stop)));
        }
    }

    /// The error of a write refused for this reason.
    pub(super) fn stopped(&self, stop: &Stop) -> Error {
        match stop {
            Stop::Failed(reason) => Error::WritesStopped { reason: reason.clone() },
            Stop::Broken(reason) => Error::WritesStopped { reason: reason.clone() },
            Stop::NoRoom(reason) => Error::SealFailed { reason: reason.clone() },
            Stop::Dropped => Error::CollectionNotFound { name: self.name.clone() },
            Stop::Closing => Error::Closing,
        }
    }
}
