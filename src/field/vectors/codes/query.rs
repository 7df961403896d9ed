//! A query as the codes of a segment are scored for it.

use std::sync::Arc;

use crate::multivector::CentroidQuery;
use crate::quantization::PrimaryQuery;

/// A query as the codes of a segment are scored for it.
#[derive(Debug, Clone)]
pub enum FieldQuery {
    /// For primary codes, of vectors or of encodings.
    Primary(PrimaryQuery),
    /// For the centroids of tokens.
    Centroids(Arc<CentroidQuery>),
}

impl FieldQuery {
    /// The query for primary codes, if it is one: what indexes score.
    pub fn primary(&self) -> Option<&PrimaryQuery> {
        match self {
            Self::Primary(query) => Some(query),
            Self::Centroids(_) => None,
        }
    }
}
