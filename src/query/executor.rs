//! Executes planned queries: searches indexes, scans the other views once for all queries of a
//! field on all cores, and re-ranks.
//!
//! Where a field is compressed, a scan scores its primary codes, and the best candidates are
//! re-ranked with their secondary codes or vectors (LeanVec's two phases, arXiv 2312.16335, §2).
//! Elsewhere, and for exact queries, the scan scores the vectors.

use std::ops::Range;
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::Deadline;
use super::bound::{AnyBound, Bound};
use super::explain;
use super::paging;
use super::plan::{Access, Plan, Rows, ViewPlan};
use super::request::{Explanation, Hit, QueryRequest, QueryResponse};
use super::rerank::rerank;
use super::rescore::{is_dropped, rescore_rows, widen};
use super::search::{Found, search};
use super::text::BoundText;
use super::top_k::{Bar, Candidate, TopK};
use super::view_filter::{self, SnapshotFilter, runs};
use crate::error::{Error, Result};
use crate::field::{FieldCodes, FieldQuery};
use crate::model::{CollectionConfig, Condition, Score};
use crate::segment::{Location, Snapshot, View};

/// Bytes of vectors per task: large enough to amortise scheduling, small enough to balance a scan
/// between cores and to check the deadline often.
pub(super) const TASK_BYTES: u64 = 512 << 10;
/// Up to this many bytes of vectors are scanned on the caller's thread, after an index search.
const INLINE_BYTES: u64 = 64 << 10;
/// Number of rows whose codes are scored before the scores are compared with the threshold.
const CODE_ROWS: usize = 512;

/// A range of rows of one view.
struct Task<'s> {
    index: u32,
    view: &'s View,
    rows: Range<u32>,
    /// Bytes of vectors or codes to read.
    bytes: u64,
}

impl Task<'_> {
    fn locate(&self, row: u32) -> Location {
        Location { view: self.index, row }
    }

    /// Whether a row that the plan scores may be a hit: it is live, has the field, and matches.
    /// `absent` holds the rows without the field.
    #[inline]
    fn allows(&self, plan: &Plan<'_>, absent: Option<&RoaringBitmap>, row: u32) -> bool {
        !self.view.deleted.contains(row)
            && !absent.is_some_and(|absent| absent.contains(row))
            && self.plan(plan).rows.allows(row)
    }

    /// The plan for the task's view.
    fn plan<'p>(&self, plan: &'p Plan<'p>) -> &'p ViewPlan<'p> {
        &plan.views[self.index as usize]
    }
}

/// Callback that gets the field and the vectors of each query that is not exact.
pub(crate) type Note<'n> = &'n (dyn Fn(usize, &[f32]) + Sync);

/// Executes queries and returns their responses in request order; for a piece of a batch, `first`
/// is the position of its first query in the batch. Scans, and searches of several indexes, run on
/// the pool; the search of a single index runs on the caller's thread.
///
/// # Errors
/// [`Error::Invalid`] or [`Error::PointNotFound`] for the first invalid query, with the path
/// `queries[i]` in a batch; as [`Deadline::check`].
pub(crate) fn execute(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    (requests, note): (&[QueryRequest], Note<'_>),
    deadline: &Deadline,
    pool: &ThreadPool,
    first: Option<usize>,
) -> Result<Vec<QueryResponse>> {
    if !requests.iter().any(paging::is_paged) {
        return execute_all(snapshot, config, (requests, note), deadline, pool, first);
    }
    let (mut blocks, mut counts) = (Vec::new(), Vec::with_capacity(requests.len()));
    for (index, request) in requests.iter().enumerate() {
        // Errors carry the position of the request, and the callback runs once per request, not per
        // block.
        let bound = AnyBound::new(snapshot, config, request).map_err(|error| match first {
            None if requests.len() == 1 => error,
            _ => error.within(format!("queries[{}]", first.unwrap_or(0) + index)),
        })?;
        bound.noted(note);
        let of_request = paging::blocks(request).unwrap_or_else(|| vec![request.clone()]);
        counts.push(of_request.len());
        blocks.extend(of_request);
    }
    let noted = |_: usize, _: &[f32]| ();
    let found = execute_all(snapshot, config, (&blocks, &noted), deadline, pool, first)?;
    let mut found = found.into_iter();
    let answer = |(request, count): (&QueryRequest, usize)| {
        let mut found: Vec<QueryResponse> = found.by_ref().take(count).collect();
        let answer = if count > 1 { paging::page(request, found) } else { found.pop() };
        answer.ok_or_else(|| Error::Internal("a page has no answer".into()))
    };
    requests.iter().zip(counts).map(answer).collect()
}

/// As [`execute`], for requests that are not later pages.
fn execute_all(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    (requests, note): (&[QueryRequest], Note<'_>),
    deadline: &Deadline,
    pool: &ThreadPool,
    first: Option<usize>,
) -> Result<Vec<QueryResponse>> {
    let bind = |request| AnyBound::new(snapshot, config, request);
    let answer = |bound: Vec<AnyBound<'_>>| {
        // Also when the plan falls back to scoring vectors because no calibrated depth reaches the
        // target.
        bound.iter().for_each(|bound| bound.noted(note));
        answer_any(snapshot, config, bound, deadline, pool)
    };
    if let ([request], None) = (requests, first) {
        return answer(vec![bind(request)?]);
    }
    let first = first.unwrap_or(0);
    // Enter the pool once for everything below: on busy cores, each wake-up of its threads may cost
    // milliseconds.
    pool.install(|| {
        let bound: Vec<_> = requests.par_iter().map(bind).collect();
        let named = |(index, bound): (usize, Result<_>)| {
            bound.map_err(|error: Error| error.within(format!("queries[{}]", first + index)))
        };
        answer(bound.into_iter().enumerate().map(named).collect::<Result<_>>()?)
    })
}

/// Executes requests that are not later pages, each restricted to points that match its condition.
///
/// # Errors
/// As [`execute`], without the position of the request.
pub(super) fn execute_within(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    requests: &[(QueryRequest, Condition)],
    deadline: &Deadline,
    pool: &ThreadPool,
) -> Result<Vec<QueryResponse>> {
    let mut bound = Vec::with_capacity(requests.len());
    for (request, condition) in requests {
        let mut within = AnyBound::new(snapshot, config, request)?;
        within.restrict(condition.clone());
        bound.push(within);
    }
    answer_any(snapshot, config, bound, deadline, pool)
}

/// Executes bound requests of all kinds and returns their responses in order.
fn answer_any(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    bound: Vec<AnyBound<'_>>,
    deadline: &Deadline,
    pool: &ThreadPool,
) -> Result<Vec<QueryResponse>> {
    let is_text = |bound: &AnyBound<'_>| matches!(bound, AnyBound::Text(_));
    let kinds: Vec<bool> = bound.iter().map(is_text).collect();
    let (mut vectors, mut texts) = (Vec::new(), Vec::new());
    for bound in bound {
        match bound {
            AnyBound::Vectors(bound) => vectors.push(*bound),
            AnyBound::Text(bound) => texts.push(*bound),
        }
    }
    let answer = |text: &BoundText<'_>| text.answer(snapshot, config, deadline);
    let of_text: Vec<QueryResponse> = match texts.as_slice() {
        [] => Vec::new(),
        [text] if text.is_light(snapshot) => vec![answer(text)?],
        texts => pool.install(|| texts.par_iter().map(answer).collect::<Result<_>>())?,
    };
    if of_text.is_empty() {
        return answer_bound(snapshot, config, &vectors, deadline, pool);
    }
    let of_vectors = match vectors.is_empty() {
        true => Vec::new(),
        false => answer_bound(snapshot, config, &vectors, deadline, pool)?,
    };
    let (mut of_text, mut of_vectors) = (of_text.into_iter(), of_vectors.into_iter());
    let next = |is_text: bool| if is_text { of_text.next() } else { of_vectors.next() };
    Ok(kinds.into_iter().filter_map(next).collect())
}

/// Plans and executes bound requests.
fn answer_bound(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    bound: &[Bound<'_>],
    deadline: &Deadline,
    pool: &ThreadPool,
) -> Result<Vec<QueryResponse>> {
    let filters = view_filter::prepare(snapshot, bound, deadline, pool)?;
    let plan = |(number, bound)| Plan::new(snapshot, bound, filters.of(number));
    let plans: Vec<Plan<'_>> = bound.iter().enumerate().map(plan).collect();
    let answer = || answer_plans(snapshot, config, &plans, deadline);
    let answers = match plans.as_slice() {
        [plan] if is_light(snapshot, plan) => answer(),
        _ => pool.install(answer),
    }?;
    filters.check()?;
    Ok(answers)
}

/// Whether a query is at most one index search, with no other work worth handing to another thread.
fn is_light(snapshot: &Snapshot, plan: &Plan<'_>) -> bool {
    let is_listed = |view: &ViewPlan<'_>| matches!(view.access, Access::Lists { .. });
    if plan.views.iter().any(is_listed) {
        return false;
    }
    let searches = plan.views.iter().filter(|view| view.access.is_index()).count();
    let scanned =
        snapshot.views.iter().zip(&plan.views).filter(|(_, plan)| !plan.access.is_index());
    let bytes: u64 =
        scanned.map(|(view, _)| view.reader.field(plan.bound.field).vector_bytes()).sum();
    let second = plan.bound.second.as_ref().is_none_or(|second| second.is_light(snapshot));
    let reads = |filter: &SnapshotFilter<'_>| filter.reads_payloads();
    searches <= 1 && bytes <= INLINE_BYTES && second && !plan.filter.is_some_and(reads)
}

/// Executes planned queries on the current rayon pool.
pub(super) fn answer_plans(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    plans: &[Plan<'_>],
    deadline: &Deadline,
) -> Result<Vec<QueryResponse>> {
    if let [plan] = plans {
        return answer_group(snapshot, config, plan.bound.field, &[plan], deadline);
    }
    let mut responses: Vec<Option<QueryResponse>> = plans.iter().map(|_| None).collect();
    for field in 0..config.fields.len() {
        let members: Vec<usize> =
            (0..plans.len()).filter(|&index| plans[index].bound.field == field).collect();
        if members.is_empty() {
            continue;
        }
        let group: Vec<&Plan<'_>> = members.iter().map(|&index| &plans[index]).collect();
        let answers = answer_group(snapshot, config, field, &group, deadline)?;
        for (index, answer) in members.into_iter().zip(answers) {
            responses[index] = Some(answer);
        }
    }
    Ok(responses.into_iter().flatten().collect())
}

/// Executes queries of one field, which share a scan.
fn answer_group(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    field: usize,
    group: &[&Plan<'_>],
    deadline: &Deadline,
) -> Result<Vec<QueryResponse>> {
    let started = Instant::now();
    let mut searched = search(snapshot, field, group, deadline)?;
    let search_micros = micros(started);
    let mut limits: Vec<Vec<usize>> = group.iter().map(|plan| plan.pool_limits()).collect();
    for found in &searched {
        let limit = &mut limits[found.plan][group[found.plan].pool(found.view)];
        *limit = (*limit).max(found.budget);
    }
    let bars: Vec<Vec<Bar>> =
        group.iter().zip(&limits).map(|(plan, limits)| bars(plan, limits.len())).collect();
    let mut pools = scan(snapshot, field, (group, &limits, &bars), deadline)?;
    let scan = micros(started) - search_micros;
    let times = Times { search: search_micros, scan, rerank: 0 };
    let mut by_plan: Vec<Vec<Found>> = group.iter().map(|_| Vec::new()).collect();
    for mut found in searched.drain(..) {
        let view = found.view as u32;
        let pool = &mut pools[found.plan][group[found.plan].pool(found.view)];
        for (score, row) in found.rows.drain(..) {
            pool.offer(Score(score), Location { view, row });
        }
        by_plan[found.plan].push(found);
    }
    let finish = |((plan, pools), searched): ((&&Plan<'_>, Pools<'_>), Vec<Found>)| {
        answer(snapshot, config, plan, pools, &searched, times, deadline)
    };
    if group.len() == 1 {
        group.iter().zip(pools).zip(by_plan).map(finish).collect()
    } else {
        group.par_iter().zip(pools).zip(by_plan).map(finish).collect()
    }
}

/// The candidates of a query, by pool; see [`Plan::pool`].
type Pools<'s> = Vec<TopK<'s>>;

/// Initial thresholds of a scan. The request's score threshold applies only to final scores, not to
/// scores by codes or of a first stage.
fn bars(plan: &Plan<'_>, pools: usize) -> Vec<Bar> {
    let bar = |pool| match pool == 0 {
        true => Bar::at(plan.bound.first_least()),
        false => Bar::default(),
    };
    (0..pools).map(bar).collect()
}

/// Durations of the phases, in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub search: u64,
    pub scan: u64,
    pub rerank: u64,
}

fn scan<'s>(
    snapshot: &'s Snapshot,
    field: usize,
    (plans, limits, bars): (&[&Plan<'_>], &[Vec<usize>], &'s [Vec<Bar>]),
    deadline: &Deadline,
) -> Result<Vec<Pools<'s>>> {
    let pools = |(limits, bars): (&Vec<usize>, &'s Vec<Bar>)| -> Pools<'s> {
        let pool = |(pool, (&limit, bar)): (usize, (&usize, &'s Bar))| {
            let top = TopK::sharing(limit, snapshot, bar);
            if pool == 0 { top } else { top.by_codes() }
        };
        limits.iter().zip(bars).enumerate().map(pool).collect()
    };
    let start = || -> Vec<Pools<'s>> { limits.iter().zip(bars).map(pools).collect() };
    let join = |left: Pools<'s>, right: Pools<'s>| {
        left.into_iter().zip(right).map(|(left, right)| left.merge(right)).collect()
    };
    let merge = |left: Vec<Pools<'s>>, right: Vec<Pools<'s>>| {
        left.into_iter().zip(right).map(|(left, right)| join(left, right)).collect()
    };
    let work = |mut pools: Vec<Pools<'s>>, task: Task<'s>| {
        deadline.check()?;
        let view = task.index as usize;
        let mut exact = Vec::new();
        for (plan, pools) in plans.iter().zip(&mut pools) {
            match plan.views[view].access {
                Access::Exact => exact.push((plan, &mut pools[0])),
                Access::Codes { codes, query, .. } => {
                    score_codes(&task, plan, (codes, query), &mut pools[plan.pool(view)])?;
                }
                // Already searched.
                Access::Index { .. } | Access::Lists { .. } | Access::Inverted(_) => {}
            }
        }
        score_vectors(&task, field, &mut exact)?;
        Ok(pools)
    };
    let tasks = tasks(snapshot, field, plans);
    if tasks.len() <= 1 || tasks.iter().map(|task| task.bytes).sum::<u64>() <= INLINE_BYTES {
        return tasks.into_iter().try_fold(start(), work);
    }
    tasks
        .into_par_iter()
        .try_fold(start, work)
        .try_reduce(start, |left, right| Ok(merge(left, right)))
}

fn tasks<'s>(snapshot: &'s Snapshot, field: usize, plans: &[&Plan<'_>]) -> Vec<Task<'s>> {
    let mut tasks = Vec::new();
    for (index, view) in (0..).zip(&snapshot.views) {
        let plans = || plans.iter().map(|plan| &plan.views[index as usize]);
        if plans().all(|plan| plan.access.is_index()) {
            continue;
        }
        let rows = view.reader.rows();
        let coded = plans().all(|plan| plan.access.codes().is_some());
        let codes = view.reader.field(field).codes().filter(|_| coded);
        let row_bytes = codes.map_or_else(
            || view.reader.field(field).vector_bytes() / u64::from(rows.max(1)),
            |codes| codes.scanned_row_bytes() as u64,
        );
        let scanned = plans().filter(|plan| !plan.access.is_index());
        let scored = scanned.map(|plan| plan.rows.scored(rows));
        let Some(scored) = scored.max().filter(|&scored| scored > 0) else { continue };
        // Longer ranges where few of the rows are scored.
        let step = (TASK_BYTES / row_bytes.max(1)).max(1) * u64::from(rows) / scored;
        let step = step.clamp(1, u64::from(u32::MAX)) as u32;
        for first in (0..rows).step_by(step as usize) {
            let rows = first..rows.min(first.saturating_add(step));
            let bytes = row_bytes * u64::from(rows.end - rows.start);
            tasks.push(Task { index, view, rows, bytes });
        }
    }
    tasks
}

fn score_codes(
    task: &Task<'_>,
    plan: &Plan<'_>,
    (codes, query): (&FieldCodes, &FieldQuery),
    top: &mut TopK<'_>,
) -> Result<()> {
    let (reader, field) = (&task.view.reader, plan.bound.field);
    let absent = reader.field(field).absent();
    let mut buffer = [0.0; CODE_ROWS];
    for run in runs(task.plan(plan).rows, task.rows.clone()) {
        reader.field(field).check_scanned(run.clone(), Some(query))?;
        for first in run.clone().step_by(CODE_ROWS) {
            let end = run.end.min(first.saturating_add(CODE_ROWS as u32));
            let scores = &mut buffer[..(end - first) as usize];
            codes.score(query, first..end, scores);
            let mut threshold = top.threshold().0;
            for (row, &score) in (first..end).zip(&*scores) {
                // Few rows pass the threshold; scores by codes are never NaN.
                if score >= threshold && task.allows(plan, absent, row) {
                    top.offer(Score(score), task.locate(row));
                    threshold = top.threshold().0;
                }
            }
        }
    }
    Ok(())
}

/// Scores vectors: once for all plans that scan every row, and separately for plans with gathered
/// rows.
fn score_vectors(
    task: &Task<'_>,
    field: usize,
    plans: &mut [(&&Plan<'_>, &mut TopK<'_>)],
) -> Result<()> {
    let gathered = |(plan, _): &(&&Plan<'_>, &mut TopK<'_>)| {
        matches!(task.plan(plan).rows, Rows::Gathered(..))
    };
    plans.sort_by_key(gathered);
    let (swept, gathered) = plans.split_at_mut(plans.partition_point(|plan| !gathered(plan)));
    if !swept.is_empty() {
        score_rows(task, field, task.rows.clone(), swept)?;
    }
    for plan in gathered {
        for run in runs(task.plan(plan.0).rows, task.rows.clone()) {
            score_rows(task, field, run, std::slice::from_mut(plan))?;
        }
    }
    Ok(())
}

fn score_rows(
    task: &Task<'_>,
    field: usize,
    rows: Range<u32>,
    plans: &mut [(&&Plan<'_>, &mut TopK<'_>)],
) -> Result<()> {
    task.view.reader.field(field).read_ahead(rows.clone());
    plans.iter().for_each(|(plan, _)| plan.bound.scorer.prepare_scan());
    if is_dropped(&*task.view.reader, field) {
        return score_dropped(task, field, &rows, plans);
    }
    task.view.reader.field(field).check_scanned(rows.clone(), None)?;
    let mut deleted = task.view.deleted.range(rows.clone()).peekable();
    let mut widened = Vec::new();
    task.view.reader.field(field).visit(rows, &mut |first, vectors, range| {
        for local in range {
            let row = first + local as u32;
            if deleted.next_if_eq(&row).is_some()
                || (!vectors.absent.is_empty() && vectors.absent.contains(local as u32))
            {
                continue;
            }
            let elements = widen(vectors.row(local), &mut widened);
            for (plan, top) in plans.iter_mut() {
                if task.plan(plan).rows.allows(row) {
                    top.offer(plan.bound.scorer.score(elements), task.locate(row));
                }
            }
        }
    });
    Ok(())
}

/// Scores rows whose vectors were dropped by their codes, as re-ranking does.
fn score_dropped(
    task: &Task<'_>,
    field: usize,
    rows: &Range<u32>,
    plans: &mut [(&&Plan<'_>, &mut TopK<'_>)],
) -> Result<()> {
    let reader = &*task.view.reader;
    let absent = reader.field(field).absent();
    for (plan, top) in plans {
        let allowed: Vec<u32> =
            rows.clone().filter(|&row| task.allows(plan, absent, row)).collect();
        reader.field(field).check_rescored(&allowed)?;
        rescore_rows(reader, field, &allowed, &plan.bound.scorer, &mut |row, score| {
            top.offer(score, task.locate(row));
        });
    }
    Ok(())
}

fn answer(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    plan: &Plan<'_>,
    pools: Pools<'_>,
    searched: &[Found],
    times: Times,
    deadline: &Deadline,
) -> Result<QueryResponse> {
    deadline.check()?;
    let started = Instant::now();
    let bound = plan.bound;
    let ranking = rerank(snapshot, plan, pools, deadline)?;
    let mut best = ranking.best;
    // The hits found are at most as near as the true nearest neighbours.
    let worst = best.get(bound.hits().saturating_sub(1)).map(|worst| worst.score);
    let wider = worst.and_then(|worst| plan.wider(snapshot, worst));
    let again = |plan: &Plan<'_>| {
        let answers = answer_group(snapshot, config, bound.field, &[plan], deadline)?;
        let lost = || Error::Internal("a search that was repeated has no answer".into());
        answers.into_iter().next().ok_or_else(lost)
    };
    if let Some(wider) = wider.as_ref().filter(|wider| wider.goes_beyond(plan)) {
        return again(wider);
    }
    let hits = &best[..best.len().min(bound.hits())];
    let missed: Vec<(usize, f64)> =
        searched.iter().map(|found| (found.view, found.missed(plan, hits))).collect();
    let misses = |view: usize, own: &ViewPlan<'_>| {
        let tolerated = f64::from(own.tolerated.unwrap_or(0.0)) * bound.hits() as f64;
        missed.iter().any(|&(of, missed)| of == view && missed > tolerated)
    };
    if let Some(scan) = plan.without_lists(snapshot, misses) {
        return again(&scan);
    }
    best.retain(|candidate| !bound.exclude.contains(&candidate.location));
    let rerank_micros = micros(started);
    let mut rescored = Vec::new();
    if let Some(second) = &bound.second {
        (best, rescored) = second.rescore(snapshot, bound.request, best, deadline)?;
    }
    let explanation = bound.request.explain.then(|| {
        let times = Times { rerank: rerank_micros, ..times };
        let ranked = (ranking.candidates, ranking.by_vectors);
        let mut stages = explain::stages(snapshot, plan, searched, ranked, times);
        stages.extend(rescored);
        Explanation { stages }
    });
    let QueryRequest { limit, offset, include, .. } = *bound.request;
    let mut hits = Vec::with_capacity(limit.min(best.len()));
    let good = best.into_iter().filter(|candidate| candidate.score >= bound.least);
    for Candidate { score, location, .. } in good.skip(offset).take(limit) {
        let point = snapshot.point(location, config.fields.keys(), include)?;
        hits.push(Hit::new(point, score.0));
    }
    let mut estimated_recall = estimate(snapshot, plan, searched, worst);
    if let Some(wider) = &wider {
        // Wide enough already, but outside the calibrated queries: lower the estimate accordingly.
        let wider = estimate(snapshot, wider, &[], worst);
        estimated_recall = estimated_recall.zip(wider).map(|(a, b)| a.min(b));
    }
    let of_lists: f64 = missed.iter().map(|(_, missed)| missed).sum();
    let missed = (ranking.missed + of_lists) / bound.hits() as f64;
    let estimated_recall = estimated_recall.map(|recall| (recall - missed as f32).max(0.0));
    let sequence = snapshot.sequence;
    Ok(QueryResponse { hits, sequence, estimated_recall, explanation })
}

/// Recall estimate of a response whose last hit has score `worst`: the lowest estimate of all
/// views; `None` if it is unknown for any of them.
fn estimate(
    snapshot: &Snapshot,
    plan: &Plan<'_>,
    searched: &[Found],
    worst: Option<Score>,
) -> Option<f32> {
    let bound = plan.bound;
    let nearness = worst.map(|worst| bound.scorer.nearness(worst));
    let of_view = |(view, plan): (usize, &ViewPlan<'_>)| {
        let found = searched.iter().find(|found| found.view == view);
        let expected = found.map_or(plan.expected, |found| found.expected);
        let reader = &snapshot.views[view].reader;
        Some(expected? * reader.field(bound.field).kept(bound.hits(), nearness)?)
    };
    let mut views = plan.views.iter().enumerate().map(of_view);
    views.try_fold(1.0_f32, |least, expected| Some(least.min(expected?)))
}

pub(super) fn micros(since: Instant) -> u64 {
    since.elapsed().as_micros().try_into().unwrap_or(u64::MAX)
}
