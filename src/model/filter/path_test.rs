//! Tests on the payloads themselves: for undeclared paths, and for declared paths in segments that
//! do not have their column yet.
//!
//! An undeclared path has no known type, so the type of the filter's values is used; values of
//! other types pass no test.

use std::ops::ControlFlow;

use serde_json::Value;

use super::resolve::{Result, range, values, whole};
use super::{Bounds, ColumnTest, FilterValue};
use crate::model::payload_column::{shortened, visit_leaves};
use crate::model::payload_type::validate_path;
use crate::model::{DeclaredPath, InvalidInput, PayloadType, Problem};

/// A test of the values at a path in a payload; one passing value is enough.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PathTest {
    parts: Vec<Box<str>>,
    test: ValueTest,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ValueTest {
    /// Compared as the first of these types that can read the value.
    Typed(Vec<(PayloadType, ColumnTest)>),
    HasValue,
    IsNull,
}

impl PathTest {
    /// One of these values; `at` is the location in the filter.
    pub(super) fn one_of(path: &str, wanted: &[FilterValue], at: &str) -> Result<Self> {
        let typed = |payload_type, wanted: &[FilterValue]| {
            Ok((payload_type, values(payload_type, wanted, at)?))
        };
        let test = match PayloadType::of_values(wanted, PayloadType::Keyword, at)? {
            PayloadType::Float => {
                let floats = typed(PayloadType::Float, wanted)?;
                // No integer equals a fraction.
                let can_be = |value: &&FilterValue| match value {
                    FilterValue::Float(number) => whole(*number).is_some(),
                    _ => true,
                };
                let integers: Vec<FilterValue> = wanted.iter().filter(can_be).cloned().collect();
                vec![typed(PayloadType::Integer, &integers)?, floats]
            }
            payload_type => vec![typed(payload_type, wanted)?],
        };
        Self::new(path, ValueTest::Typed(test), at)
    }

    /// A value within these bounds.
    pub(super) fn within(path: &str, bounds: &Bounds, at: &str) -> Result<Self> {
        let Bounds { gt, gte, lt, lte } = bounds;
        let given: Vec<FilterValue> = [gt, gte, lt, lte].into_iter().flatten().cloned().collect();
        let typed = |payload_type| Ok((payload_type, range(payload_type, bounds, at)?));
        let test = match PayloadType::of_values(&given, PayloadType::Datetime, at)? {
            PayloadType::Float => {
                let floats = typed(PayloadType::Float)?;
                vec![typed(PayloadType::Integer)?, floats]
            }
            payload_type => vec![typed(payload_type)?],
        };
        Self::new(path, ValueTest::Typed(test), at)
    }

    /// Any value.
    pub(super) fn has_value(path: &str, at: &str) -> Result<Self> {
        Self::new(path, ValueTest::HasValue, at)
    }

    /// `null`.
    pub(super) fn is_null(path: &str, at: &str) -> Result<Self> {
        Self::new(path, ValueTest::IsNull, at)
    }

    /// A test of a column that the segment does not have.
    pub(super) fn declared(path: &DeclaredPath, test: ColumnTest) -> Self {
        let test = match test {
            ColumnTest::HasValue => ValueTest::HasValue,
            ColumnTest::IsNull => ValueTest::IsNull,
            test => ValueTest::Typed(vec![(path.payload_type, test)]),
        };
        Self { parts: parts(&path.name), test }
    }

    fn new(path: &str, test: ValueTest, at: &str) -> Result<Self> {
        validate_path(path).map_err(|error| InvalidInput::new(at, error.problem))?;
        Ok(Self { parts: parts(path), test })
    }

    /// True if a payload, which is an object, passes.
    pub(crate) fn passes(&self, payload: &Value) -> bool {
        let parts: Vec<&str> = self.parts.iter().map(|part| &**part).collect();
        let visit = &mut |value: &Value| match self.test.passes(value) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        visit_leaves(payload, &parts, visit).is_break()
    }
}

fn parts(path: &str) -> Vec<Box<str>> {
    path.split('.').map(Box::from).collect()
}

impl ValueTest {
    fn passes(&self, value: &Value) -> bool {
        match self {
            Self::IsNull => value.is_null(),
            Self::HasValue => !value.is_null(),
            Self::Typed(tests) => {
                let mut read = tests.iter().filter_map(|(payload_type, test)| {
                    payload_type.read(value).map(|scalar| test.passes(scalar))
                });
                read.next().unwrap_or(false)
            }
        }
    }
}

impl PayloadType {
    /// The common type of a filter's values: [`Self::Float`] stands for all numbers, and texts have
    /// the type `text`.
    fn of_values(values: &[FilterValue], text: Self, at: &str) -> Result<Self> {
        let of = |value: &FilterValue| match value {
            FilterValue::Text(_) => text,
            FilterValue::Integer(_) | FilterValue::Float(_) => Self::Float,
            FilterValue::Boolean(_) => Self::Boolean,
        };
        // No values: nothing is compared.
        let Some(first) = values.first().map(of) else { return Ok(Self::Float) };
        match values.iter().find(|value| of(value) != first) {
            None => Ok(first),
            Some(other) => {
                let expected = "values of one type, since the path is not declared";
                let got = shortened(&other.to_json());
                Err(InvalidInput::new(at, Problem::Mismatch { expected, got }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::model::{Bounds, CollectionConfig, Filter};

    fn passes(filter: Filter, payload: Value) -> bool {
        filter.resolve(&CollectionConfig::new()).unwrap().holds(&payload)
    }

    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers_and_integers_exactly() {
        let n = |value: Value| json!({"n": value});
        let large = (1_i64 << 53) + 1;
        assert!(passes(Filter::eq("n", 2), n(json!(2.0))));
        assert!(passes(Filter::eq("n", 2.0), n(json!(2))));
        assert!(passes(Filter::eq("n", large), n(json!(large))));
        assert!(!passes(Filter::eq("n", large), n(json!(large - 1))));
        assert!(
            !passes(Filter::eq("n", 1.5), n(json!(1)))
                && passes(Filter::eq("n", 1.5), n(json!(1.5)))
        );
        let range = || Filter::range("n", Bounds::new().gte(1.5).lt(4));
        let found: Vec<bool> =
            [json!(1), json!(1.5), json!(2), json!(3.9), json!(4), json!("2"), json!(true)]
                .map(|value| passes(range(), n(value)))
                .into();
        assert_eq!(found, [false, true, true, true, false, false, false]);
        let most = Filter::range("n", Bounds::new().gt(i64::MAX));
        assert!(passes(most, n(json!(u64::MAX))));
    }

    #[test]
    fn texts_are_keywords_and_in_ranges_moments() {
        let at = |text: &str| json!({"at": text});
        assert!(passes(Filter::eq("at", "2024-05-01"), at("2024-05-01")));
        assert!(!passes(Filter::eq("at", "2024-05-01"), at("2024-05-01T00:00:00Z")));
        let may = || Filter::range("at", Bounds::new().gte("2024-05-01").lt("2024-06-01"));
        assert!(passes(may(), at("2024-05-31T23:00:00-00:30")));
        assert!(!passes(may(), at("2024-06-01")) && !passes(may(), at("May")));
    }

    #[test]
    fn values_are_found_as_at_declared_paths() {
        let payload = json!({"a": [{"b": [1, null]}, {"b": "x"}, 7], "c": {}, "d": [[2]], "e": []});
        for filter in [
            Filter::eq("a.b", 1),
            Filter::eq("a.b", "x"),
            Filter::is_null("a.b"),
            Filter::exists("a"),
            Filter::exists("c"),
            !Filter::exists("e"),
            !Filter::eq("d", 2),
            Filter::ne("x", true),
            Filter::none_of("a.b", [true]),
            !Filter::In { field: "a.b".into(), values: Vec::new() },
        ] {
            assert!(passes(filter.clone(), payload.clone()), "{}", filter.to_json());
            assert!(!passes(!filter.clone(), payload.clone()), "{}", filter.to_json());
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let refused =
            |filter: Filter| filter.resolve(&CollectionConfig::new()).unwrap_err().to_string();
        let mixed = Filter::In { field: "a".into(), values: vec![1.into(), "x".into()] };
        assert_eq!(
            refused(mixed),
            "filter.a: expected values of one type, since the path is not declared, got \"x\""
        );
        assert!(
            refused(Filter::eq("a..b", 1)).starts_with("filter.a..b: expected paths of at most")
        );
        let range = Filter::range("a", Bounds::new().gt("May"));
        assert!(refused(range).starts_with("filter.a: expected an RFC 3339 date"));
        let range = Filter::range("a", Bounds::new().gt(true));
        assert!(refused(range).ends_with("got a range of booleans; use `eq` or `in`"));
        let none = Filter::range("a", Bounds::new());
        assert!(refused(none).starts_with("filter.a: expected one of `gt`"));
        assert_eq!(refused(Filter::eq("a", f64::NAN)), "filter.a: expected a number, got null");
    }
}
