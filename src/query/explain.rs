//! Explains an executed plan: one [`Stage`] for each part of the work.

use std::collections::BTreeMap;

use super::executor::Times;
use super::plan::{Access, Plan, Rows, ViewPlan};
use super::request::Stage;
use super::search::Found;
use crate::field::{FieldCodes, FieldIndex, FieldQuery};
use crate::index::Margin;
use crate::model::IndexKind;
use crate::quantization::CodecReport;
use crate::segment::{Snapshot, View};

/// The stages of an executed plan, without its second stage.
pub fn stages(
    snapshot: &Snapshot,
    plan: &Plan<'_>,
    searched: &[Found],
    (candidates, by_vectors): (u64, u64),
    times: Times,
) -> Vec<Stage> {
    let mut stages = filter_stages(plan);
    stages.extend(search_stages(plan, searched, times.search));
    stages.extend(scan_stages(snapshot, plan, times.scan));
    if !plan.is_exact() {
        stages.push(rerank_stage(plan, candidates, times.rerank));
        stages.extend(vector_stage(snapshot, plan, by_vectors));
    }
    stages
}

/// One stage for each index searched.
fn search_stages(plan: &Plan<'_>, searched: &[Found], micros: u64) -> Vec<Stage> {
    let stage = |&Found { view, effort, bytes, .. }: &Found| -> Option<Stage> {
        if let Access::Inverted(_) = plan.views[view].access {
            let dimensions = plan.bound.scorer.entries().map_or(0, <[_]>::len);
            let source = format!("inverted index, {dimensions} dimensions");
            return Some(Stage {
                name: "search".into(),
                source,
                rows: effort.scored,
                bytes,
                micros,
            });
        }
        if let Access::Lists { codes, .. } = plan.views[view].access {
            let bytes = bytes + effort.scored * codes.scanned_row_bytes() as u64;
            let (name, source) = ("search".into(), "lists of centroids".into());
            return Some(Stage { name, source, rows: effort.scored, bytes, micros });
        }
        let Access::Index { codes, index, depth, .. } = plan.views[view].access else {
            return None;
        };
        let kind = index.report().kind.as_str();
        let margin =
            depth.margin.map(|Margin { rank, gap }| format!(", margin {gap:.3} of hit {rank}"));
        let (rows, row_bytes) = (effort.scored + effort.scanned, codes.row_bytes() as u64);
        Some(Stage {
            name: "search".into(),
            source: format!(
                "{kind} {}, window {}{}",
                code_of(codes),
                depth.window,
                margin.unwrap_or_default()
            ),
            rows,
            bytes: rows * row_bytes + effort.expanded * 4 * index.report().degree as u64,
            micros,
        })
    };
    let mut stages: Vec<Stage> = searched.iter().filter_map(stage).collect();
    stages.extend(searched.iter().filter_map(|found| centroid_stage(plan, found)));
    stages
}

/// The stage that puts candidates of an index in order by their centroids; its time is part of the
/// search.
fn centroid_stage(plan: &Plan<'_>, found: &Found) -> Option<Stage> {
    let Access::Index { codes, .. } = plan.views[found.view].access else { return None };
    let rows = found.by_centroids;
    (rows > 0).then(|| Stage {
        name: "rerank".into(),
        source: "centroids".into(),
        rows,
        bytes: rows * codes.scanned_row_bytes() as u64,
        micros: 0,
    })
}

/// Name of the data that a scan of codes reads.
fn source_of(codes: &FieldCodes, query: &FieldQuery) -> String {
    if query.centroids().is_some() {
        return "centroids".to_owned();
    }
    let what = if codes.is_multi() { "encodings" } else { "codes" };
    format!("{what} {}", code_of(codes))
}

fn code_of(codes: &FieldCodes) -> &str {
    codes.report().and_then(CodecReport::chosen).map_or("", |rung| rung.code.as_str())
}

/// One stage for each way the filter was applied.
fn filter_stages(plan: &Plan<'_>) -> Vec<Stage> {
    let mut ways = BTreeMap::<&str, u64>::new();
    for view in &plan.views {
        let (way, rows) = match view.rows {
            Rows::All => continue,
            Rows::Gathered(_, rows) => ("gathered", rows.len()),
            Rows::Checked(filter) if view.access.is_index() => {
                ("traversed", filter.cardinality.expected)
            }
            Rows::Checked(filter) => ("checked", filter.cardinality.expected),
        };
        *ways.entry(way).or_default() += rows;
    }
    let micros = plan.filter.map_or(0, |filter| filter.micros);
    let stage = |(way, rows): (&str, u64)| Stage {
        name: "filter".into(),
        source: way.into(),
        rows,
        bytes: 0,
        micros,
    };
    let mut stages: Vec<Stage> = ways.into_iter().map(stage).collect();
    stages.extend(payload_stage(plan));
    stages
}

/// Payloads read so far because the filter names undeclared paths.
fn payload_stage(plan: &Plan<'_>) -> Option<Stage> {
    let filter = plan.filter?;
    let read: Vec<(u64, u64)> =
        filter.views.iter().filter_map(|view| view.rows.payloads_read()).collect();
    let (rows, bytes) = read.iter().fold((0, 0), |sum, read| (sum.0 + read.0, sum.1 + read.1));
    let (name, source) = ("filter".into(), "payloads".into());
    (!read.is_empty()).then_some(Stage { name, source, rows, bytes, micros: 0 })
}

/// One stage for each kind of source scanned.
fn scan_stages(snapshot: &Snapshot, plan: &Plan<'_>, micros: u64) -> Vec<Stage> {
    let mut sources = BTreeMap::<String, (u64, u64)>::new();
    let field = plan.bound.field;
    for (view, ViewPlan { rows, access, .. }) in snapshot.views.iter().zip(&plan.views) {
        let all = view.reader.rows();
        let is_gathered = matches!(rows, Rows::Gathered(..));
        let rows = rows.scored(all);
        let (source, bytes) = match access {
            Access::Index { .. } | Access::Lists { .. } | Access::Inverted(_) => continue,
            Access::Codes { codes, query, .. } => {
                let index = view.reader.field(field).index();
                let other = |index: &&FieldIndex| index.report().kind != IndexKind::Flat;
                // Its searches do not reach the target, for this query or at all.
                let is_instead = !is_gathered && index.filter(other).is_some();
                let instead = if is_instead { " instead of the index" } else { "" };
                let source = format!("{}{instead}", source_of(codes, query));
                (source, rows * codes.scanned_row_bytes() as u64)
            }
            Access::Exact => {
                let bytes = view.reader.field(field).vector_bytes();
                (vectors_of(view, field), bytes * rows / u64::from(all.max(1)))
            }
        };
        let sum = sources.entry(source).or_default();
        *sum = (sum.0 + rows, sum.1 + bytes);
    }
    let stage =
        |(source, (rows, bytes))| Stage { name: "scan".into(), source, rows, bytes, micros };
    sources.into_iter().map(stage).collect()
}

pub fn vectors_of(view: &View, field: usize) -> String {
    if view.reader.field(field).has_raw() { "vectors" } else { "reconstructed vectors" }.into()
}

fn rerank_stage(plan: &Plan<'_>, rows: u64, micros: u64) -> Stage {
    let codes = plan.views.iter().filter_map(|view| view.access.codes());
    let codes: Vec<&FieldCodes> = codes.collect();
    let secondary = codes.iter().any(|codes| codes.has_secondary());
    let of_codes = || codes.iter().map(|codes| codes.secondary_row_bytes()).max().unwrap_or(0);
    let row_bytes = if secondary { of_codes() } else { 4 * plan.bound.scorer.dimension() };
    let source = if secondary { "secondary codes" } else { "vectors" }.to_owned();
    Stage { name: "rerank".into(), source, rows, bytes: rows * row_bytes as u64, micros }
}

/// The stage that scores the best candidates once more, by their vectors; its time is part of the
/// stage before.
fn vector_stage(snapshot: &Snapshot, plan: &Plan<'_>, rows: u64) -> Option<Stage> {
    let coded = snapshot.views.iter().zip(&plan.views);
    let row_bytes = coded.filter(|(_, own)| own.access.codes().is_some()).map(|(view, _)| {
        view.reader.field(plan.bound.field).vector_bytes() / u64::from(view.reader.rows().max(1))
    });
    let bytes = rows * row_bytes.max().unwrap_or(0);
    let (name, source) = ("rerank".into(), "vectors".to_owned());
    (rows > 0).then_some(Stage { name, source, rows, bytes, micros: 0 })
}
