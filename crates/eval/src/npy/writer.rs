//! Writes a matrix of vectors row by row, when their number is not known yet.
//!
//! The header has a fixed length and is written anew at the end, with the number of rows.

use std::io::{self, Seek, SeekFrom, Write};

use half::f16;

/// Length of magic, version, length and dictionary: a multiple of 64, as NumPy aligns data.
const HEADER_BYTES: usize = 128;
/// Magic, version 1.0 and the length of the dictionary.
const BEFORE_TEXT: usize = 10;

/// Writes a matrix of `f32` or `f16` in C order, format version 1.0.
#[derive(Debug)]
pub struct NpyWriter<W: Write + Seek> {
    out: W,
    half_precision: bool,
    rows: u64,
    cols: usize,
}

impl<W: Write + Seek> NpyWriter<W> {
    /// Writes rows of `cols` values to `out`, which should be buffered and at its start.
    ///
    /// # Errors
    /// If writing fails.
    pub fn new(mut out: W, cols: usize, half_precision: bool) -> io::Result<Self> {
        out.write_all(&[0; HEADER_BYTES])?;
        Ok(Self { out, half_precision, rows: 0, cols })
    }

    /// Appends a row, rounded to half precision if that is what is written.
    ///
    /// # Errors
    /// If writing fails, or the row has another length.
    pub fn push(&mut self, row: &[f32]) -> io::Result<()> {
        if row.len() != self.cols {
            let message = format!("expected rows of {} values, got {}", self.cols, row.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.rows += 1;
        for &value in row {
            match self.half_precision {
                true => self.out.write_all(&f16::from_f32(value).to_le_bytes())?,
                false => self.out.write_all(&value.to_le_bytes())?,
            }
        }
        Ok(())
    }

    /// Writes the header, and returns what was written to.
    ///
    /// # Errors
    /// If writing fails.
    pub fn finish(mut self) -> io::Result<W> {
        let descr = if self.half_precision { "<f2" } else { "<f4" };
        let (rows, cols) = (self.rows, self.cols);
        let dictionary =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {cols}), }}");
        let width = HEADER_BYTES - BEFORE_TEXT - 1;
        let text = format!("{dictionary:<width$}\n");
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(b"\x93NUMPY\x01\x00")?;
        self.out.write_all(&(text.len() as u16).to_le_bytes())?;
        self.out.write_all(text.as_bytes())?;
        self.out.seek(SeekFrom::End(0))?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::fixture::TempFile;
    use super::*;
    use crate::{NpyMatrix, NpyType};

    fn written(rows: &[[f32; 2]], half_precision: bool) -> Vec<u8> {
        let mut writer = NpyWriter::new(Cursor::new(Vec::new()), 2, half_precision).expect("new");
        rows.iter().for_each(|row| writer.push(row).expect("push"));
        assert!(writer.push(&[1.0]).is_err(), "a row of another length");
        writer.finish().expect("finish").into_inner()
    }

    #[test]
    fn what_is_written_is_read() {
        let rows = [[0.5, -2.0], [65504.0, -0.0], [3.0, 4.0]];
        for (half_precision, dtype) in [(false, NpyType::F32), (true, NpyType::F16)] {
            let file = TempFile::new(&written(&rows, half_precision));
            let mut matrix = NpyMatrix::open(&file.path).expect("matrix");
            let mut values = Vec::new();
            matrix.read_rows(0..3, &mut values).expect("rows");
            assert_eq!(matrix.dtype(), dtype);
            let bits = |value: &f32| value.to_bits();
            assert!(values.iter().map(bits).eq(rows.as_flattened().iter().map(bits)));
        }
        let file = TempFile::new(&written(&[], false));
        assert_eq!(NpyMatrix::open(&file.path).expect("empty").rows(), 0);
    }
}
