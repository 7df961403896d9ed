//! TREC run files: the six columns `query Q0 document rank score tag` every judge reads.
//!
//! Runs saved here can be judged by trec_eval, pytrec_eval or ir_measures, which is how the metrics
//! of this module are themselves checked. The bytes depend on the run alone: no map order, ranks
//! from
//! 1, scores as the shortest decimal that reads back as the same `f32`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::lines::{Line, LineError, Lines};
use super::run::{Hit, Run, RunError, first_repeat};

/// A run file was refused or could not be written.
#[derive(Debug, Error)]
pub enum TrecError {
    /// The file could not be read as lines of text.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// File being written.
        path: PathBuf,
        /// Cause.
        source: io::Error,
    },
    /// A line does not have six columns.
    #[error("{path}:{line}: expected 6 columns (query Q0 document rank score tag), got {got}")]
    Columns {
        /// File being read.
        path: PathBuf,
        /// Offending line, from 1.
        line: u64,
        /// Number of columns found.
        got: usize,
    },
    /// The rank or the score of a line is not a number of its kind.
    #[error("{path}:{line}: expected {expected}, got {got:?}")]
    Number {
        /// File being read.
        path: PathBuf,
        /// Offending line, from 1.
        line: u64,
        /// What the column must hold.
        expected: &'static str,
        /// Text of the column.
        got: String,
    },
    /// Two lines rank the same document for one query.
    #[error(
        "{path}:{line}: document {document:?} of query {query:?} is already on line {first_line}"
    )]
    DuplicateDocument {
        /// File being read.
        path: PathBuf,
        /// Line of the second occurrence, from 1.
        line: u64,
        /// Line of the first occurrence, from 1.
        first_line: u64,
        /// Query id.
        query: String,
        /// Document id.
        document: String,
    },
    /// The lines are well formed but make no run.
    #[error("{path}: {source}")]
    Run {
        /// File being read.
        path: PathBuf,
        /// Cause.
        source: RunError,
    },
    /// A name cannot be a column, because it is empty or holds whitespace.
    #[error("cannot write {path}: expected a {column} without whitespace, got {got:?}")]
    NotAColumn {
        /// File to be written.
        path: PathBuf,
        /// `query id`, `document id` or `tag`.
        column: &'static str,
        /// The name.
        got: String,
    },
}

impl Run {
    /// Reads a run file. Lines of one query may be apart; their order and rank are ignored.
    ///
    /// Columns are separated by any whitespace. Queries keep the order of their first lines.
    ///
    /// # Errors
    /// [`TrecError`], naming file and line.
    pub fn open(path: &Path) -> Result<Self, TrecError> {
        let mut lines = Lines::open(path)?;
        let mut queries: Vec<QueryLines> = Vec::new();
        let mut positions: HashMap<String, usize> = HashMap::new();
        while let Some(line) = lines.next_line()? {
            let (query, hit) = parse_line(path, line)?;
            let position = match positions.get(query) {
                Some(&position) => position,
                None => {
                    positions.insert(query.to_owned(), queries.len());
                    queries.push(QueryLines::new(query));
                    queries.len() - 1
                }
            };
            queries[position].hits.push(hit);
            queries[position].lines.push(line.number);
        }
        let mut run = Self::new();
        for query in queries {
            query.check_repeats(path)?;
            run.push(&query.id, query.hits)
                .map_err(|source| TrecError::Run { path: path.to_path_buf(), source })?;
        }
        Ok(run)
    }

    /// Writes the run file `path`, replacing what was there; `tag` names the system.
    ///
    /// A query without results has no line: it is absent when the file is read back, which
    /// [`evaluate`](super::evaluate) judges the same.
    ///
    /// # Errors
    /// [`TrecError::NotAColumn`] before anything is written, [`TrecError::Write`] afterwards.
    pub fn save(&self, path: &Path, tag: &str) -> Result<(), TrecError> {
        check_column(path, "tag", tag)?;
        for (query, hits) in self.iter() {
            check_column(path, "query id", query)?;
            for (document, _) in hits {
                check_column(path, "document id", document)?;
            }
        }
        write_lines(self, path, tag)
            .map_err(|source| TrecError::Write { path: path.to_path_buf(), source })
    }
}

/// Checks, before there is a run, that one of these ids can be saved: they have no whitespace, and the file
/// can be made. An empty file is left there.
///
/// # Errors
/// As [`Run::save`].
pub fn prepare_run<'i>(
    path: &Path,
    queries: impl IntoIterator<Item = &'i str>,
    documents: impl IntoIterator<Item = &'i str>,
) -> Result<(), TrecError> {
    queries.into_iter().try_for_each(|id| check_column(path, "query id", id))?;
    documents.into_iter().try_for_each(|id| check_column(path, "document id", id))?;
    let made = File::create(path);
    made.map(drop).map_err(|source| TrecError::Write { path: path.to_path_buf(), source })
}

/// The hits of one query in file order, with the line each came from.
struct QueryLines {
    id: String,
    hits: Vec<Hit>,
    lines: Vec<u64>,
}

impl QueryLines {
    fn new(id: &str) -> Self {
        Self { id: id.to_owned(), hits: Vec::new(), lines: Vec::new() }
    }

    fn check_repeats(&self, path: &Path) -> Result<(), TrecError> {
        let Some((first, second)) = first_repeat(&self.hits) else {
            return Ok(());
        };
        Err(TrecError::DuplicateDocument {
            path: path.to_path_buf(),
            line: self.lines[second],
            first_line: self.lines[first],
            query: self.id.clone(),
            document: self.hits[second].0.clone(),
        })
    }
}

fn parse_line<'a>(path: &Path, line: Line<'a>) -> Result<(&'a str, Hit), TrecError> {
    let columns: Vec<&str> = line.text.split_whitespace().collect();
    let &[query, _, document, rank, score, _] = columns.as_slice() else {
        return Err(TrecError::Columns {
            path: path.to_path_buf(),
            line: line.number,
            got: columns.len(),
        });
    };
    let number = |expected, got: &str| TrecError::Number {
        path: path.to_path_buf(),
        line: line.number,
        expected,
        got: got.to_owned(),
    };
    // The rank is not used, but text in its place means that the columns are not the expected ones.
    let _rank: u64 = rank.parse().map_err(|_| number("an integer rank", rank))?;
    match score.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok((query, (document.to_owned(), value))),
        _ => Err(number("a finite score", score)),
    }
}

pub(super) fn check_column(path: &Path, column: &'static str, name: &str) -> Result<(), TrecError> {
    if !name.is_empty() && !name.contains(char::is_whitespace) {
        return Ok(());
    }
    Err(TrecError::NotAColumn { path: path.to_path_buf(), column, got: name.to_owned() })
}

fn write_lines(run: &Run, path: &Path, tag: &str) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for (query, hits) in run.iter() {
        for (index, (document, score)) in hits.iter().enumerate() {
            let rank = index + 1;
            writeln!(out, "{query} Q0 {document} {rank} {score} {tag}")?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(content: &str) -> Result<Run, TrecError> {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("a.run");
        std::fs::write(&path, content).expect("write");
        Run::open(&path)
    }

    fn written(run: &Run) -> String {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("a.run");
        run.save(&path, "lanner").expect("save");
        std::fs::read_to_string(&path).expect("read")
    }

    fn run_of(query: &str, document: &str) -> Run {
        let mut run = Run::new();
        run.push(query, vec![(document.to_owned(), 1.0)]).expect("run");
        run
    }

    #[test]
    fn bytes_are_exact_and_read_back() {
        let mut run = Run::new();
        let hits = [("b", 0.1), ("a", 16_777_216.0), ("c", 0.1), ("d", -1.5e-7)];
        run.push("q2", hits.map(|(id, score)| (id.to_owned(), score)).to_vec()).expect("run");
        run.push("none", Vec::new()).expect("run");
        run.push("q1", vec![("x".to_owned(), 2.0)]).expect("run");
        let expected = concat!(
            "q2 Q0 a 1 16777216 lanner\n",
            "q2 Q0 c 2 0.1 lanner\n",
            "q2 Q0 b 3 0.1 lanner\n",
            "q2 Q0 d 4 -0.00000015 lanner\n",
            "q1 Q0 x 1 2 lanner\n",
        );
        assert_eq!(written(&run), expected);
        let back = read(expected).expect("read");
        assert_eq!((back.len(), back.get("q2")), (2, run.get("q2")));
        assert_eq!(written(&back), expected);
    }

    #[test]
    fn scattered_lines_are_gathered_and_ranks_ignored() {
        let run = read("b Q0 x 9 1.0 t\na\tQ0 y  1 3 t\r\nb 0 z 9 2e0 t\n").expect("run");
        let order: Vec<&str> = run.iter().map(|(query, _)| query).collect();
        assert_eq!(order, ["b", "a"]);
        let b = run.get("b").expect("b");
        assert_eq!(b, [("z".to_owned(), 2.0), ("x".to_owned(), 1.0)]);
    }

    #[test]
    fn malformed_lines_are_named() {
        for (bad, message) in [
            ("q Q0 e 2 1.0", ":2: expected 6 columns (query Q0 document rank score tag), got 5"),
            ("\nq Q0 e 2 1 t", ":2: expected 6 columns (query Q0 document rank score tag), got 0"),
            ("q Q0 e f 1 t", ":2: expected an integer rank, got \"f\""),
            ("q Q0 e 2 nan t", ":2: expected a finite score, got \"nan\""),
            ("q Q0 e 2 1e99 t", ":2: expected a finite score, got \"1e99\""),
            ("q Q0 d 2 7 t", ":2: document \"d\" of query \"q\" is already on line 1"),
        ] {
            let error = read(&format!("q Q0 d 1 2.5 t\n{bad}\n")).expect_err(bad);
            assert!(error.to_string().ends_with(message), "{bad:?}: {error}");
        }
    }

    #[test]
    fn names_with_whitespace_are_refused_and_nothing_is_written() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("a.run");
        for (run, tag, column) in [
            (run_of("a b", "d"), "t", "query id"),
            (run_of("q", "d\u{a0}e"), "t", "document id"),
            (run_of("q", ""), "t", "document id"),
            (run_of("q", "d"), "my tag", "tag"),
        ] {
            let error = run.save(&path, tag).expect_err(column).to_string();
            assert!(error.contains(&format!("expected a {column} without whitespace")), "{error}");
            assert!(!path.exists());
        }
    }

    proptest! {
        #[test]
        fn any_finite_score_survives_the_file(
            scores in prop::collection::vec(any::<u32>(), 1..20),
        ) {
            let mut run = Run::new();
            let hits: Vec<Hit> = scores
                .iter()
                .map(|&bits| f32::from_bits(bits))
                .filter(|score| score.is_finite())
                .enumerate()
                .map(|(index, score)| (format!("d{index}"), score))
                .collect();
            run.push("q", hits).expect("run");
            let back = read(&written(&run)).expect("read");
            let bits = |run: &Run| -> Vec<(String, u32)> {
                let hits = run.get("q").unwrap_or_default();
                hits.iter().map(|(id, score)| (id.clone(), score.to_bits())).collect()
            };
            prop_assert_eq!(bits(&back), bits(&run));
        }
    }
}
