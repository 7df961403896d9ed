//! Rows of equal length: where they are, and what each must begin with.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::VecsError;

/// Bytes of the number that a row begins with.
const NUMBER_BYTES: usize = 4;
/// Most values of a row: more than any embedding has, and few enough to hold one in memory.
const MOST_VALUES: usize = 1 << 20;
/// Rows are read in parts of about so many bytes.
const PART_BYTES: usize = 1 << 16;

/// An open file whose length is a multiple of that of its first row.
#[derive(Debug)]
pub(super) struct Rows {
    path: PathBuf,
    file: File,
    count: usize,
    /// Values of each row.
    width: usize,
    value_bytes: usize,
    buffer: Vec<u8>,
}

impl Rows {
    /// Opens a file of values of `value_bytes` each.
    pub(super) fn open(path: &Path, value_bytes: usize) -> Result<Self, VecsError> {
        let failed = |source| VecsError::Io { path: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(failed)?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        if file_bytes == 0 {
            return Err(VecsError::Empty { path: path.to_path_buf() });
        }
        let mut first = [0; NUMBER_BYTES];
        if file_bytes < NUMBER_BYTES as u64 {
            let (path, row_bytes) = (path.to_path_buf(), NUMBER_BYTES as u64);
            return Err(VecsError::Length { path, row_bytes, got: file_bytes });
        }
        file.read_exact(&mut first).map_err(failed)?;
        let got = i32::from_le_bytes(first);
        let width = usize::try_from(got).ok().filter(|width| (1..=MOST_VALUES).contains(width));
        let Some(width) = width else {
            let path = path.to_path_buf();
            return Err(VecsError::Dimension { path, most: MOST_VALUES, got });
        };
        let row_bytes = (NUMBER_BYTES + width * value_bytes) as u64;
        if !file_bytes.is_multiple_of(row_bytes) {
            let path = path.to_path_buf();
            return Err(VecsError::Length { path, row_bytes, got: file_bytes });
        }
        let count = usize::try_from(file_bytes / row_bytes)
            .map_err(|error| failed(io::Error::other(error)))?;
        let path = path.to_path_buf();
        Ok(Self { path, file, count, width, value_bytes, buffer: Vec::new() })
    }

    /// Number of rows.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Values of each row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Hands the bytes of the values of each row to `take`, with the row's number.
    pub(super) fn read(
        &mut self,
        range: Range<usize>,
        mut take: impl FnMut(usize, &[u8]) -> Result<(), VecsError>,
    ) -> Result<(), VecsError> {
        if range.start > range.end || range.end > self.count {
            let (path, rows) = (self.path.clone(), self.count);
            return Err(VecsError::RowRange { path, rows, start: range.start, end: range.end });
        }
        // No overflow: `open` has compared the product of all rows with the length of the file.
        let row_bytes = NUMBER_BYTES + self.width * self.value_bytes;
        let step = (PART_BYTES / row_bytes).max(1);
        let start = (range.start * row_bytes) as u64;
        self.file.seek(SeekFrom::Start(start)).map_err(|source| self.failed(source))?;
        for first in range.clone().step_by(step) {
            let rows = step.min(range.end - first);
            self.buffer.resize(rows * row_bytes, 0);
            let read = self.file.read_exact(&mut self.buffer);
            read.map_err(|source| self.failed(source))?;
            for (row, bytes) in (first..).zip(self.buffer.chunks_exact(row_bytes)) {
                let (number, values) = bytes.split_at(NUMBER_BYTES);
                self.check(row, number)?;
                take(row, values)?;
            }
        }
        Ok(())
    }

    fn check(&self, row: usize, number: &[u8]) -> Result<(), VecsError> {
        let got = number.first_chunk().map_or(0, |bytes| i32::from_le_bytes(*bytes));
        if usize::try_from(got) == Ok(self.width) {
            return Ok(());
        }
        Err(VecsError::Ragged { path: self.path.clone(), row, expected: self.width, got })
    }

    fn failed(&self, source: io::Error) -> VecsError {
        VecsError::Io { path: self.path.clone(), source }
    }
}
