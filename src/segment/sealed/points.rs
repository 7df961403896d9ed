//! The file of ids and payloads in a sealed segment.

use std::cmp::Ordering;
use std::ops::Range;

use lanner_storage::{Section, SectionFile, StorageError};
use roaring::RoaringBitmap;
use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::field::{SegmentFiles, bitmap, check_offsets};
use crate::model::{Payload, PointId, PointIdRef};
use crate::segment::sections;

/// Ids and payloads of the rows.
#[derive(Debug)]
pub(super) struct Points {
    file: SectionFile,
    ids: Section<u64>,
    /// The rows in id order.
    order: Section<u32>,
    text_rows: RoaringBitmap,
    id_texts: Section,
    id_text_offsets: Section<u64>,
    payloads: Section,
    payload_offsets: Section<u64>,
}

impl Points {
    /// Opens and checks the file, except the content of payloads.
    ///
    /// # Errors
    /// [`StorageError::Corrupted`] naming the damage.
    pub fn open(files: SegmentFiles<'_>) -> Result<Self> {
        let rows = files.entry.rows as usize;
        let file = files.open(sections::POINTS_FILE, &[sections::PAYLOADS])?;
        let text_rows = bitmap(&file, sections::ID_TEXT_ROWS)?;
        let ids = file.find_numbers(sections::IDS, Some(rows))?;
        let order = file.find_numbers(sections::ID_ORDER, Some(rows))?;
        check_ids(&file, (ids, order), &text_rows)?;
        let id_texts = file.find(sections::ID_TEXTS)?;
        let (texts, end) = (text_rows.len() as usize, file.bytes(id_texts).len() as u64);
        let id_text_offsets = check_offsets(&file, sections::ID_TEXT_OFFSETS, texts, end)?;
        let payloads = file.find(sections::PAYLOADS)?;
        let end = file.bytes(payloads).len() as u64;
        let payload_offsets = check_offsets(&file, sections::PAYLOAD_OFFSETS, rows, end)?;
        Ok(Self {
            file,
            ids,
            order,
            text_rows,
            id_texts,
            id_text_offsets,
            payloads,
            payload_offsets,
        })
    }

    pub fn file(&self) -> &SectionFile {
        &self.file
    }

    pub fn id(&self, row: u32) -> Result<PointIdRef<'_>> {
        let number = self.file.numbers(self.ids)[row as usize];
        if !self.text_rows.contains(row) {
            return Ok(PointIdRef::Number(number));
        }
        let offsets = self.file.numbers(self.id_text_offsets);
        let range = offsets[number as usize]..offsets[number as usize + 1];
        self.id_text(range).map(PointIdRef::Text)
    }

    /// The text of an id; the section was verified on open.
    fn id_text(&self, range: Range<u64>) -> Result<&str> {
        let bytes = &self.file.bytes(self.id_texts)[range.start as usize..range.end as usize];
        std::str::from_utf8(bytes).map_err(|_| self.corrupted(sections::ID_TEXTS, "not UTF-8"))
    }

    pub fn find(&self, id: &PointId) -> Result<Option<u32>> {
        let position = self.first_not_before(id, Ordering::is_lt)?;
        let found = match self.order().get(position) {
            Some(&row) if self.id(row)? == id.as_ref() => Some(row),
            _ => None,
        };
        // An unreadable id must not be reported as missing.
        self.file.check_pages()?;
        Ok(found)
    }

    pub fn page(
        &self,
        after: Option<&PointId>,
        deleted: &RoaringBitmap,
        limit: usize,
    ) -> Result<Vec<(PointId, u32)>> {
        let start = match after {
            Some(id) => self.first_not_before(id, Ordering::is_le)?,
            None => 0,
        };
        let live = self.order()[start..].iter().filter(|&&row| !deleted.contains(row));
        live.take(limit).map(|&row| Ok((self.id(row)?.into(), row))).collect()
    }

    pub fn payload(&self, row: u32) -> Result<Option<Payload>> {
        let offsets = self.file.numbers(self.payload_offsets);
        let range = offsets[row as usize]..offsets[row as usize + 1];
        if range.is_empty() {
            return Ok(None);
        }
        let range = range.start as usize..range.end as usize;
        let bytes = self.file.checked(self.payloads, range)?;
        let text = std::str::from_utf8(bytes)
            .map_err(|_| self.corrupted(sections::PAYLOADS, "not UTF-8"))?;
        let sound = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
        if !text.starts_with('{') || !sound(text) {
            return Err(self.corrupted(sections::PAYLOADS, "not a JSON object"));
        }
        Ok(Some(Payload::from_stored(text)))
    }

    fn order(&self) -> &[u32] {
        self.file.numbers(self.order)
    }

    /// Binary search in id order: the first position at which `before(id there, id)` does not hold.
    fn first_not_before(&self, id: &PointId, before: fn(Ordering) -> bool) -> Result<usize> {
        let order = self.order();
        let (mut low, mut high) = (0, order.len());
        while low < high {
            let middle = low.midpoint(high);
            if before(self.id(order[middle])?.cmp(&id.as_ref())) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn corrupted(&self, section: &str, detail: &str) -> Error {
        self.file.corrupted(section, detail).into()
    }
}

/// Checks that the order contains each row once, and that each text exists.
fn check_ids(
    file: &SectionFile,
    (ids, order): (Section<u64>, Section<u32>),
    text_rows: &RoaringBitmap,
) -> Result<(), StorageError> {
    let numbers = file.numbers(ids);
    let rows = numbers.len() as u32;
    let mut seen = RoaringBitmap::new();
    if !file.numbers(order).iter().all(|&row| row < rows && seen.insert(row)) {
        return Err(file.corrupted(sections::ID_ORDER, "no permutation of the rows"));
    }
    let sound = |row: u32| row < rows && numbers[row as usize] < text_rows.len();
    if !text_rows.iter().all(sound) {
        return Err(file.corrupted(sections::ID_TEXT_ROWS, "rows out of bounds"));
    }
    Ok(())
}
