//! Section files: named, aligned, checksummed byte sections, written once.
//!
//! `docs/file-format.md` draws the bytes. The frame (header, section table, trailer, padding) is
//! checked completely when a file is opened, so that no later access can leave its bounds; the
//! content of sections by [`SectionFile::verify`].

mod format;
mod reader;
mod writer;

pub use format::{FORMAT, MAX_NAME_BYTES, SectionInfo};
pub use reader::{Section, SectionFile};
pub use writer::{FileSummary, SectionWriter};
