//! Arrow IPC: files, which are Feather 2, too, and streams.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader, read_footer_length};
use arrow_ipc::{Block, root_as_footer};
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
        if start == MAGIC {
            check_lengths(&mut file)?;
        }
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

/// Compares the lengths in the footer with that of the file: the reader allocates what they say. It reads
/// what streams say bit by bit.
fn check_lengths(file: &mut File) -> Result<(), String> {
    const END_BYTES: usize = 10;
    let failed = |error: std::io::Error| error.to_string();
    let length = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let mut end = [0; END_BYTES];
    file.seek(SeekFrom::End(-(END_BYTES as i64))).map_err(failed)?;
    file.read_exact(&mut end).map_err(failed)?;
    let footer_bytes = (read_footer_length(end).map_err(message)? + END_BYTES) as u64;
    let start = length.checked_sub(footer_bytes).ok_or_else(|| {
        format!("expected a footer within {length} bytes, got one of {footer_bytes}")
    })?;
    let mut footer = Vec::new();
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    file.by_ref().take(footer_bytes - END_BYTES as u64).read_to_end(&mut footer).map_err(failed)?;
    let footer = root_as_footer(&footer).map_err(|error| error.to_string())?;
    let blocks = [footer.dictionaries(), footer.recordBatches()];
    for block in blocks.into_iter().flatten().flatten() {
        if !is_within(block, length) {
            return Err(format!("expected record batches within {length} bytes, got {block:?}"));
        }
    }
    file.rewind().map_err(failed)
}

fn is_within(block: &Block, length: u64) -> bool {
    let parts = [block.offset(), block.metaDataLength().into(), block.bodyLength()];
    let end = parts.into_iter().try_fold(0_u64, |end, part| {
        u64::try_from(part).ok().and_then(|part| end.checked_add(part))
    });
    end.is_some_and(|end| end <= length)
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
