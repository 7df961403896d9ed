//! Relevance judgements of one split: `qrels/<split>.tsv` of a BEIR folder.
//!
//! Three columns separated by tabs: query id, document id, judgement. The judgement is an integer;
//! above 0 means relevant, 0 and below mean judged and not relevant (trec_eval's default relevance
//! level of 1). BEIR's loader skips the first line blindly; here it is skipped only when its third
//! column is the word `score`, so a file without a header keeps its first judgement. Maps are
//! ordered by id, which makes sums over queries, and so printed metrics, reproducible to the bit.

use std::collections::{BTreeMap, HashMap, btree_map::Entry};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::lines::{Line, LineError, Lines};

/// A judgement file was refused.
#[derive(Debug, Error)]
pub enum QrelsError {
    /// The file could not be read as lines of text.
    #[error(transparent)]
    Line(#[from] LineError),
    /// A line does not have three columns.
    #[error("{path}:{line}: expected 3 columns separated by tabs, got {got}")]
    Columns {
        /// File being read.
        path: PathBuf,
        /// Offending line, from 1.
        line: u64,
        /// Number of columns found.
        got: usize,
    },
    /// The query id or the document id is empty.
    #[error("{path}:{line}: expected a {column} id, got an empty column")]
    EmptyId {
        /// File being read.
        path: PathBuf,
        /// Offending line, from 1.
        line: u64,
        /// `query` or `document`.
        column: &'static str,
    },
    /// The third column is not an integer of 32 bits.
    #[error("{path}:{line}: expected an integer judgement, got {got:?}")]
    Judgement {
        /// File being read.
        path: PathBuf,
        /// Offending line, from 1.
        line: u64,
        /// Text of the column.
        got: String,
    },
    /// The same document is judged twice for one query.
    #[error("{path}:{line}: query {query:?} already has a judgement of document {document:?}")]
    Duplicate {
        /// File being read.
        path: PathBuf,
        /// Line of the second judgement, from 1.
        line: u64,
        /// Query id.
        query: String,
        /// Document id.
        document: String,
    },
}

/// The judgements of one query: document id → judgement, in id order.
pub type Judgements = BTreeMap<String, i32>;

/// The judgements of every query of a split, in query id order.
///
/// A query is part of the split when it has at least one judgement, whatever its sign.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Qrels {
    queries: BTreeMap<String, Judgements>,
}

impl Qrels {
    /// Reads the tab-separated file at `path`.
    ///
    /// # Errors
    /// [`QrelsError`], naming file and line.
    pub fn open(path: &Path) -> Result<Self, QrelsError> {
        Ok(Self::open_numbered(path)?.0)
    }

    /// Reads the file and also tells the line that first mentions each query.
    pub(super) fn open_numbered(path: &Path) -> Result<(Self, HashMap<String, u64>), QrelsError> {
        let mut lines = Lines::open(path)?;
        let mut qrels = Self::default();
        let mut first_lines = HashMap::new();
        while let Some(line) = lines.next_line()? {
            let columns: Vec<&str> = line.text.split('\t').collect();
            let &[query, document, judgement] = columns.as_slice() else {
                return Err(QrelsError::Columns {
                    path: path.to_path_buf(),
                    line: line.number,
                    got: columns.len(),
                });
            };
            if line.number == 1 && judgement.eq_ignore_ascii_case("score") {
                continue;
            }
            let judgement = parse_judgement(path, line, query, document, judgement)?;
            if !qrels.insert(query, document, judgement) {
                return Err(QrelsError::Duplicate {
                    path: path.to_path_buf(),
                    line: line.number,
                    query: query.to_owned(),
                    document: document.to_owned(),
                });
            }
            first_lines.entry(query.to_owned()).or_insert(line.number);
        }
        Ok((qrels, first_lines))
    }

    /// Adds a judgement (above 0 means relevant). Returns `false`, changing nothing, when the
    /// document is already judged for the query.
    pub fn insert(&mut self, query: &str, document: &str, judgement: i32) -> bool {
        let judgements = self.queries.entry(query.to_owned()).or_default();
        match judgements.entry(document.to_owned()) {
            Entry::Occupied(_) => false,
            Entry::Vacant(slot) => {
                slot.insert(judgement);
                true
            }
        }
    }

    /// The judgements of one query, or `None` when the query is not in the split.
    pub fn get(&self, query: &str) -> Option<&Judgements> {
        self.queries.get(query)
    }

    /// Every query with its judgements, in query id order (bytewise).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Judgements)> {
        self.queries.iter().map(|(query, judgements)| (query.as_str(), judgements))
    }

    /// Number of judged queries.
    pub fn len(&self) -> usize {
        self.queries.len()
    }

    /// Whether no query is judged.
    pub fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }
}

fn parse_judgement(
    path: &Path,
    line: Line<'_>,
    query: &str,
    document: &str,
    judgement: &str,
) -> Result<i32, QrelsError> {
    for (id, column) in [(query, "query"), (document, "document")] {
        if id.is_empty() {
            return Err(QrelsError::EmptyId {
                path: path.to_path_buf(),
                line: line.number,
                column,
            });
        }
    }
    judgement.parse().map_err(|_| QrelsError::Judgement {
        path: path.to_path_buf(),
        line: line.number,
        got: judgement.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qrels_of(content: &str) -> Result<Qrels, QrelsError> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("test.tsv");
        std::fs::write(&path, content).expect("write");
        Qrels::open(&path)
    }

    #[test]
    fn the_header_is_optional_and_scores_may_be_zero_or_negative() {
        let body = "q1\td2\t2\nq1\td1\t0\r\nq0\td1\t-1\n";
        let with_header = qrels_of(&format!("query-id\tcorpus-id\tscore\n{body}")).expect("header");
        let without_header = qrels_of(body).expect("no header");
        assert_eq!(with_header, without_header);
        assert_eq!(with_header.len(), 2);
        let q1 = with_header.get("q1").expect("q1");
        assert_eq!((q1["d1"], q1["d2"]), (0, 2));
        let order: Vec<&str> = with_header.iter().map(|(query, _)| query).collect();
        assert_eq!(order, ["q0", "q1"]);
    }

    #[test]
    fn malformed_lines_are_named() {
        let good = "q\td\t1\n";
        for (bad, message) in [
            ("q d 1", ":2: expected 3 columns separated by tabs, got 1"),
            ("q\t0\td\t1", ":2: expected 3 columns separated by tabs, got 4"),
            ("\nq\te\t1", ":2: expected 3 columns separated by tabs, got 1"),
            ("q\te\t1.0", ":2: expected an integer judgement, got \"1.0\""),
            ("q\te\tscore", ":2: expected an integer judgement, got \"score\""),
            ("q\te\t3000000000", ":2: expected an integer judgement, got \"3000000000\""),
            ("\te\t1", ":2: expected a query id, got an empty column"),
            ("q\t\t1", ":2: expected a document id, got an empty column"),
            ("q\td\t1", ":2: query \"q\" already has a judgement of document \"d\""),
        ] {
            let error = qrels_of(&format!("{good}{bad}\n")).expect_err(bad);
            assert!(error.to_string().ends_with(message), "{bad:?}: {error}");
        }
    }
}
