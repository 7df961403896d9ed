//! Description of a collection, for reports.

use std::collections::BTreeMap;

use super::Collection;
use crate::field::{FieldCodes, IndexReport, SegmentFile};
use crate::model::CollectionConfig;
use crate::quantization::{CentroidReport, CodecReport};
use crate::segment::{SealedSegment, SegmentReader};

/// Description of a collection.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Its settings.
    pub config: CollectionConfig,
    /// Declared payload paths whose index is being built, each with the number of sealed segments
    /// that lack it.
    pub pending_paths: BTreeMap<String, usize>,
    /// Number of points.
    pub points: u64,
    /// Sequence number of the last write.
    pub sequence: u64,
    /// Its segments, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// The current problem, if any: nothing can be written, background work failed and has not been
    /// retried yet, or segments are damaged and excluded from merges.
    pub background_error: Option<String>,
    /// Reasons why fields have no newly trained codec, by name: none is precise enough, or training
    /// failed.
    pub training_failures: BTreeMap<String, String>,
}

/// Description of a segment.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentInfo {
    /// Its number; `None` while it is in memory.
    pub number: Option<u64>,
    /// Number of rows, including deleted ones.
    pub rows: u64,
    /// Number of deleted rows.
    pub deleted: u64,
    /// Size in bytes on disk, or in memory.
    pub size_bytes: u64,
    /// Its files and those of its indexes; none while it is in memory.
    pub files: Vec<SegmentFile>,
    /// The codecs of its compressed fields, by name.
    pub codecs: BTreeMap<String, CodecReport>,
    /// The token centroids of its multi fields, by name.
    pub centroids: BTreeMap<String, CentroidReport>,
    /// The indexes of its fields, by name, including those to be built.
    pub indexes: BTreeMap<String, IndexStatus>,
}

/// State of the index of one field of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum IndexStatus {
    /// To be built; queries scan codes.
    Waiting,
    /// In progress; queries scan codes.
    Building {
        /// Completed steps.
        done: u64,
        /// Total steps; 0 if not known yet.
        total: u64,
        /// Seconds since the build started.
        seconds: f64,
    },
    /// The build failed and will be retried, after a pause or at once by `optimize`; queries scan
    /// codes.
    Failed {
        /// The cause.
        reason: String,
    },
    /// In use by queries.
    Ready {
        /// Description of the index.
        report: IndexReport,
        /// Size of its file in bytes.
        size_bytes: u64,
    },
}

impl IndexStatus {
    /// Estimated remaining seconds of a build, at its speed so far.
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
    /// Describes the collection.
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
            centroids: BTreeMap::new(),
            indexes: BTreeMap::new(),
        });
        let sealed = segments.sealed.iter().map(|slot| SegmentInfo {
            number: Some(slot.segment.entry().number),
            rows: u64::from(slot.segment.entry().rows),
            deleted: slot.deleted.len(),
            size_bytes: slot.segment.size_bytes(),
            files: slot.segment.files(),
            codecs: self.by_field(&slot.segment, |codes| codes.report().cloned()),
            centroids: self
                .by_field(&slot.segment, |codes| codes.shared().centroids.as_ref()?.report.clone()),
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

    /// What the codes of a segment's fields say, by field name.
    fn by_field<T>(
        &self,
        segment: &SealedSegment,
        of: impl Fn(&FieldCodes) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let names = self.0.fields.keys().enumerate();
        let of_field = |(index, name): (usize, &String)| {
            Some((name.clone(), of(segment.field(index).codes()?)?))
        };
        names.filter_map(of_field).collect()
    }
}
