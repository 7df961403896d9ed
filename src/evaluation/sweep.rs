//! Recall against speed over many settings: what `lanner bench` measures.

use serde::{Deserialize, Serialize};

use super::latency::LatencyPercentiles;
use super::npy::Neighbours;
use super::table::{TableStyle, draw, measured};

/// What was measured for one setting of one index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepPoint {
    /// The index, such as `lvq8:160`. Points of one index make a line of the plot.
    pub index: String,
    /// How it was searched, such as `rerank 50`.
    pub setting: String,
    /// Number of hits that count.
    pub k: usize,
    /// Mean share of the exact top k among the top k found.
    pub recall: f64,
    /// The mean of what the answers said to expect of it.
    pub estimated_recall: f64,
    /// Queries a second, one at a time on one core.
    pub qps_single: f64,
    /// Queries a second, one at a time on each of all cores.
    pub qps_all: f64,
    /// Queries a second, all in one call, on one core.
    pub qps_batch_single: f64,
    /// Queries a second, all in one call, on all cores.
    pub qps_batch_all: f64,
    /// Number of those cores.
    pub cores: usize,
    /// Latency of the queries on one core, in milliseconds.
    pub latency_ms: LatencyPercentiles,
    /// Bytes on disk for each vector, with id and everything.
    pub bytes_per_vector: f64,
    /// Bytes of a primary code.
    pub code_bytes: f64,
    /// Memory that became resident by opening the collection and asking all queries, in bytes;
    /// pages of mapped files count. 0 where the system does not tell.
    pub resident_bytes: u64,
    /// Time to write, train, encode and index all vectors, in seconds.
    pub build_seconds: f64,
}

/// Mean share of the exact top k among the first k of what was found, over all queries; `found`
/// holds the rows found for each query, best first.
pub fn recall_at(k: usize, exact: &Neighbours, found: &[Vec<u64>]) -> f64 {
    let share = |(query, found): (usize, &Vec<u64>)| {
        let exact = &exact.of(query)[..k];
        let hits = found.iter().take(k).filter(|row| exact.contains(row)).count();
        hits as f64 / k as f64
    };
    let total: f64 = found.iter().enumerate().map(share).sum();
    total / found.len().max(1) as f64
}

/// Draws the points as a table, a line each.
pub fn sweep_table(points: &[SweepPoint], style: TableStyle) -> String {
    let k = points.first().map_or(10, |point| point.k);
    let cores = points.first().map_or(1, |point| point.cores);
    let heading = [
        "index".to_owned(),
        "search".to_owned(),
        format!("recall@{k}"),
        "QPS, 1 core".to_owned(),
        format!("QPS, {cores} cores"),
        "batch, 1 core".to_owned(),
        format!("batch, {cores} cores"),
        "p50 ms".to_owned(),
        "p99 ms".to_owned(),
        "bytes/vector".to_owned(),
        "code".to_owned(),
        "resident MB".to_owned(),
        "build s".to_owned(),
    ];
    let line = |point: &SweepPoint| {
        [
            point.index.clone(),
            point.setting.clone(),
            format!("{:.4}", point.recall),
            measured(point.qps_single),
            measured(point.qps_all),
            measured(point.qps_batch_single),
            measured(point.qps_batch_all),
            measured(point.latency_ms.p50),
            measured(point.latency_ms.p99),
            measured(point.bytes_per_vector),
            measured(point.code_bytes),
            measured(point.resident_bytes as f64 / 1e6),
            measured(point.build_seconds),
        ]
    };
    let rows: Vec<Vec<String>> =
        std::iter::once(heading).chain(points.iter().map(line)).map(Vec::from).collect();
    draw(&rows, style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_is_the_mean_share_of_the_exact_top_k() {
        let exact = Neighbours::new(3, vec![1, 2, 3, 4, 5, 6]);
        let found = [vec![2, 1, 9], vec![6, 5, 4]];
        assert_eq!(recall_at(2, &exact, &found), (1.0 + 0.5) / 2.0);
        assert_eq!(recall_at(3, &exact, &found), (2.0 / 3.0 + 1.0) / 2.0);
        assert_eq!(recall_at(3, &exact, &[vec![], vec![7]]), 0.0);
    }

    #[test]
    fn a_table_has_a_line_for_each_point() {
        let point = SweepPoint {
            index: "lvq8".into(),
            setting: "rerank 50".into(),
            k: 5,
            recall: 0.987_65,
            estimated_recall: 0.99,
            qps_single: 1234.0,
            qps_all: 2345.0,
            qps_batch_single: 1300.0,
            qps_batch_all: 2500.0,
            cores: 2,
            latency_ms: LatencyPercentiles { p50: 0.5, p95: 1.0, p99: 2.0 },
            bytes_per_vector: 580.0,
            code_bytes: 392.0,
            resident_bytes: 1 << 20,
            build_seconds: 1.5,
        };
        let table = sweep_table(&[point], TableStyle::Markdown);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[0].contains("recall@5") && lines[0].contains("QPS, 2 cores"), "{table}");
        assert!(lines[2].contains("0.9877") && lines[2].contains("1,234"), "{table}");
    }
}
