//! What a collection consists of, for reports.

use std::collections::BTreeMap;

use super::Collection;
use crate::field::{IndexReport, SegmentFile};
use crate::model::CollectionConfig;
use crate::quantization::CodecReport;
use crate::segment::{SealedSegment, SegmentReader};

/// What a collection consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub config: CollectionConfig,
    /// The declared payload paths whose index is being built, each with the number of sealed segments that
    /// have none yet.
    pub pending_paths: BTreeMap<String, usize>,
    /// Number of points.
    pub points: u64,
    /// Sequence number of the last write.
    pub sequence: u64,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// Why nothing can be written, if so; why background work failed, if it did and was not tried
    /// again yet; or which segments are damaged and left as they are.
    pub background_error: Option<String>,
    /// Why fields have no newly trained codec, by name: none keeps enough, or training failed.
    pub training_failures: BTreeMap<String, String>,
}

/// What a segment consists of.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentInfo {
    /// Its number; `None` while it is in memory.
    pub number: Option<u64>,
    /// Rows, deleted ones included.
    pub rows: u64,
    /// Deleted rows.
    pub deleted: u64,
    /// Bytes on disk, or in memory.
    pub size_bytes: u64,
    /// Its files and those of its indexes; none while it is in memory.
    pub files: Vec<SegmentFile>,
    /// How its fields are compressed, by name; those that are.
    pub codecs: BTreeMap<String, CodecReport>,
    /// The indexes of its fields, by name; those that have one, or will.
    pub indexes: BTreeMap<String, IndexStatus>,
}

/// How far the index of a field of a segment is.
#[derive(Debug, Clone, PartialEq)]
pub enum IndexStatus {
    /// It will be built; queries scan codes.
    Waiting,
    /// It is being built; queries scan codes.
    Building {
        /// Steps done.
        done: u64,
        /// Steps to do; 0 if that is not known yet.
        total: u64,
        /// Seconds since the build began.
        seconds: f64,
    },
    /// It could not be built and will be tried again, later by itself and at once by `optimize`;
    /// queries scan codes.
    Failed {
        /// Why not.
        reason: String,
    },
    /// Queries search it.
    Ready {
        /// What it is.
        report: IndexReport,
        /// Length of its file, in bytes.
        size_bytes: u64,
    },
}

impl IndexStatus {
    /// Seconds that a build will still take, if it goes on as so far.
    pub fn remaining_seconds(&self) -> Option<f64> {
        match *self {
            Self::Building { done, total, seconds } if done > 0 && total >= done => {
                Some(seconds * (total - done) as f64 / done as f64)
            }
            _ => None,
        }
    }
}

impl Collection {
    /// What the collection consists of.
    pub fn info(&self) -> CollectionInfo {
        let state = self.0.lock();
        let segments = &state.segments;
        let memory = segments.frozen.iter().chain([&segments.active]).map(|slot| SegmentInfo {
            number: None,
            rows: u64::from(slot.segment.rows()),
            deleted: slot.deleted.len(),
            size_bytes: slot.segment.size_bytes(),
            files: Vec::new(),
            codecs: BTreeMap::new(),
            indexes: BTreeMap::new(),
        });
        let sealed = segments.sealed.iter().map(|slot| SegmentInfo {
            number: Some(slot.segment.entry().number),
            rows: u64::from(slot.segment.entry().rows),
            deleted: slot.deleted.len(),
            size_bytes: slot.segment.size_bytes(),
            files: slot.segment.files(),
            codecs: self.codec_reports(&slot.segment),
            indexes: self.0.index_statuses(&state, &slot.segment),
        });
        CollectionInfo {
            name: self.0.name.clone(),
            config: CollectionConfig::clone(&segments.config),
            pending_paths: segments.pending_paths(),
            points: segments.snapshot().count(),
            sequence: segments.sequence,
            segments: sealed.chain(memory.filter(|segment| segment.rows > 0)).collect(),
            background_error: state.problem(),
            training_failures: state.work.trainings.clone(),
        }
    }

    fn codec_reports(&self, segment: &SealedSegment) -> BTreeMap<String, CodecReport> {
        let names = self.0.fields.keys().enumerate();
        let report = |(index, name): (usize, &String)| {
            Some((name.clone(), segment.field(index).codes()?.report().clone()))
        };
        names.filter_map(report).collect()
    }
}
