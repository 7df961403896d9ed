//! Parquet pages of zstd, decompressed by the pure Rust decoder that reads other zstd files here.
//!
//! The zstd of the `parquet` crate is a second C library. Polars writes zstd by default, so its files
//! are read all the same: the pages come as they are stored, and are decompressed on the way.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::serialized_reader::SerializedPageReader;
use ruzstd::decoding::StreamingDecoder;

/// The pages of a column chunk, whose metadata says that they are not compressed.
pub struct ZstdPages {
    stored: SerializedPageReader<File>,
    /// No page can be larger than all of the chunk.
    most_bytes: u64,
}

impl ZstdPages {
    /// Decompresses pages of a chunk of `most_bytes`.
    pub fn new(stored: SerializedPageReader<File>, most_bytes: u64) -> Self {
        Self { stored, most_bytes }
    }

    fn decompressed(&self, page: Page) -> Result<Page> {
        Ok(match page {
            Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                statistics,
            } => Page::DataPage {
                buf: self.bytes(&buf, 0)?,
                num_values,
                encoding,
                def_level_encoding,
                rep_level_encoding,
                statistics,
            },
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed: true,
                statistics,
            } => {
                // Levels come first and are never compressed.
                let levels = u64::from(def_levels_byte_len) + u64::from(rep_levels_byte_len);
                Page::DataPageV2 {
                    buf: self.bytes(&buf, levels as usize)?,
                    num_values,
                    encoding,
                    num_nulls,
                    num_rows,
                    def_levels_byte_len,
                    rep_levels_byte_len,
                    is_compressed: false,
                    statistics,
                }
            }
            page @ Page::DataPageV2 { .. } => page,
            Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
                Page::DictionaryPage { buf: self.bytes(&buf, 0)?, num_values, encoding, is_sorted }
            }
        })
    }

    /// The bytes, of which those behind the first `plain` are decompressed.
    fn bytes(&self, stored: &Bytes, plain: usize) -> Result<Bytes> {
        let (levels, mut frame) = stored
            .split_at_checked(plain)
            .ok_or_else(|| failed("levels are longer than their page"))?;
        let mut bytes = levels.to_vec();
        // A page without values may have no frame.
        if !frame.is_empty() {
            let decoder = StreamingDecoder::new(&mut frame).map_err(failed)?;
            let read = decoder.take(self.most_bytes.saturating_add(1)).read_to_end(&mut bytes);
            read.map_err(failed)?;
        }
        if bytes.len() as u64 > self.most_bytes {
            return Err(failed(format!(
                "expected a page of at most {} bytes, as its column chunk has, got more",
                self.most_bytes
            )));
        }
        Ok(bytes.into())
    }
}

fn failed(detail: impl ToString) -> ParquetError {
    ParquetError::General(format!("a page of zstd: {}", detail.to_string()))
}

impl Iterator for ZstdPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for ZstdPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.stored.get_next_page()?;
        page.map(|page| self.decompressed(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.stored.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.stored.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.stored.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let page = self.stored.take_deferred_dictionary()?;
        page.map(|page| self.decompressed(page)).transpose()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.stored.at_record_boundary()
    }
}
