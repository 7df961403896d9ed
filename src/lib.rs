//! Lanner is a vector search engine for single- and multi-vector embeddings.
//!
//! Points have named vectors and a JSON payload, and live in collections of a [`Database`], a
//! folder that one process owns. Writes are durable when they return and visible to the next
//! query. This crate is the engine; `lanner-server` puts it behind gRPC, and `lanner-client` has one
//! interface for a database of this process and one behind a server.
//!
//! ```
//! use lanner::{CollectionConfig, Database, Metric, MultiVector, Payload, Point, QueryRequest};
//! use lanner::VectorField;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! let database = Database::open(path)?;
//! let config = CollectionConfig::new()
//!     .with_field("text", VectorField::single(3, Metric::Cosine))
//!     .with_field("tokens", VectorField::multi(2, Metric::Dot));
//! let books = database.create_collection("books", config)?;
//!
//! books.upsert([
//!     Point::new("moby-dick")
//!         .with_vector("text", vec![0.9, 0.1, 0.0])
//!         .with_vector("tokens", MultiVector::from_rows(&[[1.0, 0.0], [0.6, 0.8]])?)
//!         .with_payload(Payload::parse(r#"{"title": "Moby-Dick", "year": 1851}"#)?),
//!     Point::new("emma").with_vector("text", vec![0.1, 0.9, 0.2]),
//! ])?;
//!
//! // One vector: the cosine, higher is better.
//! let answer = books.query(&QueryRequest::new("text", vec![1.0, 0.0, 0.0]).with_payload())?;
//! assert_eq!(answer.hits[0].point.id, "moby-dick".into());
//!
//! // Many vectors: MaxSim. Points without tokens are not scored.
//! let query = MultiVector::from_rows(&[[1.0, 0.0], [0.0, 1.0]])?;
//! let answer = books.query(&QueryRequest::new("tokens", query))?;
//! assert_eq!(answer.hits.len(), 1);
//! assert_eq!(answer.hits[0].score, 1.0 + 0.8);
//! # Ok(())
//! # }
//! ```
//!
//! # Tasks
//! - **Create**: [`DatabaseOptions`], [`Database::create_collection`], [`CollectionConfig`], [`VectorField`].
//! - **Write**: [`Collection::upsert`], [`Collection::batch`], [`Collection::delete`];
//!   [`Collection::update_payloads`], [`Collection::update_vectors`]; [`Durability`].
//! - **Query**: [`Collection::query`], [`QueryRequest`], [`FusionRequest`], [`GroupRequest`],
//!   [`Filter`].
//! - **Browse**: [`Collection::scroll`], [`Collection::scroll_ordered`], [`Collection::facet`].
//! - **Tune**: [`Compression`], [`IndexSettings`], [`Collection::start_train`],
//!   [`Collection::start_optimize`]; [`Collection::info`] reports the result.
//! - **Attend**: [`attention`], an index of the keys of a KV cache.
//! - **Repair**: [`Collection::verify`], [`Database::repair`].

// No input from users, files or the network may cause a panic.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(target_endian = "big")]
compile_error!("Lanner's files are little-endian and mapped as they are");

pub mod attention;
mod collection;
mod database;
mod error;
mod field;
mod index;
mod jobs;
mod kernels;
mod model;
mod multivector;
mod quantization;
mod query;
mod segment;
mod threads;

pub use collection::{
    Collection, CollectionInfo, Durability, IndexStatus, OrderedPage, OrderedScroll, PageRoom,
    QueryStatistics, ScrollPage, SegmentInfo, SegmentOptions, UpdateReceipt, WriteReceipt,
};
pub use database::{CollectionRepair, Database, DatabaseOptions, RepairReport};
pub use error::{Error, ErrorKind, Result};
pub use field::{FileMemory, IndexReport, SegmentFile};
pub use index::{Calibration, CalibrationPoint, Choice, Depth, Margin, Outside, Zone};
pub use jobs::{Job, JobInfo, JobKind, JobState};
pub use model::{
    Analyzer, Bounds, CodeSettings, CollectionConfig, Compression, Direction, ElementType,
    Encoding, Entry, Exhausted, FdeSettings, Filter, FilterValue, Generator, GraphSettings,
    Include, IndexKind, IndexSetting, IndexSettings, InvalidInput, Language, ListSettings, LvqCode,
    Memory, MemoryBudget, Metric, MultiVector, Occur, OrderBy, OrderPlace, Payload, PayloadType,
    PayloadUpdate, Point, PointBatch, PointBatchBuilder, PointId, Primary, Problem,
    ReductionMethod, Secondary, Selection, SettingValue, SparseVector, TextClause, TextField,
    TextPattern, TextQuery, TrainingQueries, Vector, VectorField, VectorKind, VectorRef, limits,
    validate_name,
};
pub use quantization::{CentroidReport, CodecReport, Rung};
pub use query::{
    CancelToken, Deadline, Explanation, FacetRequest, FacetResponse, Fragment, FusionMethod,
    FusionRequest, FusionResponse, GroupRequest, GroupResponse, Highlight, Hit, HitGroup,
    Normalization, Query, QueryParams, QueryRequest, QueryResponse, Rescore, Stage, ValueCount,
};

/// Internals for this repository's own tests and benchmarks. They change without notice.
#[doc(hidden)]
pub mod internals {
    pub mod kernels {
        //! Arithmetic on slices.
        pub use crate::kernels::*;
    }

    pub use crate::index::BuildProgress;
    pub use crate::multivector::encoding::fde;
    pub use crate::multivector::max_sim;
    pub use crate::multivector::{TokenCode, TokenCodec, TokenScorer, pool_tokens};
    pub use crate::quantization::leanvec;
    pub use crate::quantization::{Centroids, Codec, Training, TrainingSample, train};
    pub use crate::segment::{
        BuildPlan, BuildSource, MutableReader, MutableSegment, SealedSegment, SegmentReader,
        build_segment,
    };
}
