//! A disk that is told what it refuses.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lanner_storage::{Blob, Directory, LocalDirectory, Result, StorageError, WriteFile};

/// What becomes of files that are created, if their path contains some part.
#[derive(Debug, Clone, Default)]
pub enum Fate {
    #[default]
    Created,
    /// They wait until the fate changes.
    Held(String),
    /// A file is left, and it fails, as on a full disk.
    Refused(String),
    Panics(String),
}

/// A directory whose new files meet a fate. Clones share it.
#[derive(Debug, Clone)]
pub struct Disk {
    inner: LocalDirectory,
    /// The fate, and how often something was held since it was set.
    fate: Arc<(Mutex<(Fate, usize)>, Condvar)>,
    free_bytes: Arc<AtomicU64>,
    out_of_descriptors: Arc<AtomicBool>,
    gate: Arc<RwLock<()>>,
}

impl Disk {
    pub fn new(root: &std::path::Path) -> Self {
        let (fate, free_bytes) = (Arc::default(), Arc::new(AtomicU64::new(u64::MAX)));
        let inner = LocalDirectory::new(root);
        let (out_of_descriptors, gate) = (Arc::default(), Arc::default());
        Self { inner, fate, free_bytes, out_of_descriptors, gate }
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
        self.set(part.map_or(Fate::Created, |part| Fate::Refused(part.to_owned())));
    }

    /// Says what becomes of new files.
    pub fn set(&self, fate: Fate) {
        *self.fate.0.lock().unwrap() = (fate, 0);
        self.fate.1.notify_all();
    }

    /// Waits until somebody is held.
    pub fn wait_until_held(&self) {
        self.wait_until_so_many_are_held(1);
    }

    /// Waits until so many are held.
    pub fn wait_until_so_many_are_held(&self, number: usize) {
        let fate = self.fate.0.lock().unwrap();
        drop(self.fate.1.wait_while(fate, |(_, held)| *held < number).unwrap());
    }

    /// The fate of a file, once it is not held any more.
    fn fate_of(&self, path: &str) -> Fate {
        let mut fate = self.fate.0.lock().unwrap();
        while matches!(&fate.0, Fate::Held(part) if path.contains(part)) {
            fate.1 += 1;
            self.fate.1.notify_all();
            fate = self.fate.1.wait(fate).unwrap();
        }
        fate.0.clone()
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
        let fate = self.fate_of(path);
        let _passed = self.pass();
        let file = self.inner.create_file(path)?;
        match fate {
            Fate::Refused(part) if path.contains(&part) => {
                let source = std::io::ErrorKind::StorageFull.into();
                Err(StorageError::Io { op: "write", path: path.into(), source })
            }
            Fate::Panics(part) if path.contains(&part) => panic!("on purpose, at {path}"),
            _ => Ok(file),
        }
    }

    fn open(&self, path: &str) -> Result<Box<dyn Blob>> {
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

    fn folders(&self, path: &str) -> Result<Vec<String>> {
        let _passed = self.pass();
        self.inner.folders(path)
    }

    fn free_bytes(&self) -> Option<u64> {
        Some(self.free_bytes.load(Ordering::Relaxed))
    }
}
