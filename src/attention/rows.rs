//! Borrowed matrices, as inference engines hold them.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::Result;
use crate::model::{InvalidInput, Problem, limits};

/// Largest magnitude of an element: products of rows of any permitted dimension stay finite.
const MAX_ELEMENT: f32 = 1e15;

/// Borrowed elements.
#[derive(Debug, Clone, Copy)]
pub enum Elements<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
    /// bfloat16.
    Bf16(&'a [bf16]),
}

impl Elements<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F16(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }
}

/// A borrowed matrix of shape [n, dimension], row-major, whose rows may lie apart.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    elements: Elements<'a>,
    dimension: usize,
    stride: usize,
    len: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `dimension` elements, one after the other.
    ///
    /// # Errors
    /// As [`Self::strided`].
    pub fn new(elements: Elements<'a>, dimension: usize) -> Result<Self> {
        Self::strided(elements, dimension, dimension)
    }

    /// Rows of single precision; see [`Self::new`].
    ///
    /// # Errors
    /// As [`Self::strided`].
    pub fn f32(elements: &'a [f32], dimension: usize) -> Result<Self> {
        Self::new(Elements::F32(elements), dimension)
    }

    /// Rows of half precision; see [`Self::new`].
    ///
    /// # Errors
    /// As [`Self::strided`].
    pub fn f16(elements: &'a [f16], dimension: usize) -> Result<Self> {
        Self::new(Elements::F16(elements), dimension)
    }

    /// Rows of bfloat16; see [`Self::new`].
    ///
    /// # Errors
    /// As [`Self::strided`].
    pub fn bf16(elements: &'a [bf16], dimension: usize) -> Result<Self> {
        Self::new(Elements::Bf16(elements), dimension)
    }

    /// Rows of `dimension` elements, which start `stride` elements apart: a head of a matrix
    /// [tokens, heads, dimension] has a stride of heads · dimension.
    ///
    /// # Errors
    /// [`Problem`] `OutOfRange` if the dimension is 0 or too large, or exceeds the stride;
    /// `NotAMultiple` if the elements end within a row.
    pub fn strided(elements: Elements<'a>, dimension: usize, stride: usize) -> Result<Self> {
        if !(1..=limits::MAX_DIMENSION).contains(&dimension) {
            let most = limits::MAX_DIMENSION;
            return Err(InvalidInput::out_of_range("dimension", 1, most, dimension).into());
        }
        if stride < dimension {
            let problem = InvalidInput::out_of_range("stride", dimension, usize::MAX, stride);
            return Err(problem.into());
        }
        // After the last row, the rest of the stride may be missing.
        let (len, rest) = (elements.len() / stride, elements.len() % stride);
        if rest != 0 && rest < dimension {
            let problem = Problem::NotAMultiple { dimension: stride, got: elements.len() };
            return Err(InvalidInput::new("elements", problem).into());
        }
        Ok(Self { elements, dimension, stride, len: len + usize::from(rest != 0) })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of elements of a row.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// A row, borrowed if it is of single precision and otherwise widened into `wide`.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub(super) fn get<'r>(&'r self, row: usize, wide: &'r mut Vec<f32>) -> &'r [f32] {
        let start = row * self.stride;
        let place = start..start + self.dimension;
        match self.elements {
            Elements::F32(values) => return &values[place],
            Elements::F16(values) => {
                wide.resize(self.dimension, 0.0);
                values[place].convert_to_f32_slice(wide);
            }
            Elements::Bf16(values) => {
                wide.resize(self.dimension, 0.0);
                values[place].convert_to_f32_slice(wide);
            }
        }
        wide
    }

    /// `len` rows from `first` on.
    ///
    /// # Panics
    /// If there are fewer.
    pub(super) fn slice(&self, first: usize, len: usize) -> Self {
        assert!(first + len <= self.len, "rows {first}..{} of {}", first + len, self.len);
        let start = first * self.stride;
        let elements = match self.elements {
            Elements::F32(values) => Elements::F32(values.get(start..).unwrap_or_default()),
            Elements::F16(values) => Elements::F16(values.get(start..).unwrap_or_default()),
            Elements::Bf16(values) => Elements::Bf16(values.get(start..).unwrap_or_default()),
        };
        Self { elements, len, ..*self }
    }

    /// Prefetches a row, if there is one.
    #[inline]
    pub(super) fn prefetch(&self, row: usize) {
        let (start, count) = (row * self.stride, self.dimension);
        match self.elements {
            Elements::F32(values) => crate::kernels::prefetch(values, start, count),
            Elements::F16(values) => crate::kernels::prefetch(values, start, count),
            Elements::Bf16(values) => crate::kernels::prefetch(values, start, count),
        }
    }

    /// The listed rows in single precision, shape [rows.len(), dimension].
    pub(super) fn gather(&self, rows: impl Iterator<Item = usize>) -> Vec<f32> {
        let mut wide = Vec::new();
        let mut all = Vec::with_capacity(rows.size_hint().0 * self.dimension);
        rows.for_each(|row| all.extend_from_slice(self.get(row, &mut wide)));
        all
    }

    /// Checks the dimension.
    ///
    /// # Errors
    /// `Problem::Dimension` at `path`.
    pub(super) fn check_dimension(&self, path: &str, expected: usize) -> Result<()> {
        if self.dimension == expected {
            return Ok(());
        }
        let problem = Problem::Dimension { expected, got: self.dimension };
        Err(InvalidInput::new(path, problem).into())
    }
}

/// Checks that all values of a row are finite, and not so large that products overflow.
///
/// # Errors
/// `Problem::NotFinite` or `NumberOutOfRange` at `path[row]`.
pub(super) fn check_values(path: &str, row: usize, values: &[f32]) -> Result<()> {
    let is_fine = |value: &f32| value.abs() <= MAX_ELEMENT;
    if values.iter().fold(true, |fine, value| fine & is_fine(value)) {
        return Ok(());
    }
    let position = values.iter().position(|value| !is_fine(value)).unwrap_or(0);
    let value = values[position];
    let problem = if value.is_finite() {
        Problem::NumberOutOfRange { min: -MAX_ELEMENT, max: MAX_ELEMENT, got: value }
    } else {
        Problem::NotFinite { position, value }
    };
    Err(InvalidInput::new(format!("{path}[{row}]"), problem).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_elements_and_strides_are_the_same() {
        let wide: Vec<f32> = (0..24).map(|i| i as f32 * 0.5 - 3.0).collect();
        let half: Vec<f16> = wide.iter().map(|&value| f16::from_f32(value)).collect();
        let brain: Vec<bf16> = wide.iter().map(|&value| bf16::from_f32(value)).collect();
        let all = [Elements::F32(&wide), Elements::F16(&half), Elements::Bf16(&brain)];
        for elements in all {
            let rows = Rows::strided(elements, 3, 8).unwrap();
            assert_eq!((rows.len(), rows.dimension()), (3, 3));
            let mut scratch = Vec::new();
            for row in 0..3 {
                assert_eq!(rows.get(row, &mut scratch), &wide[row * 8..row * 8 + 3]);
            }
            assert_eq!(rows.gather([2, 0].into_iter()), [5.0, 5.5, 6.0, -3.0, -2.5, -2.0]);
        }
        assert_eq!(Rows::strided(Elements::F32(&wide[..19]), 3, 8).unwrap().len(), 3);
    }

    #[test]
    fn shapes_and_values_that_make_no_sense_are_refused() {
        let refused = |len: usize, dimension: usize, stride: usize| {
            let values = vec![0.0; len];
            let rows = Rows::strided(Elements::F32(&values), dimension, stride);
            rows.map(drop).unwrap_err().to_string()
        };
        assert_eq!(refused(8, 0, 8), "dimension: expected 1 to 65536, got 0");
        assert!(refused(8, 4, 3).starts_with("stride: expected 4"));
        assert_eq!(refused(10, 4, 8), "elements: expected a multiple of 8 values, got 10");
        assert!(Rows::f32(&[], 4).unwrap().is_empty());

        let value = |value| check_values("keys", 7, &[0.0, value]).map_err(|e| e.to_string());
        assert_eq!(value(-1e15), Ok(()));
        assert_eq!(
            value(f32::NAN).unwrap_err(),
            "keys[7]: expected finite values, got NaN at position 1"
        );
        assert!(value(f32::INFINITY).is_err() && value(1.1e15).is_err());
    }
}
