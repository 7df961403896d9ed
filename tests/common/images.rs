//! Copies of a database as a kill would leave it, and damage done to them.

use std::fs;
use std::path::{Path, PathBuf};

use lanner::{Collection, Database, Include, Point};

/// The folder as it is on the disk at one moment, as if the process that owns it were killed.
///
/// RocksDB compacts in its own threads: a copy during which files came or went holds a list of tables
/// of before it and tables of after it, which no kill leaves. Such a copy is taken anew.
pub fn crash_image(root: &Path) -> tempfile::TempDir {
    loop {
        let before = lengths(root);
        let image = tempfile::tempdir().unwrap();
        copy_folder(root, image.path());
        if lengths(root) == before {
            return image;
        }
    }
}

/// How long each file is. RocksDB's own notes are left out: it writes them at any time, and reads
/// none.
fn lengths(root: &Path) -> Vec<(PathBuf, Option<u64>)> {
    let is_note = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"LOG"))
    };
    let files = files(root).into_iter().filter(|path| !is_note(path));
    // A file that is gone by now has no length.
    let length = |path: &Path| fs::metadata(path).ok().map(|file| file.len());
    files.map(|path| (path.clone(), length(&path))).collect()
}

pub fn copy_folder(from: &Path, to: &Path) {
    // A folder that a merge has renamed or removed by now: `crash_image` sees that files changed.
    let Ok(entries) = fs::read_dir(from) else { return };
    fs::create_dir_all(to).unwrap();
    for entry in entries {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy_folder(&path, &target) } else { drop(fs::copy(&path, target)) }
    }
}

/// All files below a folder, in their order.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // As in `copy_folder`.
    for entry in fs::read_dir(root).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The largest log of RocksDB.
pub fn log(root: &Path) -> PathBuf {
    let logs = files(&root.join("catalog")).into_iter();
    let logs = logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

pub fn flip(path: &Path, at: usize, bit: u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

pub fn truncate(path: &Path, len: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// All points of a collection.
pub fn points(collection: &Collection) -> lanner::Result<Vec<Point>> {
    let (mut points, mut after) = (Vec::new(), None);
    loop {
        let page = collection.scroll(after.as_ref(), 1000, Include::ALL)?;
        points.extend(page.points);
        after = page.next;
        if after.is_none() {
            return Ok(points);
        }
    }
}

/// All points of a collection of a database that is opened for it.
pub fn read(root: &Path, name: &str) -> lanner::Result<Vec<Point>> {
    points(&Database::open(root)?.collection(name)?)
}
