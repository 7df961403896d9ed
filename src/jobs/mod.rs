//! Background work of a database: one scheduler for all collections, with a few threads that run
//! the most urgent piece of work and leave the cores to queries.
//!
//! A collection (`Work`) requests a `Lane` when it may have work there. Each lane runs one piece at
//! a time per collection, and the collection selects it. Failed work is retried after a growing
//! pause (`Backoff`). Work that can be waited for is a [`Job`].

mod backoff;
mod job;
mod merge_policy;
mod scheduler;

pub(crate) use backoff::Backoff;
pub use job::{Job, JobInfo, JobKind, JobState};
pub(crate) use job::{Jobs, Progress, Worker};
pub(crate) use merge_policy::{MergePolicy, REWRITE_DELETED_SHARE, SegmentSize};
pub(crate) use scheduler::{Lane, Next, Scheduler, Work};
