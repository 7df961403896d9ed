//! Reasons to refuse an array file.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// An array file was refused or could not be read.
#[derive(Debug, Error)]
pub enum NpyError {
    /// The file could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// File being read.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The archive is no sparse matrix as SciPy writes it.
    #[error("{path}: expected {expected}, got {got}")]
    Sparse {
        /// The archive, or the member of it.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What is there.
        got: String,
    },
    /// The file does not start with the magic bytes of the format.
    #[error("{path}: expected a file starting with \"\\x93NUMPY\", got other bytes")]
    Magic {
        /// File being read.
        path: PathBuf,
    },
    /// The format version is not one of 1.0, 2.0 and 3.0.
    #[error("{path}: expected format version 1.0, 2.0 or 3.0, got {major}.{minor}")]
    Version {
        /// File being read.
        path: PathBuf,
        /// First number of the version.
        major: u8,
        /// Second number of the version.
        minor: u8,
    },
    /// The header claims to be longer than any header of a plain array.
    #[error("{path}: expected a header of at most {limit} bytes, got {got}")]
    HeaderTooLong {
        /// File being read.
        path: PathBuf,
        /// Longest accepted header, in bytes.
        limit: u64,
        /// Claimed length, in bytes.
        got: u64,
    },
    /// The header is not the dictionary the format prescribes.
    #[error("{path}: malformed header: {problem}")]
    Header {
        /// File being read.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The size of the array overflows 64 bits.
    #[error("{path}: expected an array of less than 2^64 bytes, got header {header:?}")]
    Overflow {
        /// File being read.
        path: PathBuf,
        /// Text of the header.
        header: String,
    },
    /// The elements are of a type that is not read here.
    #[error("{path}: expected elements of type {supported}, got {got}")]
    UnsupportedType {
        /// File being read.
        path: PathBuf,
        /// The accepted types.
        supported: &'static str,
        /// The type in the file, as NumPy writes it.
        got: String,
    },
    /// The array is stored column by column.
    #[error("{path}: expected C order (fortran_order False), got fortran order")]
    FortranOrder {
        /// File being read.
        path: PathBuf,
    },
    /// Each row of the matrix is empty.
    #[error("{path}: expected vectors of at least one value, got shape ({rows}, 0)")]
    NoColumns {
        /// File being read.
        path: PathBuf,
        /// Number of rows.
        rows: u64,
    },
    /// The array has a wrong number of dimensions.
    #[error("{path}: expected {expected} dimensions, got {got}")]
    Dimensions {
        /// File being read.
        path: PathBuf,
        /// Accepted numbers of dimensions.
        expected: &'static str,
        /// Number of dimensions in the file.
        got: usize,
    },
    /// The file ends before its header or its data does.
    #[error("{path}: expected {expected} bytes, got {got} (truncated)")]
    Truncated {
        /// File being read.
        path: PathBuf,
        /// Length the file must have at least, in bytes.
        expected: u64,
        /// Length of the file in bytes.
        got: u64,
    },
    /// The file goes on after its data.
    #[error("{path}: expected {expected} bytes, got {got} (trailing bytes)")]
    Trailing {
        /// File being read.
        path: PathBuf,
        /// Length of header and data in bytes.
        expected: u64,
        /// Length of the file in bytes.
        got: u64,
    },
    /// Rows outside the matrix were asked for.
    #[error("{path}: expected rows within 0..{rows}, got {start}..{end}")]
    RowRange {
        /// File being read.
        path: PathBuf,
        /// Rows of the matrix.
        rows: usize,
        /// First row asked for.
        start: usize,
        /// Row after the last one asked for.
        end: usize,
    },
    /// An offsets array has no entry.
    #[error("{path}: expected at least one offset, got an empty array")]
    NoOffsets {
        /// File being read.
        path: PathBuf,
    },
    /// An offsets array does not start with 0.
    #[error("{path}: expected offsets starting at 0, got {got}")]
    FirstOffset {
        /// File being read.
        path: PathBuf,
        /// First value.
        got: u64,
    },
    /// An offset is negative.
    #[error("{path}: expected offsets of at least 0, got {got} at index {index}")]
    NegativeOffset {
        /// File being read.
        path: PathBuf,
        /// Position of the value in the array.
        index: usize,
        /// The value.
        got: i64,
    },
    /// An offset is smaller than the one before it.
    #[error("{path}: expected an offset of at least {previous} at index {index}, got {got}")]
    DecreasingOffset {
        /// File being read.
        path: PathBuf,
        /// Position of the value in the array.
        index: usize,
        /// The value before it.
        previous: u64,
        /// The value.
        got: u64,
    },
}
