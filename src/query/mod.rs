//! Queries: what is asked, and how a snapshot answers it.
//!
//! A query is validated into a scorer, the snapshot is cut into ranges of rows that
//! are scored on all cores, and the best of each range are merged. Search is exact: every live
//! row that has the queried field is scored.

mod deadline;
mod executor;
mod request;
mod scorer;
mod top_k;

pub use deadline::Deadline;
pub(crate) use executor::execute;
pub use request::{Hit, Query, QueryRequest, QueryResponse};
