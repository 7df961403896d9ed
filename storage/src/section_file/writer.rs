//! Sequential writer of section files.

use std::io;
use std::path::PathBuf;

use super::format::{
    self, BLOCK_BYTES, BLOCKS, HEADER_BYTES, SectionInfo, TRAILER_BYTES, Trailer, encode_header,
    encode_table, encode_trailer,
};
use crate::checksum::{RunningChecksum, checksum};
use crate::directory::{Directory, WriteFile};
use crate::error::{Result, StorageError};

/// Identity of a finished file: its length, and the checksum of its section table, which contains
/// the checksums of all sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSummary {
    /// Length in bytes.
    pub len: u64,
    /// Checksum of the section table.
    pub checksum: u64,
}

/// A section file being written.
pub struct SectionWriter {
    path: PathBuf,
    file: Box<dyn WriteFile>,
    position: u64,
    sections: Vec<SectionInfo>,
    open: Option<Blocks>,
    /// Block checksums of all finished sections.
    blocks: Vec<u64>,
    cold: bool,
}

/// Block checksums of the section being written.
#[derive(Default)]
struct Blocks {
    sums: Vec<u64>,
    block: RunningChecksum,
    /// Bytes in the last block so far.
    filled: usize,
}

impl Blocks {
    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filled));
            self.block.update(part);
            self.filled += part.len();
            bytes = rest;
            if self.filled == BLOCK_BYTES {
                self.end_block();
            }
        }
    }

    fn end_block(&mut self) {
        self.sums.push(std::mem::take(&mut self.block).finish());
        self.filled = 0;
    }

    fn finish(mut self) -> Vec<u64> {
        if self.filled > 0 {
            self.end_block();
        }
        self.sums
    }
}

impl SectionWriter {
    /// Creates the file, which must not exist.
    ///
    /// # Errors
    /// [`StorageError`] if it cannot be created or written.
    pub fn create(directory: &dyn Directory, path: &str) -> Result<Self> {
        let file = directory.create_file(path)?;
        let (path, position, cold) = (path.into(), 0, false);
        let (sections, open, blocks) = (Vec::new(), None, Vec::new());
        let mut writer = Self { path, file, position, sections, open, blocks, cold };
        writer.put(&encode_header())?;
        debug_assert_eq!(writer.position, HEADER_BYTES as u64);
        Ok(writer)
    }

    /// Marks the file as cold: it need not stay in the page cache once written.
    pub fn set_cold(&mut self) {
        self.cold = true;
    }

    /// Writes a complete section.
    ///
    /// # Errors
    /// As [`Self::begin_section`] and [`Self::write`].
    pub fn write_section(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.begin_section(name)?;
        self.write(bytes)?;
        self.end_section()
    }

    /// Begins a section that is written in pieces.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the name is malformed or taken, another section is open, or the disk
    /// fails.
    pub fn begin_section(&mut self, name: &str) -> Result<()> {
        let taken = self.sections.iter().any(|section| section.name == name) || name == BLOCKS;
        if taken || self.open.is_some() || !format::is_name(name) {
            return Err(self.misuse(format!("section {name:?} cannot begin here")));
        }
        self.align()?;
        let (offset, len, checksum) = (self.position, 0, 0);
        self.sections.push(SectionInfo { name: name.to_owned(), offset, len, checksum });
        self.open = Some(Blocks::default());
        Ok(())
    }

    /// Appends bytes to the open section.
    ///
    /// # Errors
    /// [`StorageError::Io`] if no section is open or the disk fails.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.open {
            Some(blocks) => blocks.update(bytes),
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
            (Some(blocks), Some(section)) => {
                let sums = blocks.finish();
                section.len = self.position - section.offset;
                section.checksum = checksum(&to_bytes(&sums));
                self.blocks.extend(sums);
                Ok(())
            }
            _ => Err(self.misuse("no section is open".to_owned())),
        }
    }

    /// Writes table and trailer and forces the content to disk. The file's entry in its folder is
    /// durable after [`Directory::sync_folder`].
    ///
    /// # Errors
    /// [`StorageError::Io`] if a section is open or the disk fails.
    pub fn finish(mut self) -> Result<FileSummary> {
        if self.open.is_some() {
            return Err(self.misuse("a section is open".to_owned()));
        }
        self.write_blocks()?;
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

    fn write_blocks(&mut self) -> Result<()> {
        self.align()?;
        let bytes = to_bytes(&self.blocks);
        let (name, offset, len) = (BLOCKS.to_owned(), self.position, bytes.len() as u64);
        self.sections.push(SectionInfo { name, offset, len, checksum: checksum(&bytes) });
        self.put(&bytes)
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

fn to_bytes(sums: &[u64]) -> Vec<u8> {
    sums.iter().flat_map(|sum| sum.to_le_bytes()).collect()
}
