//! Memory residency of a field's sealed data.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{InvalidInput, Problem};

/// Memory policy for the mapped, sealed data of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// Lock the data that candidates are retrieved from (codes, or vectors without codes) in memory
    /// when a segment is opened, as far as the system's limit allows.
    Pinned,
    /// Leave caching to the system, with read-ahead for the data that candidates are retrieved
    /// from.
    #[default]
    Cached,
    /// Disable read-ahead, so that other fields keep their pages in memory.
    Cold,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pinned => "pinned",
            Self::Cached => "cached",
            Self::Cold => "cold",
        })
    }
}

impl FromStr for Memory {
    type Err = InvalidInput;

    fn from_str(text: &str) -> Result<Self, InvalidInput> {
        match text {
            "pinned" => Ok(Self::Pinned),
            "cached" => Ok(Self::Cached),
            "cold" => Ok(Self::Cold),
            _ => {
                let problem = Problem::Mismatch {
                    expected: "one of pinned cached cold",
                    got: format!("{text:?}"),
                };
                Err(InvalidInput::new("memory", problem))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Metric, VectorField};

    #[test]
    fn words_and_json_are_read_back() {
        for memory in [Memory::Pinned, Memory::Cached, Memory::Cold] {
            assert_eq!(memory.to_string().parse(), Ok(memory));
            assert_eq!(serde_json::to_string(&memory).unwrap(), format!("\"{memory}\""));
        }
        let refused = "hot".parse::<Memory>().unwrap_err().to_string();
        assert_eq!(refused, "memory: expected one of pinned cached cold, got \"hot\"");
    }

    #[test]
    fn fields_from_before_there_was_a_choice_are_cached() {
        let field: VectorField =
            serde_json::from_str(r#"{"dimension": 2, "kind": "single", "metric": "dot"}"#).unwrap();
        assert_eq!(field, VectorField::single(2, Metric::Dot));
        assert_eq!(field.memory, Memory::Cached);
    }
}
