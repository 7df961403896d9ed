//! What is asked and what is answered.

use crate::model::{Include, Point, PointId, Vector};

/// A top-k query on one vector field.
///
/// ```
/// use lanner::QueryRequest;
///
/// let request = QueryRequest::new("text", vec![0.1, 0.2, 0.3]).limit(5).with_payload();
/// # let _ = request;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRequest {
    /// The vector field to search.
    pub field: String,
    /// What to search for.
    pub query: Query,
    /// Number of hits to return.
    pub limit: usize,
    /// Number of best hits to leave out.
    pub offset: usize,
    /// Which parts of the points to return.
    pub include: Include,
}

/// What to search for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Query {
    /// This vector or multi-vector.
    Vector(Vector),
    /// The vector of this point, which is itself left out of the hits.
    Point(PointId),
}

impl From<Vector> for Query {
    fn from(vector: Vector) -> Self {
        Self::Vector(vector)
    }
}

impl From<Vec<f32>> for Query {
    fn from(values: Vec<f32>) -> Self {
        Self::Vector(values.into())
    }
}

impl From<crate::model::MultiVector> for Query {
    fn from(multi: crate::model::MultiVector) -> Self {
        Self::Vector(multi.into())
    }
}

impl From<PointId> for Query {
    fn from(id: PointId) -> Self {
        Self::Point(id)
    }
}

impl QueryRequest {
    /// The ten points most similar to `query` in `field`, ids and scores alone.
    pub fn new(field: impl Into<String>, query: impl Into<Query>) -> Self {
        let (field, query) = (field.into(), query.into());
        Self { field, query, limit: 10, offset: 0, include: Include::NOTHING }
    }

    /// Returns `limit` hits.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Leaves out the `offset` best hits.
    #[must_use]
    pub fn offset(self, offset: usize) -> Self {
        Self { offset, ..self }
    }

    /// Returns payloads, too.
    #[must_use]
    pub fn with_payload(mut self) -> Self {
        self.include.payload = true;
        self
    }

    /// Returns vectors, too.
    #[must_use]
    pub fn with_vectors(mut self) -> Self {
        self.include.vectors = true;
        self
    }
}

/// A point that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its similarity with the query; higher is better for every metric.
    pub score: f32,
    /// The point, with what the request asked for.
    pub point: Point,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryResponse {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// Sequence number of the last write that the answer takes into account.
    pub sequence: u64,
}
