//! What commands write beside what they print.

use std::path::Path;

use serde::Serialize;
use tempfile::TempDir;

use super::error::{CliError, Result};

/// Writes a value as indented JSON.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<()> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| CliError::Usage(format!("cannot write JSON: {error}")))?;
    write_text(path, &(json + "\n"))
}

/// Writes a text.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(CliError::file("write", path))
}

/// A folder that goes away with the command.
pub fn scratch() -> Result<TempDir> {
    let parent = std::env::temp_dir();
    let created = tempfile::Builder::new().prefix("lanner-").tempdir_in(&parent);
    created.map_err(CliError::file("create a folder in", &parent))
}
