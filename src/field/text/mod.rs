//! Text fields: an inverted index of the words in the payloads of a segment, and BM25 over it.
//!
//! The dictionary of terms, the postings and their positions are those of tantivy: one index of one
//! segment for each text field of a segment of ours, whose document numbers are our rows. It is sealed
//! with the segment, in sections of a file that the manifest names ([`directory`]); tantivy commits,
//! merges and deletes nothing. Scores are ours ([`search`]), since tantivy has constants for k1 and b,
//! and since their statistics are those of the live rows of a whole collection ([`Statistics`]).

mod analysis;
mod cursor;
mod directory;
mod excerpts;
mod index;
mod matching;
mod search;
mod statistics;
mod steps;
mod terms;
mod writer;

use std::sync::Arc;

use lanner_storage::{SectionFile, StorageError};
use roaring::RoaringBitmap;

pub use excerpts::{Excerpt, Marker};
pub use index::TextIndex;
pub use matching::matching_rows;
pub use search::{Bm25, Scored, TextSearch};
pub use statistics::Statistics;
pub use steps::Steps;
pub use terms::TextTerms;
pub use writer::{TextBuild, TextSource, index_payloads, write_text};

/// Consecutive rows of a segment that share an index.
#[derive(Debug, Clone)]
pub struct TextPart {
    /// The row of the index's first one.
    pub first_row: u32,
    /// Number of visible rows; the index may have more.
    pub rows: u32,
    /// The index.
    pub index: Arc<TextIndex>,
}

impl TextPart {
    /// The rows of the index that are no live rows of the segment, as rows of the index.
    pub fn hidden(&self, deleted: &RoaringBitmap) -> RoaringBitmap {
        let end = self.first_row.saturating_add(self.rows);
        let mut hidden: RoaringBitmap =
            deleted.range(self.first_row..end).map(|row| row - self.first_row).collect();
        hidden.insert_range(self.rows..self.index.rows());
        hidden
    }
}

/// The error of a file that tantivy could not read.
fn failed(file: Option<&SectionFile>, error: tantivy::TantivyError) -> crate::Error {
    use tantivy::TantivyError;
    let io = match &error {
        TantivyError::IoError(io) => Some(io.clone()),
        TantivyError::OpenReadError(tantivy::directory::error::OpenReadError::IoError {
            io_error,
            ..
        }) => Some(io_error.clone()),
        _ => None,
    };
    match io {
        Some(io) => unreadable(file, &io),
        None => broken(file, error.to_string()),
    }
}

/// As [`failed`], for an I/O error.
fn unreadable(file: Option<&SectionFile>, error: &std::io::Error) -> crate::Error {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<StorageError>());
    match cause {
        Some(StorageError::Corrupted { path, section, detail }) => {
            let (path, section, detail) = (path.clone(), section.clone(), detail.clone());
            StorageError::Corrupted { path, section, detail }.into()
        }
        _ => broken(file, error.to_string()),
    }
}

fn broken(file: Option<&SectionFile>, detail: String) -> crate::Error {
    match file {
        Some(file) => file.corrupted(directory::META, detail).into(),
        None => crate::Error::Internal(format!("an index of text in memory: {detail}")),
    }
}
