//! Rows by value at a declared payload path: value counts, and rows in the order of their values.
//! For few rows, and always in memory, both are computed from the values of each row; a sealed
//! segment also has an index by value.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::{RowPayloads, SegmentReader};
use crate::error::Result;
use crate::model::{DeclaredPath, Direction, Key, PointId};

/// Distinct values in ascending order, each with the number of rows that have it, at least 1.
pub type ValueCounts<'s> = Box<dyn Iterator<Item = Result<(Key, u64)>> + 's>;

/// Values in the given direction, each with the rows for which it is the first value; a group may
/// be empty.
pub type ValueGroups<'s> = Box<dyn Iterator<Item = Result<(Key, RoaringBitmap)>> + 's>;

/// Up to this many rows, ids are read and sorted; for more rows, they are read in id order.
const FEW_ROWS: u64 = 1024;

/// Sort order and page of rows.
#[derive(Debug, Clone, Copy)]
pub struct RowOrder<'o> {
    /// A declared path.
    pub path: &'o DeclaredPath,
    /// Sort direction.
    pub direction: Direction,
    /// Exclusive start: value and id.
    pub after: Option<(&'o Key, &'o PointId)>,
    /// Largest number of rows.
    pub limit: usize,
}

/// A row with its sort key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedRow {
    /// The value it is sorted by.
    pub key: Key,
    /// Its id, which breaks ties.
    pub id: PointId,
    /// The row.
    pub row: u32,
}

impl RowOrder<'_> {
    /// True if rows with this value may come after the start.
    fn reaches(&self, key: &Key) -> bool {
        self.after.is_none_or(|(start, _)| self.direction.compare(key, start).is_ge())
    }
}

/// Counts values row by row.
///
/// # Errors
/// As [`RowPayloads::visit_values`].
pub(super) fn counts_by_row<R: RowPayloads + ?Sized>(
    reader: &R,
    path: &DeclaredPath,
    rows: &RoaringBitmap,
) -> Result<ValueCounts<'static>> {
    let mut counts = BTreeMap::<Key, u64>::new();
    reader.visit_values(path, rows, &mut |_, scalar| {
        *counts.entry(scalar.into()).or_default() += 1;
    })?;
    Ok(Box::new(counts.into_iter().map(Ok)))
}

/// Groups rows by value, row by row, until the groups hold the requested number of rows.
///
/// # Errors
/// As [`RowPayloads::visit_values`].
pub(super) fn groups_by_row<R: RowPayloads + ?Sized>(
    reader: &R,
    rows: &RoaringBitmap,
    order: &RowOrder<'_>,
) -> Result<ValueGroups<'static>> {
    let mut groups = FirstGroups { order, groups: BTreeMap::new(), held: 0 };
    let mut last: Option<(u32, Key)> = None;
    reader.visit_values(order.path, rows, &mut |row, scalar| match &mut last {
        Some((of, key)) if *of == row => {
            // The values of a row are visited in ascending order.
            if order.direction == Direction::Descending {
                *key = scalar.into();
            }
        }
        last => {
            if let Some((row, key)) = last.replace((row, scalar.into())) {
                groups.add(row, key);
            }
        }
    })?;
    if let Some((row, key)) = last {
        groups.add(row, key);
    }
    let groups = groups.groups.into_iter().map(Ok);
    Ok(match order.direction {
        Direction::Ascending => Box::new(groups),
        Direction::Descending => Box::new(groups.rev()),
    })
}

/// The first groups of rows.
struct FirstGroups<'o> {
    order: &'o RowOrder<'o>,
    groups: BTreeMap<Key, RoaringBitmap>,
    /// Rows in all groups except that of the start value, some of whose rows may come before the
    /// start.
    held: u64,
}

impl FirstGroups<'_> {
    fn add(&mut self, row: u32, key: Key) {
        if !self.order.reaches(&key) {
            return;
        }
        let limit = self.order.limit as u64;
        let beyond = |last: &Key| self.order.direction.compare(&key, last).is_gt();
        if self.held >= limit && self.last().is_some_and(|(last, _)| beyond(last)) {
            return;
        }
        self.held += u64::from(!self.is_start(&key));
        self.groups.entry(key).or_default().insert(row);
        while let Some((last, rows)) = self.last()
            && !self.is_start(last)
            && self.held - rows.len() >= limit
        {
            self.held -= rows.len();
            match self.order.direction {
                Direction::Ascending => self.groups.pop_last(),
                Direction::Descending => self.groups.pop_first(),
            };
        }
    }

    fn is_start(&self, key: &Key) -> bool {
        self.order.after.is_some_and(|(start, _)| start == key)
    }

    fn last(&self) -> Option<(&Key, &RoaringBitmap)> {
        match self.order.direction {
            Direction::Ascending => self.groups.last_key_value(),
            Direction::Descending => self.groups.first_key_value(),
        }
    }
}

/// The first of these rows in the given order.
///
/// # Errors
/// If a sealed file is damaged.
pub fn first_rows(
    reader: &dyn SegmentReader,
    rows: &RoaringBitmap,
    order: &RowOrder<'_>,
) -> Result<Vec<OrderedRow>> {
    let mut found = Vec::new();
    for group in reader.value_groups(rows, order)? {
        let (key, members) = group?;
        let after = order.after.filter(|(start, _)| **start == key).map(|(_, id)| id);
        let left = order.limit - found.len();
        let ids = first_ids(reader, &members, after, left)?;
        found.extend(ids.into_iter().map(|(id, row)| OrderedRow { key: key.clone(), id, row }));
        if found.len() >= order.limit {
            break;
        }
    }
    Ok(found)
}

/// The first of these rows in id order.
fn first_ids(
    reader: &dyn SegmentReader,
    rows: &RoaringBitmap,
    after: Option<&PointId>,
    limit: usize,
) -> Result<Vec<(PointId, u32)>> {
    if rows.len() > FEW_ROWS {
        let mut others = RoaringBitmap::new();
        others.insert_range(0..reader.rows());
        others -= rows;
        return reader.page(after, &others, limit);
    }
    let ids = rows.iter().map(|row| Ok((reader.id(row)?, row)));
    let mut ids: Vec<(PointId, u32)> = ids.collect::<Result<_>>()?;
    ids.retain(|(id, _)| after.is_none_or(|after| id > after));
    ids.sort_unstable();
    ids.truncate(limit);
    Ok(ids)
}
