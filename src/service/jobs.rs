//! `JobService`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use super::door::Caller;
use super::proto::job_service_server::JobService;
use super::proto::{
    self, CancelJobRequest, CancelJobResponse, GetJobRequest, GetJobResponse, ListJobsRequest,
    ListJobsResponse, WatchJobRequest, WatchJobResponse,
};
use super::{blocking, status};
use crate::{Database, ErrorKind, Job, JobInfo, JobKind, JobState};

/// How often a job that is watched is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// The service on a database.
pub struct JobsOf {
    pub database: Arc<Database>,
    /// Turns true when open streams should end.
    pub stopping: watch::Receiver<bool>,
}

impl JobsOf {
    /// A job whose collection the caller reaches; others do not exist for it.
    fn job(&self, caller: &Caller, id: u64) -> Result<Job, Status> {
        let job = self.database.job(id).map_err(|error| status::from_error(&error))?;
        match caller.access().reaches(job.collection()) {
            true => Ok(job),
            false => Err(status::from_error(&crate::Error::JobNotFound { id })),
        }
    }
}

#[tonic::async_trait]
impl JobService for JobsOf {
    async fn get_job(
        &self,
        request: Request<GetJobRequest>,
    ) -> Result<Response<GetJobResponse>, Status> {
        let caller = Caller::of(&request)?;
        let job = self.job(&caller, request.into_inner().id)?;
        let info = blocking(move || Ok(job.info())).await?;
        Ok(Response::new(GetJobResponse { job: Some(from_info(info)) }))
    }

    async fn list_jobs(
        &self,
        request: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let mut jobs = self.database.jobs();
        jobs.retain(|job| caller.access().reaches(job.collection()));
        let infos = blocking(move || Ok(jobs.iter().map(Job::info).collect::<Vec<_>>())).await?;
        Ok(Response::new(ListJobsResponse { jobs: infos.into_iter().map(from_info).collect() }))
    }

    type WatchJobStream = ReceiverStream<Result<WatchJobResponse, Status>>;

    async fn watch_job(
        &self,
        request: Request<WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let caller = Caller::of(&request)?;
        let job = self.job(&caller, request.into_inner().id)?;
        let (answers, stream) = mpsc::channel(1);
        let mut stopping = self.stopping.clone();
        tokio::spawn(async move {
            let mut told = None;
            loop {
                let looked_at = job.clone();
                let info = match blocking(move || Ok(looked_at.info())).await {
                    Ok(info) => info,
                    Err(status) => return drop(answers.send(Err(status)).await),
                };
                let now = (info.state.clone(), info.phase.clone(), info.done, info.total);
                let has_ended = info.state != JobState::Running;
                if told.as_ref() != Some(&now) {
                    let answer = WatchJobResponse { job: Some(from_info(info)) };
                    if answers.send(Ok(answer)).await.is_err() {
                        return;
                    }
                    told = Some(now);
                }
                tokio::select! {
                    _ = std::future::ready(()), if has_ended => return,
                    () = tokio::time::sleep(WATCH_EVERY) => {}
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                    () = answers.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn cancel_job(
        &self,
        request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        let caller = Caller::of(&request)?;
        self.job(&caller, request.into_inner().id)?.cancel();
        Ok(Response::new(CancelJobResponse {}))
    }
}

/// A job as a message.
pub fn from_info(info: JobInfo) -> proto::Job {
    let kind = match info.kind {
        JobKind::Optimize => proto::JobKind::Optimize,
        JobKind::Train => proto::JobKind::Train,
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

/// A job from a message.
///
/// # Errors
/// If the message has a kind or a state that this version does not know.
pub fn to_info(job: proto::Job) -> crate::Result<JobInfo> {
    let unknown = |what: &str| crate::Error::Internal(format!("a job of an unknown {what}"));
    let kind = match job.kind() {
        proto::JobKind::Optimize => JobKind::Optimize,
        proto::JobKind::Train => JobKind::Train,
        proto::JobKind::Unspecified => return Err(unknown("kind")),
    };
    let state = match job.state() {
        proto::JobState::Running => JobState::Running,
        proto::JobState::Done => JobState::Done,
        proto::JobState::Cancelled => JobState::Cancelled,
        proto::JobState::Failed => {
            let proto::JobFailure { code, reason } = job.failure.unwrap_or_default();
            JobState::Failed { kind: kind_of(Code::from_i32(code)), reason }
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

fn kind_of(code: Code) -> ErrorKind {
    match code {
        Code::InvalidArgument => ErrorKind::InvalidArgument,
        Code::NotFound => ErrorKind::NotFound,
        Code::ResourceExhausted => ErrorKind::ResourceExhausted,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DataLoss => ErrorKind::Corrupted,
        _ => ErrorKind::Internal,
    }
}

#[cfg(test)]
mod tests {
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
            for kind in [JobKind::Optimize, JobKind::Train] {
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
