//! The rows of a table as points.

use std::path::PathBuf;

use arrow_array::RecordBatch;
use serde_json::{Map, Value};

use super::file::{Batches, TableFile};
use super::mapping::{Ids, Mapping, PayloadColumn, PayloadColumns, VectorColumn};
use super::{values, vectors};
use crate::error::{CliError, Result};
use crate::input::{self, Entry, Malformed, Place, Source};
use lanner::{Payload, Point, PointId, Vector};

/// Points of a table, batch by batch.
pub struct TableSource {
    path: PathBuf,
    total: Option<u64>,
    mapping: Mapping,
    batches: Box<dyn Batches>,
    /// The batch that is being read, and how many of its rows were.
    batch: Option<Part>,
    /// Number of the next row in the file.
    row: u64,
}

struct Part {
    batch: RecordBatch,
    done: usize,
}

impl TableSource {
    /// Begins to read the rows.
    pub fn open(table: &TableFile, mapping: Mapping) -> Result<Self> {
        let batches = table.batches(&mapping.read)?;
        let (path, total) = (table.path().to_path_buf(), table.rows());
        Ok(Self { path, total, mapping, batches, batch: None, row: 0 })
    }

    /// The next rows of one batch, at most `count`; `None` at the end.
    fn part(&mut self, count: usize) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(Part { batch, done }) = &mut self.batch
                && *done < batch.num_rows()
            {
                let rows = count.min(batch.num_rows() - *done);
                let part = batch.slice(*done, rows);
                *done += rows;
                return Ok(Some(part));
            }
            match self.batches.next() {
                Ok(Some(batch)) => self.batch = Some(Part { batch, done: 0 }),
                Ok(None) => return Ok(None),
                Err(detail) => {
                    let detail = format!("cannot be read from here on: {detail}");
                    return Err(self.error(self.row, detail));
                }
            }
        }
    }

    fn error(&self, row: u64, detail: String) -> CliError {
        CliError::Row { path: self.path.clone(), row, detail }
    }

    fn point(&self, batch: &RecordBatch, row: usize) -> Result<Point, Malformed> {
        let number = self.row + row as u64;
        let malformed = |id: Option<&PointId>, detail: String| Malformed {
            id: id.cloned(),
            error: self.error(number, detail),
        };
        let id = self.id(batch, row).map_err(|detail| malformed(None, detail))?;
        let mut point = Point::new(id);
        for column in &self.mapping.vectors {
            match vector(column, batch, row) {
                Ok(Some(vector)) => {
                    point.vectors.insert(column.field.clone(), vector);
                }
                Ok(None) => {}
                Err(detail) => {
                    let detail = format!("vectors.{}: {detail}", column.field);
                    return Err(malformed(Some(&point.id), detail));
                }
            }
        }
        point.payload =
            self.payload(batch, row).map_err(|detail| malformed(Some(&point.id), detail))?;
        Ok(point)
    }

    fn id(&self, batch: &RecordBatch, row: usize) -> Result<PointId, String> {
        match &self.mapping.ids {
            Ids::Numbered(first) => {
                let number = first.checked_add(self.row + row as u64);
                number.map(PointId::from).ok_or_else(|| "id: expected a number below 2^64".into())
            }
            Ids::Column(ids) => {
                let id = value(ids, batch, row).map_err(|detail| format!("id: {detail}"))?;
                input::id(&id.unwrap_or(Value::Null))
            }
        }
    }

    fn payload(&self, batch: &RecordBatch, row: usize) -> Result<Option<Payload>, String> {
        let keys = match &self.mapping.payload {
            PayloadColumns::None => return Ok(None),
            PayloadColumns::Whole(whole) => return whole_payload(whole, batch, row),
            PayloadColumns::Keys(keys) => keys,
        };
        let mut payload = Map::new();
        for key in keys {
            let value = value(key, batch, row);
            if let Some(value) = value.map_err(|detail| format!("payload.{}: {detail}", key.key))? {
                payload.insert(key.key.clone(), value);
            }
        }
        if payload.is_empty() {
            return Ok(None);
        }
        Payload::try_from(payload).map(Some).map_err(|error| error.to_string())
    }
}

/// The vector of a row, of the dimension of its field.
fn vector(
    column: &VectorColumn,
    batch: &RecordBatch,
    row: usize,
) -> Result<Option<Vector>, String> {
    let vector = vectors::vector(batch.column(column.column), row, column.kind)?;
    if let Some(vector) = &vector {
        let (expected, got) = (column.dimension, vector.as_ref().dimension());
        if expected != got {
            return Err(format!("expected {expected} dimensions, got {got}"));
        }
    }
    Ok(vector)
}

fn value(column: &PayloadColumn, batch: &RecordBatch, row: usize) -> Result<Option<Value>, String> {
    match values::value(batch.column(column.column), row)? {
        Some(Value::String(text)) if column.is_json => {
            let value = serde_json::from_str(&text);
            value.map(Some).map_err(|error| format!("expected JSON, {error}"))
        }
        value => Ok(value),
    }
}

/// A payload that is a column of its own; the text of one stays as it is.
fn whole_payload(
    column: &PayloadColumn,
    batch: &RecordBatch,
    row: usize,
) -> Result<Option<Payload>, String> {
    let payload = match values::value(batch.column(column.column), row)? {
        None => return Ok(None),
        Some(Value::String(text)) => Payload::parse(&text),
        Some(Value::Object(object)) => Payload::try_from(object),
        Some(other) => return Err(format!("payload: expected a JSON object, got {other}")),
    };
    payload.map(Some).map_err(|error| error.to_string())
}

impl Source for TableSource {
    fn total(&self) -> Option<u64> {
        self.total
    }

    fn next(&mut self, count: usize) -> Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(count);
        while entries.len() < count
            && let Some(batch) = self.part(count - entries.len())?
        {
            for row in 0..batch.num_rows() {
                let place = Place::Row(self.row + row as u64);
                entries.push(Entry { place, point: self.point(&batch, row) });
            }
            self.row += batch.num_rows() as u64;
        }
        Ok(entries)
    }
}
