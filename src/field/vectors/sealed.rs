//! A vector field of a sealed segment: its files, checked on open.

use std::ops::Range;
use std::sync::OnceLock;

use lanner_storage::{Access, IndexEntry, Section, SectionFile};
use roaring::RoaringBitmap;

use super::index::FieldIndex;
use super::inverted::InvertedIndex;
use super::sections;
use super::{CodedField, FieldCodes, FieldQuery};
use crate::error::Result;
use crate::field::{FieldReader, FileRole, SegmentFiles, bitmap, check_offsets, visit_one_by_one};
use crate::model::{Elements, ElementsRef, Memory, VectorField, VectorKind, VectorsView};

/// Number of vectors to prefetch ahead of the visit.
const ROWS_AHEAD: usize = 2;
/// Number of rows whose first byte is prefetched up front, which overlaps their TLB misses.
const ROWS_TOUCHED: usize = 32;
/// Rows to reconstruct per block.
const RECONSTRUCTED_ROWS: u32 = 256;

/// The vectors of a field in a sealed segment, with their codes and index.
#[derive(Debug)]
pub struct SealedVectors {
    file: SectionFile,
    vectors: Section,
    /// Multi fields only.
    offsets: Option<Section<u64>>,
    rows: u32,
    /// True if the raw vectors are stored; otherwise codes replace them.
    has_raw: bool,
    settings: VectorField,
    absent: RoaringBitmap,
    codes: Option<FieldCodes>,
    /// Sparse fields only.
    inverted: Option<InvertedIndex>,
    /// Set once, when the index is attached.
    index: OnceLock<FieldIndex>,
}

impl SealedVectors {
    /// Opens and checks the files of field number `index`, except the content of vectors and codes.
    ///
    /// # Errors
    /// [`lanner_storage::StorageError::Corrupted`] naming file and section if anything checked differs from what
    /// was sealed.
    pub fn open(files: SegmentFiles<'_>, index: usize, settings: &VectorField) -> Result<Self> {
        let rows = files.entry.rows;
        let file = files.open(&sections::field_file(index), &[sections::VECTORS])?;
        let absent = bitmap(&file, sections::ABSENT)?;
        let codes = match files.open_listed(&sections::codes_file(index), &[sections::PRIMARY])? {
            Some(codes) => {
                let name = sections::secondary_file(index);
                let secondary = files.open_listed(&name, &[sections::SECONDARY])?;
                Some(FieldCodes::open(codes, secondary, settings, rows)?)
            }
            None => None,
        };
        let sparse = settings.kind == VectorKind::Sparse;
        let inverted = sparse.then(|| InvertedIndex::open(files, index)).transpose()?;
        let vectors = file.find(sections::VECTORS)?;
        let empty = file.bytes(vectors).is_empty();
        let has_raw = !(empty && codes.is_some() && !settings.compression.keep_raw);
        let settings = settings.clone();
        let (offsets, index) = (None, OnceLock::new());
        let mut field = Self {
            file,
            vectors,
            offsets,
            rows,
            has_raw,
            settings,
            absent,
            codes,
            inverted,
            index,
        };
        field.check()?;
        field.offsets = field.find_offsets()?;
        Ok(field)
    }

    fn check(&self) -> Result<()> {
        let stored = serde_json::from_slice::<VectorField>(self.file.section(sections::FIELD)?);
        // The memory policy does not affect the stored bytes.
        let stored = stored.ok().map(|stored| stored.in_memory(self.settings.memory));
        let corrupted = |section, detail: &str| Err(self.file.corrupted(section, detail).into());
        if stored.as_ref() != Some(&self.settings) {
            return corrupted(sections::FIELD, "the settings differ from the collection's");
        }
        if self.absent.max().is_some_and(|row| row >= self.rows) {
            return corrupted(sections::ABSENT, "rows out of bounds");
        }
        let whole = self.file.bytes(self.vectors).len().is_multiple_of(self.stride());
        if !whole || self.elements().is_none() {
            return corrupted(sections::VECTORS, "not a whole number of vectors");
        }
        let (vectors, rows) = (self.stored_vectors(), self.rows);
        let single = self.settings.kind == VectorKind::Single && self.has_raw;
        if single && vectors != u64::from(rows) {
            let detail = format!("expected {rows} vectors, got {vectors}");
            return corrupted(sections::VECTORS, &detail);
        }
        Ok(())
    }

    fn find_offsets(&self) -> Result<Option<Section<u64>>> {
        let rows = self.rows as usize;
        match (self.settings.has_offsets(), self.has_raw) {
            (false, _) => Ok(None),
            (true, true) => {
                let vectors = self.stored_vectors();
                check_offsets(&self.file, sections::VECTOR_OFFSETS, rows, vectors).map(Some)
            }
            (true, false) => Ok(Some(self.file.find_numbers(sections::VECTOR_OFFSETS, None)?)),
        }
    }

    /// Bytes of one vector.
    fn stride(&self) -> usize {
        self.settings.stride() * self.settings.stored_element().size_bytes()
    }

    fn stored_vectors(&self) -> u64 {
        (self.file.bytes(self.vectors).len() / self.stride()) as u64
    }

    /// The files with their roles, in the order they were written.
    pub fn files(&self) -> impl Iterator<Item = (&SectionFile, FileRole)> {
        let searched = self.codes.is_some() || self.inverted.is_some();
        let role = if searched { FileRole::Rerank } else { FileRole::Candidates };
        let codes = self.codes.iter().flat_map(FieldCodes::files);
        let inverted = self.inverted.iter().map(|index| (index.file(), FileRole::Candidates));
        std::iter::once((&self.file, role)).chain(codes).chain(inverted)
    }

    /// Memory policy of the field.
    pub fn memory(&self) -> Memory {
        self.settings.memory
    }

    /// The index, once attached.
    pub fn index(&self) -> Option<&FieldIndex> {
        self.index.get()
    }

    /// Opens an index, for [`Self::attach_index`]; `None` without codes, which every indexed field
    /// has.
    ///
    /// # Errors
    /// If the index is damaged.
    pub fn open_index(
        &self,
        directory: &dyn lanner_storage::Directory,
        folder: &str,
        entry: &IndexEntry,
    ) -> Result<Option<FieldIndex>> {
        let Some(codes) = &self.codes else { return Ok(None) };
        FieldIndex::open(directory, folder, entry, codes, self.rows, self.settings.memory).map(Some)
    }

    /// Makes queries use the index. A field has at most one index: a second one is ignored.
    pub fn attach_index(&self, index: FieldIndex) {
        let _ = self.index.set(index);
    }

    /// Shares the codec of another field if it is the same, so that it is in memory only once.
    pub fn share_codec(&mut self, other: &Self) {
        if let (Some(own), Some(other)) = (&mut self.codes, &other.codes) {
            own.share_codec(other);
        }
    }

    /// The codes, if they replace the raw vectors.
    fn stand_in(&self) -> Option<&FieldCodes> {
        self.codes.as_ref().filter(|_| !self.has_raw)
    }

    /// True if access to vectors is random unless advised otherwise.
    fn is_read_at_random(&self) -> bool {
        self.codes.is_some() || self.inverted.is_some() || self.settings.memory == Memory::Cold
    }

    /// Visits reconstructed vectors, rounded to the element type of the field.
    fn visit_reconstructed(
        &self,
        codes: &FieldCodes,
        rows: Range<u32>,
        visit: &mut dyn FnMut(u32, VectorsView<'_>, Range<usize>),
    ) {
        let dimension = self.settings.dimension;
        let mut values = Vec::new();
        for first in rows.clone().step_by(RECONSTRUCTED_ROWS as usize) {
            let end = rows.end.min(first.saturating_add(RECONSTRUCTED_ROWS));
            let mut elements = Elements::new(self.settings.stored_element());
            let mut offsets = vec![0];
            for row in first..end {
                codes.reconstruct(row, &mut values);
                elements.extend_from_f32(&values);
                offsets.push((elements.as_ref().len() / dimension) as u64);
            }
            let absent: RoaringBitmap =
                self.absent.range(first..end).map(|row| row - first).collect();
            let elements = elements.as_ref();
            let offsets = (self.settings.kind == VectorKind::Multi).then_some(&*offsets);
            let view = VectorsView { dimension, elements, offsets, absent: &absent };
            visit(first, view, 0..(end - first) as usize);
        }
    }

    /// Byte range of the vectors of some rows.
    fn bytes_of(&self, rows: Range<u32>) -> Range<usize> {
        let offsets = self.offsets.map(|offsets| self.file.numbers(offsets));
        let first = |row: u32| match offsets {
            Some(offsets) => offsets.get(row as usize).copied().unwrap_or(u64::MAX),
            None => u64::from(row),
        };
        let at = |row| (first(row) as usize).saturating_mul(self.stride());
        at(rows.start)..at(rows.end)
    }

    /// Verifies the checksums of the vectors of some rows.
    fn check_vectors(&self, rows: Range<u32>) -> Result<()> {
        self.file.checked(self.vectors, self.bytes_of(rows))?;
        Ok(())
    }

    fn elements(&self) -> Option<ElementsRef<'_>> {
        ElementsRef::from_bytes(self.settings.stored_element(), self.file.bytes(self.vectors))
    }

    fn view(&self) -> Option<VectorsView<'_>> {
        let offsets = self.offsets.map(|offsets| self.file.numbers(offsets));
        let (dimension, absent) = (self.settings.stride(), &self.absent);
        Some(VectorsView { dimension, elements: self.elements()?, offsets, absent })
    }
}

impl FieldReader for SealedVectors {
    fn visit(&self, rows: Range<u32>, visit: &mut dyn FnMut(u32, VectorsView<'_>, Range<usize>)) {
        let rows = rows.start..rows.end.min(self.rows);
        if let Some(codes) = self.stand_in() {
            return self.visit_reconstructed(codes, rows, visit);
        }
        // `open` checked the sections behind a view, so there always is one.
        if let Some(view) = self.view() {
            visit(0, view, rows.start as usize..rows.end as usize);
        }
    }

    fn visit_rows(&self, rows: &[u32], visit: &mut dyn FnMut(u32, ElementsRef<'_>)) {
        let single = self.settings.kind == VectorKind::Single && self.has_raw;
        let Some(view) = self.view().filter(|_| single) else {
            return visit_one_by_one(self, rows, visit);
        };
        let (bytes, stride) = (view.elements.as_bytes(), self.stride());
        let ask = |row: u32, len| crate::kernels::prefetch(bytes, row as usize * stride, len);
        let prefetch = |row: &u32| ask(*row, stride);
        // Prefetches one byte of each row first, so that their address translations overlap.
        rows.iter().take(ROWS_TOUCHED).for_each(|&row| ask(row, 1));
        rows.iter().take(ROWS_AHEAD).for_each(prefetch);
        for (index, &row) in rows.iter().enumerate() {
            rows.get(index + ROWS_AHEAD).into_iter().for_each(prefetch);
            if row < self.rows {
                visit(row, view.row(row as usize));
            }
        }
    }

    fn vector_bytes(&self) -> u64 {
        match self.stand_in() {
            Some(codes) => {
                let row_bytes = codes.row_bytes() + codes.secondary_row_bytes();
                u64::from(self.rows) * row_bytes as u64
            }
            None => self.file.bytes(self.vectors).len() as u64,
        }
    }

    fn coded(&self) -> Option<CodedField<'_>> {
        let codes = self.codes.as_ref()?;
        let absent = Some(&self.absent).filter(|absent| !absent.is_empty());
        Some(CodedField { codes, index: self.index(), absent, has_raw: self.has_raw })
    }

    fn inverted(&self) -> Option<&InvertedIndex> {
        self.inverted.as_ref()
    }

    fn read_ahead(&self, rows: Range<u32>) {
        if !self.is_read_at_random() || rows.is_empty() {
            return;
        }
        if let Some(codes) = self.stand_in() {
            return codes.read_ahead(rows);
        }
        let bytes = self.bytes_of(rows);
        // A hint, see `memory`.
        let bytes = bytes.start as u64..bytes.end as u64;
        let _ = self.file.advise_range(self.vectors, bytes, Access::Soon);
    }

    fn check_vector(&self, row: u32) -> Result<()> {
        match self.stand_in() {
            Some(codes) => codes.check(row),
            None => self.check_vectors(row..row + 1),
        }
    }

    fn check_rescored(&self, rows: &[u32]) -> Result<()> {
        let coded = self.codes.as_ref().filter(|codes| codes.has_secondary() || !self.has_raw);
        rows.iter().try_for_each(|&row| match coded {
            Some(codes) => codes.check(row),
            None => self.check_vectors(row..row + 1),
        })
    }

    fn check_scanned(&self, rows: Range<u32>, query: Option<&FieldQuery>) -> Result<()> {
        let rows = rows.start..rows.end.min(self.rows);
        match (&self.codes, query) {
            (Some(codes), Some(query)) => codes.check_scanned(query, rows),
            (Some(codes), None) if !self.has_raw => {
                rows.into_iter().try_for_each(|row| codes.check(row))
            }
            _ => self.check_vectors(rows),
        }
    }
}
