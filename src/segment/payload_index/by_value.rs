//! Rows of a payload index in value order.

use std::ops::Range;

use roaring::RoaringBitmap;

use super::numbers::NumberColumn;
use super::terms::TermColumn;
use super::{PayloadIndex, RowValues};
use crate::error::Result;
use crate::model::{Direction, Key, Scalar};
use crate::segment::values::{RowOrder, ValueCounts, ValueGroups};

impl PayloadIndex {
    /// As [`crate::segment::RowPayloads::visit_values`].
    pub fn visit_values(
        &self,
        index: usize,
        rows: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Scalar<'_>),
    ) -> Result<()> {
        if self.path(index)?.payload_type.is_terms() {
            let column = self.terms(index)?;
            for row in rows {
                for &ordinal in column.values.of(row) {
                    visit(row, Scalar::Term(column.term(ordinal)?));
                }
            }
        } else {
            let column = self.numbers(index)?;
            for row in rows {
                let numbers = column.values.of(row).iter();
                numbers.for_each(|&number| visit(row, Scalar::Number(number)));
            }
        }
        Ok(())
    }

    /// Counts these rows by value.
    pub fn counts<'s>(&'s self, index: usize, rows: &RoaringBitmap) -> Result<ValueCounts<'s>> {
        if self.path(index)?.payload_type.is_terms() {
            return Ok(self.terms(index)?.counts(rows));
        }
        let column = self.numbers(index)?;
        let rows = rows.clone();
        let mut rest = 0..column.sorted_values.len();
        let counts = std::iter::from_fn(move || {
            let (value, of_value) = column.next_value(&mut rest, Direction::Ascending)?;
            let count = of_value.iter().filter(|&&row| rows.contains(row)).count();
            Some((Key::Number(value), count as u64))
        });
        Ok(Box::new(counts.filter(|&(_, count)| count > 0).map(Ok)))
    }

    /// Groups these rows by value, starting at the start value of `order`.
    pub fn groups<'s>(
        &'s self,
        index: usize,
        rows: &RoaringBitmap,
        order: &RowOrder<'_>,
    ) -> Result<ValueGroups<'s>> {
        let (rows, direction) = (rows.clone(), order.direction);
        let start = order.after.map(|(key, _)| key);
        if self.path(index)?.payload_type.is_terms() {
            let column = self.terms(index)?;
            let mut rest = column.from(start, direction);
            let group = move |ordinal: u32| -> Result<(Key, RoaringBitmap)> {
                let members = column.bitmap(ordinal)? & &rows;
                let members = column.values.first(members, &ordinal, direction);
                Ok((Key::Term(column.term(ordinal)?.into()), members))
            };
            let next = move || match direction {
                Direction::Ascending => rest.next(),
                Direction::Descending => rest.next_back(),
            };
            return Ok(Box::new(std::iter::from_fn(next).map(group)));
        }
        let column = self.numbers(index)?;
        let mut rest = column.from(start, direction);
        let next = move || {
            let (value, of_value) = column.next_value(&mut rest, direction)?;
            let mut members: Vec<u32> =
                of_value.iter().copied().filter(|&row| rows.contains(row)).collect();
            members.sort_unstable();
            let members = column.values.first(members.into_iter().collect(), &value, direction);
            Some(Ok((Key::Number(value), members)))
        };
        Ok(Box::new(std::iter::from_fn(next)))
    }
}

impl<T: PartialEq> RowValues<'_, T> {
    /// Those of `rows`, all of which have this value, for which it is the first value.
    fn first(&self, rows: RoaringBitmap, value: &T, direction: Direction) -> RoaringBitmap {
        if self.most_values <= 1 {
            return rows;
        }
        let is_first = |row: &u32| match direction {
            Direction::Ascending => self.of(*row).first() == Some(value),
            Direction::Descending => self.of(*row).last() == Some(value),
        };
        rows.into_iter().filter(is_first).collect()
    }
}

impl<'s> NumberColumn<'s> {
    /// The part of the sorted column from a value on.
    fn from(&self, start: Option<&Key>, direction: Direction) -> Range<usize> {
        let all = 0..self.sorted_values.len();
        let Some(&Key::Number(start)) = start else { return all };
        match direction {
            Direction::Ascending => {
                self.sorted_values.partition_point(|&value| value < start)..all.end
            }
            Direction::Descending => 0..self.sorted_values.partition_point(|&value| value <= start),
        }
    }

    /// The next value of a part of the sorted column, with its rows.
    fn next_value(
        &self,
        rest: &mut Range<usize>,
        direction: Direction,
    ) -> Option<(i64, &'s [u32])> {
        let part = self.sorted_values.get(rest.clone())?;
        let (value, of_value) = match direction {
            Direction::Ascending => {
                let value = *part.first()?;
                let end = rest.start + part.partition_point(|&other| other <= value);
                (value, std::mem::replace(&mut rest.start, end)..end)
            }
            Direction::Descending => {
                let value = *part.last()?;
                let start = rest.start + part.partition_point(|&other| other < value);
                (value, start..std::mem::replace(&mut rest.end, start))
            }
        };
        Some((value, self.sorted_rows.get(of_value)?))
    }
}

impl<'s> TermColumn<'s> {
    /// Counts these rows by term.
    fn counts(self, rows: &RoaringBitmap) -> ValueCounts<'s> {
        let mut counts = vec![0_u32; self.len() as usize];
        for row in rows {
            for &ordinal in self.values.of(row) {
                // Ordinals were checked on open.
                if let Some(count) = counts.get_mut(ordinal as usize) {
                    *count += 1;
                }
            }
        }
        let counts = (0..).zip(counts).filter(|&(_, count)| count > 0);
        Box::new(counts.map(move |(ordinal, count)| {
            Ok((Key::Term(self.term(ordinal)?.into()), u64::from(count)))
        }))
    }

    /// The ordinals of the terms from a term on.
    fn from(&self, start: Option<&Key>, direction: Direction) -> Range<u32> {
        let Some(Key::Term(start)) = start else { return 0..self.len() };
        match (self.find(start), direction) {
            (Ok(at) | Err(at), Direction::Ascending) => at..self.len(),
            (Ok(at), Direction::Descending) => 0..at + 1,
            (Err(at), Direction::Descending) => 0..at,
        }
    }
}
