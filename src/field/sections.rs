//! Readers of typed sections: numbers, offsets and bitmaps.

use lanner_storage::SectionFile;
use roaring::RoaringBitmap;

use crate::error::{Error, Result};

/// A section as numbers, of which there must be `len`, if given.
///
/// # Errors
/// [`lanner_storage::StorageError::Corrupted`] if the section is missing or has another length.
pub fn slice<'f, T: bytemuck::AnyBitPattern>(
    file: &'f SectionFile,
    section: &str,
    len: Option<usize>,
) -> Result<&'f [T]> {
    Ok(file.numbers(file.find_numbers(section, len)?))
}

/// A section as a bitmap.
///
/// # Errors
/// As [`slice()`].
pub fn bitmap(file: &SectionFile, section: &str) -> Result<RoaringBitmap> {
    RoaringBitmap::deserialize_from(file.section(section)?)
        .map_err(|error| file.corrupted(section, error.to_string()).into())
}

/// Serializes a bitmap for a section.
///
/// # Errors
/// If the bitmap cannot be serialized.
pub fn bitmap_bytes(bitmap: &RoaringBitmap) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(bitmap.serialized_size());
    bitmap
        .serialize_into(&mut bytes)
        .map_err(|error| Error::Internal(format!("cannot encode a bitmap: {error}")))?;
    Ok(bytes)
}

/// Finds a section of `items` + 1 ascending offsets from 0 to `end`.
///
/// # Errors
/// [`lanner_storage::StorageError::Corrupted`] if they are not.
pub fn check_offsets(
    file: &SectionFile,
    section: &str,
    items: usize,
    end: u64,
) -> Result<lanner_storage::Section<u64>> {
    let found = file.find_numbers::<u64>(section, Some(items + 1))?;
    let offsets = file.numbers(found);
    if offsets.first() == Some(&0) && offsets.last() == Some(&end) && offsets.is_sorted() {
        return Ok(found);
    }
    Err(file.corrupted(section, format!("offsets do not rise from 0 to {end}")).into())
}
