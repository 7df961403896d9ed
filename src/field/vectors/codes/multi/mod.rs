//! The parts specific to multi fields: encodings, from which primary codes are made, codes of all
//! vectors, and lists of the centroids nearest to them.

mod centroids;
mod encoder;
mod tokens;

pub use centroids::Probed;
pub(super) use centroids::{CentroidLists, NewLists};
pub use encoder::FieldEncoder;
pub use tokens::TokenStore;
pub(super) use tokens::{token_code, token_codec};
