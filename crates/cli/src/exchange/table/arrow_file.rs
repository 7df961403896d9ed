//! Arrow IPC: files, which are Feather 2, too, and streams.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};

use super::file::Batches;
use crate::error::Result;

/// How a file begins; a stream does not.
const MAGIC: &[u8] = b"ARROW1";

/// The record batches of a file as they were written: the largest has to fit in memory.
pub struct ArrowBatches {
    reader: Reader,
}

enum Reader {
    File(Box<FileReader<BufReader<File>>>),
    Stream(Box<StreamReader<BufReader<File>>>),
}

impl ArrowBatches {
    /// Opens the file for some of its columns.
    pub fn open(path: &Path, columns: Option<&[usize]>) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let mut file = File::open(path).map_err(failed)?;
        let mut start = Vec::new();
        (&mut file).take(MAGIC.len() as u64).read_to_end(&mut start).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let (file, columns) = (BufReader::new(file), columns.map(<[usize]>::to_vec));
        let reader = if start == MAGIC {
            Reader::File(Box::new(FileReader::try_new(file, columns).map_err(message)?))
        } else {
            Reader::Stream(Box::new(StreamReader::try_new(file, columns).map_err(message)?))
        };
        Ok(Self { reader })
    }

    /// The columns of the file.
    pub fn schema(&self) -> SchemaRef {
        match &self.reader {
            Reader::File(reader) => reader.schema(),
            Reader::Stream(reader) => reader.schema(),
        }
    }
}

impl Batches for ArrowBatches {
    fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        let next = match &mut self.reader {
            Reader::File(reader) => reader.next(),
            Reader::Stream(reader) => reader.next(),
        };
        next.transpose().map_err(message)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn message(error: ArrowError) -> String {
    let text = error.to_string();
    if text.contains("zstd") {
        return "the file is compressed by zstd, which is read in Parquet but not in Arrow files: write \
                it without compression or by lz4"
            .to_owned();
    }
    text
}
