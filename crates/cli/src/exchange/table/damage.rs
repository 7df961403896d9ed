//! Damaged and hostile files: whatever a byte is, there is an answer.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Once;

use lanner::{CollectionConfig, Metric, VectorField};

use super::{Mapping, TableFile, TableSource};
use crate::error::Result;
use crate::exchange::Format;
use crate::import::TableArguments;
use crate::input::Source;

fn zstd(version: u8) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    folder.join(format!("zstd-{version}.parquet"))
}

/// Reads all rows, as `import` does; returns how many of them are points.
fn read(path: &Path, format: Format) -> Result<usize> {
    let config = CollectionConfig::new().with_field("v", VectorField::single(2, Metric::Dot));
    let table = TableFile::open(path, format)?;
    let arguments = TableArguments::default();
    let mut source = TableSource::open(&table, Mapping::new(&table, &config, &arguments)?)?;
    let mut points = 0;
    loop {
        let entries = source.next(10)?;
        if entries.is_empty() {
            return Ok(points);
        }
        points += entries.iter().filter(|entry| entry.point.is_ok()).count();
    }
}

/// The rows of a Parquet file as an Arrow file, or stream.
fn as_arrow(parquet: &Path, path: &Path, stream: bool) {
    let table = TableFile::open(parquet, Format::Parquet).unwrap();
    let columns: Vec<usize> = (0..table.schema().fields().len()).collect();
    let (mut batches, file) = (table.batches(&columns).unwrap(), File::create(path).unwrap());
    let batch = batches.next().unwrap().unwrap();
    if stream {
        let mut writer = arrow_ipc::writer::StreamWriter::try_new(file, table.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    } else {
        let mut writer = arrow_ipc::writer::FileWriter::try_new(file, table.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }
}

/// Hundreds of panics become errors here; their backtraces would take most of the time.
fn without_reports() {
    static ONCE: Once = Once::new();
    ONCE.call_once(crate::leave_when_nobody_reads);
}

/// Reads copies of a file with a byte changed at every place, and copies that are cut short.
fn every_damage(path: &Path, format: Format, expected: usize) {
    without_reports();
    assert_eq!(read(path, format).unwrap(), expected, "{}", path.display());
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged");
    let (sound, mut refused) = (fs::read(path).unwrap(), 0);
    for place in 0..sound.len() {
        let mut bytes = sound.clone();
        bytes[place] ^= [0x01, 0x80, 0xff][place % 3];
        fs::write(&damaged, &bytes).unwrap();
        refused += usize::from(read(&damaged, format).is_err());
    }
    for place in (0..sound.len()).step_by(5) {
        fs::write(&damaged, &sound[..place]).unwrap();
        let cut = read(&damaged, format);
        // Streams and files may end between two messages.
        assert!(cut.is_err() || format == Format::Arrow, "cut at {place}");
    }
    assert!(refused > sound.len() / 20, "{refused} of {} were refused", sound.len());
}

#[test]
fn damaged_parquet_is_read_or_refused() {
    for version in [1, 2] {
        every_damage(&zstd(version), Format::Parquet, 40);
    }
}

#[test]
fn damaged_arrow_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    for stream in [false, true] {
        let path = folder.path().join("a.arrow");
        as_arrow(&zstd(1), &path, stream);
        every_damage(&path, Format::Arrow, 25);
    }
}
