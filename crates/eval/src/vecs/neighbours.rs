//! `.ivecs`: the exact neighbours of queries.

use std::path::Path;

use super::VecsError;
use super::layout::Rows;
use crate::Neighbours;

/// Reads the exact neighbours of queries: one row a query, row numbers of the base, best first.
///
/// # Errors
/// [`VecsError`] when the length of the file does not fit its first row, rows differ in length, or a
/// row number is negative.
pub fn read_ivecs(path: &Path) -> Result<Neighbours, VecsError> {
    let mut rows = Rows::open(path, 4)?;
    let mut neighbours = Vec::new();
    rows.read(0..rows.count(), |row, bytes| {
        for number in bytes.as_chunks().0.iter().map(|&bytes| i32::from_le_bytes(bytes)) {
            let path = || path.to_path_buf();
            let neighbour = u64::try_from(number).map_err(|_| VecsError::NegativeNeighbour {
                path: path(),
                row,
                got: number,
            })?;
            neighbours.push(neighbour);
        }
        Ok(())
    })?;
    Ok(Neighbours::new(rows.width(), neighbours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_and_negative_ones_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("truth.ivecs");
        let write = |numbers: &[i32]| {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            std::fs::write(&path, bytes).expect("write");
        };
        write(&[2, 7, 1, 2, 0, 3]);
        let neighbours = read_ivecs(&path).expect("neighbours");
        assert_eq!((neighbours.queries(), neighbours.per_query()), (2, 2));
        assert_eq!((neighbours.of(0), neighbours.of(1)), (&[7, 1][..], &[0, 3][..]));
        write(&[2, 7, 1, 2, 0, -3]);
        let error = read_ivecs(&path).expect_err("negative").to_string();
        assert!(error.ends_with("row 1: expected row numbers of at least 0, got -3"), "{error}");
    }
}
