//! `lanner jobs`, and how other commands wait for a job.

use clap::Args;
use indicatif::HumanDuration;

use super::error::Result;
use super::progress;
use super::target::Target;
use lanner::{JobInfo, JobState};
use lanner_client::Backend;

/// List the work that was asked for: what has not ended, and the last that has.
#[derive(Args)]
#[command(after_help = "\
Jobs are begun by `optimize`, `train`, `declare` and `inspect --verify` and live in the server: they go on when the
command that began them ends. What a job had done when it was cancelled stays.

Examples:
  lanner optimize docs --server localhost:7700 --no-wait
  lanner jobs --server localhost:7700
  lanner jobs --server localhost:7700 --wait 3
  lanner jobs --server localhost:7700 --cancel 3")]
pub struct Jobs {
    #[command(flatten)]
    target: Target,
    /// Ask a job to end
    #[arg(long, value_name = "ID", conflicts_with = "wait")]
    cancel: Option<u64>,
    /// Wait for a job
    #[arg(long, value_name = "ID")]
    wait: Option<u64>,
}

impl Jobs {
    pub fn run(self) -> Result<()> {
        let backend = self.target.open()?;
        if let Some(id) = self.cancel {
            return Ok(backend.cancel(id)?);
        }
        let jobs = backend.jobs()?;
        if let Some(id) = self.wait {
            let job = jobs.into_iter().find(|job| job.id == id);
            return wait(&*backend, &job.ok_or(lanner::Error::JobNotFound { id })?);
        }
        for job in &jobs {
            println!("{}", line(job));
        }
        if jobs.is_empty() {
            eprintln!("no jobs");
        }
        Ok(())
    }
}

/// Waits for a job that was begun, with a bar.
pub fn wait(backend: &dyn Backend, job: &JobInfo) -> Result<()> {
    let bar = progress::steps();
    let ended = backend.wait_for(job, &mut |job| {
        bar.set_message(format!("{} {}: {}", job.kind.as_str(), job.collection, job.phase));
        bar.set_length(job.total);
        bar.set_position(job.done.min(job.total));
    });
    bar.finish_and_clear();
    Ok(ended?)
}

/// Waits for a job, or says how to.
pub fn wait_or_name(backend: &dyn Backend, job: &JobInfo, waits: bool) -> Result<()> {
    if waits {
        return wait(backend, job);
    }
    println!("job {}: see `lanner jobs`", job.id);
    Ok(())
}

fn line(job: &JobInfo) -> String {
    let state = match &job.state {
        JobState::Running if job.total > 0 => {
            format!("{} {}%", job.phase, 100 * job.done.min(job.total) / job.total)
        }
        JobState::Running => job.phase.clone(),
        JobState::Done => "done".into(),
        JobState::Failed { reason, .. } => format!("failed: {reason}"),
        JobState::Cancelled => "cancelled".into(),
    };
    let time = HumanDuration(std::time::Duration::from_secs_f64(job.seconds.max(0.0)));
    format!("{}  {}  {}  {time}  {state}", job.id, job.kind.as_str(), job.collection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lanner::{ErrorKind, JobKind};

    #[test]
    fn a_line_says_what_and_how_far() {
        let mut job = JobInfo {
            id: 3,
            kind: JobKind::Optimize,
            collection: "docs".into(),
            state: JobState::Running,
            phase: "merging".into(),
            done: 1,
            total: 3,
            seconds: 61.0,
        };
        assert_eq!(line(&job), "3  optimize  docs  61 seconds  merging 33%");
        job.total = 0;
        assert_eq!(line(&job), "3  optimize  docs  61 seconds  merging");
        job.state = JobState::Failed { kind: ErrorKind::Unavailable, reason: "no space".into() };
        assert_eq!(line(&job), "3  optimize  docs  61 seconds  failed: no space");
    }
}
