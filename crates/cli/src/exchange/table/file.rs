//! A table file, whichever format it is of.

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::arrow_file::ArrowBatches;
use super::guarded::guarded;
use super::parquet_file::{self, ParquetBatches};
use super::vectors;
use crate::error::{CliError, Result};
use crate::exchange::{Format, Suggestion};

/// Rows of some columns, batch by batch.
pub trait Batches {
    /// The next rows; `None` at the end. A batch fits in memory.
    fn next(&mut self) -> Result<Option<RecordBatch>, String>;
}

/// A file whose schema is known.
pub struct TableFile {
    path: PathBuf,
    format: Format,
    schema: SchemaRef,
    rows: Option<u64>,
}

impl TableFile {
    /// Reads the schema.
    ///
    /// # Errors
    /// If the file cannot be read or is of another format.
    pub fn open(path: &Path, format: Format) -> Result<Self> {
        if !path.is_file() {
            let detail = "expected a plain file, since columns are read where they are".to_owned();
            return Err(CliError::Table { path: path.to_path_buf(), detail });
        }
        let failed = |detail| CliError::Table { path: path.to_path_buf(), detail };
        let (schema, rows) = match format {
            Format::Parquet => {
                let shape = guarded(|| parquet_file::shape(path)).map_err(failed)?;
                (shape.schema, Some(shape.rows))
            }
            _ => {
                let opened = guarded(|| ArrowBatches::open(path, None)).map_err(failed)?;
                (opened.schema(), None)
            }
        };
        Ok(Self { path: path.to_path_buf(), format, schema, rows })
    }

    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Number of rows, if the file says so.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rows of these columns, which are in ascending order.
    pub fn batches(&self, columns: &[usize]) -> Result<Box<dyn Batches>> {
        let failed = |detail| CliError::Table { path: self.path.clone(), detail };
        let reader: Box<dyn Batches> = match self.format {
            Format::Parquet => {
                Box::new(guarded(|| ParquetBatches::open(&self.path, columns)).map_err(failed)?)
            }
            _ => {
                Box::new(guarded(|| ArrowBatches::open(&self.path, Some(columns))).map_err(failed)?)
            }
        };
        Ok(Box::new(Guarded(Some(reader))))
    }

    /// The fields that its vectors would fit. Lists of no fixed size are measured by the first row.
    pub fn suggestions(&self) -> Result<Vec<Suggestion>> {
        let mut fields = Vec::new();
        for (index, field) in self.schema.fields().iter().enumerate() {
            let Some(shape) = vectors::shape(field.data_type()) else { continue };
            let dimension = match shape.dimension {
                Some(dimension) => dimension,
                None => self.first_dimension(index)?,
            };
            let name = field.name().clone();
            let (kind, half_precision) = (shape.kind, shape.half_precision);
            fields.push(Suggestion { name, kind, dimension, half_precision });
        }
        Ok(fields)
    }

    /// Length of the first vector of a column; 0 if there is none.
    fn first_dimension(&self, column: usize) -> Result<usize> {
        let first = self.batches(&[column])?.next();
        let failed = |detail| CliError::Table { path: self.path.clone(), detail };
        Ok(first.map_err(failed)?.map_or(0, |batch| vectors::first_dimension(batch.column(0))))
    }
}

/// A reader that is given up when it fails.
struct Guarded(Option<Box<dyn Batches>>);

impl Batches for Guarded {
    fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        let Some(reader) = &mut self.0 else { return Ok(None) };
        let next = guarded(|| reader.next());
        if next.is_err() {
            self.0 = None;
        }
        next
    }
}
