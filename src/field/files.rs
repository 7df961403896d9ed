//! The files of a segment, as its fields open and write them.

use std::sync::atomic::Ordering;

use lanner_storage::{
    Directory, FileEntry, SectionFile, SectionWriter, SegmentEntry, StorageError,
};

use super::FileMemory;
use crate::error::{Error, Result};
use crate::index::BuildProgress;
use crate::model::{Memory, VectorField};
use crate::quantization::TrainedCodec;

/// The files of a sealed segment that is being opened.
#[derive(Clone, Copy)]
pub struct SegmentFiles<'a> {
    /// Where its folder is.
    pub directory: &'a dyn Directory,
    /// That folder.
    pub folder: &'a str,
    /// What the manifest says of the segment.
    pub entry: &'a SegmentEntry,
}

impl SegmentFiles<'_> {
    /// Opens a file and checks its sections, but for those that are read `on_demand`: large ones of which no
    /// content leads out of bounds, so that whoever reads them makes do with any bytes.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] if it is another file than was sealed, or a section of it is damaged.
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

    /// The same, if there is such a file.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_listed(self, name: &str, on_demand: &[&str]) -> Result<Option<SectionFile>> {
        let listed = self.entry.files.iter().any(|file| file.name == name);
        listed.then(|| self.open(name, on_demand)).transpose()
    }
}

/// A field of a segment that is being written.
#[derive(Clone, Copy)]
pub struct FieldBuild<'a> {
    /// Where the segment's folder is made.
    pub directory: &'a dyn Directory,
    /// The folder as long as it is not complete.
    pub folder: &'a str,
    /// Number of the field, in the order of names.
    pub index: usize,
    /// The field's settings.
    pub settings: &'a VectorField,
    /// What compresses it, if anything does.
    pub trained: Option<&'a TrainedCodec>,
    /// Encoding runs here.
    pub pool: &'a rayon::ThreadPool,
    /// Counts rows as they are written, and says whether to stop.
    pub progress: &'a BuildProgress,
}

impl FieldBuild<'_> {
    /// Begins a file of the field.
    ///
    /// # Errors
    /// If it cannot be created.
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
}

/// Counts rows that are about to be written.
///
/// # Errors
/// [`Error::Closing`] if the build was cancelled.
pub fn advance(progress: &BuildProgress, rows: u64) -> Result<()> {
    // Relaxed: the numbers order nothing else.
    progress.done.fetch_add(rows, Ordering::Relaxed);
    if progress.cancelled.load(Ordering::Relaxed) { Err(Error::Closing) } else { Ok(()) }
}

/// Finishes a file and says what the manifest has to know about it.
///
/// # Errors
/// If it cannot be written.
pub fn finish(writer: SectionWriter, name: String) -> Result<FileEntry> {
    let summary = writer.finish()?;
    Ok(FileEntry { name, len: summary.len, checksum: summary.checksum })
}

/// A file of a sealed segment, for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFile {
    /// File name inside the segment's folder.
    pub name: String,
    /// Length of the file in bytes.
    pub size_bytes: u64,
    /// Its sections: name and length in bytes.
    pub sections: Vec<(String, u64)>,
    /// How it uses memory.
    pub memory: FileMemory,
}

impl SegmentFile {
    /// The report of an open file.
    pub fn new(name: String, file: &SectionFile, memory: FileMemory) -> Self {
        let sections = file.sections().iter().map(|info| (info.name.clone(), info.len)).collect();
        Self { name, size_bytes: file.len(), sections, memory }
    }
}
