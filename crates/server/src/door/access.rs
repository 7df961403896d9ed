//! Access rights of callers.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tonic::{Code, Status};

use super::refusal::Refusal;

/// Role of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// May query, read and list.
    ReadOnly,
    /// May do everything.
    ReadWrite,
}

impl Role {
    /// Name in key files.
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

/// A role, for all collections or for some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The role.
    pub role: Role,
    /// The collections; all if `None`.
    pub collections: Option<Arc<BTreeSet<String>>>,
}

impl Access {
    /// Full access, as on a server without keys.
    pub const FULL: Self = Self { role: Role::ReadWrite, collections: None };

    /// Checks the role required by a method.
    pub fn check_role(&self, needed: Role) -> Result<(), Refusal> {
        if self.role >= needed {
            return Ok(());
        }
        let message = format!("this needs a {needed} key, and the given one is {}", self.role);
        Err(Refusal::new(Code::PermissionDenied, http::StatusCode::FORBIDDEN, message))
    }

    /// True if the collection is accessible.
    pub fn reaches(&self, collection: &str) -> bool {
        self.collections.as_ref().is_none_or(|names| names.contains(collection))
    }

    /// Checks access to a collection before it is looked up, so that a key reveals nothing about
    /// others.
    pub fn check_collection(&self, collection: &str) -> Result<(), Status> {
        if self.reaches(collection) {
            return Ok(());
        }
        let message = format!("the given key does not reach collection {collection:?}");
        Err(Status::permission_denied(message))
    }
}
