//! From a request to what the executor does: validation, and which rows are scored how.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::examples::{self, Examples};
use super::request::{Query, QueryRequest};
use super::scorer::Scorer;
use super::second_stage::SecondStage;
use super::view_filter::{SnapshotFilter, ViewFilter};
use super::way::{Way, choose, note, widen};
use crate::error::Result;
use crate::model::{
    CollectionConfig, Condition, InvalidInput, Problem, Score, VectorRef, check_range, limits,
};
use crate::quantization::PrimaryQuery;
use crate::segment::{FieldCodes, Location, Snapshot, View};

/// A validated query.
#[derive(Clone)]
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
    /// For each view, how its rows are searched; set by [`Self::choose_ways`].
    pub ways: Vec<Way>,
    /// For each view, the pool that its candidates are collected in: one of its own for scores of
    /// codes, since what is re-ranked was measured for its rows alone, and 0 for scores of vectors.
    pub pools: Vec<usize>,
    /// What orders the hits, if it is not what finds them.
    pub second: Option<SecondStage>,
    /// The request's filter, validated.
    pub condition: Option<Condition>,
    /// The same, prepared for each view; set by [`super::view_filter::prepare`].
    pub filter: Option<Arc<SnapshotFilter<'r>>>,
}

impl<'r> Plan<'r> {
    /// Validates a request.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] or [`crate::Error::PointNotFound`].
    pub fn new(
        snapshot: &Snapshot,
        config: &CollectionConfig,
        request: &'r QueryRequest,
    ) -> Result<Self> {
        check_range("limit", 1, limits::MAX_QUERY_LIMIT, request.limit)?;
        let most = limits::MAX_QUERY_LIMIT - request.limit;
        check_range("offset", 0, most, request.offset)?;
        check_params(request)?;
        let least = least(request.score_threshold)?;
        let Resolved { field, scorer, examples: mut exclude } =
            resolve(snapshot, config, &request.field, &request.query)?;
        let second = SecondStage::new(snapshot, config, request, &mut exclude)?;
        let codes = prepare(snapshot, field, &scorer, request.params.exact)?;
        let condition = request.filter.as_ref().map(|filter| filter.resolve(config)).transpose()?;
        Ok(Self {
            request,
            field,
            scorer,
            exclude,
            least,
            codes,
            ways: Vec::new(),
            pools: Vec::new(),
            second,
            condition,
            filter: None,
        })
    }

    /// The filter of a view, if there is one.
    pub fn view_filter(&self, view: usize) -> Option<&ViewFilter<'r>> {
        self.filter.as_ref().map(|filter| &filter.views[view])
    }

    /// Decides how each view is searched, and which candidates are collected together.
    pub fn choose_ways(&mut self, snapshot: &Snapshot) {
        for (number, view) in snapshot.views.iter().enumerate() {
            let way = choose(self, number, view);
            if way.scores_vectors {
                self.codes[number] = None;
            }
            self.pools.push(if self.codes[number].is_some() { number + 1 } else { 0 });
            self.ways.push(way);
        }
    }

    /// How the query has to be searched, and what is expected of that, if its worst hit is farther away
    /// than those of most queries that were measured: their mean says little about it then. `None` if it
    /// is not, or was searched so already.
    pub fn wider_ways(&self, snapshot: &Snapshot, worst: Score) -> Option<Vec<Way>> {
        let nearness = self.scorer.nearness(worst);
        let is_outside = |way: &Way| way.outside_below.is_some_and(|below| nearness < below);
        let views = || snapshot.views.iter().zip(&self.ways).enumerate();
        for (number, (view, way)) in views().filter(|(_, (_, way))| way.outside_below.is_some()) {
            note(self, number, view, is_outside(way).then_some(nearness));
        }
        let wider = |(number, (view, way)): (usize, (&View, &Way))| match is_outside(way) {
            true => widen(self, number, view, nearness),
            false => *way,
        };
        self.ways.iter().any(is_outside).then(|| views().map(wider).collect())
    }

    /// The same query, searched in other ways; `None` if none of these looks further.
    pub fn widened(&self, ways: &[Way]) -> Option<Self> {
        if !ways.iter().zip(&self.ways).any(|(way, own)| way.goes_beyond(own)) {
            return None;
        }
        let mut wider = Self { ways: ways.to_vec(), ..self.clone() };
        for (number, way) in ways.iter().enumerate() {
            if way.scores_vectors {
                wider.codes[number] = None;
                wider.pools[number] = 0;
            }
        }
        Some(wider)
    }

    /// Hits needed so that enough are left after offset and exclusion, or for the second stage.
    pub fn hits(&self) -> usize {
        let wanted = match &self.second {
            Some(second) => second.candidates,
            None => self.request.offset + self.request.limit,
        };
        wanted + self.exclude.len()
    }

    /// Whether no codes are scored, so that the scores of the scan are those of the hits.
    pub fn is_exact(&self) -> bool {
        self.codes.iter().all(Option::is_none)
    }

    /// Candidates that each pool keeps: the hits, or more where some are re-ranked.
    pub fn pool_limits(&self) -> Vec<usize> {
        let pools = self.pools.iter().max().map_or(1, |last| last + 1);
        let mut limits = vec![self.hits(); pools];
        for (way, &pool) in self.ways.iter().zip(&self.pools) {
            limits[pool] = limits[pool].max(way.budget);
        }
        limits
    }
}

/// A query in a field, validated.
pub struct Resolved {
    pub field: usize,
    pub scorer: Scorer,
    /// The points that the query is made from.
    pub examples: BTreeSet<Location>,
}

/// Finds a field and what is searched for in it.
///
/// # Errors
/// As [`Plan::new`].
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
    };
    Ok(Resolved { field, scorer, examples: examples.locations })
}

fn check_params(request: &QueryRequest) -> Result<()> {
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

/// The query for the codes of each view. Segments share codecs, and mapping a query to fewer
/// dimensions is as much work as scoring hundreds of rows: once for each codec is enough.
fn prepare(
    snapshot: &Snapshot,
    field: usize,
    scorer: &Scorer,
    exact: bool,
) -> Result<Vec<Option<PrimaryQuery>>> {
    let mut queries: Vec<Option<PrimaryQuery>> = Vec::with_capacity(snapshot.views.len());
    for view in &snapshot.views {
        let Some(codes) = view.reader.codes(field).filter(|_| !exact) else {
            queries.push(None);
            continue;
        };
        let same = |other: &FieldCodes| std::ptr::eq(other.codec(), codes.codec());
        let before = &snapshot.views[..queries.len()];
        let known = before.iter().position(|view| view.reader.codes(field).is_some_and(same));
        let query = match known.and_then(|known| queries[known].clone()) {
            Some(query) => query,
            None => codes.query(scorer.query())?,
        };
        queries.push(Some(query));
    }
    Ok(queries)
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
