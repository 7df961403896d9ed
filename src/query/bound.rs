//! Binds a request to a snapshot: all validation happens here, and later stages rely on it.

use std::collections::BTreeSet;

use super::examples::{self, Examples};
use super::executor::Note;
use super::request::{Query, QueryRequest};
use super::scorer::Scorer;
use super::second_stage::SecondStage;
use super::text::BoundText;
use crate::error::Result;
use crate::field::{FieldCodes, FieldQuery};
use crate::model::{
    CollectionConfig, Condition, IndexKind, InvalidInput, Problem, Score, VectorRef, check_range,
    limits,
};
use crate::segment::{Location, Snapshot, View};

/// A validated query on a vector field.
pub struct Bound<'r> {
    pub request: &'r QueryRequest,
    pub field: usize,
    pub scorer: Scorer,
    /// The points that the query is made from.
    pub exclude: BTreeSet<Location>,
    /// Minimum score of a hit.
    pub least: Score,
    /// Minimum score in the first stage: sparse vectors without an index in common are no match.
    pub floor: Score,
    /// For each view, the query prepared for its codes; `None` if the view has no codes, or the
    /// request is exact.
    pub code_queries: Vec<Option<FieldQuery>>,
    /// The second stage, if the request has one.
    pub second: Option<SecondStage>,
    /// The request's filter, validated.
    pub condition: Option<Condition>,
}

impl<'r> Bound<'r> {
    /// Validates a request.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] or [`crate::Error::PointNotFound`].
    pub fn new(
        snapshot: &Snapshot,
        config: &CollectionConfig,
        request: &'r QueryRequest,
    ) -> Result<Self> {
        check_request(request)?;
        let least = least(request.score_threshold)?;
        let Resolved { field, scorer, examples: mut exclude } =
            resolve(snapshot, config, &request.field, &request.query)?;
        let second = SecondStage::new(snapshot, config, request, &mut exclude)?;
        let code_queries = prepare(snapshot, field, &scorer, request.params.exact)?;
        let condition = request.filter.as_ref().map(|filter| filter.resolve(config)).transpose()?;
        let floor = match scorer.entries() {
            Some(_) => Score(f32::from_bits(1)),
            None => Score(f32::NEG_INFINITY),
        };
        let least = if second.is_none() { least.max(floor) } else { least };
        Ok(Self { request, field, scorer, exclude, least, floor, code_queries, second, condition })
    }

    /// Number of hits to find so that enough are left after offset and exclusion, or for the second
    /// stage.
    pub fn hits(&self) -> usize {
        hits(self.request, self.exclude.len())
    }

    /// Minimum score of a hit of the first stage.
    pub fn first_least(&self) -> Score {
        if self.second.is_none() { self.least } else { self.floor }
    }

    /// Whether the request sets the search depth by hand, instead of a target recall.
    pub fn is_by_hand(&self) -> bool {
        self.request.params.search_window.is_some() || self.request.params.rerank.is_some()
    }
}

/// A validated query on a field of any kind.
pub enum AnyBound<'r> {
    Vectors(Box<Bound<'r>>),
    Text(Box<BoundText<'r>>),
}

impl<'r> AnyBound<'r> {
    /// Validates a request.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] or [`crate::Error::PointNotFound`].
    pub fn new(
        snapshot: &Snapshot,
        config: &CollectionConfig,
        request: &'r QueryRequest,
    ) -> Result<Self> {
        match config.text.contains_key(&request.field) {
            true => BoundText::new(snapshot, config, request).map(Box::new).map(Self::Text),
            false => Bound::new(snapshot, config, request).map(Box::new).map(Self::Vectors),
        }
    }

    /// The request's filter, validated.
    pub fn condition(&self) -> Option<&Condition> {
        match self {
            Self::Vectors(bound) => bound.condition.as_ref(),
            Self::Text(bound) => bound.condition.as_ref(),
        }
    }

    /// Restricts the hits further.
    pub fn restrict(&mut self, condition: Condition) {
        let own = match self {
            Self::Vectors(bound) => &mut bound.condition,
            Self::Text(bound) => &mut bound.condition,
        };
        let both = own.take().into_iter().chain([condition]);
        *own = Some(Condition::All(both.collect()));
    }

    /// Tells `note` the vectors of the query, unless it is exact.
    pub fn noted(&self, note: Note<'_>) {
        if let Self::Vectors(bound) = self
            && !bound.request.params.exact
            && bound.scorer.entries().is_none()
        {
            note(bound.field, bound.scorer.query());
        }
    }
}

/// A validated query on one vector field.
pub struct Resolved {
    pub field: usize,
    pub scorer: Scorer,
    /// The points that the query is made from.
    pub examples: BTreeSet<Location>,
}

/// Resolves a field and the query on it.
///
/// # Errors
/// As [`Bound::new`].
pub fn resolve(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    field: &str,
    query: &Query,
) -> Result<Resolved> {
    let name = field;
    let (field, settings) = config.field(name)?;
    let mut examples = Examples::new(snapshot, field, name, settings);
    let scorer = match query {
        Query::Vector(vector) => Scorer::new(settings, vector.as_ref())?,
        Query::Point(id) => Scorer::new(settings, examples.vector(id, "point")?.as_ref())?,
        Query::Recommend { positive, negative } => {
            examples::validate(settings, positive, negative)?;
            let vector = examples.recommended(positive, negative)?;
            Scorer::new(settings, VectorRef::Single(&vector))?
        }
        Query::Text(_) => {
            let expected = "a vector or points, for a vector field";
            return Err(InvalidInput::mismatch("query", expected, "words").into());
        }
    };
    Ok(Resolved { field, scorer, examples: examples.locations })
}

/// As [`Bound::hits`], for a request that excludes so many points.
pub fn hits(request: &QueryRequest, excluded: usize) -> usize {
    let first = request.rescore.as_ref().map(|rescore| rescore.candidates);
    first.unwrap_or(request.offset + request.limit) + excluded
}

/// Checks the numbers of a request.
///
/// # Errors
/// [`crate::Error::Invalid`].
pub fn check_request(request: &QueryRequest) -> Result<()> {
    check_range("limit", 1, limits::MAX_QUERY_LIMIT, request.limit)?;
    let most = limits::MAX_QUERY_LIMIT - request.limit;
    check_range("offset", 0, most, request.offset)?;
    let params = &request.params;
    let mut least = request.offset + request.limit;
    if let Some(rescore) = &request.rescore {
        check_range("rescore.candidates", least, limits::MAX_RERANK, rescore.candidates)?;
        least = rescore.candidates;
    }
    if let Some(rerank) = params.rerank {
        check_range("rerank", least, limits::MAX_RERANK, rerank)?;
    }
    if let Some(window) = params.search_window {
        check_range("search_window", 1, limits::MAX_SEARCH_WINDOW, window)?;
    }
    if let Some(target) = params.target_recall
        && !(0.5..=0.999).contains(&target)
    {
        let problem = Problem::Mismatch { expected: "0.5 to 0.999", got: target.to_string() };
        return Err(InvalidInput::new("target_recall", problem).into());
    }
    Ok(())
}

/// Prepares the query for the codes of each view. Segments share codecs and centroids, and projecting
/// a query to fewer dimensions costs as much as scoring hundreds of rows, so it is done once for each.
fn prepare(
    snapshot: &Snapshot,
    field: usize,
    scorer: &Scorer,
    exact: bool,
) -> Result<Vec<Option<FieldQuery>>> {
    let mut queries: Vec<Option<FieldQuery>> = Vec::with_capacity(snapshot.views.len());
    for view in &snapshot.views {
        let Some(codes) = view.reader.field(field).codes().filter(|_| !exact) else {
            queries.push(None);
            continue;
        };
        let scan = is_scanned(view, field);
        let known = snapshot.views.iter().zip(&queries).filter_map(|(view, query)| {
            Some((view, view.reader.field(field).codes()?, query.as_ref()?))
        });
        let same = |view: &View, other: &FieldCodes| {
            other.shared().is(codes.shared())
                && other.has_lists() == codes.has_lists()
                && is_scanned(view, field) == scan
        };
        let query = known.clone().find(|(view, other, _)| same(view, other));
        let query = match query {
            Some((_, _, query)) => query.clone(),
            None => {
                let same = |other: &FieldCodes| other.shared().has_centroids_of(codes.shared());
                let centroids = known
                    .filter(|(_, other, _)| same(other))
                    .find_map(|(_, _, query)| query.shared_centroids());
                codes.query(scorer.query(), scan, centroids)?
            }
        };
        queries.push(Some(query));
    }
    Ok(queries)
}

/// Whether all codes of a view are scored because it has no index to search.
fn is_scanned(view: &View, field: usize) -> bool {
    view.reader.field(field).index().is_none_or(|index| index.report().kind == IndexKind::Flat)
}

/// The minimum score of a hit.
///
/// # Errors
/// [`InvalidInput`] if it is NaN.
pub fn least(threshold: Option<f32>) -> Result<Score, InvalidInput> {
    match threshold {
        Some(threshold) if threshold.is_nan() => {
            let problem = Problem::Mismatch { expected: "a number", got: "NaN".into() };
            Err(InvalidInput::new("score_threshold", problem))
        }
        threshold => Ok(Score(threshold.unwrap_or(f32::NEG_INFINITY))),
    }
}
