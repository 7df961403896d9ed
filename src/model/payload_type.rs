//! Types of declared payload paths, and the comparison of their values.
//!
//! Values of every type are stored in columns as one of two kinds: a term (compared for equality)
//! or an ordered 64-bit number. Integers are stored as they are, datetimes as microseconds since
//! 1970, and floats as integers with the same order.

use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{InvalidInput, Problem, limits};

/// The type of the values at a declared payload path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadType {
    /// Text that is compared as a whole.
    Keyword,
    /// A signed 64-bit integer.
    Integer,
    /// A double-precision number.
    Float,
    /// `true` or `false`.
    Boolean,
    /// A timestamp as RFC 3339 text such as `2024-05-01T12:00:00Z`, or a date (`2024-05-01`,
    /// meaning midnight UTC); compared in microseconds.
    Datetime,
}

impl PayloadType {
    /// Its name in configurations: `keyword`, `integer`, `float`, `boolean`, `datetime`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Datetime => "datetime",
        }
    }

    /// Description of a valid value, for error messages.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Keyword => "a text of at most 1024 bytes",
            Self::Integer => "an integer of 64 bits with a sign",
            Self::Float => "a number",
            Self::Boolean => "true or false",
            Self::Datetime => "an RFC 3339 date and time like 2024-05-01T12:00:00Z, or a date",
        }
    }

    /// True if values have an order.
    pub fn is_ordered(self) -> bool {
        !self.is_terms()
    }

    /// True if values are terms, false if they are numbers.
    pub(crate) fn is_terms(self) -> bool {
        matches!(self, Self::Keyword | Self::Boolean)
    }

    /// Reads a JSON scalar; `None` if it is of another type.
    pub(crate) fn read(self, value: &Value) -> Option<Scalar<'_>> {
        match self {
            Self::Keyword => value.as_str().and_then(keyword),
            Self::Integer => value.as_i64().map(Scalar::Number),
            Self::Float => value.as_f64().map(|value| Scalar::Number(float_key(value))),
            Self::Boolean => value.as_bool().map(boolean),
            Self::Datetime => value.as_str().and_then(datetime_key).map(Scalar::Number),
        }
    }
}

/// A value as stored in columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar<'v> {
    /// A keyword or boolean.
    Term(&'v str),
    /// A value of an ordered type.
    Number(i64),
}

/// The term for a text; `None` if it is too long.
pub(crate) fn keyword(text: &str) -> Option<Scalar<'_>> {
    (text.len() <= limits::MAX_KEYWORD_BYTES).then_some(Scalar::Term(text))
}

/// The term for a boolean.
pub(crate) fn boolean(value: bool) -> Scalar<'static> {
    Scalar::Term(if value { "true" } else { "false" })
}

/// Maps a float to an integer, preserving the order; −0 and 0 are equal.
pub(crate) fn float_key(value: f64) -> i64 {
    let bits = (value + 0.0).to_bits().cast_signed();
    // Negative floats are ordered by magnitude: flip all but the sign.
    bits ^ ((bits >> 63) & i64::MAX)
}

/// Microseconds since 1970 of a timestamp (UTC if it has no offset) or of midnight UTC of a date.
/// All years from 0 to 9999 are accepted: the last moment of 9999 often means "for ever".
pub(crate) fn datetime_key(text: &str) -> Option<i64> {
    const DATE_BYTES: usize = "2024-05-01".len();
    if text.len() == DATE_BYTES {
        return microseconds(text.parse::<Date>().ok()?.at(0, 0, 0, 0), 0);
    }
    // The parser also accepts named time zones and dates without dashes, which RFC 3339 does not.
    let bytes = text.as_bytes();
    let separated = matches!(bytes.get(DATE_BYTES), Some(b'T' | b't' | b' '));
    if bytes.get(4) != Some(&b'-') || !separated || text.contains('[') {
        return None;
    }
    let pieces = Pieces::parse(text).ok()?;
    let offset_seconds = match pieces.offset() {
        Some(PiecesOffset::Numeric(offset)) => offset.offset().seconds(),
        Some(_) | None => 0,
    };
    microseconds(pieces.date().to_datetime(pieces.time()?), offset_seconds)
}

fn microseconds(local: DateTime, offset_seconds: i32) -> Option<i64> {
    let since = local.duration_since(Date::constant(1970, 1, 1).at(0, 0, 0, 0));
    i64::try_from(since.as_micros() - i128::from(offset_seconds) * 1_000_000).ok()
}

/// Validates a payload path: keys of nested objects, separated by dots.
///
/// # Errors
/// [`Problem::Mismatch`] at `payload`.
pub(crate) fn validate_path(path: &str) -> Result<(), InvalidInput> {
    let parts = path.split('.');
    let sound = path.len() <= limits::MAX_PATH_BYTES
        && parts.clone().count() <= limits::MAX_PATH_PARTS
        && parts.clone().all(|part| !part.is_empty() && !part.contains(char::is_control));
    if sound {
        return Ok(());
    }
    let expected = "paths of at most 256 bytes and 16 keys, as in `meta.year`";
    let got = format!("{:?}", path.chars().take(80).collect::<String>());
    Err(InvalidInput::new("payload", Problem::Mismatch { expected, got }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn keys_of_floats_are_in_the_order_of_floats(a in any::<f64>(), b in any::<f64>()) {
            prop_assume!(!a.is_nan() && !b.is_nan());
            prop_assert_eq!(float_key(a).cmp(&float_key(b)), a.partial_cmp(&b).unwrap());
        }
    }

    #[test]
    fn zeros_are_equal_and_neighbours_adjacent() {
        assert_eq!(float_key(-0.0), float_key(0.0));
        assert_eq!(float_key(1.0_f64.next_up()), float_key(1.0) + 1);
    }

    #[test]
    fn moments_are_microseconds_in_utc() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01t00:00:00.000001z", Some(1)),
            ("1970-01-01 01:00:00+01:00", Some(0)),
            ("1969-12-31T23:59:59Z", Some(-1_000_000)),
            ("1970-01-02", Some(86_400_000_000)),
            ("2024-02-29T12:30:00.5Z", Some(1_709_209_800_500_000)),
            ("2023-02-29", None),
            ("2024-05-01T12:00:00", Some(1_714_564_800_000_000)),
            ("2024-05-01T12:00:00+02:00[Europe/Berlin]", None),
            ("20240501T120000Z", None),
            ("yesterday", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(datetime_key(text), expected, "{text}");
        }
    }

    #[test]
    fn scalars_of_another_type_are_not_read() {
        let types = [
            (PayloadType::Keyword, json!("x"), json!(1)),
            (PayloadType::Integer, json!(-3), json!(3.0)),
            (PayloadType::Integer, json!(i64::MAX), json!(u64::MAX)),
            (PayloadType::Float, json!(3), json!("3")),
            (PayloadType::Boolean, json!(false), json!(0)),
            (PayloadType::Datetime, json!("2024-05-01"), json!(1_700_000_000)),
        ];
        for (payload_type, fits, other) in types {
            assert!(payload_type.read(&fits).is_some(), "{payload_type:?} {fits}");
            assert!(payload_type.read(&other).is_none(), "{payload_type:?} {other}");
        }
        let long = json!("x".repeat(limits::MAX_KEYWORD_BYTES + 1));
        assert!(PayloadType::Keyword.read(&long).is_none());
    }

    #[test]
    fn paths_are_keys_and_dots() {
        for path in ["year", "meta.year", "a b.ä"] {
            validate_path(path).unwrap();
        }
        let (long, deep) = ("x".repeat(257), ["a"; 17].join("."));
        for path in ["", ".", "a.", ".a", "a..b", "a\n", &long, &deep] {
            let error = validate_path(path).unwrap_err().to_string();
            assert!(error.starts_with("payload: expected paths of at most"), "{error}");
        }
    }
}
