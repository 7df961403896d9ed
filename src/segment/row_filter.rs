//! A condition, prepared for the rows of one segment.
//!
//! It answers three questions at different prices: how many rows match, roughly, from counts
//! alone; whether one row does, from that row's values; and which rows do, from the inverted
//! lists. A planner asks the first to choose between the other two (the selectivity-based choice
//! of ACORN, arXiv 2403.04871, §5).

use std::borrow::Cow;

use roaring::RoaringBitmap;

use super::SegmentReader;
use super::payload_index::{NumberRows, TermRows};
use crate::error::{Error, Result};
use crate::model::Condition;

/// One row is checked so many times faster than its place in a list is found.
const CHECKED_ROWS: u64 = 8;

/// How many rows of a segment match, deleted ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cardinality {
    /// No fewer than this.
    pub least: u64,
    /// So many, if the parts of the filter have nothing to do with each other.
    pub expected: u64,
    /// No more than this.
    pub most: u64,
}

impl Cardinality {
    /// A number that is known.
    pub fn exactly(rows: u64) -> Self {
        Self { least: rows, expected: rows, most: rows }
    }
}

/// A condition, prepared for the rows of one segment. It takes little memory, whatever their
/// number, but in a mutable segment, where it is a bitmap.
#[derive(Debug, Clone)]
pub struct RowFilter<'s> {
    rows: u32,
    root: Node<'s>,
}

#[derive(Debug, Clone)]
pub(super) enum Node<'s> {
    All(Vec<Node<'s>>),
    Any(Vec<Node<'s>>),
    Not(Box<Node<'s>>),
    Rows(Cow<'s, RoaringBitmap>),
    Terms(TermRows<'s>),
    Numbers(NumberRows<'s>),
}

impl<'s> Node<'s> {
    /// Exactly these rows.
    pub fn rows(rows: RoaringBitmap) -> Self {
        Self::Rows(Cow::Owned(rows))
    }

    /// The rows with the ids of [`Condition::Ids`].
    ///
    /// # Errors
    /// If a sealed file turns out damaged, or the condition is another.
    pub fn ids(reader: &dyn SegmentReader, condition: &Condition) -> Result<Self> {
        let Condition::Ids(ids) = condition else {
            return Err(Error::Internal("a part of a filter cannot be a leaf".into()));
        };
        let mut rows = RoaringBitmap::new();
        for id in ids {
            rows.extend(reader.find(id)?);
        }
        Ok(Self::rows(rows))
    }
}

impl<'s> RowFilter<'s> {
    /// Prepares a condition; `leaf` prepares its tests of columns and ids.
    pub(super) fn new(
        rows: u32,
        condition: &Condition,
        leaf: &mut dyn FnMut(&Condition) -> Result<Node<'s>>,
    ) -> Result<Self> {
        Ok(Self { rows, root: prepare(condition, leaf)? })
    }

    /// A filter that exactly these rows match.
    pub(crate) fn of_rows(rows: u32, matching: RoaringBitmap) -> Self {
        Self { rows, root: Node::rows(matching) }
    }

    /// How many rows match, from counts alone: time does not depend on the number of rows.
    pub fn cardinality(&self) -> Cardinality {
        self.root.cardinality(u64::from(self.rows))
    }

    /// Whether a row matches.
    #[inline]
    pub fn matches(&self, row: u32) -> bool {
        self.root.matches(row)
    }

    /// All rows that match.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] if a sealed file turns out damaged.
    pub fn bitmap(&self) -> Result<RoaringBitmap> {
        self.root.bitmap(self.rows).map(Cow::into_owned)
    }
}

fn prepare<'s>(
    condition: &Condition,
    leaf: &mut dyn FnMut(&Condition) -> Result<Node<'s>>,
) -> Result<Node<'s>> {
    let mut list = |conditions: &[Condition]| -> Result<Vec<Node<'s>>> {
        conditions.iter().map(|condition| prepare(condition, leaf)).collect()
    };
    match condition {
        Condition::All(conditions) => Ok(Node::All(list(conditions)?)),
        Condition::Any(conditions) => Ok(Node::Any(list(conditions)?)),
        Condition::Not(condition) => Ok(Node::Not(Box::new(prepare(condition, leaf)?))),
        Condition::Column { .. } | Condition::Ids(_) => leaf(condition),
    }
}

impl<'s> Node<'s> {
    fn matches(&self, row: u32) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.matches(row)),
            Self::Any(nodes) => nodes.iter().any(|node| node.matches(row)),
            Self::Not(node) => !node.matches(row),
            Self::Rows(rows) => rows.contains(row),
            Self::Terms(terms) => terms.matches(row),
            Self::Numbers(numbers) => numbers.matches(row),
        }
    }

    fn cardinality(&self, rows: u64) -> Cardinality {
        match self {
            Self::All(nodes) => all(nodes.iter().map(|node| node.cardinality(rows)), rows),
            // Matching none of them is matching all of their negations.
            Self::Any(nodes) => {
                let negated = nodes.iter().map(|node| not(node.cardinality(rows), rows));
                not(all(negated, rows), rows)
            }
            Self::Not(node) => not(node.cardinality(rows), rows),
            Self::Rows(matching) => Cardinality::exactly(matching.len()),
            Self::Terms(terms) => terms.cardinality(),
            Self::Numbers(numbers) => numbers.cardinality(),
        }
    }

    fn bitmap(&self, rows: u32) -> Result<Cow<'_, RoaringBitmap>> {
        let found = match self {
            Self::All(nodes) => intersection(nodes, rows)?,
            Self::Any(nodes) => {
                let mut found = RoaringBitmap::new();
                for node in nodes {
                    found |= &*node.bitmap(rows)?;
                }
                found
            }
            Self::Not(node) => every(rows) - &*node.bitmap(rows)?,
            Self::Rows(matching) => return Ok(Cow::Borrowed(matching)),
            Self::Terms(terms) => terms.bitmap()?,
            Self::Numbers(numbers) => numbers.bitmap(),
        };
        Ok(Cow::Owned(found))
    }
}

fn every(rows: u32) -> RoaringBitmap {
    let mut every = RoaringBitmap::new();
    every.insert_range(0..rows);
    every
}

/// What all nodes match: the rows of the rarest, as long as the others match them.
fn intersection(nodes: &[Node<'_>], rows: u32) -> Result<RoaringBitmap> {
    let expected = |node: &Node<'_>| node.cardinality(u64::from(rows)).expected;
    let mut nodes: Vec<(u64, &Node<'_>)> =
        nodes.iter().map(|node| (expected(node), node)).collect();
    nodes.sort_by_key(|&(expected, _)| expected);
    let Some(((_, rarest), others)) = nodes.split_first() else { return Ok(every(rows)) };
    let mut found = rarest.bitmap(rows)?.into_owned();
    for &(expected, node) in others {
        if found.len().saturating_mul(CHECKED_ROWS) < expected {
            found = found.iter().filter(|&row| node.matches(row)).collect();
        } else {
            found &= &*node.bitmap(rows)?;
        }
    }
    Ok(found)
}

fn all(parts: impl Iterator<Item = Cardinality>, rows: u64) -> Cardinality {
    let share = |matching: u64| matching as f64 / rows.max(1) as f64;
    let (mut least, mut most, mut expected) = (rows, rows, 1.0);
    for part in parts {
        // Rows that a part may miss are missed by the whole.
        least = least.saturating_sub(rows - part.least);
        most = most.min(part.most);
        expected *= share(part.expected);
    }
    let expected = ((expected * rows as f64).round() as u64).clamp(least, most);
    Cardinality { least, expected, most }
}

fn not(part: Cardinality, rows: u64) -> Cardinality {
    let Cardinality { least, expected, most } = part;
    Cardinality { least: rows - most, expected: rows - expected, most: rows - least }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(range: std::ops::Range<u32>) -> Node<'static> {
        Node::rows(range.collect())
    }

    fn bounds(root: Node<'static>) -> (u64, u64, u64) {
        let Cardinality { least, expected, most } = RowFilter { rows: 100, root }.cardinality();
        (least, expected, most)
    }

    #[test]
    fn cardinalities_are_bounded_and_expected_as_if_independent() {
        assert_eq!(bounds(Node::All(vec![rows(0..60), rows(0..50)])), (10, 30, 50));
        assert_eq!(bounds(Node::Any(vec![rows(0..60), rows(0..50)])), (60, 80, 100));
        assert_eq!(bounds(Node::Any(vec![rows(0..20), rows(0..10)])), (20, 28, 30));
        assert_eq!(bounds(Node::Not(Box::new(rows(0..30)))), (70, 70, 70));
        assert_eq!(bounds(Node::All(Vec::new())), (100, 100, 100));
        assert_eq!(bounds(Node::Any(Vec::new())), (0, 0, 0));
    }

    #[test]
    fn an_intersection_checks_the_rows_of_the_rarest() {
        let nodes = vec![rows(0..100), rows(5..10), Node::Not(Box::new(rows(7..8)))];
        let filter = RowFilter { rows: 100, root: Node::All(nodes) };
        assert_eq!(filter.bitmap().unwrap(), RoaringBitmap::from([5, 6, 8, 9]));
        assert!(filter.matches(6) && !filter.matches(7) && !filter.matches(10));
    }
}
