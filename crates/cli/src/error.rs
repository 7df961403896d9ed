//! What a command can fail with: the message that follows `error: `.

use std::path::{Path, PathBuf};

use super::input::Place;
use lanner::InvalidInput;
use lanner_client::ClientError;
use lanner_eval::{DatasetError, IdsError, LineError, NpyError, RunError, TrecError, VectorsError};
use lanner_storage::StorageError;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] lanner::Error),
    /// A call to the database failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The folder is no database.
    #[error("`{}` holds no database; `lanner create` makes one", folder.display())]
    NoDatabase { folder: PathBuf },
    /// There is no collection for the points of a file.
    #[error(
        "{source}\nthese points fit, with the metric that the vectors are made for (dot, cosine, l2):\n  \
         {command}"
    )]
    NoCollection { source: Box<CliError>, command: String },
    /// A file could not be read or written.
    #[error("cannot {op} `{}`: {source}", path.display())]
    File { op: &'static str, path: PathBuf, source: std::io::Error },
    /// The standard output could not be written.
    #[error("cannot write the output: {source}")]
    Output { source: std::io::Error },
    /// A line of a JSONL file is malformed.
    #[error("`{}` line {line}: {detail}", path.display())]
    Line { path: PathBuf, line: u64, detail: String },
    /// A row of a table is malformed.
    #[cfg(feature = "parquet")]
    #[error("`{}` row {row}: {detail}", path.display())]
    Row { path: PathBuf, row: u64, detail: String },
    /// A table could not be read or written.
    #[error("`{}`: {detail}", path.display())]
    Table { path: PathBuf, detail: String },
    /// A text file could not be read.
    #[error(transparent)]
    Text(#[from] LineError),
    /// An array file is malformed.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// A file of vectors is malformed.
    #[error(transparent)]
    Vectors(#[from] VectorsError),
    /// An ids file is malformed.
    #[error(transparent)]
    Ids(#[from] IdsError),
    /// A BEIR folder is malformed.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The results of a query cannot be judged.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A run file cannot be written.
    #[error(transparent)]
    Trec(#[from] TrecError),
    /// The arguments do not fit each other or their files.
    #[error("{0}")]
    Usage(String),
    /// A write of some entries of the input failed.
    #[error("{first}{}: {source}", to_last(.first.number(), *.last))]
    Batch { first: Place, last: u64, source: Box<CliError> },
    /// An ingest that skipped every point.
    #[error(
        "nothing was stored: all {refused} points were refused, as the file of --skip-invalid says"
    )]
    NothingStored { refused: u64 },
    /// An ingest that stopped on the way.
    #[error("{source} ({} were stored before)", how_many(*.stored, *.total))]
    Stopped { stored: u64, total: Option<u64>, source: Box<CliError> },
}

impl From<InvalidInput> for CliError {
    fn from(error: InvalidInput) -> Self {
        Self::Engine(error.into())
    }
}

impl From<tonic::Status> for CliError {
    fn from(status: tonic::Status) -> Self {
        Self::Client(status.into())
    }
}

impl CliError {
    /// What may help.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Engine(error) | Self::Client(ClientError::Engine(error)) => match error {
                lanner::Error::Storage(StorageError::Locked { .. }) => {
                    Some("if a server has it open, ask that by --server HOST:PORT")
                }
                _ => None,
            },
            Self::Stopped { source, .. } | Self::Batch { source, .. } => source.hint(),
            _ => None,
        }
    }

    /// What is wrong, without the place.
    pub fn reason(&self) -> String {
        match self {
            Self::Line { detail, .. } => detail.clone(),
            #[cfg(feature = "parquet")]
            Self::Row { detail, .. } => detail.clone(),
            other => other.to_string(),
        }
    }

    /// A file that could not be read or written.
    pub fn file(op: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { op, path: path.to_owned(), source }
    }
}

fn to_last(first: u64, last: u64) -> String {
    if last > first { format!(" to {last}") } else { String::new() }
}

fn how_many(stored: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{stored} of {total} points"),
        None => format!("{stored} points"),
    }
}

/// What commands return.
pub type Result<T, E = CliError> = std::result::Result<T, E>;
