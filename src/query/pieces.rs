//! Batches are worked through in pieces: what one piece holds in memory is bounded, and other
//! queries get their turn between two of them.

use std::ops::Range;
use std::sync::Arc;

use rayon::ThreadPool;

use super::Deadline;
use super::executor::{Note, execute};
use super::request::{Query, QueryRequest, QueryResponse};
use crate::error::{Error, Result};
use crate::model::{
    CollectionConfig, Include, MemoryBudget, Point, PointId, VectorField, check_range, limits,
};
use crate::segment::{Location, Snapshot};

/// Bytes that the queries of a piece may need beside their answers; a single one may need more.
const PIECE_BYTES: u64 = 32 << 20;
/// Bytes of vectors and codes that a piece scores: some tens of milliseconds of two cores.
const PIECE_SCORED_BYTES: u64 = 2 << 30;
/// Bytes of a candidate.
const CANDIDATE_BYTES: u64 = 24;
/// Accumulators of a scan for each thread.
const ACCUMULATORS: u64 = 4;
/// Bytes of a hit, without its point's vectors and payload.
const HIT_BYTES: u64 = 256;
/// Candidates for each hit that plans re-rank if the request does not say, and at least, where they
/// re-rank most.
const DEFAULT_RERANK: (usize, usize) = (20, 500);

/// What a query is expected to take, at most.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    candidates: u64,
    bytes: u64,
    scored_bytes: u64,
}

/// What queries are answered from.
pub(crate) struct Ground<'g> {
    pub snapshot: &'g Snapshot,
    pub config: &'g CollectionConfig,
    pub pool: &'g ThreadPool,
    /// What the memory is counted in: that of candidates for as long as a piece takes, that of
    /// answers for good.
    pub memory: &'g Arc<MemoryBudget>,
    /// Is told each query that is answered by codes.
    pub note: Note<'g>,
}

impl Ground<'_> {
    /// Answers queries, in their order.
    ///
    /// # Errors
    /// As [`execute`]; [`Error::Invalid`] for a batch of too many candidates, and
    /// [`Error::Exhausted`] if memory does not suffice.
    pub fn answer(
        &self,
        requests: &[QueryRequest],
        deadline: &Deadline,
    ) -> Result<Vec<QueryResponse>> {
        check_range("queries", 1, limits::MAX_BATCH_QUERIES, requests.len())?;
        let costs: Vec<Cost> = requests.iter().map(|request| self.cost(request)).collect();
        if requests.len() > 1 {
            let all = costs.iter().fold(0_u64, |sum, cost| sum.saturating_add(cost.candidates));
            let all = usize::try_from(all).unwrap_or(usize::MAX);
            check_range("queries: candidates to re-rank", 0, limits::MAX_BATCH_CANDIDATES, all)?;
        }
        let mut answers = Vec::with_capacity(requests.len());
        for piece in pieces(&costs) {
            let bytes =
                costs[piece.clone()].iter().fold(0_u64, |sum, c| sum.saturating_add(c.bytes));
            let _held = self.memory.reserve("candidates of queries", bytes)?;
            self.answer_piece(requests, piece, deadline, &mut answers)?;
        }
        Ok(answers)
    }

    fn answer_piece(
        &self,
        requests: &[QueryRequest],
        piece: Range<usize>,
        deadline: &Deadline,
        answers: &mut Vec<QueryResponse>,
    ) -> Result<()> {
        let (first, several) = (piece.start, requests.len() > 1);
        let requests = &requests[piece];
        // Points are fetched one by one below, so that their bytes are counted as they come.
        let plain =
            |request: &QueryRequest| QueryRequest { include: Include::NOTHING, ..request.clone() };
        let fetches = requests.iter().any(|request| request.include != Include::NOTHING);
        let stripped: Vec<QueryRequest> =
            if fetches { requests.iter().map(plain).collect() } else { Vec::new() };
        let bare = if fetches { &stripped } else { requests };
        let base = several.then_some(first);
        let noted = (bare, self.note);
        let mut found = execute(self.snapshot, self.config, noted, deadline, self.pool, base)?;
        for (request, answer) in requests.iter().zip(&mut found) {
            for hit in &mut answer.hits {
                let point = std::mem::replace(&mut hit.point, Point::new(0));
                hit.point = self.fetch(point, request.include)?;
            }
        }
        answers.append(&mut found);
        Ok(())
    }

    /// Reads what is wanted of a point that was found, and counts it.
    ///
    /// # Errors
    /// [`Error::Exhausted`], or if a sealed file is damaged.
    pub fn fetch(&self, found: Point, include: Include) -> Result<Point> {
        let point = match include {
            Include::NOTHING => found,
            include => {
                let location = self.snapshot.find(&found.id)?;
                let location = location.ok_or_else(|| lost(&found.id))?;
                self.snapshot.point(location, self.config.fields.keys(), include)?
            }
        };
        self.memory.spend("answers to queries", HIT_BYTES + ANSWER_COPIES * point.size_bytes())?;
        Ok(point)
    }

    /// Bytes that a query is expected to take beside its answer, at most.
    pub fn query_cost_bytes(&self, request: &QueryRequest) -> u64 {
        self.cost(request).bytes
    }

    fn cost(&self, request: &QueryRequest) -> Cost {
        let wanted = request.offset.saturating_add(request.limit);
        let hits = request.rescore.as_ref().map_or(wanted, |rescore| rescore.candidates);
        let (factor, least) = DEFAULT_RERANK;
        let by_default = || hits.saturating_mul(factor).max(least);
        let kept = request.params.rerank.unwrap_or_else(by_default);
        let kept = kept.min(limits::MAX_RERANK).max(hits) as u64;
        let window = request.params.search_window.unwrap_or(0) as u64;
        let views = &self.snapshot.views;
        let rows = views.iter().fold(0, |sum, view| sum + u64::from(view.reader.rows()));
        let Ok((field, settings)) = self.config.field(&request.field) else {
            // Refused, once it is planned.
            return Cost::default();
        };
        let exact = request.params.exact;
        let scored_bytes = self.scored_bytes(field, exact);
        let accumulators = match scored_bytes {
            // What an index finds is collected once.
            0 => 1,
            _ => ACCUMULATORS * self.pool.current_num_threads() as u64,
        };
        // A row is a candidate once, in one of the accumulators, which hold up to twice as many
        // candidates as they keep, in vectors that grow to twice what they hold.
        let candidates = rows.min(kept.saturating_mul(2 * accumulators));
        let mut bytes = 2 * CANDIDATE_BYTES * candidates + 4 * CANDIDATE_BYTES * rows.min(window);
        bytes += HIT_BYTES * rows.min(wanted as u64);
        bytes += self.query_bytes(field, settings, &request.query);
        if let Some(rescore) = &request.rescore
            && let Ok((field, settings)) = self.config.field(&rescore.field)
        {
            bytes += self.query_bytes(field, settings, &rescore.query);
        }
        Cost { candidates: rows.min(kept), bytes, scored_bytes }
    }

    /// Bytes that a query takes once it is planned: as it is, scaled, in planes of codes, encoded.
    fn query_bytes(&self, field: usize, settings: &VectorField, query: &Query) -> u64 {
        let values = match query {
            Query::Vector(vector) => vector.as_ref().values().len() as u64,
            Query::Point(id) => self.vector_len(field, id),
            // A mean, in double precision.
            Query::Recommend { .. } => 2 * settings.dimension as u64,
        };
        16 * values + 8 * settings.coded_dimension() as u64
    }

    /// Number of values of a point's vectors, without copying them.
    fn vector_len(&self, field: usize, id: &PointId) -> u64 {
        let Ok(Some(Location { view, row })) = self.snapshot.find(id) else { return 0 };
        let mut len = 0;
        let reader = &self.snapshot.views[view as usize].reader;
        reader.visit_vectors(field, row..row + 1, &mut |_, vectors, range| {
            len = vectors.row(range.start).len() as u64;
        });
        len
    }

    /// Bytes that are scored where no index is searched.
    fn scored_bytes(&self, field: usize, exact: bool) -> u64 {
        let of_view = |view: &crate::segment::View| {
            let reader = &view.reader;
            match reader.codes(field).filter(|_| !exact) {
                Some(_) if reader.index(field).is_some() => 0,
                Some(codes) => u64::from(reader.rows()) * codes.row_bytes() as u64,
                None => reader.vector_bytes(field),
            }
        };
        self.snapshot.views.iter().map(of_view).sum()
    }
}

/// Times that an answer is in memory: as points, messages and bytes.
const ANSWER_COPIES: u64 = 3;

fn lost(id: &PointId) -> Error {
    Error::Internal(format!("point {id} was found and is not in the snapshot"))
}

/// Cuts a batch, so that no piece but one of a single query is too large.
fn pieces(costs: &[Cost]) -> Vec<Range<usize>> {
    let (mut pieces, mut start, mut sum) = (Vec::new(), 0, Cost::default());
    for (index, cost) in costs.iter().enumerate() {
        let bytes = sum.bytes.saturating_add(cost.bytes);
        let scored_bytes = sum.scored_bytes.saturating_add(cost.scored_bytes);
        sum = Cost { bytes, scored_bytes, ..sum };
        if index > start && (bytes > PIECE_BYTES || scored_bytes > PIECE_SCORED_BYTES) {
            pieces.push(start..index);
            (start, sum) = (index, *cost);
        }
    }
    if start < costs.len() {
        pieces.push(start..costs.len());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_every_query_once_and_are_bounded() {
        let cost = |bytes, scored_bytes| Cost { candidates: 1, bytes, scored_bytes };
        assert!(pieces(&[]).is_empty());
        assert_eq!(pieces(&[cost(1, 1); 4096]).as_slice(), std::slice::from_ref(&(0..4096)));
        let half = cost(PIECE_BYTES / 2, 0);
        assert_eq!(pieces(&[half; 5]), [0..2, 2..4, 4..5]);
        let large = cost(u64::MAX, u64::MAX);
        assert_eq!(pieces(&[cost(1, 1), large, large, cost(1, 1)]), [0..1, 1..2, 2..3, 3..4]);
        let work = cost(0, PIECE_SCORED_BYTES / 3);
        assert_eq!(pieces(&[work; 7]), [0..3, 3..6, 6..7]);
    }
}
