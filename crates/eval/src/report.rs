//! The result of one benchmark run: quality, indexing and latency together.
//!
//! The serialised form is the contract of `--json-report`: scripts that compare versions read it,
//! so its keys are fixed and always present. A value that was not measured is `null`, never 0.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::latency::{LatencyPercentiles, LatencyRecorder};
use super::metrics::{Measure, Metrics};

/// Result of one benchmark run on one data set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the data set, such as `nfcorpus`.
    pub dataset: String,
    /// Split the judgements came from, such as `test`.
    pub split: String,
    /// How documents are represented, such as `single` or `multi`.
    pub mode: String,
    /// See [`Metrics::ndcg_10`].
    pub ndcg_10: Option<f64>,
    /// See [`Metrics::map_100`].
    pub map_100: Option<f64>,
    /// See [`Metrics::mrr_10`].
    pub mrr_10: Option<f64>,
    /// See [`Metrics::recall_10`].
    pub recall_10: Option<f64>,
    /// See [`Metrics::recall_100`].
    pub recall_100: Option<f64>,
    /// Number of judged queries.
    pub queries: usize,
    /// Number of documents searched.
    pub documents: usize,
    /// Time to index all documents, in seconds; `None` when an existing index was used.
    pub index_seconds: Option<f64>,
    /// Documents indexed per second; `None` when not measured.
    pub documents_per_second: Option<f64>,
    /// Latency of single queries in milliseconds; `None` when not measured.
    pub latency_ms: Option<LatencyPercentiles>,
    /// Queries answered per second of wall time; `None` when not measured.
    pub qps: Option<f64>,
    /// Bytes of a document that searches read from, on disk: codes and what re-ranks, or vectors
    /// where these are scanned; `None` when not measured.
    pub bytes_per_document: Option<f64>,
    /// The system that this one is compared with, by its `mode`; that of the reference itself is
    /// its own, and `None` if nothing was compared.
    #[serde(default)]
    pub reference: Option<String>,
    /// Two-sided p-value of the difference from the reference in nDCG@10, over the queries; see
    /// [`randomization_test`](super::randomization_test). `None` for the reference itself.
    #[serde(default)]
    pub p_ndcg_10: Option<f64>,
    /// The same for Recall@100.
    #[serde(default)]
    pub p_recall_100: Option<f64>,
}

impl Report {
    /// A report of quality alone.
    pub fn new(
        dataset: &str,
        split: &str,
        mode: &str,
        documents: usize,
        metrics: &Metrics,
    ) -> Self {
        Self {
            dataset: dataset.to_owned(),
            split: split.to_owned(),
            mode: mode.to_owned(),
            ndcg_10: Some(metrics.ndcg_10),
            map_100: Some(metrics.map_100),
            mrr_10: Some(metrics.mrr_10),
            recall_10: Some(metrics.recall_10),
            recall_100: Some(metrics.recall_100),
            queries: metrics.queries,
            documents,
            index_seconds: None,
            documents_per_second: None,
            latency_ms: None,
            qps: None,
            bytes_per_document: None,
            reference: None,
            p_ndcg_10: None,
            p_recall_100: None,
        }
    }

    /// Whether a measure was taken, that is not deeper than the retrieved documents.
    pub fn has(&self, measure: Measure) -> bool {
        let value = match measure {
            Measure::Ndcg10 => self.ndcg_10,
            Measure::Map100 => self.map_100,
            Measure::Mrr10 => self.mrr_10,
            Measure::Recall10 => self.recall_10,
            Measure::Recall100 => self.recall_100,
        };
        value.is_some()
    }

    /// Whether it is the report of the system that others are compared with.
    pub fn is_reference(&self) -> bool {
        self.reference.as_ref() == Some(&self.mode)
    }

    /// Leaves out what is measured deeper than so many documents were retrieved.
    #[must_use]
    pub fn to_depth(self, retrieved: usize) -> Self {
        let within = |depth, value: Option<f64>| value.filter(|_| depth <= retrieved);
        Self {
            ndcg_10: within(10, self.ndcg_10),
            map_100: within(100, self.map_100),
            mrr_10: within(10, self.mrr_10),
            recall_10: within(10, self.recall_10),
            recall_100: within(100, self.recall_100),
            ..self
        }
    }

    /// Adds the time it took to index all documents.
    #[must_use]
    pub fn with_indexing(mut self, elapsed: Duration) -> Self {
        self.index_seconds = Some(elapsed.as_secs_f64());
        self.documents_per_second = rate(self.documents, elapsed);
        self
    }

    /// Adds how many bytes of all documents searches read from.
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        let documents = self.documents as f64;
        self.bytes_per_document = (documents > 0.0).then_some(bytes as f64 / documents);
        self
    }

    /// Adds the latencies of the queries and the wall time in which all of them were answered,
    /// which is less than their sum when they run concurrently.
    #[must_use]
    pub fn with_latencies(mut self, latencies: &LatencyRecorder, elapsed: Duration) -> Self {
        self.latency_ms = latencies.percentiles_ms();
        self.qps = rate(latencies.len(), elapsed);
        self
    }

    /// The report as indented JSON ending in a newline.
    ///
    /// # Errors
    /// When serde_json fails, which no value of this type makes it do.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        Ok(json)
    }
}

/// Events per second; `None` when nothing happened or no time passed.
fn rate(count: usize, elapsed: Duration) -> Option<f64> {
    let seconds = elapsed.as_secs_f64();
    (count > 0 && seconds > 0.0).then(|| count as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Metrics {
        Metrics {
            ndcg_10: 0.3125,
            map_100: 0.125,
            mrr_10: 0.5,
            recall_10: 0.25,
            recall_100: 0.75,
            queries: 323,
        }
    }

    #[test]
    fn the_json_keys_are_fixed() {
        let mut latencies = LatencyRecorder::new();
        for ms in [1, 2, 3, 4] {
            latencies.record(Duration::from_millis(ms));
        }
        let report = Report::new("nfcorpus", "test", "multi", 1000, &metrics())
            .with_indexing(Duration::from_secs(4))
            .with_latencies(&latencies, Duration::from_millis(8))
            .with_bytes(320_000);
        let expected = r#"{
  "dataset": "nfcorpus",
  "split": "test",
  "mode": "multi",
  "ndcg_10": 0.3125,
  "map_100": 0.125,
  "mrr_10": 0.5,
  "recall_10": 0.25,
  "recall_100": 0.75,
  "queries": 323,
  "documents": 1000,
  "index_seconds": 4.0,
  "documents_per_second": 250.0,
  "latency_ms": {
    "p50": 2.0,
    "p95": 4.0,
    "p99": 4.0
  },
  "qps": 500.0,
  "bytes_per_document": 320.0,
  "reference": null,
  "p_ndcg_10": null,
  "p_recall_100": null
}
"#;
        let json = report.to_json().expect("json");
        assert_eq!(json, expected);
        let back: Report = serde_json::from_str(&json).expect("report");
        assert_eq!(back, report);
    }

    #[test]
    fn what_was_not_measured_is_null() {
        let report = Report::new("d", "test", "single", 10, &metrics());
        let json: serde_json::Value =
            serde_json::from_str(&report.to_json().expect("json")).expect("value");
        for key in
            ["index_seconds", "documents_per_second", "latency_ms", "qps", "bytes_per_document"]
        {
            assert_eq!(json.get(key), Some(&serde_json::Value::Null), "{key}");
        }
        let shallow = Report::new("d", "test", "single", 10, &metrics()).to_depth(10);
        assert_eq!((shallow.ndcg_10, shallow.recall_10), (Some(0.3125), Some(0.25)));
        assert_eq!((shallow.map_100, shallow.recall_100), (None, None));
        let instant = report
            .with_indexing(Duration::ZERO)
            .with_latencies(&LatencyRecorder::new(), Duration::from_secs(1));
        assert_eq!(instant.index_seconds, Some(0.0));
        assert_eq!(
            (instant.documents_per_second, instant.latency_ms, instant.qps),
            (None, None, None)
        );
    }
}
