//! Writes: columns of Python to those of a client.

use std::ops::Range;

use lanner::{Durability, Entry, MultiVector, Point, PointId, Selection, UpdateReceipt, Vector};
use lanner::{InvalidInput, Payload, PayloadUpdate};
use lanner_client::{MatrixValues, PointColumns, VectorColumn};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use crate::arrays::{Matrix, offsets, present, to_f32};
use crate::calls::Calls;
use crate::errors::invalid;
use crate::points::{id, ids, payloads, to_ids};
use crate::sparse;

/// The vectors of a field as Python gives them: name, values, offsets, which points have any, and of
/// sparse vectors the indices.
pub type ColumnParts<'py> = (
    String,
    Bound<'py, PyAny>,
    Option<Bound<'py, PyAny>>,
    Option<Bound<'py, PyAny>>,
    Option<Bound<'py, PyAny>>,
);

/// Number of updated points, and the ids without a point.
pub type UpdateParts<'py> = (u64, Vec<Bound<'py, PyAny>>);

/// The vectors of a field, borrowed from Python.
struct Column<'py> {
    field: String,
    values: ColumnValues<'py>,
    offsets: Option<Vec<usize>>,
    present: Option<Vec<bool>>,
}

enum ColumnValues<'py> {
    Dense(Matrix<'py>),
    Sparse(Vec<Entry>),
}

impl<'py> Column<'py> {
    fn borrow(parts: ColumnParts<'py>) -> PyResult<Self> {
        let (field, values, starts, marks, indices) = parts;
        let name = format!("vectors.{field}");
        Ok(Self {
            values: match indices {
                Some(indices) => ColumnValues::Sparse(sparse::entries(&indices, &values, &name)?),
                None => ColumnValues::Dense(Matrix::borrow(&values, &name)?),
            },
            offsets: starts
                .map(|starts| offsets(&starts, &format!("{name}.offsets")))
                .transpose()?,
            present: marks.map(|marks| present(&marks, &name)).transpose()?,
            field,
        })
    }

    fn view(&self, py: Python<'_>) -> PyResult<VectorColumn<'_>> {
        let present = self.present.clone();
        let column = match (&self.values, &self.offsets) {
            (ColumnValues::Sparse(entries), offsets) => {
                let offsets = offsets.clone().unwrap_or_default();
                VectorColumn::sparse(&self.field, entries, offsets, present)
            }
            (ColumnValues::Dense(matrix), offsets) => {
                let values = matrix.values(py, &self.field)?;
                let [_, dimension] = matrix.shape();
                match offsets.clone() {
                    Some(offsets) => {
                        VectorColumn::multi(&self.field, dimension, values, offsets, present)
                    }
                    None => VectorColumn::single(&self.field, dimension, values, present),
                }
            }
        };
        column.map_err(|error| invalid(py, error))
    }

    /// The rows or entries of a point; `next` is the first row of a single field that is not taken.
    fn range(&self, at: usize, next: usize) -> Range<usize> {
        match &self.offsets {
            Some(offsets) => match offsets.get(at..at + 2) {
                Some(pair) => pair[0]..pair[1],
                None => 0..0,
            },
            None => next..next + 1,
        }
    }

    fn is_present(&self, at: usize) -> bool {
        self.present.as_ref().is_none_or(|present| present.get(at) == Some(&true))
    }
}

pub fn durability(buffered: bool) -> Durability {
    if buffered { Durability::Buffered } else { Durability::Synced }
}

/// Writes points in columns. Returns the number of points that were stored.
#[allow(clippy::too_many_arguments, reason = "the columns of a write in Python")]
pub fn upsert(
    calls: &Calls,
    py: Python<'_>,
    name: &str,
    first: usize,
    points: &Bound<'_, PyAny>,
    vectors: Vec<ColumnParts<'_>>,
    texts: Option<Vec<Option<PyBackedStr>>>,
    buffered: bool,
) -> PyResult<u64> {
    let ids = ids(points)?;
    let columns = vectors.into_iter().map(Column::borrow).collect::<PyResult<Vec<_>>>()?;
    let vectors = columns.iter().map(|column| column.view(py)).collect::<PyResult<Vec<_>>>()?;
    let mut stored = 0;
    let written = calls.long(py, |backend| {
        let payloads = payloads(texts.unwrap_or_default(), first)?;
        let mut writer = backend.writer(name, durability(buffered))?;
        let written = writer.write_columns(PointColumns { ids, vectors, payloads, first });
        stored = writer.stored();
        written
    });
    match written {
        Ok(()) => Ok(stored),
        Err(error) => {
            if stored > 0 {
                error.value(py).setattr("stored", stored)?;
            }
            Err(error)
        }
    }
}

/// Replaces vectors of points.
pub fn update_vectors<'py>(
    calls: &Calls,
    py: Python<'py>,
    name: &str,
    points: &Bound<'_, PyAny>,
    vectors: Vec<ColumnParts<'_>>,
    buffered: bool,
) -> PyResult<UpdateParts<'py>> {
    let mut points: Vec<Point> = ids(points)?.into_iter().map(Point::new).collect();
    for parts in vectors {
        let column = Column::borrow(parts)?;
        let added = match &column.values {
            ColumnValues::Sparse(entries) => add_sparse(&mut points, &column, entries),
            ColumnValues::Dense(matrix) => {
                let (values, [_, dimension]) = (matrix.values(py, &column.field)?, matrix.shape());
                add_dense(&mut points, &column, values, dimension)
            }
        };
        added.map_err(|error| invalid(py, error))?;
    }
    let updated =
        calls.long(py, |backend| backend.update_vectors(name, points, durability(buffered)))?;
    to_update_parts(py, &updated)
}

fn add_sparse(
    points: &mut [Point],
    column: &Column<'_>,
    entries: &[Entry],
) -> std::result::Result<(), InvalidInput> {
    for (at, point) in points.iter_mut().enumerate().filter(|(at, _)| column.is_present(*at)) {
        let found = entries.get(column.range(at, 0)).unwrap_or_default().to_vec();
        let vector = sparse::vector(found, &format!("points[{at}].vectors.{}", column.field))?;
        point.vectors.insert(column.field.clone(), vector.into());
    }
    Ok(())
}

fn add_dense(
    points: &mut [Point],
    column: &Column<'_>,
    values: MatrixValues<'_>,
    dimension: usize,
) -> std::result::Result<(), InvalidInput> {
    let values = to_f32(values);
    let mut next = 0;
    for (at, point) in points.iter_mut().enumerate().filter(|(at, _)| column.is_present(*at)) {
        let rows = column.range(at, next);
        next = rows.end;
        let found = values.get(rows.start * dimension..rows.end * dimension).unwrap_or_default();
        let vector = match column.offsets {
            Some(_) => Vector::from(MultiVector::from_flat(dimension, found.to_vec())?),
            None => Vector::from(found.to_vec()),
        };
        point.vectors.insert(column.field.clone(), vector);
    }
    Ok(())
}

/// Changes payloads: of points by their ids, or of those that match a filter.
#[allow(clippy::too_many_arguments, reason = "the arguments of an update in Python")]
pub fn update_payloads<'py>(
    calls: &Calls,
    py: Python<'py>,
    name: &str,
    points: &Bound<'_, PyAny>,
    how: &str,
    value: &Bound<'_, PyAny>,
    buffered: bool,
) -> PyResult<UpdateParts<'py>> {
    let selection = selection(py, points)?;
    let parse = |text: &str| Payload::parse(text).map_err(|error| invalid(py, error));
    let update = match how {
        "set" => PayloadUpdate::Set(parse(value.extract()?)?),
        "merge" => PayloadUpdate::Merge(parse(value.extract()?)?),
        _ => PayloadUpdate::Delete(value.extract()?),
    };
    let updated = calls.long(py, |backend| {
        backend.update_payloads(name, &selection, &update, durability(buffered))
    })?;
    to_update_parts(py, &updated)
}

fn selection(py: Python<'_>, points: &Bound<'_, PyAny>) -> PyResult<Selection> {
    match points.extract::<PyBackedStr>() {
        Ok(text) => {
            let filter = lanner::Filter::parse(&text).map_err(|error| invalid(py, error))?;
            Ok(Selection::Matching(filter))
        }
        Err(_) => Ok(Selection::Ids(id_list(points)?)),
    }
}

/// Ids of a list.
pub fn id_list(values: &Bound<'_, PyAny>) -> PyResult<Vec<PointId>> {
    let one = |(at, value): (usize, PyResult<Bound<'_, PyAny>>)| id(&value?, &format!("ids[{at}]"));
    values.try_iter()?.enumerate().map(one).collect()
}

fn to_update_parts<'py>(py: Python<'py>, updated: &UpdateReceipt) -> PyResult<UpdateParts<'py>> {
    Ok((updated.write.affected, to_ids(py, &updated.missing)?))
}
