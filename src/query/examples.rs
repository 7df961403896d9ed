//! Query vectors made from example points.
//!
//! The mean p of the positive examples, moved away from the mean n of the negative ones: `p + (p −
//! n)`, Qdrant's average-vector strategy. Vectors are used as stored, under cosine scaled to length
//! 1.

use std::collections::BTreeSet;

use crate::error::{Error, Result};
use crate::model::{InvalidInput, PointId, Problem, Vector, VectorField, VectorKind, limits};
use crate::segment::{Location, Snapshot};

/// Looks up examples in a snapshot and collects their locations.
pub struct Examples<'s> {
    snapshot: &'s Snapshot,
    field: usize,
    name: &'s str,
    dimension: usize,
    /// Locations of the examples read so far.
    pub locations: BTreeSet<Location>,
}

impl<'s> Examples<'s> {
    /// Examples with a vector in the field at this index.
    pub fn new(
        snapshot: &'s Snapshot,
        field: usize,
        name: &'s str,
        settings: &VectorField,
    ) -> Self {
        let dimension = settings.dimension;
        Self { snapshot, field, name, dimension, locations: BTreeSet::new() }
    }

    /// The vector of a point; `path` is its position in the request, for errors.
    ///
    /// # Errors
    /// [`Error::PointNotFound`], and [`Error::Invalid`] if it has no vector in the field.
    pub fn vector(&mut self, id: &PointId, path: &str) -> Result<Vector> {
        let location =
            self.snapshot.find(id)?.ok_or_else(|| Error::PointNotFound { id: id.clone() })?;
        self.locations.insert(location);
        self.snapshot.reader(location).field(self.field).check_vector(location.row)?;
        let vector = self.snapshot.reader(location).field(self.field).vector(location.row);
        vector.ok_or_else(|| {
            let expected = "a point that has a vector in the queried field";
            let got = format!("point {id} without a vector in {:?}", self.name);
            InvalidInput::new(path, Problem::Mismatch { expected, got }).into()
        })
    }

    /// The query vector made from these examples.
    ///
    /// # Errors
    /// As [`Self::vector`].
    pub fn recommended(&mut self, positive: &[PointId], negative: &[PointId]) -> Result<Vec<f32>> {
        let liked = self.mean(positive, "positive")?;
        let query = if negative.is_empty() {
            liked
        } else {
            let disliked = self.mean(negative, "negative")?;
            liked.iter().zip(disliked).map(|(p, n)| p + (p - n)).collect()
        };
        Ok(query.into_iter().map(|value| value as f32).collect())
    }

    fn mean(&mut self, ids: &[PointId], what: &str) -> Result<Vec<f64>> {
        let mut sum = vec![0.0; self.dimension];
        for (index, id) in ids.iter().enumerate() {
            let vector = self.vector(id, &format!("{what}[{index}]"))?;
            for (sum, value) in sum.iter_mut().zip(vector.as_ref().values()) {
                *sum += f64::from(*value);
            }
        }
        sum.iter_mut().for_each(|sum| *sum /= ids.len() as f64);
        Ok(sum)
    }
}

/// Validates examples for a field.
///
/// # Errors
/// If there is no positive example, there are too many examples, or the field is not single-vector.
pub fn validate(
    settings: &VectorField,
    positive: &[PointId],
    negative: &[PointId],
) -> Result<(), InvalidInput> {
    if settings.kind != VectorKind::Single {
        let expected = "a single-vector field to recommend from";
        let got = format!("a {} field", settings.kind.as_str());
        return Err(InvalidInput::new("field", Problem::Mismatch { expected, got }));
    }
    let check = crate::model::check_range;
    check("positive", 1, limits::MAX_EXAMPLES, positive.len())?;
    check("negative", 0, limits::MAX_EXAMPLES - positive.len(), negative.len())
}
