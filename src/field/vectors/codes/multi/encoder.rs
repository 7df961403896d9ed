//! The encoder of a multi field: from the vectors of a point to the one that codes are made of.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::error::Result;
use crate::model::{VectorField, VectorKind};
use crate::multivector::encoding::fde::FdeEncoder;
use crate::quantization::leanvec::QueryColumns;
use crate::quantization::{Codec, PrimaryQuery};

/// Encodes the points of a multi field, and queries for the codes of their encodings.
#[derive(Debug)]
pub struct FieldEncoder {
    fde: FdeEncoder,
    /// The map of the codec that the encodings are reduced by, for sparse queries. Made for the
    /// first of them.
    columns: OnceLock<QueryColumns>,
}

impl FieldEncoder {
    /// The encoder of a field; `None` for a single-vector field.
    ///
    /// # Errors
    /// If the settings of the encoding are out of bounds.
    pub fn new(field: &VectorField) -> Result<Option<Self>> {
        if field.kind == VectorKind::Single {
            return Ok(None);
        }
        let fde = FdeEncoder::new(field.encoding.fde(field.dimension), field.dimension)?;
        Ok(Some(Self { fde, columns: OnceLock::new() }))
    }

    /// Dimension of the encodings.
    pub fn dimension(&self) -> usize {
        self.fde.dimension()
    }

    /// The encodings of points, shape [n, dimension]; zeros for a point without vectors. `vectors`
    /// are those of all points, and `ends` where those of each end, in elements.
    pub fn encode(&self, vectors: &[f32], ends: &[usize]) -> Result<Vec<f32>> {
        let mut encodings = vec![0.0; ends.len() * self.dimension()];
        let encode = |(point, out): (usize, &mut [f32])| {
            let start = point.checked_sub(1).map_or(0, |before| ends[before]);
            match &vectors[start..ends[point]] {
                [] => Ok(()),
                vectors => self.fde.encode_document(vectors, out),
            }
        };
        encodings.par_chunks_exact_mut(self.dimension()).enumerate().try_for_each(encode)?;
        Ok(encodings)
    }

    /// The encoding of a query, shape [m, dimension of a vector], for the vectors of this field.
    pub fn encode_query(&self, vectors: &[f32]) -> Result<Vec<f32>> {
        let mut encoding = vec![0.0; self.dimension()];
        self.fde.encode_query(vectors, &mut encoding)?;
        Ok(encoding)
    }

    /// A query as codes of encodings are scored against it. The codec is always the same.
    pub fn query(&self, codec: &Codec, vectors: &[f32]) -> Result<PrimaryQuery> {
        let reduction = codec.reduction();
        match reduction.filter(|_| self.fde.settings().final_projection.is_none()) {
            Some(reduction) => {
                let sparse = self.fde.sparse_query(vectors)?;
                let columns = self.columns.get_or_init(|| reduction.query_columns());
                Ok(codec.sparse_query(columns, sparse.blocks()))
            }
            None => Ok(codec.query(&self.encode_query(vectors)?)),
        }
    }
}
