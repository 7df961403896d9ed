//! Writes a section file from front to back.

use std::io;
use std::path::PathBuf;

use super::format::{
    self, HEADER_BYTES, SectionInfo, TRAILER_BYTES, Trailer, encode_header, encode_table,
    encode_trailer,
};
use crate::checksum::{RunningChecksum, checksum};
use crate::directory::{Directory, WriteFile};
use crate::error::{Result, StorageError};

/// What identifies a finished file: its length, and the checksum of its section table, which
/// holds the checksums of all sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSummary {
    /// Length in bytes.
    pub len: u64,
    /// Checksum of the section table.
    pub checksum: u64,
}

/// A section file that is being written.
pub struct SectionWriter {
    path: PathBuf,
    file: Box<dyn WriteFile>,
    position: u64,
    sections: Vec<SectionInfo>,
    open: Option<RunningChecksum>,
    cold: bool,
}

impl SectionWriter {
    /// Creates the file, which must not exist.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be created or written.
    pub fn create(directory: &dyn Directory, path: &str) -> Result<Self> {
        let file = directory.create_file(path)?;
        let (position, sections, open) = (0, Vec::new(), None);
        let mut writer = Self { path: path.into(), file, position, sections, open, cold: false };
        writer.put(&encode_header())?;
        debug_assert_eq!(writer.position, HEADER_BYTES as u64);
        Ok(writer)
    }

    /// Says that the file will not be read soon: it need not stay in memory once it is written.
    pub fn set_cold(&mut self) {
        self.cold = true;
    }

    /// Writes a whole section.
    ///
    /// # Errors
    /// As [`Self::begin_section`] and [`Self::write`].
    pub fn write_section(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.begin_section(name)?;
        self.write(bytes)?;
        self.end_section()
    }

    /// Begins a section whose bytes come in pieces.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the name is malformed or taken, another section is open, or the
    /// disk refuses.
    pub fn begin_section(&mut self, name: &str) -> Result<()> {
        let taken = self.sections.iter().any(|section| section.name == name);
        if taken || self.open.is_some() || !format::is_name(name) {
            return Err(self.misuse(format!("section {name:?} cannot begin here")));
        }
        self.align()?;
        let (offset, len, checksum) = (self.position, 0, 0);
        self.sections.push(SectionInfo { name: name.to_owned(), offset, len, checksum });
        self.open = Some(RunningChecksum::default());
        Ok(())
    }

    /// Adds bytes to the open section.
    ///
    /// # Errors
    /// [`StorageError::Io`] if no section is open or the disk refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.open {
            Some(sum) => sum.update(bytes),
            None => return Err(self.misuse("no section is open".to_owned())),
        }
        self.put(bytes)
    }

    /// Ends the open section.
    ///
    /// # Errors
    /// [`StorageError::Io`] if no section is open.
    pub fn end_section(&mut self) -> Result<()> {
        match (self.open.take(), self.sections.last_mut()) {
            (Some(sum), Some(section)) => {
                section.len = self.position - section.offset;
                section.checksum = sum.finish();
                Ok(())
            }
            _ => Err(self.misuse("no section is open".to_owned())),
        }
    }

    /// Writes table and trailer and forces the content to the disk. The file's entry in its
    /// folder is durable after [`Directory::sync_folder`].
    ///
    /// # Errors
    /// [`StorageError::Io`] if a section is open or the disk refuses.
    pub fn finish(mut self) -> Result<FileSummary> {
        if self.open.is_some() {
            return Err(self.misuse("a section is open".to_owned()));
        }
        self.align()?;
        let table = encode_table(&self.sections);
        let trailer = Trailer {
            table_offset: self.position,
            table_len: table.len() as u64,
            table_checksum: checksum(&table),
            file_len: self.position + (table.len() + TRAILER_BYTES) as u64,
        };
        self.put(&table)?;
        self.put(&encode_trailer(&trailer))?;
        self.file.sync()?;
        if self.cold {
            self.file.evict();
        }
        Ok(FileSummary { len: trailer.file_len, checksum: trailer.table_checksum })
    }

    fn align(&mut self) -> Result<()> {
        let zeros = [0; format::ALIGNMENT as usize];
        self.put(&zeros[..format::padding(self.position) as usize])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| self.failed(source))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn misuse(&self, detail: String) -> StorageError {
        self.failed(io::Error::new(io::ErrorKind::InvalidInput, detail))
    }

    fn failed(&self, source: io::Error) -> StorageError {
        StorageError::Io { op: "write", path: self.path.clone(), source }
    }
}
