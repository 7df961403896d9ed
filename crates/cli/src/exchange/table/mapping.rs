//! Which column is the id, which are vectors, and which the payload.

use std::collections::{BTreeMap, BTreeSet};

use arrow_schema::{DataType, Field};

use super::file::TableFile;
use super::{EXTENSION, ID, JSON, PAYLOAD, key_of, values, vectors};
use crate::error::{CliError, Result};
use crate::exchange::Suggestion;
use crate::import::TableArguments;
use lanner::{CollectionConfig, VectorField, VectorKind};

/// What becomes of the columns of a table. Columns are counted among those that are read.
#[derive(Debug)]
pub struct Mapping {
    /// The columns of the file that are read, in ascending order.
    pub read: Vec<usize>,
    pub ids: Ids,
    pub vectors: Vec<VectorColumn>,
    pub payload: PayloadColumns,
}

/// Where ids come from.
#[derive(Debug)]
pub enum Ids {
    Column(PayloadColumn),
    /// The first row has this number.
    Numbered(u64),
}

/// The vectors of a field.
#[derive(Debug)]
pub struct VectorColumn {
    pub field: String,
    pub kind: VectorKind,
    pub dimension: usize,
    pub column: usize,
}

/// What payloads are made of.
#[derive(Debug)]
pub enum PayloadColumns {
    None,
    /// A column of JSON objects, or of structs.
    Whole(PayloadColumn),
    Keys(Vec<PayloadColumn>),
}

/// A column of values.
#[derive(Debug)]
pub struct PayloadColumn {
    pub column: usize,
    pub key: String,
    /// Whether its texts are JSON.
    pub is_json: bool,
}

impl Mapping {
    /// Decides what the columns of a table are for a collection.
    ///
    /// # Errors
    /// If a column that is named is missing or of a wrong type, or there is no id or no vector.
    pub fn new(
        table: &TableFile,
        config: &CollectionConfig,
        arguments: &TableArguments,
    ) -> Result<Self> {
        let choice = Choice { table, config, arguments };
        choice.mapping().map_err(|detail| CliError::Table { path: table.path().into(), detail })
    }

    /// The place of a column of the file among those that are read.
    fn place(read: &[usize], column: usize) -> usize {
        read.partition_point(|&other| other < column)
    }

    fn renumber(&mut self) {
        let read = self.read.clone();
        let place = |column: &mut usize| *column = Self::place(&read, *column);
        self.vectors.iter_mut().for_each(|vectors| place(&mut vectors.column));
        if let Ids::Column(ids) = &mut self.ids {
            place(&mut ids.column);
        }
        match &mut self.payload {
            PayloadColumns::None => {}
            PayloadColumns::Whole(whole) => place(&mut whole.column),
            PayloadColumns::Keys(keys) => keys.iter_mut().for_each(|key| place(&mut key.column)),
        }
    }

    fn columns(&self) -> BTreeSet<usize> {
        let ids = match &self.ids {
            Ids::Column(ids) => Some(ids.column),
            Ids::Numbered(_) => None,
        };
        let payload = match &self.payload {
            PayloadColumns::None => &[][..],
            PayloadColumns::Whole(whole) => std::slice::from_ref(whole),
            PayloadColumns::Keys(keys) => keys,
        };
        let vectors = self.vectors.iter().map(|vectors| vectors.column);
        vectors.chain(ids).chain(payload.iter().map(|payload| payload.column)).collect()
    }
}

/// What there is to choose from.
struct Choice<'c> {
    table: &'c TableFile,
    config: &'c CollectionConfig,
    arguments: &'c TableArguments,
}

impl Choice<'_> {
    fn mapping(&self) -> Result<Mapping, String> {
        let vectors = self.vectors()?;
        let ids = self.ids()?;
        let mut taken: BTreeSet<usize> = vectors.iter().map(|vectors| vectors.column).collect();
        if let Ids::Column(ids) = &ids {
            taken.insert(ids.column);
        }
        let payload = self.payload(&taken)?;
        let mut mapping = Mapping { read: Vec::new(), ids, vectors, payload };
        mapping.read = mapping.columns().into_iter().collect();
        mapping.renumber();
        Ok(mapping)
    }

    fn find(&self, name: &str, flag: &str) -> Result<usize, String> {
        let found = self.table.schema().column_with_name(name).map(|(column, _)| column);
        found.ok_or_else(|| {
            let names = self.table.schema().fields().iter().map(|field| field.name().as_str());
            let names: Vec<&str> = names.collect();
            format!("{flag}: there is no column `{name}`, but {}", names.join(", "))
        })
    }

    fn field(&self, column: usize) -> &Field {
        self.table.schema().field(column)
    }

    /// Columns that were named, and else those with the names of fields.
    fn vectors(&self) -> Result<Vec<VectorColumn>, String> {
        let mut named = BTreeMap::new();
        for argument in &self.arguments.vectors {
            let (field, column) = argument
                .split_once('=')
                .ok_or_else(|| format!("--vectors: expected FIELD=COLUMN, got {argument:?}"))?;
            self.config.field(field).map_err(|error| format!("--vectors: {error}"))?;
            named.insert(field, self.find(column, "--vectors")?);
        }
        let mut vectors = Vec::new();
        for (name, field) in &self.config.fields {
            let column = named.get(name.as_str()).copied();
            let same = || self.table.schema().column_with_name(name).map(|(column, _)| column);
            let Some(column) = column.or_else(same) else { continue };
            self.check_shape(column, name, field)?;
            let (kind, dimension) = (field.kind, field.dimension);
            vectors.push(VectorColumn { field: name.clone(), kind, dimension, column });
        }
        if vectors.is_empty() {
            return Err(self.without_vectors());
        }
        Ok(vectors)
    }

    fn check_shape(&self, column: usize, name: &str, field: &VectorField) -> Result<(), String> {
        let (found, expected) = (self.field(column), field.dimension);
        let (column, data_type) = (found.name(), found.data_type());
        let kind = field.kind.as_str();
        let shape = vectors::shape(data_type).filter(|shape| shape.kind == field.kind);
        let Some(shape) = shape else {
            let lists = match field.kind {
                VectorKind::Single => "lists of numbers",
                VectorKind::Multi => "lists of lists of numbers",
                VectorKind::Sparse => "structs of the lists `indices` and `values`",
            };
            return Err(format!(
                "column `{column}`: expected {lists} for the {kind} field `{name}`, got {data_type}; \
                 --vectors {name}=COLUMN names another column"
            ));
        };
        match shape.dimension {
            Some(got) if got != expected => Err(format!(
                "column `{column}`: expected {expected} dimensions, as the field `{name}` has, got {got}"
            )),
            _ => Ok(()),
        }
    }

    fn without_vectors(&self) -> String {
        let fields: Vec<&str> = self.config.fields.keys().map(String::as_str).collect();
        let columns = self.table.suggestions().unwrap_or_default();
        let column = |found: &Suggestion| {
            format!("{} ({}, {} dimensions)", found.name, found.kind.as_str(), found.dimension)
        };
        let columns: Vec<String> = columns.iter().map(column).collect();
        let fields = fields.join(", ");
        match columns.is_empty() {
            true => format!("no column holds vectors for the fields {fields}"),
            false => format!(
                "no column has the name of a field ({fields}): give --vectors FIELD=COLUMN; columns of \
                 vectors are {}",
                columns.join(", ")
            ),
        }
    }

    fn ids(&self) -> Result<Ids, String> {
        if let Some(first) = self.arguments.number_from {
            return Ok(Ids::Numbered(first));
        }
        let column = match &self.arguments.id {
            Some(name) => self.find(name, "--id")?,
            None => match self.table.schema().column_with_name(ID) {
                Some((column, _)) => column,
                None => {
                    return Err(
                        "there is no column `id`: give --id COLUMN, or --number-from 0 to \
                                number the rows"
                            .to_owned(),
                    );
                }
            },
        };
        let (name, data_type) = (self.field(column).name(), self.field(column).data_type());
        let plain = match data_type {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        if !(plain.is_integer() || plain.is_string()) {
            return Err(format!(
                "column `{name}`: expected ids, texts or integers, got {data_type}"
            ));
        }
        Ok(Ids::Column(self.values(column)))
    }

    fn payload(&self, taken: &BTreeSet<usize>) -> Result<PayloadColumns, String> {
        let TableArguments { payload, without, no_payload, .. } = self.arguments;
        if *no_payload {
            return Ok(PayloadColumns::None);
        }
        let named = |names: &[String], flag: &str| {
            names.iter().map(|name| self.find(name, flag)).collect::<Result<BTreeSet<_>, _>>()
        };
        let (only, without) = (named(payload, "--payload")?, named(without, "--without")?);
        let columns = 0..self.table.schema().fields().len();
        let columns = columns.filter(|column| match only.is_empty() {
            true => !taken.contains(column) && !without.contains(column),
            false => only.contains(column),
        });
        let columns: Vec<PayloadColumn> = columns.map(|column| self.values(column)).collect();
        columns.iter().try_for_each(|column| self.check_payload(column))?;
        if let [whole] = &columns[..]
            && self.is_whole(whole.column)
        {
            return Ok(PayloadColumns::Whole(self.values(whole.column)));
        }
        Ok(if columns.is_empty() { PayloadColumns::None } else { PayloadColumns::Keys(columns) })
    }

    /// Whether the column holds whole payloads: structs or JSON objects.
    fn is_whole(&self, column: usize) -> bool {
        let field = self.field(column);
        let holds =
            field.data_type().is_string() || matches!(field.data_type(), DataType::Struct(_));
        field.name() == PAYLOAD && holds
    }

    fn check_payload(&self, column: &PayloadColumn) -> Result<(), String> {
        let field = self.field(column.column);
        let name = field.name();
        match values::unsupported(field.data_type()) {
            Some(part) => Err(format!(
                "column `{name}`: {part} has no form in JSON; --without {name} leaves it out"
            )),
            None => Ok(()),
        }
    }

    fn values(&self, column: usize) -> PayloadColumn {
        let field = self.field(column);
        let extension = field.metadata().get(EXTENSION).map(String::as_str);
        let is_json = extension == Some(JSON) && field.data_type().is_string();
        PayloadColumn { column, key: key_of(field.name()).to_owned(), is_json }
    }
}
