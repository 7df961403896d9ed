//! Points as the columns of a batch.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float16Array, Float32Array, Float64Array,
    Int64Array, ListArray, RecordBatch, StringArray, UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, SchemaRef};
use half::f16;
use serde_json::{Map, Value};

use super::kinds::{Kind, NumberType};
use super::layout::{Column, Content, IdForm, data_type, element, vector_type};
use super::sparse;
use crate::error::Result;
use lanner::{Point, PointId, Vector, VectorKind, VectorRef};

/// A batch of points. What the columns have no place for came after they had been decided.
///
/// # Errors
/// If a payload has a key or a value that does not fit the columns.
pub fn batch(
    columns: &[Column],
    schema: &SchemaRef,
    points: &[Point],
) -> Result<RecordBatch, String> {
    let mut payloads: Vec<Option<Map<String, Value>>> = Vec::new();
    if columns.iter().any(|column| matches!(column.content, Content::Key { .. })) {
        let object = |point: &Point| point.payload.as_ref().map(lanner::Payload::to_map);
        payloads = points.iter().map(object).collect();
    }
    let arrays = columns.iter().map(|column| match &column.content {
        Content::Ids(form) => ids(points, *form),
        Content::Vectors { field, kind, dimension, half_precision } => {
            let vectors = points.iter().map(|point| point.vectors.get(field).map(Vector::as_ref));
            vectors_of(vectors, *kind, *dimension, *half_precision)
        }
        Content::Payload => {
            let texts = points.iter().map(|point| point.payload.as_ref());
            Ok(Arc::new(
                texts.map(|text| text.map(lanner::Payload::as_str)).collect::<StringArray>(),
            ) as ArrayRef)
        }
        Content::Key { key, kind } => {
            let take = |payload: &mut Option<Map<_, _>>| payload.as_mut()?.remove(key);
            let values = payloads.iter_mut().map(take).collect();
            array(kind, values).map_err(|detail| format!("payload.{key}: {detail}"))
        }
    });
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let left = payloads.iter().flatten().flat_map(Map::keys).next();
    if let Some(key) = left {
        return Err(format!("payload.{key}: there was no such key"));
    }
    RecordBatch::try_new(schema.clone(), arrays).map_err(|error| error.to_string())
}

fn ids(points: &[Point], form: IdForm) -> Result<ArrayRef, String> {
    let unexpected = |id: &PointId| format!("id: there was none of this kind, got {id}");
    let ids = points.iter().map(|point| &point.id);
    Ok(match form {
        IdForm::Numbers => {
            let number = |id: &PointId| match id {
                PointId::Number(number) => Ok(*number),
                PointId::Text(_) => Err(unexpected(id)),
            };
            Arc::new(UInt64Array::from(ids.map(number).collect::<Result<Vec<_>, _>>()?))
        }
        IdForm::Texts => {
            let text = |id: &PointId| match id {
                PointId::Text(text) => Ok(text.to_string()),
                PointId::Number(_) => Err(unexpected(id)),
            };
            Arc::new(StringArray::from(ids.map(text).collect::<Result<Vec<_>, _>>()?))
        }
        IdForm::Json => {
            let json = |id: &PointId| serde_json::json!(id).to_string();
            Arc::new(ids.map(|id| Some(json(id))).collect::<StringArray>())
        }
    })
}

fn vectors_of<'p>(
    vectors: impl Iterator<Item = Option<VectorRef<'p>>>,
    kind: VectorKind,
    dimension: usize,
    half_precision: bool,
) -> Result<ArrayRef, String> {
    if kind == VectorKind::Sparse {
        return sparse::column(vectors);
    }
    let (mut values, mut present, mut lengths) = (Vec::new(), Vec::new(), Vec::new());
    for vector in vectors {
        present.push(vector.is_some());
        let found = vector.map_or(&[][..], VectorRef::values);
        values.extend_from_slice(found);
        lengths.push(found.len() / dimension.max(1));
        if kind == VectorKind::Single && vector.is_none() {
            values.resize(values.len() + dimension, 0.0);
        }
    }
    let nulls = NullBuffer::from(present);
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    let inner = if kind == VectorKind::Single { nulls.clone() } else { None };
    let vectors = fixed_lists(values, dimension, half_precision, inner)?;
    if kind == VectorKind::Single {
        return Ok(vectors);
    }
    list(vectors, lengths, nulls)
}

/// Vectors as lists of fixed size.
fn fixed_lists(
    values: Vec<f32>,
    dimension: usize,
    half_precision: bool,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, String> {
    let values: ArrayRef = match half_precision {
        true => Arc::new(values.into_iter().map(f16::from_f32).collect::<Float16Array>()),
        false => Arc::new(Float32Array::from(values)),
    };
    let DataType::FixedSizeList(field, length) = vector_type(dimension, half_precision) else {
        return Err("vectors are lists of fixed size".into());
    };
    let lists = FixedSizeListArray::try_new(field, length, values, nulls);
    Ok(Arc::new(lists.map_err(|error| error.to_string())?))
}

/// Lists of these lengths.
fn list(
    child: ArrayRef,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, String> {
    if i32::try_from(lengths.iter().sum::<usize>()).is_err() {
        return Err("expected at most 2^31 values in the lists of a page, got more".into());
    }
    let field = element(child.data_type().clone());
    let lists = ListArray::try_new(field, OffsetBuffer::from_lengths(lengths), child, nulls);
    Ok(Arc::new(lists.map_err(|error| error.to_string())?))
}

/// The values of a payload key.
fn array(kind: &Kind, values: Vec<Option<Value>>) -> Result<ArrayRef, String> {
    Ok(match kind {
        Kind::Boolean => Arc::new(column::<BooleanArray, _>(values, "a boolean", Value::as_bool)?),
        Kind::Text => {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            Arc::new(column::<StringArray, _>(values, "a text", text)?)
        }
        Kind::Number(numbers) => match numbers.number_type() {
            Some(NumberType::Integer) => {
                Arc::new(column::<Int64Array, _>(values, "an integer", Value::as_i64)?)
            }
            Some(NumberType::Unsigned) => {
                Arc::new(column::<UInt64Array, _>(values, "an unsigned integer", Value::as_u64)?)
            }
            Some(NumberType::Float) => {
                Arc::new(column::<Float64Array, _>(values, "a number", Value::as_f64)?)
            }
            None => return array(&Kind::Json, values),
        },
        Kind::List(scalar) => return lists(scalar.as_deref().unwrap_or(&Kind::Text), values),
        Kind::Json => {
            let text = |value: &Value| Some(value.to_string());
            Arc::new(column::<StringArray, _>(values, "JSON", text)?)
        }
    })
}

/// A column of scalars, each of which is read by `read`.
fn column<A: FromIterator<Option<T>>, T>(
    values: Vec<Option<Value>>,
    expected: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<A, String> {
    let scalar = |value: Option<Value>| match value {
        None => Ok(None),
        Some(value) => match read(&value) {
            Some(scalar) => Ok(Some(scalar)),
            None => Err(format!("expected {expected} as before, got {value}")),
        },
    };
    values.into_iter().map(scalar).collect()
}

fn lists(scalar: &Kind, values: Vec<Option<Value>>) -> Result<ArrayRef, String> {
    let (mut elements, mut lengths, mut present) = (Vec::new(), Vec::new(), Vec::new());
    for value in values {
        present.push(value.is_some());
        let found = match value {
            None => Vec::new(),
            Some(Value::Array(found)) if !found.contains(&Value::Null) => found,
            Some(other) => return Err(format!("expected an array as before, got {other}")),
        };
        lengths.push(found.len());
        elements.extend(found.into_iter().map(Some));
    }
    debug_assert!(data_type(scalar).is_some(), "lists are of scalars");
    list(array(scalar, elements)?, lengths, Some(NullBuffer::from(present)))
}
