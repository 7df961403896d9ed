//! Batches run in pieces, so that memory is bounded by the piece and other queries get their turn
//! in between.

use std::iter::Sum;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::ThreadPool;

use super::Deadline;
use super::executor::{Note, execute, execute_within};
use super::highlight::{Fragment, Highlighter};
use super::request::{Query, QueryRequest, QueryResponse};
use super::threads::QueryThreads;
use super::view_plan::MOST_CANDIDATES;
use crate::error::{Error, Result};
use crate::index::inverted::BYTES_OF_LIST;
use crate::model::{
    CollectionConfig, Condition, Include, MemoryBudget, Point, PointId, Vector, VectorField,
    VectorKind, check_range, limits,
};
use crate::segment::{Location, Snapshot, View};

/// Memory limit of a piece in bytes, without the responses; a single query may exceed it.
const PIECE_BYTES: u64 = 32 << 20;
/// Target duration of a piece.
const PIECE_TIME: Duration = Duration::from_millis(20);
/// Work of the first piece, and limit of short queries, in scored bytes: a core scores about ten
/// per nanosecond.
const FIRST_WORK: u64 = 512 << 20;
const SHORT_WORK: u64 = 64 << 20;
/// Minimum work of a row: scoring it and comparing the score.
const ROW_WORK: u64 = 64;
/// Rows scored by codes per row kept in a graph search.
const SCORED_ROWS: u64 = 16;
/// Assumed search window if the request sets none.
const DEFAULT_WINDOW: u64 = 128;
/// Number of query tokens that make scoring a byte of a token as slow as reading it.
const TOKENS: u64 = 8;
/// Size of a candidate.
const CANDIDATE_BYTES: u64 = 24;
/// Accumulators per thread in a scan.
const ACCUMULATORS: u64 = 4;
/// Size of a hit without the vectors and payload of its point.
const HIT_BYTES: u64 = 256;
/// Upper estimate of the default re-ranking budget: a multiple of the hits, and a minimum.
const DEFAULT_RERANK: (usize, usize) = (20, 500);

/// Estimated cost of a query, an upper bound.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    candidates: u64,
    bytes: u64,
    /// Scored bytes, or the equivalent in time.
    work: u64,
}

impl<'c> Sum<&'c Cost> for Cost {
    fn sum<I: Iterator<Item = &'c Cost>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, cost| Self {
            candidates: sum.candidates.saturating_add(cost.candidates),
            bytes: sum.bytes.saturating_add(cost.bytes),
            work: sum.work.saturating_add(cost.work),
        })
    }
}

/// Everything that queries need besides the request.
pub(crate) struct Ground<'g> {
    pub snapshot: &'g Snapshot,
    pub config: &'g CollectionConfig,
    pub threads: &'g QueryThreads,
    /// Memory budget: candidates are reserved for the duration of a piece, responses are spent for
    /// good.
    pub memory: &'g Arc<MemoryBudget>,
    /// Callback for each query that is answered by codes.
    pub note: Note<'g>,
}

impl Ground<'_> {
    /// Executes queries, in their order.
    ///
    /// # Errors
    /// As [`execute`]; [`Error::Invalid`] if a batch has too many candidates, and
    /// [`Error::Exhausted`] if memory does not suffice.
    pub fn answer(
        &self,
        requests: &[QueryRequest],
        deadline: &Deadline,
    ) -> Result<Vec<QueryResponse>> {
        check_range("queries", 1, limits::MAX_BATCH_QUERIES, requests.len())?;
        let costs: Vec<Cost> = requests.iter().map(|request| self.cost(request)).collect();
        let all: Cost = costs.iter().sum();
        if requests.len() > 1 {
            let all = usize::try_from(all.candidates).unwrap_or(usize::MAX);
            check_range("queries: candidates to re-rank", 0, limits::MAX_BATCH_CANDIDATES, all)?;
        }
        let mut answers = Vec::with_capacity(requests.len());
        let (mut start, mut work) = (0, FIRST_WORK);
        while start < costs.len() {
            let piece = start..start + piece_len(&costs[start..], work);
            start = piece.end;
            let cost: Cost = costs[piece.clone()].iter().sum();
            self.in_turn(all.work, deadline, |pool| {
                let _held = self.memory.reserve("candidates of queries", cost.bytes)?;
                let started = Instant::now();
                self.answer_piece((requests, piece), (deadline, pool), &mut answers)?;
                work = next_work(work, cost.work, started.elapsed());
                Ok(())
            })?;
        }
        Ok(answers)
    }

    /// Runs one piece: immediately if the whole request (`all`) is short, otherwise when its turn
    /// comes.
    fn in_turn<T>(
        &self,
        all: u64,
        deadline: &Deadline,
        work: impl FnOnce(&ThreadPool) -> Result<T>,
    ) -> Result<T> {
        if all <= SHORT_WORK {
            return work(self.threads.short());
        }
        let turn = self.threads.long(deadline)?;
        work(turn.pool())
    }

    /// Executes queries in one piece, each restricted to points that match its condition.
    ///
    /// # Errors
    /// As [`Self::answer`].
    pub fn answer_within(
        &self,
        searches: &[(QueryRequest, Condition)],
        deadline: &Deadline,
    ) -> Result<Vec<QueryResponse>> {
        let costs: Vec<Cost> = searches.iter().map(|(query, _)| self.cost(query)).collect();
        let cost: Cost = costs.iter().sum();
        self.in_turn(cost.work, deadline, |pool| {
            let _held = self.memory.reserve("candidates of queries", cost.bytes)?;
            execute_within(self.snapshot, self.config, searches, deadline, pool)
        })
    }

    fn answer_piece(
        &self,
        (requests, piece): (&[QueryRequest], Range<usize>),
        (deadline, pool): (&Deadline, &ThreadPool),
        answers: &mut Vec<QueryResponse>,
    ) -> Result<()> {
        let (first, several) = (piece.start, requests.len() > 1);
        let requests = &requests[piece];
        // Points are fetched one by one below, so that their bytes are counted as they are read.
        let plain =
            |request: &QueryRequest| QueryRequest { include: Include::NOTHING, ..request.clone() };
        let mut highlighters = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            let highlighter = Highlighter::new(self, request).map_err(|error| match several {
                true => error.within(format!("queries[{}]", first + index)),
                false => error,
            });
            highlighters.push(highlighter?);
        }
        let fetches = requests.iter().any(|request| request.include != Include::NOTHING);
        let stripped: Vec<QueryRequest> =
            if fetches { requests.iter().map(plain).collect() } else { Vec::new() };
        let bare = if fetches { &stripped } else { requests };
        let base = several.then_some(first);
        let noted = (bare, self.note);
        let mut found = execute(self.snapshot, self.config, noted, deadline, pool, base)?;
        for ((request, answer), highlighter) in
            requests.iter().zip(&mut found).zip(&mut highlighters)
        {
            for hit in &mut answer.hits {
                if let Some(highlighter) = highlighter {
                    hit.fragments = self.fragments(highlighter, &hit.point.id)?;
                }
                let point = std::mem::replace(&mut hit.point, Point::new(0));
                hit.point = self.fetch(point, request.include)?;
            }
        }
        answers.append(&mut found);
        Ok(())
    }

    /// Reads the included parts of a point that was found, and counts its memory.
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

    /// Cuts the fragments of a point that was found, and counts their memory.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub fn fragments(
        &self,
        highlighter: &mut Highlighter<'_>,
        id: &PointId,
    ) -> Result<Vec<Fragment>> {
        let fragments = highlighter.fragments(id)?;
        let bytes: usize = fragments.iter().map(|f| f.text.len() + 16 * f.matches.len()).sum();
        self.memory.spend("answers to queries", ANSWER_COPIES * bytes as u64)?;
        Ok(fragments)
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
            return match self.config.text.contains_key(&request.field) {
                true => text_cost(rows, hits as u64),
                // Fails later, in planning.
                false => Cost::default(),
            };
        };
        let scans = self.scans(field, request.params.exact);
        let accumulators = match scans {
            // The results of index searches are collected once.
            false => 1,
            true => ACCUMULATORS * self.threads.short().current_num_threads() as u64,
        };
        // What is re-ranked of these is much less.
        let scans_centroids = !request.params.exact && request.params.rerank.is_none();
        let listed = if scans_centroids { self.listed_candidates(field) } else { 0 };
        // A row is a candidate in one accumulator only. Accumulators hold up to twice as many
        // candidates as they keep, in vectors with up to twice the capacity needed.
        let most = kept.max(listed);
        let candidates = rows.min(most.saturating_mul(2 * accumulators));
        let mut bytes = 2 * CANDIDATE_BYTES * candidates + 4 * CANDIDATE_BYTES * rows.min(window);
        bytes += HIT_BYTES * rows.min(wanted as u64);
        let values = self.query_values(field, settings, &request.query);
        bytes += query_bytes(settings, values);
        if settings.kind == VectorKind::Sparse {
            bytes += BYTES_OF_LIST as u64 * values;
        }
        if !request.params.exact {
            bytes += self.code_query_bytes(field, values / settings.dimension.max(1) as u64);
        }
        let of_vector = self.vector_work(field, settings, values);
        let mut work = self.work(field, of_vector, request.params.exact, kept.max(window));
        if let Some(rescore) = &request.rescore
            && let Ok((field, settings)) = self.config.field(&rescore.field)
        {
            let values = self.query_values(field, settings, &rescore.query);
            bytes += query_bytes(settings, values);
            let of_vector = self.vector_work(field, settings, values);
            work = work.saturating_add(of_vector.saturating_mul(rescore.candidates as u64));
        }
        Cost { candidates: rows.min(most), bytes, work }
    }

    /// Candidates that scans of centroids keep.
    fn listed_candidates(&self, field: usize) -> u64 {
        let of_view = |view: &View| {
            let codes = view.reader.field(field).codes().filter(|codes| codes.has_lists());
            codes.map_or(0, |codes| u64::from(codes.rows()).min(MOST_CANDIDATES as u64))
        };
        self.snapshot.views.iter().map(of_view).sum()
    }

    /// Additional bytes of a query of `vectors` vectors prepared for codes; segments share them.
    fn code_query_bytes(&self, field: usize, vectors: u64) -> u64 {
        let codes = self.snapshot.views.iter().filter_map(|view| view.reader.field(field).codes());
        codes.map(|codes| codes.query_bytes(vectors as usize) as u64).max().unwrap_or(0)
    }

    /// The work of a query that keeps `kept` candidates, given the work of scoring a row by its
    /// vectors.
    fn work(&self, field: usize, of_vector: u64, exact: bool, kept: u64) -> u64 {
        let of_view = |view: &View| {
            let (reader, rows) = (&view.reader, u64::from(view.reader.rows()));
            if reader.field(field).inverted().is_some() && !exact {
                return rows.saturating_mul(ROW_WORK);
            }
            let Some(codes) = reader.field(field).codes().filter(|_| !exact) else {
                return rows.saturating_mul(of_vector);
            };
            let of_code = (codes.scanned_row_bytes() as u64).max(ROW_WORK);
            let scored = match reader.field(field).index() {
                Some(_) => rows.min(kept.max(DEFAULT_WINDOW).saturating_mul(SCORED_ROWS)),
                None => rows,
            };
            scored.saturating_mul(of_code).saturating_add(rows.min(kept).saturating_mul(of_vector))
        };
        self.snapshot.views.iter().map(of_view).fold(0, u64::saturating_add)
    }

    /// Mean work of scoring one row by its vectors, for a query of `values` values.
    fn vector_work(&self, field: usize, settings: &VectorField, values: u64) -> u64 {
        let readers = || self.snapshot.views.iter().map(|view| &view.reader);
        let rows: u64 = readers().map(|reader| u64::from(reader.rows())).sum();
        let bytes: u64 = readers().map(|reader| reader.field(field).vector_bytes()).sum();
        let tokens = values / settings.dimension.max(1) as u64;
        (bytes / rows.max(1)).saturating_mul(1 + tokens / TOKENS).max(ROW_WORK)
    }

    /// Number of values of the vectors of a query; 0 if it names a point that does not exist.
    pub(super) fn query_values(&self, field: usize, settings: &VectorField, query: &Query) -> u64 {
        match query {
            Query::Vector(Vector::Sparse(sparse)) => sparse.len() as u64,
            Query::Vector(vector) => vector.as_ref().values().len() as u64,
            Query::Point(id) => self.vector_len(field, id),
            // A mean in double precision.
            Query::Recommend { .. } => 2 * settings.dimension as u64,
            // Refused later.
            Query::Text(_) => 0,
        }
    }

    /// Number of values of a point's vectors, without copying them.
    fn vector_len(&self, field: usize, id: &PointId) -> u64 {
        let Ok(Some(Location { view, row })) = self.snapshot.find(id) else { return 0 };
        let mut len = 0;
        let reader = &self.snapshot.views[view as usize].reader;
        reader.field(field).visit(row..row + 1, &mut |_, vectors, range| {
            len = vectors.row(range.start).len() as u64;
        });
        len
    }

    /// Whether any rows are scored without an index.
    fn scans(&self, field: usize, exact: bool) -> bool {
        let is_scanned = |view: &View| {
            let field = view.reader.field(field);
            let is_searched = !exact && (field.index().is_some() || field.inverted().is_some());
            !is_searched && field.vector_bytes() > 0
        };
        self.snapshot.views.iter().any(is_scanned)
    }
}

/// Cost of a query on a text field among `rows` rows: each has one word of it, at most.
fn text_cost(rows: u64, hits: u64) -> Cost {
    let candidates = rows.min(hits);
    let bytes = (2 * CANDIDATE_BYTES + HIT_BYTES) * candidates;
    Cost { candidates, bytes, work: rows.saturating_mul(ROW_WORK) }
}

/// Bytes of a planned query of `values` values: as given, scaled, in bit planes of codes, and
/// encoded.
fn query_bytes(settings: &VectorField, values: u64) -> u64 {
    16 * values + 8 * settings.coded_dimension() as u64
}

/// Number of copies of a response in memory: as points, messages and bytes.
const ANSWER_COPIES: u64 = 3;

fn lost(id: &PointId) -> Error {
    Error::Internal(format!("point {id} was found and is not in the snapshot"))
}

/// Number of queries in the next piece: as many as fit into `work` and the memory limit, but at
/// least one.
fn piece_len(costs: &[Cost], work: u64) -> usize {
    let mut sum = Cost::default();
    let fits = |cost: &&Cost| {
        sum = [sum, **cost].iter().sum();
        sum.bytes <= PIECE_BYTES && sum.work <= work
    };
    costs.iter().take_while(fits).count().max(1)
}

/// The work of the next piece: scaled to the target duration by the speed of the last piece, which
/// did `done` in `took`, and clamped around `last`, the work it was allowed.
fn next_work(last: u64, done: u64, took: Duration) -> u64 {
    let in_time = done as f64 * PIECE_TIME.as_secs_f64() / took.as_secs_f64().max(1e-6);
    // The cast saturates.
    (in_time as u64).clamp(last / 8, last.saturating_mul(4)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(bytes: u64, work: u64) -> Cost {
        Cost { candidates: 1, bytes, work }
    }

    #[test]
    fn a_piece_is_a_query_or_as_many_as_are_bounded() {
        assert_eq!(piece_len(&[cost(1, 1); 4096], 4096), 4096);
        let half = cost(PIECE_BYTES / 2, 0);
        assert_eq!(piece_len(&[half; 5], 1), 2);
        let large = cost(u64::MAX, u64::MAX);
        assert_eq!(piece_len(&[large, large], 1), 1);
        assert_eq!(piece_len(&[cost(1, 1), large], 10), 1);
        assert_eq!(piece_len(&[cost(0, 3); 7], 10), 3);
    }

    #[test]
    fn the_next_piece_takes_as_long_as_it_should() {
        assert_eq!(next_work(1000, 1000, PIECE_TIME), 1000);
        assert_eq!(next_work(1000, 1000, PIECE_TIME * 2), 500);
        assert_eq!(next_work(1000, 500, PIECE_TIME / 4), 2000);
        // A single outlier has bounded effect.
        assert_eq!(next_work(1000, 1000, Duration::ZERO), 4000);
        assert_eq!(next_work(1000, 1000, PIECE_TIME * 1000), 125);
        assert_eq!(next_work(1, 0, PIECE_TIME), 1);
        assert_eq!(next_work(u64::MAX, u64::MAX, PIECE_TIME / 2), u64::MAX);
    }
}
