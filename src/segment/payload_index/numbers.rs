//! Columns of numbers: the values of each row, and all values sorted, with their rows.

use std::ops::Range;

use lanner_storage::SectionFile;
use roaring::RoaringBitmap;

use super::{Path, RowValues, parts};
use crate::error::Result;
use crate::field::slice;
use crate::model::{Interval, in_intervals};
use crate::segment::row_filter::Cardinality;
use crate::segment::sections;

/// If hits are less than one in this many rows, they are collected from the sorted column and
/// sorted by row; otherwise all rows are checked.
const SCAN_SHARE: u64 = 8;

/// The column of an integer, float or datetime path.
#[derive(Debug, Clone, Copy)]
pub(super) struct NumberColumn<'s> {
    pub values: RowValues<'s, i64>,
    pub sorted_values: &'s [i64],
    pub sorted_rows: &'s [u32],
}

impl<'s> NumberColumn<'s> {
    pub fn open(file: &'s SectionFile, index: usize, path: &Path) -> Result<Self> {
        let values: RowValues<'s, i64> = path.row_values(file, index)?;
        let (section, len) =
            (|part| sections::path_section(index, part), Some(values.values.len()));
        let sorted_values = slice(file, &section(parts::SORTED_VALUES), len)?;
        let sorted_rows = slice(file, &section(parts::SORTED_ROWS), len)?;
        Ok(Self { values, sorted_values, sorted_rows })
    }

    /// Checks that the sorted values are sorted and their rows in bounds.
    pub fn check(&self, file: &SectionFile, index: usize, rows: u32) -> Result<()> {
        let section = |part| sections::path_section(index, part);
        if !self.sorted_values.is_sorted() {
            return Err(file.corrupted(&section(parts::SORTED_VALUES), "not in order").into());
        }
        if self.sorted_rows.iter().any(|&row| row >= rows) {
            return Err(file.corrupted(&section(parts::SORTED_ROWS), "rows out of bounds").into());
        }
        Ok(())
    }

    /// The rows with a number in one of these intervals, which are disjoint and sorted.
    pub fn rows(self, intervals: &[Interval]) -> NumberRows<'s> {
        let span = |interval: &Interval| {
            let start = self.sorted_values.partition_point(|&value| value < interval.least);
            let rest = &self.sorted_values[start..];
            start..start + rest.partition_point(|&value| value <= interval.most)
        };
        let spans: Vec<Range<usize>> = intervals.iter().map(span).collect();
        NumberRows { column: self, intervals: intervals.into(), spans }
    }
}

/// The rows with a number in one of some intervals.
#[derive(Debug, Clone)]
pub(in crate::segment) struct NumberRows<'s> {
    column: NumberColumn<'s>,
    intervals: Box<[Interval]>,
    /// Range of the sorted column for each interval.
    spans: Vec<Range<usize>>,
}

impl NumberRows<'_> {
    /// True if the row has a number in one of the intervals.
    #[inline]
    pub fn matches(&self, row: u32) -> bool {
        self.column.values.of(row).iter().any(|&number| in_intervals(&self.intervals, number))
    }

    /// Estimated number of rows with a number in one of the intervals.
    pub fn cardinality(&self) -> Cardinality {
        let hits = self.hits();
        match &*self.intervals {
            // The numbers of a row are distinct.
            [one] if one.least == one.most => Cardinality::exactly(hits),
            _ => self.column.values.cardinality(hits),
        }
    }

    /// The rows with a number in one of the intervals.
    pub fn bitmap(&self) -> RoaringBitmap {
        let rows = self.column.values.rows();
        if self.hits() * SCAN_SHARE > u64::from(rows) {
            return (0..rows).filter(|&row| self.matches(row)).collect();
        }
        let spans = self.spans.iter().cloned();
        let mut found: Vec<u32> =
            spans.flat_map(|span| self.column.sorted_rows[span].iter().copied()).collect();
        found.sort_unstable();
        found.into_iter().collect()
    }

    /// Number of (row, number) pairs.
    fn hits(&self) -> u64 {
        self.spans.iter().map(|span| span.len() as u64).sum()
    }
}
