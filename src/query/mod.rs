//! Queries: requests, and their execution on a snapshot.
//!
//! A request is validated, then planned for each view. Views are searched through their index, or
//! scanned in ranges of rows on all cores, by primary codes where the field is compressed and by
//! vectors otherwise. The best candidates by codes are then re-ranked with secondary codes or
//! vectors.

mod bound;
mod calibrate;
mod calibration_sample;
mod deadline;
mod early_stop;
mod examples;
mod executor;
mod explain;
mod facet;
mod fusion;
mod grouping;
mod highlight;
mod normalization;
mod paging;
mod pieces;
mod plan;
mod request;
mod rerank;
mod rescore;
mod scorer;
mod search;
mod second_stage;
mod text;
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
pub use fusion::{FusionMethod, FusionRequest, FusionResponse};
pub(crate) use grouping::group;
pub use grouping::{GroupRequest, GroupResponse, HitGroup};
pub use highlight::{Fragment, Highlight};
pub use normalization::Normalization;
pub(crate) use pieces::Ground;
pub use request::{
    Explanation, Hit, Query, QueryParams, QueryRequest, QueryResponse, Rescore, Stage,
};
pub(crate) use threads::QueryThreads;
