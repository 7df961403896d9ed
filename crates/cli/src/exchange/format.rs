//! Which format a file has: by its name, or by its first bytes.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::ValueEnum;

use crate::error::{CliError, Result};

/// A format of files that hold points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A JSON object a line: all that a point has
    Jsonl,
    /// A table: ids, vectors and payloads as columns
    Parquet,
    /// The same as an Arrow IPC file (Feather 2); streams are read, too
    Arrow,
    /// The vectors of one field, as NumPy stores them
    Npy,
    /// The vectors of one field, as the TEXMEX collections store them
    Fvecs,
    /// Vectors of bytes of the TEXMEX collections; read only
    Bvecs,
}

/// First bytes of files, by which they are known whatever their names.
const MAGIC: [(&[u8], Known); 8] = [
    (b"PAR1", Known::Format(Format::Parquet)),
    (b"ARROW1", Known::Format(Format::Arrow)),
    // A message of an IPC stream.
    (b"\xff\xff\xff\xff", Known::Format(Format::Arrow)),
    (b"\x93NUMPY", Known::Format(Format::Npy)),
    (b"\x89HDF", Known::Foreign("HDF5", "read it by h5py and write it by the Python package")),
    (b"FEA1", Known::Foreign("Feather 1", "write it as Feather 2, which is Arrow IPC")),
    (b"PARE", Known::Foreign("Parquet with an encrypted footer", "decrypt it first")),
    (b"SQLite format 3", Known::Foreign("SQLite", "write its table as Parquet or JSON lines")),
];

enum Known {
    Format(Format),
    /// A format that is not read: its name, and what to do.
    Foreign(&'static str, &'static str),
}

const EXPECTED: &str =
    "expected a name ending in .parquet, .arrow, .feather, .jsonl, .npy, .fvecs or .bvecs";

impl Format {
    /// The format of a file to be read: by its ending or, if that says little, its first bytes.
    pub fn of_input(path: &Path) -> Result<Self> {
        // The numbers at the start of these can look like anything.
        match ending(path).as_deref() {
            Some("fvecs") => return Ok(Self::Fvecs),
            Some("bvecs") => return Ok(Self::Bvecs),
            Some("ivecs") => {
                let path = path.to_path_buf();
                return Err(lanner_eval::VectorsError::Integers { path }.into());
            }
            _ => {}
        }
        // Of a pipe nothing is read twice.
        if path.is_file()
            && let Some(known) = known(path)?
        {
            return match known {
                Known::Format(format) => Ok(*format),
                Known::Foreign(name, advice) => Err(CliError::Table {
                    path: path.to_path_buf(),
                    detail: format!("this is {name}, which is not read: {advice}"),
                }),
            };
        }
        if path.as_os_str() == "-" {
            return Ok(Self::Jsonl);
        }
        Self::of_output(path)
    }

    /// The format of a file to be written, by its ending.
    pub fn of_output(path: &Path) -> Result<Self> {
        let mut name = path.to_path_buf();
        // Texts may be compressed.
        if matches!(ending(path).as_deref(), Some("gz" | "zst")) {
            name.set_extension("");
        }
        match ending(&name).as_deref() {
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            _ if name != path => Err(unknown(path)),
            Some("parquet" | "pq") => Ok(Self::Parquet),
            Some("arrow" | "arrows" | "feather" | "ipc") => Ok(Self::Arrow),
            Some("npy") => Ok(Self::Npy),
            Some("fvecs") => Ok(Self::Fvecs),
            Some("bvecs") => Ok(Self::Bvecs),
            _ => Err(unknown(path)),
        }
    }

    /// Whether it is a table of columns.
    pub fn is_table(self) -> bool {
        matches!(self, Self::Parquet | Self::Arrow)
    }

    /// As `--format` names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Npy => "npy",
            Self::Fvecs => "fvecs",
            Self::Bvecs => "bvecs",
        }
    }
}

fn known(path: &Path) -> Result<Option<&'static Known>> {
    let failed = CliError::file("read", path);
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    read.map_err(failed)?;
    let found = MAGIC.iter().find(|(magic, _)| start.starts_with(magic));
    Ok(found.map(|(_, known)| known))
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

fn unknown(path: &Path) -> CliError {
    CliError::Usage(format!("`{}`: {EXPECTED}, or --format", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_written() {
        let of = |name: &str| Format::of_output(Path::new(name)).map_err(|error| error.to_string());
        for (name, format) in [
            ("a.jsonl", Format::Jsonl),
            ("a.b/c.NDJSON.gz", Format::Jsonl),
            ("a.parquet", Format::Parquet),
            ("a.feather", Format::Arrow),
            ("a.npy", Format::Npy),
            ("a.fvecs", Format::Fvecs),
        ] {
            assert_eq!(of(name), Ok(format), "{name}");
        }
        for name in ["a", "a.csv", "a.parquet.gz", "a.gz"] {
            assert!(of(name).unwrap_err().contains(EXPECTED), "{name}");
        }
    }

    #[test]
    fn first_bytes_say_what_is_read_whatever_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Format::of_input(&path).map_err(|error| error.to_string())
        };
        assert_eq!(of("part-0", b"PAR1..."), Ok(Format::Parquet));
        assert_eq!(of("a.feather", b"ARROW1\0\0"), Ok(Format::Arrow));
        assert_eq!(of("a.dat", b"\xff\xff\xff\xff\x10\0\0\0"), Ok(Format::Arrow));
        assert_eq!(of("a.fvecs", b"\xff\xff\xff\xff"), Ok(Format::Fvecs));
        assert_eq!(of("a.jsonl", b"{"), Ok(Format::Jsonl));
        assert!(of("a.feather", b"FEA1").unwrap_err().contains("Feather 1"));
        assert!(of("glove.hdf5", b"\x89HDF\r\n").unwrap_err().contains("HDF5"));
        assert!(of("truth.ivecs", &[2, 0, 0, 0]).unwrap_err().contains("--ground-truth"));
    }
}
