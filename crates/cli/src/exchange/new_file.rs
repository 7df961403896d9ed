//! A file that has its name when it is whole.
//!
//! What is written goes to a temporary file beside it, which is synced and renamed at the end: an
//! export that fails or is killed leaves no half file under the name that somebody waits for.

use std::fs::Permissions;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{CliError, Result};

/// Bytes that are written at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// A file that is being written.
#[derive(Debug)]
pub struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
    replaces: bool,
}

impl NewFile {
    /// Begins to write a file; with `replaces` one that exists is replaced in the end.
    ///
    /// # Errors
    /// If there is one and it is not to be replaced, or is no plain file.
    pub fn create(path: &Path, replaces: bool) -> Result<BufWriter<Self>> {
        if path.exists() && !path.is_file() {
            let problem = format!("`{}`: expected the name of a plain file", path.display());
            return Err(CliError::Usage(problem));
        }
        if path.exists() && !replaces {
            return Err(exists(path));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".part")
            // What is left of these is for the umask to say.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(CliError::file("write", path))?;
        let file = Self { file, path: path.to_path_buf(), replaces };
        Ok(BufWriter::with_capacity(BUFFER_BYTES, file))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// If it cannot be written, or there is one of this name by now.
    pub fn publish(file: BufWriter<Self>) -> Result<()> {
        let path = file.get_ref().path.clone();
        let whole = file.into_inner().map_err(|error| error.into_error());
        let Self { file, replaces, .. } = whole.map_err(CliError::file("write", &path))?;
        file.as_file().sync_all().map_err(CliError::file("write", &path))?;
        let named = match replaces {
            true => file.persist(&path),
            false => file.persist_noclobber(&path),
        };
        match named {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(exists(&path)),
            Err(error) => Err(CliError::file("write", &path)(error.error)),
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.as_file_mut().seek(to)
    }
}

fn exists(path: &Path) -> CliError {
    CliError::Usage(format!("`{}` exists already; --force replaces it", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let mut file = NewFile::create(&path, false).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!path.exists() && names() == 1);
        drop(file);
        assert_eq!(names(), 0, "nothing is left of what was given up");

        let mut file = NewFile::create(&path, false).unwrap();
        file.write_all(b"whole").unwrap();
        NewFile::publish(file).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        let refused = NewFile::create(&path, false).unwrap_err().to_string();
        assert!(refused.contains("a.txt` exists already; --force replaces it"), "{refused}");
        NewFile::publish(NewFile::create(&path, true).unwrap()).unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), names()), (Vec::new(), 1));
        assert!(NewFile::create(folder.path(), true).is_err(), "a folder is not replaced");
        assert!(NewFile::create(Path::new("/dev/null"), true).is_err());
    }

    #[test]
    fn what_appears_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let file = NewFile::create(&path, false).unwrap();
        std::fs::write(&path, "other").unwrap();
        assert!(NewFile::publish(file).unwrap_err().to_string().contains("exists already"));
        assert_eq!(std::fs::read(&path).unwrap(), b"other");
    }
}
