//! The files of a segment, for its fields to open and write.

use std::sync::atomic::Ordering;

use lanner_storage::{
    Directory, FileEntry, SectionFile, SectionWriter, SegmentEntry, StorageError,
};

use super::vectors::FieldCodec;
use super::{FieldSource, FileMemory};
use crate::error::{Error, Result};
use crate::index::BuildProgress;
use crate::model::{Memory, VectorField, VectorsView};

/// The files of a sealed segment being opened.
#[derive(Clone, Copy)]
pub struct SegmentFiles<'a> {
    /// Directory that contains the folder.
    pub directory: &'a dyn Directory,
    /// Folder of the segment.
    pub folder: &'a str,
    /// The segment's entry in the manifest.
    pub entry: &'a SegmentEntry,
}

impl SegmentFiles<'_> {
    /// Opens a file and verifies its sections, except those read `on_demand`: large sections whose
    /// content cannot cause out-of-bounds access.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] if the file is not the one that was sealed, or a section is
    /// damaged.
    pub fn open(self, name: &str, on_demand: &[&str]) -> Result<SectionFile> {
        let path = format!("{}/{name}", self.folder);
        let listed = self.entry.files.iter().find(|file| file.name == name);
        let listed = listed.ok_or_else(|| StorageError::Catalog {
            op: "open segment",
            detail: format!("the manifest does not list `{path}`"),
        })?;
        let file = SectionFile::open_expecting(self.directory, &path, &listed.summary())?;
        file.verify_sections(|section| !on_demand.contains(&section))?;
        Ok(file)
    }

    /// As [`Self::open`]; `None` if the manifest does not list the file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_listed(self, name: &str, on_demand: &[&str]) -> Result<Option<SectionFile>> {
        let listed = self.entry.files.iter().any(|file| file.name == name);
        listed.then(|| self.open(name, on_demand)).transpose()
    }
}

/// A field of a segment being written.
#[derive(Clone, Copy)]
pub struct FieldBuild<'a> {
    /// Directory in which the segment is created.
    pub directory: &'a dyn Directory,
    /// Temporary folder of the segment.
    pub folder: &'a str,
    /// Index of the field, by name.
    pub index: usize,
    /// Settings of the field.
    pub settings: &'a VectorField,
    /// Its codec, if it is compressed.
    pub codec: Option<&'a FieldCodec>,
    /// Thread pool for encoding.
    pub pool: &'a rayon::ThreadPool,
    /// Progress and cancellation of the build.
    pub progress: &'a BuildProgress,
}

impl FieldBuild<'_> {
    /// Creates a file of the field.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub fn create_file(&self, name: &str) -> Result<SectionWriter> {
        let mut writer = SectionWriter::create(self.directory, &format!("{}/{name}", self.folder))?;
        if self.settings.memory == Memory::Cold {
            writer.set_cold();
        }
        Ok(writer)
    }

    /// As [`advance`].
    ///
    /// # Errors
    /// [`Error::Closing`] if the build was cancelled.
    pub fn advance(&self, rows: u64) -> Result<()> {
        advance(self.progress, rows)
    }

    /// Visits the live rows of the sources, in order: each in the view that holds it.
    ///
    /// # Errors
    /// [`Error::Closing`] if the build was cancelled, or the first error of `visitor`.
    pub fn visit_live(
        &self,
        sources: &[FieldSource<'_>],
        mut visitor: impl FnMut(VectorsView<'_>, usize) -> Result<()>,
    ) -> Result<()> {
        for source in sources {
            for range in source.live.ranges() {
                self.advance(u64::from(range.end - range.start))?;
                let mut result = Ok(());
                source.reader.read_ahead(range.clone());
                source.reader.visit(range, &mut |_, view, rows| {
                    for row in rows {
                        if result.is_ok() {
                            result = visitor(view, row);
                        }
                    }
                });
                result?;
            }
        }
        Ok(())
    }
}

/// Counts rows about to be written.
///
/// # Errors
/// [`Error::Closing`] if the build was cancelled.
pub fn advance(progress: &BuildProgress, rows: u64) -> Result<()> {
    // Relaxed: the counters order nothing else.
    progress.done.fetch_add(rows, Ordering::Relaxed);
    if progress.cancelled.load(Ordering::Relaxed) { Err(Error::Closing) } else { Ok(()) }
}

/// Finishes a file and returns its manifest entry.
///
/// # Errors
/// If the file cannot be written.
pub fn finish(writer: SectionWriter, name: String) -> Result<FileEntry> {
    let summary = writer.finish()?;
    Ok(FileEntry { name, len: summary.len, checksum: summary.checksum })
}

/// A file of a sealed segment, for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// File name within the segment's folder.
    pub name: String,
    /// Length of the file in bytes.
    pub size_bytes: u64,
    /// Name and length in bytes of each section.
    pub sections: Vec<(String, u64)>,
    /// Actual memory use.
    pub memory: FileMemory,
}

impl SegmentFile {
    /// Report of an open file.
    pub fn new(name: String, file: &SectionFile, memory: FileMemory) -> Self {
        let sections = file.sections().iter().map(|info| (info.name.clone(), info.len)).collect();
        Self { name, size_bytes: file.len(), sections, memory }
    }
}
