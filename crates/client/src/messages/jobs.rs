//! Jobs ↔ messages.

use lanner::{JobInfo, JobKind, JobState};
use tonic::Code;

use crate::{proto, status};

/// The message of a job.
pub fn from_info(info: JobInfo) -> proto::Job {
    let kind = match info.kind {
        JobKind::Optimize => proto::JobKind::Optimize,
        JobKind::Train => proto::JobKind::Train,
        JobKind::Verify => proto::JobKind::Verify,
        JobKind::Declare => proto::JobKind::Declare,
    };
    let (state, failure) = match info.state {
        JobState::Running => (proto::JobState::Running, None),
        JobState::Done => (proto::JobState::Done, None),
        JobState::Cancelled => (proto::JobState::Cancelled, None),
        JobState::Failed { kind, reason } => {
            let code = status::code(kind) as i32;
            (proto::JobState::Failed, Some(proto::JobFailure { code, reason }))
        }
    };
    proto::Job {
        id: info.id,
        kind: kind.into(),
        collection: info.collection,
        state: state.into(),
        phase: info.phase,
        done: info.done,
        total: info.total,
        seconds: info.seconds,
        failure,
    }
}

/// A job from its message.
///
/// # Errors
/// If kind or state are unknown.
pub fn to_info(job: proto::Job) -> lanner::Result<JobInfo> {
    let unknown = |what: &str| lanner::Error::Internal(format!("a job of an unknown {what}"));
    let kind = match job.kind() {
        proto::JobKind::Optimize => JobKind::Optimize,
        proto::JobKind::Train => JobKind::Train,
        proto::JobKind::Verify => JobKind::Verify,
        proto::JobKind::Declare => JobKind::Declare,
        proto::JobKind::Unspecified => return Err(unknown("kind")),
    };
    let state = match job.state() {
        proto::JobState::Running => JobState::Running,
        proto::JobState::Done => JobState::Done,
        proto::JobState::Cancelled => JobState::Cancelled,
        proto::JobState::Failed => {
            let proto::JobFailure { code, reason } = job.failure.unwrap_or_default();
            JobState::Failed { kind: status::kind(Code::from_i32(code)), reason }
        }
        proto::JobState::Unspecified => return Err(unknown("state")),
    };
    Ok(JobInfo {
        id: job.id,
        kind,
        collection: job.collection,
        state,
        phase: job.phase,
        done: job.done,
        total: job.total,
        seconds: job.seconds,
    })
}

#[cfg(test)]
mod tests {
    use lanner::ErrorKind;

    use super::*;

    #[test]
    fn jobs_survive_the_way_through_a_message() {
        let failed = |kind| JobState::Failed { kind, reason: "no space".into() };
        for state in [
            JobState::Running,
            JobState::Done,
            JobState::Cancelled,
            failed(ErrorKind::Unavailable),
            failed(ErrorKind::Corrupted),
            failed(ErrorKind::NotFound),
        ] {
            for kind in [JobKind::Optimize, JobKind::Train, JobKind::Verify, JobKind::Declare] {
                let info = JobInfo {
                    id: 7,
                    kind,
                    collection: "c".into(),
                    state: state.clone(),
                    phase: "merging".into(),
                    done: 3,
                    total: 9,
                    seconds: 1.5,
                };
                assert_eq!(to_info(from_info(info.clone())).unwrap(), info);
            }
        }
        assert!(to_info(proto::Job::default()).is_err());
    }
}
