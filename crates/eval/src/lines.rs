//! Numbered lines of a text file: the one reader under every text format.
//!
//! A benchmark that silently skips a bad line reports a wrong number, so every format refuses
//! what it does not understand and says where. Reading lines in one place makes that "where" (the
//! path and the line number, from 1) the same everywhere, and so is what may be read: `-` is the
//! standard input, files may be pipes, compressed by gzip or zstd, and start with a byte order mark.
//! Both `\n` and `\r\n` end a line. Empty lines at the end are no lines.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::unpacked::unpacked;

/// No line is longer: a file without line ends is none of ours.
const MAX_LINE_BYTES: u64 = 256 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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
    #[error(
        "{path}:{line}: expected utf-8, got an invalid byte after {valid_bytes} valid bytes; \
         convert the file first, such as by `iconv -f LATIN1 -t UTF-8`"
    )]
    NotUtf8 {
        /// File being read.
        path: PathBuf,
        /// Offending line, from 1.
        line: u64,
        /// Length in bytes of the valid start of the line.
        valid_bytes: usize,
    },
    /// The line does not end.
    #[error("{path}:{line}: expected lines of at most {most} bytes")]
    TooLong {
        /// File being read.
        path: PathBuf,
        /// Offending line, from 1.
        line: u64,
        /// The limit.
        most: u64,
    },
}

/// One line without its line ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Number of the line, from 1.
    pub number: u64,
    /// Text of the line.
    pub text: &'a str,
}

/// Streaming reader of one text file; holds a line or two in memory.
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    number: u64,
    buffer: Vec<u8>,
    /// The line after empty ones, and its number.
    ahead: Option<(u64, Vec<u8>)>,
    most: u64,
}

impl fmt::Debug for Lines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Lines({}:{})", self.path.display(), self.number)
    }
}

impl Lines {
    /// Opens the file at `path`, or the standard input if that is `-`.
    pub fn open(path: &Path) -> Result<Self, LineError> {
        let reader =
            unpacked(path).map_err(|source| LineError::Open { path: path.to_owned(), source })?;
        let (number, buffer, ahead) = (0, Vec::new(), None);
        let reader = Box::new(BufReader::new(reader));
        Ok(Self { path: path.to_owned(), reader, number, buffer, ahead, most: MAX_LINE_BYTES })
    }

    /// The file being read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of the last line that was read, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next line, or `None` at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, LineError> {
        if let Some((number, line)) = self.ahead.take() {
            (self.number, self.buffer) = (number, line);
        } else if !self.read()? {
            return Ok(None);
        } else if is_blank(&self.buffer) {
            let (number, blank) = (self.number, std::mem::take(&mut self.buffer));
            loop {
                if !self.read()? {
                    return Ok(None);
                }
                if !is_blank(&self.buffer) {
                    break;
                }
            }
            self.ahead = Some((self.number, std::mem::replace(&mut self.buffer, blank)));
            self.number = number;
        }
        let line = self.number;
        match str::from_utf8(without_ending(&self.buffer)) {
            Ok(text) => Ok(Some(Line { number: line, text })),
            Err(error) => Err(LineError::NotUtf8 {
                path: self.path.clone(),
                line,
                valid_bytes: error.valid_up_to(),
            }),
        }
    }

    /// Reads a line into the buffer; `false` at the end.
    fn read(&mut self) -> Result<bool, LineError> {
        self.buffer.clear();
        let line = self.number + 1;
        let mut limited = (&mut self.reader).take(self.most + 1);
        let read = limited.read_until(b'\n', &mut self.buffer);
        let bytes =
            read.map_err(|source| LineError::Read { path: self.path.clone(), line, source })?;
        if bytes as u64 > self.most {
            return Err(LineError::TooLong { path: self.path.clone(), line, most: self.most });
        }
        if line == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.drain(..BYTE_ORDER_MARK.len());
            if self.buffer.is_empty() {
                return Ok(false);
            }
        }
        self.number = line;
        Ok(bytes > 0)
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
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
    fn empty_last_lines_and_a_byte_order_mark_are_no_text() {
        let lines = lines_of(b"\xef\xbb\xbfa\n\n \nb\n\r\n\n  ").expect("lines");
        let expected = [(1, "a"), (2, ""), (4, "b")];
        assert_eq!(lines, expected.map(|(n, text)| (n, text.to_owned())));
        assert!(lines_of(b"\n\n").expect("empty lines").is_empty());
        assert!(lines_of(b"\xef\xbb\xbf").expect("a mark").is_empty());
    }

    #[test]
    fn a_line_without_an_end_is_refused_at_a_bound() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("text");
        std::fs::write(&path, "12345\n123456789").expect("write");
        let mut lines = Lines { most: 6, ..Lines::open(&path).expect("open") };
        assert_eq!(lines.next_line().expect("a line").map(|line| line.text), Some("12345"));
        let error = lines.next_line().expect_err("too long");
        assert!(matches!(error, LineError::TooLong { line: 2, most: 6, .. }), "{error}");
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
