//! Reads section files.

use std::ops::Range;

use super::format::{
    ALIGNMENT, ENTRY_BYTES, FORMAT, HEADER_BYTES, SectionInfo, TRAILER_BYTES, Trailer,
    decode_entry, decode_header, decode_trailer,
};
use super::writer::FileSummary;
use crate::checksum::{RunningChecksum, checksum};
use crate::directory::Directory;
use crate::error::{Result, StorageError};
use crate::mapped_file::{Access, MappedFile};

/// Bytes that are read ahead of a checksum.
const WINDOW_BYTES: usize = 4 << 20;

/// An open section file whose frame was checked.
#[derive(Debug)]
pub struct SectionFile {
    file: MappedFile,
    sections: Vec<SectionInfo>,
    summary: FileSummary,
}

impl SectionFile {
    /// Opens a file and checks its frame: header, trailer, table, and that sections are aligned,
    /// in bounds and in order with nothing but zeros between them. Until it is advised otherwise,
    /// it is read a page at a time: reading around each page would read much of a large file.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming the part of the file,
    /// [`StorageError::UnsupportedFormat`], and I/O errors.
    pub fn open(directory: &dyn Directory, path: &str) -> Result<Self> {
        let file = directory.open(path)?;
        // A hint: if it is refused, more is read.
        let _ = file.advise(0..file.as_slice().len(), Access::Random);
        let trailer = check_frame(&file)?;
        let sections = read_table(&file, &trailer)?;
        let summary = FileSummary { len: trailer.file_len, checksum: trailer.table_checksum };
        Ok(Self { file, sections, summary })
    }

    /// Opens a file and checks that it is the one that was finished with `expected`.
    ///
    /// # Errors
    /// As [`Self::open`], and [`StorageError::Corrupted`] if it is another file.
    pub fn open_expecting(
        directory: &dyn Directory,
        path: &str,
        expected: &FileSummary,
    ) -> Result<Self> {
        let opened = Self::open(directory, path)?;
        if opened.summary != *expected {
            let detail = format!(
                "expected {} bytes with checksum {:016x}, got {} bytes with {:016x}",
                expected.len, expected.checksum, opened.summary.len, opened.summary.checksum
            );
            return Err(opened.corrupted("table", detail));
        }
        Ok(opened)
    }

    /// Length of the file, in bytes.
    pub fn len(&self) -> u64 {
        self.summary.len
    }

    /// Never: a file has a header at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The sections, in the order of the file.
    pub fn sections(&self) -> &[SectionInfo] {
        &self.sections
    }

    /// The bytes of a section, aligned to 64 bytes.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] if there is no such section.
    pub fn section(&self, name: &str) -> Result<&[u8]> {
        let found = self.sections.iter().find(|section| section.name == name);
        found
            .map(|section| self.bytes(section))
            .ok_or_else(|| self.corrupted(name, "the section is missing"))
    }

    /// Checks the content of all sections against their checksums, which reads the whole file.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming the first section that differs.
    pub fn verify(&self) -> Result<()> {
        self.verify_sections(|_| true)
    }

    /// Checks the content of the sections whose name is `wanted` against their checksums.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming the first of them that differs.
    pub fn verify_sections(&self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let mut wanted = self.sections.iter().filter(|section| wanted(&section.name));
        wanted.try_for_each(|section| self.check(section, &mut |_| true))
    }

    /// Checks the content of all sections against their checksums and returns an error for each
    /// that differs. `go_on` is told how many bytes were read since it was told last; if it
    /// returns `false`, what is left is not checked.
    pub fn damage(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<StorageError> {
        let checked = self.sections.iter().map(|section| self.check(section, go_on));
        checked.filter_map(Result::err).collect()
    }

    fn check(&self, section: &SectionInfo, go_on: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let mut sum = RunningChecksum::default();
        let (mut start, end) = (section.offset as usize, (section.offset + section.len) as usize);
        // The file may be read a page at a time. A refused hint makes this slower and not wrong.
        let read_ahead = |from: usize| {
            let window = from.min(end)..(from + WINDOW_BYTES).min(end);
            let _ = self.file.advise(window, Access::Soon);
        };
        read_ahead(start);
        for window in self.bytes(section).chunks(WINDOW_BYTES) {
            start += window.len();
            read_ahead(start);
            sum.update(window);
            if !go_on(window.len() as u64) {
                return Ok(());
            }
        }
        if sum.finish() == section.checksum {
            return Ok(());
        }
        Err(self.corrupted(&section.name, "the checksum does not match"))
    }

    /// Says how a range of the bytes of a section will be read, as far as the section has them. A
    /// section that is missing needs no advice.
    ///
    /// # Errors
    /// As [`MappedFile::advise`].
    pub fn advise_range(&self, section: &str, range: Range<u64>, access: Access) -> Result<()> {
        let Some(found) = self.sections.iter().find(|found| found.name == section) else {
            return Ok(());
        };
        let at = |position: u64| (found.offset + position.min(found.len)) as usize;
        self.file.advise(at(range.start)..at(range.end), access)
    }

    /// Says how the whole file will be read.
    ///
    /// # Errors
    /// As [`MappedFile::advise`].
    pub fn advise_all(&self, access: Access) -> Result<()> {
        self.file.advise(0..self.file.as_slice().len(), access)
    }

    /// Reads the whole file and keeps it in memory as long as it is open.
    ///
    /// # Errors
    /// As [`MappedFile::lock`].
    pub fn lock(&self) -> Result<()> {
        self.file.lock()
    }

    /// The error that says that a section does not hold what it should.
    pub fn corrupted(&self, section: &str, detail: impl Into<String>) -> StorageError {
        corrupted(&self.file, section, detail)
    }

    fn bytes(&self, section: &SectionInfo) -> &[u8] {
        &self.file.as_slice()[section.offset as usize..(section.offset + section.len) as usize]
    }
}

fn corrupted(file: &MappedFile, section: &str, detail: impl Into<String>) -> StorageError {
    let (path, section) = (file.path().to_owned(), section.to_owned());
    StorageError::Corrupted { path, section, detail: detail.into() }
}

fn check_frame(file: &MappedFile) -> Result<Trailer> {
    let bytes = file.as_slice();
    let header = bytes.first_chunk::<HEADER_BYTES>();
    let header = header.ok_or_else(|| corrupted(file, "header", "the file is too short"))?;
    let found = decode_header(header).map_err(|detail| corrupted(file, "header", detail))?;
    if !(1..=FORMAT).contains(&found) {
        let (path, supported) = (file.path().to_owned(), FORMAT);
        return Err(StorageError::UnsupportedFormat { path, found, supported });
    }
    let trailer = bytes[HEADER_BYTES..]
        .last_chunk::<TRAILER_BYTES>()
        .ok_or_else(|| corrupted(file, "trailer", "the file is too short"))?;
    let trailer = decode_trailer(trailer).map_err(|detail| corrupted(file, "trailer", detail))?;
    let end = bytes.len() as u64;
    let table_end = trailer.table_offset.checked_add(trailer.table_len);
    if trailer.file_len != end || table_end != Some(end - TRAILER_BYTES as u64) {
        let detail = format!("the lengths do not fit a file of {end} bytes");
        return Err(corrupted(file, "trailer", detail));
    }
    if trailer.table_offset < HEADER_BYTES as u64 {
        return Err(corrupted(file, "trailer", "the table overlaps the header"));
    }
    Ok(trailer)
}

fn read_table(file: &MappedFile, trailer: &Trailer) -> Result<Vec<SectionInfo>> {
    let start = trailer.table_offset as usize;
    let table = &file.as_slice()[start..start + trailer.table_len as usize];
    if checksum(table) != trailer.table_checksum {
        return Err(corrupted(file, "table", "the checksum does not match"));
    }
    if !table.len().is_multiple_of(ENTRY_BYTES) {
        return Err(corrupted(file, "table", "it is not a whole number of entries"));
    }
    let mut sections: Vec<SectionInfo> = Vec::with_capacity(table.len() / ENTRY_BYTES);
    let mut position = HEADER_BYTES as u64;
    for entry in table.chunks_exact(ENTRY_BYTES) {
        let section = decode_entry(entry).map_err(|detail| corrupted(file, "table", detail))?;
        let end = section.offset.checked_add(section.len);
        let placed = section.offset >= position
            && section.offset.is_multiple_of(ALIGNMENT)
            && end.is_some_and(|end| end <= trailer.table_offset);
        if !placed {
            return Err(corrupted(file, &section.name, "the section lies out of bounds"));
        }
        if sections.iter().any(|other| other.name == section.name) {
            return Err(corrupted(file, &section.name, "the section is there twice"));
        }
        check_padding(file, position..section.offset)?;
        position = section.offset + section.len;
        sections.push(section);
    }
    check_padding(file, position..trailer.table_offset)?;
    Ok(sections)
}

fn check_padding(file: &MappedFile, range: Range<u64>) -> Result<()> {
    let zeros = &file.as_slice()[range.start as usize..range.end as usize];
    if zeros.len() as u64 >= ALIGNMENT || zeros.iter().any(|&byte| byte != 0) {
        let detail = format!("expected zeros from byte {} to {}", range.start, range.end);
        return Err(corrupted(file, "padding", detail));
    }
    Ok(())
}
