//! Sparse vectors: few non-zero values among very many dimensions.

use super::{InvalidInput, Problem, check_range, limits};
use crate::kernels::sparse::Entry;

/// A sparse vector, as learned sparse models make them (SPLADE, arXiv 2109.10086; BGE-M3, arXiv
/// 2402.03216): values at some of 2³² dimensions, which usually are the tokens of a vocabulary.
///
/// Values are not negative, so that the score of two vectors, their dot product, grows with each
/// entry that both have. Without entries, a vector has a score of 0 with each other.
///
/// ```
/// use lanner::SparseVector;
///
/// let vector = SparseVector::new([30_000, 7], [0.25, 1.5])?;
/// assert_eq!(vector.indices().collect::<Vec<_>>(), [7, 30_000]);
/// assert_eq!(vector.values().collect::<Vec<_>>(), [1.5, 0.25]);
/// # Ok::<(), lanner::InvalidInput>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SparseVector {
    /// In the order of their indices, without zeros.
    entries: Vec<Entry>,
}

impl SparseVector {
    /// A vector with these values at these indices, in any order. Zeros are left out.
    ///
    /// # Errors
    /// If there are more indices than values or fewer, or more than 65,535 entries; if an index is
    /// there twice; if a value is negative, NaN or infinite; or if the vector is longer than 1e18.
    pub fn new(
        indices: impl IntoIterator<Item = u32>,
        values: impl IntoIterator<Item = f32>,
    ) -> Result<Self, InvalidInput> {
        let (mut indices, mut values) = (indices.into_iter(), values.into_iter());
        let mut entries = Vec::new();
        loop {
            match (indices.next(), values.next()) {
                (Some(index), Some(value)) => entries.push(Entry { index, value }),
                (None, None) => break,
                (Some(_), None) => {
                    return Err(unequal(entries.len() + 1 + indices.count(), entries.len()));
                }
                (None, Some(_)) => {
                    return Err(unequal(entries.len(), entries.len() + 1 + values.count()));
                }
            }
        }
        Self::from_entries(entries)
    }

    /// A vector with these entries, in any order. Zeros are left out.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn from_entries(mut entries: Vec<Entry>) -> Result<Self, InvalidInput> {
        for (position, &Entry { value, .. }) in entries.iter().enumerate() {
            let wrong = match value {
                value if !value.is_finite() => Problem::NotFinite { position, value },
                value if value < 0.0 => {
                    let expected = "values of 0 or more, since indexes skip entries by the largest";
                    Problem::Mismatch { expected, got: format!("{value} at position {position}") }
                }
                _ => continue,
            };
            return Err(InvalidInput::new("values", wrong));
        }
        entries.retain(|entry| entry.value > 0.0);
        check_range("entries", 0, limits::MAX_SPARSE_ENTRIES, entries.len())?;
        if !entries.is_sorted_by_key(|entry| entry.index) {
            entries.sort_unstable_by_key(|entry| entry.index);
        }
        if let Some([first, _]) = entries.array_windows().find(|[a, b]| a.index == b.index) {
            let got = format!("{} twice", first.index);
            return Err(InvalidInput::mismatch("indices", "each index once", got));
        }
        let squares = entries.iter().map(|entry| f64::from(entry.value).powi(2));
        let got = squares.sum::<f64>().sqrt();
        if got > f64::from(limits::MAX_LENGTH) {
            let problem = Problem::TooLong { most: limits::MAX_LENGTH, got, row: 0 };
            return Err(InvalidInput::new("values", problem));
        }
        Ok(Self { entries })
    }

    /// A vector of entries that were checked when they were stored.
    pub(crate) fn from_stored(entries: &[Entry]) -> Self {
        Self { entries: entries.to_vec() }
    }

    /// The entries, in the order of their indices, without zeros.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries, as [`Self::entries`].
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The indices, ascending.
    pub fn indices(&self) -> impl ExactSizeIterator<Item = u32> {
        self.entries.iter().map(|entry| entry.index)
    }

    /// The values, in the order of their indices.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f32> {
        self.entries.iter().map(|entry| entry.value)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

fn unequal(indices: usize, values: usize) -> InvalidInput {
    let got = format!("{values} values for {indices} indices");
    InvalidInput::mismatch("values", "as many values as indices", got)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(indices: &[u32], values: &[f32]) -> String {
        let made = SparseVector::new(indices.iter().copied(), values.iter().copied());
        made.unwrap_err().to_string()
    }

    #[test]
    fn entries_are_sorted_and_zeros_left_out() {
        let vector = SparseVector::new([9, u32::MAX, 0, 5], [1.0, 2.0, 3.0, -0.0]).unwrap();
        assert_eq!(vector.indices().collect::<Vec<_>>(), [0, 9, u32::MAX]);
        assert_eq!(vector.values().collect::<Vec<_>>(), [3.0, 1.0, 2.0]);
        assert!(SparseVector::new([], []).unwrap().is_empty());
        assert_eq!(SparseVector::new([3], [1e18]).unwrap().len(), 1);
    }

    #[test]
    fn each_refusal_says_what_was_expected_and_what_came() {
        assert_eq!(
            refused(&[1, 2, 3], &[1.0]),
            "values: expected as many values as indices, got 1 values for 3 indices"
        );
        assert_eq!(
            refused(&[1], &[1.0, 2.0, 0.0]),
            "values: expected as many values as indices, got 3 values for 1 indices"
        );
        assert_eq!(
            refused(&[4, 1, 4], &[1.0; 3]),
            "indices: expected each index once, got 4 twice"
        );
        assert_eq!(
            refused(&[1, 2], &[1.0, f32::NAN]),
            "values: expected finite values, got NaN at position 1"
        );
        assert_eq!(
            refused(&[1, 2], &[-0.5, 1.0]),
            "values: expected values of 0 or more, since indexes skip entries by the largest, \
             got -0.5 at position 0"
        );
        assert_eq!(
            refused(&[1, 2], &[8e17, 8e17]),
            "values: expected vectors of a length up to 1e18, got 1.131e18 in vector 0"
        );
        let many = 0..limits::MAX_SPARSE_ENTRIES as u32 + 1;
        let values = vec![1.0; many.len()];
        let made = SparseVector::new(many, values).unwrap_err().to_string();
        assert_eq!(made, "entries: expected 0 to 65535, got 65536");
    }
}
