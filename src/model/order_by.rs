//! An order of points by the values at a payload path.

use super::{FilterValue, PointId};

/// By which payload path points are ordered, and which way. Equal values are ordered by id, the smaller
/// first; points without a value are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// A declared payload path.
    pub path: String,
    /// Which values come first.
    pub direction: Direction,
}

impl OrderBy {
    /// Small values first.
    pub fn ascending(path: impl Into<String>) -> Self {
        Self { path: path.into(), direction: Direction::Ascending }
    }

    /// Large values first.
    pub fn descending(path: impl Into<String>) -> Self {
        Self { path: path.into(), direction: Direction::Descending }
    }
}

/// Which values come first. Of several values of a point the one that comes first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Small ones.
    #[default]
    Ascending,
    /// Large ones.
    Descending,
}

impl Direction {
    /// The order of two values in this direction.
    pub(crate) fn compare<T: Ord>(self, a: &T, b: &T) -> std::cmp::Ordering {
        match self {
            Self::Ascending => a.cmp(b),
            Self::Descending => b.cmp(a),
        }
    }
}

/// The place of a point in an [`OrderBy`].
#[derive(Debug, Clone, PartialEq)]
pub struct OrderPlace {
    /// The value that it is ordered by.
    pub value: FilterValue,
    /// Its id.
    pub id: PointId,
}
