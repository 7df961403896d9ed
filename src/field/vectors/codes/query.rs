//! A query, prepared for the codes of a segment.

use std::sync::Arc;

use crate::multivector::CentroidQuery;
use crate::quantization::PrimaryQuery;

/// A query, prepared for the codes of a segment.
#[derive(Debug, Clone)]
pub struct FieldQuery {
    pub(super) primary: Option<PrimaryQuery>,
    pub(super) centroids: Option<Arc<CentroidQuery>>,
}

impl FieldQuery {
    /// The query for primary codes of vectors or encodings, which indexes score, if the segment has
    /// an index.
    pub fn primary(&self) -> Option<&PrimaryQuery> {
        self.primary.as_ref()
    }

    /// The query for token centroids, to be shared.
    pub fn shared_centroids(&self) -> Option<Arc<CentroidQuery>> {
        self.centroids.clone()
    }

    /// The query for token centroids, which are scored instead of primary codes where there are any.
    pub fn centroids(&self) -> Option<&CentroidQuery> {
        self.centroids.as_deref()
    }
}
