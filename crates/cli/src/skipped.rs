//! The file of `ingest --skip-invalid`: which points were refused, and why.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::{CliError, Result};
use super::input::Place;
use lanner::PointId;

/// Reports refused points as JSON lines.
pub struct Skipped {
    path: PathBuf,
    file: BufWriter<File>,
    /// Points reported so far.
    pub count: u64,
}

/// A line of the file.
#[derive(Serialize)]
struct Report<'r> {
    #[serde(flatten)]
    place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'r PointId>,
    reason: &'r str,
}

impl Skipped {
    /// Creates the file or empties it, unless it is one of the inputs.
    pub fn create<'p>(path: &Path, mut inputs: impl Iterator<Item = &'p Path>) -> Result<Self> {
        let same = |input: &Path| match (input.canonicalize(), path.canonicalize()) {
            (Ok(input), Ok(path)) => input == path,
            _ => false,
        };
        if let Some(input) = inputs.find(|input| same(input)) {
            let input = input.display();
            let problem =
                format!("--skip-invalid: expected a file of its own, got the input `{input}`");
            return Err(CliError::Usage(problem));
        }
        let file = File::create(path).map_err(CliError::file("write", path))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), count: 0 })
    }

    /// Reports a refused point.
    pub fn report(&mut self, place: Place, id: Option<&PointId>, reason: &str) -> Result<()> {
        self.count += 1;
        let line = serde_json::to_writer(&mut self.file, &Report { place, id, reason });
        let written = line.map_err(Into::into).and_then(|()| self.file.write_all(b"\n"));
        written.map_err(CliError::file("write", &self.path))
    }

    /// Hands everything reported to the system.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush().map_err(CliError::file("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_place_id_and_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refused");
        let mut skipped = Skipped::create(&path, [path.as_path()].into_iter()).unwrap();
        skipped.report(Place::Line(3), Some(&"a".into()), "no \"such\" field").unwrap();
        skipped.report(Place::Row(0), None, "x").unwrap();
        skipped.flush().unwrap();
        let expected = "{\"line\":3,\"id\":\"a\",\"reason\":\"no \\\"such\\\" field\"}\n\
                        {\"row\":0,\"reason\":\"x\"}\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        let error = Skipped::create(&path, [path.as_path()].into_iter()).err().unwrap();
        assert!(error.to_string().contains("expected a file of its own"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected, "it was not emptied");
    }
}
