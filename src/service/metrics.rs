//! `GET /metrics`: what the server does, in the text format of Prometheus (version 0.0.4), on the
//! port of the service.

use std::fmt::Write;
use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::collection::{CollectionInfo, QueryStatistics};
use crate::{Collection, Database, IndexStatus};

/// The route, for the router of the services.
pub fn route(router: axum::Router, database: Arc<Database>) -> axum::Router {
    router.route("/metrics", get(move || metrics(database.clone())))
}

async fn metrics(database: Arc<Database>) -> axum::response::Response {
    match super::blocking(move || Ok(text(&database))).await {
        Ok(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(status) => status.into_http(),
    }
}

/// A metric of each collection.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// What follows the name, and the value.
    samples: fn(&CollectionInfo, &QueryStatistics) -> Vec<(&'static str, f64)>,
}

const METRICS: [Metric; 7] = [
    Metric {
        name: "lanner_points",
        kind: "gauge",
        help: "Points of the collection.",
        samples: |info, _| vec![("", info.points as f64)],
    },
    Metric {
        name: "lanner_segments",
        kind: "gauge",
        help: "Segments, on disk and in memory.",
        samples: |info, _| vec![("", info.segments.len() as f64)],
    },
    Metric {
        name: "lanner_size_bytes",
        kind: "gauge",
        help: "Bytes of all segments, on disk and in memory, without indexes.",
        samples: |info, _| {
            vec![("", info.segments.iter().map(|segment| segment.size_bytes as f64).sum())]
        },
    },
    Metric {
        name: "lanner_indexes_missing",
        kind: "gauge",
        help: "Indexes that are waited for, being built, or failed; queries scan instead.",
        samples: |info, _| {
            let indexes = info.segments.iter().flat_map(|segment| segment.indexes.values());
            let missing = indexes.filter(|status| !matches!(status, IndexStatus::Ready { .. }));
            vec![("", missing.count() as f64)]
        },
    },
    Metric {
        name: "lanner_background_errors",
        kind: "gauge",
        help: "1 if background work failed or a segment is damaged, and 0 otherwise.",
        samples: |info, _| vec![("", f64::from(u8::from(info.background_error.is_some())))],
    },
    Metric {
        name: "lanner_training_failures",
        kind: "gauge",
        help: "Fields without a newly trained codec, since none keeps enough or training failed.",
        samples: |info, _| vec![("", info.training_failures.len() as f64)],
    },
    Metric {
        name: "lanner_query_estimated_recall",
        kind: "summary",
        help: "The recall that calibration expects of each answered query; sum / count is the mean.",
        samples: |_, queries| {
            vec![("_sum", queries.estimated_recall_sum), ("_count", queries.estimated as f64)]
        },
    },
];

fn text(database: &Database) -> String {
    let opened = database.collections().into_iter().filter_map(|(_, opened)| opened.ok());
    let read = |collection: Collection| (collection.info(), collection.statistics());
    let collections: Vec<(CollectionInfo, QueryStatistics)> = opened.map(read).collect();
    let mut text = String::new();
    for Metric { name, kind, help, samples } in METRICS {
        // Writing to a string does not fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (info, queries) in &collections {
            for (suffix, value) in samples(info, queries) {
                // Names have no character that would have to be escaped.
                let _ = writeln!(text, "{name}{suffix}{{collection=\"{}\"}} {value}", info.name);
            }
        }
    }
    text
}
