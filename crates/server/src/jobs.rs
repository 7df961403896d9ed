//! `JobService`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::door::Caller;
use super::{blocking, status};
use lanner::{Database, Job, JobState};
use lanner_client::messages::jobs::from_info;
use lanner_client::proto::job_service_server::JobService;
use lanner_client::proto::{
    CancelJobRequest, CancelJobResponse, GetJobRequest, GetJobResponse, ListJobsRequest,
    ListJobsResponse, WatchJobRequest, WatchJobResponse,
};

/// Polling interval of watched jobs.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// Service implementation.
pub struct JobsOf {
    pub database: Arc<Database>,
    /// Becomes true when open streams should end.
    pub stopping: watch::Receiver<bool>,
}

impl JobsOf {
    /// A job whose collection the caller can access; other jobs do not exist for it.
    fn job(&self, caller: &Caller, id: u64) -> Result<Job, Status> {
        let job = self.database.job(id).map_err(|error| status::from_error(&error))?;
        match caller.access().reaches(job.collection()) {
            true => Ok(job),
            false => Err(status::from_error(&lanner::Error::JobNotFound { id })),
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
