//! Jobs: requested background work that can be waited for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// Number of ended jobs that are kept.
const REMEMBERED: usize = 100;

/// The kind of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Seals, merges and indexes everything.
    Optimize,
    /// Trains the compression and rewrites all segments with it.
    Train,
    /// Verifies all files against their checksums.
    Verify,
    /// Declares a payload path and builds its index.
    Declare,
}

impl JobKind {
    /// The kind's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Optimize => "optimize",
            Self::Train => "train",
            Self::Verify => "verify",
            Self::Declare => "declare",
        }
    }
}

/// State of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Waiting or in progress.
    Running,
    /// Completed.
    Done,
    /// Failed; completed steps are kept.
    Failed {
        /// Kind of the failure.
        kind: ErrorKind,
        /// The cause.
        reason: String,
    },
    /// Cancelled; completed steps are kept.
    Cancelled,
}

/// Description of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobInfo {
    /// Its id, unique since the database was opened.
    pub id: u64,
    /// Its kind.
    pub kind: JobKind,
    /// The name of its collection.
    pub collection: String,
    /// Its state.
    pub state: JobState,
    /// Current phase: waiting, sealing, checking, merging, indexing, reading or ended.
    pub phase: String,
    /// Completed steps of the phase.
    pub done: u64,
    /// Total steps of the phase; 0 if unknown.
    pub total: u64,
    /// Seconds since the request; for an ended job, its total duration.
    pub seconds: f64,
}

/// Current progress of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The phase, in one word.
    pub phase: &'static str,
    /// Completed steps.
    pub done: u64,
    /// Total steps; 0 if unknown.
    pub total: u64,
}

/// A handle to requested background work. Clones refer to the same job, which continues when all
/// handles are dropped.
#[derive(Clone)]
pub struct Job(Arc<Inner>);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("id", &self.0.id).finish_non_exhaustive()
    }
}

struct Inner {
    id: u64,
    kind: JobKind,
    collection: String,
    asked: Instant,
    cancelled: AtomicBool,
    worker: Box<dyn Worker>,
    /// The outcome, and the total duration.
    outcome: Mutex<Option<(Outcome, Duration)>>,
    changed: Condvar,
}

/// Executes a job.
pub trait Worker: Send + Sync {
    /// Current progress.
    fn progress(&self) -> Progress;

    /// Called when the job is cancelled.
    fn cancelled(&self);
}

#[derive(Debug, Clone)]
enum Outcome {
    Done,
    Failed(Arc<Error>),
    Cancelled,
}

impl Job {
    /// The job's id, unique since the database was opened.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The name of its collection.
    pub fn collection(&self) -> &str {
        &self.0.collection
    }

    /// Describes the job.
    pub fn info(&self) -> JobInfo {
        let outcome = self.lock().clone();
        let (state, elapsed) = match &outcome {
            None => (JobState::Running, self.0.asked.elapsed()),
            Some((Outcome::Done, elapsed)) => (JobState::Done, *elapsed),
            Some((Outcome::Failed(error), elapsed)) => {
                (JobState::Failed { kind: error.kind(), reason: error.to_string() }, *elapsed)
            }
            Some((Outcome::Cancelled, elapsed)) => (JobState::Cancelled, *elapsed),
        };
        let progress = match outcome {
            None => self.0.worker.progress(),
            Some(_) => Progress { phase: "ended", done: 0, total: 0 },
        };
        let Progress { phase, done, total } = progress;
        JobInfo {
            id: self.0.id,
            kind: self.0.kind,
            collection: self.0.collection.clone(),
            state,
            phase: phase.to_owned(),
            done,
            total,
            seconds: elapsed.as_secs_f64(),
        }
    }

    /// Waits until the job has ended.
    ///
    /// # Errors
    /// The error of a failed job, or [`Error::JobCancelled`].
    pub fn wait(&self) -> Result<()> {
        let mut ended = self.lock();
        loop {
            if let Some((outcome, _)) = &*ended {
                return match outcome {
                    Outcome::Done => Ok(()),
                    Outcome::Failed(error) => Err(error.share()),
                    Outcome::Cancelled => Err(Error::JobCancelled { id: self.0.id }),
                };
            }
            ended = self.0.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for at most `time`; returns whether the job has ended.
    pub fn wait_for(&self, time: Duration) -> bool {
        let goes_on = |outcome: &mut Option<_>| outcome.is_none();
        let woken = self.0.changed.wait_timeout_while(self.lock(), time, goes_on);
        woken.unwrap_or_else(PoisonError::into_inner).0.is_some()
    }

    /// Requests cancellation. Completed steps are kept, and all data stays consistent.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
        self.0.worker.cancelled();
    }

    /// The job's kind.
    pub fn kind(&self) -> JobKind {
        self.0.kind
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// Whether the job is done, failed or cancelled.
    pub fn has_ended(&self) -> bool {
        self.lock().is_some()
    }

    /// Ends the job; `Ok(false)` means cancelled.
    pub(crate) fn end(&self, outcome: Result<bool>) {
        let outcome = match outcome {
            Ok(true) => Outcome::Done,
            Ok(false) => Outcome::Cancelled,
            Err(error) => Outcome::Failed(Arc::new(error)),
        };
        let mut ended = self.lock();
        if ended.is_none() {
            *ended = Some((outcome, self.0.asked.elapsed()));
        }
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Outcome, Duration)>> {
        self.0.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The jobs of a database, by id: running ones and the last ended ones.
#[derive(Debug, Default)]
pub struct Jobs {
    next: AtomicU64,
    known: Mutex<BTreeMap<u64, Job>>,
}

impl Jobs {
    /// Registers a new job.
    pub fn begin(&self, kind: JobKind, collection: &str, worker: Box<dyn Worker>) -> Job {
        let id = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let job = Job(Arc::new(Inner {
            id,
            kind,
            collection: collection.to_owned(),
            asked: Instant::now(),
            cancelled: AtomicBool::new(false),
            worker,
            outcome: Mutex::default(),
            changed: Condvar::new(),
        }));
        let mut known = self.lock();
        known.insert(id, job.clone());
        let ended: Vec<u64> =
            known.iter().filter(|(_, job)| job.has_ended()).map(|(&id, _)| id).collect();
        for id in ended.iter().take(ended.len().saturating_sub(REMEMBERED)) {
            known.remove(id);
        }
        job
    }

    /// The job with this id, if known.
    pub fn get(&self, id: u64) -> Option<Job> {
        self.lock().get(&id).cloned()
    }

    /// All known jobs, oldest first.
    pub fn all(&self) -> Vec<Job> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Job>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In the second of four merges; records whether it was cancelled.
    #[derive(Clone, Default)]
    struct Merging(Arc<AtomicBool>);

    impl Worker for Merging {
        fn progress(&self) -> Progress {
            Progress { phase: "merging", done: 1, total: 4 }
        }

        fn cancelled(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn jobs_end_once_and_say_how() {
        let (jobs, worker) = (Jobs::default(), Merging::default());
        let [done, failed, cancelled] = [JobKind::Optimize, JobKind::Train, JobKind::Optimize]
            .map(|kind| jobs.begin(kind, "c", Box::new(worker.clone())));
        assert_eq!((done.id(), failed.id(), cancelled.id()), (1, 2, 3));
        let info = done.info();
        let progress = (info.phase.as_str(), info.done, info.total);
        assert_eq!((info.state, progress), (JobState::Running, ("merging", 1, 4)));
        assert!(!done.wait_for(Duration::ZERO));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| done.wait());
            done.end(Ok(true));
            waiting.join().unwrap().unwrap();
        });
        done.end(Err(Error::Closing));
        assert_eq!(done.info().state, JobState::Done, "the first outcome counts");
        failed.end(Err(Error::Closing));
        assert!(matches!(failed.wait(), Err(Error::Closing)));
        let JobState::Failed { kind, reason } = failed.info().state else { panic!("it failed") };
        assert_eq!((kind, reason), (ErrorKind::Unavailable, Error::Closing.to_string()));
        assert!(!worker.0.load(Ordering::Relaxed));
        cancelled.cancel();
        assert!(worker.0.load(Ordering::Relaxed));
        assert!(cancelled.is_cancelled() && !cancelled.has_ended(), "it ends when it can");
        cancelled.end(Ok(false));
        assert!(matches!(cancelled.wait(), Err(Error::JobCancelled { id: 3 })));
    }

    #[test]
    fn the_last_jobs_are_remembered_and_those_that_run() {
        let jobs = Jobs::default();
        let begin = |kind| jobs.begin(kind, "c", Box::<Merging>::default());
        let running = begin(JobKind::Optimize);
        for _ in 0..300 {
            begin(JobKind::Train).end(Ok(true));
        }
        let known: Vec<u64> = jobs.all().iter().map(Job::id).collect();
        assert_eq!((known.len(), known[0]), (2 + REMEMBERED, running.id()));
        assert!(jobs.get(2).is_none() && jobs.get(301).is_some());
    }
}
