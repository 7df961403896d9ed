//! Quantization: small codes that keep the ranking.
//!
//! [`lvq`] turns the elements of a vector into 8 or 4 bits; [`leanvec`] first reduces its
//! dimensions by maps that are learned from the vectors and, if there is a sample, from the
//! queries. A [`Codec`] puts the two together; [`train`] learns one, and its [`CodecReport`] says
//! what was measured, with the [ladder](Rung) of codes that were tried.
//!
//! The room knows rows of numbers, not segments: `segment` stores codes, `query` scans them.

mod centroids;
mod codec;
mod coded_map;
mod fit;
mod judge;
pub mod leanvec;
pub mod lvq;
mod planes;
mod random;
mod row_distances;
mod secondary;
mod spread;
mod training;

pub use centroids::Centroids;
pub use codec::{Codec, CodecSettings, PrimaryQuery};
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
