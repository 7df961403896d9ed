//! Points from files: arrays with ids and payloads beside them, or JSON lines.
//!
//! All lengths are compared before the first point is read, so that files that do not belong
//! together are refused before anything is written. Only what comes from a pipe is compared as it comes.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::{CliError, Result};
use lanner::{MultiVector, Payload, Point, PointId, SparseVector, Vector, VectorKind};
use lanner_eval::{IdList, LineError, Lines, SparseMatrix, VectorFile, read_offsets};

/// Points that come in order.
pub trait Source {
    /// How many there are, if that is known before they are read.
    fn total(&self) -> Option<u64>;

    /// The next entries, at most `count`; none at the end. An error means that no more can be read.
    fn next(&mut self, count: usize) -> Result<Vec<Entry>>;
}

/// A point of a source, or why there is none at its place.
pub struct Entry {
    pub place: Place,
    pub point: Result<Point, Malformed>,
}

/// Where an entry is in its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A line of a text, from 1.
    Line(u64),
    /// A row of arrays, from 0.
    Row(u64),
}

impl Place {
    /// The number alone.
    pub fn number(self) -> u64 {
        match self {
            Self::Line(number) | Self::Row(number) => number,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// An entry that is no point.
pub struct Malformed {
    /// Its id, as far as it has one.
    pub id: Option<PointId>,
    pub error: CliError,
}

impl Entry {
    /// The point, or why it is none.
    pub fn into_point(self) -> Result<Point> {
        self.point.map_err(|malformed| malformed.error)
    }

    /// Adds the payload; one that is malformed makes the entry malformed.
    fn add_payload(&mut self, payload: Result<Payload>) {
        let Ok(point) = &mut self.point else { return };
        match payload {
            Ok(payload) => point.payload = Some(payload),
            Err(error) => self.point = Err(Malformed { id: Some(point.id.clone()), error }),
        }
    }
}

/// The vectors of one field.
pub struct Column {
    field: String,
    path: PathBuf,
    values: Values,
}

enum Values {
    /// One row a point.
    Rows(VectorFile),
    /// Rows `offsets[i]..offsets[i + 1]` a point.
    Tokens(VectorFile, Vec<u64>),
    /// One row a point, in memory.
    Sparse(Arc<SparseMatrix>),
}

impl Column {
    /// One vector a point.
    pub fn single(field: &str, path: &Path) -> Result<Self> {
        let values = Values::Rows(VectorFile::open(path)?);
        Ok(Self { field: field.to_owned(), path: path.to_owned(), values })
    }

    /// One sparse vector a point.
    pub fn sparse(field: &str, path: &Path) -> Result<Self> {
        let values = Values::Sparse(Arc::new(SparseMatrix::open(path)?));
        Ok(Self { field: field.to_owned(), path: path.to_owned(), values })
    }

    /// Many vectors a point.
    pub fn multi(field: &str, path: &Path, offsets_path: &Path) -> Result<Self> {
        let matrix = VectorFile::open(path)?;
        let offsets = read_offsets(offsets_path)?;
        let end = offsets.last().copied().unwrap_or(0);
        if end != matrix.rows() as u64 {
            return Err(CliError::Usage(format!(
                "`{}` ends at {end}, but `{}` has {} rows",
                offsets_path.display(),
                path.display(),
                matrix.rows()
            )));
        }
        let values = Values::Tokens(matrix, offsets);
        Ok(Self { field: field.to_owned(), path: path.to_owned(), values })
    }

    /// The same files, opened once more.
    pub fn reopen(&self) -> Result<Self> {
        let values = match &self.values {
            Values::Rows(_) => Values::Rows(VectorFile::open(&self.path)?),
            Values::Tokens(_, offsets) => {
                Values::Tokens(VectorFile::open(&self.path)?, offsets.clone())
            }
            Values::Sparse(matrix) => Values::Sparse(Arc::clone(matrix)),
        };
        Ok(Self { field: self.field.clone(), path: self.path.clone(), values })
    }

    /// One vector a point, many, or a sparse one.
    pub fn kind(&self) -> VectorKind {
        match self.values {
            Values::Rows(_) => VectorKind::Single,
            Values::Tokens(..) => VectorKind::Multi,
            Values::Sparse(_) => VectorKind::Sparse,
        }
    }

    /// Length of each vector; 0 of sparse ones.
    pub fn dimension(&self) -> usize {
        match &self.values {
            Values::Rows(matrix) | Values::Tokens(matrix, _) => matrix.cols(),
            Values::Sparse(_) => 0,
        }
    }

    /// Number of points.
    pub fn rows(&self) -> usize {
        match &self.values {
            Values::Rows(matrix) => matrix.rows(),
            Values::Tokens(_, offsets) => offsets.len() - 1,
            Values::Sparse(matrix) => matrix.rows(),
        }
    }

    /// Name of the field.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The vectors of these points.
    pub fn read(&mut self, rows: Range<usize>) -> Result<Vec<Vector>> {
        let dimension = self.dimension();
        let mut values = Vec::new();
        let (matrix, offsets) = match &mut self.values {
            Values::Rows(matrix) => {
                matrix.read_rows(rows, &mut values)?;
                return Ok(values.chunks_exact(dimension).map(|row| row.to_vec().into()).collect());
            }
            Values::Tokens(matrix, offsets) => (matrix, offsets),
            Values::Sparse(matrix) => {
                return rows.map(|row| sparse_row(&self.path, matrix, row)).collect();
            }
        };
        let first = offsets[rows.start] as usize;
        matrix.read_rows(first..offsets[rows.end] as usize, &mut values)?;
        let cut = |row: usize| -> Result<Vector> {
            let range = offsets[row] as usize - first..offsets[row + 1] as usize - first;
            let tokens = &values[range.start * dimension..range.end * dimension];
            Ok(MultiVector::from_flat(dimension, tokens.to_vec())?.into())
        };
        rows.map(cut).collect()
    }
}

/// A row of a sparse matrix.
///
/// # Errors
/// If its entries are no sparse vector.
pub fn sparse_row(path: &Path, matrix: &SparseMatrix, row: usize) -> Result<Vector> {
    let (indices, values) = matrix.row(row);
    let vector = SparseVector::new(indices.iter().copied(), values.iter().copied());
    let vector = vector.map_err(|error| error.within(format!("{}: row {row}", path.display())))?;
    Ok(vector.into())
}

/// Points from arrays.
pub struct Arrays {
    columns: Vec<Column>,
    ids: Option<Vec<PointId>>,
    payloads: Option<Records>,
    rows: usize,
    position: usize,
    /// Id of the first row, if there are no others.
    first: u64,
}

impl Arrays {
    /// Puts columns, ids (else row numbers) and payloads together.
    pub fn new(
        columns: Vec<Column>,
        ids: Option<(PathBuf, Vec<PointId>)>,
        payloads: Option<&Path>,
    ) -> Result<Self> {
        let Some(first) = columns.first() else {
            return Err(CliError::Usage("give at least one of --vectors and --tokens".into()));
        };
        let rows = first.rows();
        let differ = |path: &Path, got: usize| {
            let (path, first) = (path.display(), first.path.display());
            CliError::Usage(format!("`{path}` has {got} entries, but `{first}` has {rows}"))
        };
        for column in &columns {
            if column.rows() != rows {
                return Err(differ(&column.path, column.rows()));
            }
        }
        if let Some((path, ids)) = &ids
            && ids.len() != rows
        {
            return Err(differ(path, ids.len()));
        }
        if let Some(path) = payloads.filter(|path| path.is_file()) {
            let total = count_lines(path)?;
            if total != rows {
                return Err(differ(path, total));
            }
        }
        let payloads = payloads.map(Records::open).transpose()?;
        Ok(Self { columns, ids: ids.map(|(_, ids)| ids), payloads, rows, position: 0, first: 0 })
    }

    /// Ids of rows, where there are no others, count from here.
    pub fn numbered_from(self, first: u64) -> Self {
        Self { first, ..self }
    }
}

impl Source for Arrays {
    fn total(&self) -> Option<u64> {
        Some(self.rows as u64)
    }

    fn next(&mut self, count: usize) -> Result<Vec<Entry>> {
        let range = self.position..self.rows.min(self.position + count);
        self.position = range.end;
        let point = |row: usize| match &self.ids {
            Some(ids) => Point::new(ids[row].clone()),
            None => Point::new(self.first.saturating_add(row as u64)),
        };
        let mut points: Vec<Point> = range.clone().map(point).collect();
        for column in &mut self.columns {
            for (point, vector) in points.iter_mut().zip(column.read(range.clone())?) {
                point.vectors.insert(column.field.clone(), vector);
            }
        }
        let places = range.map(|row| Place::Row(row as u64));
        let entry = |(place, point)| Entry { place, point: Ok(point) };
        let mut entries: Vec<Entry> = places.zip(points).map(entry).collect();
        if let Some(lines) = &mut self.payloads {
            let rows = self.rows;
            for entry in &mut entries {
                let missing = || CliError::Usage(format!("there are fewer payloads than {rows}"));
                let text = lines.next()?.ok_or_else(missing)?;
                let payload =
                    text.and_then(|text| Payload::parse(&text).map_err(|error| lines.error(error)));
                entry.add_payload(payload);
            }
            if self.position == rows && lines.next()?.is_some() {
                return Err(lines.error(format!("expected {rows} payloads, got more")));
            }
        }
        Ok(entries)
    }
}

/// Ids from a file, one a line; numbers if `numeric`.
pub fn read_ids(path: &Path, numeric: bool) -> Result<Vec<PointId>> {
    let ids = IdList::open(path)?.into_vec();
    if !numeric {
        return Ok(ids.into_iter().map(PointId::from).collect());
    }
    let number = |(index, id): (usize, String)| {
        id.parse::<u64>().map(PointId::from).map_err(|_| CliError::Line {
            path: path.to_owned(),
            line: index as u64 + 1,
            detail: format!("expected an unsigned number, got {id:?}"),
        })
    };
    ids.into_iter().enumerate().map(number).collect()
}

/// Points from JSON lines: `{"id": 1, "vectors": {"text": [0.1, …]}, "payload": {…}}`, without
/// `vectors` or `payload` if there are none.
pub struct JsonLines(Records);

impl JsonLines {
    /// Opens the file.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(Records::open(path)?))
    }

    fn parse(&self, text: &str) -> Result<Point> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Line<'l> {
            id: Value,
            // Points of collections with text fields may have none.
            #[serde(default)]
            vectors: std::collections::BTreeMap<String, Value>,
            #[serde(borrow)]
            payload: Option<&'l RawValue>,
            // What `get`, `query` and `export` print beside the point itself.
            #[serde(rename = "reconstructed")]
            _reconstructed: Option<IgnoredAny>,
            #[serde(rename = "score")]
            _score: Option<IgnoredAny>,
            #[serde(rename = "group")]
            _group: Option<IgnoredAny>,
        }
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| self.0.error(error))?;
        let mut point = Point::new(id(&line.id).map_err(|detail| self.0.error(detail))?);
        for (name, value) in line.vectors {
            let vector = vector(&value)
                .map_err(|detail| self.0.error(format!("vectors.{name}: {detail}")))?;
            point.vectors.insert(name, vector);
        }
        let payload = line.payload.map(|payload| Payload::parse(payload.get())).transpose();
        point.payload = payload.map_err(|error| self.0.error(error))?;
        Ok(point)
    }
}

impl Source for JsonLines {
    fn total(&self) -> Option<u64> {
        None
    }

    fn next(&mut self, count: usize) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while entries.len() < count
            && let Some(text) = self.0.next()?
        {
            let point = match text {
                Ok(text) => self.parse(&text).map_err(|error| (id_of(&text), error)),
                Err(error) => Err((None, error)),
            };
            let point = point.map_err(|(id, error)| Malformed { id, error });
            entries.push(Entry { place: Place::Line(self.0.0.number()), point });
        }
        Ok(entries)
    }
}

/// The id of a line that is no point, if it is JSON and has one.
fn id_of(text: &str) -> Option<PointId> {
    #[derive(Deserialize)]
    struct Line {
        id: Value,
    }
    let line: Line = serde_json::from_str(text).ok()?;
    id(&line.id).ok()
}

/// An id as JSON.
pub fn id(value: &Value) -> Result<PointId, String> {
    match value {
        Value::String(text) => Ok(text.as_str().into()),
        other => other
            .as_u64()
            .map(PointId::from)
            .ok_or_else(|| format!("id: expected an unsigned number or a text, got {other}")),
    }
}

/// An array of numbers, or of arrays of numbers, as JSON; or a sparse vector as an object of two
/// arrays, `indices` and `values`.
pub fn vector(value: &Value) -> Result<Vector, String> {
    if let Some(object) = value.as_object() {
        return sparse(object).map(Vector::from);
    }
    let expected = "expected an array of numbers or of arrays of numbers, or an object with `indices` \
                    and `values`";
    let array = value.as_array().ok_or(expected)?;
    if array.first().is_some_and(Value::is_array) {
        let rows = array.iter().map(numbers).collect::<Result<Vec<_>, _>>()?;
        return MultiVector::from_rows(&rows)
            .map(Vector::from)
            .map_err(|error| error.problem.to_string());
    }
    numbers(value).map(Vector::from)
}

fn sparse(object: &serde_json::Map<String, Value>) -> Result<SparseVector, String> {
    let part = |name: &str| object.get(name).ok_or_else(|| format!("expected `{name}`, got none"));
    if let Some(other) = object.keys().find(|key| !matches!(key.as_str(), "indices" | "values")) {
        return Err(format!("expected `indices` and `values`, got `{other}`"));
    }
    let index = |value: &Value| {
        let index = value.as_u64().and_then(|index| u32::try_from(index).ok());
        index.ok_or_else(|| format!("indices: expected a whole number below 2^32, got {value}"))
    };
    let indices = part("indices")?.as_array().ok_or("indices: expected an array")?;
    let indices = indices.iter().map(index).collect::<Result<Vec<u32>, _>>()?;
    let values = numbers(part("values")?)?;
    SparseVector::new(indices, values).map_err(|error| error.to_string())
}

fn numbers(value: &Value) -> Result<Vec<f32>, String> {
    let array = value.as_array().ok_or_else(|| format!("expected an array, got {value}"))?;
    let number = |value: &Value| {
        value.as_f64().map(|x| x as f32).ok_or_else(|| format!("expected a number, got {value}"))
    };
    array.iter().map(number).collect()
}

/// The lines of a file, of which each is a record.
struct Records(Lines);

impl Records {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self(Lines::open(path)?))
    }

    /// The next line; one that is no text is an error of its own, after which others may follow.
    fn next(&mut self) -> Result<Option<Result<String>>> {
        match self.0.next_line() {
            Ok(line) => Ok(line.map(|line| Ok(line.text.to_owned()))),
            Err(error @ LineError::NotUtf8 { .. }) => Ok(Some(Err(error.into()))),
            Err(error) => Err(error.into()),
        }
    }

    fn error(&self, detail: impl ToString) -> CliError {
        let (path, line) = (self.0.path().to_owned(), self.0.number());
        CliError::Line { path, line, detail: detail.to_string() }
    }
}

fn count_lines(path: &Path) -> Result<usize> {
    let (mut records, mut total) = (Records::open(path)?, 0);
    while records.next()?.is_some() {
        total += 1;
    }
    Ok(total)
}
