//! Reciprocal rank fusion (RRF): merges several rankings (Cormack, Clarke and Büttcher, SIGIR
//! 2009).
//!
//! The score of a point is the sum of weight / (k + rank) over the queries that find it. Only ranks
//! count, so the queries may use fields of different kinds and metrics.

use std::collections::HashMap;

use super::pieces::Ground;
use super::request::{Explanation, Hit, QueryRequest, QueryResponse};
use crate::error::Result;
use crate::model::{Include, InvalidInput, Point, PointId, Score, check_range, limits};

/// The `k` of the paper, which found it robust across collections.
const DEFAULT_K: f32 = 60.0;

/// Several queries to be fused into one ranking.
///
/// ```
/// use lanner::{FusionRequest, MultiVector, QueryRequest};
///
/// # fn main() -> Result<(), lanner::InvalidInput> {
/// let text = QueryRequest::new("text", vec![0.1, 0.2, 0.3]).limit(100);
/// let tokens = QueryRequest::new("tokens", MultiVector::from_rows(&[[0.6, 0.8]])?).limit(100);
/// let request = FusionRequest::new([text, tokens]).limit(5).with_payload();
/// # let _ = request;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FusionRequest {
    /// 1 to 64 queries. The `limit` of each is the number of its hits that take part; `offset` must
    /// be 0, and `include` and `explain` are ignored in favour of those of this request.
    pub queries: Vec<QueryRequest>,
    /// Weight of each query, 0 (ignored) to 1,000,000; all 1 if not set.
    pub weights: Option<Vec<f32>>,
    /// Number of hits to return.
    pub limit: usize,
    /// Number of best hits to skip.
    pub offset: usize,
    /// The RRF constant `k`, above 0: the larger, the smaller the advantage of the first ranks.
    pub k: f32,
    /// Parts of the points to return.
    pub include: Include,
    /// Also return an [`Explanation`] of each query.
    pub explain: bool,
}

impl FusionRequest {
    /// The ten best points of these queries, ids and scores only, with k = 60 and equal weights.
    pub fn new(queries: impl IntoIterator<Item = QueryRequest>) -> Self {
        Self {
            queries: queries.into_iter().collect(),
            weights: None,
            limit: 10,
            offset: 0,
            k: DEFAULT_K,
            include: Include::NOTHING,
            explain: false,
        }
    }

    /// Sets the weight of each query.
    #[must_use]
    pub fn weights(self, weights: impl IntoIterator<Item = f32>) -> Self {
        Self { weights: Some(weights.into_iter().collect()), ..self }
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

    /// Sets the RRF constant [`k`](Self::k) (default 60).
    #[must_use]
    pub fn k(self, k: f32) -> Self {
        Self { k, ..self }
    }

    /// Also returns explanations.
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

    /// Weight of query `index`.
    fn weight(&self, index: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[index].into())
    }

    fn validate(&self) -> Result<(), InvalidInput> {
        check_range("queries", 1, limits::MAX_FUSED_QUERIES, self.queries.len())?;
        check_range("limit", 1, limits::MAX_QUERY_LIMIT, self.limit)?;
        check_range("offset", 0, limits::MAX_QUERY_LIMIT - self.limit, self.offset)?;
        if !(self.k.is_finite() && self.k > 0.0) {
            let expected = "a finite number above 0";
            return Err(InvalidInput::mismatch("k", expected, self.k));
        }
        if let Some(index) = self.queries.iter().position(|query| query.offset > 0) {
            let (path, expected) = (format!("queries[{index}].offset"), "0 in a query to be fused");
            return Err(InvalidInput::mismatch(path, expected, self.queries[index].offset));
        }
        self.weights.as_ref().map_or(Ok(()), |weights| self.validate_weights(weights))
    }

    fn validate_weights(&self, weights: &[f32]) -> Result<(), InvalidInput> {
        if weights.len() != self.queries.len() {
            let got = format!("{} for {} queries", weights.len(), self.queries.len());
            return Err(InvalidInput::mismatch("weights", "one weight a query", got));
        }
        let bounds = 0.0..=limits::MAX_FUSION_WEIGHT;
        if let Some(index) = weights.iter().position(|weight| !bounds.contains(weight)) {
            let (path, expected) = (format!("weights[{index}]"), "0 to 1000000");
            return Err(InvalidInput::mismatch(path, expected, weights[index]));
        }
        if weights.iter().all(|&weight| weight == 0.0) {
            return Err(InvalidInput::mismatch("weights", "a weight above 0", "only 0"));
        }
        Ok(())
    }
}

/// The response to a [`FusionRequest`].
#[derive(Debug, Clone, PartialEq)]
pub struct FusionResponse {
    /// The hits, best first, with their fused scores; ties by ascending id.
    pub hits: Vec<Hit>,
    /// Sequence number of the last write visible to the queries, the same for all.
    pub sequence: u64,
    /// How each query was executed, if the request set `explain`; otherwise empty.
    pub explanations: Vec<Explanation>,
}

/// Fuses the rankings of queries, which `execute` runs as a batch on one snapshot.
///
/// # Errors
/// [`crate::Error::Invalid`], or as `execute`.
pub(crate) fn fuse(
    ground: &Ground<'_>,
    request: &FusionRequest,
    execute: impl FnOnce(&[QueryRequest]) -> Result<Vec<QueryResponse>>,
) -> Result<FusionResponse> {
    request.validate()?;
    let (include, explain) = (Include::NOTHING, request.explain);
    let plain = |query: &QueryRequest| QueryRequest { include, explain, ..query.clone() };
    let queries: Vec<QueryRequest> = request.queries.iter().map(plain).collect();
    let answers = execute(&queries).map_err(|error| match queries.len() {
        // Errors of a single query have no position.
        1 => error.within("queries[0]"),
        _ => error,
    })?;
    let mut fused = scores(request, &answers);
    fused.sort_unstable_by(|(a, left), (b, right)| right.cmp(left).then_with(|| a.cmp(b)));
    let wanted = fused.into_iter().skip(request.offset).take(request.limit);
    let hit = |(id, score): (&PointId, Score)| {
        let point = ground.fetch(Point::new(id.clone()), request.include)?;
        Ok(Hit { score: score.0, point })
    };
    let hits = wanted.map(hit).collect::<Result<_>>()?;
    let explanations = answers.iter().filter_map(|answer| answer.explanation.clone()).collect();
    Ok(FusionResponse { hits, sequence: ground.snapshot.sequence, explanations })
}

/// The fused score of each point found by a query with a weight above 0.
fn scores<'a>(request: &FusionRequest, answers: &'a [QueryResponse]) -> Vec<(&'a PointId, Score)> {
    let mut sums = HashMap::<&PointId, f64>::new();
    let weighted = answers.iter().enumerate().map(|(i, answer)| (request.weight(i), answer));
    for (weight, answer) in weighted.filter(|&(weight, _)| weight > 0.0) {
        for (hit, rank) in answer.hits.iter().zip(1_u32..) {
            let share = weight / (f64::from(request.k) + f64::from(rank));
            *sums.entry(&hit.point.id).or_default() += share;
        }
    }
    // Rounded before comparison: the order of summation changes the last bits, which must not
    // decide a rank.
    sums.into_iter().map(|(id, sum)| (id, Score(sum as f32))).collect()
}
