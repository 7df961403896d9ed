//! Section files: named, aligned, checksummed byte sections, written once.
//!
//! `docs/file-format.md` describes the layout. The frame (header, section table, trailer, padding)
//! is verified completely when a file is opened, so that no later access can be out of bounds; the
//! content of sections is verified by [`SectionFile::verify`].

mod format;
mod reader;
mod writer;

pub use format::{FORMAT, MAX_NAME_BYTES, SectionInfo};
pub use reader::{Section, SectionFile};
pub use writer::{FileSummary, SectionWriter};
