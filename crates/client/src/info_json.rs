//! Collection descriptions as JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use lanner::{CollectionInfo, IndexStatus, SegmentFile, SegmentInfo};

/// The description of a collection, as JSON.
pub fn info_json(info: &CollectionInfo) -> Value {
    json!({
        "name": info.name,
        "config": info.config,
        "pending_paths": info.pending_paths,
        "points": info.points,
        "sequence": info.sequence,
        "segments": info.segments.iter().map(segment).collect::<Vec<_>>(),
        "background_error": info.background_error,
        "training_failures": info.training_failures,
    })
}

fn segment(segment: &SegmentInfo) -> Value {
    json!({
        "number": segment.number,
        "rows": segment.rows,
        "deleted": segment.deleted,
        "size_bytes": segment.size_bytes,
        "codecs": segment.codecs,
        "centroids": segment.centroids,
        "indexes": indexes(&segment.indexes),
        "files": segment.files.iter().map(file).collect::<Vec<_>>(),
    })
}

fn file(file: &SegmentFile) -> Value {
    let sections: serde_json::Map<_, _> =
        file.sections.iter().map(|(name, size)| (name.clone(), json!(size))).collect();
    let memory = file.memory.as_str();
    json!({"name": file.name, "size_bytes": file.size_bytes, "memory": memory, "sections": sections})
}

/// The indexes of a segment, by field name.
fn indexes(indexes: &BTreeMap<String, IndexStatus>) -> Value {
    let status = |status: &IndexStatus| match status {
        IndexStatus::Waiting => json!({"status": "waiting"}),
        IndexStatus::Building { done, total, seconds } => json!({
            "status": "building",
            "done": done,
            "total": total,
            "seconds": seconds,
            "remaining_seconds": status.remaining_seconds(),
        }),
        IndexStatus::Failed { reason } => json!({"status": "failed", "reason": reason}),
        IndexStatus::Ready { report, size_bytes } => {
            json!({"status": "ready", "size_bytes": size_bytes, "report": report})
        }
    };
    indexes.iter().map(|(name, index)| (name.clone(), status(index))).collect()
}
