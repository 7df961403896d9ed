//! From a request to what the executor does: validation, and which rows are scored how.

use std::sync::Arc;

use super::request::{Query, QueryRequest};
use super::scorer::Scorer;
use super::view_filter::{SnapshotFilter, ViewFilter};
use crate::error::{Error, Result};
use crate::model::{
    CollectionConfig, Condition, InvalidInput, PointId, Problem, check_range, limits,
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
    /// The point that is the query, if one is.
    pub exclude: Option<Location>,
    /// For each view, the query as its codes are scored; `None` where the vectors are.
    pub codes: Vec<Option<PrimaryQuery>>,
    /// The request's filter, validated.
    pub condition: Option<Condition>,
    /// The same, prepared for each view; set by [`super::view_filter::prepare`].
    pub filter: Option<Arc<SnapshotFilter<'r>>>,
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
        let condition = request.filter.as_ref().map(|filter| filter.resolve(config)).transpose()?;
        Ok(Self { request, field, scorer, exclude, codes, condition, filter: None })
    }

    /// The filter of a view, if there is one.
    pub fn view_filter(&self, view: usize) -> Option<&ViewFilter<'r>> {
        self.filter.as_ref().map(|filter| &filter.views[view])
    }

    /// Hits needed so that enough are left after offset and exclusion.
    pub fn hits(&self) -> usize {
        self.request.offset + self.request.limit + usize::from(self.exclude.is_some())
    }

    /// Candidates that the scan keeps: the hits, or more where some are re-ranked.
    pub fn candidates(&self) -> usize {
        if self.codes.iter().all(Option::is_none) {
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

fn without_vector(id: &PointId, field: &str) -> Error {
    let expected = "a point that has a vector in the queried field";
    let got = format!("point {id} without a vector in {field:?}");
    InvalidInput::new("point", Problem::Mismatch { expected, got }).into()
}
