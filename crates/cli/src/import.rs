//! `lanner import`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::error::{CliError, Result};
#[cfg(feature = "parquet")]
use super::exchange::table::{Mapping, TableFile, TableSource};
use super::exchange::{Format, Suggestion, single_field};
use super::input::{Arrays, Column, JsonLines, Source};
use super::target::Target;
use super::writing::WriteArguments;
use lanner::{CollectionConfig, ErrorKind, Vector, VectorKind};

/// Write the points of a file that other programs wrote, replacing those of the same ids.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner import books books.parquet --data db
  lanner import books train-00000.parquet --data db --vectors text=embedding --id doc_id --payload title,year
  lanner import books books.arrow --server 127.0.0.1:7700 --number-from 0 --without image
  lanner import sift sift_base.fvecs --data db
  lanner import books books.jsonl.gz --data db

The format is known by the first bytes of the file, or by its ending.
Parquet and Arrow (IPC file or stream, Feather 2): a row is a point. Columns with the names of the
collection's fields are its vectors: lists of numbers, or lists of these for multi fields. The column `id`
is the id, and all others are the payload: by name and with their types; times as RFC 3339 text, lists and
structs as JSON. Nulls are absent. A column `payload.x` is the key x, and one `payload` without others beside it
the payload itself, as structs or JSON texts.
Matrices (.npy, .fvecs, .bvecs): a row is a point, numbered from 0. `lanner ingest` reads ids and payloads
beside them, and many vectors a point.
JSON lines: as `lanner ingest --jsonl` reads them.

The first row that is refused ends the command, and the error names it; what was written before stays.
Import again when it is repaired: points that are there are replaced by the same. --skip-invalid goes on.")]
pub struct Import {
    /// Collection to write to
    collection: String,
    /// The file; - is JSON lines from the standard input
    file: PathBuf,
    #[command(flatten)]
    target: Target,
    /// Format, if neither name nor first bytes tell
    #[arg(long)]
    format: Option<Format>,
    #[command(flatten)]
    table: TableArguments,
    #[command(flatten)]
    writing: WriteArguments,
}

/// What the columns of a table are.
#[derive(Default, Args)]
pub struct TableArguments {
    /// Column of the vectors of a field, if it has another name; of a matrix the field alone
    #[arg(long, value_name = "FIELD=COLUMN")]
    pub vectors: Vec<String>,
    /// Column of the ids [default: id]
    #[arg(long, value_name = "COLUMN", conflicts_with = "number_from")]
    pub id: Option<String>,
    /// Number the rows from here instead; matrices are numbered from 0 without it
    #[arg(long, value_name = "N")]
    pub number_from: Option<u64>,
    /// Columns of the payload, separated by commas; by default all that are nothing else
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub payload: Vec<String>,
    /// Columns to leave out, separated by commas
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', conflicts_with = "payload")]
    pub without: Vec<String>,
    /// Leave payloads out
    #[arg(long, conflicts_with_all = ["payload", "without"])]
    pub no_payload: bool,
}

/// A file that was opened.
enum Input {
    Lines(PathBuf),
    Matrix(PathBuf),
    #[cfg(feature = "parquet")]
    Table(TableFile),
}

impl Import {
    pub fn run(self) -> Result<()> {
        let input = self.open()?;
        let found = self.target.open().and_then(|backend| {
            let config = backend.info(&self.collection)?.config;
            Ok((backend, config))
        });
        let (backend, config) = found.map_err(|error| self.suggest(error, &input))?;
        let mut source = self.source(input, &config)?;
        let skipped = self.writing.skipped([self.file.as_path()].into_iter())?;
        self.writing.write(&*backend, &self.collection, &mut *source, skipped)
    }

    fn open(&self) -> Result<Input> {
        let format = match self.format {
            Some(format) => format,
            None => Format::of_input(&self.file)?,
        };
        if !format.is_table() {
            self.refuse_table_flags(format)?;
        }
        match format {
            Format::Jsonl => Ok(Input::Lines(self.file.clone())),
            Format::Npy | Format::Fvecs | Format::Bvecs => Ok(Input::Matrix(self.file.clone())),
            #[cfg(feature = "parquet")]
            Format::Parquet | Format::Arrow => {
                Ok(Input::Table(TableFile::open(&self.file, format)?))
            }
            #[cfg(not(feature = "parquet"))]
            Format::Parquet | Format::Arrow => Err(super::exchange::without_tables()),
        }
    }

    /// Flags about columns say nothing of other files.
    fn refuse_table_flags(&self, format: Format) -> Result<()> {
        let TableArguments { vectors, id, number_from, payload, without, no_payload } = &self.table;
        let lines = format == Format::Jsonl;
        let given = [
            ("--id", id.is_some()),
            ("--payload", !payload.is_empty()),
            ("--without", !without.is_empty()),
            ("--no-payload", *no_payload),
            ("--vectors", lines && !vectors.is_empty()),
            ("--number-from", lines && number_from.is_some()),
        ];
        match given.into_iter().find_map(|(flag, given)| given.then_some(flag)) {
            Some(flag) => {
                let format = format.as_str();
                Err(CliError::Usage(format!("{flag} is about columns, which {format} has not")))
            }
            None => Ok(()),
        }
    }

    fn source(&self, input: Input, config: &CollectionConfig) -> Result<Box<dyn Source>> {
        Ok(match input {
            Input::Lines(path) => Box::new(JsonLines::open(&path)?),
            Input::Matrix(path) => {
                let column = self.column(&path, config)?;
                let first = self.table.number_from.unwrap_or(0);
                Box::new(Arrays::new(vec![column], None, None)?.numbered_from(first))
            }
            #[cfg(feature = "parquet")]
            Input::Table(table) => {
                let mapping = Mapping::new(&table, config, &self.table)?;
                Box::new(TableSource::open(&table, mapping)?)
            }
        })
    }

    /// The only column of a matrix.
    fn column(&self, path: &Path, config: &CollectionConfig) -> Result<Column> {
        let field = match &self.table.vectors[..] {
            [] => None,
            [field] if !field.contains('=') => Some(field.as_str()),
            _ => {
                let problem = "--vectors: expected the field of the only vectors of a matrix";
                return Err(CliError::Usage(problem.into()));
            }
        };
        let (name, field) = single_field(config, field)?;
        let column = Column::single(name, path)?;
        let (expected, got) = (field.dimension, column.dimension());
        if expected != got {
            return Err(CliError::Usage(format!(
                "`{}`: expected {expected} dimensions, as the field `{name}` has, got {got}",
                path.display()
            )));
        }
        Ok(column)
    }

    /// Adds the command that creates the collection to the error that there is none.
    fn suggest(&self, error: CliError, input: &Input) -> CliError {
        let missing = match &error {
            CliError::NoDatabase { .. } => true,
            CliError::Client(error) => error.kind() == ErrorKind::NotFound,
            _ => false,
        };
        let fields = if missing { suggestions(input).unwrap_or_default() } else { Vec::new() };
        if fields.is_empty() {
            return error;
        }
        let command = Suggestion::command(&fields, &self.collection, &self.target.flags());
        CliError::NoCollection { source: Box::new(error), command }
    }
}

/// The fields that the vectors of a file would fit.
fn suggestions(input: &Input) -> Result<Vec<Suggestion>> {
    let field =
        |name: String, kind, dimension| Suggestion { name, kind, dimension, half_precision: false };
    match input {
        // The standard input is read once.
        Input::Lines(path) if path.is_file() => {
            let first = JsonLines::open(path)?.next(1)?.pop();
            let vectors = first.and_then(|entry| entry.point.ok()).map(|point| point.vectors);
            let suggestion = |(name, vector): (String, Vector)| {
                let vector = vector.as_ref();
                field(name, vector.kind(), vector.dimension())
            };
            Ok(vectors.into_iter().flatten().map(suggestion).collect())
        }
        Input::Lines(_) => Ok(Vec::new()),
        Input::Matrix(path) => {
            let dimension = Column::single("", path)?.dimension();
            Ok(vec![field("vector".into(), VectorKind::Single, dimension)])
        }
        #[cfg(feature = "parquet")]
        Input::Table(table) => table.suggestions(),
    }
}
