//! Byte layout of a section file.

use crate::checksum::checksum;

/// The format this version writes, and the newest it reads.
pub const FORMAT: u32 = 2;
/// First format with block checksums.
pub const BLOCK_FORMAT: u32 = 2;
/// Longest section name, in bytes.
pub const MAX_NAME_BYTES: usize = 48;

/// Alignment of sections: a cache line, and enough for any SIMD load.
pub const ALIGNMENT: u64 = 64;
/// Block size for checksums: small enough to be read for a single row.
pub const BLOCK_BYTES: usize = 64 << 10;
/// Name of the section with the checksums of all other sections' blocks, u64 each.
pub const BLOCKS: &str = "block_checksums";
pub const HEADER_BYTES: usize = 64;
pub const ENTRY_BYTES: usize = MAX_NAME_BYTES + 24;
pub const TRAILER_BYTES: usize = 40;

const HEADER_MAGIC: &[u8; 8] = b"LANNERSF";
const TRAILER_MAGIC: &[u8; 8] = b"LANNEREF";

/// One section of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionInfo {
    /// Name of the section.
    pub name: String,
    /// Offset in the file.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// XXH3 of its block checksums; in format 1, of its bytes.
    pub checksum: u64,
}

impl SectionInfo {
    /// Number of blocks.
    pub fn blocks(&self) -> usize {
        (self.len as usize).div_ceil(BLOCK_BYTES)
    }
}

/// The last bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    pub table_offset: u64,
    pub table_len: u64,
    pub table_checksum: u64,
    pub file_len: u64,
}

pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

pub fn padding(position: u64) -> u64 {
    position.wrapping_neg() % ALIGNMENT
}

pub fn encode_header() -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(HEADER_MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    let sum = checksum(&bytes[..56]);
    bytes[56..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Decodes the format number in a header; `Err` describes the damage.
pub fn decode_header(bytes: &[u8; HEADER_BYTES]) -> Result<u32, &'static str> {
    if &bytes[..8] != HEADER_MAGIC {
        return Err("it does not start with the magic bytes");
    }
    // All formats, including future ones, share this header, so that a damaged number is not taken
    // for a newer format.
    if checksum(&bytes[..56]) != u64_at(bytes, 56) {
        return Err("the checksum does not match");
    }
    Ok(u32_at(bytes, 8))
}

pub fn encode_table(sections: &[SectionInfo]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(sections.len() * ENTRY_BYTES);
    for section in sections {
        let start = bytes.len();
        bytes.extend_from_slice(section.name.as_bytes());
        bytes.resize(start + MAX_NAME_BYTES, 0);
        for number in [section.offset, section.len, section.checksum] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    bytes
}

/// Decodes a table entry; `Err` describes the damage.
pub fn decode_entry(bytes: &[u8]) -> Result<SectionInfo, &'static str> {
    let (name, numbers) = bytes.split_at(MAX_NAME_BYTES);
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(MAX_NAME_BYTES);
    let (name, rest) = name.split_at(end);
    let name = std::str::from_utf8(name).ok().filter(|name| is_name(name));
    match name {
        Some(name) if rest.iter().all(|&byte| byte == 0) => Ok(SectionInfo {
            name: name.to_owned(),
            offset: u64_at(numbers, 0),
            len: u64_at(numbers, 8),
            checksum: u64_at(numbers, 16),
        }),
        _ => Err("a section name is malformed"),
    }
}

pub fn encode_trailer(trailer: &Trailer) -> [u8; TRAILER_BYTES] {
    let mut bytes = [0; TRAILER_BYTES];
    let numbers =
        [trailer.table_offset, trailer.table_len, trailer.table_checksum, trailer.file_len];
    for (target, number) in bytes.chunks_exact_mut(8).zip(numbers) {
        target.copy_from_slice(&number.to_le_bytes());
    }
    bytes[32..].copy_from_slice(TRAILER_MAGIC);
    bytes
}

/// Decodes the trailer; `Err` describes the damage.
pub fn decode_trailer(bytes: &[u8]) -> Result<Trailer, &'static str> {
    if &bytes[32..] != TRAILER_MAGIC {
        return Err("it does not end with the magic bytes");
    }
    Ok(Trailer {
        table_offset: u64_at(bytes, 0),
        table_len: u64_at(bytes, 8),
        table_checksum: u64_at(bytes, 16),
        file_len: u64_at(bytes, 24),
    })
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}
