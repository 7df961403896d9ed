//! Parquet, row group by row group.
//!
//! Pages of zstd are decompressed by `zstd_pages.rs`, which is why the row groups are read here and
//! not by the crate's own reader.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowGroups};
use parquet::arrow::{
    FieldLevels, ProjectionMask, parquet_to_arrow_field_levels, parquet_to_arrow_schema,
};
use parquet::basic::Compression;
use parquet::column::page::{PageIterator, PageReader};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::serialized_reader::SerializedPageReader;

use super::file::Batches;
use super::zstd_pages::ZstdPages;
use crate::error::Result;

/// Most rows of a batch.
const MOST_ROWS: u64 = 1024;
/// Bytes of a batch, about: many vectors a point can be megabytes.
const BATCH_BYTES: u64 = 16 << 20;

/// Columns and rows of a file.
pub struct Shape {
    pub schema: SchemaRef,
    pub rows: u64,
}

/// Reads the footer.
pub fn shape(path: &Path) -> Result<Shape, String> {
    let (_, metadata) = open(path)?;
    let schema = schema(&metadata).map_err(message)?;
    let rows = metadata.row_groups().iter().map(|group| group.num_rows().unsigned_abs()).sum();
    Ok(Shape { schema, rows })
}

fn open(path: &Path) -> Result<(Arc<File>, Arc<ParquetMetaData>), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(message)?;
    Ok((Arc::new(file), Arc::new(metadata)))
}

/// The columns, with the types that the writer had if it was Arrow.
fn schema(metadata: &ParquetMetaData) -> ParquetResult<SchemaRef> {
    let file = metadata.file_metadata();
    parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata()).map(Arc::new)
}

/// Refuses compressions that nothing here decompresses.
fn check_compression(metadata: &ParquetMetaData, leaves: &ProjectionMask) -> Result<(), String> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns().iter().enumerate());
    for (_, column) in columns.filter(|(leaf, _)| leaves.leaf_included(*leaf)) {
        let name = match column.compression() {
            Compression::BROTLI(_) => "Brotli",
            Compression::LZO => "LZO",
            _ => continue,
        };
        return Err(format!(
            "column `{}` is compressed by {name}, which is not read: write it by Snappy or zstd",
            column.column_path().string()
        ));
    }
    Ok(())
}

/// The rows of some columns.
pub struct ParquetBatches {
    file: Arc<File>,
    metadata: Arc<ParquetMetaData>,
    levels: FieldLevels,
    leaves: ProjectionMask,
    next_group: usize,
    group: Option<ParquetRecordBatchReader>,
}

impl ParquetBatches {
    /// Opens the file for some of its columns.
    pub fn open(path: &Path, columns: &[usize]) -> Result<Self, String> {
        let (file, metadata) = open(path)?;
        let descriptor = metadata.file_metadata().schema_descr();
        let leaves = ProjectionMask::roots(descriptor, columns.iter().copied());
        let hint = schema(&metadata).map_err(message)?;
        let levels = parquet_to_arrow_field_levels(descriptor, leaves.clone(), Some(hint.fields()));
        let levels = levels.map_err(message)?;
        check_compression(&metadata, &leaves)?;
        Ok(Self { file, metadata, levels, leaves, next_group: 0, group: None })
    }

    fn open_group(&self, number: usize) -> ParquetResult<ParquetRecordBatchReader> {
        let rows = RowGroup { file: self.file.clone(), metadata: self.metadata.clone(), number };
        ParquetRecordBatchReader::try_new_with_row_groups(
            &self.levels,
            &rows,
            self.batch_rows(rows.group()),
            None,
        )
    }

    /// Rows of a group that are decoded together.
    fn batch_rows(&self, group: &RowGroupMetaData) -> usize {
        let columns = group.columns().iter().enumerate();
        let columns = columns.filter(|(leaf, _)| self.leaves.leaf_included(*leaf));
        let bytes: u64 = columns.map(|(_, column)| column.uncompressed_size().unsigned_abs()).sum();
        let row_bytes = bytes / group.num_rows().unsigned_abs().max(1);
        (BATCH_BYTES / row_bytes.max(1)).clamp(1, MOST_ROWS) as usize
    }
}

impl Batches for ParquetBatches {
    fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        loop {
            if let Some(batch) = self.group.as_mut().and_then(Iterator::next) {
                return batch.map(Some).map_err(|error| error.to_string());
            }
            if self.next_group == self.metadata.num_row_groups() {
                return Ok(None);
            }
            self.group = Some(self.open_group(self.next_group).map_err(message)?);
            self.next_group += 1;
        }
    }
}

/// One row group of the file.
struct RowGroup {
    file: Arc<File>,
    metadata: Arc<ParquetMetaData>,
    number: usize,
}

impl RowGroup {
    fn group(&self) -> &RowGroupMetaData {
        self.metadata.row_group(self.number)
    }

    fn pages(&self, column: usize) -> ParquetResult<Box<dyn PageReader>> {
        let (group, file) = (self.group(), self.file.clone());
        let rows = usize::try_from(group.num_rows()).map_err(ParquetError::from)?;
        let column = group.column(column);
        if !matches!(column.compression(), Compression::ZSTD(_)) {
            return Ok(Box::new(SerializedPageReader::new(file, column, rows, None)?));
        }
        // Pages that are called uncompressed come as they are in the file.
        let plain = column.clone().into_builder().set_compression(Compression::UNCOMPRESSED);
        let pages = SerializedPageReader::new(file, &plain.build()?, rows, None)?;
        let most_bytes = column.uncompressed_size().unsigned_abs();
        Ok(Box::new(ZstdPages::new(pages, most_bytes)))
    }
}

impl RowGroups for RowGroup {
    fn num_rows(&self) -> usize {
        self.group().num_rows() as usize
    }

    fn column_chunks(&self, column: usize) -> ParquetResult<Box<dyn PageIterator>> {
        Ok(Box::new(OneChunk(Some(self.pages(column)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.group()))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The column chunk of one row group.
struct OneChunk(Option<ParquetResult<Box<dyn PageReader>>>);

impl Iterator for OneChunk {
    type Item = ParquetResult<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take()
    }
}

impl PageIterator for OneChunk {}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn message(error: ParquetError) -> String {
    error.to_string()
}
