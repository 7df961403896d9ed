//! Scans and re-ranks: every live row is scored, on all cores, once for all queries of a field.
//!
//! Where a field is compressed, a scan scores its primary codes, and the best candidates are then
//! scored again, by their secondary codes or the vectors themselves (LeanVec's two phases,
//! arXiv 2312.16335, §2). Elsewhere, and for exact queries, the scan scores the vectors.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use rayon::ThreadPool;
use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::Deadline;
use super::plan::Plan;
use super::request::{Explanation, Hit, QueryRequest, QueryResponse, Stage};
use super::rescore::{is_dropped, rescore_rows, widen};
use super::search::search;
use super::top_k::{Bar, Candidate, TopK};
use super::view_filter::{self, runs};
use crate::error::{Error, Result};
use crate::index::Effort;
use crate::model::{CollectionConfig, Score};
use crate::quantization::PrimaryQuery;
use crate::segment::{FieldCodes, Location, Snapshot, View};

/// Bytes of vectors one task scores: large enough to amortise a task, small enough to share a
/// scan evenly between cores and to notice a deadline.
pub(super) const TASK_BYTES: u64 = 512 << 10;
/// Bytes of vectors that are scanned on the caller's thread, beside the search of an index.
const INLINE_BYTES: u64 = 64 << 10;
/// Rows whose codes are scored before the best of them are looked for.
const CODE_ROWS: usize = 512;

/// A range of rows of one view.
struct Task<'s> {
    index: u32,
    view: &'s View,
    rows: Range<u32>,
}

impl Task<'_> {
    fn locate(&self, row: u32) -> Location {
        Location { view: self.index, row }
    }

    /// Whether a row that the plan scores may be a hit: it is live, has the field, and matches.
    /// `absent` are the rows without the field.
    #[inline]
    fn allows(&self, plan: &Plan<'_>, absent: Option<&RoaringBitmap>, row: u32) -> bool {
        !self.view.deleted.contains(row)
            && !absent.is_some_and(|absent| absent.contains(row))
            && plan.view_filter(self.index as usize).is_none_or(|filter| filter.allows(row))
    }
}

/// Answers queries from a snapshot, in their order; if they are part of a batch, `first` is the
/// place of the first one in it. Scans, and searches of several indexes, run on
/// the pool; a single search of an index on the thread of the caller.
///
/// # Errors
/// [`Error::Invalid`] or [`Error::PointNotFound`] for the first refused query, as `queries[i]` of a
/// batch; [`Error::DeadlineExceeded`].
pub(crate) fn execute(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    requests: &[QueryRequest],
    deadline: Deadline,
    pool: &ThreadPool,
    first: Option<usize>,
) -> Result<Vec<QueryResponse>> {
    let plan = |request| Plan::new(snapshot, config, request);
    let mut plans: Vec<Plan<'_>> = match (requests, first) {
        ([request], None) => vec![plan(request)?],
        _ => {
            let first = first.unwrap_or(0);
            let plans: Vec<_> = pool.install(|| requests.par_iter().map(plan).collect());
            let named = |(index, plan): (usize, Result<_>)| {
                plan.map_err(|error: Error| error.within(format!("queries[{}]", first + index)))
            };
            plans.into_iter().enumerate().map(named).collect::<Result<_>>()?
        }
    };
    view_filter::prepare(snapshot, &mut plans)?;
    for plan in &mut plans {
        plan.choose_depths(snapshot);
    }
    let answer = || answer_plans(snapshot, config, &plans, deadline);
    match plans.as_slice() {
        [plan] if is_light(snapshot, plan) => answer(),
        _ => pool.install(answer),
    }
}

/// Whether a query is one search of an index and nothing else worth another thread.
fn is_light(snapshot: &Snapshot, plan: &Plan<'_>) -> bool {
    let searches = plan.depths.iter().filter(|depth| depth.is_some()).count();
    let scanned = snapshot.views.iter().zip(&plan.depths).filter(|(_, depth)| depth.is_none());
    let bytes: u64 = scanned.map(|(view, _)| view.reader.vector_bytes(plan.field)).sum();
    let second = plan.second.as_ref().is_none_or(|second| second.is_light(snapshot));
    searches == 1 && bytes <= INLINE_BYTES && second
}

/// Answers planned queries, on the rayon pool this runs in.
pub(super) fn answer_plans(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    plans: &[Plan<'_>],
    deadline: Deadline,
) -> Result<Vec<QueryResponse>> {
    if let [plan] = plans {
        return answer_group(snapshot, config, plan.field, &[plan], deadline);
    }
    let mut responses: Vec<Option<QueryResponse>> = plans.iter().map(|_| None).collect();
    for field in 0..config.fields.len() {
        let members: Vec<usize> =
            (0..plans.len()).filter(|&index| plans[index].field == field).collect();
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

/// Answers queries of one field, which share their scan.
fn answer_group(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    field: usize,
    group: &[&Plan<'_>],
    deadline: Deadline,
) -> Result<Vec<QueryResponse>> {
    let started = Instant::now();
    let bars: Vec<Bar> = group.iter().map(|plan| bar(plan)).collect();
    let searched = search(snapshot, field, group, deadline)?;
    let search_micros = micros(started);
    let mut found = scan(snapshot, field, group, &bars, deadline)?;
    let times = Times { search: search_micros, scan: micros(started) - search_micros };
    let mut efforts: Vec<Vec<(usize, Effort)>> = vec![Vec::new(); group.len()];
    for searched in searched {
        let view = searched.view as u32;
        for (score, row) in searched.rows {
            found[searched.plan].offer(Score(score), Location { view, row });
        }
        efforts[searched.plan].push((searched.view, searched.effort));
    }
    let finish = |((plan, top), efforts): ((&&Plan<'_>, TopK<'_>), Vec<(usize, Effort)>)| {
        answer(snapshot, config, plan, top, &efforts, times, deadline)
    };
    if group.len() == 1 {
        group.iter().zip(found).zip(efforts).map(finish).collect()
    } else {
        group.par_iter().zip(found).zip(efforts).map(finish).collect()
    }
}

/// What a scan may leave out from the start: scores of codes are not those of the hits, nor are
/// those of a first stage.
fn bar(plan: &Plan<'_>) -> Bar {
    if plan.is_exact() && plan.second.is_none() { Bar::at(plan.least) } else { Bar::default() }
}

/// What the parts of the work took, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    search: u64,
    scan: u64,
}

fn scan<'s>(
    snapshot: &'s Snapshot,
    field: usize,
    plans: &[&Plan<'_>],
    bars: &'s [Bar],
    deadline: Deadline,
) -> Result<Vec<TopK<'s>>> {
    let start = || -> Vec<TopK<'s>> {
        let start = |(plan, bar): (&&Plan<'_>, _)| TopK::sharing(plan.candidates(), snapshot, bar);
        plans.iter().zip(bars).map(start).collect()
    };
    let merge = |left: Vec<TopK<'s>>, right: Vec<TopK<'s>>| {
        left.into_iter().zip(right).map(|(left, right)| left.merge(right)).collect()
    };
    let work = |mut tops: Vec<TopK<'s>>, task: Task<'s>| {
        if deadline.passed() {
            return Err(Error::DeadlineExceeded);
        }
        let view = task.index as usize;
        let scanned = |(plan, _): &(&&Plan<'_>, &mut TopK<'_>)| plan.depths[view].is_none();
        for (plan, top) in plans.iter().zip(&mut tops).filter(scanned) {
            if let (Some(query), Some(codes)) = (&plan.codes[view], task.view.reader.codes(field)) {
                score_codes(&task, plan, codes, query, top);
            }
        }
        let mut exact: Vec<_> =
            plans.iter().zip(&mut tops).filter(|(plan, _)| plan.codes[view].is_none()).collect();
        score_vectors(&task, field, &mut exact);
        Ok(tops)
    };
    let mut tasks = tasks(snapshot, field, plans);
    if tasks.len() <= 1 {
        return tasks.pop().map_or_else(|| Ok(start()), |task| work(start(), task));
    }
    tasks
        .into_par_iter()
        .try_fold(start, work)
        .try_reduce(start, |left, right| Ok(merge(left, right)))
}

fn tasks<'s>(snapshot: &'s Snapshot, field: usize, plans: &[&Plan<'_>]) -> Vec<Task<'s>> {
    let mut tasks = Vec::new();
    for (index, view) in (0..).zip(&snapshot.views) {
        if plans.iter().all(|plan| plan.depths[index as usize].is_some()) {
            continue;
        }
        let rows = view.reader.rows();
        let coded = plans.iter().all(|plan| plan.codes[index as usize].is_some());
        let codes = view.reader.codes(field).filter(|_| coded);
        let row_bytes = codes.map_or_else(
            || view.reader.vector_bytes(field) / u64::from(rows.max(1)),
            |codes| codes.row_bytes() as u64,
        );
        let scanned = plans.iter().filter(|plan| plan.depths[index as usize].is_none());
        let scored = scanned.map(|plan| plan.view_filter(index as usize));
        let scored = scored.map(|filter| filter.map_or(rows.into(), |filter| filter.scored(rows)));
        let Some(scored) = scored.max().filter(|&scored| scored > 0) else { continue };
        // Ranges in which few rows are scored are longer.
        let step = (TASK_BYTES / row_bytes.max(1)).max(1) * u64::from(rows) / scored;
        let step = step.clamp(1, u64::from(u32::MAX)) as u32;
        for first in (0..rows).step_by(step as usize) {
            let rows = first..rows.min(first.saturating_add(step));
            tasks.push(Task { index, view, rows });
        }
    }
    tasks
}

fn score_codes(
    task: &Task<'_>,
    plan: &Plan<'_>,
    codes: &FieldCodes,
    query: &PrimaryQuery,
    top: &mut TopK<'_>,
) {
    let absent = task.view.reader.absent(plan.field);
    let filter = plan.view_filter(task.index as usize);
    let mut buffer = [0.0; CODE_ROWS];
    for run in runs(filter, task.rows.clone()) {
        for first in run.clone().step_by(CODE_ROWS) {
            let end = run.end.min(first.saturating_add(CODE_ROWS as u32));
            let scores = &mut buffer[..(end - first) as usize];
            codes.score(query, first..end, scores);
            let mut threshold = top.threshold().0;
            for (row, &score) in (first..end).zip(&*scores) {
                // Few rows pass the first check; scores of codes are never NaN.
                if score >= threshold && task.allows(plan, absent, row) {
                    top.offer(Score(score), task.locate(row));
                    threshold = top.threshold().0;
                }
            }
        }
    }
}

/// Scores vectors: those that a filter has gathered for its plan alone, the others once for all.
fn score_vectors(task: &Task<'_>, field: usize, plans: &mut [(&&Plan<'_>, &mut TopK<'_>)]) {
    let view = task.index as usize;
    let gathered = |(plan, _): &(&&Plan<'_>, &mut TopK<'_>)| {
        plan.view_filter(view).is_some_and(|filter| filter.gathered.is_some())
    };
    plans.sort_by_key(gathered);
    let (swept, gathered) = plans.split_at_mut(plans.partition_point(|plan| !gathered(plan)));
    if !swept.is_empty() {
        score_rows(task, field, task.rows.clone(), swept);
    }
    for plan in gathered {
        for run in runs(plan.0.view_filter(view), task.rows.clone()) {
            score_rows(task, field, run, std::slice::from_mut(plan));
        }
    }
}

fn score_rows(
    task: &Task<'_>,
    field: usize,
    rows: Range<u32>,
    plans: &mut [(&&Plan<'_>, &mut TopK<'_>)],
) {
    let view = task.index as usize;
    task.view.reader.read_ahead(field, rows.clone());
    if is_dropped(&*task.view.reader, field) {
        return score_dropped(task, field, &rows, plans);
    }
    let mut deleted = task.view.deleted.range(rows.clone()).peekable();
    let mut widened = Vec::new();
    task.view.reader.visit_vectors(field, rows, &mut |first, vectors, range| {
        for local in range {
            let row = first + local as u32;
            if deleted.next_if_eq(&row).is_some()
                || (!vectors.absent.is_empty() && vectors.absent.contains(local as u32))
            {
                continue;
            }
            let elements = widen(vectors.row(local), &mut widened);
            for (plan, top) in plans.iter_mut() {
                if plan.view_filter(view).is_none_or(|filter| filter.allows(row)) {
                    top.offer(plan.scorer.score(elements), task.locate(row));
                }
            }
        }
    });
}

/// Scores rows by what their codes hold of them, as re-ranking does.
fn score_dropped(
    task: &Task<'_>,
    field: usize,
    rows: &Range<u32>,
    plans: &mut [(&&Plan<'_>, &mut TopK<'_>)],
) {
    let reader = &*task.view.reader;
    let absent = reader.absent(field);
    for (plan, top) in plans {
        let allowed: Vec<u32> =
            rows.clone().filter(|&row| task.allows(plan, absent, row)).collect();
        rescore_rows(reader, field, &allowed, &plan.scorer, &mut |row, score| {
            top.offer(score, task.locate(row));
        });
    }
}

/// Scores the candidates that were found by codes again, by what is best of them.
fn rerank<'s>(
    snapshot: &'s Snapshot,
    plan: &Plan<'_>,
    found: Vec<Candidate<'s>>,
) -> Vec<Candidate<'s>> {
    let mut top = TopK::new(plan.hits(), snapshot);
    let mut rows = Vec::with_capacity(found.len());
    for (view, query) in (0..).zip(&plan.codes) {
        let of_view = found.iter().filter(|candidate| candidate.location.view == view);
        if query.is_none() {
            of_view.for_each(|candidate| top.offer(candidate.score, candidate.location));
            continue;
        }
        rows.clear();
        rows.extend(of_view.map(|candidate| candidate.location.row));
        let reader = &*snapshot.views[view as usize].reader;
        rescore_rows(reader, plan.field, &rows, &plan.scorer, &mut |row, score| {
            top.offer(score, Location { view, row });
        });
    }
    top.into_sorted()
}

fn answer(
    snapshot: &Snapshot,
    config: &CollectionConfig,
    plan: &Plan<'_>,
    found: TopK<'_>,
    efforts: &[(usize, Effort)],
    times: Times,
    deadline: Deadline,
) -> Result<QueryResponse> {
    let started = Instant::now();
    let reranks = !plan.is_exact();
    let found = found.into_sorted();
    let candidates = found.len() as u64;
    let mut best = if reranks { rerank(snapshot, plan, found) } else { found };
    best.retain(|candidate| !plan.exclude.contains(&candidate.location));
    let rerank_micros = micros(started);
    let mut rescored = Vec::new();
    if let Some(second) = &plan.second {
        (best, rescored) = second.rescore(snapshot, plan.request, best, deadline)?;
    }
    let explanation = plan.request.explain.then(|| {
        let mut stages = filter_stages(plan);
        stages.extend(search_stages(snapshot, plan, efforts, times.search));
        stages.extend(scan_stages(snapshot, plan, times.scan));
        if reranks {
            stages.push(rerank_stage(snapshot, plan, candidates, rerank_micros));
        }
        stages.extend(rescored);
        Explanation { stages }
    });
    let mut hits = Vec::with_capacity(plan.request.limit.min(best.len()));
    let good = best.into_iter().filter(|candidate| candidate.score >= plan.least);
    for Candidate { score, location, .. } in good.skip(plan.request.offset).take(plan.request.limit)
    {
        let point = snapshot.point(location, config.fields.keys(), plan.request.include)?;
        hits.push(Hit { score: score.0, point });
    }
    let (sequence, estimated_recall) = (snapshot.sequence, plan.estimated_recall);
    Ok(QueryResponse { hits, sequence, estimated_recall, explanation })
}

pub(super) fn micros(since: Instant) -> u64 {
    since.elapsed().as_micros().try_into().unwrap_or(u64::MAX)
}

/// What the searches of indexes read, a stage for each.
fn search_stages(
    snapshot: &Snapshot,
    plan: &Plan<'_>,
    efforts: &[(usize, Effort)],
    micros: u64,
) -> Vec<Stage> {
    let stage = |&(view, effort): &(usize, Effort)| {
        let reader = &snapshot.views[view].reader;
        let (codes, index) = (reader.codes(plan.field)?, reader.index(plan.field)?);
        let (depth, kind) = (plan.depths[view]?, index.report().kind.as_str());
        let (rows, row_bytes) = (effort.scored + effort.scanned, codes.row_bytes() as u64);
        Some(Stage {
            name: "search".into(),
            source: format!("{kind} {}, window {}", code_of(codes), depth.window),
            rows,
            bytes: rows * row_bytes + effort.expanded * 4 * index.report().degree as u64,
            micros,
        })
    };
    efforts.iter().filter_map(stage).collect()
}

/// What a scan of codes reads.
fn source_of(codes: &FieldCodes) -> String {
    let what = if codes.is_encoded() { "encodings" } else { "codes" };
    format!("{what} {}", code_of(codes))
}

fn code_of(codes: &FieldCodes) -> &str {
    codes.report().chosen().map_or("", |rung| rung.code.as_str())
}

/// What the filter came to, a stage for each way it was used.
fn filter_stages(plan: &Plan<'_>) -> Vec<Stage> {
    let mut ways = BTreeMap::<&str, u64>::new();
    let views = plan.filter.iter().flat_map(|filter| &filter.views).zip(&plan.depths);
    for (filter, depth) in views {
        let (way, rows) = match (&filter.gathered, depth) {
            (Some(gathered), _) => ("gathered", gathered.len()),
            (None, Some(_)) => ("traversed", filter.cardinality.expected),
            (None, None) => ("checked", filter.cardinality.expected),
        };
        *ways.entry(way).or_default() += rows;
    }
    let micros = plan.filter.as_ref().map_or(0, |filter| filter.micros);
    let stage = |(way, rows): (&str, u64)| Stage {
        name: "filter".into(),
        source: way.into(),
        rows,
        bytes: 0,
        micros,
    };
    ways.into_iter().map(stage).collect()
}

/// What the scan read, a stage for each kind of source.
fn scan_stages(snapshot: &Snapshot, plan: &Plan<'_>, micros: u64) -> Vec<Stage> {
    let mut sources = BTreeMap::<String, (u64, u64)>::new();
    for (index, (view, query)) in snapshot.views.iter().zip(&plan.codes).enumerate() {
        if plan.depths[index].is_some() {
            continue;
        }
        let codes = view.reader.codes(plan.field).filter(|_| query.is_some());
        let all = u64::from(view.reader.rows());
        let filter = plan.view_filter(index);
        let rows = filter.map_or(all, |filter| filter.scored(view.reader.rows()));
        let (source, bytes) = match codes {
            Some(codes) => (source_of(codes), rows * codes.row_bytes() as u64),
            None => {
                let bytes = view.reader.vector_bytes(plan.field);
                (vectors_of(view, plan.field), bytes * rows / all.max(1))
            }
        };
        let sum = sources.entry(source).or_default();
        *sum = (sum.0 + rows, sum.1 + bytes);
    }
    let stage =
        |(source, (rows, bytes))| Stage { name: "scan".into(), source, rows, bytes, micros };
    sources.into_iter().map(stage).collect()
}

pub(super) fn vectors_of(view: &View, field: usize) -> String {
    if view.reader.has_raw(field) { "vectors" } else { "reconstructed vectors" }.into()
}

fn rerank_stage(snapshot: &Snapshot, plan: &Plan<'_>, rows: u64, micros: u64) -> Stage {
    let coded = snapshot.views.iter().zip(&plan.codes).filter(|(_, query)| query.is_some());
    let codes: Vec<&FieldCodes> =
        coded.filter_map(|(view, _)| view.reader.codes(plan.field)).collect();
    let secondary = codes.iter().any(|codes| codes.has_secondary());
    let of_codes = || codes.iter().map(|codes| codes.secondary_row_bytes()).max().unwrap_or(0);
    let row_bytes = if secondary { of_codes() } else { 4 * plan.scorer.dimension() };
    let source = if secondary { "secondary codes" } else { "vectors" }.to_owned();
    Stage { name: "rerank".into(), source, rows, bytes: rows * row_bytes as u64, micros }
}
