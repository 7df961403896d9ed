//! Checks RocksDB's logs before RocksDB reads them: every record must be as written, except one
//! truncated by the end of the file.
//!
//! RocksDB's write-ahead logs and its `MANIFEST` share a format: blocks of 32 KiB that hold
//! fragments of records, each with a checksum (CRC-32C), a length and a type ("Log File Format" in
//! RocksDB's wiki). RocksDB's own reader is lenient where we must not be: a length that points past
//! the last block, or the type of a recycled log in the first record, is taken for the end of the
//! log; zeros hide the rest of a block; and a recycled type in a later record is read again
//! forever.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::directory::local::failed;
use crate::error::{Result, StorageError};

const BLOCK_BYTES: usize = 32 << 10;
const HEADER_BYTES: usize = 7;

/// Position of a fragment in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Full,
    First,
    Middle,
    Last,
}

impl Piece {
    fn of(kind: u8) -> Option<Self> {
        match kind {
            1 => Some(Self::Full),
            2 => Some(Self::First),
            3 => Some(Self::Middle),
            4 => Some(Self::Last),
            _ => None,
        }
    }
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub path: PathBuf,
    /// End of the last complete record.
    pub whole: u64,
    /// Start of the truncated record, if there is one.
    pub cut: Option<u64>,
}

impl End {
    /// The number of a `MANIFEST`; `None` for write-ahead logs.
    pub fn manifest(&self) -> Option<u64> {
        self.path.file_name()?.to_str()?.strip_prefix("MANIFEST-")?.parse().ok()
    }
}

/// Checks all logs in a RocksDB folder and returns their ends; empty if there is no folder.
///
/// # Errors
/// [`StorageError::Corrupted`] with the file and offset of the first damage, and I/O errors.
pub(super) fn check_logs(folder: &Path) -> Result<Vec<End>> {
    logs(folder)?.iter().map(|log| read_log(log, &mut |_| {})).collect()
}

/// The end of the current `MANIFEST`, if there is one.
///
/// # Errors
/// As [`check_logs`].
pub(super) fn manifest(folder: &Path) -> Result<Option<End>> {
    let manifest = logs(folder)?.into_iter().find(|path| !is_write_ahead(path));
    manifest.map(|path| read_log(&path, &mut |_| {})).transpose()
}

/// True for write-ahead logs, false for a `MANIFEST`.
pub(super) fn is_write_ahead(log: &Path) -> bool {
    log.extension().is_some_and(|extension| extension == "log")
}

/// The sound records of a log, and its first damage. After damage, reading resumes where the
/// damaged fragment ends by its length, provided the rest of the block is sound, or else at the
/// next block: the content of a record is chosen by its writer and may look like another record.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn sound_records(path: &Path) -> Result<(Vec<Vec<u8>>, Option<StorageError>)> {
    let bytes = fs::read(path).map_err(failed("read", path))?;
    let (mut records, mut begun, mut damage) = (Vec::new(), None::<Vec<u8>>, None);
    let mut position = 0;
    while position < bytes.len() {
        let block_end = bytes.len().min((position / BLOCK_BYTES + 1) * BLOCK_BYTES);
        let block = &bytes[position..block_end];
        if block.len() < HEADER_BYTES {
            position = block_end;
            continue;
        }
        let Some((piece, content)) = sound_piece(block) else {
            if bytes[position..].iter().all(|&byte| byte == 0) {
                break;
            }
            let end = block.first_chunk::<HEADER_BYTES>().map_or(block.len(), piece_end);
            let next = block.get(end..).filter(|rest| all_sound(rest)).map(|_| end);
            let at = position as u64;
            damage.get_or_insert_with(|| corrupted(path, at, "a record is damaged"));
            begun = None;
            position = next.map_or(block_end, |next| position + next);
            continue;
        };
        position += HEADER_BYTES + content.len();
        // Fragments of records whose start or end is lost are dropped.
        match piece {
            Piece::Full => records.push(content.to_vec()),
            Piece::First => begun = Some(content.to_vec()),
            Piece::Middle => begun.iter_mut().for_each(|record| record.extend(content)),
            Piece::Last => records.extend(begun.take().map(|mut record| {
                record.extend(content);
                record
            })),
        }
    }
    Ok((records, damage))
}

/// True if the rest of a block consists only of sound fragments.
fn all_sound(mut block: &[u8]) -> bool {
    while block.len() >= HEADER_BYTES {
        let Some((_, content)) = sound_piece(block) else { return false };
        block = &block[HEADER_BYTES + content.len()..];
    }
    true
}

/// The sound fragment at the start of `block`, if there is one.
fn sound_piece(block: &[u8]) -> Option<(Piece, &[u8])> {
    let header = block.first_chunk::<HEADER_BYTES>()?;
    let [c0, c1, c2, c3, .., kind] = *header;
    let (piece, end) = (Piece::of(kind)?, piece_end(header));
    let content = block.get(HEADER_BYTES..end)?;
    let sum = crc32c::crc32c(&block[6..end]);
    (mask(sum) == u32::from_le_bytes([c0, c1, c2, c3])).then_some((piece, content))
}

/// End of a fragment, relative to its header.
fn piece_end(header: &[u8; HEADER_BYTES]) -> usize {
    HEADER_BYTES + usize::from(u16::from_le_bytes([header[4], header[5]]))
}

/// The write-ahead logs of a folder and the current manifest.
pub(super) fn logs(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", folder)(error)),
    };
    let current = fs::read_to_string(folder.join("CURRENT")).unwrap_or_default();
    let mut logs = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed("list", folder))?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_suffix(".log").unwrap_or_default();
        let is_log = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if is_log || (name.starts_with("MANIFEST-") && current.trim_end() == name) {
            logs.push(folder.join(&*name));
        }
    }
    logs.sort();
    Ok(logs)
}

fn read_log(path: &Path, visit: &mut dyn FnMut(Vec<u8>)) -> Result<End> {
    let file = File::open(path).map_err(failed("open", path))?;
    let mut reader = LogReader::new(file);
    loop {
        match reader.next_record() {
            Ok(Some(record)) => visit(record),
            Ok(None) => {
                let (path, whole, cut) = (path.to_owned(), reader.whole, reader.cut);
                return Ok(End { path, whole, cut });
            }
            Err((at, detail)) => match reader.failed {
                Some(error) => return Err(failed("read", path)(error)),
                None => return Err(corrupted(path, at, detail)),
            },
        }
    }
}

fn corrupted(path: &Path, at: u64, detail: &str) -> StorageError {
    let (path, section) = (path.to_owned(), "log".to_owned());
    StorageError::Corrupted { path, section, detail: format!("at byte {at}: {detail}") }
}

/// Offset in the file, and description of the damage.
type Damage = (u64, &'static str);

struct LogReader<R> {
    source: R,
    /// The current block.
    block: Vec<u8>,
    position: usize,
    /// Offset of the block in the file.
    block_start: u64,
    at_end: bool,
    failed: Option<io::Error>,
    /// Start of the record that the end of the file truncates.
    cut: Option<u64>,
    /// End of the last complete record.
    whole: u64,
}

impl<R: Read> LogReader<R> {
    fn new(source: R) -> Self {
        let (block, failed, cut) = (Vec::new(), None, None);
        Self { source, block, position: 0, block_start: 0, at_end: false, failed, cut, whole: 0 }
    }

    /// The next record; `None` at the end of the log, even if a record is truncated there.
    fn next_record(&mut self) -> std::result::Result<Option<Vec<u8>>, Damage> {
        let mut record: Option<Vec<u8>> = None;
        loop {
            let at = self.block_start + self.position as u64;
            let Some((piece, bytes)) = self.next_piece()? else {
                if record.is_some() {
                    self.cut.get_or_insert(at);
                }
                return Ok(None);
            };
            match (piece, record.as_mut()) {
                (Piece::Full, None) => {
                    self.whole = self.block_start + self.position as u64;
                    return Ok(Some(bytes));
                }
                (Piece::First, None) => record = Some(bytes),
                (Piece::Middle, Some(record)) => record.extend(bytes),
                (Piece::Last, Some(begun)) => {
                    begun.extend(bytes);
                    self.whole = self.block_start + self.position as u64;
                    return Ok(record);
                }
                (Piece::Full | Piece::First, Some(_)) => return Err((at, "a record has no end")),
                (Piece::Middle | Piece::Last, None) => return Err((at, "a record has no start")),
            }
        }
    }

    fn next_piece(&mut self) -> std::result::Result<Option<(Piece, Vec<u8>)>, Damage> {
        if self.block.len() - self.position < HEADER_BYTES {
            let at = self.block_start + self.position as u64;
            // Less than a header at the end of a block is zero padding; at the end of the file it
            // may be the start of a header.
            let rest_is_zero = self.block[self.position..].iter().all(|&byte| byte == 0);
            if !self.next_block()? {
                self.cut = (!rest_is_zero).then_some(at);
                return Ok(None);
            }
        }
        match sound_piece(&self.block[self.position..]) {
            Some((piece, content)) => {
                let content = content.to_vec();
                self.position += HEADER_BYTES + content.len();
                Ok(Some((piece, content)))
            }
            None => self.end_or_damage().map(|()| None),
        }
    }

    /// Decides what a position without a sound fragment is: the end of the log, perhaps with part
    /// of a record, or damage.
    fn end_or_damage(&mut self) -> std::result::Result<(), Damage> {
        let at = self.block_start + self.position as u64;
        let rest = &self.block[self.position..];
        let Some(header) = rest.first_chunk::<HEADER_BYTES>() else {
            self.cut = rest.iter().any(|&byte| byte != 0).then_some(at);
            return Ok(());
        };
        let (end, kind) = (piece_end(header), header[6]);
        if Piece::of(kind).is_none() {
            // A file system may have extended the file before the power failed.
            let is_end = kind == 0 && self.rest_is_zero(self.position)?;
            return if is_end { Ok(()) } else { Err((at, "a record has no known type")) };
        }
        if end > rest.len() {
            // Only the last record may extend past the last block.
            let is_last = (1..rest.len()).all(|next| sound_piece(&rest[next..]).is_none());
            if !(self.at_end && self.block.len() < BLOCK_BYTES && is_last) {
                return Err((at, "a record is too long"));
            }
        } else if !self.rest_is_zero(self.position + end)? {
            // A partial record can only be the last one.
            return Err((at, "the checksum does not match"));
        }
        self.cut = Some(at);
        Ok(())
    }

    /// True if there are only zeros from `from` in the block to the end of the file. Consumes the
    /// source after the block.
    fn rest_is_zero(&mut self, from: usize) -> std::result::Result<bool, Damage> {
        if self.block[from..].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
        let (mut part, mut at) = ([0; 4096], self.block_start + self.block.len() as u64);
        loop {
            match self.source.read(&mut part) {
                Ok(0) => return Ok(true),
                Ok(read) if part[..read].iter().any(|&byte| byte != 0) => return Ok(false),
                Ok(read) => at += read as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    return Err((at, "cannot be read"));
                }
            }
        }
    }

    /// Reads the next block; `false` at the end of the file.
    fn next_block(&mut self) -> std::result::Result<bool, Damage> {
        let at = self.block_start + self.block.len() as u64;
        self.block.clear();
        self.position = 0;
        self.block_start = at;
        if self.at_end {
            return Ok(false);
        }
        let read = self.source.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut self.block);
        if let Err(error) = read {
            self.failed = Some(error);
            return Err((at, "cannot be read"));
        }
        self.at_end = self.block.len() < BLOCK_BYTES;
        Ok(!self.block.is_empty())
    }
}

/// RocksDB masks the CRC of bytes that may themselves contain CRCs.
fn mask(sum: u32) -> u32 {
    sum.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes records in RocksDB's format.
    fn frame(records: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        for record in records {
            let (mut rest, mut first) = (&record[..], true);
            loop {
                let left = BLOCK_BYTES - bytes.len() % BLOCK_BYTES;
                if left < HEADER_BYTES {
                    bytes.resize(bytes.len() + left, 0);
                    continue;
                }
                let (piece, after) = rest.split_at(rest.len().min(left - HEADER_BYTES));
                let kind = match (first, after.is_empty()) {
                    (true, true) => 1,
                    (true, false) => 2,
                    (false, false) => 3,
                    (false, true) => 4,
                };
                let sum = crc32c::crc32c_append(crc32c::crc32c(&[kind]), piece);
                bytes.extend(mask(sum).to_le_bytes());
                bytes.extend((piece.len() as u16).to_le_bytes());
                bytes.push(kind);
                bytes.extend(piece);
                (rest, first) = (after, false);
                if rest.is_empty() {
                    break;
                }
            }
        }
        bytes
    }

    fn records() -> Vec<Vec<u8>> {
        [3, 0, 40_000, 100, 32_754, 70_000, 9].map(|len| vec![len as u8; len]).into()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("000001.log");
        fs::write(&path, bytes).unwrap();
        let mut records = Vec::new();
        read_log(&path, &mut |record| records.push(record)).map(|_| records)
    }

    #[test]
    fn records_come_back_and_a_cut_takes_whole_ones_from_the_end() {
        let (records, bytes) = (records(), frame(&records()));
        assert_eq!(read(&bytes).unwrap(), records);
        for len in (0..bytes.len()).step_by(97).chain(bytes.len() - 20..bytes.len()) {
            let found = read(&bytes[..len]).unwrap();
            assert_eq!(found, records[..found.len()], "cut at {len}");
            assert!(found.len() < records.len());
        }
        for zeros in [100, BLOCK_BYTES, 3 * BLOCK_BYTES + 5] {
            let padded = [&bytes[..], &vec![0; zeros]].concat();
            assert_eq!(read(&padded).unwrap(), records, "{zeros} zeros after the end");
            // The size of the file reached the disk, the data at its end did not.
            for torn in [1, 3, 8, 100, 40_000, 70_000] {
                let mut padded = padded.clone();
                padded[bytes.len() - torn..bytes.len()].fill(0);
                let found = read(&padded).unwrap();
                assert_eq!(found, records[..found.len()], "{torn} bytes and {zeros} zeros");
                assert!(found.len() < records.len());
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_named_or_looks_like_a_cut() {
        let (records, bytes) = (records(), frame(&records()));
        let mut named = 0;
        for at in (0..bytes.len()).step_by(61).chain([4, 5, 6, 14, 15, 16]) {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                match read(&damaged) {
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.contains("000001.log` is corrupted"), "{text}");
                        named += 1;
                    }
                    // A length in the last block that points past the file, or the padding.
                    Ok(found) => assert_eq!(found, records[..found.len()], "byte {at} bit {bit}"),
                }
            }
        }
        assert!(named > 15_000, "{named}");
    }

    #[test]
    fn what_looks_like_a_record_inside_of_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        let inner = frame(&[b"delete everything".to_vec()]);
        let crafted = [&[7; 100][..], &inner, &[7; 100]].concat();
        let records = vec![b"before".to_vec(), crafted.clone(), b"after".to_vec()];
        let bytes = frame(&records);
        let from = bytes.windows(crafted.len()).position(|window| window == crafted).unwrap();
        for at in from - HEADER_BYTES..from + crafted.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                fs::write(&path, &damaged).unwrap();
                let (found, damage) = sound_records(&path).unwrap();
                assert!(found.iter().all(|record| records.contains(record)), "{at} {found:?}");
                assert!(damage.is_some());
            }
        }
    }

    #[test]
    fn all_sound_records_are_found_around_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.log");
        let (records, bytes) = (records(), frame(&records()));
        for at in (0..bytes.len()).step_by(97) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let (found, damage) = sound_records(&path).unwrap();
            assert!(found.len() + 1 >= records.len(), "byte {at}: {}", found.len());
            assert!(found.iter().all(|record| records.contains(record)));
            // Padding zeros belong to no record.
            assert!(damage.is_some() || found == records, "byte {at}");
        }
        fs::write(&path, &bytes).unwrap();
        let (found, damage) = sound_records(&path).unwrap();
        assert_eq!((found, damage.is_none()), (records, true));
    }
}
