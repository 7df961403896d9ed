//! The columns of a table that is written: they come before the first row, so that all ids and
//! payloads are looked at before.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use clap::ValueEnum;

use super::kinds::{Kind, NumberType};
use super::sparse;
use super::{EXTENSION, ID, JSON, PAYLOAD, key_of};
use crate::error::{CliError, Result};
use lanner::{ElementType, Point, PointId, VectorField, VectorKind};

/// Most payload keys that become columns.
const MOST_KEYS: usize = 1_000;
/// The values of lists, by the name that Parquet gives them.
const ELEMENT: &str = "element";

/// How payloads are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum PayloadForm {
    /// A column for each key, with a type if all values have one
    #[default]
    Columns,
    /// One column of JSON texts, exactly as they are stored
    Json,
}

/// What is known of the points of an export before the first is written.
#[derive(Debug, Default)]
pub struct Layout {
    numbers: bool,
    texts: bool,
    payloads: bool,
    keys: BTreeMap<String, Kind>,
}

/// A column, and what it is made of.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    pub content: Content,
}

/// What a column is made of.
#[derive(Debug, Clone)]
pub enum Content {
    Ids(IdForm),
    Vectors { field: String, kind: VectorKind, dimension: usize, half_precision: bool },
    Payload,
    Key { key: String, kind: Kind },
}

/// How ids are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdForm {
    Numbers,
    Texts,
    /// Both kinds, as JSON.
    Json,
}

impl Layout {
    /// Looks at a point, whose vectors do not matter.
    ///
    /// # Errors
    /// If there are more payload keys than a table can have columns.
    pub fn add(&mut self, point: &Point, form: PayloadForm) -> Result<()> {
        match point.id {
            PointId::Number(_) => self.numbers = true,
            PointId::Text(_) => self.texts = true,
        }
        let Some(payload) = &point.payload else { return Ok(()) };
        self.payloads = true;
        if form == PayloadForm::Json {
            return Ok(());
        }
        for (key, value) in payload.to_map() {
            let kind = Kind::of(&value);
            let joined = match self.keys.remove(&key) {
                Some(before) => before.join(kind),
                None => kind,
            };
            self.keys.insert(key, joined);
        }
        if self.keys.len() > MOST_KEYS {
            return Err(CliError::Usage(format!(
                "expected at most {MOST_KEYS} payload keys, got more: --payload-as json writes one column"
            )));
        }
        Ok(())
    }

    /// The columns: ids, the fields that are given, payloads.
    ///
    /// # Errors
    /// If a field has the name of the column of ids or payloads.
    pub fn columns<'f>(
        &self,
        fields: impl Iterator<Item = (&'f String, &'f VectorField)>,
        form: PayloadForm,
    ) -> Result<Vec<Column>> {
        let ids = match (self.numbers, self.texts) {
            (_, false) => IdForm::Numbers,
            (false, true) => IdForm::Texts,
            (true, true) => IdForm::Json,
        };
        let mut columns = vec![Column { name: ID.into(), content: Content::Ids(ids) }];
        for (name, field) in fields {
            if name == ID || name == PAYLOAD {
                return Err(CliError::Usage(format!(
                    "the field `{name}` has the name of another column: export JSON lines"
                )));
            }
            columns.push(vectors(name, field));
        }
        match form {
            PayloadForm::Json if self.payloads => {
                columns.push(Column { name: PAYLOAD.into(), content: Content::Payload });
            }
            PayloadForm::Json => {}
            PayloadForm::Columns => self.add_keys(&mut columns),
        }
        Ok(columns)
    }

    fn add_keys(&self, columns: &mut Vec<Column>) {
        let mut taken: HashSet<String> = columns.iter().map(|column| column.name.clone()).collect();
        taken.insert(PAYLOAD.to_owned());
        for (key, kind) in &self.keys {
            // The way back is `key_of`.
            let is_taken = taken.contains(key) || key_of(key) != key;
            let name = if is_taken { format!("{PAYLOAD}.{key}") } else { key.clone() };
            let content = Content::Key { key: key.clone(), kind: typed(kind) };
            columns.push(Column { name, content });
        }
    }
}

/// The kind that has a column type.
fn typed(kind: &Kind) -> Kind {
    let is_number = |kind: &Kind| match kind {
        Kind::Number(numbers) => numbers.number_type().is_some(),
        _ => true,
    };
    let fits = match kind {
        Kind::List(Some(element)) => is_number(element),
        other => is_number(other),
    };
    if fits { kind.clone() } else { Kind::Json }
}

fn vectors(name: &str, field: &VectorField) -> Column {
    let content = Content::Vectors {
        field: name.to_owned(),
        kind: field.kind,
        dimension: field.dimension,
        // Vectors that were dropped are not of half precision when they are reconstructed.
        half_precision: field.element == ElementType::F16 && field.compression.keep_raw,
    };
    Column { name: name.to_owned(), content }
}

/// The schema of columns.
pub fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

fn field(column: &Column) -> Field {
    let name = column.name.as_str();
    let json = || {
        let mark = HashMap::from([(EXTENSION.to_owned(), JSON.to_owned())]);
        Field::new(name, DataType::Utf8, true).with_metadata(mark)
    };
    match &column.content {
        Content::Ids(IdForm::Numbers) => Field::new(name, DataType::UInt64, false),
        Content::Ids(IdForm::Texts) => Field::new(name, DataType::Utf8, false),
        Content::Ids(IdForm::Json) => json().with_nullable(false),
        Content::Vectors { kind, dimension, half_precision, .. } => {
            let vector = vector_type(*dimension, *half_precision);
            let data_type = match kind {
                VectorKind::Single => vector,
                VectorKind::Multi => DataType::List(element(vector)),
                VectorKind::Sparse => sparse::data_type(),
            };
            Field::new(name, data_type, true)
        }
        Content::Payload => json(),
        Content::Key { kind, .. } => match data_type(kind) {
            Some(data_type) => Field::new(name, data_type, true),
            None => json(),
        },
    }
}

/// A vector as a list of fixed size.
pub fn vector_type(dimension: usize, half_precision: bool) -> DataType {
    let number = if half_precision { DataType::Float16 } else { DataType::Float32 };
    // Dimensions have bounds far below.
    let length = i32::try_from(dimension).unwrap_or(i32::MAX);
    DataType::FixedSizeList(element(number), length)
}

/// What lists are of.
pub fn element(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new(ELEMENT, data_type, false))
}

/// The type of values of a kind; `None` if that is JSON.
pub fn data_type(kind: &Kind) -> Option<DataType> {
    Some(match kind {
        Kind::Boolean => DataType::Boolean,
        Kind::Number(numbers) => match numbers.number_type()? {
            NumberType::Integer => DataType::Int64,
            NumberType::Unsigned => DataType::UInt64,
            NumberType::Float => DataType::Float64,
        },
        Kind::Text => DataType::Utf8,
        // Of empty arrays alone nobody knows.
        Kind::List(None) => DataType::List(element(DataType::Utf8)),
        Kind::List(Some(scalar)) => DataType::List(element(data_type(scalar)?)),
        Kind::Json => return None,
    })
}
