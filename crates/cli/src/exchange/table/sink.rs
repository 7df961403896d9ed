//! Writes batches as Parquet or Arrow IPC.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_ipc::writer::FileWriter;
use arrow_schema::SchemaRef;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::columns::batch;
use super::layout::{Column, Content, schema};
use crate::error::{CliError, Result};
use crate::exchange::{Format, NewFile, Sink};
use lanner::Point;

/// Bytes of a row group, which is in memory until it is written.
const GROUP_BYTES: usize = 64 << 20;

/// A table of points.
pub struct TableSink {
    path: PathBuf,
    columns: Vec<Column>,
    schema: SchemaRef,
    writer: Writer,
    points: u64,
}

enum Writer {
    Parquet(Box<ArrowWriter<BufWriter<NewFile>>>),
    Arrow(Box<FileWriter<BufWriter<NewFile>>>),
}

impl TableSink {
    /// Begins the file.
    pub fn create(
        path: &Path,
        format: Format,
        replaces: bool,
        columns: Vec<Column>,
    ) -> Result<Self> {
        let schema = schema(&columns);
        let file = NewFile::create(path, replaces)?;
        let failed = |detail| CliError::Table { path: path.to_path_buf(), detail };
        let writer = match format {
            Format::Parquet => {
                let properties =
                    properties(&columns, &schema).map_err(|e| failed(e.to_string()))?;
                let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
                Writer::Parquet(Box::new(writer.map_err(|error| failed(error.to_string()))?))
            }
            _ => {
                let writer = FileWriter::try_new(file, &schema);
                Writer::Arrow(Box::new(writer.map_err(|error| failed(error.to_string()))?))
            }
        };
        Ok(Self { path: path.to_path_buf(), columns, schema, writer, points: 0 })
    }

    fn failed(&self, detail: impl ToString) -> CliError {
        CliError::Table { path: self.path.clone(), detail: detail.to_string() }
    }

    fn write_batch(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.writer {
            Writer::Parquet(writer) => {
                let full = writer.in_progress_size() >= GROUP_BYTES;
                let flushed = if full { writer.flush() } else { Ok(()) };
                flushed.and_then(|()| writer.write(batch)).map_err(|error| self.failed(error))
            }
            Writer::Arrow(writer) => writer.write(batch).map_err(|error| self.failed(error)),
        }
    }
}

/// Payloads are compressed by Snappy, which all readers know. Vectors are noise to compressors and
/// dictionaries.
fn properties(columns: &[Column], schema: &SchemaRef) -> Result<WriterProperties, ParquetError> {
    let parquet = ArrowSchemaConverter::new().convert(schema)?;
    let mut properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    for (leaf, column) in parquet.columns().iter().enumerate() {
        let content = &columns[parquet.get_column_root_idx(leaf)].content;
        if matches!(content, Content::Vectors { .. }) {
            let path = || column.path().clone();
            properties = properties
                .set_column_dictionary_enabled(path(), false)
                .set_column_compression(path(), Compression::UNCOMPRESSED)
                .set_column_statistics_enabled(path(), EnabledStatistics::None);
        }
    }
    Ok(properties.build())
}

impl Sink for TableSink {
    fn write(&mut self, points: Vec<Point>) -> Result<()> {
        let batch = batch(&self.columns, &self.schema, &points).map_err(|detail| {
            self.failed(format!("points were written meanwhile, try again: {detail}"))
        })?;
        self.points += points.len() as u64;
        self.write_batch(&batch)
    }

    fn finish(self: Box<Self>) -> Result<u64> {
        let failed = |detail| CliError::Table { path: self.path.clone(), detail };
        let file = match self.writer {
            Writer::Parquet(writer) => writer.into_inner().map_err(|e| failed(e.to_string()))?,
            Writer::Arrow(writer) => writer.into_inner().map_err(|e| failed(e.to_string()))?,
        };
        NewFile::publish(file)?;
        Ok(self.points)
    }
}
