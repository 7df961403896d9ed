//! Columns of terms: a sorted dictionary, the ordinals of each row, and a bitmap per term.

use lanner_storage::SectionFile;
use roaring::RoaringBitmap;

use super::{Path, RowValues, parts};
use crate::error::Result;
use crate::field::{check_offsets, slice};
use crate::segment::row_filter::Cardinality;
use crate::segment::sections;

/// If hits are less than one in this many rows, bitmaps are united; otherwise all rows are checked.
const SCAN_SHARE: u64 = 4;

/// The column of a keyword or boolean path.
#[derive(Debug, Clone, Copy)]
pub(super) struct TermColumn<'s> {
    pub values: RowValues<'s, u32>,
    file: &'s SectionFile,
    index: usize,
    term_offsets: &'s [u64],
    terms: &'s [u8],
    term_rows: &'s [u32],
    bitmap_offsets: &'s [u64],
    bitmaps: &'s [u8],
}

impl<'s> TermColumn<'s> {
    pub fn open(file: &'s SectionFile, index: usize, path: &Path) -> Result<Self> {
        let section = |part| sections::path_section(index, part);
        let term_rows: &[u32] = slice(file, &section(parts::TERM_ROWS), None)?;
        let offsets = |part| slice(file, &section(part), Some(term_rows.len() + 1));
        Ok(Self {
            values: path.row_values(file, index)?,
            file,
            index,
            term_offsets: offsets(parts::TERM_OFFSETS)?,
            terms: file.section(&section(parts::TERMS))?,
            term_rows,
            bitmap_offsets: offsets(parts::BITMAP_OFFSETS)?,
            bitmaps: file.section(&section(parts::BITMAPS))?,
        })
    }

    /// Checks that offsets ascend to the end of what they index, that ordinals have a term, and
    /// that the terms are sorted texts.
    pub fn check(&self) -> Result<()> {
        let file = self.file;
        let section = |part| sections::path_section(self.index, part);
        let (terms, values) = (self.term_rows.len(), self.values.values);
        let ends =
            [(parts::TERM_OFFSETS, self.terms.len()), (parts::BITMAP_OFFSETS, self.bitmaps.len())];
        for (part, end) in ends {
            check_offsets(file, &section(part), terms, end as u64)?;
        }
        if values.iter().any(|&ordinal| ordinal as usize >= terms) {
            return Err(file.corrupted(&section(parts::VALUES), "ordinals out of bounds").into());
        }
        let counted: u64 = self.term_rows.iter().map(|&rows| u64::from(rows)).sum();
        if counted != values.len() as u64 {
            let detail = format!("expected {} rows, got {counted}", values.len());
            return Err(file.corrupted(&section(parts::TERM_ROWS), detail).into());
        }
        let mut before = None;
        for ordinal in 0..terms as u32 {
            let term = self.term(ordinal)?;
            if before.is_some_and(|before| before >= term) {
                return Err(file.corrupted(&section(parts::TERMS), "not in order").into());
            }
            before = Some(term);
        }
        Ok(())
    }

    /// A term of the dictionary.
    pub fn term(&self, ordinal: u32) -> Result<&'s str> {
        let text = std::str::from_utf8(self.term_bytes(ordinal as usize));
        text.map_err(|_| self.corrupted(parts::TERMS, "not UTF-8"))
    }

    /// The rows with one of these terms, which are distinct and sorted.
    pub fn rows(self, terms: &[Box<str>]) -> TermRows<'s> {
        let ordinals: Vec<u32> = terms.iter().filter_map(|term| self.ordinal(term)).collect();
        let hits = ordinals.iter().map(|&ordinal| u64::from(self.term_rows[ordinal as usize]));
        TermRows { hits: hits.sum(), ordinals, others: false, column: self }
    }

    /// Number of terms.
    pub fn len(&self) -> u32 {
        self.term_rows.len() as u32
    }

    fn ordinal(&self, term: &str) -> Option<u32> {
        self.find(term).ok()
    }

    /// The ordinal of a term, or of the next larger one.
    pub fn find(&self, term: &str) -> Result<u32, u32> {
        let (mut low, mut high) = (0, self.term_rows.len());
        while low < high {
            let middle = low.midpoint(high);
            // UTF-8 preserves the order of characters.
            match self.term_bytes(middle).cmp(term.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle as u32),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low as u32)
    }

    fn term_bytes(&self, ordinal: usize) -> &'s [u8] {
        piece(self.terms, self.term_offsets, ordinal)
    }

    /// The rows with a term.
    pub fn bitmap(&self, ordinal: u32) -> Result<RoaringBitmap> {
        let bytes = piece(self.bitmaps, self.bitmap_offsets, ordinal as usize);
        let bitmap = RoaringBitmap::deserialize_from(bytes)
            .map_err(|error| self.corrupted(parts::BITMAPS, &error.to_string()))?;
        let expected = self.term_rows[ordinal as usize];
        let in_bounds = bitmap.max().is_none_or(|row| row < self.values.rows());
        if bitmap.len() != u64::from(expected) || !in_bounds {
            return Err(self.corrupted(parts::BITMAPS, "not the rows of the term"));
        }
        Ok(bitmap)
    }

    fn corrupted(&self, part: &str, detail: &str) -> crate::Error {
        self.file.corrupted(&sections::path_section(self.index, part), detail).into()
    }
}

/// The piece of `bytes` at `index`, given the offsets of all pieces.
fn piece<'s>(bytes: &'s [u8], offsets: &[u64], index: usize) -> &'s [u8] {
    match offsets.get(index..index + 2) {
        Some(&[start, end]) => bytes.get(start as usize..end as usize).unwrap_or_default(),
        _ => &[],
    }
}

/// The rows with one of some terms, or with a term other than these.
#[derive(Debug, Clone)]
pub(in crate::segment) struct TermRows<'s> {
    column: TermColumn<'s>,
    /// Sorted.
    ordinals: Vec<u32>,
    /// Match terms other than these.
    others: bool,
    /// Number of matching (row, term) pairs.
    hits: u64,
}

impl TermRows<'_> {
    /// The complement: rows with a term other than these.
    pub fn others(self) -> Self {
        let all = self.column.values.values.len() as u64;
        Self { others: !self.others, hits: all.saturating_sub(self.hits), ..self }
    }

    /// True if the row has one of the terms.
    #[inline]
    pub fn matches(&self, row: u32) -> bool {
        let values = self.column.values.of(row);
        match *self.ordinals {
            [wanted] if !self.others => values.contains(&wanted),
            _ => values
                .iter()
                .any(|ordinal| self.ordinals.binary_search(ordinal).is_ok() != self.others),
        }
    }

    /// Estimated number of rows with one of the terms.
    pub fn cardinality(&self) -> Cardinality {
        match *self.ordinals {
            [_] if !self.others => Cardinality::exactly(self.hits),
            _ => self.column.values.cardinality(self.hits),
        }
    }

    /// The rows with one of the terms.
    pub fn bitmap(&self) -> Result<RoaringBitmap> {
        let rows = self.column.values.rows();
        let many = self.ordinals.len() > 1 && self.hits * SCAN_SHARE > u64::from(rows);
        if many || self.others {
            return Ok((0..rows).filter(|&row| self.matches(row)).collect());
        }
        let mut found = RoaringBitmap::new();
        for &ordinal in &self.ordinals {
            found |= self.column.bitmap(ordinal)?;
        }
        Ok(found)
    }
}
