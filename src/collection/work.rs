//! Background work of a collection: the next task of each lane, failures, and pending jobs.
//!
//! A job has a ticket. It ends when everything written before it is sealed, a merge of all segments
//! that started after it is complete, and the indexes are built; or when any of that fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, Weak};
use std::time::{Duration, Instant};

use super::Inner;
use super::codecs::Retrain;
use super::declaration::Declarations;
use super::index_work::IndexWork;
use super::optimizer::number;
use super::state::SealedSlot;
use super::verification::Verifications;
use super::writer::{State, Stop};
use crate::error::{Error, Result};
use crate::index::BuildProgress;
use crate::jobs::{
    Backoff, Job, JobKind, Lane, MergePolicy, Next, Progress, SegmentSize, Work as LaneWork, Worker,
};
use crate::segment::SegmentReader;

/// First and longest pause after a failed seal or merge.
const PAUSES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// State of the background work.
#[derive(Debug)]
pub(super) struct Work {
    /// Failed seals and merges.
    pub failures: Backoff<Lane>,
    /// Jobs that have not ended.
    wanted: Vec<Wanted>,
    /// Last ticket issued, started, and done except for the indexes.
    asked: u64,
    begun: u64,
    done: u64,
    /// The merge in progress.
    merging: Option<Merging>,
    /// Segments found damaged before a merge, by number, with the reason. They are not merged until
    /// the collection is reopened.
    pub damaged: BTreeMap<u64, String>,
    /// Reasons why fields have no newly trained codec, by name.
    pub trainings: BTreeMap<String, String>,
    /// State of the indexer.
    pub indexing: IndexWork,
    /// Requested verifications.
    pub verifications: Verifications,
    /// Payload paths being declared.
    pub declarations: Declarations,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            failures: Backoff::new(PAUSES.0, PAUSES.1),
            wanted: Vec::new(),
            asked: 0,
            begun: 0,
            done: 0,
            merging: None,
            damaged: BTreeMap::new(),
            trainings: BTreeMap::new(),
            indexing: IndexWork::default(),
            verifications: Verifications::default(),
            declarations: Declarations::default(),
        }
    }
}

/// A merge in progress.
#[derive(Debug)]
struct Merging {
    progress: Arc<BuildProgress>,
    /// The last ticket of the jobs it serves, if any.
    ticket: Option<u64>,
}

/// A job that has not ended.
#[derive(Debug)]
struct Wanted {
    job: Job,
    ticket: u64,
    /// Sequence number of the last operation it covers.
    through: u64,
    /// Time of the last request.
    asked: Instant,
}

impl Work {
    /// The damaged segments that cannot be merged, if any.
    pub fn damage(&self) -> Option<String> {
        let reasons: Vec<&str> = self.damaged.values().map(String::as_str).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// The reason of the last failed seal or merge, if it has not succeeded since.
    pub fn failure(&self) -> Option<String> {
        self.failures.iter().next().map(|(_, reason)| reason.to_owned())
    }

    /// Jobs whose merge is not done yet.
    fn waiting(&self) -> impl Iterator<Item = &Wanted> {
        self.wanted.iter().filter(|wanted| wanted.ticket > self.done)
    }

    /// Whether a merge of all segments is in progress or due.
    pub fn is_optimizing(&self) -> bool {
        self.waiting().next().is_some()
    }
}

/// Worker of the jobs of a collection.
struct OfCollection(Weak<Inner>);

impl Worker for OfCollection {
    fn progress(&self) -> Progress {
        let waiting = Progress { phase: "waiting", done: 0, total: 0 };
        self.0.upgrade().map_or(waiting, |inner| inner.progress())
    }

    fn cancelled(&self) {
        if let Some(inner) = self.0.upgrade() {
            inner.settle(&mut inner.lock());
            inner.wake();
        }
    }
}

/// A seal or merge in progress.
struct Attempt {
    lane: Lane,
    /// Epoch of the segments it started from.
    epoch: u64,
    began: Instant,
}

/// Next task of the merge lane.
enum Task {
    /// Merges these segments.
    Merge(Vec<u64>),
    /// Merges all segments, for the jobs up to a ticket.
    Optimize(u64, Retrain),
}

impl LaneWork for Inner {
    fn run(&self, lane: Lane) -> Next {
        let next = match lane {
            Lane::Seal => self.seal_next(),
            Lane::Merge => self.merge_next(),
            Lane::Index => self.index_next(),
            Lane::Verify => self.verify_next(),
        };
        let mut state = self.lock();
        self.settle(&mut state);
        if next == Next::Now {
            let unsealed = state.segments.unsealed_bytes();
            drop(state);
            self.make_room(unsealed);
            self.wake();
        }
        next
    }

    fn panicked(&self, lane: Lane) {
        let (mut state, now) = (self.lock(), Instant::now());
        let reason = "a background thread panicked; the log says where".to_owned();
        match (lane, state.work.indexing.running.take()) {
            (Lane::Index, Some(build)) => {
                state.work.indexing.failures.fail((build.number(), build.field), reason, now, now);
            }
            (Lane::Verify, running) => {
                state.work.indexing.running = running;
                state.work.verifications.panicked(&reason);
                return;
            }
            (lane, running) => {
                state.work.indexing.running = running;
                state.work.declarations.panicked(&reason);
                state.work.failures.fail(lane, reason, now, now);
            }
        }
        state.work.merging = None;
        self.renew_intake(&state);
        self.settle(&mut state);
        drop(state);
        self.wake();
    }
}

impl Inner {
    /// Notifies waiters and the scheduler of a change.
    pub(super) fn wake(&self) {
        self.changed.notify_all();
        self.scheduler.ask(self.id, &Lane::ALL);
    }

    fn seal_next(&self) -> Next {
        let attempt = {
            let state = self.lock();
            if state.stopped.is_some() || state.segments.frozen.is_empty() {
                return Next::WhenAsked;
            }
            let began = Instant::now();
            if let Some(at) = state.work.failures.paused_until(&Lane::Seal, began) {
                return Next::At(at);
            }
            Attempt { lane: Lane::Seal, epoch: state.epoch, began }
        };
        let sealed = self.seal();
        self.note_outcome(&attempt, sealed)
    }

    fn merge_next(&self) -> Next {
        if self.declare_next() {
            return Next::Now;
        }
        let (task, attempt, progress) = {
            let mut state = self.lock();
            if state.stopped.is_some() {
                return Next::WhenAsked;
            }
            let began = Instant::now();
            if let Some(at) = state.work.failures.paused_until(&Lane::Merge, began) {
                return Next::At(at);
            }
            let sealed = state.segments.manifest.sealed_through;
            let is_ready = |wanted: &&Wanted| wanted.through <= sealed;
            let ticket = state.work.waiting().filter(is_ready).map(|wanted| wanted.ticket).max();
            let task = match ticket {
                // Operations it covers are still in memory.
                None if state.work.is_optimizing() => return Next::WhenAsked,
                Some(ticket) => {
                    state.work.begun = ticket;
                    let trains = |wanted: &Wanted| {
                        wanted.ticket <= ticket && wanted.job.kind() == JobKind::Train
                    };
                    let retrain = match state.work.waiting().any(trains) {
                        true => Retrain::Always,
                        false => Retrain::IfDrifted,
                    };
                    Task::Optimize(ticket, retrain)
                }
                None => match self.behind(&state).or_else(|| self.merge_candidates(&state)) {
                    Some(numbers) => Task::Merge(numbers),
                    None => return Next::WhenAsked,
                },
            };
            let progress = Arc::new(BuildProgress::default());
            state.work.merging = Some(Merging { progress: progress.clone(), ticket });
            (task, Attempt { lane: Lane::Merge, epoch: state.epoch, began }, progress)
        };
        let merged = match task {
            Task::Merge(numbers) => match self.all_sound(&numbers) {
                Ok(true) => self.merge(&numbers, Retrain::IfDrifted, &progress),
                checked => checked.map(drop),
            },
            Task::Optimize(ticket, retrain) => self.optimize_all(ticket, retrain, &progress),
        };
        self.lock().work.merging = None;
        match merged {
            // Cancelled.
            Err(_) if progress.cancelled.load(Ordering::Relaxed) => Next::Now,
            merged => self.note_outcome(&attempt, merged),
        }
    }

    /// Records the outcome of a seal or merge.
    fn note_outcome(&self, attempt: &Attempt, outcome: Result<()>) -> Next {
        let (mut state, lane) = (self.lock(), attempt.lane);
        match outcome {
            Ok(()) => drop(state.work.failures.succeed(&lane)),
            Err(error) => {
                tracing::error!(collection = %self.name, ?lane, %error, "background work failed");
                // Failures because the segments were reloaded meanwhile are simply repeated.
                if state.epoch == attempt.epoch {
                    let (reason, now) = (error.to_string(), Instant::now());
                    state.work.failures.fail(lane, reason, attempt.began, now);
                }
            }
        }
        Next::Now
    }

    fn optimize_all(
        &self,
        ticket: u64,
        retrain: Retrain,
        progress: &Arc<BuildProgress>,
    ) -> Result<()> {
        let groups = loop {
            let groups = self.optimize_groups(&self.lock(), retrain);
            // Otherwise regroup without the segments now known to be damaged.
            if self.all_sound(&groups.concat())? {
                break groups;
            }
        };
        progress.total.store(self.rows_to_write(&groups.concat()), Ordering::Relaxed);
        for numbers in groups {
            self.merge(&numbers, retrain, progress)?;
        }
        self.check_indexes()?;
        self.lock().work.done = ticket;
        Ok(())
    }

    /// Number of rows that a merge of these segments writes, counted once per field, of vectors or
    /// text, and once per coded field.
    fn rows_to_write(&self, numbers: &[u64]) -> u64 {
        let coded = self.fields.values().filter(|field| field.is_compressed()).count();
        let state = self.lock();
        let members = state.segments.sealed.iter().filter(|slot| numbers.contains(&number(slot)));
        let live = members.map(|slot| u64::from(slot.segment.rows()) - slot.deleted.len());
        let texts = self.intake.load().text.len();
        live.sum::<u64>() * (self.fields.len() + coded + texts) as u64
    }

    /// Segments worth merging in the background.
    pub(super) fn merge_candidates(&self, state: &State) -> Option<Vec<u64>> {
        self.merge_policy().next(&mergeable(state).map(size).collect::<Vec<_>>())
    }

    fn merge_policy(&self) -> MergePolicy {
        let (seal_bytes, segment_bytes) = (self.options.seal_bytes, self.options.segment_bytes);
        MergePolicy { seal_bytes, segment_bytes }
    }

    /// The merges that leave as few segments as the size limit allows and no deleted rows; with
    /// retraining, of all segments that may be compressed.
    fn optimize_groups(&self, state: &State, retrain: Retrain) -> Vec<Vec<u64>> {
        let slots: Vec<&SealedSlot> = mergeable(state).collect();
        let mut groups =
            self.merge_policy().fewest(&slots.iter().map(|slot| size(slot)).collect::<Vec<_>>());
        let changes = |slot: &&&SealedSlot| {
            let trains =
                retrain == Retrain::Always && slot.segment.rows() >= self.options.coded_rows;
            !slot.deleted.is_empty() || trains || slot.segment.is_behind(&state.segments.config)
        };
        let changing: Vec<u64> = slots.iter().filter(changes).map(|slot| number(slot)).collect();
        groups.retain(|group| group.len() > 1 || group.iter().any(|one| changing.contains(one)));
        groups
    }

    /// Freezes the active segment. Returns the state, and the sequence number of the last
    /// operation.
    fn set_aside(&self) -> Result<(MutexGuard<'_, State>, u64)> {
        let mut state = self.lock();
        if let Some(stop) = self.still_stopped(&mut state) {
            return Err(self.stopped(&stop));
        }
        state.segments.freeze();
        self.publish(&state);
        let through = state.segments.sequence;
        Ok((state, through))
    }

    /// Seals everything written before the call.
    pub(super) fn flush(&self) -> Result<()> {
        let (mut state, through) = self.set_aside()?;
        // Earlier failures are ignored: the call is a new attempt.
        let asked = Instant::now();
        state.work.failures.try_one_again(&Lane::Seal, asked);
        self.wake();
        loop {
            if state.segments.manifest.sealed_through >= through {
                return Ok(());
            }
            if let Some(stop) = &state.stopped {
                return Err(self.stopped(stop));
            }
            if let Some(reason) = state.work.failures.reason_since(&Lane::Seal, asked) {
                return Err(Error::SealFailed { reason: reason.to_owned() });
            }
            state = self.wait(state);
        }
    }

    /// Starts to seal everything, merge segments as far as the size limit allows, and drop deleted
    /// rows; with training, also to rewrite all segments with new codecs. Requests for the same
    /// work share a job that has not started yet.
    pub(super) fn begin(self: &Arc<Self>, kind: JobKind) -> Result<Job> {
        let (mut state, through) = self.set_aside()?;
        let asked = Instant::now();
        state.work.failures.try_again(asked);
        state.work.indexing.failures.try_again(asked);
        let begun = state.work.begun;
        let same = state.work.wanted.iter_mut().find(|wanted| {
            wanted.ticket > begun && wanted.job.kind() == kind && !wanted.job.is_cancelled()
        });
        let job = match same {
            Some(wanted) => {
                (wanted.through, wanted.asked) = (through, asked);
                wanted.job.clone()
            }
            None => {
                state.work.asked += 1;
                let ticket = state.work.asked;
                let worker = Box::new(OfCollection(Arc::downgrade(self)));
                let job = self.jobs.begin(kind, &self.name, worker);
                state.work.wanted.push(Wanted { job: job.clone(), ticket, through, asked });
                job
            }
        };
        drop(state);
        self.wake();
        Ok(job)
    }

    /// Ends jobs that are done, failed or cancelled, and stops work that only these need.
    pub(super) fn settle(&self, state: &mut State) {
        for wanted in std::mem::take(&mut state.work.wanted) {
            match self.outcome(state, &wanted) {
                Some(outcome) => wanted.job.end(outcome),
                None => state.work.wanted.push(wanted),
            }
        }
        self.settle_declarations(state);
        let work = &state.work;
        if let Some(Merging { progress, ticket: Some(ticket) }) = &work.merging
            && !work.waiting().any(|wanted| wanted.ticket <= *ticket)
            && work.done < *ticket
        {
            progress.cancelled.store(true, Ordering::Relaxed);
        }
    }

    /// The outcome of a job, if it has ended; `Ok(false)` if it was cancelled.
    fn outcome(&self, state: &State, wanted: &Wanted) -> Option<Result<bool>> {
        let work = &state.work;
        if wanted.job.is_cancelled() {
            return Some(Ok(false));
        }
        if let Some(stop) = &state.stopped {
            return Some(Err(self.stopped(stop)));
        }
        let reason = |lane| work.failures.reason_since(&lane, wanted.asked).map(str::to_owned);
        if state.segments.manifest.sealed_through < wanted.through {
            return reason(Lane::Seal).map(|reason| Err(Error::SealFailed { reason }));
        }
        if work.done < wanted.ticket {
            return reason(Lane::Merge).map(|reason| Err(Error::MergeFailed { reason }));
        }
        if self.has_index_work(state) {
            return None;
        }
        Some(match (work.damage(), work.indexing.failed()) {
            (Some(reason), _) => Err(Error::SegmentsDamaged { reason }),
            (None, Some(reason)) => Err(Error::IndexesMissing { reason }),
            (None, None) => Ok(true),
        })
    }

    /// Progress of the current work for jobs.
    fn progress(&self) -> Progress {
        let state = self.lock();
        let of = |phase, progress: &BuildProgress| Progress {
            phase,
            done: progress.done.load(Ordering::Relaxed),
            total: progress.total.load(Ordering::Relaxed),
        };
        match (&state.work.merging, &state.work.indexing.running) {
            _ if !state.segments.frozen.is_empty() => of("sealing", &BuildProgress::default()),
            (Some(merging), _) => of("merging", &merging.progress),
            (None, Some(build)) => of("indexing", &build.progress),
            (None, None) => of("waiting", &BuildProgress::default()),
        }
    }

    /// Refuses writes, and cancels work in progress.
    pub(super) fn halt(&self, stop: Stop) {
        let mut state = self.lock();
        let give_up = |cancelled: &AtomicBool| cancelled.store(true, Ordering::Relaxed);
        give_up(&self.cancelled);
        give_up(&self.sealing.cancelled);
        state.work.merging.iter().for_each(|merging| give_up(&merging.progress.cancelled));
        state.work.indexing.running.iter().for_each(|build| give_up(&build.progress.cancelled));
        state.work.declarations.halt();
        state.work.verifications.halt(|| self.stopped(&stop));
        state.stopped = Some(stop);
        self.settle(&mut state);
        drop(state);
        self.changed.notify_all();
    }

    /// As [`Self::halt`], and waits for work in progress.
    pub(super) fn stop(&self, stop: Stop) {
        self.halt(stop);
        self.scheduler.leave(self.id);
        self.unsealed.leave(self.id);
    }
}

/// Sealed segments not known to be damaged.
pub(super) fn mergeable(state: &State) -> impl Iterator<Item = &SealedSlot> {
    let sound = |slot: &&SealedSlot| !state.work.damaged.contains_key(&number(slot));
    state.segments.sealed.iter().filter(sound)
}

fn size(slot: &SealedSlot) -> SegmentSize {
    let deleted_share = slot.deleted_share();
    let live_bytes = (slot.segment.size_bytes() as f64 * (1.0 - deleted_share)) as u64;
    SegmentSize { number: number(slot), live_bytes, deleted_share }
}
