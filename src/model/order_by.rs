//! Ordering of points by the values at a payload path.

use super::{FilterValue, PointId};

/// Sort order: a payload path and a direction. Ties are broken by id, ascending; points without a
/// value are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// A declared payload path.
    pub path: String,
    /// Sort direction.
    pub direction: Direction,
}

impl OrderBy {
    /// Smallest values first.
    pub fn ascending(path: impl Into<String>) -> Self {
        Self { path: path.into(), direction: Direction::Ascending }
    }

    /// Largest values first.
    pub fn descending(path: impl Into<String>) -> Self {
        Self { path: path.into(), direction: Direction::Descending }
    }
}

/// Sort direction. A point with several values is placed by the one that sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Smallest first.
    #[default]
    Ascending,
    /// Largest first.
    Descending,
}

impl Direction {
    /// Compares two values in this direction.
    pub(crate) fn compare<T: Ord>(self, a: &T, b: &T) -> std::cmp::Ordering {
        match self {
            Self::Ascending => a.cmp(b),
            Self::Descending => b.cmp(a),
        }
    }
}

/// Position of a point in an [`OrderBy`].
#[derive(Debug, Clone, PartialEq)]
pub struct OrderPlace {
    /// Value it is sorted by.
    pub value: FilterValue,
    /// Id of the point.
    pub id: PointId,
}
