//! What codes of a multi field have beside those of a single one: encodings, of which primary codes are made,
//! codes of all vectors, and lists of the centroids that these are near.

mod centroids;
mod encoder;
mod tokens;

pub(super) use centroids::{CentroidLists, MOST_ROWS, NewLists};
pub use encoder::FieldEncoder;
pub use tokens::TokenStore;
pub(super) use tokens::token_code;
