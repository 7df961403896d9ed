//! Reads section files.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::AnyBitPattern;
use bytes::Bytes;

use super::format::{
    ALIGNMENT, BLOCK_BYTES, BLOCK_FORMAT, BLOCKS, ENTRY_BYTES, FORMAT, HEADER_BYTES, SectionInfo,
    TRAILER_BYTES, Trailer, decode_entry, decode_header, decode_trailer,
};
use super::writer::FileSummary;
use crate::blob::{Access, Blob, BlobReader};
use crate::checksum::{RunningChecksum, checksum};
use crate::directory::Directory;
use crate::error::{Result, StorageError};
use crate::mapped_file::SharedBytes;

/// Bytes per read while verifying checksums: a whole number of blocks.
const WINDOW_BYTES: usize = 16 * BLOCK_BYTES;

/// An open section file with a verified frame.
#[derive(Debug)]
pub struct SectionFile {
    blob: Box<dyn Blob>,
    sections: Vec<SectionInfo>,
    /// Bytes of each section that has been found.
    content: Vec<OnceLock<Bytes>>,
    summary: FileSummary,
    /// `None` for files of format 1.
    blocks: Option<Blocks>,
}

/// Handle to a section of `T`s that was found and checked in a file, so that frequent reads need no
/// lookup by name. Valid only for the file that returned it.
#[derive(Debug)]
pub struct Section<T = u8>(usize, PhantomData<fn() -> T>);

// For every `T`.
impl<T> Clone for Section<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Section<T> {}

/// Checksums of all blocks.
#[derive(Debug)]
struct Blocks {
    sums: Vec<u64>,
    /// Index of each section's first block.
    first: Vec<usize>,
    /// One bit per block: set if its checksum was verified.
    sound: Vec<AtomicU64>,
}

impl Blocks {
    fn new(sums: Vec<u64>, sections: &[SectionInfo]) -> Option<Self> {
        let mut first = Vec::with_capacity(sections.len());
        let mut next = 0;
        for section in sections {
            first.push(next);
            next += section.blocks();
        }
        let sound = (0..next.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        (next == sums.len()).then_some(Self { sums, first, sound })
    }

    fn of(&self, index: usize, section: &SectionInfo) -> &[u64] {
        &self.sums[self.first[index]..][..section.blocks()]
    }

    fn is_sound(&self, block: usize) -> bool {
        self.sound[block / 64].load(Ordering::Relaxed) & (1 << (block % 64)) != 0
    }

    fn set_sound(&self, block: usize) {
        self.sound[block / 64].fetch_or(1 << (block % 64), Ordering::Relaxed);
    }
}

impl SectionFile {
    /// Opens a file and verifies its frame: header, trailer, section table, and that sections are
    /// aligned, in bounds and in order with only zeros between them. Access is random until advised
    /// otherwise: read-ahead around each page would read much of a large file.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming the part of the file,
    /// [`StorageError::UnsupportedFormat`], and I/O errors.
    pub fn open(directory: &dyn Directory, path: &str) -> Result<Self> {
        let blob = directory.open(path)?;
        // A hint: without it, more is read.
        let _ = blob.advise(0..blob.size_bytes(), Access::Random);
        let reader = blob.reader()?;
        let (format, trailer) = check_frame(&*blob, &*reader)?;
        let mut sections = read_table(&*blob, &*reader, &trailer)?;
        let blocks = match format {
            BLOCK_FORMAT.. => Some(read_blocks(&*blob, &*reader, &mut sections)?),
            _ => None,
        };
        let summary = FileSummary { len: trailer.file_len, checksum: trailer.table_checksum };
        drop(reader);
        let content = sections.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { blob, sections, content, summary, blocks })
    }

    /// Opens a file and checks that its summary is `expected`.
    ///
    /// # Errors
    /// As [`Self::open`], and [`StorageError::Corrupted`] if the summary differs.
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

    /// Checks that all bytes read so far were those on disk.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the disk could not read a page.
    pub fn check_pages(&self) -> Result<()> {
        self.blob.check_pages()
    }

    /// Length of the file, in bytes.
    pub fn len(&self) -> u64 {
        self.summary.len
    }

    /// Always false: a file has at least a header.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The sections, in file order.
    pub fn sections(&self) -> &[SectionInfo] {
        &self.sections
    }

    /// The bytes of a section, aligned to 64 bytes.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] if there is no such section.
    pub fn section(&self, name: &str) -> Result<&[u8]> {
        Ok(self.bytes(self.find(name)?))
    }

    /// True if there is a section of this name.
    pub fn has(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section.name == name)
    }

    /// Finds a section and loads its bytes.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] if there is no such section, and I/O errors.
    pub fn find(&self, name: &str) -> Result<Section> {
        let index = self.sections.iter().position(|section| section.name == name);
        let index = index.ok_or_else(|| self.corrupted(name, "the section is missing"))?;
        if self.content[index].get().is_none() {
            let section = &self.sections[index];
            let bytes = self.blob.bytes(section.offset..section.offset + section.len)?;
            // Another thread may have been first.
            let _ = self.content[index].set(bytes);
        }
        Ok(Section(index, PhantomData))
    }

    /// Finds a section of numbers and checks that there are `len`, if given.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] if the section is missing or has another length or alignment.
    pub fn find_numbers<T: AnyBitPattern>(
        &self,
        name: &str,
        len: Option<usize>,
    ) -> Result<Section<T>> {
        let section = self.find(name)?;
        let numbers: &[T] = bytemuck::try_cast_slice(self.bytes(section))
            .map_err(|error| self.corrupted(name, error.to_string()))?;
        match len {
            Some(expected) if numbers.len() != expected => {
                let detail = format!("expected {expected} values, got {}", numbers.len());
                Err(self.corrupted(name, detail))
            }
            _ => Ok(Section(section.0, PhantomData)),
        }
    }

    /// The numbers of a section.
    ///
    /// # Panics
    /// May panic if the section belongs to another file.
    #[inline]
    pub fn numbers<T: AnyBitPattern>(&self, section: Section<T>) -> &[T] {
        bytemuck::cast_slice(self.bytes(section))
    }

    /// The bytes of a section, 64-byte aligned; empty if the section was found by another file.
    ///
    /// # Panics
    /// If the section belongs to a file with more sections.
    #[inline]
    pub fn bytes<T>(&self, section: Section<T>) -> &[u8] {
        self.content[section.0].get().map_or(&[], |bytes| bytes)
    }

    /// Bytes of a section, verified against the checksums of their blocks; each block is verified
    /// once. Files of format 1 have no block checksums; their bytes are returned unverified.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming section and block, or if `range` is out of bounds.
    #[inline]
    pub fn checked<T>(&self, section: Section<T>, range: Range<usize>) -> Result<&[u8]> {
        let bytes = self.bytes(section);
        let Some(found) = bytes.get(range.clone()) else {
            let detail = format!("bytes {range:?} of {}", bytes.len());
            return Err(self.corrupted(&self.sections[section.0].name, detail));
        };
        if let Some(blocks) = self.blocks.as_ref().filter(|_| !found.is_empty()) {
            let first = blocks.first[section.0];
            for number in range.start / BLOCK_BYTES..=(range.end - 1) / BLOCK_BYTES {
                if !blocks.is_sound(first + number) {
                    self.check_block(blocks, Section(section.0, PhantomData), number)?;
                }
            }
        }
        Ok(found)
    }

    /// As [`Self::checked`], as bytes that may be held longer than the file.
    ///
    /// # Errors
    /// As [`Self::checked`].
    pub fn shared<T>(&self, section: Section<T>, range: Range<usize>) -> Result<SharedBytes> {
        self.checked(section, range.clone())?;
        let bytes = self.content[section.0].get().map(|bytes| bytes.slice(range));
        Ok(bytes.unwrap_or_default().into())
    }

    #[cold]
    fn check_block(&self, blocks: &Blocks, section: Section, number: usize) -> Result<()> {
        let (bytes, block) = (self.bytes(section), blocks.first[section.0] + number);
        let start = number * BLOCK_BYTES;
        let content = &bytes[start..bytes.len().min(start + BLOCK_BYTES)];
        if checksum(content) != blocks.sums[block] {
            return Err(self.damaged_block(&self.sections[section.0], number));
        }
        blocks.set_sound(block);
        Ok(())
    }

    fn damaged_block(&self, section: &SectionInfo, number: usize) -> StorageError {
        let start = number * BLOCK_BYTES;
        let end = (section.len as usize).min(start + BLOCK_BYTES);
        let detail =
            format!("block {number} (bytes {start} to {end}): the checksum does not match");
        self.corrupted(&section.name, detail)
    }

    /// Verifies the checksums of all sections, which reads the whole file.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming the first section that differs.
    pub fn verify(&self) -> Result<()> {
        self.verify_sections(|_| true)
    }

    /// Verifies the checksums of the sections whose names satisfy `wanted`.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming the first section that differs, and I/O errors.
    pub fn verify_sections(&self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let reader = self.blob.reader()?;
        for index in 0..self.sections.len() {
            if wanted(&self.sections[index].name) {
                self.check(&*reader, index, &mut |_| true)?;
            }
        }
        Ok(())
    }

    /// Verifies the checksums of all sections and returns an error for each one that differs or
    /// cannot be read. `go_on` gets the number of bytes read since its last call; if it returns
    /// `false`, the remaining sections are skipped.
    pub fn damage(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Vec<StorageError> {
        let reader = match self.blob.reader() {
            Ok(reader) => reader,
            Err(error) => return vec![error],
        };
        reader.read_ahead();
        let frame = self.check_frame(&*reader).err();
        let checked = (0..self.sections.len()).map(|index| self.check(&*reader, index, go_on));
        frame.into_iter().chain(checked.filter_map(Result::err)).collect()
    }

    /// Compares the frame on disk with the one read when the file was opened.
    fn check_frame(&self, reader: &dyn BlobReader) -> Result<()> {
        let (_, trailer) = check_frame(&*self.blob, reader)?;
        let mut sections = read_table(&*self.blob, reader, &trailer)?;
        let blocks = match &self.blocks {
            Some(_) => Some(read_blocks(&*self.blob, reader, &mut sections)?),
            None => None,
        };
        let sums = |blocks: &Option<Blocks>| blocks.as_ref().map(|blocks| blocks.sums.clone());
        if sections == self.sections && sums(&blocks) == sums(&self.blocks) {
            return Ok(());
        }
        Err(self.corrupted("table", "it is not what it was when the file was opened"))
    }

    /// Reads a section by system calls and verifies its checksums.
    fn check(
        &self,
        reader: &dyn BlobReader,
        index: usize,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<()> {
        let section = &self.sections[index];
        let end = section.offset + section.len;
        let expected = self.blocks.as_ref().map(|blocks| blocks.of(index, section));
        let (mut whole, mut number) = (RunningChecksum::default(), 0);
        let mut window = vec![0; WINDOW_BYTES.min(section.len as usize)];
        let mut position = section.offset;
        while position < end {
            let window = &mut window[..WINDOW_BYTES.min((end - position) as usize)];
            reader.read(window, position)?;
            position += window.len() as u64;
            match expected {
                None => whole.update(window),
                Some(sums) => {
                    for block in window.chunks(BLOCK_BYTES) {
                        if checksum(block) != sums[number] {
                            return Err(self.damaged_block(section, number));
                        }
                        number += 1;
                    }
                }
            }
            if !go_on(window.len() as u64) {
                return Ok(());
            }
        }
        for sum in expected.unwrap_or_default() {
            whole.update(&sum.to_le_bytes());
        }
        if whole.finish() == section.checksum {
            return Ok(());
        }
        Err(self.corrupted(&section.name, "the checksum does not match"))
    }

    /// Advises the access pattern for a range of a section, clipped to the section.
    ///
    /// # Errors
    /// As [`Blob::advise`].
    pub fn advise_range<T>(
        &self,
        section: Section<T>,
        range: Range<u64>,
        access: Access,
    ) -> Result<()> {
        let found = &self.sections[section.0];
        let at = |position: u64| found.offset + position.min(found.len);
        self.blob.advise(at(range.start)..at(range.end), access)
    }

    /// Advises the access pattern for the whole file.
    ///
    /// # Errors
    /// As [`Blob::advise`].
    pub fn advise_all(&self, access: Access) -> Result<()> {
        self.blob.advise(0..self.blob.size_bytes(), access)
    }

    /// Reads the whole file and locks it in memory while it is open.
    ///
    /// # Errors
    /// As [`Blob::lock`].
    pub fn lock(&self) -> Result<()> {
        self.blob.lock()
    }

    /// An error that describes a damaged section.
    pub fn corrupted(&self, section: &str, detail: impl Into<String>) -> StorageError {
        corrupted(&*self.blob, section, detail)
    }
}

fn corrupted(blob: &dyn Blob, section: &str, detail: impl Into<String>) -> StorageError {
    let (path, section) = (blob.path().to_owned(), section.to_owned());
    StorageError::Corrupted { path, section, detail: detail.into() }
}

fn read_range(reader: &dyn BlobReader, range: Range<u64>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    reader.read(&mut bytes, range.start)?;
    Ok(bytes)
}

/// Verifies header and trailer; returns the format and the trailer.
fn check_frame(blob: &dyn Blob, reader: &dyn BlobReader) -> Result<(u32, Trailer)> {
    let end = blob.size_bytes();
    if end < HEADER_BYTES as u64 {
        return Err(corrupted(blob, "header", "the file is too short"));
    }
    let mut header = [0; HEADER_BYTES];
    reader.read(&mut header, 0)?;
    let found = decode_header(&header).map_err(|detail| corrupted(blob, "header", detail))?;
    if !(1..=FORMAT).contains(&found) {
        let (path, supported) = (blob.path().to_owned(), FORMAT);
        return Err(StorageError::UnsupportedFormat { path, found, supported });
    }
    if end < (HEADER_BYTES + TRAILER_BYTES) as u64 {
        return Err(corrupted(blob, "trailer", "the file is too short"));
    }
    let trailer = read_range(reader, end - TRAILER_BYTES as u64..end)?;
    let trailer = decode_trailer(&trailer).map_err(|detail| corrupted(blob, "trailer", detail))?;
    let table_end = trailer.table_offset.checked_add(trailer.table_len);
    if trailer.file_len != end || table_end != Some(end - TRAILER_BYTES as u64) {
        let detail = format!("the lengths do not fit a file of {end} bytes");
        return Err(corrupted(blob, "trailer", detail));
    }
    if trailer.table_offset < HEADER_BYTES as u64 {
        return Err(corrupted(blob, "trailer", "the table overlaps the header"));
    }
    Ok((found, trailer))
}

/// Removes the section of block checksums from the list of sections.
fn read_blocks(
    blob: &dyn Blob,
    reader: &dyn BlobReader,
    sections: &mut Vec<SectionInfo>,
) -> Result<Blocks> {
    let wrong = |detail: &str| corrupted(blob, BLOCKS, detail);
    let last = sections.pop().filter(|section| section.name == BLOCKS);
    let section = last.ok_or_else(|| wrong("the section is missing"))?;
    let bytes = read_range(reader, section.offset..section.offset + section.len)?;
    if checksum(&bytes) != section.checksum {
        return Err(wrong("the checksum does not match"));
    }
    let (sums, rest) = bytes.as_chunks::<8>();
    let sums = sums.iter().map(|sum| u64::from_le_bytes(*sum)).collect();
    let blocks = Blocks::new(sums, sections).filter(|_| rest.is_empty());
    blocks.ok_or_else(|| wrong("its length does not fit the sections"))
}

fn read_table(
    blob: &dyn Blob,
    reader: &dyn BlobReader,
    trailer: &Trailer,
) -> Result<Vec<SectionInfo>> {
    let start = trailer.table_offset;
    let table = read_range(reader, start..start + trailer.table_len)?;
    if checksum(&table) != trailer.table_checksum {
        return Err(corrupted(blob, "table", "the checksum does not match"));
    }
    if !table.len().is_multiple_of(ENTRY_BYTES) {
        return Err(corrupted(blob, "table", "it is not a whole number of entries"));
    }
    let mut sections: Vec<SectionInfo> = Vec::with_capacity(table.len() / ENTRY_BYTES);
    let mut position = HEADER_BYTES as u64;
    for entry in table.chunks_exact(ENTRY_BYTES) {
        let section = decode_entry(entry).map_err(|detail| corrupted(blob, "table", detail))?;
        let end = section.offset.checked_add(section.len);
        let placed = section.offset >= position
            && section.offset.is_multiple_of(ALIGNMENT)
            && end.is_some_and(|end| end <= trailer.table_offset);
        if !placed {
            return Err(corrupted(blob, &section.name, "the section lies out of bounds"));
        }
        if sections.iter().any(|other| other.name == section.name) {
            return Err(corrupted(blob, &section.name, "the section is there twice"));
        }
        check_padding(blob, reader, position..section.offset)?;
        position = section.offset + section.len;
        sections.push(section);
    }
    check_padding(blob, reader, position..trailer.table_offset)?;
    Ok(sections)
}

fn check_padding(blob: &dyn Blob, reader: &dyn BlobReader, range: Range<u64>) -> Result<()> {
    let mut zeros = [0; ALIGNMENT as usize];
    let len = (range.end - range.start) as usize;
    if len < zeros.len() {
        reader.read(&mut zeros[..len], range.start)?;
        if zeros.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
    }
    let detail = format!("expected zeros from byte {} to {}", range.start, range.end);
    Err(corrupted(blob, "padding", detail))
}
