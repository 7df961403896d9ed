//! Metrics in the text format of Prometheus (version 0.0.4).

use std::fmt::Write;

use super::door::Rules;
use lanner::{Collection, Database, IndexStatus};
use lanner::{CollectionInfo, QueryStatistics};

/// A metric of each collection.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// Suffix of the name, and value of each sample.
    samples: fn(&CollectionInfo, &QueryStatistics) -> Vec<(&'static str, f64)>,
}

const METRICS: [Metric; 8] = [
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
            let bytes: u64 = info.segments.iter().map(|segment| segment.size_bytes).sum();
            vec![("", bytes as f64)]
        },
    },
    Metric {
        name: "lanner_unsealed_bytes",
        kind: "gauge",
        help: "Bytes of points that are in memory and in the journal, and not sealed yet.",
        samples: |info, _| {
            let unsealed = info.segments.iter().filter(|segment| segment.number.is_none());
            let bytes: u64 = unsealed.map(|segment| segment.size_bytes).sum();
            vec![("", bytes as f64)]
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
        help: "1 if background work failed, a segment is damaged, or nothing can be written; else 0.",
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

/// All metrics, as text.
pub fn text(database: &Database, rules: &Rules) -> String {
    let mut text = String::new();
    write_collections(database, &mut text);
    write_database(database, &mut text);
    rules.traffic.write(&mut text);
    write_jobs(database, &mut text);
    write_server(rules, &mut text);
    text
}

fn write_collections(database: &Database, text: &mut String) {
    let opened = database.collections().into_iter().filter_map(|(_, opened)| opened.ok());
    let read = |collection: Collection| (collection.info(), collection.statistics());
    let collections: Vec<(CollectionInfo, QueryStatistics)> = opened.map(read).collect();
    for Metric { name, kind, help, samples } in METRICS {
        write_head(text, name, kind, help);
        for (info, queries) in &collections {
            for (suffix, value) in samples(info, queries) {
                // Names contain no characters that need escaping, and writing to a string cannot
                // fail.
                let _ = writeln!(text, "{name}{suffix}{{collection=\"{}\"}} {value}", info.name);
            }
        }
    }
}

/// Metrics of the whole database, and of collections that failed to open.
fn write_database(database: &Database, text: &mut String) {
    let name = "lanner_read_only";
    write_head(text, name, "gauge", "1 if nothing can be written: the disk is full or read-only.");
    let _ = writeln!(text, "{name} {}", u8::from(database.read_only().is_some()));
    if let Some(bytes) = database.free_bytes() {
        let name = "lanner_free_bytes";
        write_head(text, name, "gauge", "Bytes that can still be written to the disk.");
        let _ = writeln!(text, "{name} {bytes}");
    }
    let name = "lanner_collection_unusable";
    write_head(text, name, "gauge", "1 if the collection did not open; else 0.");
    for (collection, opened) in database.collections() {
        let _ =
            writeln!(text, "{name}{{collection=\"{collection}\"}} {}", u8::from(opened.is_err()));
    }
}

fn write_jobs(database: &Database, text: &mut String) {
    let name = "lanner_jobs_running";
    write_head(text, name, "gauge", "Jobs that have not ended.");
    let running = database.jobs().iter().filter(|job| !job.has_ended()).count();
    let _ = writeln!(text, "{name} {running}");
}

fn write_server(rules: &Rules, text: &mut String) {
    let name = "lanner_requests_in_progress";
    write_head(text, name, "gauge", "Requests that were admitted and are not answered yet.");
    let _ = writeln!(text, "{name} {}", rules.requests_in_progress());
    let budgets = [("received", &rules.received), ("work", &rules.work)];
    let (used, limit) = ("lanner_budget_used_bytes", "lanner_budget_limit_bytes");
    write_head(text, used, "gauge", "Bytes of messages, and of candidates and answers.");
    for (budget, memory) in budgets {
        let _ = writeln!(text, "{used}{{budget=\"{budget}\"}} {}", memory.used());
    }
    write_head(text, limit, "gauge", "The most that they may be; requests beyond are refused.");
    for (budget, memory) in budgets {
        let _ = writeln!(text, "{limit}{{budget=\"{budget}\"}} {}", memory.limit());
    }
    if let Some(bytes) = resident_bytes() {
        let name = "process_resident_memory_bytes";
        write_head(text, name, "gauge", "Memory of the process, mapped files included.");
        let _ = writeln!(text, "{name} {bytes}");
    }
}

fn write_head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Resident memory, if the system reports it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}
