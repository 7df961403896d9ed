//! The query map by columns, so that only those of non-zero elements are read.

/// A, shape [d, D], stored by columns.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryColumns {
    reduced: usize,
    columns: Vec<f32>,
}

impl QueryColumns {
    pub(super) fn new(query_map: &[f32], dimension: usize) -> Self {
        let reduced = query_map.len() / dimension;
        let mut columns = vec![0.0; query_map.len()];
        for (row, values) in query_map.chunks_exact(dimension).enumerate() {
            for (column, &value) in columns.chunks_exact_mut(reduced.max(1)).zip(values) {
                column[row] = value;
            }
        }
        Self { reduced, columns }
    }

    /// A q, of d elements, for a sparse q, given as runs of its non-zero elements, each with the
    /// position of its first.
    ///
    /// # Panics
    /// If a run ends past the dimension.
    pub fn map<'a>(&self, runs: impl Iterator<Item = (usize, &'a [f32])>) -> Vec<f32> {
        let mut out = vec![0.0; self.reduced];
        for (start, values) in runs {
            let columns = &self.columns[start * self.reduced..][..values.len() * self.reduced];
            for (&value, column) in values.iter().zip(columns.chunks_exact(self.reduced.max(1))) {
                for (sum, factor) in out.iter_mut().zip(column) {
                    *sum += value * factor;
                }
            }
        }
        out
    }
}
