//! Verifies the files of a collection against their checksums: on request, as a job or on the
//! caller's thread, and periodically in the background.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::Inner;
use super::writer::{State, Stop};
use crate::error::{Error, Result};
use crate::index::BuildProgress;
use crate::jobs::{Job, JobKind, Lane, Next, Progress, Worker};
use crate::segment::SealedSegment;

/// Requested verifications.
#[derive(Debug, Default)]
pub(super) struct Verifications {
    running: Option<Verification>,
    /// Shared by all requests until it starts.
    waiting: Option<Verification>,
}

#[derive(Debug, Clone)]
struct Verification {
    job: Job,
    progress: Arc<BuildProgress>,
}

/// Worker of a verification job.
struct Reader {
    inner: Weak<Inner>,
    progress: Arc<BuildProgress>,
}

impl Worker for Reader {
    fn progress(&self) -> Progress {
        let total = self.progress.total.load(Ordering::Relaxed);
        let phase = if total == 0 { "waiting" } else { "reading" };
        Progress { phase, done: self.progress.done.load(Ordering::Relaxed), total }
    }

    fn cancelled(&self) {
        self.progress.cancelled.store(true, Ordering::Relaxed);
        if let Some(inner) = self.inner.upgrade() {
            let waiting = &mut inner.lock().work.verifications.waiting;
            if let Some(cancelled) = waiting.take_if(|waiting| waiting.job.is_cancelled()) {
                cancelled.job.end(Ok(false));
            }
        }
    }
}

impl Verifications {
    /// Cancels the running verification, and ends the waiting one.
    pub fn halt(&mut self, stopped: impl Fn() -> Error) {
        if let Some(running) = &self.running {
            running.progress.cancelled.store(true, Ordering::Relaxed);
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.job.end(Err(stopped()));
        }
    }

    /// Ends the running job after its thread panicked.
    pub fn panicked(&mut self, reason: &str) {
        if let Some(running) = self.running.take() {
            running.job.end(Err(Error::Internal(reason.to_owned())));
        }
    }
}

impl Inner {
    /// Starts a verification of all files.
    pub(super) fn begin_verification(self: &Arc<Self>) -> Result<Job> {
        let mut state = self.lock();
        if let Some(stop) = over(&state) {
            return Err(self.stopped(stop));
        }
        let waiting = state.work.verifications.waiting.get_or_insert_with(|| {
            let progress = Arc::<BuildProgress>::default();
            let reader = Reader { inner: Arc::downgrade(self), progress: progress.clone() };
            let job = self.jobs.begin(JobKind::Verify, &self.name, Box::new(reader));
            Verification { job, progress }
        });
        let job = waiting.job.clone();
        drop(state);
        self.scheduler.ask(self.id, &[Lane::Verify]);
        Ok(job)
    }

    /// Runs the waiting verification.
    pub(super) fn verify_next(&self) -> Next {
        let Verification { job, progress } = {
            let mut state = self.lock();
            let verifications = &mut state.work.verifications;
            let Some(next) = verifications.waiting.take() else { return Next::WhenAsked };
            verifications.running = Some(next.clone());
            next
        };
        let bytes = self.sealed().iter().map(|segment| segment.size_bytes()).sum::<u64>();
        progress.total.store(bytes.max(1), Ordering::Relaxed);
        let damage = self.damage(&mut |bytes| {
            progress.done.fetch_add(bytes, Ordering::Relaxed);
            !progress.cancelled.load(Ordering::Relaxed)
        });
        let mut state = self.lock();
        state.work.verifications.running = None;
        job.end(match (over(&state), damage.is_empty()) {
            _ if job.is_cancelled() => Ok(false),
            (Some(stop), _) => Err(self.stopped(stop)),
            (None, true) => Ok(true),
            (None, false) => {
                let lines: Vec<String> = damage.iter().map(ToString::to_string).collect();
                Err(Error::DamageFound { damage: lines.join("\n") })
            }
        });
        Next::Now
    }

    /// Checksum mismatches, including those of the catalog. `go_on` gets the number of bytes read;
    /// returning `false` ends the check.
    pub(super) fn damage(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<Error> {
        let mut damage = self.damage_of_segments(go_on);
        damage.extend(self.check_copy().into_iter().map(Error::from));
        damage.extend(self.store.catalog.check().err().map(Error::from));
        damage
    }

    /// Checksum mismatches in the folders of segments. Damaged segments are recorded and no longer
    /// merged; damaged indexes are dropped and rebuilt.
    pub(super) fn damage_of_segments(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<Error> {
        let mut damage = Vec::new();
        for segment in self.sealed() {
            let number = segment.entry().number;
            let mut found = segment.damage(go_on);
            found.extend(self.damaged_entry(number));
            let indexes = segment.index_damage(go_on);
            // A merge may have removed the files meanwhile.
            if !self.has_segment(number) {
                continue;
            }
            self.note_segment_damage(number, &found);
            self.note_damage(number, &indexes);
            damage.extend(found.into_iter().map(Error::from));
            damage.extend(indexes.into_iter().map(|(_, error)| Error::IndexDamaged(error)));
        }
        damage
    }

    fn sealed(&self) -> Vec<Arc<SealedSegment>> {
        self.lock().segments.sealed.iter().map(|slot| slot.segment.clone()).collect()
    }
}

/// The reason why nothing can be read any more, if so.
fn over(state: &State) -> Option<&Stop> {
    state.stopped.as_ref().filter(|stop| matches!(stop, Stop::Dropped | Stop::Closing))
}
