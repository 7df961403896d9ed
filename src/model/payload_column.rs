//! The values at one declared payload path over the rows of a batch.
//!
//! Values are read from the JSON once, when a point is validated, so that filters on declared paths
//! never parse JSON. An array at a path, or on the way to it, stands for all of its elements;
//! `null` is recorded separately and is not a value.

use std::ops::{ControlFlow, Range};

use roaring::RoaringBitmap;
use serde_json::Value;

use super::filter::{ColumnTest, in_intervals};
use super::payload_type::Scalar;
use super::{CollectionConfig, InvalidInput, Payload, PayloadType, Problem, check_texts, limits};

/// The values of one payload at one path: distinct, sorted, with a flag for `null`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PathValues {
    values: Values,
    null: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    Terms(Vec<Box<str>>),
    Numbers(Vec<i64>),
}

impl Values {
    fn new(payload_type: PayloadType) -> Self {
        if payload_type.is_terms() { Self::Terms(Vec::new()) } else { Self::Numbers(Vec::new()) }
    }

    fn len(&self) -> usize {
        match self {
            Self::Terms(terms) => terms.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    fn visit(&self, range: Range<usize>, visit: &mut dyn FnMut(Scalar<'_>)) {
        match self {
            Self::Terms(terms) => terms[range].iter().for_each(|term| visit(Scalar::Term(term))),
            Self::Numbers(numbers) => {
                numbers[range].iter().for_each(|&number| visit(Scalar::Number(number)));
            }
        }
    }

    fn push(&mut self, scalar: Scalar<'_>) {
        match (self, scalar) {
            (Self::Terms(terms), Scalar::Term(term)) => terms.push(term.into()),
            (Self::Numbers(numbers), Scalar::Number(number)) => numbers.push(number),
            // A type only reads scalars of its own kind.
            _ => {}
        }
    }

    fn sort(&mut self) {
        match self {
            Self::Terms(terms) => {
                terms.sort_unstable();
                terms.dedup();
            }
            Self::Numbers(numbers) => {
                numbers.sort_unstable();
                numbers.dedup();
            }
        }
    }

    fn append(&mut self, other: Self) {
        match (self, other) {
            (Self::Terms(terms), Self::Terms(other)) => terms.extend(other),
            (Self::Numbers(numbers), Self::Numbers(other)) => numbers.extend(other),
            // Both have the type in the configuration.
            _ => {}
        }
    }
}

/// Reads a payload's values at the declared paths, sorted by name.
///
/// # Errors
/// [`Problem::Mismatch`] at `payload.PATH` for a value of another type, [`Problem::OutOfRange`] for
/// too many values.
pub(crate) fn read_paths(
    config: &CollectionConfig,
    payload: Option<&Payload>,
) -> Result<Vec<PathValues>, InvalidInput> {
    match config.payload.is_empty() {
        true => Ok(Vec::new()),
        false => read_object(config, &object(payload)),
    }
}

/// As [`read_paths`], of a payload that is not stored yet: its texts are checked, too.
///
/// # Errors
/// As [`read_paths`] and [`check_texts`].
pub(crate) fn read_new(
    config: &CollectionConfig,
    payload: Option<&Payload>,
) -> Result<Vec<PathValues>, InvalidInput> {
    if config.payload.is_empty() && config.text.is_empty() {
        return Ok(Vec::new());
    }
    let object = object(payload);
    let values = read_object(config, &object)?;
    check_texts(config, &object)?;
    Ok(values)
}

fn read_object(config: &CollectionConfig, object: &Value) -> Result<Vec<PathValues>, InvalidInput> {
    let read = |(path, &payload_type): (&String, &PayloadType)| {
        read_path(path, payload_type, object).map_err(|error| error.within("payload"))
    };
    config.payload.iter().map(read).collect()
}

/// The payload as JSON; a missing payload is an empty object.
pub(crate) fn object(payload: Option<&Payload>) -> Value {
    Value::Object(payload.map(Payload::to_map).unwrap_or_default())
}

/// Reads a payload's values at one path of a given type.
///
/// # Errors
/// As [`read_paths`], at `PATH`.
pub(crate) fn read_path(
    path: &str,
    payload_type: PayloadType,
    object: &Value,
) -> Result<PathValues, InvalidInput> {
    let mut found = PathValues { values: Values::new(payload_type), null: false };
    let parts: Vec<&str> = path.split('.').collect();
    let visit = &mut |value: &Value| match found.scalar(payload_type, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(got) => ControlFlow::Break(got),
    };
    if let ControlFlow::Break(got) = visit_leaves(object, &parts, visit) {
        let expected = payload_type.expected();
        return Err(InvalidInput::new(path, Problem::Mismatch { expected, got }));
    }
    if found.values.len() > limits::MAX_PATH_VALUES {
        let (max, got) = (limits::MAX_PATH_VALUES, found.values.len());
        return Err(InvalidInput::out_of_range(path, 0, max, got));
    }
    found.values.sort();
    Ok(found)
}

/// Visits the values at the end of a path until `visit` breaks. Arrays at the end or on the way are
/// expanded into their elements.
pub(in crate::model) fn visit_leaves<B>(
    value: &Value,
    parts: &[&str],
    visit: &mut dyn FnMut(&Value) -> ControlFlow<B>,
) -> ControlFlow<B> {
    match (value, parts.split_first()) {
        (Value::Object(object), Some((key, rest))) => match object.get(*key) {
            Some(value) => visit_leaves(value, rest, visit),
            None => ControlFlow::Continue(()),
        },
        (Value::Array(values), Some(_)) => {
            values.iter().try_for_each(|value| visit_leaves(value, parts, visit))
        }
        // Not an object: the path does not exist.
        (_, Some(_)) => ControlFlow::Continue(()),
        (Value::Array(values), None) => values.iter().try_for_each(visit),
        (value, None) => visit(value),
    }
}

impl PathValues {
    /// True if `null` is at the path.
    pub fn has_null(&self) -> bool {
        self.null
    }

    /// Visits the values, distinct and sorted.
    pub fn visit(&self, visit: &mut dyn FnMut(Scalar<'_>)) {
        self.values.visit(0..self.values.len(), visit);
    }

    fn scalar(&mut self, payload_type: PayloadType, value: &Value) -> Result<(), String> {
        match value {
            Value::Null => self.null = true,
            Value::Array(_) => return Err("an array in an array".into()),
            Value::Object(_) => return Err("an object".into()),
            value => match payload_type.read(value) {
                Some(scalar) => self.values.push(scalar),
                None => return Err(shortened(value)),
            },
        }
        Ok(())
    }
}

/// A JSON value, truncated for error messages.
pub(crate) fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The values at one declared path over the rows of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct PayloadColumn {
    /// Start of each row's values, then the end of the last.
    offsets: Vec<u32>,
    values: Values,
    nulls: RoaringBitmap,
}

impl PayloadColumn {
    /// An empty column.
    pub(crate) fn new(payload_type: PayloadType) -> Self {
        let (values, nulls) = (Values::new(payload_type), RoaringBitmap::new());
        Self { offsets: vec![0], values, nulls }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: PathValues) {
        if row.null {
            self.nulls.insert(self.rows() as u32);
        }
        self.values.append(row.values);
        // Bounded: a batch has at most 100,000 rows of at most 4,096 values.
        self.offsets.push(self.values.len() as u32);
    }

    /// Appends the rows of another column of the same path.
    pub(crate) fn append(&mut self, other: &Self) {
        let (rows, values) = (self.rows() as u32, self.values.len() as u32);
        self.nulls.extend(other.nulls.iter().map(|row| rows + row));
        self.values.append(other.values.clone());
        self.offsets.extend(other.offsets[1..].iter().map(|offset| values + offset));
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        let values = match &self.values {
            Values::Terms(terms) => {
                terms.iter().map(|term| size_of::<Box<str>>() + term.len()).sum()
            }
            Values::Numbers(numbers) => size_of_val(&**numbers),
        };
        values + size_of_val(&*self.offsets)
    }

    /// True if row `row` has `null` at the path.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.contains(row as u32)
    }

    /// Visits the values of a row, distinct and sorted.
    pub fn visit(&self, row: usize, visit: &mut dyn FnMut(Scalar<'_>)) {
        let range = self.offsets[row] as usize..self.offsets[row + 1] as usize;
        self.values.visit(range, visit);
    }

    /// Visits those of the first `rows` rows that pass a test, in ascending order.
    pub(crate) fn select(&self, test: &ColumnTest, rows: usize, found: &mut dyn FnMut(usize)) {
        let bounds = self.offsets[..=rows.min(self.rows())].windows(2).enumerate();
        let values = bounds.map(|(row, bounds)| (row, bounds[0] as usize..bounds[1] as usize));
        match (test, &self.values) {
            (ColumnTest::IsNull, _) => {
                self.nulls.range(..rows as u32).for_each(|row| found(row as usize));
            }
            (ColumnTest::HasValue, _) => {
                values.filter(|(_, range)| !range.is_empty()).for_each(|(row, _)| found(row));
            }
            (ColumnTest::Terms(wanted), Values::Terms(terms)) => {
                let any = |terms: &[Box<str>]| {
                    terms.iter().any(|term| wanted.binary_search(term).is_ok())
                };
                values.filter(|(_, range)| any(&terms[range.clone()])).for_each(|(row, _)| {
                    found(row);
                });
            }
            (ColumnTest::OtherTerms(others), Values::Terms(terms)) => {
                let any = |terms: &[Box<str>]| {
                    terms.iter().any(|term| others.binary_search(term).is_err())
                };
                values.filter(|(_, range)| any(&terms[range.clone()])).for_each(|(row, _)| {
                    found(row);
                });
            }
            (ColumnTest::Numbers(wanted), Values::Numbers(numbers)) => {
                let any = |numbers: &[i64]| numbers.iter().any(|&n| in_intervals(wanted, n));
                values.filter(|(_, range)| any(&numbers[range.clone()])).for_each(|(row, _)| {
                    found(row);
                });
            }
            // A test always matches the type of its column.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(payload_type: PayloadType, path: &str, payloads: &[&str]) -> PayloadColumn {
        let config = CollectionConfig::new().with_payload(path, payload_type);
        let mut column = PayloadColumn::new(payload_type);
        for text in payloads {
            let payload = Payload::parse(text).unwrap();
            column.push(read_paths(&config, Some(&payload)).unwrap().pop().unwrap());
        }
        column
    }

    fn values(column: &PayloadColumn, row: usize) -> Vec<String> {
        let mut values = Vec::new();
        column.visit(row, &mut |scalar| values.push(format!("{scalar:?}")));
        values
    }

    #[test]
    fn arrays_anywhere_on_the_path_mean_all_their_elements() {
        let payloads = [
            r#"{"a": {"b": 3}}"#,
            r#"{"a": [{"b": [2, 1, 2]}, {"b": 0}, {"c": 9}, 7]}"#,
            r#"{"a": {"b": []}}"#,
            r#"{"a": {"b": [null, 5]}}"#,
            r#"{"a": null, "b": 1}"#,
        ];
        let column = column(PayloadType::Integer, "a.b", &payloads);
        let all: Vec<Vec<String>> = (0..5).map(|row| values(&column, row)).collect();
        let numbers = |numbers: &[i64]| -> Vec<String> {
            numbers.iter().map(|number| format!("Number({number})")).collect()
        };
        assert_eq!(all, [&[3][..], &[0, 1, 2], &[], &[5], &[]].map(numbers));
        let nulls: Vec<bool> = (0..5).map(|row| column.is_null(row)).collect();
        assert_eq!(nulls, [false, false, false, true, false]);
    }

    #[test]
    fn other_types_are_refused_with_path_and_value() {
        let refused = |payload_type, text: &str| {
            let config = CollectionConfig::new().with_payload("a.b", payload_type);
            let payload = Payload::parse(text).unwrap();
            read_paths(&config, Some(&payload)).unwrap_err().to_string()
        };
        let integer = "payload.a.b: expected an integer of 64 bits with a sign, got";
        assert_eq!(refused(PayloadType::Integer, r#"{"a":{"b":"x"}}"#), format!("{integer} \"x\""));
        assert_eq!(
            refused(PayloadType::Integer, r#"{"a":{"b":[1,1.5]}}"#),
            format!("{integer} 1.5")
        );
        let nested = refused(PayloadType::Integer, r#"{"a":{"b":[[1]]}}"#);
        assert_eq!(nested, format!("{integer} an array in an array"));
        let object = refused(PayloadType::Keyword, r#"{"a":{"b":{"c":"x"}}}"#);
        assert_eq!(object, "payload.a.b: expected a text of at most 1024 bytes, got an object");
        let many = vec!["1"; limits::MAX_PATH_VALUES + 1].join(",");
        let many = refused(PayloadType::Integer, &format!("{{\"a\":{{\"b\":[{many}]}}}}"));
        assert_eq!(many, "payload.a.b: expected 0 to 4096, got 4097");
    }

    #[test]
    fn a_point_without_a_payload_has_no_values() {
        let config = CollectionConfig::new().with_payload("a", PayloadType::Float);
        let mut column = PayloadColumn::new(PayloadType::Float);
        column.push(read_paths(&config, None).unwrap().pop().unwrap());
        assert_eq!((column.rows(), values(&column, 0).len()), (1, 0));
        assert!(!column.is_null(0));
    }
}
