//! Loader of a BEIR folder: the texts and judgements a retrieval benchmark starts from.
//!
//! Follows the layout of Thakur et al., "BEIR" (NeurIPS 2021 Datasets and Benchmarks) as its own
//! `GenericDataLoader` reads it: `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`,
//! `text`) and `qrels/<split>.tsv`. As there, only the queries judged in the split are kept. It
//! deviates where that loader guesses: repeated ids and malformed lines are errors, ids may be JSON
//! integers, and the corpus, which may not fit in memory, is streamed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::lines::LineError;
use super::qrels::{Qrels, QrelsError};
use super::records::Records;

/// A BEIR folder was refused.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// A file could not be read as lines of text.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The judgements were refused.
    #[error(transparent)]
    Qrels(#[from] QrelsError),
    /// A line is not a JSON object with the expected fields.
    #[error("{path}:{line}:{column}: {problem}")]
    Malformed {
        /// File being read.
        path: PathBuf,
        /// Offending line, from 1.
        line: u64,
        /// Byte of the line where the problem shows, from 1.
        column: usize,
        /// What was expected and what came.
        problem: String,
    },
    /// The `_id` of a line is the empty string.
    #[error("{path}:{line}: expected an id, got an empty string")]
    EmptyId {
        /// File being read.
        path: PathBuf,
        /// Offending line, from 1.
        line: u64,
    },
    /// Two lines of the file have the same `_id`.
    #[error("{path}:{line}: id {id:?} is already on line {first_line}")]
    DuplicateId {
        /// File being read.
        path: PathBuf,
        /// Line of the second occurrence, from 1.
        line: u64,
        /// Line of the first occurrence, from 1.
        first_line: u64,
        /// The repeated id.
        id: String,
    },
    /// A judged query has no text.
    #[error("{path}:{line}: query {query:?} is not in {queries_path}")]
    UnknownQuery {
        /// The judgement file.
        path: PathBuf,
        /// First line that mentions the query, from 1.
        line: u64,
        /// The query file.
        queries_path: PathBuf,
        /// Query id.
        query: String,
    },
}

/// One document of the corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Document id; never empty.
    pub id: String,
    /// Title; empty when the file has none.
    pub title: String,
    /// Body text; may be empty.
    pub text: String,
}

/// One query of the split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Query id; never empty.
    pub id: String,
    /// Text of the query.
    pub text: String,
}

/// An opened BEIR folder: queries and judgements in memory, the corpus on disk.
#[derive(Debug, Clone)]
pub struct BeirDataset {
    corpus_path: PathBuf,
    split: String,
    queries: Vec<Query>,
    /// Ids of all queries, judged or not.
    query_ids: Vec<String>,
    qrels: Qrels,
}

impl BeirDataset {
    /// Opens the folder `dir` and reads the queries and judgements of `split` (such as `test`).
    ///
    /// # Errors [`DatasetError`] with file and line when a file is missing or refused, or when a
    /// judged query is not in `queries.jsonl`. The corpus is not read.
    pub fn open(dir: &Path, split: &str) -> Result<Self, DatasetError> {
        let qrels_path = dir.join("qrels").join(format!("{split}.tsv"));
        let queries_path = dir.join("queries.jsonl");
        let (qrels, mut missing) = Qrels::open_numbered(&qrels_path)?;
        let mut queries = Vec::with_capacity(qrels.len());
        let mut query_ids = Vec::new();
        for record in Records::open(&queries_path)? {
            let record = record?;
            query_ids.push(record.id.clone());
            if missing.remove(&record.id).is_some() {
                queries.push(Query { id: record.id, text: record.text });
            }
        }
        if let Some((query, line)) = first_by_line(missing) {
            return Err(DatasetError::UnknownQuery { path: qrels_path, line, queries_path, query });
        }
        let (corpus_path, split) = (dir.join("corpus.jsonl"), split.to_owned());
        Ok(Self { corpus_path, split, queries, query_ids, qrels })
    }

    /// Name of the split.
    pub fn split(&self) -> &str {
        &self.split
    }

    /// The judged queries, in the order of `queries.jsonl`.
    pub fn queries(&self) -> &[Query] {
        &self.queries
    }

    /// The ids of all queries of `queries.jsonl`, judged or not, in its order.
    pub fn query_ids(&self) -> &[String] {
        &self.query_ids
    }

    /// The judgements of the split.
    pub fn qrels(&self) -> &Qrels {
        &self.qrels
    }

    /// Starts reading the corpus from its first line; may be called again for another pass.
    ///
    /// # Errors
    /// [`DatasetError::Line`] when `corpus.jsonl` cannot be opened.
    pub fn documents(&self) -> Result<Documents, DatasetError> {
        Ok(Documents { records: Records::open(&self.corpus_path)? })
    }
}

/// Streaming iterator over `corpus.jsonl`, in file order.
///
/// Keeps one document and about 16 bytes for each id seen in memory. An item is an error when its
/// line is malformed or repeats an id; the iterator then ends.
#[derive(Debug)]
pub struct Documents {
    records: Records,
}

impl Iterator for Documents {
    type Item = Result<Document, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next()?;
        Some(record.map(|record| Document {
            id: record.id,
            title: record.title.unwrap_or_default(),
            text: record.text,
        }))
    }
}

fn first_by_line(lines: HashMap<String, u64>) -> Option<(String, u64)> {
    lines.into_iter().min_by_key(|(_, line)| *line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERIES: &str = concat!(
        "{\"_id\": \"train only\", \"text\": \"x\"}\n",
        "{\"_id\": \"q2\", \"text\": \"two\", \"metadata\": {\"url\": 1}}\n",
        "{\"_id\": 1, \"text\": \"one\"}\n",
    );
    const QRELS: &str = "query-id\tcorpus-id\tscore\n1\t10\t1\nq2\ta\t0\n";
    const CORPUS: &str = concat!(
        "{\"_id\": \"a\", \"title\": \"T\", \"text\": \"caf\\u00e9\"}\n",
        "{\"_id\": 10, \"text\": \"no title\"}\n",
        "{\"_id\": -3, \"title\": null, \"text\": \"\"}",
    );

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new(corpus: &str, queries: &str, qrels: &str) -> Self {
            let folder = tempfile::tempdir().expect("temporary directory");
            let path = folder.path();
            std::fs::create_dir(path.join("qrels")).expect("create");
            std::fs::write(path.join("corpus.jsonl"), corpus).expect("write");
            std::fs::write(path.join("queries.jsonl"), queries).expect("write");
            std::fs::write(path.join("qrels/dev.tsv"), qrels).expect("write");
            Self(folder)
        }

        fn open(&self) -> Result<BeirDataset, DatasetError> {
            BeirDataset::open(self.0.path(), "dev")
        }
    }

    #[test]
    fn queries_of_the_split_and_all_documents_are_read_in_file_order() {
        let folder = Folder::new(CORPUS, QUERIES, QRELS);
        let dataset = folder.open().expect("dataset");
        let queries: Vec<_> =
            dataset.queries().iter().map(|q| (q.id.as_str(), q.text.as_str())).collect();
        assert_eq!(queries, [("q2", "two"), ("1", "one")]);
        assert_eq!(dataset.query_ids().len(), 3, "with one that is not judged");
        assert_eq!((dataset.split(), dataset.qrels().len()), ("dev", 2));
        for _pass in 0..2 {
            let documents: Result<Vec<_>, _> = dataset.documents().expect("corpus").collect();
            let documents = documents.expect("documents");
            let ids: Vec<&str> = documents.iter().map(|d| d.id.as_str()).collect();
            assert_eq!(ids, ["a", "10", "-3"]);
            assert_eq!((documents[0].title.as_str(), documents[0].text.as_str()), ("T", "café"));
            assert_eq!(documents[1].title, "");
        }
    }

    const GOOD: &str = "{\"_id\": \"a\", \"text\": \"\"}";
    /// A second line after [`GOOD`], and what the error says.
    const BAD: &[(&str, &str)] = &[
        ("", ":2:0: EOF while parsing a value"),
        ("{\"_id\": \"b\"}", ":2:12: missing field `text`"),
        ("{\"text\": \"b\"}", ":2:13: missing field `_id`"),
        ("{\"_id\": \"b\", \"text\": 4}", "expected a string"),
        ("{\"_id\": 1.5, \"text\": \"\"}", "expected an id (string or integer)"),
        ("{\"_id\": null, \"text\": \"\"}", "expected an id (string or integer)"),
        ("{\"_id\": \"b\", \"text\": \"\"} x", ":2:26: trailing characters"),
        ("{\"_id\": \"\", \"text\": \"\"}", ":2: expected an id, got an empty string"),
        (GOOD, ":2: id \"a\" is already on line 1"),
    ];

    #[test]
    fn malformed_documents_are_named_and_end_the_iteration() {
        for &(bad, message) in BAD {
            let corpus = format!("{GOOD}\n{bad}\n{GOOD}\n");
            let folder = Folder::new(&corpus, QUERIES, QRELS);
            let mut documents = folder.open().expect("dataset").documents().expect("corpus");
            assert!(matches!(documents.next(), Some(Ok(_))));
            let error = documents.next().expect("line 2").expect_err(bad).to_string();
            assert!(error.contains(message) && error.contains("corpus.jsonl:2:"), "{error}");
            assert!(!error.contains("at line"), "{error}");
            assert!(documents.next().is_none());
        }
    }

    #[test]
    fn a_duplicated_query_id_is_an_error_even_outside_the_split() {
        let queries = format!("{QUERIES}{{\"_id\": \"train only\", \"text\": \"y\"}}\n");
        let error = Folder::new(CORPUS, &queries, QRELS).open().expect_err("duplicate");
        let message = "queries.jsonl:4: id \"train only\" is already on line 1";
        assert!(error.to_string().ends_with(message), "{error}");
    }

    #[test]
    fn a_judged_query_without_text_is_named() {
        let qrels = format!("{QRELS}q8\ta\t1\nq9\ta\t1\nq8\tb\t1\n");
        let error = Folder::new(CORPUS, QUERIES, &qrels).open().expect_err("unknown");
        assert!(
            matches!(&error, DatasetError::UnknownQuery { line: 4, query, .. } if query == "q8"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_split_is_named() {
        let folder = Folder::new(CORPUS, QUERIES, QRELS);
        let error = BeirDataset::open(folder.0.path(), "test").expect_err("no such split");
        assert!(error.to_string().contains("test.tsv"), "{error}");
    }
}
