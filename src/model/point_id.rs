//! Point ids: unsigned numbers or text.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{InvalidInput, Problem, limits};

/// The id of a point, chosen by the user: a number or a text.
///
/// The two never collide: `7` and `"7"` are different points. Numbers sort before texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PointId {
    /// An unsigned 64-bit number.
    Number(u64),
    /// A text of 1 to [`limits::MAX_ID_BYTES`] bytes.
    Text(Box<str>),
}

impl PointId {
    /// Heap memory, in bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        match self {
            Self::Number(_) => 0,
            Self::Text(text) => text.len(),
        }
    }

    /// A borrowed view.
    pub fn as_ref(&self) -> PointIdRef<'_> {
        match self {
            Self::Number(number) => PointIdRef::Number(*number),
            Self::Text(text) => PointIdRef::Text(text),
        }
    }

    /// Checks the length of a text id.
    ///
    /// # Errors
    /// [`Problem::OutOfRange`] for an empty or over-long text.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        match self {
            Self::Number(_) => Ok(()),
            Self::Text(text) if (1..=limits::MAX_ID_BYTES).contains(&text.len()) => Ok(()),
            Self::Text(text) => Err(InvalidInput::new(
                "id",
                Problem::Mismatch {
                    expected: "a text id of 1 to 512 bytes",
                    got: format!("{} bytes", text.len()),
                },
            )),
        }
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// A borrowed [`PointId`], with the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PointIdRef<'a> {
    /// An unsigned 64-bit number.
    Number(u64),
    /// A text.
    Text(&'a str),
}

impl From<PointIdRef<'_>> for PointId {
    fn from(id: PointIdRef<'_>) -> Self {
        match id {
            PointIdRef::Number(number) => Self::Number(number),
            PointIdRef::Text(text) => Self::Text(text.into()),
        }
    }
}

impl From<u64> for PointId {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for PointId {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for PointId {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_never_collide_and_numbers_sort_first() {
        assert_ne!(PointId::from(7), PointId::from("7"));
        assert!(PointId::from(u64::MAX) < PointId::from("0"));
    }

    #[test]
    fn refuses_empty_and_over_long_texts() {
        assert!(PointId::from("").validate().is_err());
        assert!(PointId::from("x".repeat(512)).validate().is_ok());
        let error = PointId::from("x".repeat(513)).validate().unwrap_err();
        assert_eq!(error.to_string(), "id: expected a text id of 1 to 512 bytes, got 513 bytes");
    }
}
