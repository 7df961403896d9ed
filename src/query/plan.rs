//! From a request to what the executor does: validation, and which rows are scored how.

use super::request::{Query, QueryRequest};
use super::scorer::Scorer;
use crate::error::{Error, Result};
use crate::index::{Calibration, DEFAULT_TARGET_RECALL, Depth};
use crate::model::{CollectionConfig, InvalidInput, PointId, Problem, check_range, limits};
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
    /// The point that is the query, if one is.
    pub exclude: Option<Location>,
    /// For each view, the query as its codes are scored; `None` where the vectors are.
    pub codes: Vec<Option<PrimaryQuery>>,
    /// For each view, how far its index is searched; `None` where all rows are scored.
    pub depths: Vec<Option<Depth>>,
    /// The share of the exact nearest rows that is expected to be found.
    pub estimated_recall: f32,
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
        check_params(request)?;
        let (field, settings) = config.field(&request.field)?;
        let (scorer, exclude) = match &request.query {
            Query::Vector(vector) => (Scorer::new(settings, vector.as_ref())?, None),
            Query::Point(id) => {
                let location =
                    snapshot.find(id)?.ok_or_else(|| Error::PointNotFound { id: id.clone() })?;
                let vector = snapshot.reader(location).vector(field, location.row);
                let vector = vector.ok_or_else(|| without_vector(id, &request.field))?;
                (Scorer::new(settings, vector.as_ref())?, Some(location))
            }
        };
        let codes = prepare(snapshot, field, &scorer, request.params.exact);
        let (depths, estimated_recall) = (Vec::new(), 1.0);
        let plan = Self { request, field, scorer, exclude, codes, depths, estimated_recall };
        Ok(plan.with_depths(snapshot))
    }

    /// Decides how far the indexes are searched.
    fn with_depths(mut self, snapshot: &Snapshot) -> Self {
        let (mut expected, mut total) = (0.0, 0.0);
        for (view, query) in snapshot.views.iter().zip(&self.codes) {
            let index = view.reader.index(self.field).filter(|_| query.is_some());
            let (depth, recall) = match index {
                Some(index) => {
                    let (depth, recall) = self.depth(&index.report().calibration);
                    (Some(depth), recall)
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
        self
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
        self.request.offset + self.request.limit + usize::from(self.exclude.is_some())
    }

    /// Candidates that are kept: the hits, or more where some are re-ranked.
    pub fn candidates(&self) -> usize {
        let of_view = |(query, depth): (&Option<PrimaryQuery>, &Option<Depth>)| match depth {
            Some(depth) => depth.rerank,
            None if query.is_some() => self.request.params.rerank.unwrap_or(self.default_rerank()),
            None => 0,
        };
        let most = self.codes.iter().zip(&self.depths).map(of_view).max();
        most.unwrap_or(0).max(self.hits())
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

fn without_vector(id: &PointId, field: &str) -> Error {
    let expected = "a point that has a vector in the queried field";
    let got = format!("point {id} without a vector in {field:?}");
    InvalidInput::new("point", Problem::Mismatch { expected, got }).into()
}
