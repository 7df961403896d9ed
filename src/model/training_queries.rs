//! Representative queries for training and calibration.

use super::{
    InvalidInput, MultiVector, VectorField, VectorKind, VectorRef, check_range, limits,
    prepare_vector,
};

/// Training queries for one field.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingQueries {
    vectors: MultiVector,
    /// Multi fields only: number of vectors per query.
    lengths: Option<Vec<usize>>,
}

impl From<MultiVector> for TrainingQueries {
    /// For single-vector fields: each row is one query.
    fn from(vectors: MultiVector) -> Self {
        Self { vectors, lengths: None }
    }
}

impl From<&MultiVector> for TrainingQueries {
    fn from(vectors: &MultiVector) -> Self {
        vectors.clone().into()
    }
}

/// Training queries in the form in which vectors are stored and compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PreparedQueries {
    /// All vectors, shape `[n, dimension]`, normalized under cosine.
    pub values: Vec<f32>,
    /// Index of each query's first vector, then the total.
    pub offsets: Vec<u64>,
}

impl PreparedQueries {
    /// Number of queries.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// True if there are no queries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The vectors of a query, shape `[m, dimension]`.
    pub fn get(&self, query: usize, dimension: usize) -> &[f32] {
        let range = self.offsets[query] as usize..self.offsets[query + 1] as usize;
        &self.values[range.start * dimension..range.end * dimension]
    }
}

impl TrainingQueries {
    /// For multi fields: the vectors of all queries, of which the first `lengths[0]` belong to the
    /// first query, and so on.
    ///
    /// # Errors
    /// If `lengths` do not add up to the number of vectors.
    pub fn multi(vectors: MultiVector, lengths: Vec<usize>) -> Result<Self, InvalidInput> {
        let total = lengths.iter().try_fold(0_usize, |sum, &length| sum.checked_add(length));
        let rows = vectors.rows().len();
        if total != Some(rows) {
            let got = total.map_or("more".into(), |total| total.to_string());
            let expected = "lengths that add up to the number of vectors";
            let got = format!("{got}, for {rows} vectors");
            return Err(InvalidInput::mismatch("lengths", expected, got));
        }
        Ok(Self { vectors, lengths: Some(lengths) })
    }

    /// All vectors of the queries.
    pub fn vectors(&self) -> &MultiVector {
        &self.vectors
    }

    /// Multi fields only: number of vectors per query.
    pub fn lengths(&self) -> Option<&[usize]> {
        self.lengths.as_deref()
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.lengths.as_ref().map_or(self.vectors.rows().len(), Vec::len)
    }

    /// True if there are no queries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Validates and prepares the queries as query vectors of `field`.
    ///
    /// # Errors
    /// If the field is not compressed, there are no or too many queries, or one does not match the
    /// field.
    pub fn prepare(&self, field: &VectorField) -> Result<PreparedQueries, InvalidInput> {
        let refuse = |path, expected, got| Err(InvalidInput::mismatch(path, expected, got));
        if !field.is_compressed() {
            return refuse("field", "one that is compressed", "one that is not");
        }
        let dimension = self.vectors.dimension();
        let rows = self.vectors.rows().len();
        let lengths = match (&self.lengths, field.kind) {
            (Some(lengths), VectorKind::Multi) => lengths.clone(),
            (None, VectorKind::Single | VectorKind::Sparse) => vec![1; rows],
            (None, VectorKind::Multi) => {
                return refuse("lengths", "the number of vectors of each query", "none");
            }
            (Some(_), VectorKind::Single | VectorKind::Sparse) => {
                return refuse("lengths", "none for a single-vector field", "some");
            }
        };
        check_range("queries", 1, limits::MAX_TRAINING_QUERIES, lengths.len())?;
        let mut prepared = PreparedQueries { values: Vec::new(), offsets: vec![0] };
        let mut first = 0;
        for (index, length) in lengths.into_iter().enumerate() {
            let values = &self.vectors.values()[first * dimension..(first + length) * dimension];
            let vector = match field.kind {
                VectorKind::Single | VectorKind::Sparse => VectorRef::Single(values),
                VectorKind::Multi => VectorRef::Multi { dimension, values },
            };
            let values = prepare_vector(field, vector)
                .map_err(|problem| InvalidInput::new(format!("queries[{index}]"), problem))?;
            prepared.values.extend(values);
            first += length;
            prepared.offsets.push(first as u64);
        }
        Ok(prepared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Compression, Metric};

    fn vectors(rows: &[[f32; 2]]) -> MultiVector {
        MultiVector::from_rows(rows).unwrap()
    }

    #[test]
    fn queries_are_prepared_as_those_of_the_field() {
        let rows = vectors(&[[3.0, 4.0], [0.0, 2.0], [5.0, 0.0]]);
        let single = VectorField::single(2, Metric::Cosine);
        let prepared = TrainingQueries::from(&rows).prepare(&single).unwrap();
        assert_eq!((prepared.len(), prepared.get(0, 2)), (3, &[0.6, 0.8][..]));
        let multi = VectorField::multi(2, Metric::Cosine);
        let queries = TrainingQueries::multi(rows, vec![2, 1]).unwrap();
        let prepared = queries.prepare(&multi).unwrap();
        assert_eq!(prepared.get(0, 2), [0.6, 0.8, 0.0, 1.0]);
        assert_eq!((prepared.len(), prepared.get(1, 2)), (2, &[1.0, 0.0][..]));
    }

    #[test]
    fn queries_that_do_not_fit_are_refused() {
        let rows = || vectors(&[[3.0, 4.0], [0.0, 0.0]]);
        let problem = |queries: TrainingQueries, field: VectorField| {
            queries.prepare(&field).unwrap_err().to_string()
        };
        let (single, multi) =
            (VectorField::single(2, Metric::Cosine), VectorField::multi(2, Metric::Cosine));
        let zero = problem(rows().into(), single.clone());
        assert!(zero.starts_with("queries[1]:"), "{zero}");
        assert!(problem(rows().into(), multi.clone()).starts_with("lengths:"));
        let grouped = TrainingQueries::multi(rows(), vec![1, 0, 1]).unwrap();
        let empty = problem(grouped.clone(), multi.clone());
        assert!(empty.starts_with("queries[1]:"), "{empty}");
        assert!(problem(grouped, single).starts_with("lengths:"));
        let wide = problem(rows().into(), VectorField::single(3, Metric::Dot));
        assert!(wide.starts_with("queries[0]:"), "{wide}");
        let raw = multi.compressed(Compression::none());
        let grouped = TrainingQueries::multi(rows(), vec![2]).unwrap();
        assert!(problem(grouped, raw).starts_with("field:"));
        for lengths in [vec![1], vec![usize::MAX, 3], vec![3]] {
            let error = TrainingQueries::multi(rows(), lengths).unwrap_err().to_string();
            assert!(error.starts_with("lengths: expected lengths that add up"), "{error}");
        }
    }
}
