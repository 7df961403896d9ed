//! Payloads: one JSON object per point, kept as the original text.

use serde_json::{Map, Value};

use super::{InvalidInput, Problem, limits};

/// A JSON object, as text.
///
/// The text is validated once and kept verbatim, so that numbers lose no digits and nothing is
/// serialized again when it is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(Box<str>);

impl Payload {
    /// Validates JSON text.
    ///
    /// # Errors
    /// If the text is too long, not JSON, or not an object.
    pub fn parse(text: &str) -> Result<Self, InvalidInput> {
        let mismatch = |got| {
            let expected = "a JSON object";
            InvalidInput::new("payload", Problem::Mismatch { expected, got })
        };
        if text.len() > limits::MAX_PAYLOAD_BYTES {
            let problem = Problem::Mismatch {
                expected: "at most 1048576 bytes of JSON",
                got: format!("{} bytes", text.len()),
            };
            return Err(InvalidInput::new("payload", problem));
        }
        // A full parse, which also bounds the nesting.
        serde_json::from_str::<Map<String, Value>>(text)
            .map_err(|error| mismatch(error.to_string()))?;
        Ok(Self(text.trim().into()))
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The object, parsed.
    pub fn to_map(&self) -> Map<String, Value> {
        // Validated by `parse`; a payload read back from a checksummed file is the same text.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// Wraps text that was validated before it was stored.
    pub(crate) fn from_stored(text: &str) -> Self {
        Self(text.into())
    }
}

impl TryFrom<Map<String, Value>> for Payload {
    type Error = InvalidInput;

    fn try_from(map: Map<String, Value>) -> Result<Self, InvalidInput> {
        Self::parse(&Value::Object(map).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_text_and_every_digit() {
        let payload = Payload::parse(" {\"n\": 9007199254740993, \"f\": 0.1} ").unwrap();
        assert_eq!(payload.as_str(), "{\"n\": 9007199254740993, \"f\": 0.1}");
        assert_eq!(payload.to_map()["n"], 9_007_199_254_740_993_u64);
    }

    #[test]
    fn refuses_what_is_no_object() {
        for text in ["", "[1]", "3", "null", "{\"a\":}", "{} {}", "{\"a\":1"] {
            let error = Payload::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("payload: expected a JSON object, got"), "{error}");
        }
    }

    #[test]
    fn refuses_deep_nesting_instead_of_overflowing_the_stack() {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Payload::parse(&text).is_err());
    }

    #[test]
    fn refuses_over_long_text() {
        let text = format!("{{\"a\":\"{}\"}}", "x".repeat(limits::MAX_PAYLOAD_BYTES));
        assert!(Payload::parse(&text).unwrap_err().to_string().contains("at most 1048576 bytes"));
    }
}
