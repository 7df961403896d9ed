//! The encoder of a multi field: from the vectors of a point to the one vector that is coded.

use std::sync::OnceLock;

use rayon::prelude::*;

use crate::error::Result;
use crate::model::{VectorField, VectorKind};
use crate::multivector::encoding::fde::FdeEncoder;
use crate::quantization::leanvec::QueryColumns;
use crate::quantization::{Codec, PrimaryQuery};

/// Encodes points and queries of a multi field.
#[derive(Debug)]
pub struct FieldEncoder {
    fde: FdeEncoder,
    /// Columns of the codec's query map, for sparse queries; computed on first use.
    columns: OnceLock<QueryColumns>,
}

impl FieldEncoder {
    /// The encoder of a field, for vectors around `center`, or the origin if it is empty; `None` for a
    /// single-vector field.
    ///
    /// # Errors
    /// If the settings of the encoding are out of bounds.
    pub fn new(field: &VectorField, center: &[f32]) -> Result<Option<Self>> {
        if field.kind == VectorKind::Single {
            return Ok(None);
        }
        let mut fde = FdeEncoder::new(field.encoding.fde(field.dimension), field.dimension)?;
        if !center.is_empty() {
            fde = fde.centred(center);
        }
        Ok(Some(Self { fde, columns: OnceLock::new() }))
    }

    /// Dimension of the encodings.
    pub fn dimension(&self) -> usize {
        self.fde.dimension()
    }

    /// Encodings of points, shape [n, dimension]; zeros for a point without vectors. `vectors`
    /// holds the vectors of all points, `ends` the end of each point's, in elements.
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

    /// Encodes a query of shape [m, token dimension].
    pub fn encode_query(&self, vectors: &[f32]) -> Result<Vec<f32>> {
        let mut encoding = vec![0.0; self.dimension()];
        self.fde.encode_query(vectors, &mut encoding)?;
        Ok(encoding)
    }

    /// Prepares a query for scoring against codes of encodings. `codec` must be the same in every
    /// call.
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
