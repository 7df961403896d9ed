//! Requests and responses of top-k queries.

use super::highlight::{Fragment, Highlight};
use crate::model::{Filter, Include, Point, PointId, TextQuery, Vector};

/// A top-k query on one vector or text field.
///
/// ```
/// use lanner::QueryRequest;
///
/// let request = QueryRequest::new("text", vec![0.1, 0.2, 0.3]).limit(5).with_payload();
/// # let _ = request;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRequest {
    /// The vector or text field to search.
    pub field: String,
    /// The query vector, the points it is made from, or the words for a text field.
    pub query: Query,
    /// Restricts the hits to matching points; no restriction if not set.
    pub filter: Option<Filter>,
    /// Number of hits to return.
    pub limit: usize,
    /// Number of best hits to skip.
    pub offset: usize,
    /// Minimum score of a hit, compared with the final score (that of `rescore`, if set). Where
    /// codes are scanned, only re-ranked candidates can be hits, so `rerank` bounds their number.
    pub score_threshold: Option<f32>,
    /// Parts of the points to return.
    pub include: Include,
    /// Search parameters.
    pub params: QueryParams,
    /// Second stage that rescores the candidates in another field.
    pub rescore: Option<Rescore>,
    /// Also return fragments of the texts of hits around what the words of the query found, those
    /// of the first stage, or else of the second.
    pub highlight: Option<Highlight>,
    /// Also return an [`Explanation`].
    pub explain: bool,
}

/// The second stage of a query: rescores the candidates of the first stage in another field and
/// ranks the hits by that score. Candidates without a vector in that field are dropped.
///
/// The first stage searches as its `params` say. The second scores with secondary codes where the
/// field has them, otherwise with the vectors; with `exact` always with the vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Rescore {
    /// The vector or text field to score.
    pub field: String,
    /// The query in that field; points named here are also excluded from the hits.
    pub query: Query,
    /// Number of first-stage candidates to score: `limit + offset` to 100,000.
    pub candidates: usize,
}

/// Search parameters; they only matter for fields with codes or an index.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct QueryParams {
    /// Score all vectors (brute force), without codes or index.
    pub exact: bool,
    /// Number of candidates found by primary codes that are re-ranked with secondary codes or
    /// vectors. If not set, chosen by calibration; without one at least four times the hits (or
    /// candidates of `rescore`), and at least 50.
    pub rerank: Option<usize>,
    /// Search window of an index: rows of a graph to expand, or IVF lists to scan. If not set,
    /// chosen for the target recall.
    pub search_window: Option<usize>,
    /// Target recall of an index search against exact search, 0.5 to 0.999; 0.98 if not set. The
    /// search window and the re-ranking budget that reach it are calibrated on sample queries when
    /// the index is built.
    pub target_recall: Option<f32>,
}

/// The query of a search.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// A vector or multi-vector.
    Vector(Vector),
    /// The vector of this point, which is itself excluded from the hits.
    Point(PointId),
    /// Similar to the positive and dissimilar to the negative points, all of which are excluded
    /// from the hits; for single-vector fields. The query is p + (p − n), where p and n are the
    /// means of the positive and the negative points.
    Recommend {
        /// At least one; together with the negative ones at most 1,000.
        positive: Vec<PointId>,
        /// May be empty.
        negative: Vec<PointId>,
    },
    /// Words, for a text field.
    Text(TextQuery),
}

impl From<TextQuery> for Query {
    fn from(text: TextQuery) -> Self {
        Self::Text(text)
    }
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
    /// The ten points most similar to `query` in `field`: ids and scores only.
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
            highlight: None,
            explain: false,
        }
    }

    /// Restricts the hits to points that match the filter.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Self {
        Self { filter: Some(filter), ..self }
    }

    /// Sets the number of hits.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Skips the `offset` best hits.
    #[must_use]
    pub fn offset(self, offset: usize) -> Self {
        Self { offset, ..self }
    }

    /// Drops hits with a score below `score`.
    #[must_use]
    pub fn score_threshold(self, score: f32) -> Self {
        Self { score_threshold: Some(score), ..self }
    }

    /// Scores all vectors, even where there are codes; see [`QueryParams::exact`].
    #[must_use]
    pub fn exact(mut self) -> Self {
        self.params.exact = true;
        self
    }

    /// Sets the re-ranking budget; see [`QueryParams::rerank`].
    #[must_use]
    pub fn rerank(mut self, candidates: usize) -> Self {
        self.params.rerank = Some(candidates);
        self
    }

    /// Sets the search window; see [`QueryParams::search_window`].
    #[must_use]
    pub fn search_window(mut self, window: usize) -> Self {
        self.params.search_window = Some(window);
        self
    }

    /// Sets the target recall; see [`QueryParams::target_recall`].
    #[must_use]
    pub fn target_recall(mut self, recall: f32) -> Self {
        self.params.target_recall = Some(recall);
        self
    }

    /// Ranks the `candidates` best points by their score with `query` in another field; see
    /// [`Rescore`].
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

    /// Also returns fragments of the texts of hits; see [`Self::highlight`].
    #[must_use]
    pub fn highlight(self, highlight: Highlight) -> Self {
        Self { highlight: Some(highlight), ..self }
    }

    /// Also returns an [`Explanation`].
    #[must_use]
    pub fn explain(self) -> Self {
        Self { explain: true, ..self }
    }

    /// Also returns payloads.
    #[must_use]
    pub fn with_payload(mut self) -> Self {
        self.include.payload = true;
        self
    }

    /// Also returns vectors.
    #[must_use]
    pub fn with_vectors(mut self) -> Self {
        self.include.vectors = true;
        self
    }
}

/// One result of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Similarity with the query; higher is better for every metric.
    pub score: f32,
    /// The point, with the parts that the request includes.
    pub point: Point,
    /// Fragments of its texts, if the request has a `highlight`: path by path, the best first.
    pub fragments: Vec<Fragment>,
}

impl Hit {
    /// A hit without fragments.
    pub fn new(point: Point, score: f32) -> Self {
        Self { score, point, fragments: Vec::new() }
    }
}

/// The response to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryResponse {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// Sequence number of the last write visible to the query.
    pub sequence: u64,
    /// Recall estimate against exact search: a lower confidence bound calibrated on sample queries,
    /// or 1 for an exact search over vectors. `None` if no calibration covers the query. With
    /// `rescore` it applies to the candidates.
    pub estimated_recall: Option<f32>,
    /// How the query was executed, if the request set `explain`.
    pub explanation: Option<Explanation>,
}

/// How a query was executed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Explanation {
    /// Stages in order of execution. Queries of a batch on the same field share their scan.
    pub stages: Vec<Stage>,
}

/// One stage of a query's execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// `filter`, `scan`, `search` (of an index), `rerank` or `rescore` (in another field).
    pub name: String,
    /// Data read: `vectors`, codes as in `codes lvq4:256:pca`, or an index over them, as in `graph
    /// lvq4:256:pca, window 16`. For a filter, how it was applied: matching rows were `gathered`
    /// and scored, scored rows were `checked`, or an index was `traversed` and its results checked.
    /// `payloads` if the filter names undeclared paths: payloads were then read during the other
    /// stages.
    pub source: String,
    /// Number of rows scored; for a filter, estimated number of matching rows, or of payloads read.
    pub rows: u64,
    /// Number of bytes read.
    pub bytes: u64,
    /// Elapsed time in microseconds; scans of several sources run together and report the same
    /// time.
    pub micros: u64,
}
