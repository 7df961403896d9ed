//! Writes `.fvecs`.

use std::io::{self, Write};

/// Writes vectors row by row.
#[derive(Debug)]
pub struct FvecsWriter<W: Write>(W);

impl<W: Write> FvecsWriter<W> {
    /// Writes to `out`, which should be buffered.
    pub fn new(out: W) -> Self {
        Self(out)
    }

    /// Appends a vector; all should have the same length.
    ///
    /// # Errors
    /// If writing fails, or the vector is longer than the format can say.
    pub fn push(&mut self, vector: &[f32]) -> io::Result<()> {
        let length = i32::try_from(vector.len()).map_err(io::Error::other)?;
        self.0.write_all(&length.to_le_bytes())?;
        vector.iter().try_for_each(|value| self.0.write_all(&value.to_le_bytes()))
    }

    /// What was written to. The format has no end that must be written.
    pub fn into_inner(self) -> W {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VecsMatrix;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.fvecs");
        let mut writer = FvecsWriter::new(Vec::new());
        let values = [0.1_f32, -0.0, f32::MIN_POSITIVE / 2.0, 1e38, 5.0, 6.0];
        values.chunks(3).for_each(|vector| writer.push(vector).expect("push"));
        std::fs::write(&path, writer.into_inner()).expect("write");
        let mut matrix = VecsMatrix::open(&path).expect("matrix");
        let mut read = Vec::new();
        matrix.read_rows(0..2, &mut read).expect("rows");
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(&values));
    }
}
