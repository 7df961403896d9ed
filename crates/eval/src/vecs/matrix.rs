//! Row ranges of a file of vectors, as `f32`.

use std::ops::Range;
use std::path::Path;

use super::VecsError;
use super::layout::Rows;

/// An `.fvecs` or `.bvecs` file, open for reading by rows.
#[derive(Debug)]
pub struct VecsMatrix {
    rows: Rows,
    element: Element,
}

#[derive(Debug, Clone, Copy)]
enum Element {
    F32,
    /// Means itself: 0 to 255.
    U8,
}

impl VecsMatrix {
    /// Opens the file; its ending says what the values are.
    ///
    /// # Errors
    /// [`VecsError`] if it has another ending, or its length does not fit its first row.
    pub fn open(path: &Path) -> Result<Self, VecsError> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let (element, value_bytes) = match ending {
            Some("fvecs") => (Element::F32, 4),
            Some("bvecs") => (Element::U8, 1),
            _ => return Err(VecsError::Ending { path: path.to_path_buf() }),
        };
        Ok(Self { rows: Rows::open(path, value_bytes)?, element })
    }

    /// Number of vectors.
    pub fn rows(&self) -> usize {
        self.rows.count()
    }

    /// Number of values of each vector.
    pub fn cols(&self) -> usize {
        self.rows.width()
    }

    /// Replaces the contents of `out` by the rows of `range`, one after the other, as `f32`. NaN and
    /// infinities of the file come through.
    ///
    /// # Errors
    /// [`VecsError::RowRange`] when the range is not within the file, [`VecsError::Ragged`] when a row
    /// differs in length from the first, [`VecsError::Io`] when reading fails.
    pub fn read_rows(&mut self, range: Range<usize>, out: &mut Vec<f32>) -> Result<(), VecsError> {
        out.clear();
        let element = self.element;
        self.rows.read(range, |_, bytes| {
            match element {
                Element::F32 => {
                    out.extend(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)))
                }
                Element::U8 => out.extend(bytes.iter().map(|&b| f32::from(b))),
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn file(folder: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("write");
        path
    }

    fn row(width: i32, values: &[f32]) -> Vec<u8> {
        let values = values.iter().flat_map(|value| value.to_le_bytes());
        width.to_le_bytes().into_iter().chain(values).collect()
    }

    /// What reading the whole file says.
    fn read(path: &Path) -> Result<Vec<f32>, VecsError> {
        let mut matrix = VecsMatrix::open(path)?;
        let mut values = Vec::new();
        matrix.read_rows(0..matrix.rows(), &mut values)?;
        Ok(values)
    }

    #[test]
    fn floats_and_bytes_are_read_by_ranges_longer_than_a_part() {
        let folder = tempfile::tempdir().expect("folder");
        let (rows, width) = (9_001_usize, 5_usize);
        let all: Vec<f32> = (0..rows * width).map(|i| i as f32 - 7.5).collect();
        let floats: Vec<u8> = all.chunks(width).flat_map(|values| row(5, values)).collect();
        let mut matrix = VecsMatrix::open(&file(&folder, "a.fvecs", &floats)).expect("matrix");
        assert_eq!((matrix.rows(), matrix.cols()), (rows, width));
        let mut out = vec![1.0];
        for range in [0..rows, 1..8_999, 9_000..rows, 4..4, rows..rows] {
            matrix.read_rows(range.clone(), &mut out).expect("rows");
            assert_eq!(out, all[range.start * width..range.end * width], "{range:?}");
        }
        let error = matrix.read_rows(1..rows + 1, &mut out).expect_err("range").to_string();
        assert!(error.ends_with("expected rows within 0..9001, got 1..9002"), "{error}");

        let bytes = [2, 0, 0, 0, 0, 255, 2, 0, 0, 0, 127, 128];
        let values = read(&file(&folder, "a.bvecs", &bytes)).expect("bytes");
        assert_eq!(values, [0.0, 255.0, 127.0, 128.0]);
    }

    #[test]
    fn what_a_file_claims_is_not_believed() {
        let folder = tempfile::tempdir().expect("folder");
        let error = |bytes: &[u8]| read(&file(&folder, "a.fvecs", bytes)).expect_err("refused");
        let says = |bytes: &[u8]| error(bytes).to_string();
        assert!(says(&[]).ends_with("expected at least one row, got an empty file"));
        assert!(says(&[1, 0]).contains("got 2 bytes (truncated"), "{}", says(&[1, 0]));
        for (width, text) in [(0, "got 0;"), (-1, "got -1;"), (i32::MAX, "got 2147483647;")] {
            let said = says(&row(width, &[1.0]));
            assert!(said.contains("rows of 1 to 1048576 values") && said.contains(text), "{said}");
        }
        let short = row(3, &[1.0, 2.0]);
        assert!(says(&short).contains("rows of 16 bytes, got 12 bytes"), "{}", says(&short));
        let other = [row(2, &[1.0, 2.0]), row(1, &[1.0, 2.0])].concat();
        let said = says(&other);
        assert!(said.ends_with("row 1: expected 2 values as in row 0, got 1"), "{said}");
        let path = file(&folder, "a.vecs", &row(1, &[1.0]));
        assert!(matches!(VecsMatrix::open(&path), Err(VecsError::Ending { .. })));
    }

    proptest! {
        /// Whatever the bytes, there is an answer: the values of a file that is one, or an error.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let folder = tempfile::tempdir().expect("folder");
            for name in ["a.fvecs", "a.bvecs"] {
                let path = file(&folder, name, &bytes);
                if let Ok(values) = read(&path) {
                    let matrix = VecsMatrix::open(&path).expect("matrix");
                    prop_assert_eq!(values.len(), matrix.rows() * matrix.cols());
                }
            }
        }

        #[test]
        fn files_of_equal_rows_are_read(width in 1_usize..9, rows in 1_usize..9, cut in 1_usize..9) {
            let folder = tempfile::tempdir().expect("folder");
            let values: Vec<f32> = (0..width * rows).map(|i| i as f32).collect();
            let whole: Vec<u8> =
                values.chunks(width).flat_map(|values| row(width as i32, values)).collect();
            prop_assert_eq!(read(&file(&folder, "a.fvecs", &whole)).expect("whole"), values);
            let kept = whole.len() - cut.min(4 * width + 3);
            prop_assert!(read(&file(&folder, "a.fvecs", &whole[..kept])).is_err());
        }
    }
}
