//! The live rows of a segment, from which a new segment is written.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::FieldReader;

/// Rows between two checks for cancellation.
const RANGE_ROWS: u32 = 4096;

/// The rows of a segment that are not deleted.
#[derive(Debug, Clone, Copy)]
pub struct LiveRows<'s> {
    rows: u32,
    deleted: &'s RoaringBitmap,
}

impl<'s> LiveRows<'s> {
    /// The rows below `rows` that are not in `deleted`.
    pub fn new(rows: u32, deleted: &'s RoaringBitmap) -> Self {
        Self { rows, deleted }
    }

    /// Number of live rows.
    pub fn count(self) -> u64 {
        u64::from(self.rows) - self.deleted.len()
    }

    /// Rank of a live row among the live rows: its row number in a segment written from them.
    pub fn rank(self, row: u32) -> u32 {
        row - self.deleted.rank(row) as u32
    }

    /// The live rows, in order.
    pub fn iter(self) -> impl Iterator<Item = u32> + 's {
        (0..self.rows).filter(move |&row| !self.deleted.contains(row))
    }

    /// Ranges of consecutive live rows, in order, of at most 4,096 rows each.
    pub fn ranges(self) -> impl Iterator<Item = Range<u32>> + 's {
        let ends = self.deleted.iter().chain([self.rows]);
        let mut start = 0;
        ends.flat_map(move |end| {
            let range = start..end;
            start = end + 1;
            range
                .clone()
                .step_by(RANGE_ROWS as usize)
                .map(move |first| first..range.end.min(first.saturating_add(RANGE_ROWS)))
        })
    }
}

/// A field of a source segment, from which another segment is written.
#[derive(Clone, Copy)]
pub struct FieldSource<'s> {
    /// The field.
    pub reader: &'s dyn FieldReader,
    /// The rows to write.
    pub live: LiveRows<'s>,
}

impl FieldSource<'_> {
    /// Number of live rows in all sources.
    pub fn total(sources: &[Self]) -> u64 {
        sources.iter().map(|source| source.live.count()).sum()
    }
}
