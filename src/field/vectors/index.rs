//! The index of a field: built over the codes of a sealed segment after sealing, in its own folder,
//! so that it appears atomically.

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

/// Description of an index, with the measurements of its build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndexReport {
    /// Graph or IVF lists.
    pub kind: IndexKind,
    /// Largest out-degree of a graph; 0 for IVF lists.
    pub degree: usize,
    /// Entry point of a graph.
    pub entry: u32,
    /// Number of IVF lists; 0 for a graph.
    pub lists: usize,
    /// Number of training queries that a graph learned edges from, besides its rows.
    #[serde(default)]
    pub taught_by: usize,
    /// Recall at each search depth.
    pub calibration: Calibration,
    /// Cost of a recall of 0.95 for each kind of index that was built.
    pub costs: Vec<(IndexKind, f32)>,
}

/// An index of a field of a sealed segment.
#[derive(Debug)]
pub struct FieldIndex {
    file: SectionFile,
    number: u64,
    report: IndexReport,
    /// The latest calibration.
    calibration: ArcSwap<Calibration>,
    lately: Lately,
    rows: u32,
    parts: Parts,
    /// Rows that duplicate others and are left out of the index, if there are any.
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
    /// Finds the sections and checks their lengths. Edges and lists are not read.
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
                let codec = codes.codec().ok_or_else(|| {
                    file.corrupted(sections::INDEX, "an index of codes that are not there")
                })?;
                let layout = codec.primary_layout();
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
    if !file.has(sections::COPIES) {
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
    /// Opens the index in `folder` and checks the lengths of its sections. Edges and lists are not
    /// read: searches skip invalid rows.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming the section with the wrong length.
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
                // A sibling of the index's folder.
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

    /// Verifies the checksums of the file; `go_on` as in [`SectionFile::damage`].
    pub fn damage(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<StorageError> {
        self.file.damage(go_on)
    }

    /// Checks that everything read so far could be read.
    ///
    /// # Errors
    /// [`StorageError::Io`] naming the file.
    pub fn check_pages(&self) -> Result<(), StorageError> {
        self.file.check_pages()
    }

    /// Number of the index, which names its folder.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Description of the index, with the measurements of its build.
    pub fn report(&self) -> &IndexReport {
        &self.report
    }

    /// The latest calibration.
    pub fn calibration(&self) -> Guard<Arc<Calibration>> {
        self.calibration.load()
    }

    /// Running average over recent queries.
    pub fn lately(&self) -> &Lately {
        &self.lately
    }

    /// Replaces the calibration that queries rely on.
    pub fn recalibrate(&self, calibration: Calibration) {
        self.calibration.store(Arc::new(calibration));
    }

    /// The index to search, unless it is flat, and the duplicate rows.
    pub(crate) fn searched(&self) -> Option<(IndexView<'_>, Copies<'_>)> {
        Some((self.view()?, self.copies()))
    }

    /// Length of its file, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.file.len()
    }

    /// Searches as [`IndexView::search`] does; finds nothing if the index is flat. `accept` is only
    /// called with rows of the segment.
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

    /// The duplicate rows.
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

/// Largest out-degree accepted from a file.
const MAX_DEGREE: usize = 1024;

impl FieldCodes {
    /// The primary codes and a query, in the form that indexes score; `None` if there are none.
    pub fn scores<'a>(&'a self, query: &'a PrimaryQuery) -> Option<CodeScores<'a>> {
        let (codec, kernel, records) = (self.codec()?, self.kernel(), self.primary());
        Some(CodeScores { codec, kernel, records, query })
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

/// Writes a later calibration into a folder; durable on return.
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

/// Writes an index into a folder; durable on return.
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
