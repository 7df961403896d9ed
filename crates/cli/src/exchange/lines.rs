//! Writes JSON lines into a file.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::{NewFile, Sink};
use crate::error::{CliError, Result};
use crate::points::as_json;
use lanner::Point;

/// A point a line, as `ingest --jsonl` and `import` read them.
pub struct LinesSink {
    path: PathBuf,
    file: BufWriter<NewFile>,
    points: u64,
}

impl LinesSink {
    /// Begins the file.
    pub fn create(path: &Path, replaces: bool) -> Result<Self> {
        Ok(Self { path: path.to_path_buf(), file: NewFile::create(path, replaces)?, points: 0 })
    }
}

impl Sink for LinesSink {
    fn write(&mut self, points: Vec<Point>) -> Result<()> {
        self.points += points.len() as u64;
        let mut lines = points.iter().map(as_json);
        let written = lines.try_for_each(|line| writeln!(self.file, "{line}"));
        written.map_err(CliError::file("write", &self.path))
    }

    fn finish(self: Box<Self>) -> Result<u64> {
        NewFile::publish(self.file)?;
        Ok(self.points)
    }
}
