//! A database, in a folder or behind a server, and a folder for files beside it.

use std::path::PathBuf;

use super::program::{ok, refused};

/// A folder for files beside the database, and where that is: `--data DIR` or `--server ADDRESS`.
pub struct Case {
    folder: tempfile::TempDir,
    target: [String; 2],
}

impl Case {
    /// Files for the database at `flag` `place`.
    pub fn new(flag: &str, place: &str) -> Self {
        let target = [flag.to_owned(), place.to_owned()];
        Self { folder: tempfile::tempdir().unwrap(), target }
    }

    /// A file of this name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as an argument.
    pub fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// What a command on the database prints; it must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        ok(&[arguments, &[&self.target[0], &self.target[1]]].concat())
    }

    /// What a command on the database complains; it must fail.
    pub fn fail(&self, arguments: &[&str]) -> String {
        refused(&[arguments, &[&self.target[0], &self.target[1]]].concat())
    }
}
