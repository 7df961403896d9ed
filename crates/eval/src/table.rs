//! Reports side by side, as text for a terminal or a document.
//!
//! One column a report and one row a measure, because a comparison is read along a row. The
//! Markdown form is padded as well, so that it reads as a table before it is rendered.

use super::report::Report;

/// How a table is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableStyle {
    /// Columns separated by spaces, with a rule under the heading.
    Plain,
    /// A Markdown table.
    Markdown,
}

/// In place of a p-value: the system that the others are compared with.
const REFERENCE: &str = "ref";

/// Draws `reports` as columns of one table; every line ends in a newline.
///
/// The first column names the measures and is aligned left, the values are aligned right. Measures
/// that no report has are left out; a value missing from one report is `-`.
pub fn comparison_table(reports: &[Report], style: TableStyle) -> String {
    let mut rows = vec![heading(reports, style)];
    for (name, value) in MEASURES {
        let cells: Vec<Option<String>> = reports.iter().map(value).collect();
        if cells.iter().flatten().all(|cell| cell == REFERENCE) {
            continue;
        }
        let cells = cells.into_iter().map(|cell| cell.unwrap_or("-".to_owned()));
        rows.push(std::iter::once((*name).to_owned()).chain(cells).collect());
    }
    draw(&rows, style)
}

type Measure = (&'static str, fn(&Report) -> Option<String>);

const MEASURES: &[Measure] = &[
    ("nDCG@10", |r| r.ndcg_10.map(quality)),
    ("MAP@100", |r| r.map_100.map(quality)),
    ("MRR@10", |r| r.mrr_10.map(quality)),
    ("Recall@10", |r| r.recall_10.map(quality)),
    ("Recall@100", |r| r.recall_100.map(quality)),
    ("p (nDCG@10)", |r| significance(r, r.p_ndcg_10)),
    ("p (Recall@100)", |r| significance(r, r.p_recall_100)),
    ("queries", |r| Some(grouped(r.queries as f64))),
    ("documents", |r| Some(grouped(r.documents as f64))),
    ("index time (s)", |r| r.index_seconds.map(measured)),
    ("documents/s", |r| r.documents_per_second.map(measured)),
    ("latency p50 (ms)", |r| r.latency_ms.map(|l| measured(l.p50))),
    ("latency p95 (ms)", |r| r.latency_ms.map(|l| measured(l.p95))),
    ("latency p99 (ms)", |r| r.latency_ms.map(|l| measured(l.p99))),
    ("queries/s", |r| r.qps.map(measured)),
    ("bytes/document", |r| r.bytes_per_document.map(measured)),
];

/// A data set that all reports share heads the first column; otherwise each report names its own.
fn heading(reports: &[Report], style: TableStyle) -> Vec<String> {
    let dataset = |report: &Report| format!("{}/{}", report.dataset, report.split);
    let first = reports.first().map(dataset).unwrap_or_default();
    let shared = reports.iter().all(|report| dataset(report) == first);
    let corner = if shared { first } else { String::new() };
    let names = reports.iter().map(|report| match shared {
        true => report.mode.clone(),
        false => format!("{} {}", dataset(report), report.mode),
    });
    std::iter::once(corner)
        .chain(names)
        .map(|name| match style {
            TableStyle::Plain => name,
            TableStyle::Markdown => name.replace('|', "\\|"),
        })
        .collect()
}

/// Four decimals, the precision retrieval results are published in.
fn quality(value: f64) -> String {
    format!("{value:.4}")
}

/// A p-value, of which no more than four decimals mean anything; `ref` for the reference.
fn significance(report: &Report, p: Option<f64>) -> Option<String> {
    match p {
        Some(p) if p < 1e-4 => Some("<0.0001".to_owned()),
        Some(p) => Some(format!("{p:.4}")),
        None => None,
    }
    .or_else(|| report.is_reference().then(|| REFERENCE.to_owned()))
}

/// About three significant digits.
pub(super) fn measured(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => grouped(value),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A whole number with a comma at every thousand.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

pub(super) fn draw(rows: &[Vec<String>], style: TableStyle) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0).max(2)).collect();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        push_line(&mut out, &padded(row, &widths), style);
        if index == 0 {
            push_line(&mut out, &rule(&widths, style), style);
        }
    }
    out
}

fn padded(row: &[String], widths: &[usize]) -> Vec<String> {
    row.iter()
        .zip(widths)
        .enumerate()
        .map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        })
        .collect()
}

fn rule(widths: &[usize], style: TableStyle) -> Vec<String> {
    widths
        .iter()
        .enumerate()
        .map(|(column, &width)| match (style, column) {
            (TableStyle::Plain, _) => "-".repeat(width),
            (TableStyle::Markdown, 0) => format!(":{}", "-".repeat(width - 1)),
            (TableStyle::Markdown, _) => format!("{}:", "-".repeat(width - 1)),
        })
        .collect()
}

fn push_line(out: &mut String, cells: &[String], style: TableStyle) {
    match style {
        TableStyle::Plain => out.push_str(cells.join("  ").trim_end()),
        TableStyle::Markdown => out.push_str(&format!("| {} |", cells.join(" | "))),
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::latency::LatencyRecorder;
    use super::super::metrics::Metrics;
    use super::*;

    fn reports() -> [Report; 2] {
        let metrics = Metrics {
            ndcg_10: 0.31594,
            map_100: 0.14243,
            mrr_10: 0.50404,
            recall_10: 0.15499,
            recall_100: 0.31145,
            queries: 323,
        };
        let mut latencies = LatencyRecorder::new();
        latencies.record(Duration::from_micros(1_234));
        let single = Report::new("nfcorpus", "test", "single", 3_633, &metrics);
        let multi = Report::new("nfcorpus", "test", "multi", 3_633, &metrics)
            .with_latencies(&latencies, Duration::from_micros(1_234));
        [single, multi]
    }

    #[test]
    fn plain_columns_are_aligned() {
        let expected = concat!(
            "nfcorpus/test     single   multi\n",
            "----------------  ------  ------\n",
            "nDCG@10           0.3159  0.3159\n",
            "MAP@100           0.1424  0.1424\n",
            "MRR@10            0.5040  0.5040\n",
            "Recall@10         0.1550  0.1550\n",
            "Recall@100        0.3115  0.3115\n",
            "queries              323     323\n",
            "documents          3,633   3,633\n",
            "latency p50 (ms)       -    1.23\n",
            "latency p95 (ms)       -    1.23\n",
            "latency p99 (ms)       -    1.23\n",
            "queries/s              -     810\n",
        );
        assert_eq!(comparison_table(&reports(), TableStyle::Plain), expected);
    }

    #[test]
    fn markdown_is_a_table_of_equal_lines() {
        let mut reports = reports();
        reports[0].dataset = "a|b".to_owned();
        let table = comparison_table(&reports, TableStyle::Markdown);
        let two = "|                  | a\\|b/test single | nfcorpus/test multi |";
        assert_eq!(table.lines().next(), Some(two));
        let table = comparison_table(&reports[..1], TableStyle::Markdown);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "| a\\|b/test  | single |");
        assert_eq!(lines[1], "| :--------- | -----: |");
        assert_eq!(lines[2], "| nDCG@10    | 0.3159 |");
        assert_eq!(lines.len(), 9);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    }

    #[test]
    fn p_values_are_shown_beside_their_reference() {
        let compared = |report: Report, p_ndcg_10, p_recall_100| Report {
            reference: Some("single".to_owned()),
            p_ndcg_10,
            p_recall_100,
            ..report
        };
        let [single, multi] = reports();
        let other = Report { mode: "other".to_owned(), ..single.clone() };
        let reports = [
            compared(single, None, None),
            compared(multi, Some(0.03125), None),
            compared(other, Some(0.00009), None),
        ];
        let table = comparison_table(&reports, TableStyle::Plain);
        assert!(table.contains("p (nDCG@10)          ref  0.0312  <0.0001\n"), "{table}");
        assert!(!table.contains("p (Recall@100)"), "{table}");
    }

    #[test]
    fn no_report_gives_a_bare_heading() {
        assert_eq!(comparison_table(&[], TableStyle::Plain), "\n--\n");
    }

    #[test]
    fn numbers_keep_about_three_digits() {
        let numbers = [1_234_567.8, 999.6, 100.0, 12.34, 1.234, 0.1234, 0.0];
        let texts = ["1,234,568", "1,000", "100", "12.3", "1.23", "0.123", "0.000"];
        assert_eq!(numbers.map(measured), texts);
    }
}
