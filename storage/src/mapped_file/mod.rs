//! Read-only files mapped into memory. The only unsafe code of this crate.

mod lost_pages;
mod shared;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;

use self::lost_pages::Watch;
pub use self::shared::SharedBytes;
use crate::blob::{Access, Blob, BlobReader};
use crate::error::{Result, StorageError};

/// A local, immutable file, mapped into memory.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    mapping: Arc<Mapping>,
    /// The whole file.
    bytes: Bytes,
}

/// Lives as long as any of its bytes are held.
#[derive(Debug)]
struct Mapping {
    // Declared before the mapping, so that it is dropped first.
    watch: Option<Watch>,
    map: Option<Mmap>,
}

/// Owner of a mapping behind `Bytes`.
struct Holder(Arc<Mapping>);

impl AsRef<[u8]> for Holder {
    fn as_ref(&self) -> &[u8] {
        self.0.map.as_deref().unwrap_or_default()
    }
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// [`StorageError::Io`] if it cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |source| StorageError::Io { op: "map", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        let map = if len == 0 {
            None
        } else {
            // SAFETY: the map is read-only and has the bounds of the file. The bytes do not change
            // while it lives: this process writes a file once, syncs it and renames its folder into
            // place before mapping it, and never modifies or truncates it afterwards (removing it
            // leaves the map valid); other processes are kept out by the database lock. Changing
            // files under a running database anyway makes reads undefined, as with every mapped
            // file; unreadable pages become zeros, see `lost_pages`. No alignment or CPU feature is
            // assumed.
            Some(unsafe { Mmap::map(&file) }.map_err(failed)?)
        };
        let watch = map.as_deref().map(Watch::new);
        let mapping = Arc::new(Mapping { watch, map });
        let bytes = Bytes::from_owner(Holder(Arc::clone(&mapping)));
        Ok(Self { path: path.to_owned(), mapping, bytes })
    }

    fn failed(&self, op: &'static str, source: std::io::Error) -> StorageError {
        StorageError::Io { op, path: self.path.clone(), source }
    }

    /// A range as indices; an error if it is out of bounds.
    fn inside(&self, op: &'static str, range: &Range<u64>) -> Result<Range<usize>> {
        if range.start > range.end || range.end > self.size_bytes() {
            return Err(self.failed(op, std::io::ErrorKind::InvalidInput.into()));
        }
        Ok(range.start as usize..range.end as usize)
    }
}

impl Blob for MappedFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Slices the mapping: nothing is read or copied.
    fn bytes(&self, range: Range<u64>) -> Result<Bytes> {
        Ok(self.bytes.slice(self.inside("read", &range)?))
    }

    /// Opens the file again for reads that bypass the mapping, so that a read failure of the disk
    /// is an error and not a page of zeros.
    fn reader(&self) -> Result<Box<dyn BlobReader + '_>> {
        let file = File::open(&self.path).map_err(|source| self.failed("open", source))?;
        Ok(Box::new(FileReader { path: &self.path, file }))
    }

    fn check_pages(&self) -> Result<()> {
        match &self.mapping.watch {
            Some(watch) if watch.is_lost() => {
                let lost = std::io::Error::other("a page of it is lost");
                Err(self.failed("read", lost))
            }
            _ => Ok(()),
        }
    }

    fn advise(&self, range: Range<u64>, access: Access) -> Result<()> {
        let range = self.inside("advise on", &range)?;
        let Some(map) = self.mapping.map.as_ref().filter(|_| !range.is_empty()) else {
            return Ok(());
        };
        let advice = match access {
            Access::Ordered => memmap2::Advice::Normal,
            Access::Random => memmap2::Advice::Random,
            Access::Soon => memmap2::Advice::WillNeed,
        };
        map.advise_range(advice, range.start, range.len())
            .map_err(|source| self.failed("advise on", source))
    }

    /// Subject to the limit on locked memory (`RLIMIT_MEMLOCK`).
    fn lock(&self) -> Result<()> {
        let lock = |map: &Mmap| map.lock().map_err(|source| self.failed("lock in memory", source));
        self.mapping.map.as_ref().map_or(Ok(()), lock)
    }
}

/// A file read by system calls.
struct FileReader<'f> {
    path: &'f Path,
    file: File,
}

impl BlobReader for FileReader<'_> {
    fn read(&self, bytes: &mut [u8], position: u64) -> Result<()> {
        let failed = |source| StorageError::Io { op: "read", path: self.path.to_owned(), source };
        self.file.read_exact_at(bytes, position).map_err(failed)
    }

    fn read_ahead(&self) {
        // A hint: without it, reads are slower.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::Sequential);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_page_is_an_error_of_its_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, vec![7; 1 << 20]).unwrap();
            (MappedFile::open(&path).unwrap(), path)
        };
        let ((sound, _), (cut, path)) = (file("sound"), file("cut"));
        assert_eq!(cut.bytes[1 << 19], 7);
        cut.check_pages().unwrap();
        // Pages past the end of the file are unreadable, like those of a bad sector.
        let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        writer.set_len(4096).unwrap();
        let sum = |file: &MappedFile| file.bytes.iter().map(|&b| u64::from(b)).sum::<u64>();
        assert_eq!(sum(&cut), 7 * 4096);
        let error = cut.check_pages().unwrap_err().to_string();
        assert!(error.contains("cut`: a page of it is lost"), "{error}");
        assert_eq!(sum(&sound), 7 << 20);
        sound.check_pages().unwrap();
        drop(cut);
        let (again, _) = file("cut");
        again.check_pages().unwrap();
    }
}
