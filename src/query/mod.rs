//! Queries: what is asked, and how a snapshot answers it.
//!
//! A query is validated into a plan, the snapshot is cut into ranges of rows that are scored on
//! all cores, and the best of each range are merged. Every live row that has the queried field is
//! scored: by its vector, or where the field is compressed by its codes, after which the best
//! candidates are scored again by something better.

mod bound;
mod calibrate;
mod calibration_sample;
mod deadline;
mod examples;
mod executor;
mod explain;
mod facet;
mod fusion;
mod grouping;
mod paging;
mod pieces;
mod plan;
mod request;
mod rescore;
mod scorer;
mod search;
mod second_stage;
mod threads;
mod top_k;
mod truth;
mod view_filter;
mod view_plan;

pub(crate) use calibrate::Subject;
pub(crate) use calibration_sample::{CalibrationSample, KnownQueries};
pub use deadline::{CancelToken, Deadline};
pub(crate) use executor::Note;
pub(crate) use facet::facet;
pub use facet::{FacetRequest, FacetResponse, ValueCount};
pub(crate) use fusion::fuse;
pub use fusion::{FusionRequest, FusionResponse};
pub(crate) use grouping::group;
pub use grouping::{GroupRequest, GroupResponse, HitGroup};
pub(crate) use pieces::Ground;
pub use request::{
    Explanation, Hit, Query, QueryParams, QueryRequest, QueryResponse, Rescore, Stage,
};
pub(crate) use threads::QueryThreads;
