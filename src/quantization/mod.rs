//! Quantization: small codes that preserve the ranking.
//!
//! [`lvq`] quantizes the elements of a vector to 8 or 4 bits; [`leanvec`] first reduces its
//! dimension by maps learned from the vectors and, if there is a sample, the queries. A [`Codec`]
//! combines the two; [`train`] learns one, and its [`CodecReport`] has the measurements, with the
//! [ladder](Rung) of codes that were tried.
//!
//! This module deals in rows of numbers, not segments: `segment` stores codes, `query` scans them.

mod centroids;
mod codec;
mod coded_map;
mod expected;
mod fit;
mod judge;
pub mod leanvec;
pub mod lvq;
mod nearest_centroid;
mod planes;
mod random;
mod row_distances;
mod secondary;
mod spread;
mod training;

pub use centroids::{CentroidReport, Centroids, TrainedCentroids};
pub use codec::{Codec, CodecSettings, PrimaryQuery};
pub use expected::ExpectedQueries;
pub use fit::fits;
pub(crate) use judge::digest;
pub(crate) use leanvec::map_rows as products;
pub(crate) use random::{hash, stratified};
pub use row_distances::{RowDistances, RowQuery};
pub use secondary::SecondaryQuery;
pub(crate) use spread::centred;
pub use training::{
    CodecReport, Rung, TrainedCodec, Training, TrainingSample, is_held_out, sample_rows, train,
    train_unless,
};
