//! Filters: restrict a query, a count or a scroll by payloads and ids.
//!
//! A [`Filter`] is written by the user, in Rust or as JSON (`json`). It is resolved (`resolve`)
//! against the configuration of a collection into a [`Condition`], the form that segments evaluate:
//! declared paths become columns, values become terms and intervals of numbers. Undeclared paths
//! are evaluated on the payloads (`path_test`).

mod json;
mod path_test;
mod resolve;

use std::ops::Not;

pub use path_test::PathTest;
pub(crate) use resolve::in_intervals;
pub use resolve::{ColumnTest, Condition, Interval};

use super::PointId;

/// A predicate over points.
///
/// If a path holds several values (an array), one match is enough. A point without a value at a
/// path fails every test of that path's values, and so passes the `not` of each.
///
/// ```
/// use lanner::{Bounds, Filter};
///
/// let filter = Filter::eq("lang", "en")
///     .and(Filter::range("year", Bounds::new().gte(2000).lt(2010)))
///     .and(Filter::none_of("tag", ["draft", "spam"]));
/// let same = r#"{"and": [
///     {"field": "lang", "eq": "en"},
///     {"field": "year", "gte": 2000, "lt": 2010},
///     {"field": "tag", "nin": ["draft", "spam"]}
/// ]}"#;
/// assert_eq!(filter, Filter::parse(same)?);
/// // For short:
/// assert_eq!(Filter::parse(r#"{"lang": "en"}"#)?, Filter::eq("lang", "en"));
/// # Ok::<(), lanner::InvalidInput>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Points that match all of these; empty matches every point.
    And(Vec<Filter>),
    /// Points that match any of these; empty matches no point.
    Or(Vec<Filter>),
    /// Points that do not match this.
    Not(Box<Filter>),
    /// Points with this value.
    Eq {
        /// Payload path; if undeclared, payloads are read.
        field: String,
        /// The value.
        value: FilterValue,
    },
    /// Points with one of these values.
    In {
        /// Payload path; if undeclared, payloads are read.
        field: String,
        /// The values.
        values: Vec<FilterValue>,
    },
    /// Points with a value within bounds; for numbers and datetimes.
    Range {
        /// Payload path; if undeclared, payloads are read.
        field: String,
        /// The bounds.
        bounds: Bounds,
    },
    /// Points with a value other than `null`.
    Exists {
        /// Payload path; if undeclared, payloads are read.
        field: String,
    },
    /// Points with `null` at the path, alone or as an array element.
    IsNull {
        /// Payload path; if undeclared, payloads are read.
        field: String,
    },
    /// Points whose text has all of these words.
    Match {
        /// A payload path of a text field, or the name of one, for the text at any of its paths.
        field: String,
        /// The words, as [`TextQuery::parse`](crate::TextQuery::parse) reads them, but all required
        /// unless they have a `-`.
        text: String,
    },
    /// Points with one of these ids.
    Ids(Vec<PointId>),
}

/// A value to compare with payload values.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterValue {
    /// For keywords and datetimes.
    Text(String),
    /// For integers and floats.
    Integer(i64),
    /// For floats; also for integers if it is a whole number.
    Float(f64),
    /// For booleans.
    Boolean(bool),
}

/// Bounds of a range. All that are set must hold for the same value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Bounds {
    /// Values must be greater.
    pub gt: Option<FilterValue>,
    /// Values must be greater or equal.
    pub gte: Option<FilterValue>,
    /// Values must be less.
    pub lt: Option<FilterValue>,
    /// Values must be less or equal.
    pub lte: Option<FilterValue>,
}

impl Bounds {
    /// No bounds; set at least one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Greater than `value`.
    #[must_use]
    pub fn gt(self, value: impl Into<FilterValue>) -> Self {
        Self { gt: Some(value.into()), ..self }
    }

    /// Greater than or equal to `value`.
    #[must_use]
    pub fn gte(self, value: impl Into<FilterValue>) -> Self {
        Self { gte: Some(value.into()), ..self }
    }

    /// Less than `value`.
    #[must_use]
    pub fn lt(self, value: impl Into<FilterValue>) -> Self {
        Self { lt: Some(value.into()), ..self }
    }

    /// Less than or equal to `value`.
    #[must_use]
    pub fn lte(self, value: impl Into<FilterValue>) -> Self {
        Self { lte: Some(value.into()), ..self }
    }
}

impl Filter {
    /// Points with `value` at the path `field`.
    pub fn eq(field: impl Into<String>, value: impl Into<FilterValue>) -> Self {
        Self::Eq { field: field.into(), value: value.into() }
    }

    /// Points without `value` at the path `field`, including those with no value there.
    pub fn ne(field: impl Into<String>, value: impl Into<FilterValue>) -> Self {
        !Self::eq(field, value)
    }

    /// Points with none of these values at the path `field`, including those with no value there.
    pub fn none_of<V: Into<FilterValue>>(
        field: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        !Self::one_of(field, values)
    }

    /// Points with one of these values at the path `field`.
    pub fn one_of<V: Into<FilterValue>>(
        field: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self::In { field: field.into(), values }
    }

    /// Points with a value within bounds at the path `field`.
    pub fn range(field: impl Into<String>, bounds: Bounds) -> Self {
        Self::Range { field: field.into(), bounds }
    }

    /// Points with a value at the path `field`.
    pub fn exists(field: impl Into<String>) -> Self {
        Self::Exists { field: field.into() }
    }

    /// Points with `null` at the path `field`.
    pub fn is_null(field: impl Into<String>) -> Self {
        Self::IsNull { field: field.into() }
    }

    /// Points whose text has all of these words; see [`Self::Match`].
    pub fn matches(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Match { field: field.into(), text: text.into() }
    }

    /// Points with one of these ids.
    pub fn ids<I: Into<PointId>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self::Ids(ids.into_iter().map(Into::into).collect())
    }

    /// Points that match all of these.
    pub fn all(filters: impl IntoIterator<Item = Self>) -> Self {
        Self::And(filters.into_iter().collect())
    }

    /// Points that match any of these.
    pub fn any(filters: impl IntoIterator<Item = Self>) -> Self {
        Self::Or(filters.into_iter().collect())
    }

    /// Points that match both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match self {
            Self::And(mut filters) => {
                filters.push(other);
                Self::And(filters)
            }
            filter => Self::And(vec![filter, other]),
        }
    }

    /// Points that match either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Or(mut filters) => {
                filters.push(other);
                Self::Or(filters)
            }
            filter => Self::Or(vec![filter, other]),
        }
    }
}

impl Not for Filter {
    type Output = Self;

    fn not(self) -> Self {
        Self::Not(Box::new(self))
    }
}

impl From<&str> for FilterValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for FilterValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for FilterValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<i32> for FilterValue {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<f64> for FilterValue {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for FilterValue {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}
