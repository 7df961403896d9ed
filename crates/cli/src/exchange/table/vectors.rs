//! Vectors of list columns.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::sparse;
use crate::error::Result;
use lanner::{MultiVector, Vector, VectorKind};

/// What vectors a column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub kind: VectorKind,
    /// Length of each vector, if the type says so.
    pub dimension: Option<usize>,
    pub half_precision: bool,
}

/// The shape of a column of lists of numbers, of lists of these, or of sparse vectors; `None` of
/// others.
pub fn shape(data_type: &DataType) -> Option<Shape> {
    if sparse::is_sparse(data_type) {
        let dimension = Some(0);
        return Some(Shape { kind: VectorKind::Sparse, dimension, half_precision: false });
    }
    let outer = list(data_type)?;
    if is_number(outer.child) {
        let half_precision = *outer.child == DataType::Float16;
        return Some(Shape { kind: VectorKind::Single, dimension: outer.length, half_precision });
    }
    let inner = list(outer.child)?;
    let half_precision = *inner.child == DataType::Float16;
    let shape = Shape { kind: VectorKind::Multi, dimension: inner.length, half_precision };
    is_number(inner.child).then_some(shape)
}

/// A list type: of what, and how many if that is fixed.
struct ListType<'t> {
    child: &'t DataType,
    length: Option<usize>,
}

fn list(data_type: &DataType) -> Option<ListType<'_>> {
    let (field, length) = match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => (field, None),
        DataType::FixedSizeList(field, length) => (field, usize::try_from(*length).ok()),
        _ => return None,
    };
    Some(ListType { child: field.data_type(), length })
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_floating() || data_type.is_integer()
}

/// Length of the first vector of a column; 0 if there is none.
pub fn first_dimension(column: &ArrayRef) -> usize {
    let Some(lists) = Lists::of(column) else { return 0 };
    let mut rows = (0..column.len()).filter_map(|row| lists.range(row));
    if is_number(lists.child.data_type()) {
        return rows.next().map_or(0, |row| row.len());
    }
    let Some(inner) = Lists::of(lists.child) else { return 0 };
    rows.flatten().find_map(|row| inner.range(row)).map_or(0, |row| row.len())
}

/// The vector or vectors of a row; `None` for null.
///
/// # Errors
/// If there is a null among its values, or vectors differ in length.
pub fn vector(column: &dyn Array, row: usize, kind: VectorKind) -> Result<Option<Vector>, String> {
    if kind == VectorKind::Sparse {
        return Ok(sparse::vector(column, row)?.map(Vector::from));
    }
    let lists = Lists::of(column).ok_or("expected lists of numbers")?;
    let Some(range) = lists.range(row) else { return Ok(None) };
    match kind {
        VectorKind::Single | VectorKind::Sparse => Ok(Some(numbers(lists.child, range)?.into())),
        VectorKind::Multi => multi(lists.child, range).map(|multi| Some(multi.into())),
    }
}

fn multi(vectors: &dyn Array, range: Range<usize>) -> Result<MultiVector, String> {
    let lists = Lists::of(vectors).ok_or("expected lists of lists of numbers")?;
    let present = |row: usize| {
        let place = row - range.start;
        lists.range(row).ok_or_else(|| format!("expected vectors, got null in place {place}"))
    };
    let ranges = range.clone().map(present).collect::<Result<Vec<_>, _>>()?;
    let rows = ranges.into_iter().map(|range| numbers(lists.child, range));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    MultiVector::from_rows(&rows).map_err(|error| error.problem.to_string())
}

/// Some of the numbers of an array, as f32.
pub fn numbers(array: &dyn Array, range: Range<usize>) -> Result<Vec<f32>, String> {
    if array.null_count() > 0
        && let Some(position) = range.clone().position(|place| array.is_null(place))
    {
        return Err(format!("expected numbers, got null at position {position}"));
    }
    Ok(match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().values()[range].to_vec(),
        DataType::Float16 => converted::<Float16Type>(array, range, f32::from),
        DataType::Float64 => converted::<Float64Type>(array, range, |value| value as f32),
        DataType::Int8 => converted::<Int8Type>(array, range, f32::from),
        DataType::Int16 => converted::<Int16Type>(array, range, f32::from),
        DataType::Int32 => converted::<Int32Type>(array, range, |value| value as f32),
        DataType::Int64 => converted::<Int64Type>(array, range, |value| value as f32),
        DataType::UInt8 => converted::<UInt8Type>(array, range, f32::from),
        DataType::UInt16 => converted::<UInt16Type>(array, range, f32::from),
        DataType::UInt32 => converted::<UInt32Type>(array, range, |value| value as f32),
        DataType::UInt64 => converted::<UInt64Type>(array, range, |value| value as f32),
        other => return Err(format!("expected numbers, got {other}")),
    })
}

fn converted<T: ArrowPrimitiveType>(
    array: &dyn Array,
    range: Range<usize>,
    convert: impl Fn(T::Native) -> f32,
) -> Vec<f32> {
    array.as_primitive::<T>().values()[range].iter().map(|&value| convert(value)).collect()
}

/// An array of lists: what they are of, and which part of that each is.
pub struct Lists<'a> {
    array: &'a dyn Array,
    /// What the lists are of.
    pub child: &'a ArrayRef,
}

impl<'a> Lists<'a> {
    /// `None` if the array holds something else.
    pub fn of(array: &'a dyn Array) -> Option<Self> {
        let child = match array.data_type() {
            DataType::List(_) => array.as_list::<i32>().values(),
            DataType::LargeList(_) => array.as_list::<i64>().values(),
            DataType::FixedSizeList(_, _) => array.as_fixed_size_list().values(),
            DataType::ListView(_) => array.as_list_view::<i32>().values(),
            DataType::LargeListView(_) => array.as_list_view::<i64>().values(),
            _ => return None,
        };
        Some(Self { array, child })
    }

    /// The places of the values of a row; `None` for null.
    pub fn range(&self, row: usize) -> Option<Range<usize>> {
        if self.array.is_null(row) {
            return None;
        }
        let (start, length) = match self.array.data_type() {
            DataType::List(_) => {
                let offsets = self.array.as_list::<i32>().value_offsets();
                (offsets[row] as usize, (offsets[row + 1] - offsets[row]) as usize)
            }
            DataType::LargeList(_) => {
                let offsets = self.array.as_list::<i64>().value_offsets();
                (offsets[row] as usize, (offsets[row + 1] - offsets[row]) as usize)
            }
            DataType::FixedSizeList(_, length) => {
                let lists = self.array.as_fixed_size_list();
                (lists.value_offset_at(row), *length as usize)
            }
            DataType::ListView(_) => {
                let lists = self.array.as_list_view::<i32>();
                (lists.value_offset(row) as usize, lists.value_size(row) as usize)
            }
            _ => {
                let lists = self.array.as_list_view::<i64>();
                (lists.value_offset(row) as usize, lists.value_size(row) as usize)
            }
        };
        Some(start..start + length)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::UInt64Type;
    use arrow_array::{FixedSizeListArray, Int8Array, LargeListArray, ListArray, UInt64Array};
    use arrow_buffer::{NullBuffer, OffsetBuffer};
    use arrow_schema::Field;

    use super::*;

    fn single(column: &dyn Array, row: usize) -> Result<Option<Vector>, String> {
        vector(column, row, VectorKind::Single)
    }

    #[test]
    fn slices_of_lists_are_read_at_their_own_places() {
        let rows = [Some([Some(1.0), Some(2.0)]), None, Some([Some(3.0), Some(4.0)])];
        let fixed = FixedSizeListArray::from_iter_primitive::<Float64Type, _, _>(rows, 2);
        let lists = LargeListArray::from_iter_primitive::<Float64Type, _, _>(rows);
        for column in [&fixed as &dyn Array, &lists] {
            let sliced = column.slice(1, 2);
            assert_eq!(single(&sliced, 0), Ok(None));
            assert_eq!(single(&sliced, 1), Ok(Some(vec![3.0, 4.0].into())));
        }
        assert_eq!(first_dimension(&(Arc::new(lists.slice(1, 2)) as ArrayRef)), 2);
    }

    #[test]
    fn integers_mean_themselves_and_nulls_are_refused() {
        let values = Arc::new(Int8Array::from(vec![127, -128, 0, 1])) as ArrayRef;
        let element = Arc::new(Field::new("x", DataType::Int8, true));
        let column = FixedSizeListArray::new(element, 2, values, None);
        assert_eq!(single(&column, 0), Ok(Some(vec![127.0, -128.0].into())));
        let rows = [Some(vec![Some(u64::MAX)]), Some(vec![Some(1), None])];
        let column = ListArray::from_iter_primitive::<UInt64Type, _, _>(rows);
        assert_eq!(single(&column, 0), Ok(Some(vec![u64::MAX as f32].into())));
        let refused = single(&column, 1).unwrap_err();
        assert_eq!(refused, "expected numbers, got null at position 1");
        let numbers = UInt64Array::from(vec![1]);
        assert!(single(&numbers, 0).is_err() && shape(numbers.data_type()).is_none());
    }

    #[test]
    fn vectors_of_a_multi_vector_are_present_and_alike() {
        let rows = [Some(vec![Some(1.0), Some(2.0)]), None, Some(vec![Some(3.0)])];
        let inner = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows));
        let element = Arc::new(Field::new("x", inner.data_type().clone(), true));
        let offsets = OffsetBuffer::from_lengths([1, 2, 0, 0]);
        let nulls = NullBuffer::from(vec![true, true, false, true]);
        let column = ListArray::new(element, offsets, inner, Some(nulls));
        let multi = |row: usize| vector(&column, row, VectorKind::Multi);
        let expected = MultiVector::from_flat(2, vec![1.0, 2.0]).unwrap();
        assert_eq!(multi(0), Ok(Some(expected.into())));
        assert_eq!(multi(1).unwrap_err(), "expected vectors, got null in place 0");
        assert_eq!(multi(2), Ok(None));
        assert_eq!(multi(3).unwrap_err(), "expected at least one vector, got none");
        assert_eq!(shape(column.data_type()).unwrap().kind, VectorKind::Multi);
    }
}
