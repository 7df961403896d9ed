//! Affine maps of rows.

use super::linalg::map_rows;

/// x ↦ M x + o.
#[derive(Debug, Clone, PartialEq)]
pub struct AffineMap {
    /// M, shape [d, d], row-major; `None`: the identity.
    pub linear: Option<Vec<f32>>,
    /// o, d elements.
    pub offset: Vec<f32>,
}

impl AffineMap {
    /// d.
    pub fn dimension(&self) -> usize {
        self.offset.len()
    }

    /// The images of rows, both of shape [n, d].
    pub fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let mut mapped = match &self.linear {
            Some(linear) => map_rows(rows, linear, self.dimension()),
            None => rows.to_vec(),
        };
        for row in mapped.chunks_exact_mut(self.dimension()) {
            row.iter_mut().zip(&self.offset).for_each(|(value, offset)| *value += offset);
        }
        mapped
    }
}
