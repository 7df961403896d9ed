//! The header of an array file, read without trusting it.
//!
//! The dictionary is parsed by the `npyz` crate. That parser multiplies shapes without checking for
//! overflow, recurses on nested brackets and reserves the claimed header length, so what reaches it
//! is first limited here: at most [`HEADER_LIMIT`] bytes (NumPy's own `max_header_size`), a few
//! levels of brackets, and plain decimal numbers whose product fits 64 bits.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};

use super::NpyError;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
const HEADER_LIMIT: u64 = 10_000;
/// Plain arrays nest two brackets deep, structured ones four; parsing time is exponential in this.
const NESTING_LIMIT: usize = 4;

/// An opened array file whose length matches its header.
#[derive(Debug)]
pub(super) struct ArrayFile<T, R = File> {
    /// The file, positioned at the first element.
    pub(super) file: R,
    /// Position of the first element in bytes.
    pub(super) data_start: u64,
    /// What the caller calls the type of the elements.
    pub(super) dtype: T,
    /// Length of each dimension; the product times the element size is the length of the data.
    pub(super) shape: Vec<u64>,
    /// Whether the columns of a matrix are stored one after the other, not its rows.
    pub(super) by_columns: bool,
    /// Size of the elements in bytes.
    element_bytes: usize,
    big_endian: bool,
}

impl<T, R: Read> ArrayFile<T, R> {
    /// Reads whole elements, as little-endian bytes.
    pub(super) fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(bytes)?;
        if self.big_endian {
            bytes.chunks_exact_mut(self.element_bytes).for_each(<[u8]>::reverse);
        }
        Ok(())
    }

    /// Bytes of all elements.
    pub(super) fn data_bytes(&self) -> usize {
        // `open` has checked that this is what follows the header.
        self.shape.iter().product::<u64>() as usize * self.element_bytes
    }
}

/// What the caller accepts.
pub(super) struct Accepted<T: 'static> {
    /// Kinds and sizes in bytes of elements (of either endianness), each with the caller's name for it.
    pub(super) elements: &'static [(TypeChar, u64, T)],
    /// The same for the error message.
    pub(super) elements_text: &'static str,
    /// Largest number of dimensions; the smallest is 1.
    pub(super) max_dimensions: usize,
    /// The same for the error message.
    pub(super) dimensions_text: &'static str,
    /// Whether a matrix may be stored by columns.
    pub(super) by_columns: bool,
}

/// Opens `path` and checks type, order, number of dimensions and length of the file.
pub(super) fn open<T: Copy>(path: &Path, accepted: &Accepted<T>) -> Result<ArrayFile<T>, NpyError> {
    let io_error = |source| NpyError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io_error)?;
    let file_bytes = file.metadata().map_err(io_error)?.len();
    of(path, file, file_bytes, accepted)
}

/// As [`open`], for `file_bytes` bytes of an array file; `path` is for errors.
pub(super) fn of<T: Copy, R: Read>(
    path: &Path,
    mut file: R,
    file_bytes: u64,
    accepted: &Accepted<T>,
) -> Result<ArrayFile<T, R>, NpyError> {
    let bytes = read_header_bytes(path, &mut file, file_bytes)?;
    let data_start = bytes.len() as u64;
    let header = parse(path, &bytes)?;
    let (element_bytes, dtype, big_endian) = check_element(path, &header.dtype(), accepted)?;
    let shape = header.shape().to_vec();
    // Both orders are the same but of matrices.
    let by_columns = header.order() != Order::C && shape.len() > 1;
    if by_columns && !accepted.by_columns {
        return Err(NpyError::FortranOrder { path: path.to_path_buf() });
    }
    if shape.is_empty() || shape.len() > accepted.max_dimensions {
        return Err(NpyError::Dimensions {
            path: path.to_path_buf(),
            expected: accepted.dimensions_text,
            got: shape.len(),
        });
    }
    check_length(path, &bytes, &shape, element_bytes, file_bytes)?;
    let element_bytes = element_bytes as usize;
    Ok(ArrayFile { file, data_start, dtype, shape, by_columns, element_bytes, big_endian })
}

/// Reads magic, version, length and dictionary: everything before the data.
fn read_header_bytes(
    path: &Path,
    file: &mut impl Read,
    file_bytes: u64,
) -> Result<Vec<u8>, NpyError> {
    let mut bytes = Vec::new();
    read_until(path, file, &mut bytes, 8, file_bytes)?;
    if !bytes.starts_with(MAGIC) {
        return Err(NpyError::Magic { path: path.to_path_buf() });
    }
    let length_bytes: usize = match (bytes[6], bytes[7]) {
        (1, 0) => 2,
        (2 | 3, 0) => 4,
        (major, minor) => {
            return Err(NpyError::Version { path: path.to_path_buf(), major, minor });
        }
    };
    read_until(path, file, &mut bytes, 8 + length_bytes, file_bytes)?;
    let length =
        bytes[8..].iter().rev().fold(0_u64, |length, &byte| (length << 8) | u64::from(byte));
    if length > HEADER_LIMIT {
        return Err(NpyError::HeaderTooLong {
            path: path.to_path_buf(),
            limit: HEADER_LIMIT,
            got: length,
        });
    }
    let end = bytes.len() + length as usize;
    read_until(path, file, &mut bytes, end, file_bytes)?;
    Ok(bytes)
}

/// Extends `bytes`, the start of the file, to `end` bytes.
fn read_until(
    path: &Path,
    file: &mut impl Read,
    bytes: &mut Vec<u8>,
    end: usize,
    file_bytes: u64,
) -> Result<(), NpyError> {
    if file_bytes < end as u64 {
        return Err(NpyError::Truncated {
            path: path.to_path_buf(),
            expected: end as u64,
            got: file_bytes,
        });
    }
    let start = bytes.len();
    bytes.resize(end, 0);
    file.read_exact(&mut bytes[start..])
        .map_err(|source| NpyError::Io { path: path.to_path_buf(), source })
}

fn parse(path: &Path, bytes: &[u8]) -> Result<NpyHeader, NpyError> {
    let header_error = |problem: String| NpyError::Header { path: path.to_path_buf(), problem };
    let text_start = if bytes[6] == 1 { 10 } else { 12 };
    let text = str::from_utf8(&bytes[text_start..])
        .map_err(|error| header_error(format!("expected utf-8, {error}")))?;
    check_plain(text).map_err(|problem| header_error(problem.to_owned()))?;
    if number_product(text).is_none() {
        return Err(NpyError::Overflow {
            path: path.to_path_buf(),
            header: text.trim_end().to_owned(),
        });
    }
    NpyHeader::from_reader(bytes).map_err(|error| header_error(error.to_string()))
}

/// Refuses what no plain array has and the parser below could choke on.
fn check_plain(text: &str) -> Result<(), &'static str> {
    let mut depth = 0_usize;
    let mut previous = ' ';
    for character in text.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '+' | '-' | '\\' | '.' => return Err("expected no sign, escape or fraction"),
            _ => {}
        }
        if depth > NESTING_LIMIT {
            return Err("expected fewer nested brackets");
        }
        if previous.is_ascii_digit() && (character.is_alphabetic() || character == '_') {
            return Err("expected decimal integers");
        }
        previous = character;
    }
    Ok(())
}

/// Product of all non-zero numbers in the text, or `None` when it exceeds 64 bits. It bounds every
/// product of dimensions and element size, zero dimensions left out.
fn number_product(text: &str) -> Option<u64> {
    text.split(|character: char| !character.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .try_fold(1_u64, |product, digits| {
            let number: u64 = digits.parse().ok()?;
            product.checked_mul(number.max(1))
        })
}

/// Size of the elements in bytes, what the caller calls their type, and whether they are big-endian.
fn check_element<T: Copy>(
    path: &Path,
    dtype: &DType,
    accepted: &Accepted<T>,
) -> Result<(u64, T, bool), NpyError> {
    if let DType::Plain(plain) = dtype {
        let found = (plain.type_char(), plain.size_field());
        let mut elements = accepted.elements.iter();
        if let Some(&(_, bytes, dtype)) = elements.find(|e| (e.0, e.1) == found) {
            return Ok((bytes, dtype, plain.endianness() == Endianness::Big));
        }
    }
    Err(NpyError::UnsupportedType {
        path: path.to_path_buf(),
        supported: accepted.elements_text,
        got: dtype.descr(),
    })
}

fn check_length(
    path: &Path,
    header: &[u8],
    shape: &[u64],
    element_bytes: u64,
    file_bytes: u64,
) -> Result<(), NpyError> {
    let data_bytes =
        shape.iter().try_fold(element_bytes, |bytes, &length| bytes.checked_mul(length));
    let total = data_bytes.and_then(|bytes| bytes.checked_add(header.len() as u64));
    let path = path.to_path_buf();
    match total {
        None => Err(NpyError::Overflow { path, header: format!("shape {shape:?}") }),
        Some(expected) if file_bytes < expected => {
            Err(NpyError::Truncated { path, expected, got: file_bytes })
        }
        Some(expected) if file_bytes > expected => {
            Err(NpyError::Trailing { path, expected, got: file_bytes })
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
