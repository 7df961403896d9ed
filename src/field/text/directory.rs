//! The files of a tantivy index as sections of one of our files.
//!
//! Written once from memory, and read as ranges whose blocks are verified against their checksums, so
//! that tantivy never parses a byte that is not the one it wrote.

use std::io;
use std::path::Path;
use std::sync::Arc;

use lanner_storage::{Section, SectionFile, SectionWriter};
use tantivy::directory::error::{DeleteError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    Directory, FileHandle, OwnedBytes, RamDirectory, WatchCallback, WatchHandle, WritePtr,
};
use tantivy::index::SegmentComponent;
use tantivy::{HasLen, Index};

use crate::error::Result;

/// tantivy's description of the index, as JSON.
pub const META: &str = "meta";
const META_FILE: &str = "meta.json";
/// The files of a tantivy segment by their extensions, which are also the names of their sections.
const FILES: [(&str, SegmentComponent); 6] = [
    ("term", SegmentComponent::Terms),
    ("idx", SegmentComponent::Postings),
    ("pos", SegmentComponent::Positions),
    ("fieldnorm", SegmentComponent::FieldNorms),
    ("fast", SegmentComponent::FastFields),
    ("store", SegmentComponent::Store),
];

/// Names of the sections whose bytes are verified when they are read instead of at open.
pub const ON_DEMAND: [&str; 2] = ["idx", "pos"];

/// A read-only directory over the sections of a file.
#[derive(Debug, Clone)]
pub struct SectionDirectory(pub Arc<SectionFile>);

impl SectionDirectory {
    fn section(&self, path: &Path) -> Option<&'static str> {
        if path == Path::new(META_FILE) {
            return Some(META);
        }
        let extension = path.extension()?.to_str()?;
        let (name, _) = FILES.iter().find(|(known, _)| *known == extension)?;
        self.0.has(name).then_some(*name)
    }

    fn open(&self, path: &Path) -> Result<SectionHandle, OpenReadError> {
        let missing = || OpenReadError::FileDoesNotExist(path.to_owned());
        let name = self.section(path).ok_or_else(missing)?;
        let failed = |error| OpenReadError::wrap_io_error(io::Error::other(error), path.to_owned());
        let section = self.0.find(name).map_err(failed)?;
        Ok(SectionHandle { file: Arc::clone(&self.0), section })
    }
}

/// A section as tantivy reads a file.
#[derive(Debug)]
struct SectionHandle {
    file: Arc<SectionFile>,
    section: Section,
}

impl HasLen for SectionHandle {
    fn len(&self) -> usize {
        self.file.bytes(self.section).len()
    }
}

impl FileHandle for SectionHandle {
    fn read_bytes(&self, range: std::ops::Range<usize>) -> io::Result<OwnedBytes> {
        let bytes = self.file.shared(self.section, range).map_err(io::Error::other)?;
        Ok(OwnedBytes::new(bytes))
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "a sealed index of text is read-only")
}

impl Directory for SectionDirectory {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(self.open(path)?))
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.section(path).is_some())
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let handle = self.open(path)?;
        let bytes = handle.read_bytes(0..handle.len());
        let failed = |error| OpenReadError::wrap_io_error(error, path.to_owned());
        Ok(bytes.map_err(failed)?.to_vec())
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        let (io_error, filepath) = (Arc::new(read_only()), path.to_owned());
        Err(DeleteError::IoError { io_error, filepath })
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(read_only(), path.to_owned()))
    }

    fn atomic_write(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

/// Writes the files of an index of one segment in memory as sections.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write_sections(writer: &mut SectionWriter, memory: &RamDirectory) -> Result<()> {
    let failed = |error| super::failed(None, error);
    let index = Index::open(memory.clone()).map_err(failed)?;
    let metas = index.searchable_segment_metas().map_err(failed)?;
    let files =
        metas.iter().flat_map(|meta| FILES.map(|(name, part)| (name, meta.relative_path(part))));
    let copy = |writer: &mut SectionWriter, name: &str, path: &Path| -> Result<()> {
        let bytes = match memory.open_read(path) {
            Ok(file) => file.read_bytes().map_err(|error| super::unreadable(None, &error))?,
            // Written only if there is something to say.
            Err(OpenReadError::FileDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(super::failed(None, error.into())),
        };
        Ok(writer.write_section(name, &bytes)?)
    };
    copy(writer, META, Path::new(META_FILE))?;
    for (name, path) in files {
        copy(writer, name, &path)?;
    }
    Ok(())
}
