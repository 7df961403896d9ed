//! What is asked and what is answered.

use crate::model::{Filter, Include, Point, PointId, Vector};

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
    /// Which points may be hits; all if not set.
    pub filter: Option<Filter>,
    /// Number of hits to return.
    pub limit: usize,
    /// Number of best hits to leave out.
    pub offset: usize,
    /// The score that a hit needs, by its final score (that of `rescore`, if set). Where codes are
    /// scanned, hits are found among the candidates that are re-ranked, so `rerank` bounds their
    /// number.
    pub score_threshold: Option<f32>,
    /// Which parts of the points to return.
    pub include: Include,
    /// How to search.
    pub params: QueryParams,
    /// What orders the hits, if it is not what finds them.
    pub rescore: Option<Rescore>,
    /// Whether to say how the answer came about.
    pub explain: bool,
}

/// The second stage of a query: the points that the first one finds are scored again, in another
/// field, and hits are the best by that score. Points without a vector there are left out.
///
/// The first stage finds as many points as are asked for here, in the way its `params` say; the
/// second scores each by what is best of it: its secondary codes or its vectors, or with `exact`
/// always its vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Rescore {
    /// The vector field that is scored.
    pub field: String,
    /// What it is scored with; points named here are left out of the hits, too.
    pub query: Query,
    /// So many points of the first stage are scored: from `limit + offset` to 100,000.
    pub candidates: usize,
}

/// How to search a compressed field.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QueryParams {
    /// Compare with every vector itself, not with codes.
    pub exact: bool,
    /// So many candidates of the scan of codes are compared with better codes or the vectors
    /// themselves. If not set: four times the hits (or candidates of `rescore`) that are asked for,
    /// and at least 50.
    pub rerank: Option<usize>,
    /// How far an index is searched: rows of a graph that are expanded, or lists that are scanned.
    /// If not set, as far as the target recall takes.
    pub search_window: Option<usize>,
    /// The share of the exact nearest points that an index has to find, from 0.5 to 0.999; 0.98 if
    /// not set. What it takes was measured on sample queries when the index was built.
    pub target_recall: Option<f32>,
}

/// What to search for.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// This vector or multi-vector.
    Vector(Vector),
    /// The vector of this point, which is itself left out of the hits.
    Point(PointId),
    /// What is like the positive and unlike the negative points, which are left out of the hits;
    /// for single-vector fields. The query is the mean of the positive points, moved away from
    /// that of the negative ones: p + (p − n).
    Recommend {
        /// At least one; with the negative ones at most 1,000.
        positive: Vec<PointId>,
        /// May be empty.
        negative: Vec<PointId>,
    },
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
        let params = QueryParams::default();
        Self {
            field,
            query,
            filter: None,
            limit: 10,
            offset: 0,
            score_threshold: None,
            include: Include::NOTHING,
            params,
            rescore: None,
            explain: false,
        }
    }

    /// Finds only points that match this.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter: Some(filter), ..self }
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

    /// Returns only hits that score so much or more.
    #[must_use]
    pub fn score_threshold(self, score: f32) -> Self {
        Self { score_threshold: Some(score), ..self }
    }

    /// Compares with every vector itself, also where there are codes.
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.params.exact = true;
        self
    }

    /// Compares so many candidates of a scan of codes with something better.
    #[must_use]
    pub fn rerank(mut self, candidates: usize) -> Self {
        self.params.rerank = Some(candidates);
        self
    }

    /// Searches an index so far; see [`QueryParams::search_window`].
    #[must_use]
    pub fn search_window(mut self, window: usize) -> Self {
        self.params.search_window = Some(window);
        self
    }

    /// Searches an index as far as this recall takes; see [`QueryParams::target_recall`].
    #[must_use]
    pub fn target_recall(mut self, recall: f32) -> Self {
        self.params.target_recall = Some(recall);
        self
    }

    /// Orders the `candidates` best points by their score with `query` in another field.
    ///
    /// ```
    /// use lanner::{MultiVector, QueryRequest};
    ///
    /// # fn main() -> Result<(), lanner::InvalidInput> {
    /// let tokens = MultiVector::from_rows(&[[0.6, 0.8], [1.0, 0.0]])?;
    /// let request = QueryRequest::new("text", vec![0.1, 0.2, 0.3]).rescore("tokens", tokens, 100);
    /// # let _ = request;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn rescore(
        self,
        field: impl Into<String>,
        query: impl Into<Query>,
        candidates: usize,
    ) -> Self {
        let rescore = Rescore { field: field.into(), query: query.into(), candidates };
        Self { rescore: Some(rescore), ..self }
    }

    /// Says how the answer came about, too.
    #[must_use]
    pub fn explain(self) -> Self {
        Self { explain: true, ..self }
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
    /// The share of the exact nearest points that the hits are expected to hold: a lower confidence
    /// bound, measured on sample queries; 1 for an exact answer over vectors. `None` if nothing was
    /// measured for such a query yet. With `rescore` it is about the candidates.
    pub estimated_recall: Option<f32>,
    /// How the answer came about, if the request asked.
    pub explanation: Option<Explanation>,
}

/// How an answer came about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explanation {
    /// What was done, in order. Queries of a batch that ask the same field share their scan.
    pub stages: Vec<Stage>,
}

/// A part of the work for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `filter`, `scan`, `search` (of an index), `rerank` or `rescore` (in another field).
    pub name: String,
    /// What was read: `vectors`, codes as in `codes lvq4:256:pca`, or an index over them, as in
    /// `graph lvq4:256:pca, window 16`. Of a filter how it was used: the rows that match were
    /// `gathered` and scored, rows that were scored were `checked`, or an index was `traversed` and
    /// what it found checked; and `payloads`, if it names paths that are not declared: then these were
    /// read, in the time of the other stages.
    pub source: String,
    /// Rows that were scored; of a filter, rows that are expected to match, and payloads that were read.
    pub rows: u64,
    /// Bytes that were read for them.
    pub bytes: u64,
    /// Time it took, in microseconds; scans of several sources run together and share theirs.
    pub micros: u64,
}
