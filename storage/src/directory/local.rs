//! A folder of the local file system.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{Directory, WriteFile, check_path, move_to_lost};
use crate::blob::Blob;
use crate::error::{Result, StorageError};
use crate::mapped_file::MappedFile;
use crate::private;

/// Size of the write buffer, in bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// Suffix of all file names written here. Other files are never removed.
const OURS: &str = ".sec";

/// A [`Directory`] under a folder of the local file system.
#[derive(Debug, Clone)]
pub struct LocalDirectory {
    root: PathBuf,
}

impl LocalDirectory {
    /// The tree under `root`, which must exist when the first folder is created.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path in the file system.
    ///
    /// # Errors
    /// [`StorageError::InvalidPath`].
    pub fn resolve(&self, path: &str) -> Result<PathBuf> {
        check_path(path)?;
        Ok(self.root.join(path))
    }
}

impl Directory for LocalDirectory {
    fn create_folder(&self, path: &str) -> Result<()> {
        check_path(path)?;
        let mut folder = self.root.clone();
        for part in path.split('/') {
            let parent = folder.clone();
            folder.push(part);
            match private::create_folder(&folder) {
                Ok(()) => sync(&parent)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                Err(error) => return Err(failed("create folder", &folder)(error)),
            }
        }
        Ok(())
    }

    fn create_file(&self, path: &str) -> Result<Box<dyn WriteFile>> {
        let path = self.resolve(path)?;
        let file = private::file().write(true).create_new(true).open(&path);
        let file = file.map_err(failed("create", &path))?;
        Ok(Box::new(LocalFile { path, writer: BufWriter::with_capacity(BUFFER_BYTES, file) }))
    }

    fn open(&self, path: &str) -> Result<Box<dyn Blob>> {
        Ok(Box::new(MappedFile::open(&self.resolve(path)?)?))
    }

    fn sync_folder(&self, path: &str) -> Result<()> {
        sync(&self.resolve(path)?)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.resolve(from)?, self.resolve(to)?);
        if to.exists() {
            return Err(failed("rename to", &to)(io::ErrorKind::AlreadyExists.into()));
        }
        fs::rename(&from, &to).map_err(failed("rename", &from))?;
        let mut parents = [from.parent(), to.parent()].into_iter().flatten();
        parents.try_for_each(sync).inspect_err(|_| {
            // The sync failed: undo the rename, as far as possible.
            let _ = fs::rename(&to, &from);
        })
    }

    fn remove_folder(&self, path: &str) -> Result<()> {
        let folder = self.resolve(path)?;
        for name in names(&folder, |entry| Ok(entry.file_type()?.is_file()))? {
            if name.ends_with(OURS) {
                let file = folder.join(name);
                fs::remove_file(&file).map_err(failed("remove", &file))?;
            }
        }
        match fs::remove_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                // The remaining files are not ours.
                move_to_lost(self, path, &path.replace('/', "-")).map(drop)
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &folder)(error))
            }
            _ => Ok(()),
        }
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        names(&self.resolve(path)?, |_| Ok(true))
    }

    fn folders(&self, path: &str) -> Result<Vec<String>> {
        // For a link, this is the type of the link itself.
        names(&self.resolve(path)?, |entry| Ok(entry.file_type()?.is_dir()))
    }

    fn free_bytes(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.root).ok()?;
        found.f_bavail.checked_mul(found.f_frsize)
    }
}

/// Sorted names of the entries that satisfy `wanted`; empty if the folder is missing.
fn names(path: &Path, wanted: impl Fn(&fs::DirEntry) -> io::Result<bool>) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", path)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("list", path))?;
        if wanted(&entry).map_err(failed("list", path))? {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

struct LocalFile {
    path: PathBuf,
    writer: BufWriter<File>,
}

impl Write for LocalFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl WriteFile for LocalFile {
    fn sync(&mut self) -> Result<()> {
        let synced = self.writer.flush().and_then(|()| self.writer.get_ref().sync_all());
        synced.map_err(failed("sync", &self.path))
    }

    fn evict(&mut self) {
        // A hint: without it, the pages are evicted when memory runs short.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(self.writer.get_ref(), 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// Makes the entries of a folder durable.
pub(crate) fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(failed("sync", folder))
}

/// Converts an I/O error to a [`StorageError`].
pub(crate) fn failed(op: &'static str, path: &Path) -> impl Fn(io::Error) -> StorageError {
    move |source| StorageError::Io { op, path: path.to_owned(), source }
}
