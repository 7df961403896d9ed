//! `lanner train`, and the compression arguments it shares with `create`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use super::error::{CliError, Result};
use super::input::Column;
use super::jobs;
use super::target::Target;
use lanner::{CollectionConfig, MultiVector, TrainingQueries, VectorField, VectorKind};
use lanner::{limits, validate_name};
use lanner_eval::VectorFile;

/// Train the compression of a field on queries of the kind that will come.
#[derive(Args)]
#[command(after_help = "\
Queries whose distribution differs from that of the points (questions against passages, words
against texts) find more with maps that were trained on such queries. They are kept for later
trainings. All segments are rewritten; queries go on meanwhile. Of more than 10,000 queries an
even sample is taken.

Example:
  lanner train docs --data db --field text --queries queries.npy")]
pub struct Train {
    /// Collection to train
    name: String,
    #[command(flatten)]
    target: Target,
    /// Compressed vector field
    #[arg(long)]
    field: String,
    /// A .npy matrix, one query a row; for a multi field all vectors, and the .npy offsets of queries.
    /// Without it, the queries that came to the field lately
    #[arg(long, value_name = "FILE[,OFFSETS]")]
    queries: Option<PathBuf>,
    /// Do not wait: the server goes on by itself (see `lanner jobs`)
    #[arg(long, requires = "server")]
    no_wait: bool,
}

impl Train {
    pub fn run(self) -> Result<()> {
        let queries = self.queries.as_deref().map(read_training_queries).transpose()?;
        let backend = self.target.open_for_job(!self.no_wait)?;
        let job = backend.train(&self.name, &self.field, queries.as_ref())?;
        jobs::wait_or_name(&*backend, &job, !self.no_wait)?;
        if self.no_wait {
            return Ok(());
        }
        match queries {
            Some(queries) => println!("trained {} on {} queries", self.field, queries.len()),
            None => println!("trained {} on queries that came lately", self.field),
        }
        Ok(())
    }
}

/// `FIELD=VALUE`, or `VALUE` for all fields it can mean.
#[derive(Debug, Clone)]
pub struct ForField<T> {
    field: Option<String>,
    value: T,
}

impl<T: FromStr<Err: std::fmt::Display>> FromStr for ForField<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A value may have the sign in it, too: behind what is no name.
        let named = |(field, _): &(&str, &str)| validate_name("field", field).is_ok();
        let (field, value) = match text.split_once('=').filter(named) {
            Some((field, value)) => (Some(field.to_owned()), value),
            None => (None, text),
        };
        let value = value.parse().map_err(|error: T::Err| error.to_string())?;
        Ok(Self { field, value })
    }
}

/// Sets something of the named fields, or of all of these kinds.
pub fn apply<T: Clone>(
    config: &mut CollectionConfig,
    settings: &[ForField<T>],
    kinds: &[VectorKind],
    set: impl Fn(&mut VectorField, T),
) -> Result<()> {
    for ForField { field, value } in settings {
        if let Some(name) = field {
            config.field(name)?;
        }
        for (name, settings) in &mut config.fields {
            let meant = match field {
                Some(field) => field == name,
                None => kinds.contains(&settings.kind),
            };
            if meant {
                set(settings, value.clone());
            }
        }
    }
    Ok(())
}

/// Reads the training queries of the named fields, or of the only one.
pub fn training_queries(
    config: &CollectionConfig,
    files: &[ForField<PathBuf>],
) -> Result<BTreeMap<String, TrainingQueries>> {
    let read = |ForField { field, value }: &ForField<PathBuf>| {
        let field = match field {
            Some(field) => field.clone(),
            None if config.fields.len() == 1 => config.fields.keys().cloned().collect(),
            None => {
                let detail = "name the field of the training queries, as in text=queries.npy";
                return Err(CliError::Usage(detail.into()));
            }
        };
        Ok((field, read_training_queries(value)?))
    };
    files.iter().map(read).collect()
}

/// Training queries from a file, or from two for a multi field: `VECTORS,OFFSETS`.
pub fn read_training_queries(paths: &Path) -> Result<TrainingQueries> {
    let text = paths.to_string_lossy();
    let Some((vectors, offsets)) = text.split_once(',') else {
        return Ok(read_queries(paths)?.into());
    };
    let mut column = Column::multi("queries", Path::new(vectors), Path::new(offsets))?;
    let step = column.rows().div_ceil(limits::MAX_TRAINING_QUERIES).max(1);
    let (mut values, mut lengths) = (Vec::new(), Vec::new());
    for row in (0..column.rows()).step_by(step) {
        for query in column.read(row..row + 1)? {
            let query = query.as_ref();
            values.extend_from_slice(query.values());
            lengths.push(query.values().len() / column.dimension());
        }
    }
    let vectors = MultiVector::from_flat(column.dimension(), values)?;
    Ok(TrainingQueries::multi(vectors, lengths)?)
}

/// At most as many queries as a field can be trained on, spread evenly over the file.
pub fn read_queries(path: &Path) -> Result<MultiVector> {
    let mut matrix = VectorFile::open(path)?;
    let (rows, mut values) = (matrix.rows(), Vec::new());
    let step = rows.div_ceil(limits::MAX_TRAINING_QUERIES).max(1);
    let mut row_values = Vec::new();
    for row in (0..rows).step_by(step) {
        matrix.read_rows(row..row + 1, &mut row_values)?;
        values.extend_from_slice(&row_values);
    }
    Ok(MultiVector::from_flat(matrix.cols(), values)?)
}
