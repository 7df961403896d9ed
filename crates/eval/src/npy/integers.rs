//! Arrays of integers: offsets of ragged data, and the exact neighbours of queries.
//!
//! Offsets say which rows of a token matrix belong to which document: entry `i` of `n + 1` is the first row of document `i`, the last entry is the number of rows. A
//! wrong offset silently mixes the tokens of two documents, hence the checks.

use std::path::Path;

use npyz::TypeChar;

use super::NpyError;
use super::header::{self, Accepted, ArrayFile};

#[derive(Debug, Clone, Copy)]
enum OffsetType {
    I32,
    I64,
    U64,
}

const fn accepted(max_dimensions: usize, dimensions_text: &'static str) -> Accepted<OffsetType> {
    Accepted {
        elements: &[
            (TypeChar::Int, 4, OffsetType::I32),
            (TypeChar::Int, 8, OffsetType::I64),
            (TypeChar::Uint, 8, OffsetType::U64),
        ],
        elements_text: "'<i4', '<i8' or '<u8'",
        max_dimensions,
        dimensions_text,
        by_columns: false,
    }
}

const OFFSETS: Accepted<OffsetType> = accepted(1, "1");
const NEIGHBOURS: Accepted<OffsetType> = accepted(2, "2");

/// Rows nearest to each query, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbours {
    per_query: usize,
    rows: Vec<u64>,
}

impl Neighbours {
    /// From flat values, `per_query` (at least 1) a query.
    pub fn new(per_query: usize, rows: Vec<u64>) -> Self {
        assert!(per_query > 0 && rows.len().is_multiple_of(per_query), "whole queries");
        Self { per_query, rows }
    }

    /// Neighbours of each query.
    pub fn per_query(&self) -> usize {
        self.per_query
    }

    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.rows.len() / self.per_query
    }

    /// The neighbours of a query, best first.
    pub fn of(&self, query: usize) -> &[u64] {
        &self.rows[query * self.per_query..][..self.per_query]
    }

    /// Those of some queries, in their order.
    pub fn of_queries(&self, wanted: impl Fn(usize) -> bool) -> Self {
        let rows = (0..self.queries()).filter(|&query| wanted(query));
        Self::new(self.per_query, rows.flat_map(|query| self.of(query)).copied().collect())
    }
}

/// Reads the exact neighbours of queries: a two-dimensional array (`<i4`, `<i8` or `<u8`) of row
/// numbers, one line a query, best first.
///
/// # Errors
/// [`NpyError`] when the file is not such an array, or a row number is negative.
pub fn read_npy_neighbours(path: &Path) -> Result<Neighbours, NpyError> {
    let mut array = header::open(path, &NEIGHBOURS)?;
    let per_query = match *array.shape.as_slice() {
        [_, columns] if columns > 0 => columns as usize,
        ref shape => {
            let (path, got) = (path.to_path_buf(), shape.len());
            return Err(NpyError::Dimensions { path, expected: "2 (the last not 0)", got });
        }
    };
    let rows = read_values(path, &mut array)?;
    Ok(Neighbours { per_query, rows })
}

/// Reads a one-dimensional array of offsets (`<i4`, `<i8` or `<u8`) whole.
///
/// The result is never empty, starts with 0 and never decreases; an entry equal to the one before
/// it is a document without rows. The last entry is not compared with any matrix.
///
/// # Errors
/// [`NpyError`] when the file is not such an array.
pub fn read_offsets(path: &Path) -> Result<Vec<u64>, NpyError> {
    let mut array = header::open(path, &OFFSETS)?;
    let offsets = read_values(path, &mut array)?;
    match offsets.first() {
        Some(0) => {}
        Some(&got) => {
            return Err(NpyError::FirstOffset { path: path.to_path_buf(), got });
        }
        None => {
            return Err(NpyError::NoOffsets { path: path.to_path_buf() });
        }
    }
    let decreasing = offsets.windows(2).position(|pair| pair[1] < pair[0]);
    if let Some(before) = decreasing {
        return Err(NpyError::DecreasingOffset {
            path: path.to_path_buf(),
            index: before + 1,
            previous: offsets[before],
            got: offsets[before + 1],
        });
    }
    Ok(offsets)
}

fn read_values(path: &Path, array: &mut ArrayFile<OffsetType>) -> Result<Vec<u64>, NpyError> {
    let mut bytes = vec![0; array.data_bytes()];
    array
        .read_exact(&mut bytes)
        .map_err(|source| NpyError::Io { path: path.to_path_buf(), source })?;
    let signed = |(index, value): (usize, i64)| {
        u64::try_from(value).map_err(|_| NpyError::NegativeOffset {
            path: path.to_path_buf(),
            index,
            got: value,
        })
    };
    match array.dtype {
        OffsetType::I32 => {
            let values = bytes.as_chunks().0.iter().copied().map(i32::from_le_bytes);
            values.map(i64::from).enumerate().map(signed).collect()
        }
        OffsetType::I64 => {
            let values = bytes.as_chunks().0.iter().copied().map(i64::from_le_bytes);
            values.enumerate().map(signed).collect()
        }
        OffsetType::U64 => {
            let values = bytes.as_chunks().0.iter().copied();
            Ok(values.map(u64::from_le_bytes).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{TempFile, array};
    use super::*;

    fn read(descr: &str, data: Vec<u8>, length: usize) -> Result<Vec<u64>, NpyError> {
        read_offsets(&TempFile::new(&array(descr, &format!("({length},)"), &data)).path)
    }

    fn read_i64(values: &[i64]) -> Result<Vec<u64>, NpyError> {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        read("<i8", data, values.len())
    }

    #[test]
    fn every_accepted_type_gives_the_same_offsets() {
        let expected = [0_u64, 3, 3, 70_000];
        let small = expected.iter().flat_map(|&v| (v as i32).to_le_bytes()).collect();
        let unsigned = expected.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(read_i64(&[0, 3, 3, 70_000]).expect("i8"), expected);
        assert_eq!(read("<i4", small, 4).expect("i4"), expected);
        assert_eq!(read("<u8", unsigned, 4).expect("u8"), expected);
        let large = [0_u64, u64::MAX].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(read("<u8", large, 2).expect("u8"), [0, u64::MAX]);
    }

    #[test]
    fn what_is_not_a_list_of_offsets_is_refused() {
        for (values, message) in [
            (&[][..], "expected at least one offset, got an empty array"),
            (&[1, 2], "expected offsets starting at 0, got 1"),
            (&[0, 5, -1], "expected offsets of at least 0, got -1 at index 2"),
            (&[0, 5, 6, 5], "expected an offset of at least 6 at index 3, got 5"),
        ] {
            let error = read_i64(values).expect_err("offsets");
            assert!(error.to_string().ends_with(message), "{error}");
        }
        let error = read("<i4", (-2_i32).to_le_bytes().to_vec(), 1).expect_err("negative");
        assert!(matches!(error, NpyError::NegativeOffset { index: 0, got: -2, .. }), "{error}");
    }

    #[test]
    fn big_endian_integers_are_read() {
        let data: Vec<u8> = [0_i64, 2, 300].iter().flat_map(|v| v.to_be_bytes()).collect();
        assert_eq!(read(">i8", data, 3).expect("offsets"), [0, 2, 300]);
    }

    #[test]
    fn neighbours_are_read_line_by_line() {
        let data: Vec<u8> = [3_i32, 1, 4, 1, 5, 9].iter().flat_map(|v| v.to_le_bytes()).collect();
        let file = TempFile::new(&array("<i4", "(2, 3)", &data));
        let neighbours = read_npy_neighbours(&file.path).expect("neighbours");
        assert_eq!((neighbours.queries(), neighbours.per_query()), (2, 3));
        assert_eq!(neighbours.of(1), [1, 5, 9]);
        for (shape, data) in [("(6,)", &data[..]), ("(2, 0)", &[])] {
            let file = TempFile::new(&array("<i4", shape, data));
            let error = read_npy_neighbours(&file.path).expect_err("shape").to_string();
            assert!(error.contains("expected 2 (the last not 0) dimensions"), "{error}");
        }
    }

    #[test]
    fn other_types_and_shapes_are_refused() {
        let error = read("<f4", vec![0; 4], 1).expect_err("floats");
        assert!(
            error
                .to_string()
                .contains("expected elements of type '<i4', '<i8' or '<u8', got '<f4'"),
            "{error}"
        );
        let fortran = "{'descr': '<i4', 'fortran_order': True, 'shape': (1, 1)}";
        let file = TempFile::new(&super::super::fixture::with_header(fortran, &[0; 4]));
        let error = read_npy_neighbours(&file.path).expect_err("order").to_string();
        assert!(error.ends_with("got fortran order"), "{error}");
        let file = TempFile::new(&array("<i8", "(1, 1)", &[0; 8]));
        let error = read_offsets(&file.path).expect_err("matrix");
        assert!(error.to_string().ends_with("expected 1 dimensions, got 2"), "{error}");
    }
}
