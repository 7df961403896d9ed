//! The index of a field: built over the codes of a sealed segment some time after it, in a folder
//! of its own, so that it appears whole or not at all.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use lanner_storage::{
    Directory, FileEntry, IndexEntry, SectionFile, SectionWriter, StorageError, write_folder,
};
use serde::{Deserialize, Serialize};

use super::builder::finish;
use super::codes::FieldCodes;
use super::memory::place;
use super::{FileMemory, FileRole, SegmentFile, sealed, sections};
use crate::error::{Error, Result};
use crate::index::graph::Adjacency;
use crate::index::ivf::Lists;
use crate::index::{
    Ask, BuiltIndex, Calibration, CodeScores, Copies, Effort, IndexView, Lately, Outcome, Scratch,
};
use crate::model::{IndexKind, Memory};
use crate::quantization::PrimaryQuery;

/// What an index is, and what was measured when it was built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexReport {
    /// Graph or lists.
    pub kind: IndexKind,
    /// Room for neighbours of a row of a graph; 0 for lists.
    pub degree: usize,
    /// Where searches of a graph start.
    pub entry: u32,
    /// Number of lists; 0 for a graph.
    pub lists: usize,
    /// Which depth of search reaches which recall.
    pub calibration: Calibration,
    /// The work that a recall of 0.95 took by each kind that was built.
    pub costs: Vec<(IndexKind, f32)>,
}

/// An index of a field of a sealed segment.
#[derive(Debug)]
pub struct FieldIndex {
    file: SectionFile,
    number: u64,
    report: IndexReport,
    /// What was measured last.
    calibration: ArcSwap<Calibration>,
    lately: Lately,
    rows: u32,
    /// Whether some of the rows equal others, so that these are not in the index.
    has_copies: bool,
    memory: FileMemory,
}

impl FieldIndex {
    /// Opens the index in `folder` and checks that its parts have the lengths they should. Edges
    /// and lists are not read: searches pass over rows that are not there.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming the section that has not.
    pub fn open(
        directory: &dyn Directory,
        folder: &str,
        entry: &IndexEntry,
        codes: &FieldCodes,
        rows: u32,
        memory: Memory,
    ) -> Result<Self> {
        let path = format!("{folder}/{}", entry.file.name);
        let file = SectionFile::open_expecting(directory, &path, &entry.file.summary())?;
        file.verify_sections(|section| !sections::is_read_on_demand(section))?;
        let report: IndexReport = serde_json::from_slice(file.section(sections::INDEX)?)
            .map_err(|error| file.corrupted(sections::INDEX, error.to_string()))?;
        let calibration = match &entry.calibration {
            Some(entry) => {
                // Beside the folder of the index.
                let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent);
                let path = format!("{parent}/{}/{}", entry.number, entry.file.name);
                read_calibration(directory, &path, &entry.file)?
            }
            None => report.calibration.clone(),
        };
        let count = rows as usize;
        let bad = |section: &str, detail: String| Err(file.corrupted(section, detail).into());
        match report.kind {
            IndexKind::Graph => {
                if !(1..=MAX_DEGREE).contains(&report.degree) || report.entry >= rows {
                    return bad(sections::INDEX, "degree or entry out of bounds".into());
                }
                sealed::slice::<u32>(&file, sections::EDGES, Some(count * report.degree))?;
            }
            IndexKind::Ivf => {
                let lists = report.lists;
                let offsets = sealed::slice::<u32>(&file, sections::LIST_OFFSETS, Some(lists + 1))?;
                let listed = sealed::slice::<u32>(&file, sections::LIST_ROWS, None)?.len();
                let last = offsets.last().map(|&last| last as usize);
                if !offsets.is_sorted() || last != Some(listed) || listed > count {
                    return bad(sections::LIST_OFFSETS, "offsets do not rise to the end".into());
                }
                let layout = codes.codec().primary_layout();
                let centroids = Lists::centroid_bytes(layout.dimension(), lists);
                for (section, expected) in [
                    (sections::LIST_CODES, layout.section_bytes(listed)),
                    (sections::CENTROIDS, centroids),
                ] {
                    let got = file.section(section)?.len();
                    if got != expected {
                        return bad(section, format!("expected {expected} bytes, got {got}"));
                    }
                }
            }
            IndexKind::Flat => {}
            kind => return bad(sections::INDEX, format!("an index of kind {}", kind.as_str())),
        }
        let has_copies = file.sections().iter().any(|info| info.name == sections::COPIES);
        if has_copies {
            let copies = sealed::slice::<u32>(&file, sections::COPIES, None)?;
            if !copies.len().is_multiple_of(2) || copies.iter().any(|&row| row >= rows) {
                return bad(sections::COPIES, "not pairs of rows of the segment".into());
            }
        }
        let memory = place(&file, memory, FileRole::Candidates);
        let (number, calibration) = (entry.number, ArcSwap::from_pointee(calibration));
        let lately = Lately::default();
        Ok(Self { file, number, report, calibration, lately, rows, has_copies, memory })
    }

    /// Its file, for reports.
    pub(super) fn describe(&self) -> SegmentFile {
        let sections = self.file.sections().iter();
        SegmentFile {
            name: format!("../{}/{}", self.number, sections::INDEX_FILE),
            size_bytes: self.size_bytes(),
            sections: sections.map(|info| (info.name.clone(), info.len)).collect(),
            memory: self.memory,
        }
    }

    /// As [`super::SealedSegment::damage`].
    pub(super) fn damage(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<StorageError> {
        self.file.damage(go_on)
    }

    /// As [`super::SegmentReader::check_pages`].
    pub(super) fn check_pages(&self) -> Result<(), StorageError> {
        self.file.check_pages()
    }

    /// Its number, which names its folder.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the index is, and what was measured when it was built.
    pub fn report(&self) -> &IndexReport {
        &self.report
    }

    /// What was measured last.
    pub fn calibration(&self) -> Guard<Arc<Calibration>> {
        self.calibration.load()
    }

    /// What the queries of late are like.
    pub fn lately(&self) -> &Lately {
        &self.lately
    }

    /// Queries rely on this from now on.
    pub fn recalibrate(&self, calibration: Calibration) {
        self.calibration.store(Arc::new(calibration));
    }

    /// The index as it is searched, if it is not flat, and which rows equal others.
    pub(crate) fn searched(&self) -> Option<(IndexView<'_>, Copies<'_>)> {
        Some((self.view()?, self.copies()))
    }

    /// Length of its file, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.file.len()
    }

    /// Looks for rows as [`IndexView::search`] does; finds none if the index is flat. `accept` is
    /// asked for rows of the segment only.
    pub fn search<A: Fn(u32) -> bool>(
        &self,
        ask: &Ask<'_, A>,
        scratch: &mut Scratch,
        found: &mut Vec<(f32, u32)>,
    ) -> Outcome {
        match self.view() {
            Some(view) => view.search(ask, self.copies(), scratch, found),
            None => {
                found.clear();
                Outcome { effort: Effort::default(), trusted: false }
            }
        }
    }

    /// Rows that equal others: `open` has checked them.
    fn copies(&self) -> Copies<'_> {
        if !self.has_copies {
            return Copies::default();
        }
        let numbers = sealed::slice::<u32>(&self.file, sections::COPIES, None).unwrap_or_default();
        Copies::new(numbers.as_chunks().0)
    }

    /// `open` has found the sections, so they are there.
    fn view(&self) -> Option<IndexView<'_>> {
        let bytes = |name| self.file.section(name).unwrap_or_default();
        let numbers = |name| sealed::slice::<u32>(&self.file, name, None).unwrap_or_default();
        match self.report.kind {
            IndexKind::Flat => None,
            IndexKind::Ivf => Some(IndexView::Ivf(Lists {
                segment_rows: self.rows,
                centroids: bytes(sections::CENTROIDS),
                offsets: numbers(sections::LIST_OFFSETS),
                rows: numbers(sections::LIST_ROWS),
                codes: bytes(sections::LIST_CODES),
            })),
            _ => {
                let graph = Adjacency::new(numbers(sections::EDGES), self.report.degree);
                Some(IndexView::Graph(graph, self.report.entry))
            }
        }
    }
}

/// Most neighbours of a row that a file may have room for.
const MAX_DEGREE: usize = 1024;

impl FieldCodes {
    /// The codes and a query, as indexes score them.
    pub fn scores<'a>(&'a self, query: &'a PrimaryQuery) -> CodeScores<'a> {
        CodeScores { codec: self.codec(), kernel: self.kernel(), records: self.primary(), query }
    }
}

fn read_calibration(
    directory: &dyn Directory,
    path: &str,
    entry: &FileEntry,
) -> Result<Calibration> {
    let file = SectionFile::open_expecting(directory, path, &entry.summary())?;
    file.verify()?;
    let read = serde_json::from_slice(file.section(sections::CALIBRATION)?);
    Ok(read.map_err(|error| file.corrupted(sections::CALIBRATION, error.to_string()))?)
}

/// Writes what was measured later into a folder; it is durable when this returns.
///
/// # Errors
/// If it cannot be written.
pub fn write_calibration(
    directory: &dyn Directory,
    folder: &str,
    calibration: &Calibration,
) -> Result<FileEntry> {
    write_folder(directory, folder, |temporary| -> Result<_> {
        let name = sections::CALIBRATION_FILE.to_owned();
        let mut writer = SectionWriter::create(directory, &format!("{temporary}/{name}"))?;
        let json = serde_json::to_vec(calibration)
            .map_err(|error| Error::Internal(format!("cannot encode a calibration: {error}")))?;
        writer.write_section(sections::CALIBRATION, &json)?;
        finish(writer, name)
    })
}

/// Writes an index into a folder; it is durable when this returns.
///
/// # Errors
/// If a file cannot be written.
pub fn write_index(
    directory: &dyn Directory,
    folder: &str,
    (index, copies): (&BuiltIndex, &[[u32; 2]]),
    report: &IndexReport,
    memory: Memory,
) -> Result<FileEntry> {
    write_folder(directory, folder, |temporary| -> Result<_> {
        let name = sections::INDEX_FILE.to_owned();
        let mut writer = SectionWriter::create(directory, &format!("{temporary}/{name}"))?;
        if memory == Memory::Cold {
            writer.set_cold();
        }
        let json = serde_json::to_vec(report)
            .map_err(|error| Error::Internal(format!("cannot encode an index: {error}")))?;
        writer.write_section(sections::INDEX, &json)?;
        match index {
            BuiltIndex::Flat => {}
            BuiltIndex::Graph { edges, .. } => {
                writer.write_section(sections::EDGES, bytemuck::cast_slice(edges))?;
            }
            BuiltIndex::Ivf(parts) => {
                writer.write_section(sections::CENTROIDS, &parts.centroids)?;
                let offsets = bytemuck::cast_slice(&parts.offsets);
                writer.write_section(sections::LIST_OFFSETS, offsets)?;
                writer.write_section(sections::LIST_ROWS, bytemuck::cast_slice(&parts.rows))?;
                writer.write_section(sections::LIST_CODES, &parts.codes)?;
            }
        }
        if !copies.is_empty() {
            writer.write_section(sections::COPIES, bytemuck::cast_slice(copies.as_flattened()))?;
        }
        finish(writer, name)
    })
}
