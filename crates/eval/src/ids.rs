//! `.ids` files: one document or query id a line, in the row order of a vector matrix.
//!
//! An array file knows nothing of ids, so a benchmark pairs each `.npy` matrix with a list. A list
//! that is one line short shifts every following row onto the wrong document and still "works"; the
//! reader therefore refuses empty and repeated lines and [`IdList::expect_len`] ties the list to
//! the matrix.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::lines::{LineError, Lines};

/// An `.ids` file was refused.
#[derive(Debug, Error)]
pub enum IdsError {
    /// The file could not be read as lines of text.
    #[error(transparent)]
    Line(#[from] LineError),
    /// A line holds no id.
    #[error("{path}:{line}: expected an id, got an empty line")]
    Empty {
        /// File being read.
        path: PathBuf,
        /// Empty line, from 1.
        line: u64,
    },
    /// The same id stands on two lines.
    #[error("{path}:{line}: id {id:?} is already on line {first_line}")]
    Duplicate {
        /// File being read.
        path: PathBuf,
        /// Line of the second occurrence, from 1.
        line: u64,
        /// Line of the first occurrence, from 1.
        first_line: u64,
        /// The repeated id.
        id: String,
    },
    /// The list and the array it names differ in length.
    #[error("{path}: expected {expected} ids, got {got}")]
    Length {
        /// File that was read.
        path: PathBuf,
        /// Rows of the array.
        expected: usize,
        /// Ids in the file.
        got: usize,
    },
}

/// The distinct, non-empty ids of one file, in file order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdList {
    path: PathBuf,
    ids: Vec<String>,
}

impl IdList {
    /// Reads the file at `path`. Takes memory for every id.
    ///
    /// # Errors
    /// [`IdsError::Line`] when the file cannot be read, [`IdsError::Empty`] and
    /// [`IdsError::Duplicate`] when a line is refused.
    pub fn open(path: &Path) -> Result<Self, IdsError> {
        let mut lines = Lines::open(path)?;
        let mut first_lines: HashMap<String, u64> = HashMap::new();
        let mut ids = Vec::new();
        while let Some(line) = lines.next_line()? {
            if line.text.is_empty() {
                return Err(IdsError::Empty { path: path.to_path_buf(), line: line.number });
            }
            if let Some(first_line) = first_lines.insert(line.text.to_owned(), line.number) {
                return Err(IdsError::Duplicate {
                    path: path.to_path_buf(),
                    line: line.number,
                    first_line,
                    id: line.text.to_owned(),
                });
            }
            ids.push(line.text.to_owned());
        }
        Ok(Self { path: path.to_path_buf(), ids })
    }

    /// Checks that the list has one id for each of `rows` rows.
    ///
    /// # Errors
    /// [`IdsError::Length`] with both lengths.
    pub fn expect_len(&self, rows: usize) -> Result<(), IdsError> {
        if self.ids.len() == rows {
            return Ok(());
        }
        Err(IdsError::Length { path: self.path.clone(), expected: rows, got: self.ids.len() })
    }

    /// The ids in file order: the id at position `i` names row `i`.
    pub fn as_slice(&self) -> &[String] {
        &self.ids
    }

    /// The ids in file order, without the path.
    pub fn into_vec(self) -> Vec<String> {
        self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids_of(content: &str) -> Result<IdList, IdsError> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("corpus.ids");
        std::fs::write(&path, content).expect("write");
        IdList::open(&path)
    }

    #[test]
    fn ids_keep_file_order_and_lose_carriage_returns() {
        let ids = ids_of("MED-10\r\nMED-2\nlast one").expect("ids");
        assert_eq!(ids.as_slice(), ["MED-10", "MED-2", "last one"]);
        assert!(ids.expect_len(3).is_ok());
        assert_eq!(ids.into_vec().len(), 3);
    }

    #[test]
    fn an_empty_line_is_named() {
        for content in ["a\n\nb\n", "a\n\r\nb\n", "a\n\n\nb"] {
            let error = ids_of(content).expect_err("empty line");
            assert!(matches!(error, IdsError::Empty { line: 2, .. }), "{error}");
        }
    }

    #[test]
    fn a_duplicate_names_both_lines() {
        let error = ids_of("a\nb\na\n").expect_err("duplicate");
        assert!(
            error.to_string().ends_with("corpus.ids:3: id \"a\" is already on line 1"),
            "{error}"
        );
    }

    #[test]
    fn a_wrong_length_names_both_lengths() {
        let ids = ids_of("a\nb\n").expect("ids");
        let error = ids.expect_len(3).expect_err("length");
        assert!(error.to_string().ends_with("expected 3 ids, got 2"), "{error}");
    }
}
