//! A disk that is told what it refuses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lanner_storage::{Directory, LocalDirectory, MappedFile, Result, StorageError, WriteFile};

/// A directory that refuses to create files as long as it is told so. Clones share that.
#[derive(Debug, Clone)]
pub struct Disk {
    inner: LocalDirectory,
    refuses: Arc<Mutex<Option<String>>>,
    free_bytes: Arc<AtomicU64>,
    out_of_descriptors: Arc<AtomicBool>,
    gate: Arc<RwLock<()>>,
}

impl Disk {
    pub fn new(root: &std::path::Path) -> Self {
        let (refuses, free_bytes) = (Arc::default(), Arc::new(AtomicU64::new(u64::MAX)));
        let inner = LocalDirectory::new(root);
        let (out_of_descriptors, gate) = (Arc::default(), Arc::default());
        Self { inner, refuses, free_bytes, out_of_descriptors, gate }
    }

    /// Lets nothing happen until the guard is dropped, so that the files can be copied.
    pub fn hold(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap()
    }

    fn pass(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap()
    }

    /// Says whether opening files fails for lack of descriptors.
    pub fn run_out(&self, out_of_descriptors: bool) {
        self.out_of_descriptors.store(out_of_descriptors, Ordering::Relaxed);
    }

    /// Refuses files whose path contains this; `None` to refuse nothing.
    pub fn refuse(&self, part: Option<&str>) {
        *self.refuses.lock().unwrap() = part.map(str::to_owned);
    }

    pub fn set_free_bytes(&self, free_bytes: u64) {
        self.free_bytes.store(free_bytes, Ordering::Relaxed);
    }
}

impl Directory for Disk {
    fn create_folder(&self, path: &str) -> Result<()> {
        let _passed = self.pass();
        self.inner.create_folder(path)
    }

    fn create_file(&self, path: &str) -> Result<Box<dyn WriteFile>> {
        let _passed = self.pass();
        let file = self.inner.create_file(path)?;
        let refuses = self.refuses.lock().unwrap();
        if refuses.as_ref().is_some_and(|part| path.contains(part)) {
            // Leaves a file and fails, as a full disk does.
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(StorageError::Io { op: "write", path: path.into(), source });
        }
        Ok(file)
    }

    fn open(&self, path: &str) -> Result<MappedFile> {
        if self.out_of_descriptors.load(Ordering::Relaxed) {
            const EMFILE: i32 = 24;
            let source = std::io::Error::from_raw_os_error(EMFILE);
            return Err(StorageError::Io { op: "open", path: path.into(), source });
        }
        self.inner.open(path)
    }

    fn sync_folder(&self, path: &str) -> Result<()> {
        let _passed = self.pass();
        self.inner.sync_folder(path)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let _passed = self.pass();
        self.inner.rename(from, to)
    }

    fn remove_folder(&self, path: &str) -> Result<()> {
        let _passed = self.pass();
        self.inner.remove_folder(path)
    }

    fn list(&self, path: &str) -> Result<Vec<String>> {
        let _passed = self.pass();
        self.inner.list(path)
    }

    fn free_bytes(&self) -> Option<u64> {
        Some(self.free_bytes.load(Ordering::Relaxed))
    }
}
