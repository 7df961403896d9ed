//! What a caller may do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tonic::{Code, Status};

use super::refusal::Refusal;

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// To query, read and list.
    ReadOnly,
    /// Everything.
    ReadWrite,
}

impl Role {
    /// As in a file of keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::ReadWrite => "read-write",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read-only" => Ok(Self::ReadOnly),
            "read-write" => Ok(Self::ReadWrite),
            _ => Err(format!("expected `read-only` or `read-write`, got {text:?}")),
        }
    }
}

/// A role, in all collections or in some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// What is allowed.
    pub role: Role,
    /// Where; everywhere if not set.
    pub collections: Option<Arc<BTreeSet<String>>>,
}

impl Access {
    /// Everything, as on a server without keys.
    pub const FULL: Self = Self { role: Role::ReadWrite, collections: None };

    /// Checks what a method needs.
    pub fn check_role(&self, needed: Role) -> Result<(), Refusal> {
        if self.role >= needed {
            return Ok(());
        }
        let message = format!("this needs a {needed} key, and the given one is {}", self.role);
        Err(Refusal::new(Code::PermissionDenied, http::StatusCode::FORBIDDEN, message))
    }

    /// Whether a collection is within reach.
    pub fn reaches(&self, collection: &str) -> bool {
        self.collections.as_ref().is_none_or(|names| names.contains(collection))
    }

    /// Checks a collection, before it is looked for: a key says nothing about others.
    pub fn check_collection(&self, collection: &str) -> Result<(), Status> {
        if self.reaches(collection) {
            return Ok(());
        }
        let message = format!("the given key does not reach collection {collection:?}");
        Err(Status::permission_denied(message))
    }
}
