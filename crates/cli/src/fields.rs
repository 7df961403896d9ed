//! `--field name:kind:dimension:metric[:element]`.

use std::str::FromStr;

use serde::de::DeserializeOwned;

use lanner::{ElementType, Metric, VectorField, VectorKind};

/// A field as it is given on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldArgument {
    /// The field's name.
    pub name: String,
    /// Its settings.
    pub field: VectorField,
}

impl FromStr for FieldArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (name, kind, dimension, metric, element) = match *parts.as_slice() {
            [name, "sparse"] => {
                return Ok(Self { name: name.to_owned(), field: VectorField::sparse() });
            }
            [name, kind, dimension, metric] => (name, kind, dimension, metric, "f32"),
            [name, kind, dimension, metric, element] => (name, kind, dimension, metric, element),
            _ => {
                return Err(format!(
                    "expected name:kind:dimension:metric[:element] or name:sparse, got {text:?}"
                ));
            }
        };
        let dimension = dimension
            .parse()
            .map_err(|_| format!("expected a number of dimensions, got {dimension:?}"))?;
        let kind: VectorKind = word("kind", "single, multi or sparse", kind)?;
        let metric: Metric = word("metric", "dot, cosine or l2", metric)?;
        let element: ElementType = word("element", "f32 or f16", element)?;
        let field = VectorField { element, ..VectorField::of_kind(kind, dimension, metric) };
        Ok(Self { name: name.to_owned(), field })
    }
}

/// Reads a word the way configurations are read.
pub fn word<T: DeserializeOwned>(what: &str, expected: &str, text: &str) -> Result<T, String> {
    serde_json::from_value(text.into())
        .map_err(|_| format!("expected {expected} as the {what}, got {text:?}"))
}

/// `--metric`, read as a word.
pub fn metric(text: &str) -> Result<Metric, String> {
    word("metric", "dot, cosine or l2", text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_fields_with_and_without_element() {
        let field: FieldArgument = "text:single:384:cosine".parse().unwrap();
        assert_eq!(field.name, "text");
        assert_eq!(field.field, VectorField::single(384, Metric::Cosine));
        let field: FieldArgument = "t:multi:128:dot:f16".parse().unwrap();
        assert_eq!(field.field, VectorField::multi(128, Metric::Dot).half_precision());
        let field: FieldArgument = "splade:sparse".parse().unwrap();
        assert_eq!((field.name.as_str(), field.field), ("splade", VectorField::sparse()));
    }

    #[test]
    fn says_which_part_is_wrong() {
        let refused = |text: &str| text.parse::<FieldArgument>().unwrap_err();
        assert!(refused("text").contains("name:kind:dimension:metric"));
        assert!(refused("a:single:3:dot:f32:x").contains("name:kind:dimension:metric"));
        assert_eq!(
            refused("a:one:3:dot"),
            "expected single, multi or sparse as the kind, got \"one\""
        );
        assert_eq!(refused("a:single:x:dot"), "expected a number of dimensions, got \"x\"");
        assert!(refused("a:single:3:manhattan").contains("dot, cosine or l2"));
        assert!(refused("a:single:3:dot:f8").contains("f32 or f16"));
    }
}
