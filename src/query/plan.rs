//! From a request to what the executor does: validation, and which rows are scored how.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::examples::{self, Examples};
use super::request::{Query, QueryRequest};
use super::scorer::Scorer;
use super::view_filter::{SnapshotFilter, ViewFilter};
use crate::error::Result;
use crate::index::{Calibration, DEFAULT_TARGET_RECALL, Depth};
use crate::model::{
    CollectionConfig, Condition, InvalidInput, Problem, Score, VectorRef, check_range, limits,
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
    /// For each view, how far its index is searched; `None` where all rows are scored.
    pub depths: Vec<Option<Depth>>,
    /// Candidates that are kept where all codes are scanned instead of an index, at least.
    scan_rerank: usize,
    /// The share of the exact nearest rows that is expected to be found.
    pub estimated_recall: f32,
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
        let condition = request.filter.as_ref().map(|filter| filter.resolve(config)).transpose()?;
        Ok(Self {
            request,
            field,
            scorer,
            exclude,
            least,
            codes,
            depths: Vec::new(),
            scan_rerank: 0,
            estimated_recall: 1.0,
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
            let coded = self.codes[number].is_some();
            let index = view.reader.index(self.field).filter(|_| coded && !gathered);
            let (depth, recall) = match index.map(|index| &index.report().calibration) {
                Some(calibration) if self.is_out_of_reach(calibration) => {
                    self.codes[number] = None;
                    (None, 1.0)
                }
                Some(calibration) => {
                    let (depth, recall) = self.depth(calibration);
                    if depth.is_scan() {
                        self.scan_rerank = self.scan_rerank.max(depth.rerank);
                    }
                    (Some(depth).filter(|depth| !depth.is_scan()), recall)
                }
                None => (None, 1.0),
            };
            self.depths.push(depth);
            expected += f64::from(recall) * view.live_rows() as f64;
            total += view.live_rows() as f64;
        }
        if total > 0.0 {
            self.estimated_recall = (expected / total) as f32;
        }
    }

    /// Whether the request asks for a recall, and nothing that was measured reaches it.
    fn is_out_of_reach(&self, calibration: &Calibration) -> bool {
        let params = &self.request.params;
        let by_hand = params.search_window.is_some() || params.rerank.is_some();
        let target = params.target_recall.filter(|_| !by_hand && !calibration.points.is_empty());
        target.is_some_and(|target| !calibration.reaches(self.hits(), target))
    }

    /// What the request says, or else what calibration says about the recall it asks for.
    fn depth(&self, calibration: &Calibration) -> (Depth, f32) {
        let params = &self.request.params;
        let target = params.target_recall.unwrap_or(DEFAULT_TARGET_RECALL);
        let rerank = self.default_rerank();
        let fallback = Depth { window: rerank, rerank };
        let (mut depth, mut recall) =
            calibration.depth(self.hits(), target).unwrap_or((fallback, target));
        if let Some(window) = params.search_window {
            depth = Depth { window, rerank };
        }
        if let Some(rerank) = params.rerank {
            depth.rerank = rerank;
        }
        depth.rerank = depth.rerank.max(self.hits());
        if params.search_window.is_some() || params.rerank.is_some() {
            recall = calibration.expected(self.hits(), depth).unwrap_or(recall);
        }
        (depth, recall)
    }

    /// Hits needed so that enough are left after offset and exclusion.
    pub fn hits(&self) -> usize {
        self.request.offset + self.request.limit + self.exclude.len()
    }

    /// Whether no codes are scored, so that the scores of the scan are those of the hits.
    pub fn is_exact(&self) -> bool {
        self.codes.iter().all(Option::is_none)
    }

    /// Candidates that are kept: the hits, or more where some are re-ranked.
    pub fn candidates(&self) -> usize {
        let of_view = |(query, depth): (&Option<PrimaryQuery>, &Option<Depth>)| match depth {
            Some(depth) => depth.rerank,
            None if query.is_some() => self.request.params.rerank.unwrap_or(self.default_rerank()),
            None => 0,
        };
        let most = self.codes.iter().zip(&self.depths).map(of_view).max();
        most.unwrap_or(0).max(self.hits()).max(self.scan_rerank)
    }

    fn default_rerank(&self) -> usize {
        (RERANK_FACTOR * self.hits()).max(RERANK_LEAST)
    }
}

fn check_params(request: &QueryRequest) -> Result<()> {
    let params = &request.params;
    if let Some(rerank) = params.rerank {
        let least = request.offset + request.limit;
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
