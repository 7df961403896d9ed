//! From a request to what the executor does: validation, and which rows are scored how.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::examples::{self, Examples};
use super::request::{Query, QueryRequest};
use super::scorer::Scorer;
use super::second_stage::SecondStage;
use super::view_filter::{SnapshotFilter, ViewFilter};
use crate::error::Result;
use crate::index::{DEFAULT_TARGET_RECALL, Depth};
use crate::model::{
    CollectionConfig, Condition, IndexKind, InvalidInput, Problem, Score, VectorRef, check_range,
    limits,
};
use crate::quantization::PrimaryQuery;
use crate::segment::{FieldCodes, FieldIndex, IndexReport, Location, Snapshot};

/// Candidates that are re-ranked if the request does not say: so many times the hits, at least.
const RERANK: (usize, usize) = (4, 50);
/// The same where candidates are found by encodings, which are a rougher measure.
const ENCODED_RERANK: (usize, usize) = (20, 500);

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
    /// For each view, how far its index is searched; `None` where all rows are scored.
    pub depths: Vec<Option<Depth>>,
    /// For each view, how many candidates found by codes are re-ranked.
    pub budgets: Vec<usize>,
    /// The share of the exact nearest rows that is expected to be found.
    pub estimated_recall: f32,
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
            depths: Vec::new(),
            budgets: Vec::new(),
            estimated_recall: 1.0,
            second,
            condition,
            filter: None,
        })
    }

    /// The filter of a view, if there is one.
    pub fn view_filter(&self, view: usize) -> Option<&ViewFilter<'r>> {
        self.filter.as_ref().map(|filter| &filter.views[view])
    }

    /// Decides which indexes are searched, and how far: those of views whose filter has not
    /// gathered the few rows to be scored. Where no search reaches the recall that is asked for,
    /// all codes are scored if that does, or else all vectors.
    pub fn choose_depths(&mut self, snapshot: &Snapshot) {
        let (mut expected, mut total) = (0.0, 0.0);
        for (number, view) in snapshot.views.iter().enumerate() {
            let gathered = self.view_filter(number).is_some_and(|filter| filter.gathered.is_some());
            let codes = view.reader.codes(self.field).filter(|_| self.codes[number].is_some());
            let report = codes.and(view.reader.index(self.field)).map(FieldIndex::report);
            let unreached = report.filter(|_| !gathered).is_some_and(|r| self.is_out_of_reach(r));
            let rerank = self.request.params.rerank;
            let by_default = |codes: &FieldCodes| rerank.unwrap_or(self.default_rerank(codes));
            let by_default = codes.map(by_default).unwrap_or(0);
            let (depth, budget, recall) = match report.map(|report| self.depth(report, by_default))
            {
                Some(_) if unreached => (None, 0, 1.0),
                // What is gathered was not calibrated.
                Some((depth, _)) if gathered => (None, depth.rerank.max(by_default), 1.0),
                Some((depth, recall)) => {
                    (Some(depth).filter(|depth| !depth.is_scan()), depth.rerank, recall)
                }
                None => (None, by_default, 1.0),
            };
            if unreached {
                self.codes[number] = None;
            }
            self.budgets.push(budget);
            self.depths.push(depth);
            expected += f64::from(recall) * view.live_rows() as f64;
            total += view.live_rows() as f64;
        }
        if total > 0.0 {
            self.estimated_recall = (expected / total) as f32;
        }
    }

    /// Whether the request asks for a recall, and nothing that was measured reaches it.
    fn is_out_of_reach(&self, report: &IndexReport) -> bool {
        let (calibration, params) = (&report.calibration, &self.request.params);
        let by_hand = params.search_window.is_some() || params.rerank.is_some();
        let target = params.target_recall.filter(|_| !by_hand && !calibration.points.is_empty());
        target.is_some_and(|target| !calibration.reaches(self.hits(), target))
    }

    /// What the request says, or else what calibration says about the recall it asks for; where
    /// neither says how many candidates are re-ranked, it is the default.
    fn depth(&self, report: &IndexReport, rerank: usize) -> (Depth, f32) {
        let (calibration, params) = (&report.calibration, &self.request.params);
        let target = params.target_recall.unwrap_or(DEFAULT_TARGET_RECALL);
        let fallback = Depth { window: rerank, rerank };
        let (mut depth, mut recall) =
            calibration.depth(self.hits(), target).unwrap_or((fallback, target));
        if let Some(window) = params.search_window {
            depth = Depth { window, rerank };
        }
        if let Some(rerank) = params.rerank {
            depth.rerank = rerank;
        }
        if report.kind == IndexKind::Flat {
            depth.window = Depth::SCAN;
        }
        depth.rerank = depth.rerank.max(self.hits());
        if params.search_window.is_some() || params.rerank.is_some() {
            recall = calibration.expected(self.hits(), depth).unwrap_or(recall);
        }
        (depth, recall)
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

    /// Candidates that are kept: the hits, or more where some are re-ranked.
    pub fn candidates(&self) -> usize {
        self.budgets.iter().copied().max().unwrap_or(0).max(self.hits())
    }

    fn default_rerank(&self, codes: &FieldCodes) -> usize {
        let (factor, least) = if codes.is_encoded() { ENCODED_RERANK } else { RERANK };
        let most = limits::MAX_RERANK.max(self.hits());
        (factor * self.hits()).max(least).min(most)
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
