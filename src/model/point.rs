//! A point: an id, its vectors by field name, and a payload.

use std::collections::{BTreeMap, BTreeSet};

use super::{Payload, PointId, PointIdRef, Vector};

/// A stored point: an id, named vectors and an optional JSON payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The id.
    pub id: PointId,
    /// Vectors by field name. A point may omit fields; queries on those skip it.
    pub vectors: BTreeMap<String, Vector>,
    /// The payload.
    pub payload: Option<Payload>,
    /// Read points only: fields whose vectors were reconstructed from codes, because the collection
    /// does not keep the raw vectors. Ignored on write.
    pub reconstructed: BTreeSet<String>,
}

impl Point {
    /// A point without vectors and payload.
    pub fn new(id: impl Into<PointId>) -> Self {
        Self {
            id: id.into(),
            vectors: BTreeMap::new(),
            payload: None,
            reconstructed: BTreeSet::new(),
        }
    }

    /// Adds a vector for `field`.
    #[must_use]
    pub fn with_vector(mut self, field: impl Into<String>, vector: impl Into<Vector>) -> Self {
        self.vectors.insert(field.into(), vector.into());
        self
    }

    /// Sets the payload.
    #[must_use]
    pub fn with_payload(mut self, payload: Payload) -> Self {
        self.payload = Some(payload);
        self
    }

    /// Size of id, vectors and payload, in bytes.
    pub fn size_bytes(&self) -> u64 {
        let id = match self.id.as_ref() {
            PointIdRef::Number(_) => 8,
            PointIdRef::Text(text) => text.len(),
        };
        let vectors: usize = self.vectors.values().map(|v| 4 * v.as_ref().values().len()).sum();
        let payload = self.payload.as_ref().map_or(0, |payload| payload.as_str().len());
        (id + vectors + payload) as u64
    }
}

/// Parts of a point to return besides its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Include {
    /// The payload.
    pub payload: bool,
    /// The vectors.
    pub vectors: bool,
}

impl Include {
    /// Only the id.
    pub const NOTHING: Self = Self { payload: false, vectors: false };
    /// Payload, no vectors.
    pub const PAYLOAD: Self = Self { payload: true, vectors: false };
    /// Payload and vectors.
    pub const ALL: Self = Self { payload: true, vectors: true };
}
