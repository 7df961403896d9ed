//! A condition, prepared for the rows of one segment.
//!
//! It answers three questions at different costs: roughly how many rows match, from counts alone;
//! whether a given row matches, from its values; and which rows match, from the inverted lists. A
//! planner uses the first to choose between the other two (the selectivity-based choice of ACORN,
//! arXiv 2403.04871, §5). Tests of undeclared paths read payloads (`payload_rows`), for as few rows
//! as the rest of the condition leaves.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use super::SegmentReader;
use super::payload_index::{NumberRows, TermRows};
use super::payload_rows::{PayloadReads, PayloadRows, select};
use crate::error::Result;
use crate::field::text::matching_rows;
use crate::model::{ColumnTest, Condition, DeclaredPath, PointId, TextQuery};

/// Checks whether to continue long work; an error stops it.
pub(super) type GoOn<'g> = &'g (dyn Fn() -> Result<()> + Sync);

/// Prepares a test of a declared path.
type Columns<'c, 's> = &'c dyn Fn(&DeclaredPath, &ColumnTest) -> Result<Node<'s>>;

/// Checking a row is this many times faster than finding its place in a list.
const CHECKED_ROWS: u64 = 8;

/// Estimated number of matching rows of a segment, including deleted ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cardinality {
    /// Lower bound.
    pub least: u64,
    /// Estimate, assuming that the parts of the filter are independent.
    pub expected: u64,
    /// Upper bound.
    pub most: u64,
}

impl Cardinality {
    /// An exact number.
    pub fn exactly(rows: u64) -> Self {
        Self { least: rows, expected: rows, most: rows }
    }
}

/// A condition, prepared for the rows of one segment. Its memory does not depend on the number of
/// rows, except in a mutable segment and of words, where it is a bitmap.
#[derive(Debug, Clone)]
pub struct RowFilter<'s> {
    rows: u32,
    root: Node<'s>,
    /// Set if payloads are read.
    reads: Option<Arc<PayloadReads>>,
}

#[derive(Debug, Clone)]
pub(super) enum Node<'s> {
    All(Vec<Node<'s>>),
    Any(Vec<Node<'s>>),
    Not(Box<Node<'s>>),
    Rows(Cow<'s, RoaringBitmap>),
    Terms(TermRows<'s>),
    Numbers(NumberRows<'s>),
    Payloads(PayloadRows<'s>),
}

impl<'s> Node<'s> {
    /// Exactly these rows.
    pub fn rows(rows: RoaringBitmap) -> Self {
        Self::Rows(Cow::Owned(rows))
    }
}

impl<'s> RowFilter<'s> {
    /// Prepares a condition; `columns` prepares its tests of declared paths.
    pub(super) fn new(
        reader: &'s dyn SegmentReader,
        condition: &Condition,
        columns: Columns<'_, 's>,
    ) -> Result<Self> {
        let reads = Arc::default();
        let root = Preparation { reader, columns, reads: &reads }.node(condition)?;
        let reads = condition.reads_payloads().then_some(reads);
        Ok(Self { rows: reader.rows(), root, reads })
    }

    /// A filter that matches exactly these rows.
    pub(crate) fn of_rows(rows: u32, matching: RoaringBitmap) -> Self {
        Self { rows, root: Node::rows(matching), reads: None }
    }

    /// Estimated number of matching rows, from counts alone, in time independent of the number of
    /// rows. If payloads are read, from a sample of them.
    pub fn cardinality(&self) -> Cardinality {
        self.root.cardinality(u64::from(self.rows))
    }

    /// True if the row matches. If payloads are read, call [`Self::check`] afterwards.
    #[inline]
    pub fn matches(&self, row: u32) -> bool {
        self.root.matches(row)
    }

    /// All rows that match.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] if a sealed file is damaged.
    pub fn bitmap(&self) -> Result<RoaringBitmap> {
        self.bitmap_while(&|| Ok(()))
    }

    /// As [`Self::bitmap`], stopping when `go_on` fails.
    ///
    /// # Errors
    /// As [`Self::bitmap`], and the error of `go_on`.
    pub(crate) fn bitmap_while(&self, go_on: GoOn<'_>) -> Result<RoaringBitmap> {
        let found = self.root.bitmap(self.rows, go_on)?.into_owned();
        self.check()?;
        Ok(found)
    }

    /// Fails if a payload could not be read; results of [`Self::matches`] are then invalid.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] if a sealed file is damaged.
    pub fn check(&self) -> Result<()> {
        self.reads.as_ref().map_or(Ok(()), |reads| reads.check())
    }

    /// Number of payloads read so far, and their bytes; `None` if the filter reads none.
    pub fn payloads_read(&self) -> Option<(u64, u64)> {
        self.reads.as_ref().map(|reads| reads.count())
    }
}

/// Context for building nodes.
struct Preparation<'p, 's> {
    reader: &'s dyn SegmentReader,
    columns: Columns<'p, 's>,
    reads: &'p Arc<PayloadReads>,
}

impl<'s> Preparation<'_, 's> {
    fn node(&self, condition: &Condition) -> Result<Node<'s>> {
        if condition.is_of_payloads() {
            return Ok(self.of_payloads(condition.clone()));
        }
        match condition {
            Condition::All(parts) => Ok(Node::All(self.nodes(parts, Condition::All)?)),
            Condition::Any(parts) => Ok(Node::Any(self.nodes(parts, Condition::Any)?)),
            Condition::Not(part) => Ok(Node::Not(Box::new(self.node(part)?))),
            Condition::Column { path, test } => (self.columns)(path, test),
            Condition::Ids(ids) => self.ids(ids),
            Condition::Text { field, path, query } => self.texts(*field, *path, query),
            Condition::Path(_) => Ok(self.of_payloads(condition.clone())),
        }
    }

    /// Nodes for the parts of a combination; parts that only read payloads are merged, so that each
    /// payload is parsed once.
    fn nodes(
        &self,
        parts: &[Condition],
        combine: fn(Vec<Condition>) -> Condition,
    ) -> Result<Vec<Node<'s>>> {
        let (of_payloads, others): (Vec<&Condition>, Vec<&Condition>) =
            parts.iter().partition(|part| part.is_of_payloads());
        let mut nodes =
            others.into_iter().map(|part| self.node(part)).collect::<Result<Vec<_>>>()?;
        if !of_payloads.is_empty() {
            nodes.push(self.of_payloads(combine(of_payloads.into_iter().cloned().collect())));
        }
        Ok(nodes)
    }

    fn of_payloads(&self, condition: Condition) -> Node<'s> {
        let (reader, reads, sampled) = (self.reader, self.reads.clone(), OnceLock::new());
        Node::Payloads(PayloadRows { reader, condition, reads, sampled })
    }

    fn texts(&self, field: usize, path: Option<usize>, query: &TextQuery) -> Result<Node<'s>> {
        Ok(Node::rows(matching_rows(&self.reader.texts(field)?, query, path)?))
    }

    fn ids(&self, ids: &[PointId]) -> Result<Node<'s>> {
        let mut rows = RoaringBitmap::new();
        for id in ids {
            rows.extend(self.reader.find(id)?);
        }
        Ok(Node::rows(rows))
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
            Self::Payloads(payloads) => payloads.matches(row),
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
            Self::Payloads(payloads) => payloads.cardinality(),
        }
    }

    fn bitmap(&self, rows: u32, go_on: GoOn<'_>) -> Result<Cow<'_, RoaringBitmap>> {
        let found = match self {
            Self::All(nodes) => intersection(nodes, rows, go_on)?,
            Self::Any(nodes) => {
                let mut found = RoaringBitmap::new();
                for node in nodes {
                    // Rows that already match need not be read.
                    match node.reads_payloads() {
                        true => found |= node.among(&(every(rows) - &found), go_on)?,
                        false => found |= &*node.bitmap(rows, go_on)?,
                    }
                }
                found
            }
            Self::Not(node) => every(rows) - &*node.bitmap(rows, go_on)?,
            Self::Rows(matching) => return Ok(Cow::Borrowed(matching)),
            Self::Terms(terms) => terms.bitmap()?,
            Self::Numbers(numbers) => numbers.bitmap(),
            Self::Payloads(_) => self.among(&every(rows), go_on)?,
        };
        Ok(Cow::Owned(found))
    }

    /// Those of the given rows that match, each checked individually.
    fn among(&self, rows: &RoaringBitmap, go_on: GoOn<'_>) -> Result<RoaringBitmap> {
        if !self.reads_payloads() {
            return Ok(rows.iter().filter(|&row| self.matches(row)).collect());
        }
        let rows: Vec<u32> = rows.iter().collect();
        select(&rows, |row| self.matches(row), go_on)
    }

    fn reads_payloads(&self) -> bool {
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().any(Self::reads_payloads),
            Self::Not(node) => node.reads_payloads(),
            Self::Payloads(_) => true,
            Self::Rows(_) | Self::Terms(_) | Self::Numbers(_) => false,
        }
    }
}

fn every(rows: u32) -> RoaringBitmap {
    let mut every = RoaringBitmap::new();
    every.insert_range(0..rows);
    every
}

/// Rows that all nodes match: starts with the most selective node and checks its rows against the
/// others. Payloads are read last, for the remaining rows.
fn intersection(nodes: &[Node<'_>], rows: u32, go_on: GoOn<'_>) -> Result<RoaringBitmap> {
    let expected = |node: &Node<'_>| match node.reads_payloads() {
        true => u64::MAX,
        false => node.cardinality(u64::from(rows)).expected,
    };
    let mut nodes: Vec<(u64, &Node<'_>)> =
        nodes.iter().map(|node| (expected(node), node)).collect();
    nodes.sort_by_key(|&(expected, _)| expected);
    let Some(((_, rarest), others)) = nodes.split_first() else { return Ok(every(rows)) };
    let mut found = rarest.bitmap(rows, go_on)?.into_owned();
    for &(expected, node) in others {
        if node.reads_payloads() || found.len().saturating_mul(CHECKED_ROWS) < expected {
            found = node.among(&found, go_on)?;
        } else {
            found &= &*node.bitmap(rows, go_on)?;
        }
    }
    Ok(found)
}

fn all(parts: impl Iterator<Item = Cardinality>, rows: u64) -> Cardinality {
    let share = |matching: u64| matching as f64 / rows.max(1) as f64;
    let (mut least, mut most, mut expected) = (rows, rows, 1.0);
    for part in parts {
        // Rows that a part may miss, the whole may miss.
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
        let Cardinality { least, expected, most } =
            RowFilter { rows: 100, root, reads: None }.cardinality();
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
        let filter = RowFilter { rows: 100, root: Node::All(nodes), reads: None };
        assert_eq!(filter.bitmap().unwrap(), RoaringBitmap::from([5, 6, 8, 9]));
        assert!(filter.matches(6) && !filter.matches(7) && !filter.matches(10));
    }
}
