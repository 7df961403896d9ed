//! Values at declared payload paths: as stored in columns, and converted back.

use std::sync::Arc;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};

use super::{CollectionConfig, FilterValue, InvalidInput, PayloadType, Problem, Scalar};

/// An owned [`Scalar`], with the same order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A keyword or boolean.
    Term(Box<str>),
    /// A value of an ordered type.
    Number(i64),
}

impl From<Scalar<'_>> for Key {
    fn from(scalar: Scalar<'_>) -> Self {
        match scalar {
            Scalar::Term(term) => Self::Term(term.into()),
            Scalar::Number(number) => Self::Number(number),
        }
    }
}

impl Key {
    /// Converts the key back to a value of `payload_type`.
    pub(crate) fn value(&self, payload_type: PayloadType) -> FilterValue {
        match (payload_type, self) {
            (PayloadType::Boolean, Self::Term(term)) => FilterValue::Boolean(&**term == "true"),
            (_, Self::Term(term)) => FilterValue::Text(term.to_string()),
            (PayloadType::Float, Self::Number(key)) => FilterValue::Float(float(*key)),
            (PayloadType::Datetime, Self::Number(micros)) => FilterValue::Text(moment(*micros)),
            (_, Self::Number(number)) => FilterValue::Integer(*number),
        }
    }
}

/// Inverse of `float_key`; the mapping is its own inverse.
fn float(key: i64) -> f64 {
    f64::from_bits((key ^ ((key >> 63) & i64::MAX)).cast_unsigned())
}

/// RFC 3339 text of a timestamp; in UTC if its year there has four digits.
fn moment(micros: i64) -> String {
    const MINUTE: i64 = 60_000_000;
    // The largest offset the parser accepts. A timestamp written with one may be outside the years
    // 0 to 9999 in UTC.
    const FARTHEST: i64 = 25 * 60 + 59;
    let local = |minutes: i64| -> Option<DateTime> {
        let since = SignedDuration::from_micros(micros.checked_add(minutes * MINUTE)?);
        let epoch = Date::constant(1970, 1, 1).at(0, 0, 0, 0);
        epoch.checked_add(since).ok().filter(|local| local.year() >= 0)
    };
    if let Some(utc) = local(0) {
        return format!("{utc}Z");
    }
    let shifted = |(minutes, offset)| Some(format!("{}{offset}", local(minutes)?));
    let shifted = [(-FARTHEST, "-25:59"), (FARTHEST, "+25:59")].into_iter().find_map(shifted);
    // The parser accepts no other timestamps.
    shifted.unwrap_or_else(|| micros.to_string())
}

/// A declared payload path. Columns are looked up by name, so that declaring more paths does not
/// move them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeclaredPath {
    /// Name of the path.
    pub name: Arc<str>,
    /// Type of its values.
    pub payload_type: PayloadType,
}

impl CollectionConfig {
    /// The declared path `name`, if there is one.
    pub(crate) fn declared_path(&self, name: &str) -> Option<DeclaredPath> {
        let payload_type = *self.payload.get(name)?;
        Some(DeclaredPath { name: name.into(), payload_type })
    }

    /// All declared paths, sorted by name.
    pub(crate) fn declared_paths(&self) -> impl Iterator<Item = DeclaredPath> {
        let paths = self.payload.iter();
        paths.map(|(name, &payload_type)| DeclaredPath { name: name.as_str().into(), payload_type })
    }

    /// As [`Self::declared_path`], but required; `at` is the location of the name in the request.
    ///
    /// # Errors
    /// [`Problem::UndeclaredPath`].
    pub(crate) fn declared(&self, name: &str, at: &str) -> Result<DeclaredPath, InvalidInput> {
        self.declared_path(name).ok_or_else(|| {
            let known = self.payload.iter();
            let known: Vec<String> =
                known.map(|(name, kind)| format!("{name} ({})", kind.as_str())).collect();
            let known = if known.is_empty() { "none".into() } else { known.join(", ") };
            let shown: String = name.chars().take(80).collect();
            InvalidInput::new(format!("{at}.{shown}"), Problem::UndeclaredPath { known })
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_come_back_as_they_were_written() {
        let back = |payload_type: PayloadType, value: serde_json::Value| {
            let scalar = payload_type.read(&value).unwrap();
            let shown = Key::from(scalar).value(payload_type);
            let again = match &shown {
                FilterValue::Text(text) => json!(text),
                FilterValue::Integer(number) => json!(number),
                FilterValue::Float(number) => json!(number),
                FilterValue::Boolean(value) => json!(value),
            };
            assert_eq!(payload_type.read(&again), Some(scalar), "{shown:?}");
            shown
        };
        assert_eq!(back(PayloadType::Keyword, json!("日本")), "日本".into());
        assert_eq!(back(PayloadType::Boolean, json!(true)), true.into());
        assert_eq!(back(PayloadType::Boolean, json!(false)), false.into());
        assert_eq!(back(PayloadType::Integer, json!(i64::MIN)), i64::MIN.into());
        for float in [0.0, -0.0, 1.5, -1.5, f64::MAX, f64::MIN, f64::MIN_POSITIVE] {
            assert_eq!(back(PayloadType::Float, json!(float)), float.into());
        }
        let moments = [
            ("2024-05-01", "2024-05-01T00:00:00Z"),
            ("2024-05-01T02:00:00.25+02:00", "2024-05-01T00:00:00.25Z"),
            ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
            ("9999-12-31T23:59:59-05:00", "9999-12-31T03:00:59-25:59"),
            ("0000-01-01T00:00:00+05:00", "0000-01-01T20:59:00+25:59"),
        ];
        for (written, shown) in moments {
            assert_eq!(back(PayloadType::Datetime, json!(written)), shown.into(), "{written}");
        }
    }

    #[test]
    fn declared_paths_are_found_by_name() {
        let config = CollectionConfig::new()
            .with_payload("year", PayloadType::Integer)
            .with_payload("lang", PayloadType::Keyword);
        let found = config.declared("year", "path").unwrap();
        assert_eq!((&*found.name, found.payload_type), ("year", PayloadType::Integer));
        let error = config.declared("tags", "path").unwrap_err().to_string();
        assert!(error.starts_with("path.tags: the path is not declared"), "{error}");
        assert!(error.contains("lang (keyword), year (integer)"), "{error}");
    }
}
