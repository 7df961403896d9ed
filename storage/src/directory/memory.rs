//! An in-memory directory that behaves like an object store: a file appears as a whole when it is
//! synced, and is read by ranges, each of which is copied.
//!
//! It shows that the layers above do not depend on a file system. Its content lives only as long as
//! the process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::local::failed;
use super::{Directory, WriteFile, check_path};
use crate::blob::{Blob, BlobReader};
use crate::error::Result;

/// Address alignment promised by [`Blob::bytes`].
const ALIGNMENT: usize = 64;

/// A [`Directory`] in memory. Clones share state.
#[derive(Debug, Clone, Default)]
pub struct MemoryDirectory(Arc<Mutex<Tree>>);

#[derive(Debug, Default)]
struct Tree {
    folders: BTreeSet<String>,
    /// Files by path; `None` until synced.
    files: BTreeMap<String, Option<Bytes>>,
    handed_out_bytes: u64,
}

impl MemoryDirectory {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Total bytes returned by [`Blob::bytes`] so far.
    pub fn handed_out_bytes(&self) -> u64 {
        self.tree().handed_out_bytes
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a path below a folder.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// A path after a folder or file was renamed.
fn renamed(path: &str, from: &str, to: &str) -> Option<String> {
    match below(path, from) {
        Some(rest) => Some(format!("{to}/{rest}")),
        None => (path == from).then(|| to.to_owned()),
    }
}

impl Tree {
    fn exists(&self, path: &str) -> bool {
        self.folders.contains(path) || self.files.contains_key(path)
    }
}

impl Directory for MemoryDirectory {
    fn create_folder(&self, path: &str) -> Result<()> {
        check_path(path)?;
        let parents = path.match_indices('/').map(|(end, _)| path[..end].to_owned());
        self.tree().folders.extend(parents.chain([path.to_owned()]));
        Ok(())
    }

    fn create_file(&self, path: &str) -> Result<Box<dyn WriteFile>> {
        check_path(path)?;
        let mut tree = self.tree();
        if tree.exists(path) {
            return Err(failed("create", Path::new(path))(io::ErrorKind::AlreadyExists.into()));
        }
        tree.files.insert(path.to_owned(), None);
        let (directory, path) = (self.clone(), path.to_owned());
        Ok(Box::new(MemoryFile { directory, path, content: Vec::new() }))
    }

    fn open(&self, path: &str) -> Result<Box<dyn Blob>> {
        check_path(path)?;
        let content = self.tree().files.get(path).cloned().flatten();
        let missing = || failed("open", Path::new(path))(io::ErrorKind::NotFound.into());
        let (directory, path, content) =
            (self.clone(), PathBuf::from(path), content.ok_or_else(missing)?);
        Ok(Box::new(MemoryBlob { directory, path, content }))
    }

    fn sync_folder(&self, path: &str) -> Result<()> {
        check_path(path)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        check_path(from).and_then(|()| check_path(to))?;
        let mut tree = self.tree();
        if tree.exists(to) || !tree.exists(from) {
            let kind = if tree.exists(to) {
                io::ErrorKind::AlreadyExists
            } else {
                io::ErrorKind::NotFound
            };
            return Err(failed("rename", Path::new(from))(kind.into()));
        }
        let new_name = |path: String| renamed(&path, from, to).unwrap_or(path);
        tree.folders = std::mem::take(&mut tree.folders).into_iter().map(new_name).collect();
        let files = std::mem::take(&mut tree.files).into_iter();
        tree.files = files.map(|(path, content)| (new_name(path), content)).collect();
        Ok(())
    }

    fn remove_folder(&self, path: &str) -> Result<()> {
        check_path(path)?;
        let mut tree = self.tree();
        tree.folders.retain(|name| name != path && below(name, path).is_none());
        tree.files.retain(|name, _| below(name, path).is_none());
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        check_path(path)?;
        let tree = self.tree();
        let all = tree.folders.iter().chain(tree.files.keys());
        let names = all.filter_map(|name| below(name, path)).filter(|name| !name.contains('/'));
        Ok(names.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect())
    }

    fn folders(&self, path: &str) -> Result<Vec<String>> {
        let mut names = self.list(path)?;
        let tree = self.tree();
        names.retain(|name| tree.folders.contains(&format!("{path}/{name}")));
        Ok(names)
    }
}

struct MemoryFile {
    directory: MemoryDirectory,
    path: String,
    content: Vec<u8>,
}

impl Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for MemoryFile {
    fn sync(&mut self) -> Result<()> {
        let content = Bytes::copy_from_slice(&self.content);
        let mut tree = self.directory.tree();
        let Some(file) = tree.files.get_mut(&self.path) else {
            return Err(failed("sync", Path::new(&self.path))(io::ErrorKind::NotFound.into()));
        };
        *file = Some(content);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryBlob {
    directory: MemoryDirectory,
    path: PathBuf,
    content: Bytes,
}

impl MemoryBlob {
    fn range(&self, range: Range<u64>) -> Result<&[u8]> {
        let found = self.content.get(range.start as usize..range.end as usize);
        found.ok_or_else(|| failed("read", &self.path)(io::ErrorKind::UnexpectedEof.into()))
    }
}

impl Blob for MemoryBlob {
    fn path(&self) -> &Path {
        &self.path
    }

    fn size_bytes(&self) -> u64 {
        self.content.len() as u64
    }

    fn bytes(&self, range: Range<u64>) -> Result<Bytes> {
        let found = self.range(range)?;
        self.directory.tree().handed_out_bytes += found.len() as u64;
        let mut copy: Vec<u8> = Vec::with_capacity(ALIGNMENT + found.len());
        let start = copy.as_ptr().align_offset(ALIGNMENT);
        copy.resize(start, 0);
        copy.extend_from_slice(found);
        Ok(Bytes::from(copy).slice(start..))
    }

    fn reader(&self) -> Result<Box<dyn BlobReader + '_>> {
        Ok(Box::new(self))
    }
}

impl BlobReader for &MemoryBlob {
    fn read(&self, bytes: &mut [u8], position: u64) -> Result<()> {
        bytes.copy_from_slice(self.range(position..position + bytes.len() as u64)?);
        Ok(())
    }
}
