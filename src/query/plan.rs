//! From a request to what the executor does: validation, and which rows are scored how.

use std::collections::BTreeSet;

use super::examples::{self, Examples};
use super::request::{Query, QueryRequest};
use super::scorer::Scorer;
use crate::error::Result;
use crate::model::{
    CollectionConfig, InvalidInput, Problem, Score, VectorRef, check_range, limits,
};
use crate::quantization::PrimaryQuery;
use crate::segment::{Location, Snapshot, View};

/// Candidates that are re-ranked if the request does not say: so many times the hits, at least.
const RERANK_FACTOR: usize = 4;
const RERANK_LEAST: usize = 50;

/// A validated query.
pub struct Plan<'r> {
    pub request: &'r QueryRequest,
    pub field: usize,
    pub scorer: Scorer,
    /// The points that the query is made from.
    pub exclude: BTreeSet<Location>,
    /// The score that a hit needs.
    pub least: Score,
    /// For each view, the query as its codes are scored; `None` where the vectors are.
    pub codes: Vec<Option<PrimaryQuery>>,
}

impl<'r> Plan<'r> {
    /// Validates a request.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::PointNotFound`].
    pub fn new(
        snapshot: &Snapshot,
        config: &CollectionConfig,
        request: &'r QueryRequest,
    ) -> Result<Self> {
        check_range("limit", 1, limits::MAX_QUERY_LIMIT, request.limit)?;
        let most = limits::MAX_QUERY_LIMIT - request.limit;
        check_range("offset", 0, most, request.offset)?;
        if let Some(rerank) = request.params.rerank {
            let least = request.offset + request.limit;
            check_range("rerank", least, limits::MAX_RERANK, rerank)?;
        }
        let (field, settings) = config.field(&request.field)?;
        let least = least(request.score_threshold)?;
        let mut examples = Examples::new(snapshot, field, &request.field, settings);
        let scorer = match &request.query {
            Query::Vector(vector) => Scorer::new(settings, vector.as_ref())?,
            Query::Point(id) => Scorer::new(settings, examples.vector(id, "point")?.as_ref())?,
            Query::Recommend { positive, negative } => {
                examples::validate(settings, positive, negative)?;
                let vector = examples.recommended(positive, negative)?;
                Scorer::new(settings, VectorRef::Single(&vector))?
            }
        };
        let exclude = examples.locations;
        let codes = prepare(snapshot, field, &scorer, request.params.exact);
        Ok(Self { request, field, scorer, exclude, least, codes })
    }

    /// Hits needed so that enough are left after offset and exclusion.
    pub fn hits(&self) -> usize {
        self.request.offset + self.request.limit + self.exclude.len()
    }

    /// Whether no codes are scored, so that the scores of the scan are those of the hits.
    pub fn is_exact(&self) -> bool {
        self.codes.iter().all(Option::is_none)
    }

    /// Candidates that the scan keeps: the hits, or more where some are re-ranked.
    pub fn candidates(&self) -> usize {
        if self.is_exact() {
            return self.hits();
        }
        let default = (RERANK_FACTOR * self.hits()).max(RERANK_LEAST);
        self.request.params.rerank.unwrap_or(default).max(self.hits())
    }
}

/// The query for the codes of each view. Segments share codecs, and mapping a query to fewer
/// dimensions is as much work as scoring hundreds of rows: once for each codec is enough.
fn prepare(
    snapshot: &Snapshot,
    field: usize,
    scorer: &Scorer,
    exact: bool,
) -> Vec<Option<PrimaryQuery>> {
    let mut prepared: Vec<(Vec<u64>, PrimaryQuery)> = Vec::new();
    let mut prepare = |view: &View| {
        let codes = view.reader.codes(field).filter(|_| !exact)?;
        let identity = codes.codec_identity();
        if let Some((_, query)) = prepared.iter().find(|(known, _)| *known == identity) {
            return Some(query.clone());
        }
        let query = codes.codec().query(scorer.query());
        prepared.push((identity, query.clone()));
        Some(query)
    };
    snapshot.views.iter().map(&mut prepare).collect()
}

fn least(threshold: Option<f32>) -> Result<Score, InvalidInput> {
    match threshold {
        Some(threshold) if threshold.is_nan() => {
            let problem = Problem::Mismatch { expected: "a number", got: "NaN".into() };
            Err(InvalidInput::new("score_threshold", problem))
        }
        threshold => Ok(Score(threshold.unwrap_or(f32::NEG_INFINITY))),
    }
}
