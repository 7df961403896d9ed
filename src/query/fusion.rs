//! Fusion: merges the rankings of several queries, by ranks or by scores.
//!
//! - Reciprocal rank fusion (RRF; Cormack, Clarke and Büttcher, SIGIR 2009): the score of a point is
//!   the sum of weight / (k + rank) over the queries that find it. Only ranks count, so the queries
//!   may use fields of different kinds and metrics.
//! - Weighted score fusion: the score of a point is the sum of weight × normalised score over all
//!   queries; see [`Normalization`].

use std::collections::HashMap;

use super::highlight::Highlighter;
use super::normalization::{Normalization, Scale, infimum};
use super::pieces::Ground;
use super::request::{Explanation, Hit, QueryRequest, QueryResponse};
use crate::error::Result;
use crate::model::{Include, InvalidInput, Point, PointId, Score, check_range, limits};

/// The `k` of the paper, which found it robust across collections.
const DEFAULT_K: f32 = 60.0;

/// How rankings are merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FusionMethod {
    /// Reciprocal rank fusion: the sum of weight / (k + rank), with ranks from 1, over the queries
    /// that find a point.
    Rrf {
        /// Above 0: the larger, the smaller the advantage of the first ranks.
        k: f32,
    },
    /// Weighted score fusion: the sum of weight × normalised score over all queries, of points that
    /// at least one of them finds.
    Scores {
        /// How scores are normalised before they are added.
        normalization: Normalization,
    },
}

impl Default for FusionMethod {
    /// Reciprocal rank fusion with k = 60.
    fn default() -> Self {
        Self::Rrf { k: DEFAULT_K }
    }
}

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
    /// How the rankings are merged; reciprocal ranks with k = 60 if not set.
    pub method: FusionMethod,
    /// Parts of the points to return.
    pub include: Include,
    /// Also return an [`Explanation`] of each query.
    pub explain: bool,
}

impl FusionRequest {
    /// The ten best points of these queries, ids and scores only, by reciprocal ranks with k = 60 and
    /// equal weights.
    pub fn new(queries: impl IntoIterator<Item = QueryRequest>) -> Self {
        Self {
            queries: queries.into_iter().collect(),
            weights: None,
            limit: 10,
            offset: 0,
            method: FusionMethod::default(),
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

    /// Merges by reciprocal ranks with this constant [`k`](FusionMethod::Rrf::k) (default 60).
    #[must_use]
    pub fn k(self, k: f32) -> Self {
        Self { method: FusionMethod::Rrf { k }, ..self }
    }

    /// Merges by weighted sums of normalised scores.
    ///
    /// ```
    /// use lanner::{FusionRequest, Normalization, QueryRequest};
    ///
    /// let title = QueryRequest::new("title", vec![0.1, 0.2, 0.3]).limit(100);
    /// let body = QueryRequest::new("body", vec![0.3, 0.2, 0.1]).limit(100);
    /// let request = FusionRequest::new([title, body])
    ///     .weights([0.2, 0.8])
    ///     .scores(Normalization::TheoreticalMinMax);
    /// # let _ = request;
    /// ```
    #[must_use]
    pub fn scores(self, normalization: Normalization) -> Self {
        Self { method: FusionMethod::Scores { normalization }, ..self }
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
        if let FusionMethod::Rrf { k } = self.method
            && !(k.is_finite() && k > 0.0)
        {
            return Err(InvalidInput::mismatch("k", "a finite number above 0", k));
        }
        if let Some(index) = self.queries.iter().position(|query| query.offset > 0) {
            let (path, expected) = (format!("queries[{index}].offset"), "0 in a query to be fused");
            return Err(InvalidInput::mismatch(path, expected, self.queries[index].offset));
        }
        self.weights.as_ref().map_or(Ok(()), |weights| self.validate_weights(weights))
    }

    /// The contribution of each query to the scores of points.
    fn rules(&self, ground: &Ground<'_>) -> Result<Vec<Rule>, InvalidInput> {
        let rule = |(index, query): (usize, &QueryRequest)| match self.method {
            FusionMethod::Rrf { k } => Ok(Rule::Rank { k: k.into() }),
            FusionMethod::Scores { normalization } => Ok(match normalization {
                Normalization::MinMax => Rule::MinMax,
                Normalization::ZScore => Rule::ZScore,
                Normalization::TheoreticalMinMax => Rule::TheoreticalMinMax {
                    infimum: infimum(ground, query)
                        .map_err(|error| error.within(format!("queries[{index}]")))?,
                },
            }),
        };
        self.queries.iter().enumerate().map(rule).collect()
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
    let rules = request.rules(ground)?;
    let mut highlighters = Vec::new();
    for (index, query) in request.queries.iter().enumerate() {
        let highlighter = Highlighter::new(ground, query);
        let named = |error: crate::Error| error.within(format!("queries[{index}]"));
        highlighters.extend(highlighter.map_err(named)?);
    }
    let (include, explain) = (Include::NOTHING, request.explain);
    let plain = |query: &QueryRequest| QueryRequest { include, explain, ..query.clone() };
    let queries: Vec<QueryRequest> = request.queries.iter().map(plain).collect();
    let answers = execute(&queries).map_err(|error| match queries.len() {
        // Errors of a single query have no position.
        1 => error.within("queries[0]"),
        _ => error,
    })?;
    let mut fused = scores(request, &rules, &answers);
    fused.sort_unstable_by(|(a, left), (b, right)| right.cmp(left).then_with(|| a.cmp(b)));
    let wanted = fused.into_iter().skip(request.offset).take(request.limit);
    let hit = |(id, score): (&PointId, Score)| {
        let point = ground.fetch(Point::new(id.clone()), request.include)?;
        let mut fragments = Vec::new();
        for highlighter in &mut highlighters {
            fragments.extend(ground.fragments(highlighter, id)?);
        }
        Ok(Hit { fragments, ..Hit::new(point, score.0) })
    };
    let hits = wanted.map(hit).collect::<Result<_>>()?;
    let explanations = answers.iter().filter_map(|answer| answer.explanation.clone()).collect();
    Ok(FusionResponse { hits, sequence: ground.snapshot.sequence, explanations })
}

/// The fused score of each point found by a query with a weight above 0.
fn scores<'a>(
    request: &FusionRequest,
    rules: &[Rule],
    answers: &'a [QueryResponse],
) -> Vec<(&'a PointId, Score)> {
    let mut sums = HashMap::<&PointId, f64>::new();
    // The score of a point that no query finds.
    let mut missing = 0.0;
    for (index, (rule, answer)) in rules.iter().zip(answers).enumerate() {
        let weight = request.weight(index);
        if weight == 0.0 {
            continue;
        }
        let shares = rule.shares(&answer.hits);
        missing += weight * shares.missing;
        for (hit, share) in answer.hits.iter().zip(shares.hits) {
            *sums.entry(&hit.point.id).or_default() += weight * (share - shares.missing);
        }
    }
    // Rounded before comparison: the order of summation changes the last bits, which must not
    // decide a rank.
    sums.into_iter().map(|(id, sum)| (id, Score((sum + missing) as f32))).collect()
}

/// How one query contributes to the scores of points: a [`FusionMethod`] for a known field.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Rank { k: f64 },
    MinMax,
    ZScore,
    TheoreticalMinMax { infimum: f64 },
}

/// The contributions of one query, before its weight.
struct Shares {
    /// To the score of each hit.
    hits: Vec<f64>,
    /// To the score of a point that the query did not find.
    missing: f64,
}

impl Rule {
    fn shares(self, hits: &[Hit]) -> Shares {
        let scale = match self {
            Self::Rank { k } => {
                let ranks = (1..=hits.len()).map(|rank| 1.0 / (k + rank as f64));
                return Shares { hits: ranks.collect(), missing: 0.0 };
            }
            Self::MinMax => Scale::min_max(hits),
            Self::ZScore => Scale::z_score(hits),
            Self::TheoreticalMinMax { infimum } => Scale::theoretical_min_max(hits, infimum),
        };
        let hits = hits.iter().map(|hit| scale.apply(hit.score)).collect();
        Shares { hits, missing: scale.missing() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A ranking by any scores, over few points, so that lists overlap.
    fn answer(scores: &[(u64, f32)]) -> QueryResponse {
        let scores: BTreeMap<u64, f32> = scores.iter().copied().collect();
        let hit = |(id, score)| Hit::new(Point::new(id), score);
        let mut hits: Vec<Hit> = scores.into_iter().map(hit).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score));
        QueryResponse { hits, sequence: 1, explanation: None, estimated_recall: None }
    }

    /// The definition, by other formulas: bounds by sorting, and the variance by all pairs.
    fn normalised(rule: Rule, list: &[f64], rank: usize) -> f64 {
        let mut sorted = list.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
        let (score, count) = (list[rank], list.len() as f64);
        match rule {
            Rule::Rank { k } => 1.0 / (k + rank as f64 + 1.0),
            Rule::MinMax if min == max => 1.0,
            Rule::MinMax => (score - min) / (max - min),
            Rule::ZScore if min == max => 0.0,
            Rule::ZScore => {
                let squares = list.iter().flat_map(|a| list.iter().map(move |b| (a - b).powi(2)));
                let variance = squares.sum::<f64>() / (2.0 * count * count);
                (score - list.iter().sum::<f64>() / count) / variance.sqrt()
            }
            Rule::TheoreticalMinMax { infimum } if max <= infimum => 0.0,
            Rule::TheoreticalMinMax { infimum } => ((score - infimum) / (max - infimum)).max(0.0),
        }
    }

    /// The fused score of every point that a query with a weight finds, query by query.
    fn brute_force(weights: &[f32], rule: Rule, answers: &[QueryResponse]) -> BTreeMap<u64, f64> {
        let mut sums = BTreeMap::new();
        for id in 0..9 {
            let (mut sum, mut is_found) = (0.0, false);
            for (weight, answer) in weights.iter().zip(answers).filter(|(w, _)| **w > 0.0) {
                let list: Vec<f64> = answer.hits.iter().map(|hit| hit.score.into()).collect();
                let at = answer.hits.iter().position(|hit| hit.point.id == PointId::from(id));
                is_found |= at.is_some();
                let share = match (at, rule) {
                    (Some(rank), _) => normalised(rule, &list, rank),
                    (None, Rule::ZScore) if !list.is_empty() => {
                        normalised(rule, &list, list.len() - 1)
                    }
                    (None, _) => 0.0,
                };
                sum += f64::from(*weight) * share;
            }
            if is_found {
                sums.insert(id, sum);
            }
        }
        sums
    }

    fn fused(weights: &[f32], rule: Rule, answers: &[QueryResponse]) -> BTreeMap<PointId, f32> {
        let query = QueryRequest::new("v", vec![0.0]);
        let queries = vec![query; answers.len()];
        let request = FusionRequest::new(queries).weights(weights.iter().copied());
        let scored = scores(&request, &vec![rule; answers.len()], answers);
        scored.into_iter().map(|(id, score)| (id.clone(), score.0)).collect()
    }

    fn rules() -> impl Strategy<Value = Rule> {
        prop_oneof![
            (0.5_f64..100.0).prop_map(|k| Rule::Rank { k }),
            Just(Rule::MinMax),
            Just(Rule::ZScore),
            (-3_i8..1).prop_map(|infimum| Rule::TheoreticalMinMax { infimum: infimum.into() }),
        ]
    }

    /// Small integers, so that lists of equal scores and ties are common, and other numbers.
    fn list() -> impl Strategy<Value = Vec<(u64, f32)>> {
        let score = prop_oneof![(-3_i8..3).prop_map(f32::from), -5.0_f32..5.0];
        proptest::collection::vec((0_u64..9, score), 0..8)
    }

    proptest! {
        #[test]
        fn sums_equal_the_definition(
            rule in rules(),
            lists in proptest::collection::vec((list(), prop_oneof![Just(0.0), 0.1_f32..3.0]), 1..5),
        ) {
            let weights: Vec<f32> = lists.iter().map(|(_, weight)| *weight).collect();
            let answers: Vec<QueryResponse> = lists.iter().map(|(list, _)| answer(list)).collect();
            let expected = brute_force(&weights, rule, &answers);
            let got = fused(&weights, rule, &answers);
            prop_assert_eq!(got.len(), expected.len());
            for (id, expected) in expected {
                let got = f64::from(got[&PointId::from(id)]);
                prop_assert!((got - expected).abs() <= 1e-5, "{}: {} {}", id, got, expected);
            }
        }

        #[test]
        fn no_score_makes_a_sum_that_is_not_finite(
            rule in rules(),
            list in proptest::collection::vec((0_u64..9, proptest::num::f32::ANY), 0..8),
        ) {
            let fused = fused(&[1.0, 0.5], rule, &[answer(&list), answer(&[(0, 1.0), (1, 0.5)])]);
            prop_assert!(fused.values().all(|score| score.is_finite()), "{:?}", fused);
        }
    }

    #[test]
    fn lists_of_equal_scores_and_single_hits_are_defined() {
        let infimum = |infimum| Rule::TheoreticalMinMax { infimum };
        for (rule, expected) in [
            (Rule::MinMax, 1.0),
            (Rule::ZScore, 0.0),
            (infimum(-1.0), 1.0),
            (infimum(0.1_f32.into()), 0.0),
        ] {
            for list in [&[(1, 0.1)][..], &[(1, 0.1), (2, 0.1), (3, 0.1)]] {
                let answers = [answer(list), answer(&[])];
                let fused = fused(&[1.0, 7.0], rule, &answers);
                assert_eq!(fused.len(), list.len());
                assert!(fused.values().all(|&score| score == expected), "{rule:?} {fused:?}");
            }
        }
        assert!(fused(&[1.0], Rule::ZScore, &[answer(&[])]).is_empty());
    }

    #[test]
    fn points_that_were_not_found_are_like_the_worst_hit() {
        let answers = [answer(&[(1, 3.0), (2, 1.0)]), answer(&[(3, 0.5), (1, 0.25), (2, 0.0)])];
        let min_max = fused(&[1.0, 1.0], Rule::MinMax, &answers);
        assert_eq!(min_max.into_values().collect::<Vec<_>>(), [1.5, 0.0, 1.0]);
        let z_score = fused(&[1.0, 0.0], Rule::ZScore, &answers);
        assert_eq!(z_score.into_values().collect::<Vec<_>>(), [1.0, -1.0]);
        // The mean of the second list is 0.25, and its deviation 0.25 · √(2/3).
        let third = fused(&[1.0, 1.0], Rule::ZScore, &answers)[&PointId::from(3)];
        assert!((third - (-1.0 + 1.5_f32.sqrt())).abs() < 1e-6, "{third}");
    }
}
