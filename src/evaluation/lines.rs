//! Numbered lines of a text file: the one reader under every text format of this module.
//!
//! A benchmark that silently skips a bad line reports a wrong number, so every format here refuses
//! what it does not understand and says where. Reading lines in one place makes that "where" (the
//! path and the line number, from 1) the same everywhere. Both `\n` and `\r\n` end a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A text file could not be opened, read or decoded.
#[derive(Debug, Error)]
pub enum LineError {
    /// The file could not be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// File asked for.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// Reading failed in the middle of the file.
    #[error("{path}:{line}: cannot read the line: {source}")]
    Read {
        /// File being read.
        path: PathBuf,
        /// Line being read, from 1.
        line: u64,
        /// Cause.
        source: io::Error,
    },
    /// The line holds bytes that are not UTF-8.
    #[error("{path}:{line}: expected utf-8, got an invalid byte after {valid_bytes} valid bytes")]
    NotUtf8 {
        /// File being read.
        path: PathBuf,
        /// Offending line, from 1.
        line: u64,
        /// Length in bytes of the valid start of the line.
        valid_bytes: usize,
    },
}

/// One line without its line ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Number of the line, from 1.
    pub(super) number: u64,
    /// Text of the line.
    pub(super) text: &'a str,
}

/// Streaming reader of one text file; holds a single line in memory.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    number: u64,
    buffer: Vec<u8>,
}

impl Lines {
    /// Opens the file at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, LineError> {
        let file = File::open(path)
            .map_err(|source| LineError::Open { path: path.to_path_buf(), source })?;
        Ok(Self {
            path: path.to_path_buf(),
            reader: BufReader::new(file),
            number: 0,
            buffer: Vec::new(),
        })
    }

    /// The file being read.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next line, or `None` at the end of the file.
    pub(super) fn next_line(&mut self) -> Result<Option<Line<'_>>, LineError> {
        self.buffer.clear();
        let read = self.reader.read_until(b'\n', &mut self.buffer);
        let line = self.number + 1;
        let bytes =
            read.map_err(|source| LineError::Read { path: self.path.clone(), line, source })?;
        if bytes == 0 {
            return Ok(None);
        }
        self.number = line;
        match str::from_utf8(without_ending(&self.buffer)) {
            Ok(text) => Ok(Some(Line { number: line, text })),
            Err(error) => Err(LineError::NotUtf8 {
                path: self.path.clone(),
                line,
                valid_bytes: error.valid_up_to(),
            }),
        }
    }
}

fn without_ending(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(content: &[u8]) -> Result<Vec<(u64, String)>, LineError> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("text");
        std::fs::write(&path, content).expect("write");
        let mut lines = Lines::open(&path)?;
        let mut out = Vec::new();
        while let Some(line) = lines.next_line()? {
            out.push((line.number, line.text.to_owned()));
        }
        Ok(out)
    }

    #[test]
    fn both_line_endings_are_dropped_and_lines_count_from_one() {
        let lines = lines_of(b"a\r\n\nb\rc\nlast").expect("lines");
        let expected = [(1, "a"), (2, ""), (3, "b\rc"), (4, "last")];
        assert_eq!(lines, expected.map(|(n, text)| (n, text.to_owned())));
        assert!(lines_of(b"").expect("empty file").is_empty());
    }

    #[test]
    fn invalid_utf8_is_reported_with_its_line() {
        let error = lines_of(b"good\nab\xff\n").expect_err("invalid byte");
        assert!(matches!(error, LineError::NotUtf8 { line: 2, valid_bytes: 2, .. }), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Lines::open(Path::new("no/such/file")).expect_err("missing");
        assert!(error.to_string().contains("no/such/file"), "{error}");
    }
}
