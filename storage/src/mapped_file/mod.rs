//! Read-only files mapped into memory. The only unsafe code of this crate.

mod lost_pages;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use self::lost_pages::Watch;
use crate::error::{Result, StorageError};

/// How a part of a mapped file will be read: a hint for the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// In order, more or less: what surrounds a page that is missing is read with it.
    Ordered,
    /// Here and there: only the page that is missing is read.
    Random,
    /// Soon: it is read ahead of use, also where access is random otherwise.
    Soon,
}

/// The bytes of a file that no longer changes.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    // Before the mapping, which it watches.
    watch: Option<Watch>,
    map: Option<Mmap>,
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
            // SAFETY: the map is read-only and its bounds are those of the file. The bytes stay
            // as they are while it lives: this process writes a file once, syncs it and renames
            // its folder into place before it maps it, and never modifies or truncates it after
            // (removing it leaves the map valid); other processes are kept out by the database
            // lock. Who changes files under a running database in spite of that makes reads
            // undefined, as with every mapped file; pages that cannot be read become zeros, see
            // `lost_pages`. No alignment or CPU feature is assumed.
            Some(unsafe { Mmap::map(&file) }.map_err(failed)?)
        };
        let watch = map.as_deref().map(Watch::new);
        Ok(Self { path: path.to_owned(), watch, map })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }

    /// Whether all that was read of the mapping is what is in the file. A page that the disk could
    /// not read was replaced by zeros.
    ///
    /// # Errors
    /// [`StorageError::Io`] if there was such a page.
    pub fn check_pages(&self) -> Result<()> {
        match &self.watch {
            Some(watch) if watch.is_lost() => {
                let lost = std::io::Error::other("a page of it is lost");
                Err(self.failed("read", lost))
            }
            _ => Ok(()),
        }
    }

    /// Opens the file again, to be read without the mapping: what the disk cannot read is then an
    /// error and not the end of the process.
    ///
    /// # Errors
    /// [`StorageError::Io`] if it is no longer there or cannot be opened.
    pub(crate) fn reader(&self) -> Result<FileReader<'_>> {
        let failed = |source| StorageError::Io { op: "open", path: self.path.clone(), source };
        Ok(FileReader { path: &self.path, file: File::open(&self.path).map_err(failed)? })
    }

    /// The file, for errors.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says how the bytes of `range` will be read.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the range is out of bounds or the system does not know the advice;
    /// reading works as before.
    pub fn advise(&self, range: Range<usize>, access: Access) -> Result<()> {
        let Some(map) = self.map.as_ref().filter(|_| !range.is_empty()) else { return Ok(()) };
        if range.end > map.len() {
            return Err(self.failed("advise on", std::io::ErrorKind::InvalidInput.into()));
        }
        let advice = match access {
            Access::Ordered => memmap2::Advice::Normal,
            Access::Random => memmap2::Advice::Random,
            Access::Soon => memmap2::Advice::WillNeed,
        };
        map.advise_range(advice, range.start, range.len())
            .map_err(|source| self.failed("advise on", source))
    }

    /// Reads the whole file and keeps it in memory as long as this lives.
    ///
    /// # Errors
    /// [`StorageError::Io`] if the limit on locked memory (`RLIMIT_MEMLOCK`) does not allow it;
    /// reading works as before.
    pub fn lock(&self) -> Result<()> {
        let lock = |map: &Mmap| map.lock().map_err(|source| self.failed("lock in memory", source));
        self.map.as_ref().map_or(Ok(()), lock)
    }

    fn failed(&self, op: &'static str, source: std::io::Error) -> StorageError {
        StorageError::Io { op, path: self.path.clone(), source }
    }
}

/// A file that is read by system calls.
pub(crate) struct FileReader<'f> {
    path: &'f Path,
    file: File,
}

impl FileReader<'_> {
    /// Fills `bytes` from a position of the file on.
    pub fn read(&self, bytes: &mut [u8], position: u64) -> Result<()> {
        let failed = |source| StorageError::Io { op: "read", path: self.path.to_owned(), source };
        self.file.read_exact_at(bytes, position).map_err(failed)
    }

    /// The bytes of a range.
    pub fn bytes(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.read(&mut bytes, range.start)?;
        Ok(bytes)
    }

    /// Says that the file is read in order.
    pub fn read_ahead(&self) {
        // A hint: if it is refused, reading is slower.
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
        assert_eq!(cut.as_slice()[1 << 19], 7);
        cut.check_pages().unwrap();
        // Pages that lie behind the end of the file cannot be read, as those of a bad sector.
        let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        writer.set_len(4096).unwrap();
        let sum = |file: &MappedFile| file.as_slice().iter().map(|&b| u64::from(b)).sum::<u64>();
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
