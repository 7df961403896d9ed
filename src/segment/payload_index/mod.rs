//! The payload index of a sealed segment: declared paths as columns, in one mapped file.
//!
//! Each path has the values of each row, to check single rows, and the rows of each value, to find
//! all matches: for terms, a sorted dictionary with a roaring bitmap per term; for numbers, a
//! column sorted by value. `docs/file-format.md` lists the sections.

mod by_value;
mod numbers;
mod terms;
mod writer;

use std::borrow::Cow;
use std::collections::BTreeMap;

use lanner_storage::SectionFile;
pub(super) use numbers::NumberRows;
use roaring::RoaringBitmap;
pub(super) use terms::TermRows;
pub(super) use writer::write_payload_index;

use self::numbers::NumberColumn;
use self::terms::TermColumn;
use super::row_filter::{Cardinality, Node};
use super::sections;
use crate::error::{Error, Result};
use crate::field::{bitmap, check_offsets, slice};
use crate::model::{CollectionConfig, ColumnTest, DeclaredPath, PayloadType, Scalar};

/// An open payload index.
#[derive(Debug)]
pub(super) struct PayloadIndex {
    file: SectionFile,
    paths: Vec<Path>,
}

#[derive(Debug)]
struct Path {
    name: String,
    payload_type: PayloadType,
    /// Rows with a value.
    present: RoaringBitmap,
    /// Rows with `null`.
    nulls: RoaringBitmap,
    /// Largest number of values in a row.
    most_values: u64,
}

/// The values of a column in row order, for any type.
#[derive(Debug, Clone, Copy)]
struct RowValues<'s, T> {
    /// Start of each row's values, then the end of the last.
    offsets: &'s [u64],
    values: &'s [T],
    /// Number of rows with a value.
    present: u64,
    /// Largest number of values in a row.
    most_values: u64,
}

impl<'s, T> RowValues<'s, T> {
    /// The values of a row; empty if the row does not exist.
    #[inline]
    fn of(&self, row: u32) -> &'s [T] {
        let row = row as usize;
        match self.offsets.get(row..row + 2) {
            Some(&[start, end]) => {
                self.values.get(start as usize..end as usize).unwrap_or_default()
            }
            _ => &[],
        }
    }

    fn rows(&self) -> u32 {
        self.offsets.len().saturating_sub(1) as u32
    }

    /// Estimates the number of rows behind `hits` (row, value) pairs.
    fn cardinality(&self, hits: u64) -> Cardinality {
        let least = hits.div_ceil(self.most_values.max(1));
        let most = hits.min(self.present);
        // Assumes that the values of a row are independent.
        let all = self.values.len().max(1) as f64;
        let per_row = all / self.present.max(1) as f64;
        let share = 1.0 - (1.0 - hits as f64 / all).max(0.0).powf(per_row);
        let expected = (share * self.present as f64).round() as u64;
        Cardinality { least, expected: expected.clamp(least, most), most }
    }
}

impl PayloadIndex {
    /// Wraps an opened file and checks everything in it that is used as an index or a length. Its
    /// paths are those declared when it was written: all of the collection's, or fewer.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming the damaged section.
    pub fn open(file: SectionFile, config: &CollectionConfig, rows: u32) -> Result<Self> {
        let bytes = file.section(sections::PATHS)?;
        let listed: Option<BTreeMap<String, PayloadType>> = serde_json::from_slice(bytes).ok();
        let is_declared =
            |(name, kind): (&String, &PayloadType)| config.payload.get(name) == Some(kind);
        let Some(listed) = listed.filter(|listed| listed.iter().all(is_declared)) else {
            let detail = "the paths differ from the collection's";
            return Err(file.corrupted(sections::PATHS, detail).into());
        };
        let paths = listed.into_iter().enumerate();
        let paths = paths
            .map(|(index, path)| Path::open(&file, index, path, rows))
            .collect::<Result<_>>()?;
        Ok(Self { file, paths })
    }

    /// The number of a path, if it is in the index.
    pub fn find(&self, path: &DeclaredPath) -> Option<usize> {
        let is_it =
            |found: &Path| *found.name == *path.name && found.payload_type == path.payload_type;
        self.paths.iter().position(is_it)
    }

    /// The file, for reports.
    pub fn file(&self) -> &SectionFile {
        &self.file
    }

    /// Prepares a test of a path.
    ///
    /// # Errors
    /// If the file is damaged, or the test does not match the type of the path.
    pub fn test(&self, index: usize, test: &ColumnTest) -> Result<Node<'_>> {
        let path = self.path(index)?;
        match test {
            ColumnTest::HasValue => Ok(Node::Rows(Cow::Borrowed(&path.present))),
            ColumnTest::IsNull => Ok(Node::Rows(Cow::Borrowed(&path.nulls))),
            ColumnTest::Terms(terms) => Ok(Node::Terms(self.terms(index)?.rows(terms))),
            ColumnTest::OtherTerms(terms) => {
                Ok(Node::Terms(self.terms(index)?.rows(terms).others()))
            }
            ColumnTest::Numbers(intervals) => {
                Ok(Node::Numbers(self.numbers(index)?.rows(intervals)))
            }
        }
    }

    /// As [`super::RowPayloads::visit_path`].
    pub fn visit(
        &self,
        index: usize,
        deleted: &RoaringBitmap,
        visit: &mut dyn FnMut(u32, Option<Scalar<'_>>),
    ) -> Result<()> {
        let path = self.path(index)?;
        let live = (&path.present | &path.nulls) - deleted;
        let null = |row, visit: &mut dyn FnMut(u32, Option<Scalar<'_>>)| {
            if path.nulls.contains(row) {
                visit(row, None);
            }
        };
        if path.payload_type.is_terms() {
            let column = self.terms(index)?;
            for row in live {
                for &ordinal in column.values.of(row) {
                    visit(row, Some(Scalar::Term(column.term(ordinal)?)));
                }
                null(row, visit);
            }
        } else {
            let column = self.numbers(index)?;
            for row in live {
                let numbers = column.values.of(row).iter();
                numbers.for_each(|&number| visit(row, Some(Scalar::Number(number))));
                null(row, visit);
            }
        }
        Ok(())
    }

    fn path(&self, index: usize) -> Result<&Path> {
        let path = self.paths.get(index);
        path.ok_or_else(|| Error::Internal(format!("there is no payload path {index}")))
    }

    fn terms(&self, index: usize) -> Result<TermColumn<'_>> {
        TermColumn::open(&self.file, index, self.path(index)?)
    }

    fn numbers(&self, index: usize) -> Result<NumberColumn<'_>> {
        NumberColumn::open(&self.file, index, self.path(index)?)
    }
}

impl Path {
    fn open(
        file: &SectionFile,
        index: usize,
        (name, payload_type): (String, PayloadType),
        rows: u32,
    ) -> Result<Self> {
        let bitmap = |part| -> Result<RoaringBitmap> {
            let section = sections::path_section(index, part);
            let bitmap = bitmap(file, &section)?;
            match bitmap.max() {
                Some(row) if row >= rows => {
                    Err(file.corrupted(&section, "rows out of bounds").into())
                }
                _ => Ok(bitmap),
            }
        };
        let (present, nulls) = (bitmap(parts::PRESENT)?, bitmap(parts::NULLS)?);
        let value_bytes = if payload_type.is_terms() { size_of::<u32>() } else { size_of::<i64>() };
        let values = file.section(&sections::path_section(index, parts::VALUES))?;
        let section = sections::path_section(index, parts::OFFSETS);
        let end = (values.len() / value_bytes) as u64;
        check_offsets(file, &section, rows as usize, end)?;
        let offsets = slice::<u64>(file, &section, None)?;
        let lengths = offsets.windows(2).map(|bounds| bounds[1] - bounds[0]);
        let (mut most_values, mut filled) = (0, 0);
        for length in lengths {
            most_values = length.max(most_values);
            filled += u64::from(length > 0);
        }
        if filled != present.len() {
            let detail = format!("{filled} rows have values, {} should", present.len());
            return Err(file.corrupted(&section, detail).into());
        }
        let path = Self { name, payload_type, present, nulls, most_values };
        if payload_type.is_terms() {
            TermColumn::open(file, index, &path)?.check()?;
        } else {
            NumberColumn::open(file, index, &path)?.check(file, index, rows)?;
        }
        Ok(path)
    }

    fn row_values<'s, T: bytemuck::AnyBitPattern>(
        &self,
        file: &'s SectionFile,
        index: usize,
    ) -> Result<RowValues<'s, T>> {
        let section = |part| sections::path_section(index, part);
        Ok(RowValues {
            offsets: slice(file, &section(parts::OFFSETS), None)?,
            values: slice(file, &section(parts::VALUES), None)?,
            present: self.present.len(),
            most_values: self.most_values,
        })
    }
}

/// The sections of a path; names are prefixed with the number of the path.
mod parts {
    /// Roaring bitmap of the rows with a value.
    pub const PRESENT: &str = "present";
    /// Roaring bitmap of the rows with `null`.
    pub const NULLS: &str = "nulls";
    /// u64, rows + 1: start of each row's values in [`VALUES`].
    pub const OFFSETS: &str = "offsets";
    /// The values of each row, distinct and sorted: u32 ordinals of terms, or i64.
    pub const VALUES: &str = "values";
    /// u64, terms + 1: start of each term in [`TERMS`].
    pub const TERM_OFFSETS: &str = "term_offsets";
    /// The terms, sorted, UTF-8.
    pub const TERMS: &str = "terms";
    /// u32 per term: number of rows that have it.
    pub const TERM_ROWS: &str = "term_rows";
    /// u64, terms + 1: start of each bitmap in [`BITMAPS`].
    pub const BITMAP_OFFSETS: &str = "bitmap_offsets";
    /// For each term, the roaring bitmap of the rows that have it.
    pub const BITMAPS: &str = "bitmaps";
    /// The numbers of all rows, sorted.
    pub const SORTED_VALUES: &str = "sorted_values";
    /// u32 per number: its row.
    pub const SORTED_ROWS: &str = "sorted_rows";
}

#[cfg(test)]
mod tests;
