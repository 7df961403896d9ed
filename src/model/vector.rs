//! Vectors as callers pass them, and their columnar storage.

use half::f16;
use half::slice::HalfFloatSliceExt;
use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};

use super::{InvalidInput, Problem, SparseVector, VectorField, VectorKind};
use crate::kernels::sparse::Entry;

/// Storage type of vector elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// Single precision, 4 bytes.
    #[default]
    F32,
    /// Half precision, 2 bytes: 11 significant bits, at most ±65504.
    F16,
}

impl ElementType {
    /// Bytes of one element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
        }
    }
}

/// Storage of one element of a field's vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredElement {
    /// A value of this type.
    Value(ElementType),
    /// An entry of a sparse vector: index and weight.
    Entry,
}

impl StoredElement {
    /// Bytes of one element.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Value(element) => element.size_bytes(),
            Self::Entry => size_of::<Entry>(),
        }
    }
}

impl VectorField {
    /// The elements of its vectors as stored.
    pub fn stored_element(&self) -> StoredElement {
        match self.kind {
            VectorKind::Sparse => StoredElement::Entry,
            VectorKind::Single | VectorKind::Multi => StoredElement::Value(self.element),
        }
    }

    /// Number of stored elements of one vector: its dimension, or 1 where a row is a list of
    /// entries.
    pub fn stride(&self) -> usize {
        if self.kind == VectorKind::Sparse { 1 } else { self.dimension }
    }

    /// Whether rows differ in length, so that their offsets are stored.
    pub fn has_offsets(&self) -> bool {
        self.kind != VectorKind::Single
    }
}

/// A vector, a multi-vector or a sparse vector, owned.
#[derive(Debug, Clone, PartialEq)]
pub enum Vector {
    /// One vector, shape `[dim]`.
    Single(Vec<f32>),
    /// Many vectors, shape `[n, dim]`.
    Multi(MultiVector),
    /// A sparse vector.
    Sparse(SparseVector),
}

impl Vector {
    /// A borrowed view.
    pub fn as_ref(&self) -> VectorRef<'_> {
        match self {
            Self::Single(values) => VectorRef::Single(values),
            Self::Multi(multi) => multi.as_ref(),
            Self::Sparse(sparse) => VectorRef::Sparse(sparse.entries()),
        }
    }
}

impl From<SparseVector> for Vector {
    fn from(sparse: SparseVector) -> Self {
        Self::Sparse(sparse)
    }
}

impl From<Vec<f32>> for Vector {
    fn from(values: Vec<f32>) -> Self {
        Self::Single(values)
    }
}

impl From<MultiVector> for Vector {
    fn from(multi: MultiVector) -> Self {
        Self::Multi(multi)
    }
}

/// A matrix of shape `[n, dim]`, row-major: one row per token.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiVector {
    dimension: usize,
    values: Vec<f32>,
}

impl MultiVector {
    /// From flat row-major values.
    ///
    /// # Errors
    /// [`Problem::NotAMultiple`] if `values` do not fill whole rows.
    pub fn from_flat(dimension: usize, values: Vec<f32>) -> Result<Self, InvalidInput> {
        if dimension == 0 || !values.len().is_multiple_of(dimension) {
            let problem = Problem::NotAMultiple { dimension, got: values.len() };
            return Err(InvalidInput::new("vector", problem));
        }
        Ok(Self { dimension, values })
    }

    /// From rows of equal length.
    ///
    /// # Errors
    /// [`Problem::Ragged`] if rows differ in length, [`Problem::EmptyMultiVector`] without rows.
    pub fn from_rows<R: AsRef<[f32]>>(rows: &[R]) -> Result<Self, InvalidInput> {
        let Some(first) = rows.first() else {
            return Err(InvalidInput::new("vector", Problem::EmptyMultiVector));
        };
        let expected = first.as_ref().len();
        for (row, values) in rows.iter().enumerate() {
            let got = values.as_ref().len();
            if got != expected {
                let problem = Problem::Ragged { expected, got, row };
                return Err(InvalidInput::new("vector", problem));
            }
        }
        let values = rows.iter().flat_map(|row| row.as_ref()).copied().collect();
        Self::from_flat(expected, values)
    }

    /// Length of each row.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// All values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimension)
    }

    /// A borrowed view.
    pub fn as_ref(&self) -> VectorRef<'_> {
        VectorRef::Multi { dimension: self.dimension, values: &self.values }
    }
}

/// A vector, a multi-vector or a sparse vector, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VectorRef<'a> {
    /// One vector, shape `[dim]`.
    Single(&'a [f32]),
    /// Many vectors, shape `[n, dim]`, row-major.
    Multi {
        /// Length of each row.
        dimension: usize,
        /// All values.
        values: &'a [f32],
    },
    /// The entries of a sparse vector, as [`SparseVector::entries`] has them.
    Sparse(&'a [Entry]),
}

impl<'a> VectorRef<'a> {
    /// Single, multi or sparse.
    pub fn kind(self) -> VectorKind {
        match self {
            Self::Single(_) => VectorKind::Single,
            Self::Multi { .. } => VectorKind::Multi,
            Self::Sparse(_) => VectorKind::Sparse,
        }
    }

    /// Length of each row; 0 for a sparse vector.
    pub fn dimension(self) -> usize {
        match self {
            Self::Single(values) => values.len(),
            Self::Multi { dimension, .. } => dimension,
            Self::Sparse(_) => 0,
        }
    }

    /// All values, row-major; none of a sparse vector, which has entries.
    pub fn values(self) -> &'a [f32] {
        match self {
            Self::Single(values) | Self::Multi { values, .. } => values,
            Self::Sparse(_) => &[],
        }
    }
}

/// Vector elements of one type, owned and contiguous.
#[derive(Debug, Clone, PartialEq)]
pub enum Elements {
    /// Single precision.
    F32(Vec<f32>),
    /// Half precision.
    F16(Vec<f16>),
    /// Entries of sparse vectors.
    Entries(Vec<Entry>),
}

impl Elements {
    /// No elements yet.
    pub fn new(element: StoredElement) -> Self {
        match element {
            StoredElement::Value(ElementType::F32) => Self::F32(Vec::new()),
            StoredElement::Value(ElementType::F16) => Self::F16(Vec::new()),
            StoredElement::Entry => Self::Entries(Vec::new()),
        }
    }

    /// Appends values, rounded to half precision if that is the element type. Entries have no
    /// values to append.
    pub fn extend_from_f32(&mut self, values: &[f32]) {
        match self {
            Self::F32(elements) => elements.extend_from_slice(values),
            Self::F16(elements) => {
                let start = elements.len();
                elements.resize(start + values.len(), f16::ZERO);
                elements[start..].convert_from_f32_slice(values);
            }
            Self::Entries(_) => debug_assert!(values.is_empty(), "values among entries"),
        }
    }

    /// Appends elements; those of the same type are copied bit for bit.
    pub(super) fn extend(&mut self, other: ElementsRef<'_>) {
        match (self, other) {
            (Self::F16(elements), ElementsRef::F16(other)) => elements.extend_from_slice(other),
            (Self::Entries(elements), ElementsRef::Entries(other)) => {
                elements.extend_from_slice(other);
            }
            (elements, ElementsRef::F32(other)) => elements.extend_from_f32(other),
            (elements, other) => elements.extend_from_f32(&other.to_f32()),
        }
    }

    /// Releases excess capacity.
    pub(super) fn shrink_to_fit(&mut self) {
        match self {
            Self::F32(elements) => elements.shrink_to_fit(),
            Self::F16(elements) => elements.shrink_to_fit(),
            Self::Entries(entries) => entries.shrink_to_fit(),
        }
    }

    /// A borrowed view.
    pub fn as_ref(&self) -> ElementsRef<'_> {
        match self {
            Self::F32(elements) => ElementsRef::F32(elements),
            Self::F16(elements) => ElementsRef::F16(elements),
            Self::Entries(entries) => ElementsRef::Entries(entries),
        }
    }
}

/// Vector elements of one type, borrowed and contiguous.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ElementsRef<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
    /// Entries of sparse vectors.
    Entries(&'a [Entry]),
}

impl<'a> ElementsRef<'a> {
    /// Reinterprets little-endian bytes as `element`s; `None` if misaligned or not a multiple of
    /// the size.
    pub fn from_bytes(element: StoredElement, bytes: &'a [u8]) -> Option<Self> {
        match element {
            StoredElement::Value(ElementType::F32) => {
                bytemuck::try_cast_slice(bytes).ok().map(Self::F32)
            }
            StoredElement::Value(ElementType::F16) => {
                bytemuck::try_cast_slice(bytes).ok().map(Self::F16)
            }
            StoredElement::Entry => bytemuck::try_cast_slice(bytes).ok().map(Self::Entries),
        }
    }

    /// The elements as little-endian bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::F32(elements) => bytemuck::cast_slice(elements),
            Self::F16(elements) => bytemuck::cast_slice(elements),
            Self::Entries(entries) => bytemuck::cast_slice(entries),
        }
    }

    /// Number of elements.
    pub fn len(self) -> usize {
        match self {
            Self::F32(elements) => elements.len(),
            Self::F16(elements) => elements.len(),
            Self::Entries(entries) => entries.len(),
        }
    }

    /// True if there are no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The elements of `range`, which must be in bounds.
    pub fn slice(self, range: std::ops::Range<usize>) -> Self {
        match self {
            Self::F32(elements) => Self::F32(&elements[range]),
            Self::F16(elements) => Self::F16(&elements[range]),
            Self::Entries(entries) => Self::Entries(&entries[range]),
        }
    }

    /// An owned copy.
    pub fn to_owned(self) -> Elements {
        match self {
            Self::F32(elements) => Elements::F32(elements.to_vec()),
            Self::F16(elements) => Elements::F16(elements.to_vec()),
            Self::Entries(entries) => Elements::Entries(entries.to_vec()),
        }
    }

    /// The elements widened to f32; none of entries.
    pub fn to_f32(self) -> Vec<f32> {
        match self {
            Self::F32(elements) => elements.to_vec(),
            Self::F16(elements) => elements.to_f32_vec(),
            Self::Entries(_) => Vec::new(),
        }
    }
}

/// The vectors of one field over a contiguous range of rows, as kernels and scans read them.
///
/// In a multi field, row `r` has the vectors `offsets[r]..offsets[r + 1]`, in a sparse field these
/// entries (its `dimension` is 1); in a single field it has vector `r`. Rows in `absent` have no
/// vector; in a single field they are filled with zeros.
#[derive(Debug, Clone, Copy)]
pub struct VectorsView<'a> {
    /// Length of each vector.
    pub dimension: usize,
    /// All vectors, shape `[vectors, dimension]`, row-major.
    pub elements: ElementsRef<'a>,
    /// Multi and sparse fields only: index of each row's first vector or entry, then the total
    /// (rows + 1 values, from 0).
    pub offsets: Option<&'a [u64]>,
    /// Rows without a vector.
    pub absent: &'a RoaringBitmap,
}

impl<'a> VectorsView<'a> {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self.offsets {
            Some(offsets) => offsets.len() - 1,
            None => self.elements.len() / self.dimension,
        }
    }

    /// Elements of row `row`: `[dimension]` in a single field, `[n, dimension]` in a multi field.
    pub fn row(&self, row: usize) -> ElementsRef<'a> {
        let (first, last) = match self.offsets {
            Some(offsets) => (offsets[row] as usize, offsets[row + 1] as usize),
            None => (row, row + 1),
        };
        self.elements.slice(first * self.dimension..last * self.dimension)
    }

    /// The vector of row `row`, owned and widened to f32; `None` if the row has none.
    pub fn vector(&self, row: usize) -> Option<Vector> {
        if self.absent.contains(row as u32) {
            return None;
        }
        if let ElementsRef::Entries(entries) = self.row(row) {
            return Some(Vector::Sparse(SparseVector::from_stored(entries)));
        }
        let values = self.row(row).to_f32();
        Some(match self.offsets {
            Some(_) => Vector::Multi(MultiVector { dimension: self.dimension, values }),
            None => Vector::Single(values),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multi_vectors_refuse_ragged_and_partial_rows() {
        let ragged = MultiVector::from_rows(&[vec![1.0, 2.0], vec![3.0]]).unwrap_err();
        assert_eq!(ragged.problem, Problem::Ragged { expected: 2, got: 1, row: 1 });
        let empty = MultiVector::from_rows::<Vec<f32>>(&[]).unwrap_err();
        assert_eq!(empty.problem, Problem::EmptyMultiVector);
        let partial = MultiVector::from_flat(2, vec![0.0; 3]).unwrap_err();
        assert_eq!(partial.problem, Problem::NotAMultiple { dimension: 2, got: 3 });
        assert!(MultiVector::from_flat(0, vec![]).is_err());
    }

    #[test]
    fn a_view_cuts_rows_by_offset_and_hides_absent_ones() {
        let values: Vec<f32> = (0..6).map(|i| i as f32).collect();
        let absent = RoaringBitmap::from([1]);
        let view = VectorsView {
            dimension: 2,
            elements: ElementsRef::F32(&values),
            offsets: Some(&[0, 1, 1, 3]),
            absent: &absent,
        };
        assert_eq!(view.rows(), 3);
        assert_eq!(view.row(2).to_f32(), [2.0, 3.0, 4.0, 5.0]);
        assert_eq!(view.vector(1), None);
        let expected = MultiVector::from_flat(2, vec![0.0, 1.0]).unwrap();
        assert_eq!(view.vector(0), Some(Vector::Multi(expected)));
    }
}
