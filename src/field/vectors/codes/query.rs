//! A query, prepared for the codes of a segment.

use std::sync::Arc;

use crate::multivector::CentroidQuery;
use crate::quantization::PrimaryQuery;

/// A query, prepared for the codes of a segment.
#[derive(Debug, Clone)]
pub enum FieldQuery {
    /// For primary codes of vectors or encodings.
    Primary(PrimaryQuery),
    /// For token centroids.
    Centroids(Arc<CentroidQuery>),
}

impl FieldQuery {
    /// The query for primary codes, which indexes score, if it is one.
    pub fn primary(&self) -> Option<&PrimaryQuery> {
        match self {
            Self::Primary(query) => Some(query),
            Self::Centroids(_) => None,
        }
    }
}
