//! Lanner is a vector search engine for single- and multi-vector embeddings.
//!
//! Points have named vectors and a JSON payload, and live in collections of a [`Database`], a
//! folder that one process owns. Writes are durable when they return and visible to the next
//! query. This crate is the engine, the gRPC service and the `lanner` program in one; embedded
//! use needs nothing but [`Database::open`].
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
//! # Rooms
//! [`model`] is what users speak: points, vectors, configurations, and what is wrong with input.
//! [`kernels`] and [`multivector`] compute similarities. [`segment`] stores rows, [`collection`]
//! writes and merges them with the help of [`jobs`], [`query`] searches them, and [`database`] holds it
//! all together.
//! [`evaluation`] judges retrieval the BEIR way. [`service`] is gRPC; [`cli`] is the program.

// Nothing that comes from a user, a file or the network may panic.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(target_endian = "big")]
compile_error!("Lanner's files are little-endian and mapped as they are");

pub mod cli;
pub mod collection;
pub mod database;
mod error;
pub mod evaluation;
pub mod index;
pub mod jobs;
pub mod kernels;
pub mod model;
pub mod multivector;
pub mod quantization;
pub mod query;
pub mod segment;
pub mod service;

pub use collection::{
    Collection, CollectionInfo, Durability, IndexStatus, QueryStatistics, ScrollPage, SegmentInfo,
    SegmentOptions, WriteReceipt,
};
pub use database::{CollectionRepair, Database, DatabaseOptions, RepairReport};
pub use error::{Error, ErrorKind, Result};
pub use jobs::{Job, JobInfo, JobKind, JobState};
pub use model::{
    Bounds, CodeSettings, CollectionConfig, Compression, ElementType, Encoding, FdeSettings,
    Filter, FilterValue, Include, IndexKind, IndexSettings, InvalidInput, LvqCode, Memory, Metric,
    MultiVector, Payload, PayloadType, Point, PointId, Primary, ReductionMethod, Secondary,
    TrainingQueries, Vector, VectorField, VectorKind,
};
pub use quantization::{CodecReport, Rung};
pub use query::{
    CancelToken, Deadline, Explanation, FusionRequest, FusionResponse, Hit, Query, QueryParams,
    QueryRequest, QueryResponse, Rescore, Stage,
};
