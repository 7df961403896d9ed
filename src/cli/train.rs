//! `lanner train`, and the compression arguments it shares with `create`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use super::error::{CliError, Result};
use super::progress;
use super::target::Target;
use crate::evaluation::NpyMatrix;
use crate::model::{limits, validate_name};
use crate::{CollectionConfig, Memory, MultiVector, VectorField};

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
    /// A .npy matrix, one query a row
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
}

impl Train {
    pub fn run(self) -> Result<()> {
        let queries = read_queries(&self.queries)?;
        let backend = self.target.open()?;
        let spinner = progress::spinner(format!("training {} and rewriting segments", self.field));
        backend.train(&self.name, &self.field, &queries)?;
        spinner.finish_and_clear();
        println!("trained {} on {} queries", self.field, queries.rows().len());
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

/// Sets something of the named fields, or of all single-vector fields.
pub fn apply<T: Copy>(
    config: &mut CollectionConfig,
    settings: &[ForField<T>],
    set: impl Fn(&mut VectorField, T),
) -> Result<()> {
    for ForField { field, value } in settings {
        if let Some(name) = field {
            config.field(name)?;
        }
        let named = |name: &String| field.as_ref().is_none_or(|field| field == name);
        let all = field.is_none();
        for (name, settings) in &mut config.fields {
            if named(name) && !(all && settings.kind == crate::VectorKind::Multi) {
                set(settings, *value);
            }
        }
    }
    Ok(())
}

/// Sets the use of memory of the named fields, or of all.
pub fn apply_memory(config: &mut CollectionConfig, memory: &[ForField<Memory>]) -> Result<()> {
    for ForField { field, value } in memory {
        if let Some(name) = field {
            config.field(name)?;
        }
        for (name, settings) in &mut config.fields {
            if field.as_ref().is_none_or(|field| field == name) {
                settings.memory = *value;
            }
        }
    }
    Ok(())
}

/// Reads the training queries of the named fields, or of the only one.
pub fn training_queries(
    config: &CollectionConfig,
    files: &[ForField<PathBuf>],
) -> Result<BTreeMap<String, MultiVector>> {
    let read = |ForField { field, value }: &ForField<PathBuf>| {
        let field = match field {
            Some(field) => field.clone(),
            None if config.fields.len() == 1 => config.fields.keys().cloned().collect(),
            None => {
                let detail = "name the field of the training queries, as in text=queries.npy";
                return Err(CliError::Usage(detail.into()));
            }
        };
        Ok((field, read_queries(value)?))
    };
    files.iter().map(read).collect()
}

/// At most as many queries as a field can be trained on, spread evenly over the file.
pub fn read_queries(path: &Path) -> Result<MultiVector> {
    let mut matrix = NpyMatrix::open(path)?;
    let (rows, mut values) = (matrix.rows(), Vec::new());
    let step = rows.div_ceil(limits::MAX_TRAINING_QUERIES).max(1);
    let mut row_values = Vec::new();
    for row in (0..rows).step_by(step) {
        matrix.read_rows(row..row + 1, &mut row_values)?;
        values.extend_from_slice(&row_values);
    }
    Ok(MultiVector::from_flat(matrix.cols(), values)?)
}
