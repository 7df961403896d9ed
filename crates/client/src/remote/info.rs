//! Collection descriptions from messages.

use crate::error::Result;
use crate::messages::{compression, index, memory, to_model};
use crate::proto;
use lanner::{CollectionInfo, SegmentFile, SegmentInfo};

/// The description of a collection, from its message.
pub fn to_info(info: proto::CollectionInfo) -> Result<CollectionInfo> {
    let file = |file: proto::SegmentFile| SegmentFile {
        name: file.name,
        size_bytes: file.size_bytes,
        sections: file.sections.into_iter().map(|s| (s.name, s.size_bytes)).collect(),
        memory: memory::to_file(file.memory),
    };
    let codec = |(name, codec)| Ok((name, compression::to_report(codec)?));
    let centroids = |(name, report)| (name, compression::to_centroids(report));
    let status = |(name, status)| Ok((name, index::to_status(status)?));
    let segment = |segment: proto::SegmentInfo| -> Result<SegmentInfo> {
        Ok(SegmentInfo {
            number: segment.number,
            rows: segment.rows,
            deleted: segment.deleted,
            size_bytes: segment.size_bytes,
            files: segment.files.into_iter().map(file).collect(),
            codecs: segment.codecs.into_iter().map(codec).collect::<Result<_>>()?,
            indexes: segment.indexes.into_iter().map(status).collect::<Result<_>>()?,
            centroids: segment.centroids.into_iter().map(centroids).collect(),
        })
    };
    Ok(CollectionInfo {
        name: info.name,
        config: to_model::config(info.config)?,
        points: info.points,
        sequence: info.sequence,
        segments: info.segments.into_iter().map(segment).collect::<Result<_>>()?,
        background_error: info.background_error,
        training_failures: info.training_failures.into_iter().collect(),
        pending_paths: info.pending_paths.into_iter().map(|(path, n)| (path, n as usize)).collect(),
    })
}
