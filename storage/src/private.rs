//! Files and folders that only their owner can read: 0600 and 0700 on systems that have modes.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::Path;

/// Options to which the way of opening is added; what is created belongs to its owner alone.
pub(crate) fn file() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Creates a folder, whose parent must exist.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    folder().create(path)
}

/// Creates a folder and those it is in, as far as they are missing.
pub(crate) fn create_folders(path: &Path) -> io::Result<()> {
    folder().recursive(true).create(path)
}

fn folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}
