//! Sparse vectors as structs of two lists, `indices` and `values`.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, Float32Array, ListArray, StructArray, UInt32Array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields};

use super::layout::element;
use super::vectors::{Lists, numbers};
use crate::error::Result;
use lanner::{SparseVector, VectorRef};

const INDICES: &str = "indices";
const VALUES: &str = "values";

/// The type of a column of sparse vectors.
pub fn data_type() -> DataType {
    let list = |name, child| Field::new(name, DataType::List(element(child)), false);
    let lists = [list(INDICES, DataType::UInt32), list(VALUES, DataType::Float32)];
    DataType::Struct(Fields::from(lists.to_vec()))
}

/// Whether a type has a list of whole numbers, `indices`, and a list of numbers, `values`.
pub fn is_sparse(data_type: &DataType) -> bool {
    let DataType::Struct(fields) = data_type else { return false };
    let child = |name: &str| {
        let (_, field) = fields.find(name)?;
        match field.data_type() {
            DataType::List(child) | DataType::LargeList(child) => Some(child.data_type()),
            _ => None,
        }
    };
    let indices = child(INDICES).is_some_and(DataType::is_integer);
    let numbers = child(VALUES).is_some_and(|child| child.is_floating() || child.is_integer());
    indices && numbers && fields.len() == 2
}

/// The vector of a row; `None` for null.
///
/// # Errors
/// If a part is null, an index is no number of 32 bits, or the entries are no vector.
pub fn vector(column: &dyn Array, row: usize) -> Result<Option<SparseVector>, String> {
    let expected = "expected a struct of the lists `indices` and `values`";
    let both = column.as_struct_opt().ok_or(expected)?;
    if both.is_null(row) {
        return Ok(None);
    }
    let part = |name: &str| {
        let lists = Lists::of(both.column_by_name(name).ok_or(expected)?).ok_or(expected)?;
        let range = lists.range(row).ok_or_else(|| format!("{name}: expected a list, got null"))?;
        Ok::<_, String>((lists.child, range))
    };
    let (indices, range) = part(INDICES)?;
    let index = |at: usize| -> Result<u32, String> {
        let index = whole(indices, at).and_then(|index| u32::try_from(index).ok());
        index.ok_or_else(|| "indices: expected whole numbers below 2^32".to_owned())
    };
    let indices = range.map(index).collect::<Result<Vec<u32>, _>>()?;
    let (values, range) = part(VALUES)?;
    let values = numbers(values, range)?;
    SparseVector::new(indices, values).map(Some).map_err(|error| error.to_string())
}

/// A whole number that is not negative; `None` of null and others.
fn whole(array: &dyn Array, at: usize) -> Option<u64> {
    if array.is_null(at) {
        return None;
    }
    match array.data_type() {
        DataType::UInt32 => Some(array.as_primitive::<UInt32Type>().value(at).into()),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(at).try_into().ok(),
        DataType::UInt64 => Some(array.as_primitive::<UInt64Type>().value(at)),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(at).try_into().ok(),
        DataType::UInt16 => Some(array.as_primitive::<UInt16Type>().value(at).into()),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(at).try_into().ok(),
        DataType::UInt8 => Some(array.as_primitive::<UInt8Type>().value(at).into()),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(at).try_into().ok(),
        _ => None,
    }
}

/// A column of sparse vectors.
///
/// # Errors
/// If there are too many entries for one batch.
pub fn column<'p>(
    vectors: impl Iterator<Item = Option<VectorRef<'p>>>,
) -> Result<ArrayRef, String> {
    let (mut indices, mut values) = (Vec::new(), Vec::new());
    let (mut present, mut lengths) = (Vec::new(), Vec::new());
    for vector in vectors {
        present.push(vector.is_some());
        let entries = match vector {
            Some(VectorRef::Sparse(entries)) => entries,
            _ => &[],
        };
        lengths.push(entries.len());
        indices.extend(entries.iter().map(|entry| entry.index));
        values.extend(entries.iter().map(|entry| entry.value));
    }
    if i32::try_from(indices.len()).is_err() {
        return Err(
            "expected at most 2^31 entries in the sparse vectors of a page, got more".into()
        );
    }
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    let list = |child: ArrayRef| {
        ListArray::try_new(element(child.data_type().clone()), offsets.clone(), child, None)
    };
    let nulls = NullBuffer::from(present);
    let DataType::Struct(fields) = data_type() else { return Err("a struct".into()) };
    let made = list(Arc::new(UInt32Array::from(indices))).and_then(|indices| {
        let values = list(Arc::new(Float32Array::from(values)))?;
        StructArray::try_new(fields, vec![Arc::new(indices), Arc::new(values)], Some(nulls))
    });
    Ok(Arc::new(made.map_err(|error| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Float64Type;

    use super::*;

    #[test]
    fn a_column_is_read_as_it_was_written() {
        let made = |indices: &[u32]| {
            SparseVector::new(indices.to_vec(), indices.iter().map(|_| 0.5)).unwrap()
        };
        let vectors = [Some(made(&[1, u32::MAX])), None, Some(made(&[])), Some(made(&[7]))];
        let entries = vectors.iter().map(|v| v.as_ref().map(|v| VectorRef::Sparse(v.entries())));
        let column = column(entries).unwrap();
        assert_eq!(*column.data_type(), data_type());
        assert!(is_sparse(column.data_type()));
        let sliced = column.slice(1, 3);
        for (row, expected) in vectors.iter().enumerate() {
            assert_eq!(vector(&column, row).unwrap().as_ref(), expected.as_ref());
            if row > 0 {
                assert_eq!(vector(&sliced, row - 1).unwrap().as_ref(), expected.as_ref());
            }
        }
    }

    #[test]
    fn other_whole_numbers_are_indices_and_others_are_refused() {
        let column = |index: i64| {
            let indices = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(index)])]);
            let values = ListArray::from_iter_primitive::<Float64Type, _, _>([Some([Some(0.25)])]);
            let field = |name, list: &ListArray| Field::new(name, list.data_type().clone(), true);
            let fields = Fields::from(vec![field(INDICES, &indices), field(VALUES, &values)]);
            StructArray::new(fields, vec![Arc::new(indices), Arc::new(values)], None)
        };
        assert!(is_sparse(column(3).data_type()));
        let expected = SparseVector::new([3], [0.25]).unwrap();
        assert_eq!(vector(&column(3), 0).unwrap(), Some(expected));
        for index in [-1, 1 << 32] {
            let refused = vector(&column(index), 0).unwrap_err();
            assert_eq!(refused, "indices: expected whole numbers below 2^32");
        }
        assert!(!is_sparse(&DataType::Struct(Fields::empty())));
    }
}
