//! The background work of a database: one scheduler for all collections, whose few threads do the most
//! urgent piece of work there is, and leave the cores to queries.
//!
//! Who has work (`Work`) asks for a `Lane` when there may be some. Of one collection a lane does
//! one piece at a time; which one that is the collection itself knows best. What fails is tried again
//! after a pause that grows (`Backoff`). What somebody waits for is a [`Job`].

mod backoff;
mod job;
mod merge_policy;
mod scheduler;

pub(crate) use backoff::Backoff;
pub use job::{Job, JobInfo, JobKind, JobState};
pub(crate) use job::{Jobs, Progress, Worker};
pub(crate) use merge_policy::{MergePolicy, REWRITE_DELETED_SHARE, SegmentSize};
pub(crate) use scheduler::{Lane, Next, Scheduler, Work};
