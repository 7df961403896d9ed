//! Files and folders that only their owner can access: modes 0600 and 0700 on systems with modes.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::directory::local::{failed, sync};
use crate::error::Result;

/// Base options for opening files; newly created files are private to their owner.
pub(crate) fn file() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Replaces a file atomically and durably: readers see either the old or the new content.
pub(crate) fn replace_file(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = folder.join(temporary_name(name));
    let opened = file().write(true).create(true).truncate(true).open(&temporary);
    opened
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, folder.join(name)))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .map_err(failed("write", &temporary))?;
    sync(folder)
}

/// Temporary name under which a file is written.
pub(crate) fn temporary_name(name: &str) -> String {
    format!("{name}.tmp")
}

/// Creates a folder, whose parent must exist.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    folder().create(path)
}

/// Creates a folder and its missing parents.
pub(crate) fn create_folders(path: &Path) -> io::Result<()> {
    folder().recursive(true).create(path)
}

fn folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}
