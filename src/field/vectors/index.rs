//! The index of a field: built over the codes of a sealed segment some time after it, in a folder
//! of its own, so that it appears whole or not at all.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use lanner_storage::{
    Directory, FileEntry, IndexEntry, Section, SectionFile, SectionWriter, StorageError,
    write_folder,
};
use serde::{Deserialize, Serialize};

use super::FieldCodes;
use super::sections;
use crate::error::{Error, Result};
use crate::field::{FileMemory, FileRole, SegmentFile, finish, place};
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
    parts: Parts,
    /// Of the rows that equal others and are not in the index, if there are any.
    copies: Option<Section<u32>>,
    memory: FileMemory,
}

/// The sections of an index.
#[derive(Debug, Clone, Copy)]
enum Parts {
    Flat,
    Graph { edges: Section<u32> },
    Lists { centroids: Section, offsets: Section<u32>, rows: Section<u32>, codes: Section },
}

impl Parts {
    /// Finds the sections and checks that they have the lengths they should. Edges and lists are not read.
    fn open(
        file: &SectionFile,
        report: &IndexReport,
        codes: &FieldCodes,
        rows: u32,
    ) -> Result<Self> {
        let count = rows as usize;
        let bad = |section: &str, detail: String| Err(file.corrupted(section, detail).into());
        match report.kind {
            IndexKind::Graph => {
                if !(1..=MAX_DEGREE).contains(&report.degree) || report.entry >= rows {
                    return bad(sections::INDEX, "degree or entry out of bounds".into());
                }
                let edges = file.find_numbers(sections::EDGES, Some(count * report.degree))?;
                Ok(Self::Graph { edges })
            }
            IndexKind::Ivf => {
                let lists = report.lists;
                let offsets = file.find_numbers::<u32>(sections::LIST_OFFSETS, Some(lists + 1))?;
                let list_rows = file.find_numbers::<u32>(sections::LIST_ROWS, None)?;
                let (starts, listed) = (file.numbers(offsets), file.numbers(list_rows).len());
                let last = starts.last().map(|&last| last as usize);
                if !starts.is_sorted() || last != Some(listed) || listed > count {
                    return bad(sections::LIST_OFFSETS, "offsets do not rise to the end".into());
                }
                let layout = codes.codec().primary_layout();
                let find = |section, expected: usize| -> Result<Section> {
                    file.find_numbers(section, Some(expected)).map_err(Error::from)
                };
                let codes = find(sections::LIST_CODES, layout.section_bytes(listed))?;
                let centroid_bytes = Lists::centroid_bytes(layout.dimension(), lists);
                let centroids = find(sections::CENTROIDS, centroid_bytes)?;
                Ok(Self::Lists { centroids, offsets, rows: list_rows, codes })
            }
            IndexKind::Flat => Ok(Self::Flat),
            kind => bad(sections::INDEX, format!("an index of kind {}", kind.as_str())),
        }
    }
}

fn open_copies(file: &SectionFile, rows: u32) -> Result<Option<Section<u32>>> {
    if !file.sections().iter().any(|info| info.name == sections::COPIES) {
        return Ok(None);
    }
    let copies = file.find_numbers::<u32>(sections::COPIES, None)?;
    let numbers = file.numbers(copies);
    if !numbers.len().is_multiple_of(2) || numbers.iter().any(|&row| row >= rows) {
        return Err(file.corrupted(sections::COPIES, "not pairs of rows of the segment").into());
    }
    Ok(Some(copies))
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
        let on_demand = [sections::EDGES, sections::LIST_ROWS, sections::LIST_CODES];
        file.verify_sections(|section| !on_demand.contains(&section))?;
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
        let parts = Parts::open(&file, &report, codes, rows)?;
        let copies = open_copies(&file, rows)?;
        let memory = place(&file, memory, FileRole::Candidates);
        let (number, calibration) = (entry.number, ArcSwap::from_pointee(calibration));
        let lately = Lately::default();
        Ok(Self { file, number, report, calibration, lately, rows, parts, copies, memory })
    }

    /// Its file, for reports.
    pub fn describe(&self) -> SegmentFile {
        let name = format!("../{}/{}", self.number, sections::INDEX_FILE);
        SegmentFile::new(name, &self.file, self.memory)
    }

    /// Compares everything in its file with its checksums; `go_on` as in [`SectionFile::damage`].
    pub fn damage(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<StorageError> {
        self.file.damage(go_on)
    }

    /// Whether everything that was read so far could be read.
    ///
    /// # Errors
    /// [`StorageError::Io`] naming the file.
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

    /// Rows that equal others.
    fn copies(&self) -> Copies<'_> {
        let numbers = self.copies.map(|copies| self.file.numbers(copies)).unwrap_or_default();
        Copies::new(numbers.as_chunks().0)
    }

    fn view(&self) -> Option<IndexView<'_>> {
        let file = &self.file;
        match self.parts {
            Parts::Flat => None,
            Parts::Lists { centroids, offsets, rows, codes } => Some(IndexView::Ivf(Lists {
                segment_rows: self.rows,
                centroids: file.bytes(centroids),
                offsets: file.numbers(offsets),
                rows: file.numbers(rows),
                codes: file.bytes(codes),
            })),
            Parts::Graph { edges } => {
                let graph = Adjacency::new(file.numbers(edges), self.report.degree);
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
