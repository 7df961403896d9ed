//! Jobs: how far they are, and waiting for them.

use std::sync::{Mutex, PoisonError};

use lanner::{ErrorKind, JobInfo, JobState};
use pyo3::prelude::*;

use crate::calls::Calls;
use crate::errors::Result;

/// Id, kind, collection, state, reason, phase, done, total and seconds.
pub type JobParts =
    (u64, &'static str, String, &'static str, Option<String>, String, u64, u64, f64);

/// The parts of a job.
pub fn to_parts(job: &JobInfo) -> JobParts {
    let (state, reason) = match &job.state {
        JobState::Running => ("running", None),
        JobState::Done => ("done", None),
        JobState::Failed { reason, .. } => ("failed", Some(reason.clone())),
        JobState::Cancelled => ("cancelled", None),
    };
    let (kind, collection, phase) = (job.kind.as_str(), job.collection.clone(), job.phase.clone());
    (job.id, kind, collection, state, reason, phase, job.done, job.total, job.seconds)
}

/// Waits for a job, and tells `progress` now and then how far it is. What raises an exception meanwhile
/// (Ctrl-C) cancels the job.
pub fn wait(
    calls: &Calls,
    py: Python<'_>,
    id: u64,
    progress: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let latest = Mutex::new(None);
    let note = |job: &JobInfo| {
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(to_parts(job));
    };
    let work = |backend: &dyn lanner_client::Backend| -> Result<()> {
        let job = backend.jobs()?.into_iter().find(|job| job.id == id);
        let job = job.ok_or(lanner::Error::JobNotFound { id })?;
        let waited = backend.wait_for(&job, &mut |job| note(job));
        match waited {
            // Nobody waits any more: the job was asked for by this call.
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                let endless = backend.within(lanner_client::Limits::default());
                // It may have ended by itself.
                let _ = endless.cancel(id);
                Err(error)
            }
            waited => waited,
        }
    };
    let look = |py: Python<'_>| {
        let parts = latest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(parts), Some(progress)) = (parts, progress) else { return Ok(()) };
        progress.call1((parts.into_pyobject(py)?,)).map(drop)
    };
    calls.watched(py, work, look, lanner::CancelToken::cancel)
}
