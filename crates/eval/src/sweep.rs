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
    /// What many clients at once got, if that was measured.
    #[serde(default)]
    pub load: Option<Load>,
}

/// Many clients at once, each of which asks one query at a time.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Load {
    /// How many.
    pub clients: usize,
    /// As threads of the process that holds the collection.
    pub in_process: Answered,
    /// As connections to its gRPC server, on the same machine.
    pub served: Answered,
}

/// How many queries were answered how fast.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Answered {
    /// Queries a second, of all clients.
    pub qps: f64,
    /// Latency as a client sees it, in milliseconds.
    pub latency_ms: LatencyPercentiles,
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

/// Draws what was measured with many clients as a table, two lines a point; `None` if nothing was.
pub fn load_table(points: &[SweepPoint], style: TableStyle) -> Option<String> {
    let heading = ["index", "search", "clients", "over", "QPS", "p50 ms", "p95 ms", "p99 ms"]
        .map(String::from);
    let line = |point: &SweepPoint, clients: usize, over: &str, answered: &Answered| {
        let latency = answered.latency_ms;
        Vec::from([
            point.index.clone(),
            point.setting.clone(),
            clients.to_string(),
            over.to_owned(),
            measured(answered.qps),
            measured(latency.p50),
            measured(latency.p95),
            measured(latency.p99),
        ])
    };
    let mut rows = vec![Vec::from(heading)];
    for point in points {
        let Some(load) = &point.load else { continue };
        rows.push(line(point, load.clients, "in process", &load.in_process));
        rows.push(line(point, load.clients, "gRPC", &load.served));
    }
    (rows.len() > 1).then(|| draw(&rows, style))
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
            load: None,
        };
        assert_eq!(load_table(std::slice::from_ref(&point), TableStyle::Plain), None);
        let answered =
            |qps| Answered { qps, latency_ms: LatencyPercentiles { p50: 1.0, p95: 2.0, p99: 3.0 } };
        let (in_process, served) = (answered(9000.0), answered(5000.0));
        let load = Some(Load { clients: 8, in_process, served });
        let loaded = SweepPoint { load, ..point.clone() };
        let table = load_table(&[point.clone(), loaded], TableStyle::Markdown).unwrap();
        assert_eq!(table.lines().count(), 4, "{table}");
        assert!(table.contains("9,000") && table.contains("5,000"), "{table}");
        let table = sweep_table(&[point], TableStyle::Markdown);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[0].contains("recall@5") && lines[0].contains("QPS, 2 cores"), "{table}");
        assert!(lines[2].contains("0.9877") && lines[2].contains("1,234"), "{table}");
    }
}
