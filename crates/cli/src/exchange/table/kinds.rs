//! Which column type holds all values of a payload key.

use serde_json::{Number, Value};

/// Integers up to here are what they are as doubles, too.
const EXACT: u64 = 1 << 53;

/// What the values of a key have in common.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Boolean,
    Number(Numbers),
    Text,
    /// Arrays of one kind of scalars; `None` if all of them are empty.
    List(Option<Box<Kind>>),
    /// Anything else: objects, nested arrays, nulls, values of several kinds.
    Json,
}

/// The numbers that were seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    pub floats: bool,
    least: i64,
    greatest: u64,
}

/// The type of a column of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberType {
    Integer,
    Unsigned,
    Float,
}

impl Numbers {
    fn of(number: &Number) -> Self {
        let floats = number.is_f64();
        let (least, greatest) = match (number.as_i64(), number.as_u64()) {
            (_, Some(greatest)) => (0, greatest),
            (Some(least), None) => (least, 0),
            (None, None) => (0, 0),
        };
        Self { floats, least, greatest }
    }

    fn join(self, other: &Self) -> Self {
        Self {
            floats: self.floats || other.floats,
            least: self.least.min(other.least),
            greatest: self.greatest.max(other.greatest),
        }
    }

    /// A type that holds all of them as they are, if there is one.
    pub fn number_type(&self) -> Option<NumberType> {
        let exact = self.least.unsigned_abs() <= EXACT && self.greatest <= EXACT;
        match (self.floats, i64::try_from(self.greatest).is_ok(), self.least) {
            (true, ..) => exact.then_some(NumberType::Float),
            (false, true, _) => Some(NumberType::Integer),
            (false, false, 0) => Some(NumberType::Unsigned),
            _ => None,
        }
    }
}

impl Kind {
    /// The kind of one value.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Bool(_) => Self::Boolean,
            Value::Number(number) => Self::Number(Numbers::of(number)),
            Value::String(_) => Self::Text,
            Value::Array(values) => Self::of_array(values),
            Value::Null | Value::Object(_) => Self::Json,
        }
    }

    fn of_array(values: &[Value]) -> Self {
        let element = values.iter().map(Self::of).reduce(Self::join);
        match element {
            None => Self::List(None),
            Some(Self::List(_) | Self::Json) => Self::Json,
            Some(scalar) => Self::List(Some(Box::new(scalar))),
        }
    }

    /// The kind of values of both.
    pub fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Boolean, Self::Boolean) => Self::Boolean,
            (Self::Text, Self::Text) => Self::Text,
            (Self::Number(a), Self::Number(b)) => Self::Number(a.join(&b)),
            (Self::List(None), Self::List(element)) | (Self::List(element), Self::List(None)) => {
                Self::List(element)
            }
            (Self::List(Some(a)), Self::List(Some(b))) => match a.join(*b) {
                Self::Json => Self::Json,
                element => Self::List(Some(Box::new(element))),
            },
            _ => Self::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(values: Value) -> Kind {
        values.as_array().unwrap().iter().map(Kind::of).reduce(Kind::join).unwrap()
    }

    #[test]
    fn numbers_get_the_type_that_holds_them_all() {
        let number_type = |values: Value| match kind(values) {
            Kind::Number(numbers) => numbers.number_type(),
            other => panic!("{other:?}"),
        };
        assert_eq!(number_type(json!([1, -2, i64::MAX])), Some(NumberType::Integer));
        assert_eq!(number_type(json!([0, u64::MAX])), Some(NumberType::Unsigned));
        assert_eq!(number_type(json!([-1, u64::MAX])), None);
        assert_eq!(number_type(json!([1, 0.5])), Some(NumberType::Float));
        assert_eq!(number_type(json!([0.5, -0.0])), Some(NumberType::Float));
        assert_eq!(number_type(json!([0.5, EXACT + 1])), None);
        assert_eq!(number_type(json!([0.5, i64::MIN])), None);
    }

    #[test]
    fn other_values_have_a_kind_if_they_are_alike() {
        assert_eq!(kind(json!([true, false])), Kind::Boolean);
        assert_eq!(kind(json!(["a", ""])), Kind::Text);
        assert_eq!(kind(json!([[], ["a"]])), Kind::List(Some(Box::new(Kind::Text))));
        assert_eq!(kind(json!([["a"], [], ["b"]])), Kind::List(Some(Box::new(Kind::Text))));
        assert_eq!(kind(json!([[]])), Kind::List(None));
        for mixed in [
            json!([1, "1"]),
            json!([1, null]),
            json!([{"a": 1}]),
            json!([["a"], [1]]),
            json!([["a", null]]),
            json!([[["a"]]]),
            json!([[true], false]),
        ] {
            assert_eq!(kind(mixed.clone()), Kind::Json, "{mixed}");
        }
    }
}
