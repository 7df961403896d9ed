//! The `lanner create` that would fit a file.

use lanner::VectorKind;

/// A field that vectors of a file would fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    pub name: String,
    pub kind: VectorKind,
    pub dimension: usize,
    pub half_precision: bool,
}

impl Suggestion {
    /// The command that creates a collection of these fields; `target` says where.
    pub fn command(fields: &[Self], collection: &str, target: &str) -> String {
        let mut command = format!("lanner create {collection}{target}");
        for Self { name, kind, dimension, half_precision } in fields {
            let element = if *half_precision { ":f16" } else { "" };
            if *kind == VectorKind::Sparse {
                command += &format!(" --field {name}:sparse");
                continue;
            }
            let kind = kind.as_str();
            command += &format!(" --field {name}:{kind}:{dimension}:cosine{element}");
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_has_a_field_for_each() {
        let field = |name: &str, kind, half_precision| Suggestion {
            name: name.into(),
            kind,
            dimension: 8,
            half_precision,
        };
        let fields =
            [field("text", VectorKind::Single, false), field("tokens", VectorKind::Multi, true)];
        assert_eq!(
            Suggestion::command(&fields, "docs", " --data db"),
            "lanner create docs --data db --field text:single:8:cosine --field tokens:multi:8:cosine:f16"
        );
    }
}
