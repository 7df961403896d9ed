//! The JSON-lines records under `corpus.jsonl` and `queries.jsonl`, streamed.
//!
//! Corpora reach millions of lines, so a record is parsed, handed over and forgotten. Refusing
//! repeated ids still needs a memory of every id: only their 64-bit hashes are kept (about 16 bytes
//! a document), and a repeated hash is confirmed, or dismissed as a collision, by reading the file
//! again from the start. The check is therefore exact; only a file with a duplicate pays for it.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

use super::beir::DatasetError;
use super::lines::{Line, Lines};

/// One line of either file; fields other than these are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    #[serde(rename = "_id", deserialize_with = "string_or_integer")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) title: Option<String>,
    pub(super) text: String,
}

/// Iterator over the records of one file; ends after the first error.
#[derive(Debug)]
pub(super) struct Records<S = RandomState> {
    lines: Lines,
    hasher: S,
    seen: HashSet<u64>,
    finished: bool,
}

impl Records {
    /// Opens the file at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, DatasetError> {
        Self::open_with_hasher(path, RandomState::new())
    }
}

impl<S: BuildHasher> Records<S> {
    fn open_with_hasher(path: &Path, hasher: S) -> Result<Self, DatasetError> {
        Ok(Self { lines: Lines::open(path)?, hasher, seen: HashSet::new(), finished: false })
    }

    fn read_record(&mut self) -> Result<Option<Record>, DatasetError> {
        let path = self.lines.path().to_path_buf();
        let Some(line) = self.lines.next_line()? else {
            return Ok(None);
        };
        let number = line.number;
        let record = parse(&path, line)?;
        let is_new_hash = self.seen.insert(self.hasher.hash_one(&record.id));
        if !is_new_hash && let Some(first_line) = line_of_id(&path, &record.id, number)? {
            return Err(DatasetError::DuplicateId {
                path,
                line: number,
                first_line,
                id: record.id,
            });
        }
        Ok(Some(record))
    }
}

impl<S: BuildHasher> Iterator for Records<S> {
    type Item = Result<Record, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let item = self.read_record().transpose();
        self.finished = !matches!(item, Some(Ok(_)));
        item
    }
}

fn parse(path: &Path, line: Line<'_>) -> Result<Record, DatasetError> {
    let record: Record =
        serde_json::from_str(line.text).map_err(|error| malformed(path, line.number, &error))?;
    if record.id.is_empty() {
        return Err(DatasetError::EmptyId { path: path.to_path_buf(), line: line.number });
    }
    Ok(record)
}

fn malformed(path: &Path, line: u64, error: &serde_json::Error) -> DatasetError {
    // serde_json sees one line at a time, so the "line 1" at the end of its message would mislead.
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let problem = message.strip_suffix(&position).unwrap_or(&message);
    DatasetError::Malformed {
        path: PathBuf::from(path),
        line,
        column: error.column(),
        problem: problem.to_owned(),
    }
}

/// The first line before line `end` whose record has this id.
fn line_of_id(path: &Path, id: &str, end: u64) -> Result<Option<u64>, DatasetError> {
    let mut lines = Lines::open(path)?;
    while let Some(line) = lines.next_line()? {
        if line.number >= end {
            break;
        }
        if parse(path, line)?.id == id {
            return Ok(Some(line.number));
        }
    }
    Ok(None)
}

fn string_or_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Id;

    impl Visitor<'_> for Id {
        type Value = String;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an id (string or integer)")
        }

        fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<String, E> {
            Ok(value.to_owned())
        }

        fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<String, E> {
            Ok(value.to_string())
        }

        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<String, E> {
            Ok(value.to_string())
        }
    }

    deserializer.deserialize_any(Id).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, Hasher};

    use super::*;

    /// Sends every id to the same hash, so that each new record looks like a duplicate.
    #[derive(Default)]
    struct Colliding;

    impl Hasher for Colliding {
        fn finish(&self) -> u64 {
            7
        }
        fn write(&mut self, _: &[u8]) {}
    }

    fn read_colliding(content: &str) -> Result<Vec<Record>, DatasetError> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("corpus.jsonl");
        std::fs::write(&path, content).expect("write");
        Records::open_with_hasher(&path, BuildHasherDefault::<Colliding>::default())?.collect()
    }

    #[test]
    fn hash_collisions_are_not_duplicates() {
        let content = "{\"_id\":\"a\",\"text\":\"\"}\n{\"_id\":\"b\",\"text\":\"\"}\n";
        assert_eq!(read_colliding(content).expect("two ids").len(), 2);
        let repeated = format!("{content}{{\"_id\":\"b\",\"text\":\"\"}}\n");
        let error = read_colliding(&repeated).expect_err("duplicate");
        assert!(
            matches!(error, DatasetError::DuplicateId { line: 3, first_line: 2, .. }),
            "{error}"
        );
    }
}
