//! Row ranges of a matrix of vectors, as `f32`.
//!
//! One open file and a small buffer: reading a range seeks to it and converts as it goes, so a
//! matrix larger than memory can be indexed in blocks. Signed bytes follow the convention of
//! quantised token vectors, stored as round(127·x): a stored value `v` means `v / 127`. Other integers
//! mean themselves.

use std::io::{Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::f16;
use npyz::TypeChar;

use super::NpyError;
use super::header::{self, Accepted, ArrayFile};

/// A multiple of every element size.
const BUFFER_BYTES: usize = 1 << 16;

const ACCEPTED: Accepted<NpyType> = Accepted {
    elements: &[
        (TypeChar::Float, 2, NpyType::F16),
        (TypeChar::Float, 4, NpyType::F32),
        (TypeChar::Float, 8, NpyType::F64),
        (TypeChar::Int, 1, NpyType::I8),
        (TypeChar::Int, 2, NpyType::I16),
        (TypeChar::Int, 4, NpyType::I32),
        (TypeChar::Int, 8, NpyType::I64),
        (TypeChar::Uint, 1, NpyType::U8),
    ],
    elements_text: "'<f2', '<f4', '<f8', '|i1', '|u1', '<i2', '<i4' or '<i8'",
    max_dimensions: 2,
    dimensions_text: "1 or 2",
    by_columns: true,
};

/// Element type of a matrix file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NpyType {
    /// `<f2`: IEEE half precision; every value is exact in `f32`.
    F16,
    /// `<f4`: single precision, taken as it is.
    F32,
    /// `<f8`: double precision, rounded to the nearest `f32`.
    F64,
    /// `|i1`: signed byte `v`, read as `v / 127`.
    I8,
    /// `|u1`: unsigned byte.
    U8,
    /// `<i2`: integer.
    I16,
    /// `<i4`: integer, rounded to the nearest `f32`.
    I32,
    /// `<i8`: integer, rounded to the nearest `f32`.
    I64,
}

impl NpyType {
    /// Size of one element in the file, in bytes.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::F16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    fn extend(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::I8 => out.extend(bytes.iter().map(|&b| f32::from(b.cast_signed()) / 127.0)),
            Self::U8 => out.extend(bytes.iter().map(|&b| f32::from(b))),
            Self::I16 => {
                out.extend(bytes.as_chunks().0.iter().map(|&b| f32::from(i16::from_le_bytes(b))))
            }
            Self::I32 => {
                out.extend(bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b) as f32))
            }
            Self::I64 => {
                out.extend(bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f32))
            }
            Self::F16 => {
                out.extend(bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()))
            }
            Self::F32 => out.extend(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))),
            Self::F64 => {
                out.extend(bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b) as f32))
            }
        }
    }
}

/// An `.npy` file of shape `[rows, cols]`, open for reading by rows.
#[derive(Debug)]
pub struct NpyMatrix {
    path: PathBuf,
    array: ArrayFile<NpyType>,
    rows: usize,
    cols: usize,
    buffer: Vec<u8>,
}

impl NpyMatrix {
    /// Opens the matrix at `path` and checks its header against the length of the file.
    ///
    /// A one-dimensional array of length n is a matrix of n rows and one column.
    ///
    /// # Errors
    /// [`NpyError`] when the file is not a complete one- or two-dimensional array of one of the types of
    /// [`NpyType`], of either endianness and order, or its rows are empty.
    pub fn open(path: &Path) -> Result<Self, NpyError> {
        let array = header::open(path, &ACCEPTED)?;
        let length = |dimension: usize| {
            let length = array.shape.get(dimension).copied().unwrap_or(1);
            usize::try_from(length).map_err(|_| NpyError::Overflow {
                path: path.to_path_buf(),
                header: format!("shape {:?}", array.shape),
            })
        };
        let (rows, cols) = (length(0)?, length(1)?);
        if cols == 0 {
            return Err(NpyError::NoColumns { path: path.to_path_buf(), rows: rows as u64 });
        }
        Ok(Self { path: path.to_path_buf(), array, rows, cols, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Number of vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of values of each vector.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Type of the values in the file.
    pub fn dtype(&self) -> NpyType {
        self.array.dtype
    }

    /// Replaces the contents of `out` by the rows of `range`, one after the other, as `f32`.
    ///
    /// `out` ends with `range.len() * cols()` values; an empty range within the matrix is allowed.
    /// Values are not checked: NaN and infinities of the file come through.
    ///
    /// # Errors
    /// [`NpyError::RowRange`] when the range is not within the matrix (`out` is then unchanged),
    /// [`NpyError::Io`] when reading fails (`out` then holds part of the rows).
    pub fn read_rows(&mut self, range: Range<usize>, out: &mut Vec<f32>) -> Result<(), NpyError> {
        if range.start > range.end || range.end > self.rows {
            return Err(NpyError::RowRange {
                path: self.path.clone(),
                rows: self.rows,
                start: range.start,
                end: range.end,
            });
        }
        out.clear();
        // No overflow below: `open` has checked that rows * cols * size is the length of the data.
        let size = self.dtype().size_bytes();
        out.reserve_exact(range.len() * self.cols);
        let read = if self.array.by_columns {
            self.transpose(range, out)
        } else {
            let (start, bytes) = (range.start * self.cols * size, range.len() * self.cols * size);
            self.convert(self.array.data_start + start as u64, bytes, out)
        };
        read.map_err(|source| NpyError::Io { path: self.path.clone(), source })
    }

    /// Rows of a matrix that is stored by columns.
    fn transpose(&mut self, range: Range<usize>, out: &mut Vec<f32>) -> std::io::Result<()> {
        let size = self.dtype().size_bytes();
        let mut column = Vec::with_capacity(range.len());
        out.resize(range.len() * self.cols, 0.0);
        for number in 0..self.cols {
            column.clear();
            let start = (number * self.rows + range.start) * size;
            self.convert(self.array.data_start + start as u64, range.len() * size, &mut column)?;
            let places = out.iter_mut().skip(number).step_by(self.cols);
            places.zip(&column).for_each(|(place, &value)| *place = value);
        }
        Ok(())
    }

    fn convert(&mut self, start: u64, bytes: usize, out: &mut Vec<f32>) -> std::io::Result<()> {
        let dtype = self.array.dtype;
        self.array.file.seek(SeekFrom::Start(start))?;
        let mut left = bytes;
        while left > 0 {
            let part = &mut self.buffer[..left.min(BUFFER_BYTES)];
            self.array.read_exact(part)?;
            dtype.extend(part, out);
            left -= part.len();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{TempFile, array};
    use super::*;

    fn read_all(bytes: &[u8]) -> (NpyMatrix, Vec<f32>) {
        let file = TempFile::new(bytes);
        let mut matrix = NpyMatrix::open(&file.path).expect("matrix");
        let mut out = vec![9.0; 3];
        matrix.read_rows(0..matrix.rows(), &mut out).expect("rows");
        (matrix, out)
    }

    #[test]
    fn every_type_is_converted() {
        let values = [0.5_f32, -2.0, 65504.0, 1e-7];
        let single: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let double: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
        let half: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        let halves = values.map(|v| f16::from_f32(v).to_f32());
        let signed = [127.0 / 127.0, -1.0, -128.0 / 127.0, 1.0 / 127.0];
        for (descr, data, dtype, expected) in [
            ("<f4", single, NpyType::F32, values),
            ("<f8", double, NpyType::F64, values),
            ("<f2", half, NpyType::F16, halves),
            ("|i1", vec![127, 129, 128, 1], NpyType::I8, signed),
        ] {
            assert_eq!(data.len(), 4 * dtype.size_bytes());
            let (matrix, out) = read_all(&array(descr, "(2, 2)", &data));
            assert_eq!((matrix.rows(), matrix.cols(), matrix.dtype()), (2, 2, dtype));
            assert_eq!(out, expected, "{descr}");
        }
    }

    #[test]
    fn ranges_longer_than_the_buffer_are_read_exactly() {
        let (rows, cols) = (9_001_usize, 5_usize);
        let value = |index: usize| index as f32;
        let data: Vec<u8> = (0..rows * cols).flat_map(|i| value(i).to_le_bytes()).collect();
        assert!(data.len() > 2 * BUFFER_BYTES);
        let file = TempFile::new(&array("<f4", "(9001, 5)", &data));
        let mut matrix = NpyMatrix::open(&file.path).expect("matrix");
        let mut out = Vec::new();
        for range in [0..rows, 1..8_999, 7..8, 9_000..rows, 4..4, rows..rows] {
            matrix.read_rows(range.clone(), &mut out).expect("rows");
            let expected: Vec<f32> = (range.start * cols..range.end * cols).map(value).collect();
            assert_eq!(out, expected, "{range:?}");
        }
    }

    #[test]
    fn a_vector_is_a_matrix_of_one_column_and_empty_shapes_are_allowed() {
        let (matrix, out) = read_all(&array("|i1", "(2,)", &[0, 127]));
        assert_eq!((matrix.rows(), matrix.cols(), out), (2, 1, vec![0.0, 1.0]));
        let (matrix, out) = read_all(&array("<f4", "(0, 384)", &[]));
        assert_eq!((matrix.rows(), matrix.cols(), out), (0, 384, vec![]));
        for shape in ["(1000000000000, 0)", "(0, 0)"] {
            let file = TempFile::new(&array("<f4", shape, &[]));
            let error = NpyMatrix::open(&file.path).expect_err("empty rows").to_string();
            assert!(error.ends_with(&format!("at least one value, got shape {shape}")), "{error}");
        }
    }

    #[test]
    fn integers_mean_themselves_and_either_endianness_is_read() {
        let short: Vec<u8> = [1_i16, -2, 300, 4].iter().flat_map(|v| v.to_le_bytes()).collect();
        let int: Vec<u8> = [1_i32, -2, 300, 4].iter().flat_map(|v| v.to_be_bytes()).collect();
        let long: Vec<u8> = [1_i64, -2, 300, 4].iter().flat_map(|v| v.to_be_bytes()).collect();
        let float: Vec<u8> = [1.0_f32, -2.0, 300.0, 4.0].map(f32::to_be_bytes).concat();
        for (descr, data) in [("<i2", short), (">i4", int), (">i8", long), (">f4", float)] {
            let (_, out) = read_all(&array(descr, "(2, 2)", &data));
            assert_eq!(out, [1.0, -2.0, 300.0, 4.0], "{descr}");
        }
        assert_eq!(read_all(&array("|u1", "(1, 2)", &[0, 255])).1, [0.0, 255.0]);
    }

    #[test]
    fn columns_become_rows() {
        let (rows, cols) = (7, 3);
        let data: Vec<u8> = (0..rows * cols).flat_map(|i| (i as f32).to_be_bytes()).collect();
        let text = "{'descr': '>f4', 'fortran_order': True, 'shape': (7, 3), }\n";
        let file = TempFile::new(&super::super::fixture::with_header(text, &data));
        let mut matrix = NpyMatrix::open(&file.path).expect("matrix");
        let mut out = Vec::new();
        for range in [0..7, 2..5, 6..7, 3..3] {
            matrix.read_rows(range.clone(), &mut out).expect("rows");
            let row = |row: usize| (0..cols).map(move |column| (column * rows + row) as f32);
            assert_eq!(out, range.flat_map(row).collect::<Vec<f32>>());
        }
    }

    #[test]
    fn rows_outside_the_matrix_are_refused() {
        let file = TempFile::new(&array("|i1", "(3, 1)", &[1, 2, 3]));
        let mut matrix = NpyMatrix::open(&file.path).expect("matrix");
        let mut out = vec![5.0];
        let reversed = Range { start: 2, end: 1 };
        for range in [0..4, 4..4, reversed, 3..usize::MAX] {
            let error = matrix.read_rows(range, &mut out).expect_err("range");
            assert!(matches!(error, NpyError::RowRange { rows: 3, .. }), "{error}");
            assert_eq!(out, [5.0]);
        }
    }
}
