//! Reasons to refuse a file of the TEXMEX formats.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A `.fvecs`, `.bvecs` or `.ivecs` file was refused or could not be read.
#[derive(Debug, Error)]
pub enum VecsError {
    /// The file could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// File being read.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// The file holds no row.
    #[error("{path}: expected at least one row, got an empty file")]
    Empty {
        /// File being read.
        path: PathBuf,
    },
    /// The number of values of the first row is none that a row can have.
    #[error("{path}: expected rows of 1 to {most} values, got {got}; is it of another format?")]
    Dimension {
        /// File being read.
        path: PathBuf,
        /// Most values that are read.
        most: usize,
        /// The first number of the file.
        got: i32,
    },
    /// A row differs in length from the first.
    #[error("{path} row {row}: expected {expected} values as in row 0, got {got}")]
    Ragged {
        /// File being read.
        path: PathBuf,
        /// Row that differs, from 0.
        row: usize,
        /// Values of the first row.
        expected: usize,
        /// The number that the row begins with.
        got: i32,
    },
    /// The length of the file is no multiple of that of its first row.
    #[error(
        "{path}: expected rows of {row_bytes} bytes, got {got} bytes (truncated, or rows that differ)"
    )]
    Length {
        /// File being read.
        path: PathBuf,
        /// Length of the first row with its number, in bytes.
        row_bytes: u64,
        /// Length of the file in bytes.
        got: u64,
    },
    /// Rows outside the file were asked for.
    #[error("{path}: expected rows within 0..{rows}, got {start}..{end}")]
    RowRange {
        /// File being read.
        path: PathBuf,
        /// Rows of the file.
        rows: usize,
        /// First row asked for.
        start: usize,
        /// Row after the last one asked for.
        end: usize,
    },
    /// A row number is negative.
    #[error("{path} row {row}: expected row numbers of at least 0, got {got}")]
    NegativeNeighbour {
        /// File being read.
        path: PathBuf,
        /// Row that holds it, from 0.
        row: usize,
        /// The value.
        got: i32,
    },
    /// The ending of the file is none of these formats that hold vectors.
    #[error("{path}: expected a file ending in .fvecs or .bvecs")]
    Ending {
        /// File that was named.
        path: PathBuf,
    },
}
